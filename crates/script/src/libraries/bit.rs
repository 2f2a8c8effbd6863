//! `bit`: operations on 32-bit integers.

use std::rc::Rc;

use mlua::{Lua, Table, Value};

use crate::call::{Call, function};
use crate::state::Shared;

/// Adding it moves the integer part of a double into the lower bits of its fraction: 2^52 + 2^51.
const SHIFTER: f64 = 6_755_399_441_055_744.0;

/// The library.
pub(crate) fn library(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Table> {
    type Body = fn(&Call<'_>) -> mlua::Result<Value>;
    let functions: [(&str, Body); 12] = [
        ("tobit", |call| result(bits(call, 1)?)),
        ("bnot", |call| result(!bits(call, 1)?)),
        ("band", |call| fold(call, |left, right| left & right)),
        ("bor", |call| fold(call, |left, right| left | right)),
        ("bxor", |call| fold(call, |left, right| left ^ right)),
        ("lshift", |call| shift(call, |bits, count| bits << count)),
        ("rshift", |call| shift(call, |bits, count| bits >> count)),
        ("arshift", |call| {
            shift(call, |bits, count| ((bits as i32) >> count) as u32)
        }),
        ("rol", |call| shift(call, u32::rotate_left)),
        ("ror", |call| shift(call, u32::rotate_right)),
        ("bswap", |call| result(bits(call, 1)?.swap_bytes())),
        ("tohex", tohex),
    ];
    let table = lua.create_table()?;
    for (name, body) in functions {
        table.raw_set(name, function(lua, shared, body)?)?;
    }
    Ok(table)
}

/// An argument modulo 2^32, rounded to even.
fn bits(call: &Call<'_>, index: usize) -> mlua::Result<u32> {
    Ok((call.number(index)? + SHIFTER).to_bits() as u32)
}

fn result(bits: u32) -> mlua::Result<Value> {
    Ok(Value::Integer(i64::from(bits as i32)))
}

fn fold(call: &Call<'_>, operation: fn(u32, u32) -> u32) -> mlua::Result<Value> {
    let mut all = bits(call, 1)?;
    for index in (2..=call.len()).rev() {
        all = operation(all, bits(call, index)?);
    }
    result(all)
}

fn shift(call: &Call<'_>, operation: fn(u32, u32) -> u32) -> mlua::Result<Value> {
    let value = bits(call, 1)?;
    result(operation(value, bits(call, 2)? & 31))
}

fn tohex(call: &Call<'_>) -> mlua::Result<Value> {
    let value = bits(call, 1)?;
    let count = match call.get(2) {
        None => 8,
        Some(_) => (bits(call, 2)? as i32).max(-i32::MAX),
    };
    let text = if count < 0 {
        format!("{value:08X}")
    } else {
        format!("{value:08x}")
    };
    let digits = (count.unsigned_abs() as usize).min(8);
    let text = call.lua.create_string(&text[8 - digits..])?;
    Ok(Value::String(text))
}
