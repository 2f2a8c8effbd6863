//! What the prelude needs of Rust.

use std::rc::Rc;

use mlua::{Function, Lua, MultiValue, Table, Value};

use crate::call::{Call, function};
use crate::raise::{
    READ_ONLY, Raise, caller, caller_above, is_prelude, place, read_only, type_name,
};
use crate::state::Shared;

/// Options of `collectgarbage`, and whether they change the collector.
const COLLECTOR_OPTIONS: [(&str, bool); 7] = [
    ("stop", true),
    ("restart", true),
    ("collect", false),
    ("count", false),
    ("step", false),
    ("setpause", true),
    ("setstepmul", true),
];

/// The begin of the place that the interpreter puts in front of errors in the prelude.
const PRELUDE_PLACE: &[u8] = b"?:";

/// Adds the helpers of the prelude to `table`.
pub(crate) fn add_helpers(lua: &Lua, shared: &Rc<Shared>, table: &Table) -> mlua::Result<()> {
    table.raw_set("caught", function(lua, shared, caught)?)?;
    table.raw_set("caught_by_pcall", function(lua, shared, caught_by_pcall)?)?;
    table.raw_set("stopped", function(lua, shared, stopped)?)?;
    table.raw_set("rethrow", function(lua, shared, rethrow)?)?;
    table.raw_set("raise_plain", function(lua, shared, raise_plain)?)?;
    table.raw_set(
        "interrupt",
        function(lua, shared, |call| Ok(call.interrupt()?))?,
    )?;
    table.raw_set("compile", function(lua, shared, compile_chunk)?)?;
    table.raw_set("argument_error", function(lua, shared, argument_error)?)?;
    table.raw_set("type_error", function(lua, shared, type_error)?)?;
    table.raw_set("error_at", function(lua, shared, error_at)?)?;
    table.raw_set("placed", function(lua, shared, placed)?)?;
    table.raw_set("plain_error", function(lua, shared, plain_error)?)?;
    table.raw_set("read_only", function(lua, shared, change_read_only)?)?;
    table.raw_set("undefined", function(lua, shared, undefined)?)?;
    table.raw_set("string", function(lua, shared, string)?)?;
    table.raw_set("optional_string", function(lua, shared, optional_string)?)?;
    table.raw_set("integer", function(lua, shared, integer)?)?;
    table.raw_set("is_lua", function(lua, shared, is_lua)?)?;
    table.raw_set("collector_option", function(lua, shared, collector_option)?)?;
    table.raw_set("error_handler", function(lua, shared, handle_error)?)
}

fn first(call: &Call<'_>) -> Value {
    call.get(1).cloned().unwrap_or(Value::Nil)
}

/// The value of an error. A place in the prelude is that of the function that called it.
fn caught(call: &Call<'_>) -> mlua::Result<Value> {
    let value = call.shared.caught(call.lua, first(call))?;
    if let Value::String(text) = &value
        && let Some(message) = without_prelude(&text.as_bytes())
    {
        let place = place(call.lua, caller(call.lua));
        let text = [place.as_bytes(), message].concat();
        return call.lua.create_string(text).map(Value::String);
    }
    Ok(value)
}

/// The message of an error behind its place in the prelude.
fn without_prelude(text: &[u8]) -> Option<&[u8]> {
    let rest = text.strip_prefix(PRELUDE_PLACE)?;
    let digits = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    rest[digits..].strip_prefix(b": ")
}

/// The value that `pcall` gives: of an error of a command its text.
/// Behind a table without a text stands its field as well, which Valkey's `pcall` leaves there.
fn caught_by_pcall(call: &Call<'_>) -> mlua::Result<MultiValue> {
    let value = caught(call)?;
    let Value::Table(table) = &value else {
        return Ok(MultiValue::from_iter([value]));
    };
    let text = if table.has_metatable() {
        let index = &call.shared.originals()?.index;
        let key = Value::String(call.lua.create_string("err")?);
        call.shared.call(call.lua, index, [value.clone(), key])?
    } else {
        table.raw_get("err")?
    };
    Ok(match text {
        Value::String(_) | Value::Integer(_) | Value::Number(_) => MultiValue::from_iter([text]),
        _ => MultiValue::from_iter([value, text]),
    })
}

fn stopped(call: &Call<'_>) -> mlua::Result<bool> {
    Ok(caught(call).is_err())
}

/// The error of a coroutine, with the place of what resumed it in front of a string.
fn rethrow(call: &Call<'_>) -> mlua::Result<()> {
    let value = caught(call)?;
    match call.lua.coerce_string(value.clone())? {
        Some(text) => {
            let mut message = place(call.lua, caller(call.lua)).into_bytes();
            message.extend_from_slice(&text.as_bytes());
            Err(Raise::Text(message).into())
        }
        None => Err(call.shared.raise(value)),
    }
}

/// The error without the place in the prelude.
fn raise_plain(call: &Call<'_>) -> mlua::Result<()> {
    let value = call.shared.caught(call.lua, first(call))?;
    if let Value::String(text) = &value
        && let Some(message) = without_prelude(&text.as_bytes())
    {
        return Err(Raise::Text(message.to_vec()).into());
    }
    Err(call.shared.raise(value))
}

fn text(call: &Call<'_>, index: usize) -> mlua::Result<String> {
    Ok(call.string(index)?.to_string_lossy())
}

/// `argument_error(index, message)`.
fn argument_error(call: &Call<'_>) -> mlua::Result<()> {
    let index = call.int(1)? as usize;
    Err(call.argument_error(index, &text(call, 2)?))
}

/// `type_error(index, expected, ...)` with the arguments of the function.
fn type_error(call: &Call<'_>) -> mlua::Result<()> {
    let index = call.int(1)? as usize;
    let got = type_name(call.get(index + 2));
    let message = format!("{} expected, got {got}", text(call, 2)?);
    Err(call.argument_error(index, &message))
}

fn error_at(call: &Call<'_>) -> mlua::Result<()> {
    Err(call.error(text(call, 1)?))
}

/// A message with the place of the caller in front.
fn placed(call: &Call<'_>) -> mlua::Result<String> {
    Ok(place(call.lua, caller(call.lua)) + &text(call, 1)?)
}

fn plain_error(_: &Call<'_>) -> mlua::Result<()> {
    Err(read_only())
}

/// `__newindex` of read-only tables.
fn change_read_only(call: &Call<'_>) -> mlua::Result<()> {
    Err(call.error(READ_ONLY))
}

/// `__index` of globals.
fn undefined(call: &Call<'_>) -> mlua::Result<()> {
    if call.len() != 2 {
        return Err(call.error("Wrong number of arguments to luaProtectedTableError"));
    }
    let Ok(name) = call.string(2) else {
        let message = "Second argument to luaProtectedTableError must be a string or number";
        return Err(call.error(message));
    };
    let mut message = b"Script attempted to access nonexistent global variable '".to_vec();
    // The text ends at a NUL, as C formats it.
    message.extend(name.as_bytes().iter().take_while(|byte| **byte != 0));
    message.push(b'\'');
    Err(call.error(message))
}

/// The arguments of the script's call, for helpers with `extra` arguments in front of them.
fn arguments<'a>(call: &Call<'a>, extra: usize) -> Call<'a> {
    Call {
        lua: call.lua,
        shared: call.shared,
        args: call.args.iter().skip(extra).cloned().collect(),
    }
}

/// `string(index, ...)`.
fn string(call: &Call<'_>) -> mlua::Result<Value> {
    let index = call.int(1)? as usize;
    arguments(call, 1).string(index).map(Value::String)
}

/// `optional_string(index, ...)`.
fn optional_string(call: &Call<'_>) -> mlua::Result<Value> {
    let index = call.int(1)? as usize;
    let call = arguments(call, 1);
    if call.is_none_or_nil(index) {
        return Ok(Value::Nil);
    }
    call.string(index).map(Value::String)
}

/// `integer(index, default, ...)`.
fn integer(call: &Call<'_>) -> mlua::Result<i32> {
    let index = call.int(1)? as usize;
    let default = call.int(2)?;
    arguments(call, 2).int_or(index, default)
}

/// Whether a function is of Lua, not of C or Rust.
fn is_lua(call: &Call<'_>) -> mlua::Result<bool> {
    Ok(match call.get(1) {
        Some(Value::Function(function)) => function.info().what != "C",
        _ => false,
    })
}

/// The option and the argument of `collectgarbage`.
fn collector_option(call: &Call<'_>) -> mlua::Result<MultiValue> {
    let name = if call.is_none_or_nil(1) {
        b"collect".to_vec()
    } else {
        call.string(1)?.as_bytes().to_vec()
    };
    let option = COLLECTOR_OPTIONS
        .iter()
        .find(|(option, _)| option.as_bytes() == name);
    let Some((name, changes)) = option else {
        return Err(call.argument_error(1, option_error(&name)));
    };
    let argument = call.int_or(2, 0)?;
    if *changes {
        call.shared.collector_touched.set(true);
    }
    let name = call.lua.create_string(name)?;
    Ok(MultiValue::from_iter([
        Value::String(name),
        Value::Integer(argument.into()),
    ]))
}

/// `compile(text, name)`: a function, or nil and the error.
fn compile_chunk(call: &Call<'_>) -> mlua::Result<MultiValue> {
    let (code, name) = (first(call), call.get(2).cloned().unwrap_or(Value::Nil));
    let function = compile(call.lua, call.shared, code, name)?;
    Ok(match function {
        Ok(function) => MultiValue::from_iter([Value::Function(function)]),
        Err(error) => MultiValue::from_iter([Value::Nil, error]),
    })
}

/// Compiles a text as a function with the globals of what runs; the inner error is that of the
/// compiler, a string.
///
/// The garbage collector rests meanwhile, and the name of the chunk is held: the parser of PUC Lua
/// 5.1 does not hold it itself. Bytecode is never loaded: a text that begins as bytecode does gets
/// a blank in front, which leaves its syntax error as it is.
pub(crate) fn compile(
    lua: &Lua,
    shared: &Shared,
    code: Value,
    name: Value,
) -> mlua::Result<Result<Function, Value>> {
    const BYTECODE: u8 = 0x1b;
    let code = match code {
        Value::String(text) if text.as_bytes().first() == Some(&BYTECODE) => {
            let mut blank = vec![b' '];
            blank.extend_from_slice(&text.as_bytes());
            Value::String(lua.create_string(blank)?)
        }
        other => other,
    };
    let originals = shared.originals()?;
    lua.gc_stop();
    let compiled: mlua::Result<(Value, Value)> =
        shared.call_limited(lua, &originals.loadstring, (code, &name));
    lua.gc_restart();
    match compiled? {
        (Value::Function(function), _) => {
            originals
                .setfenv
                .call::<()>((&function, shared.environment()?))?;
            Ok(Ok(function))
        }
        (_, error) => match shared.caught(lua, error) {
            Ok(error) => Ok(Err(error)),
            Err(stop) => Err(stop),
        },
    }
}

/// The message for an option that is not known, which ends at a NUL.
pub(crate) fn option_error(name: &[u8]) -> Vec<u8> {
    let end = memchr::memchr(0, name).unwrap_or(name.len());
    [b"invalid option '".as_slice(), &name[..end], b"'"].concat()
}

/// Makes the error of a run: a table with the text, the place in the script and its source.
fn handle_error(call: &Call<'_>) -> mlua::Result<Value> {
    let Ok(value) = caught(call) else {
        return stop_error(call);
    };
    let table = match value {
        Value::Table(table) if call.shared.is_protected(&table)? => call.lua.create_table()?,
        Value::Table(table) => table,
        other => error_table(call, &other)?,
    };
    add_place(call, &table)?;
    Ok(Value::Table(table))
}

/// The error of a run that was stopped.
fn stop_error(call: &Call<'_>) -> mlua::Result<Value> {
    let table = call.lua.create_table()?;
    if let Some(stop) = call.shared.stop() {
        table.raw_set("err", stop.message.as_ref())?;
    }
    add_place(call, &table)?;
    Ok(Value::Table(table))
}

fn error_table(call: &Call<'_>, value: &Value) -> mlua::Result<Table> {
    let text = match call.lua.coerce_string(value.clone())? {
        Some(text) => text.as_bytes().to_vec(),
        None => match value {
            Value::Nil => b"nil".to_vec(),
            Value::Boolean(value) => value.to_string().into_bytes(),
            other => format!("{}: {:?}", type_name(Some(other)), other.to_pointer()).into_bytes(),
        },
    };
    let table = call.lua.create_table()?;
    table.raw_set(
        "err",
        call.lua
            .create_string([b"ERR ".as_slice(), &text].concat())?,
    )?;
    Ok(table)
}

/// Adds the place of the function that failed, or of its caller when that one is of the server.
fn add_place(call: &Call<'_>, table: &Table) -> mlua::Result<()> {
    let lua = call.lua;
    let is_foreign = |level| {
        let is_c = lua.inspect_stack(level, |debug| debug.source().what == "C");
        is_c == Some(true) || is_prelude(lua, level)
    };
    let mut level = 1;
    if is_foreign(level) {
        level = caller_above(lua, level);
    }
    let place = lua.inspect_stack(level, |debug| {
        let source = debug.source().source.map(|source| source.into_owned());
        let line = debug.current_line().map_or(-1, |line| line as i64);
        (source, line)
    });
    if let Some((Some(source), line)) = place {
        table.raw_set("source", source)?;
        table.raw_set("line", line)?;
    }
    Ok(())
}
