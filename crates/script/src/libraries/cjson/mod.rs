//! `cjson`: JSON from and to values of Lua, as Lua CJSON 2.1.0 has it.

mod decode;
mod encode;

use std::cell::RefCell;
use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use super::base::option_error;
use crate::call::{Call, closure};
use crate::json_options::{InvalidNumbers, Options};
use crate::state::Shared;

/// Slots that a C function has on the stack of Lua. Nesting ends there when no option ends it
/// before.
const C_STACK_SLOTS: usize = 8000;

/// Levels at which nesting ends in any case: each holds a reference, and the interpreter has some
/// eight thousand.
const LEVELS_MAX: usize = 4000;

type Body = fn(&Call<'_>, &RefCell<Options>) -> mlua::Result<MultiValue>;

/// The library with options of its own.
pub(crate) fn library(
    lua: &Lua,
    shared: &Rc<Shared>,
    options: &Rc<RefCell<Options>>,
) -> mlua::Result<Table> {
    let functions: [(&str, Body); 9] = [
        ("encode", |call, options| {
            encode::encode(call, &options.borrow()).map(one)
        }),
        ("decode", |call, options| {
            decode::decode(call, &options.borrow()).map(one)
        }),
        ("encode_sparse_array", sparse_array),
        ("encode_max_depth", |call, options| {
            check_count(call, 1)?;
            depth(call, &mut options.borrow_mut().encode_depth_max)
        }),
        ("decode_max_depth", |call, options| {
            check_count(call, 1)?;
            depth(call, &mut options.borrow_mut().decode_depth_max)
        }),
        ("encode_number_precision", |call, options| {
            check_count(call, 1)?;
            let precision = &mut options.borrow_mut().precision;
            integer_option(call, 1, precision, (1, 14)).map(one)
        }),
        ("encode_keep_buffer", |call, options| {
            check_count(call, 1)?;
            switch(call, 1, &mut options.borrow_mut().keep_buffer).map(one)
        }),
        ("encode_invalid_numbers", encode_invalid_numbers),
        ("decode_invalid_numbers", |call, options| {
            check_count(call, 1)?;
            switch(call, 1, &mut options.borrow_mut().decode_invalid).map(one)
        }),
    ];
    let table = lua.create_table()?;
    for (name, body) in functions {
        let options = Rc::clone(options);
        let function = closure(lua, shared, move |call| body(call, &options))?;
        table.raw_set(name, function)?;
    }
    let new_shared = Rc::clone(shared);
    let new = lua.create_function(move |lua, _: MultiValue| {
        library(lua, &new_shared, &Rc::new(RefCell::new(Options::default())))
    })?;
    table.raw_set("new", new)?;
    table.raw_set("null", Value::NULL)?;
    table.raw_set("_NAME", "cjson")?;
    table.raw_set("_VERSION", "2.1.0")?;
    Ok(table)
}

fn one(value: Value) -> MultiValue {
    MultiValue::from_iter([value])
}

fn check_count(call: &Call<'_>, count: usize) -> mlua::Result<()> {
    if call.len() > count {
        return Err(call.argument_error(count + 1, "found too many arguments"));
    }
    Ok(())
}

fn depth(call: &Call<'_>, setting: &mut i32) -> mlua::Result<MultiValue> {
    integer_option(call, 1, setting, (1, i32::MAX)).map(one)
}

/// Sets an integer within `range` when the argument is there, and returns it.
fn integer_option(
    call: &Call<'_>,
    index: usize,
    setting: &mut i32,
    range: (i32, i32),
) -> mlua::Result<Value> {
    if !call.is_none_or_nil(index) {
        let value = call.int(index)?;
        if value < range.0 || value > range.1 {
            let message = format!("expected integer between {} and {}", range.0, range.1);
            return Err(call.argument_error(1, &message));
        }
        *setting = value;
    }
    Ok(Value::Integer((*setting).into()))
}

/// The position of the argument among `names`.
fn choice(call: &Call<'_>, index: usize, names: &[&str]) -> mlua::Result<usize> {
    let text = call.string(index)?;
    let text = text.as_bytes();
    match names.iter().position(|name| *name.as_bytes() == *text) {
        Some(position) => Ok(position),
        None => Err(call.argument_error(index, option_error(&text))),
    }
}

/// Sets a truth value when the argument is there, and returns it.
fn switch(call: &Call<'_>, index: usize, setting: &mut bool) -> mlua::Result<Value> {
    match call.get(index) {
        None | Some(Value::Nil) => {}
        Some(Value::Boolean(value)) => *setting = *value,
        Some(_) => *setting = choice(call, index, &["off", "on"])? == 1,
    }
    Ok(Value::Boolean(*setting))
}

fn sparse_array(call: &Call<'_>, options: &RefCell<Options>) -> mlua::Result<MultiValue> {
    check_count(call, 3)?;
    let options = &mut *options.borrow_mut();
    let convert = switch(call, 1, &mut options.sparse_convert)?;
    let ratio = integer_option(call, 2, &mut options.sparse_ratio, (0, i32::MAX))?;
    let safe = integer_option(call, 3, &mut options.sparse_safe, (0, i32::MAX))?;
    Ok(MultiValue::from_iter([convert, ratio, safe]))
}

fn encode_invalid_numbers(call: &Call<'_>, options: &RefCell<Options>) -> mlua::Result<MultiValue> {
    check_count(call, 1)?;
    let setting = &mut options.borrow_mut().encode_invalid;
    match call.get(1) {
        None | Some(Value::Nil) => {}
        Some(Value::Boolean(false)) => *setting = InvalidNumbers::Refused,
        Some(Value::Boolean(true)) => *setting = InvalidNumbers::Written,
        Some(_) => {
            *setting = match choice(call, 1, &["off", "on", "null"])? {
                0 => InvalidNumbers::Refused,
                1 => InvalidNumbers::Written,
                _ => InvalidNumbers::Null,
            };
        }
    }
    Ok(one(match setting {
        InvalidNumbers::Refused => Value::Boolean(false),
        InvalidNumbers::Written => Value::Boolean(true),
        InvalidNumbers::Null => Value::String(call.lua.create_string("null")?),
    }))
}
