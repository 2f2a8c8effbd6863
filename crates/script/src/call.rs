//! Calls of library functions: arguments and errors as PUC Lua's auxiliary library has them.

use std::rc::Rc;

use mlua::{Function, Lua, LuaString, MultiValue, Value};

use crate::raise::{Raise, Stopped, caller, place, to_integer, type_name};
use crate::state::Shared;
use crate::sys::guarded;

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
    pub(crate) fn interrupt(&self) -> Result<(), Stopped> {
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
}

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
        let call = Call {
            lua,
            shared: &shared,
            args,
        };
        let result = guarded(&shared, || Ok(body(&call)));
        shared.limit_memory(lua);
        result?
    })
}
