//! Errors that library functions raise, with the texts and places of PUC Lua's auxiliary library.

use std::fmt;

use mlua::{Lua, Value};

/// An error that a function of Rust raises. Scripts see its value, never this type: every
/// function that catches errors unwraps it.
#[derive(Clone, Debug)]
pub(crate) enum Raise {
    /// A string.
    Text(Vec<u8>),
    /// The value in [`Shared::pending`](crate::state::Shared): an error holds no reference itself,
    /// because it lives until it is collected, and references are some eight thousand.
    Pending,
    /// The run ends; [`Shared::stop`] says why. No function catches it.
    Stopped,
}

impl fmt::Display for Raise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raise::Text(text) => write!(f, "{}", String::from_utf8_lossy(text)),
            Raise::Pending => f.write_str("an error with a value"),
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

/// The run ends; [`Shared::stop`](crate::state::Shared::stop) says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped;

impl From<Stopped> for mlua::Error {
    fn from(Stopped: Stopped) -> mlua::Error {
        Raise::Stopped.into()
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

/// The error of a change to a library's table by a function. It has no place.
pub(crate) fn read_only() -> mlua::Error {
    Raise::Text(READ_ONLY.to_vec()).into()
}

/// The text for a change of a table of the server's.
pub(crate) const READ_ONLY: &[u8] = b"Attempt to modify a readonly table";
