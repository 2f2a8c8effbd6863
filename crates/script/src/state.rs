//! The state that library functions of one VM share, and the host of the running script.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use mlua::{Function, Lua, Table, Value};
use resp::{Args, Output, OwnedArgs, Protocol};
use scoped_tls_hkt::{ReborrowMut, scoped_thread_local};

use crate::header::FunctionInfo;
use crate::json_options::Options;
use crate::pattern::{Capture, Space};
use crate::raise::{Raise, Stopped, is_memory, raised};
use crate::{AclVerdict, Host, LogLevel, Replication, Stop};

/// What Lua's core says when an allocation is refused.
const LUA_OUT_OF_MEMORY: &[u8] = b"not enough memory";

/// Bytes that a string may have where the memory of runs has no limit: what Lua's strings and C's
/// `int` can count.
const STRING_BYTES_MAX: usize = 1 << 30;

/// The host of the run, in a form that thread-local storage can hold for the time of the run.
struct Running<'a> {
    host: &'a mut (dyn Host + 'a),
}

impl<'a, 'b: 'a> ReborrowMut<'a> for Running<'b> {
    type Result = Running<'a>;

    fn reborrow_mut(&'a mut self) -> Running<'a> {
        Running {
            host: &mut *self.host,
        }
    }
}

scoped_thread_local!(static mut HOST: for<'a> Running<'a>);

/// Runs `body` with `host` as the host of this thread's script.
pub(crate) fn with_host<R>(host: &mut dyn Host, body: impl FnOnce() -> R) -> R {
    HOST.set(Running { host }, body)
}

/// The text of an error that comes from mlua itself.
fn text_of(error: &mlua::Error) -> String {
    match error {
        mlua::Error::CallbackError { cause, .. } => text_of(cause),
        mlua::Error::StackError => "stack overflow".to_owned(),
        other => other.to_string(),
    }
}

/// What runs, which decides the globals and the functions of `redis`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A script of EVAL.
    Eval,
    /// A function of a library.
    Function,
    /// The code of a library, which registers its functions.
    Load,
}

/// Functions and tables of the base library that no script reaches.
pub(crate) struct Originals {
    pub(crate) pcall: Function,
    pub(crate) loadstring: Function,
    pub(crate) setfenv: Function,
    /// `t[k]` with metamethods.
    pub(crate) index: Function,
    /// Keys and values of a table in turn, and their number.
    pub(crate) flatten: Function,
    /// Whether a table is an array for JSON, and for MessagePack.
    pub(crate) json_shape: Function,
    pub(crate) pack_shape: Function,
    /// The table that each protected table stands for.
    pub(crate) real: Table,
    /// The functions of [`Shared::registered`], in its order.
    pub(crate) callbacks: Table,
    pub(crate) eval_environment: Table,
    pub(crate) function_environment: Table,
}

/// The state that library functions of one VM share.
pub(crate) struct Shared {
    pub(crate) mode: Cell<Mode>,
    /// The protocol of replies to `redis.call`, and of booleans in the script's own reply.
    pub(crate) protocol: Cell<Protocol>,
    /// Why the run ends. While it is set, every function that could catch errors passes them on.
    stop: RefCell<Option<Stop>>,
    /// The value of the error that was raised last.
    pending: RefCell<Value>,
    /// The 48 bits of the generator of `math.random`.
    pub(crate) random: Cell<u64>,
    /// Gives the seed of the next run.
    pub(crate) seeds: Cell<u64>,
    /// Options of the `cjson` table, which end with the run.
    pub(crate) cjson: Rc<RefCell<Options>>,
    /// The script changed the garbage collector's settings.
    pub(crate) collector_touched: Cell<bool>,
    /// What the library that loads has registered.
    pub(crate) registered: RefCell<Vec<FunctionInfo>>,
    /// The reply of a call; kept for its capacity.
    pub(crate) reply: RefCell<Output>,
    /// A reply in one piece, where the output has it in several.
    flat: RefCell<Vec<u8>>,
    /// The arguments of a call; kept for their capacity.
    pub(crate) argv: RefCell<OwnedArgs>,
    /// What the last match of a pattern has captured, and room for the next one.
    pub(crate) space: RefCell<Space>,
    /// Bytes on their way to a string of Lua.
    scratch: RefCell<Vec<u8>>,
    /// The panic that ends the run.
    panic: RefCell<Option<Box<dyn Any + Send>>>,
    /// Place of [`Originals::real`] in the registry of Lua.
    pub(crate) real_reference: Cell<i32>,
    /// Bytes of the Lua heap during a run, 0 for no bound.
    pub(crate) memory_limit: usize,
    pub(crate) originals: OnceCell<Originals>,
}

impl Shared {
    pub(crate) fn new(memory_limit: usize) -> Shared {
        Shared {
            mode: Cell::new(Mode::Eval),
            protocol: Cell::new(Protocol::Resp2),
            stop: RefCell::new(None),
            pending: RefCell::new(Value::Nil),
            random: Cell::new(0),
            // The keys of the standard library's hash tables are random.
            seeds: Cell::new(RandomState::new().hash_one(0_u8)),
            cjson: Rc::default(),
            collector_touched: Cell::new(false),
            registered: RefCell::new(Vec::new()),
            reply: RefCell::new(Output::default()),
            flat: RefCell::default(),
            argv: RefCell::default(),
            space: RefCell::default(),
            scratch: RefCell::default(),
            panic: RefCell::default(),
            real_reference: Cell::new(0),
            memory_limit,
            originals: OnceCell::new(),
        }
    }

    /// The functions of the base library. They are set before the first script runs.
    pub(crate) fn originals(&self) -> mlua::Result<&Originals> {
        self.originals
            .get()
            .ok_or_else(|| mlua::Error::runtime("the interpreter is not set up"))
    }

    /// The globals of what runs.
    pub(crate) fn environment(&self) -> mlua::Result<&Table> {
        let originals = self.originals()?;
        Ok(match self.mode.get() {
            Mode::Eval => &originals.eval_environment,
            Mode::Function | Mode::Load => &originals.function_environment,
        })
    }

    /// Whether `table` is one that scripts read only.
    pub(crate) fn is_protected(&self, table: &Table) -> mlua::Result<bool> {
        if !table.has_metatable() {
            return Ok(false);
        }
        self.originals()?
            .real
            .raw_get::<Value>(table)
            .map(|real| !real.is_nil())
    }

    /// An error with any value.
    pub(crate) fn raise(&self, value: Value) -> mlua::Error {
        self.pending.replace(value);
        Raise::Pending.into()
    }

    /// Why the run ends, if it does.
    pub(crate) fn stop(&self) -> Option<Stop> {
        self.stop.borrow().clone()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.borrow().is_some()
    }

    /// Lets code of Rust allocate without a limit until [`Shared::limit_memory`]. With a limit
    /// every operation that may allocate runs in protected mode, which costs more than most.
    pub(crate) fn unlimit_memory(&self, lua: &Lua) {
        if self.memory_limit > 0 {
            // The interpreter has its own allocator, the only condition.
            let _ = lua.set_memory_limit(0);
        }
    }

    /// Limits the memory of what runs next. When there is more already, the next allocation fails.
    pub(crate) fn limit_memory(&self, lua: &Lua) {
        if self.memory_limit > 0 {
            let _ = lua.set_memory_limit(self.memory_limit);
        }
    }

    /// Fails when the heap has more than the run may have.
    pub(crate) fn check_memory(&self, lua: &Lua) -> Result<(), Stopped> {
        if self.memory_limit > 0 && lua.used_memory() > self.memory_limit {
            return Err(self.stop_for_memory());
        }
        Ok(())
    }

    /// Calls a function of Lua from Rust, with the limit on memory.
    pub(crate) fn call_limited<R: mlua::FromLuaMulti>(
        &self,
        lua: &Lua,
        function: &Function,
        args: impl mlua::IntoLuaMulti,
    ) -> mlua::Result<R> {
        self.limit_memory(lua);
        let result = function.call(args);
        self.unlimit_memory(lua);
        result
    }

    /// Forgets the end of the run before.
    pub(crate) fn clear_stop(&self) {
        self.pending.replace(Value::Nil);
        self.stop.replace(None);
        self.panic.replace(None);
    }

    /// Ends the run because it needs more memory than it may have.
    pub(crate) fn stop_for_memory(&self) -> Stopped {
        self.stop_with(Stop {
            message: "ERR Error running script: not enough memory".into(),
        })
    }

    fn stop_with(&self, stop: Stop) -> Stopped {
        self.stop.borrow_mut().get_or_insert(stop);
        Stopped
    }

    /// Ends the run because of a panic, which goes on behind it.
    #[cold]
    pub(crate) fn stop_for_panic(&self, panic: Box<dyn Any + Send>) -> Stopped {
        self.panic.replace(Some(panic));
        self.stop_with(Stop {
            message: "ERR Error running script: a panic".into(),
        })
    }

    /// Goes on with the panic that has ended the run.
    pub(crate) fn resume_panic(&self) {
        if let Some(panic) = self.panic.take() {
            std::panic::resume_unwind(panic);
        }
    }

    /// Fails when the run is to end: it was stopped before, or the host says so now.
    pub(crate) fn interrupt(&self) -> Result<(), Stopped> {
        if self.is_stopped() {
            return Err(Stopped);
        }
        if !HOST.is_set() {
            return Ok(());
        }
        match HOST.with(|running| running.host.interrupt()) {
            Some(stop) => Err(self.stop_with(stop)),
            None => Ok(()),
        }
    }

    /// Fails when a string of `bytes` is more than the run may have in all.
    pub(crate) fn check_bytes(&self, bytes: usize) -> Result<(), Stopped> {
        let limit = match self.memory_limit {
            0 => STRING_BYTES_MAX,
            limit => limit,
        };
        if bytes > limit {
            return Err(self.stop_for_memory());
        }
        Ok(())
    }

    /// The value that a script sees of an error that was caught, or the error again when it ends
    /// the run.
    pub(crate) fn caught(&self, lua: &Lua, error: Value) -> mlua::Result<Value> {
        if self.is_stopped() {
            return Err(Raise::Stopped.into());
        }
        match error {
            Value::Error(error) if is_memory(&error) => Err(self.stop_for_memory().into()),
            Value::Error(error) => match raised(&error) {
                Some(Raise::Text(text)) => lua.create_string(text).map(Value::String),
                Some(Raise::Pending) => Ok(self.pending.borrow().clone()),
                Some(Raise::Stopped) => Err(Raise::Stopped.into()),
                None => lua.create_string(text_of(&error)).map(Value::String),
            },
            Value::String(text) if *text.as_bytes() == *LUA_OUT_OF_MEMORY => {
                Err(self.stop_for_memory().into())
            }
            other => Ok(other),
        }
    }

    /// Calls a function of the script, whose errors keep their values.
    pub(crate) fn call(
        &self,
        lua: &Lua,
        function: &Function,
        args: impl IntoIterator<Item = Value>,
    ) -> mlua::Result<Value> {
        let mut all = mlua::MultiValue::new();
        all.push_back(Value::Function(function.clone()));
        all.extend(args);
        let (done, result) =
            self.call_limited::<(bool, Value)>(lua, &self.originals()?.pcall, all)?;
        if done {
            return Ok(result);
        }
        let value = self.caught(lua, result)?;
        Err(self.raise(value))
    }

    /// The reply of the last command, valid until the next one.
    pub(crate) fn reply_bytes(&self) -> *const [u8] {
        let reply = self.reply.borrow();
        if let Some(bytes) = reply.as_contiguous() {
            return bytes;
        }
        self.flat.replace(reply.to_vec());
        self.flat.borrow().as_slice()
    }

    /// Captures of the last match.
    pub(crate) fn captures(&self) -> usize {
        self.space.borrow().captures().len()
    }

    /// One of them.
    pub(crate) fn capture(&self, index: usize) -> Option<Capture> {
        self.space.borrow().captures().get(index).copied()
    }

    /// Bytes that `fill` writes, valid until [`Shared::drop_scratch`] or the next call.
    pub(crate) fn fill_scratch(&self, fill: impl FnOnce(&mut Vec<u8>)) -> *const [u8] {
        let mut scratch = Vec::new();
        fill(&mut scratch);
        self.scratch.replace(scratch);
        self.scratch.borrow().as_slice()
    }

    /// Frees them.
    pub(crate) fn drop_scratch(&self) {
        self.scratch.take();
    }

    /// Runs a command. Its reply is in [`Shared::reply`].
    pub(crate) fn command(&self, args: Args<'_>) {
        let mut reply = self.reply.borrow_mut();
        reply.clear();
        HOST.with(|running| running.host.call(args, self.protocol.get(), &mut reply));
    }

    pub(crate) fn acl_check(&self, args: &[&[u8]]) -> AclVerdict {
        HOST.with(|running| running.host.acl_check(args))
    }

    pub(crate) fn set_replication(&self, scope: Replication) {
        HOST.with(|running| running.host.set_replication(scope));
    }

    pub(crate) fn log(&self, level: LogLevel, message: &[u8]) {
        HOST.with(|running| running.host.log(level, message));
    }
}
