//! The interpreter of a thread.

mod setup;

use std::collections::HashMap;
use std::rc::Rc;

use foldhash::fast::RandomState;
use mlua::{Function, Lua, Table, Value};
use resp::{Args, Protocol, Reply};

use crate::convert::error_information;
use crate::header::FunctionInfo;
use crate::json_options::Options;
use crate::libraries::base::compile;
use crate::libraries::math::seed_of_run;
use crate::state::{Mode, Shared, with_host};
use crate::sys::{Compiled, Ended, Runner};
use crate::{Failure, Host, Limits, VmError};

/// The chunk name of scripts, which stands in their errors.
const SCRIPT_CHUNK: &str = "@user_script";

/// The chunk name of libraries.
const LIBRARY_CHUNK: &str = "@user_function";

/// A script of EVAL.
#[derive(Clone, Copy, Debug)]
pub struct Script<'a> {
    /// The SHA-1 of the whole body, as 40 hexadecimal digits in lower case.
    pub sha: &'a [u8; 40],
    /// The code behind the header: `body[header.code_start..]`.
    pub code: &'a [u8],
}

/// A library of FUNCTION LOAD.
#[derive(Clone, Copy, Debug)]
pub struct Library<'a> {
    /// The library's name.
    pub name: &'a str,
    /// Changes whenever the library is replaced, and is unique in the process.
    pub version: u64,
    /// The code behind the header.
    pub code: &'a [u8],
}

/// `KEYS` and `ARGV` of a run.
#[derive(Clone, Copy, Debug)]
pub struct Arguments<'a> {
    /// The keys.
    pub keys: Args<'a>,
    /// The other arguments.
    pub args: Args<'a>,
}

/// The interpreter of a thread. It stays on its thread.
pub struct Vm {
    lua: Lua,
    shared: Rc<Shared>,
    parts: Parts,
    /// The slots of scripts in [`Parts::functions`].
    scripts: HashMap<[u8; 40], Compiled, RandomState>,
    libraries: HashMap<String, LoadedLibrary, RandomState>,
    /// The slot after the last one of [`Parts::functions`].
    next_slot: i32,
}

/// What runs need of the interpreter.
struct Parts {
    runner: Runner,
    collectgarbage: Function,
    /// Compiled functions by their slots. A table of Lua holds any number of them; handles of Rust
    /// are some thousands.
    functions: Table,
    /// The metatable of the globals of functions, whose `__index` changes in load mode.
    switch: Table,
    function_globals: Table,
    load_globals: Table,
}

/// A library whose code has run.
struct LoadedLibrary {
    version: u64,
    /// The slots of functions by their names.
    functions: HashMap<Vec<u8>, Compiled, RandomState>,
    /// Options of `cjson` that its code has set.
    options: Options,
}

impl Vm {
    /// An interpreter with its libraries, of some 80 KB.
    pub fn new(limits: Limits) -> Result<Vm, VmError> {
        let shared = Rc::new(Shared::new(limits.memory));
        let (lua, parts) = setup::interpreter(&shared, &limits)?;
        // The setup leaves a fifth of the heap as garbage.
        let _ = lua.gc_collect();
        Ok(Vm {
            lua,
            shared,
            parts,
            scripts: HashMap::default(),
            libraries: HashMap::default(),
            next_slot: 1,
        })
    }

    /// Compiles `script`, if this VM has not done it before, and keeps the function. The error is
    /// the text behind `ERR `.
    pub fn compile(&mut self, script: Script<'_>) -> Result<(), Vec<u8>> {
        self.begin(Mode::Eval, &Options::default());
        self.script_function(script).map(|_| ())
    }

    /// Runs `script` with `KEYS` and `ARGV`, compiles it before if need be, and writes what it
    /// returns to `reply`. Nothing is written for a [`Failure`], which is also what a script
    /// returns as an error (`return redis.error_reply(...)`).
    pub fn run(
        &mut self,
        script: Script<'_>,
        arguments: Arguments<'_>,
        host: &mut dyn Host,
        reply: &mut Reply<'_>,
    ) -> Result<(), Failure> {
        self.begin(Mode::Eval, &Options::default());
        let function = self.script_function(script).map_err(|text| Failure {
            message: [b"ERR ".as_slice(), &text].concat(),
            counts: true,
            stopped: false,
        })?;
        let interpreter = (&self.lua, &*self.shared);
        let lists = (arguments.keys, arguments.args);
        let runner = &mut self.parts.runner;
        let ended = with_host(host, || runner.script(interpreter, function, lists, reply));
        self.finish(ended, script.sha)
    }

    /// Runs the code of a library in load mode, and returns the functions that it registers. The
    /// VM keeps nothing of it. The time limit is the host's, by its
    /// [`interrupt`](Host::interrupt). The error is the text behind `ERR `.
    pub fn load_library(
        &mut self,
        code: &[u8],
        host: &mut dyn Host,
    ) -> Result<Vec<FunctionInfo>, Vec<u8>> {
        let registered = self.register(code, host);
        self.drop_callbacks();
        registered
    }

    /// Runs a function of `library`, whose code runs first if this VM has not this version of it.
    pub fn call_function(
        &mut self,
        library: Library<'_>,
        function: &[u8],
        arguments: Arguments<'_>,
        host: &mut dyn Host,
        reply: &mut Reply<'_>,
    ) -> Result<(), Failure> {
        let failed = |message: Vec<u8>| Failure {
            message: [b"ERR ".as_slice(), &message].concat(),
            counts: true,
            stopped: false,
        };
        self.instantiate(library, host).map_err(failed)?;
        let Some((slot, options)) = self.libraries.get(library.name).and_then(|loaded| {
            let slot = loaded.functions.get(function)?;
            Some((*slot, loaded.options.clone()))
        }) else {
            return Err(failed(b"Function not found".to_vec()));
        };
        self.begin(Mode::Function, &options);
        let interpreter = (&self.lua, &*self.shared);
        let lists = (arguments.keys, arguments.args);
        let runner = &mut self.parts.runner;
        let ended = with_host(host, || runner.function(interpreter, slot, lists, reply));
        self.finish(ended, function)
    }

    /// Drops the function of a script that left the cache.
    pub fn forget_script(&mut self, sha: &[u8; 40]) {
        if let Some(slot) = self.scripts.remove(sha) {
            self.free_slot(slot);
        }
    }

    /// Drops all functions of scripts.
    pub fn forget_scripts(&mut self) {
        let scripts = std::mem::take(&mut self.scripts);
        for slot in scripts.into_values() {
            self.free_slot(slot);
        }
    }

    /// Bytes that the Lua heap has.
    pub fn memory(&self) -> usize {
        self.lua.used_memory()
    }

    /// Collects garbage, and returns [`Vm::memory`] afterwards. A VM that is still large then is
    /// better dropped.
    pub fn collect(&mut self) -> usize {
        // The collector runs no code of scripts: they have no finalizers.
        let _ = self.lua.gc_collect();
        self.memory()
    }

    /// Resets what the run before may have left.
    fn begin(&self, mode: Mode, options: &Options) {
        let shared = &self.shared;
        shared.mode.set(mode);
        shared.protocol.set(Protocol::Resp2);
        shared.clear_stop();
        shared.random.set(seed_of_run(shared));
        shared.cjson.replace(options.clone());
        if shared.collector_touched.replace(false) {
            setup::reset_collector(&self.parts.collectgarbage);
        }
    }

    fn free_slot(&self, slot: Compiled) {
        // Setting an existing field to nil allocates nothing.
        let _ = self.parts.functions.raw_set(slot.0, Value::Nil);
    }

    /// Keeps a compiled function, and returns its slot.
    fn keep(&mut self, function: &Function) -> mlua::Result<Compiled> {
        let slot = self.next_slot;
        self.parts.functions.raw_set(slot, function)?;
        self.next_slot += 1;
        Ok(Compiled(slot))
    }

    fn script_function(&mut self, script: Script<'_>) -> Result<Compiled, Vec<u8>> {
        if let Some(slot) = self.scripts.get(script.sha) {
            return Ok(*slot);
        }
        let function = self
            .compile_chunk(script.code, SCRIPT_CHUNK)
            .map_err(|text| {
                [b"Error compiling script (new function): ".as_slice(), &text].concat()
            })?;
        let slot = self
            .keep(&function)
            .map_err(|error| self.interpreter_error(&error))?;
        self.scripts.insert(*script.sha, slot);
        Ok(slot)
    }

    /// A function of `code`; the error is the compiler's.
    fn compile_chunk(&self, code: &[u8], chunk: &str) -> Result<Function, Vec<u8>> {
        let result = self.lua.create_string(code).and_then(|code| {
            let name = self.lua.create_string(chunk)?;
            let (code, name) = (Value::String(code), Value::String(name));
            compile(&self.lua, &self.shared, code, name)
        });
        match result {
            Ok(Ok(function)) => Ok(function),
            Ok(Err(Value::String(text))) => Err(text.as_bytes().to_vec()),
            Ok(Err(_)) => Err(b"unknown error".to_vec()),
            Err(error) => Err(self.interpreter_error(&error)),
        }
    }

    /// The text of an error that does not come from a script.
    fn interpreter_error(&self, error: &mlua::Error) -> Vec<u8> {
        if crate::raise::is_memory(error) || self.shared.is_stopped() {
            return b"not enough memory".to_vec();
        }
        error.to_string().into_bytes()
    }

    /// Runs the code of a library, and returns what it registered.
    fn register(&mut self, code: &[u8], host: &mut dyn Host) -> Result<Vec<FunctionInfo>, Vec<u8>> {
        self.begin(Mode::Load, &Options::default());
        self.shared.registered.borrow_mut().clear();
        // Libraries are C strings.
        let end = memchr::memchr(0, code).unwrap_or(code.len());
        let function = self
            .compile_chunk(&code[..end], LIBRARY_CHUNK)
            .map_err(|text| [b"Error compiling function: ".as_slice(), &text].concat())?;
        let result = self.run_registration(&function, host);
        let registered = self.shared.registered.take();
        result
            .map(|()| registered)
            .map_err(|text| [b"Error registering functions: ".as_slice(), &text].concat())
    }

    fn run_registration(&self, function: &Function, host: &mut dyn Host) -> Result<(), Vec<u8>> {
        let parts = &self.parts;
        let result = parts
            .switch
            .raw_set("__index", &parts.load_globals)
            .and_then(|()| {
                let pcall = &self.shared.originals()?.pcall;
                with_host(host, || {
                    self.shared.call_limited(&self.lua, pcall, function)
                })
            });
        // Setting an existing field allocates nothing.
        let restored = parts.switch.raw_set("__index", &parts.function_globals);
        self.shared.resume_panic();
        let (done, value) = result
            .and_then(|result| restored.map(|()| result))
            .map_err(|error| self.interpreter_error(&error))?;
        if done {
            return Ok(());
        }
        let caught = self.shared.caught(&self.lua, value);
        if let Some(stop) = self.shared.stop() {
            return Err(stop.message.as_bytes().to_vec());
        }
        let value = caught.map_err(|error| self.interpreter_error(&error))?;
        match &value {
            Value::Table(table) => error_information(&self.lua, table)
                .map(|information| information.message)
                .map_err(|error| self.interpreter_error(&error)),
            other => Ok([b"ERR ".as_slice(), &self.text_of(other)].concat()),
        }
        .and_then(Err)
    }

    /// The text of a string or number; of another value that it is unknown.
    fn text_of(&self, value: &Value) -> Vec<u8> {
        match value {
            Value::String(text) => text.as_bytes().to_vec(),
            Value::Integer(_) | Value::Number(_) => match self.lua.coerce_string(value.clone()) {
                Ok(Some(text)) => text.as_bytes().to_vec(),
                _ => b"unknown error".to_vec(),
            },
            _ => b"unknown error".to_vec(),
        }
    }

    /// Drops what a library registered, and what one has left that failed.
    fn drop_callbacks(&self) {
        if let Ok(originals) = self.shared.originals() {
            // Clearing a table allocates nothing.
            let _ = originals.callbacks.clear();
        }
    }

    /// The function that was registered at a position, counted from 1.
    fn callback(&self, position: usize) -> mlua::Result<Function> {
        self.shared.originals()?.callbacks.raw_get(position)
    }

    /// Runs the code of `library` unless this version of it has run here.
    fn instantiate(&mut self, library: Library<'_>, host: &mut dyn Host) -> Result<(), Vec<u8>> {
        if let Some(loaded) = self.libraries.get(library.name) {
            if loaded.version == library.version {
                return Ok(());
            }
            if let Some(old) = self.libraries.remove(library.name) {
                old.functions
                    .into_values()
                    .for_each(|slot| self.free_slot(slot));
            }
        }
        let registered = self.register(library.code, host)?;
        let options = self.shared.cjson.borrow().clone();
        let mut functions = HashMap::default();
        for (index, info) in registered.into_iter().enumerate() {
            let slot = self
                .callback(index + 1)
                .and_then(|callback| self.keep(&callback))
                .map_err(|error| self.interpreter_error(&error))?;
            functions.insert(info.name, slot);
        }
        self.drop_callbacks();
        let loaded = LoadedLibrary {
            version: library.version,
            functions,
            options,
        };
        self.libraries.insert(library.name.to_owned(), loaded);
        Ok(())
    }

    /// Returns what a run has left as a failure. `name` is what errors call the script.
    #[inline]
    fn finish(&self, ended: mlua::Result<Ended>, name: &[u8]) -> Result<(), Failure> {
        match ended {
            Ok(Ended::Written) => Ok(()),
            Ok(Ended::Left { done, value }) => self.fail(Ok((done, value)), name),
            Err(error) => self.fail(Err(error), name),
        }
    }

    #[cold]
    fn fail(&self, result: mlua::Result<(bool, Value)>, name: &[u8]) -> Result<(), Failure> {
        self.shared.resume_panic();
        let failure = self.failure(result, name);
        if failure.stopped {
            // What the run left is garbage, and may be all the memory there is.
            let _ = self.lua.gc_collect();
        }
        Err(failure)
    }

    /// Notes that memory ended the run, when its error says so and the handler had none left.
    fn note_memory(&self, result: &mlua::Result<(bool, Value)>) {
        match result {
            Err(error) if crate::raise::is_memory(error) => {
                self.shared.stop_for_memory();
            }
            Ok((false, error)) => {
                let _ = self.shared.caught(&self.lua, error.clone());
            }
            _ => {}
        }
    }

    /// The error of a run that has returned no reply.
    fn failure(&self, result: mlua::Result<(bool, Value)>, name: &[u8]) -> Failure {
        self.note_memory(&result);
        let stopped = self.shared.stop();
        let fail = |message: Vec<u8>, counts: bool| Failure {
            message,
            counts,
            stopped: stopped.is_some(),
        };
        let prefixed = |text: &[u8]| [b"ERR Error running script, ".as_slice(), text].concat();
        let (done, value) = match result {
            Ok(result) => result,
            Err(error) => {
                let text = match &stopped {
                    Some(stop) => stop.message.as_bytes().to_vec(),
                    None => prefixed(&self.interpreter_error(&error)),
                };
                return fail(text, true);
            }
        };
        if let Some(stop) = &stopped
            && (done || !value.is_table())
        {
            return fail(stop.message.as_bytes().to_vec(), true);
        }
        let Value::Table(table) = &value else {
            let mut text = match &value {
                Value::String(_) => self.text_of(&value),
                _ => b"execution failure".to_vec(),
            };
            text.truncate(ERROR_BYTES_MAX);
            return fail(prefixed(&text), true);
        };
        match error_information(&self.lua, table) {
            Ok(information) => {
                let mut message = information.message;
                if let (false, Some((source, line))) = (done, information.place) {
                    let place = [
                        b" script: ".as_slice(),
                        name,
                        b", on ",
                        &source,
                        b":",
                        &line,
                        b".",
                    ];
                    message.extend_from_slice(&place.concat());
                }
                fail(message, information.counts)
            }
            Err(error) => fail(self.interpreter_error(&error), true),
        }
    }
}

/// Bytes of an error without a place in the script.
const ERROR_BYTES_MAX: usize = 100;
