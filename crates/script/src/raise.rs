//! Errors that library functions raise, with the texts and places of PUC Lua's auxiliary library.

use std::fmt;
use std::rc::Rc;

use mlua::{Function, Lua, LuaString, MultiValue, Table, Value};

use crate::state::Shared;

/// An error that a function of Rust raises. Scripts see its value, never this type: every
/// function that catches errors unwraps it.
#[derive(Clone, Debug)]
pub(crate) enum Raise {
    /// A string.
    Text(Vec<u8>),
    /// Any other value.
    Value(Value),
    /// The run ends; [`Shared::stop`] says why. No function catches it.
    Stopped,
}

impl fmt::Display for Raise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raise::Text(text) => write!(f, "{}", String::from_utf8_lossy(text)),
            Raise::Value(value) => write!(f, "an error of type {}", value.type_name()),
            Raise::Stopped => f.write_str("the run was stopped"),
        }
    }
}

impl std::error::Error for Raise {}

impl From<Raise> for mlua::Error {
    fn from(raise: Raise) -> mlua::Error {
        mlua::Error::external(raise)
    }
}

/// The raised error within `error`, below what mlua wraps around it.
pub(crate) fn raised(error: &mlua::Error) -> Option<&Raise> {
    match error {
        mlua::Error::CallbackError { cause, .. } => raised(cause),
        mlua::Error::ExternalError(cause) => cause.downcast_ref::<Raise>(),
        _ => None,
    }
}

/// Whether the interpreter ran out of memory.
pub(crate) fn is_memory(error: &mlua::Error) -> bool {
    match error {
        mlua::Error::CallbackError { cause, .. } => is_memory(cause),
        mlua::Error::MemoryError(_) => true,
        _ => false,
    }
}

/// The place of the function at `level` of the stack as `chunk:line: `, empty when it has none.
/// Level 0 is the running function.
pub(crate) fn place(lua: &Lua, level: usize) -> String {
    let place = lua.inspect_stack(level, |debug| {
        let line = debug.current_line().filter(|line| *line > 0)?;
        let source = debug.source().short_src?.into_owned();
        Some(format!("{source}:{line}: "))
    });
    place.flatten().unwrap_or_default()
}

/// The level of the function that called into the library: level 1, or the first one behind the
/// functions of the prelude.
pub(crate) fn caller(lua: &Lua) -> usize {
    caller_above(lua, 0)
}

/// The same for the function at `level`.
pub(crate) fn caller_above(lua: &Lua, level: usize) -> usize {
    let mut level = level + 1;
    while is_prelude(lua, level) {
        level += 1;
        // A tail call leaves a level without a function behind the one that it called.
        let is_tail = lua.inspect_stack(level, |debug| debug.source().what == "tail");
        level += usize::from(is_tail == Some(true));
    }
    level
}

/// The chunk name of the prelude: `?` in places.
pub(crate) const PRELUDE_CHUNK: &str = "=?";

/// Whether the function at `level` is one of the prelude.
pub(crate) fn is_prelude(lua: &Lua, level: usize) -> bool {
    let source = lua.inspect_stack(level, |debug| {
        debug.source().source.as_deref() == Some(PRELUDE_CHUNK)
    });
    source == Some(true)
}

/// A type name as Lua has it.
pub(crate) fn type_name(value: Option<&Value>) -> &'static str {
    match value {
        None => "no value",
        Some(Value::Nil) => "nil",
        Some(Value::Boolean(_)) => "boolean",
        Some(Value::Integer(_) | Value::Number(_)) => "number",
        Some(Value::String(_)) => "string",
        Some(Value::Table(_)) => "table",
        Some(Value::Function(_)) => "function",
        Some(Value::Thread(_)) => "thread",
        Some(_) => "userdata",
    }
}

/// The integer of a double as C converts it on 64-bit machines: towards zero, and the smallest
/// integer for what does not fit.
pub(crate) fn to_integer(number: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number) {
        number as i64
    } else {
        i64::MIN
    }
}

/// A number of Lua, which mlua gives as an integer when it is one.
pub(crate) fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

/// A call of a library function: its arguments, counted from 1, and how it reports errors.
pub(crate) struct Call<'a> {
    pub(crate) lua: &'a Lua,
    pub(crate) shared: &'a Shared,
    pub(crate) args: MultiValue,
}

impl Call<'_> {
    /// The number of arguments.
    pub(crate) fn len(&self) -> usize {
        self.args.len()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Value> {
        self.args.get(index - 1)
    }

    /// Whether the argument is absent or nil.
    pub(crate) fn is_none_or_nil(&self, index: usize) -> bool {
        matches!(self.get(index), None | Some(Value::Nil))
    }

    /// Fails when the run is to end, because the host says so or for its memory.
    pub(crate) fn interrupt(&self) -> mlua::Result<()> {
        self.shared.check_memory(self.lua)?;
        self.shared.interrupt()
    }

    /// An error with the place of the caller in front.
    pub(crate) fn error(&self, message: impl AsRef<[u8]>) -> mlua::Error {
        let mut text = place(self.lua, caller(self.lua)).into_bytes();
        text.extend_from_slice(message.as_ref());
        Raise::Text(text).into()
    }

    /// `bad argument #1 to 'rep' (...)`, with the name by which the script called.
    pub(crate) fn argument_error(&self, index: usize, message: impl AsRef<[u8]>) -> mlua::Error {
        let (name, is_method) = self
            .lua
            .inspect_stack(caller(self.lua) - 1, |debug| {
                let names = debug.names();
                (
                    names.name.map(|name| name.into_owned()),
                    names.name_what == Some("method"),
                )
            })
            .unwrap_or((None, false));
        let name = name.filter(|name| !name.is_empty());
        let name = name.as_deref().unwrap_or("?");
        let head = match index {
            1 if is_method => format!("calling '{name}' on bad self ("),
            _ if is_method => format!("bad argument #{} to '{name}' (", index - 1),
            _ => format!("bad argument #{index} to '{name}' ("),
        };
        self.error([head.as_bytes(), message.as_ref(), b")"].concat())
    }

    /// `string expected, got nil`.
    pub(crate) fn type_error(&self, index: usize, expected: &str) -> mlua::Error {
        let got = type_name(self.get(index));
        self.argument_error(index, format!("{expected} expected, got {got}"))
    }

    /// A string, or a number as its text.
    pub(crate) fn string(&self, index: usize) -> mlua::Result<LuaString> {
        match self.get(index) {
            Some(Value::String(string)) => Ok(string.clone()),
            Some(value @ (Value::Integer(_) | Value::Number(_))) => self
                .lua
                .coerce_string(value.clone())?
                .ok_or_else(|| self.type_error(index, "string")),
            _ => Err(self.type_error(index, "string")),
        }
    }

    /// A number, or a string that is one.
    pub(crate) fn number(&self, index: usize) -> mlua::Result<f64> {
        match self.get(index) {
            Some(Value::Integer(number)) => Ok(*number as f64),
            Some(Value::Number(number)) => Ok(*number),
            Some(Value::String(string)) => self
                .lua
                .coerce_number(Value::String(string.clone()))?
                .ok_or_else(|| self.type_error(index, "number")),
            _ => Err(self.type_error(index, "number")),
        }
    }

    /// A number as an integer.
    pub(crate) fn integer(&self, index: usize) -> mlua::Result<i64> {
        match self.get(index) {
            Some(Value::Integer(number)) => Ok(*number),
            _ => Ok(to_integer(self.number(index)?)),
        }
    }

    /// A number as an integer, `default` when the argument is absent or nil.
    pub(crate) fn integer_or(&self, index: usize, default: i64) -> mlua::Result<i64> {
        if self.is_none_or_nil(index) {
            return Ok(default);
        }
        self.integer(index)
    }

    /// A number as a C `int`: the lower 32 bits of the integer.
    pub(crate) fn int(&self, index: usize) -> mlua::Result<i32> {
        Ok(self.integer(index)? as i32)
    }

    /// A number as a C `int`, `default` when the argument is absent or nil.
    pub(crate) fn int_or(&self, index: usize, default: i32) -> mlua::Result<i32> {
        if self.is_none_or_nil(index) {
            return Ok(default);
        }
        self.int(index)
    }

    pub(crate) fn table(&self, index: usize) -> mlua::Result<&Table> {
        match self.get(index) {
            Some(Value::Table(table)) => Ok(table),
            _ => Err(self.type_error(index, "table")),
        }
    }

    /// A table that the script may change.
    pub(crate) fn own_table(&self, index: usize) -> mlua::Result<&Table> {
        let table = self.table(index)?;
        if self.shared.is_protected(table)? {
            return Err(read_only());
        }
        Ok(table)
    }

    /// Whether the argument counts as true.
    pub(crate) fn truth(&self, index: usize) -> bool {
        !matches!(
            self.get(index),
            None | Some(Value::Nil | Value::Boolean(false))
        )
    }
}

/// The error of a change to a library's table by a function. It has no place.
pub(crate) fn read_only() -> mlua::Error {
    Raise::Text(READ_ONLY.to_vec()).into()
}

/// The text for a change of a table of the server's.
pub(crate) const READ_ONLY: &[u8] = b"Attempt to modify a readonly table";

/// Makes a function of Rust callable from Lua.
pub(crate) fn function<R: mlua::IntoLuaMulti + 'static>(
    lua: &Lua,
    shared: &Rc<Shared>,
    body: fn(&Call<'_>) -> mlua::Result<R>,
) -> mlua::Result<Function> {
    closure(lua, shared, body)
}

/// Makes a function of Rust with a state of its own callable from Lua.
///
/// The function itself allocates without a limit: one that may allocate much asks
/// [`Call::interrupt`] from time to time, and [`Shared::check_bytes`] for strings.
pub(crate) fn closure<R: mlua::IntoLuaMulti + 'static>(
    lua: &Lua,
    shared: &Rc<Shared>,
    body: impl Fn(&Call<'_>) -> mlua::Result<R> + 'static,
) -> mlua::Result<Function> {
    let shared = Rc::clone(shared);
    lua.create_function(move |lua, args: MultiValue| {
        shared.unlimit_memory(lua);
        let result = body(&Call {
            lua,
            shared: &shared,
            args,
        });
        shared.limit_memory(lua);
        result
    })
}
