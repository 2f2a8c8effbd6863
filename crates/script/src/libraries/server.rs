//! The tables `redis` and `server`.

use std::rc::Rc;

use mlua::{BorrowedBytes, Function, Lua, Table, Value};
use resp::{Protocol, number};
use sha1::{Digest, Sha1};
use smallvec::SmallVec;

use crate::call::{Call, function};
use crate::convert::error_table;
use crate::header::{Flags, FunctionInfo};
use crate::limits::{Identity, version_number};
use crate::number::argument_of;
use crate::raise::Raise;
use crate::state::{Mode, Shared};
use crate::sys;
use crate::{AclVerdict, LogLevel, Replication};

/// Bits of `redis.set_repl`.
const REPL_AOF: i32 = 1;
const REPL_REPLICA: i32 = 2;

/// Arguments of a call without an allocation for the list.
const ARGUMENTS_INLINE: usize = 16;

/// The table of scripts and of running functions.
pub(crate) fn api(lua: &Lua, shared: &Rc<Shared>, identity: &Identity) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    add_log(lua, shared, &table)?;
    add_versions(&table, identity)?;
    table.raw_set("call", sys::function(lua, shared, sys::call)?)?;
    table.raw_set("pcall", sys::function(lua, shared, sys::pcall)?)?;
    table.raw_set("setresp", function(lua, shared, setresp)?)?;
    table.raw_set("sha1hex", function(lua, shared, sha1hex)?)?;
    table.raw_set("error_reply", function(lua, shared, error_reply)?)?;
    table.raw_set("status_reply", function(lua, shared, status_reply)?)?;
    table.raw_set("set_repl", function(lua, shared, set_repl)?)?;
    for (name, value) in [
        ("REPL_NONE", 0),
        ("REPL_AOF", REPL_AOF),
        ("REPL_SLAVE", REPL_REPLICA),
        ("REPL_REPLICA", REPL_REPLICA),
        ("REPL_ALL", REPL_AOF | REPL_REPLICA),
    ] {
        table.raw_set(name, value)?;
    }
    table.raw_set("acl_check_cmd", function(lua, shared, acl_check_cmd)?)?;
    Ok(table)
}

/// Adds what only scripts of EVAL have.
pub(crate) fn add_eval_api(lua: &Lua, shared: &Rc<Shared>, table: &Table) -> mlua::Result<()> {
    table.raw_set("breakpoint", function(lua, shared, |_| Ok(false))?)?;
    table.raw_set("debug", function(lua, shared, |_| Ok(()))?)?;
    table.raw_set("replicate_commands", function(lua, shared, |_| Ok(true))?)
}

/// The table of the code of libraries while it registers functions.
pub(crate) fn load_api(lua: &Lua, shared: &Rc<Shared>, identity: &Identity) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    add_log(lua, shared, &table)?;
    add_versions(&table, identity)?;
    table.raw_set(
        "register_function",
        function(lua, shared, register_function)?,
    )?;
    Ok(table)
}

fn add_log(lua: &Lua, shared: &Rc<Shared>, table: &Table) -> mlua::Result<()> {
    table.raw_set("log", function(lua, shared, log)?)?;
    for (level, name) in ["LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"]
        .iter()
        .enumerate()
    {
        table.raw_set(*name, level)?;
    }
    Ok(())
}

fn add_versions(table: &Table, identity: &Identity) -> mlua::Result<()> {
    table.raw_set("REDIS_VERSION", identity.redis_version.as_str())?;
    table.raw_set("REDIS_VERSION_NUM", version_number(&identity.redis_version))?;
    table.raw_set("VALKEY_VERSION", identity.valkey_version.as_str())?;
    table.raw_set(
        "VALKEY_VERSION_NUM",
        version_number(&identity.valkey_version),
    )?;
    table.raw_set("SERVER_NAME", identity.server_name.as_str())
}

/// Raises an error of the server's functions: a table with its text.
fn raise(call: &Call<'_>, message: &str) -> mlua::Error {
    match error_table(call.lua, message.as_bytes()) {
        Ok(table) => call.shared.raise(Value::Table(table)),
        Err(error) => error,
    }
}

fn raise_unless_running(call: &Call<'_>) -> mlua::Result<()> {
    if call.shared.is_stopped() {
        return Err(Raise::Stopped.into());
    }
    Ok(())
}

/// One argument of a command: bytes of Lua, or the text of a number.
enum Argument {
    Bytes(BorrowedBytes),
    Number([u8; number::F64_BYTES_MAX], usize),
}

impl Argument {
    fn new(value: &Value) -> Option<Argument> {
        match value {
            Value::String(text) => Some(Argument::Bytes(text.as_bytes())),
            Value::Integer(integer) => Some(Argument::number(*integer as f64)),
            Value::Number(value) => Some(Argument::number(*value)),
            _ => None,
        }
    }

    fn number(value: f64) -> Argument {
        let mut buffer = [0; number::F64_BYTES_MAX];
        let printed = argument_of(value, &mut buffer);
        let mut text = [0; number::F64_BYTES_MAX];
        text[..printed.len()].copy_from_slice(printed);
        Argument::Number(text, printed.len())
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Argument::Bytes(bytes) => bytes,
            Argument::Number(text, len) => &text[..*len],
        }
    }
}

/// Gives the arguments of the call to `run`, or an error for the script.
fn with_arguments<R>(call: &Call<'_>, run: impl FnOnce(&[&[u8]]) -> R) -> Result<R, &'static str> {
    if call.len() == 0 {
        return Err("Please specify at least one argument for this call");
    }
    let arguments: Option<SmallVec<[Argument; ARGUMENTS_INLINE]>> =
        call.args.iter().map(Argument::new).collect();
    let Some(arguments) = arguments else {
        return Err("Command arguments must be strings or integers");
    };
    let slices: SmallVec<[&[u8]; ARGUMENTS_INLINE]> =
        arguments.iter().map(Argument::bytes).collect();
    Ok(run(&slices))
}

fn setresp(call: &Call<'_>) -> mlua::Result<()> {
    if call.len() != 1 {
        return Err(raise(call, "server.setresp() requires one argument."));
    }
    let protocol = match int_of(call, 1)? {
        2 => Protocol::Resp2,
        3 => Protocol::Resp3,
        _ => return Err(raise(call, "RESP version must be 2 or 3.")),
    };
    call.shared.protocol.set(protocol);
    Ok(())
}

/// The argument as a C `int`, 0 for what is no number.
fn int_of(call: &Call<'_>, index: usize) -> mlua::Result<i32> {
    let value = call.get(index).cloned().unwrap_or(Value::Nil);
    let number = call.lua.coerce_number(value)?.unwrap_or(0.0);
    // A conversion that does not fit gives the smallest integer.
    Ok(if number > -2_147_483_649.0 && number < 2_147_483_648.0 {
        number as i32
    } else {
        i32::MIN
    })
}

fn sha1hex(call: &Call<'_>) -> mlua::Result<String> {
    if call.len() != 1 {
        return Err(raise(call, "wrong number of arguments"));
    }
    let value = call.get(1).cloned().unwrap_or(Value::Nil);
    let digest = match call.lua.coerce_string(value)? {
        Some(text) => Sha1::digest(&*text.as_bytes()),
        None => Sha1::digest(b""),
    };
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The only argument when it is a string, else the error that the function returns.
fn only_string(call: &Call<'_>) -> Result<BorrowedBytes, mlua::Result<Table>> {
    match (call.len(), call.get(1)) {
        (1, Some(Value::String(text))) => Ok(text.as_bytes()),
        _ => Err(error_table(call.lua, b"wrong number or type of arguments")),
    }
}

fn error_reply(call: &Call<'_>) -> mlua::Result<Table> {
    match only_string(call) {
        Ok(text) if text.first() == Some(&b'-') => error_table(call.lua, &text),
        Ok(text) => error_table(call.lua, &[b"-", &*text].concat()),
        Err(error) => error,
    }
}

fn status_reply(call: &Call<'_>) -> mlua::Result<Table> {
    match only_string(call) {
        Ok(text) => {
            let table = call.lua.create_table_with_capacity(0, 1)?;
            table.raw_set("ok", call.lua.create_string(&*text)?)?;
            Ok(table)
        }
        Err(error) => error,
    }
}

fn set_repl(call: &Call<'_>) -> mlua::Result<()> {
    if call.len() != 1 {
        return Err(raise(call, "server.set_repl() requires one argument."));
    }
    let scope = int_of(call, 1)?;
    if scope & !(REPL_AOF | REPL_REPLICA) != 0 {
        let message =
            "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.";
        return Err(raise(call, message));
    }
    call.shared.set_replication(Replication {
        aof: scope & REPL_AOF != 0,
        replicas: scope & REPL_REPLICA != 0,
    });
    Ok(())
}

fn acl_check_cmd(call: &Call<'_>) -> mlua::Result<bool> {
    raise_unless_running(call)?;
    match with_arguments(call, |args| call.shared.acl_check(args)) {
        Ok(AclVerdict::Allowed) => Ok(true),
        Ok(AclVerdict::Denied) => Ok(false),
        Ok(AclVerdict::Invalid) => Err(raise(
            call,
            "Invalid command passed to server.acl_check_cmd()",
        )),
        Err(message) => Err(raise(call, message)),
    }
}

fn log(call: &Call<'_>) -> mlua::Result<()> {
    if call.len() < 2 {
        return Err(raise(call, "server.log() requires two arguments or more."));
    }
    let first = call.get(1).cloned().unwrap_or(Value::Nil);
    if call.lua.coerce_number(first)?.is_none() {
        return Err(raise(call, "First argument must be a number (log level)."));
    }
    let level = match int_of(call, 1)? {
        0 => LogLevel::Debug,
        1 => LogLevel::Verbose,
        2 => LogLevel::Notice,
        3 => LogLevel::Warning,
        _ => return Err(raise(call, "Invalid log level.")),
    };
    let mut message = Vec::new();
    for (index, value) in call.args.iter().enumerate().skip(1) {
        if let Some(text) = call.lua.coerce_string(value.clone())? {
            if index > 1 {
                message.push(b' ');
            }
            message.extend_from_slice(&text.as_bytes());
        }
    }
    call.shared.log(level, &message);
    Ok(())
}

fn register_function(call: &Call<'_>) -> mlua::Result<()> {
    if call.shared.mode.get() != Mode::Load {
        let message = "server.register_function can only be called on FUNCTION LOAD command";
        return Err(raise(call, message));
    }
    let registered = match call.len() {
        1 => named_registration(call)?,
        2 => positional_registration(call)?,
        _ => {
            let message = "wrong number of arguments to server.register_function";
            return Err(raise(call, message));
        }
    };
    let (info, callback) = registered;
    let mut registered = call.shared.registered.borrow_mut();
    registered.push(info);
    let callbacks = &call.shared.originals()?.callbacks;
    callbacks.raw_set(registered.len(), callback)
}

/// The bytes of a string, or of a number as its text.
fn text_of(call: &Call<'_>, value: &Value) -> mlua::Result<Option<Vec<u8>>> {
    let text = match value {
        Value::String(_) | Value::Integer(_) | Value::Number(_) => {
            call.lua.coerce_string(value.clone())?
        }
        _ => None,
    };
    Ok(text.map(|text| text.as_bytes().to_vec()))
}

fn positional_registration(call: &Call<'_>) -> mlua::Result<(FunctionInfo, Function)> {
    let name = match call.get(1) {
        Some(value) => text_of(call, value)?,
        None => None,
    };
    let Some(name) = name else {
        let message = "first argument to server.register_function must be a string";
        return Err(raise(call, message));
    };
    let Some(Value::Function(callback)) = call.get(2) else {
        let message = "second argument to server.register_function must be a function";
        return Err(raise(call, message));
    };
    let info = FunctionInfo {
        name,
        description: None,
        flags: Flags::default(),
    };
    Ok((info, callback.clone()))
}

fn named_registration(call: &Call<'_>) -> mlua::Result<(FunctionInfo, Function)> {
    let Some(Value::Table(named)) = call.get(1) else {
        let message = "calling server.register_function with a single argument is only \
                       applicable to Lua table (representing named arguments).";
        return Err(raise(call, message));
    };
    let mut name = None;
    let mut description = None;
    let mut callback = None;
    let mut flags = Flags::default();
    for pair in named.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let Some(key) = text_of(call, &key)? else {
            let message = "named argument key given to server.register_function is not a string";
            return Err(raise(call, message));
        };
        match key.to_ascii_lowercase().as_slice() {
            b"function_name" => match text_of(call, &value)? {
                Some(text) => name = Some(text),
                None => return Err(not_a(call, "function_name", "string")),
            },
            b"description" => match text_of(call, &value)? {
                Some(text) => description = Some(text),
                None => return Err(not_a(call, "description", "string")),
            },
            b"callback" => match value {
                Value::Function(function) => callback = Some(function),
                _ => return Err(not_a(call, "callback", "function")),
            },
            b"flags" => flags = registered_flags(call, &value)?,
            _ => {
                let message = "unknown argument given to server.register_function";
                return Err(raise(call, message));
            }
        }
    }
    let Some(name) = name else {
        let message = "server.register_function must get a function name argument";
        return Err(raise(call, message));
    };
    let Some(callback) = callback else {
        let message = "server.register_function must get a callback argument";
        return Err(raise(call, message));
    };
    let info = FunctionInfo {
        name,
        description,
        flags,
    };
    Ok((info, callback))
}

fn not_a(call: &Call<'_>, argument: &str, kind: &str) -> mlua::Error {
    let message = format!("{argument} argument given to server.register_function must be a {kind}");
    raise(call, &message)
}

fn registered_flags(call: &Call<'_>, value: &Value) -> mlua::Result<Flags> {
    let Value::Table(list) = value else {
        let message = "flags argument to server.register_function must be a table \
                       representing function flags";
        return Err(raise(call, message));
    };
    let mut flags = Flags::default();
    for index in 1.. {
        let item: Value = list.raw_get(index)?;
        if item.is_nil() {
            break;
        }
        let name = text_of(call, &item)?.map(|text| text.to_ascii_lowercase());
        let flag = Flags::NAMES
            .iter()
            .find(|(_, known)| name.as_deref() == Some(known.as_bytes()));
        match flag {
            Some((flag, _)) => flags = flags.union(*flag),
            None => return Err(raise(call, "unknown flag given")),
        }
    }
    Ok(flags)
}
