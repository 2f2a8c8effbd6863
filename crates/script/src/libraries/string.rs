//! `string.gsub`, and the other functions of `string` that are not PUC Lua's.

use std::rc::Rc;

use mlua::{Lua, LuaString, MultiValue, Table, Value};

use crate::call::{Call, function};
use crate::pattern::{Capture, Extent, Matcher, PatternError};
use crate::raise::type_name;
use crate::state::Shared;
use crate::sys;

/// The functions of `string` that are not PUC Lua's.
pub(crate) fn library(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("gsub", function(lua, shared, gsub)?)?;
    for (name, f) in [
        ("find", sys::find as sys::CFunction),
        ("match", sys::match_),
        ("gmatch", sys::gmatch),
        ("gfind", sys::gmatch),
        ("rep", sys::rep),
    ] {
        table.raw_set(name, sys::function(lua, shared, f)?)?;
    }
    Ok(table)
}

fn pattern_error(call: &Call<'_>, error: PatternError) -> mlua::Error {
    match error {
        PatternError::Malformed(text) => call.error(text),
        PatternError::Interrupted(stopped) => stopped.into(),
    }
}

/// The value of a capture.
fn capture_value(call: &Call<'_>, subject: &[u8], capture: Capture) -> mlua::Result<Value> {
    match capture.extent {
        Extent::Open => Err(call.error("unfinished capture")),
        Extent::Position => Ok(Value::Integer(capture.start as i64 + 1)),
        Extent::Bytes(bytes) => {
            let text = &subject[capture.start..capture.start + bytes];
            Ok(Value::String(call.lua.create_string(text)?))
        }
    }
}

/// Appends the captures, or the whole match when there are none and it is given.
fn push_captures(
    call: &Call<'_>,
    results: &mut MultiValue,
    subject: &[u8],
    captures: &[Capture],
    whole: Option<(usize, usize)>,
) -> mlua::Result<()> {
    if let (true, Some((start, end))) = (captures.is_empty(), whole) {
        let text = call.lua.create_string(&subject[start..end])?;
        results.push_back(Value::String(text));
        return Ok(());
    }
    for capture in captures {
        results.push_back(capture_value(call, subject, *capture)?);
    }
    Ok(())
}

/// What `gsub` puts in the place of a match.
enum Replacement<'a> {
    Text(LuaString),
    Table(&'a Table),
    Function(&'a mlua::Function),
}

fn gsub(call: &Call<'_>) -> mlua::Result<MultiValue> {
    let (subject, pattern) = (call.string(1)?, call.string(2)?);
    let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
    let count_max = call.int_or(4, (subject.len() + 1) as i32)?;
    let replacement = match call.get(3) {
        Some(Value::Table(table)) => Replacement::Table(table),
        Some(Value::Function(function)) => Replacement::Function(function),
        Some(Value::String(_) | Value::Integer(_) | Value::Number(_)) => {
            Replacement::Text(call.string(3)?)
        }
        _ => return Err(call.argument_error(3, "string/function/table expected")),
    };
    let (anchored, pattern) = match pattern.split_first() {
        Some((b'^', rest)) => (true, rest),
        _ => (false, &*pattern),
    };
    let interrupt = || call.interrupt();
    // A replacement that matches patterns itself gets a room of its own.
    let mut space = call.shared.space.take();
    let mut matcher = Matcher::new(&subject, pattern, &mut space, &interrupt);
    let mut result = Vec::new();
    let mut count = 0;
    let mut at = 0;
    while count < count_max {
        let end = matcher
            .match_at(at)
            .map_err(|error| pattern_error(call, error))?;
        if let Some(end) = end {
            count += 1;
            let found = Found {
                subject: &subject,
                captures: matcher.captures(),
                start: at,
                end,
            };
            replace(call, &replacement, &found, &mut result)?;
            call.shared.check_bytes(result.len())?;
        }
        match end {
            Some(end) if end > at => at = end,
            _ if at < subject.len() => {
                result.push(subject[at]);
                at += 1;
            }
            _ => break,
        }
        if anchored {
            break;
        }
    }
    result.extend_from_slice(&subject[at..]);
    call.shared.check_bytes(result.len())?;
    let result = call.lua.create_string(&result)?;
    Ok(MultiValue::from_iter([
        Value::String(result),
        Value::Integer(count.into()),
    ]))
}

/// A match within a subject.
struct Found<'a> {
    subject: &'a [u8],
    captures: &'a [Capture],
    start: usize,
    end: usize,
}

impl Found<'_> {
    fn text(&self) -> &[u8] {
        &self.subject[self.start..self.end]
    }

    /// Capture `index` from 0, which is the whole match when there are no captures.
    fn capture(&self, call: &Call<'_>, index: usize) -> mlua::Result<Value> {
        match self.captures.get(index) {
            Some(capture) => capture_value(call, self.subject, *capture),
            None if index == 0 => Ok(Value::String(call.lua.create_string(self.text())?)),
            None => Err(call.error("invalid capture index")),
        }
    }
}

fn replace(
    call: &Call<'_>,
    replacement: &Replacement<'_>,
    found: &Found<'_>,
    result: &mut Vec<u8>,
) -> mlua::Result<()> {
    let value = match replacement {
        Replacement::Text(template) => return fill(call, template, found, result),
        Replacement::Table(table) => {
            let key = found.capture(call, 0)?;
            look_up(call, table, key)?
        }
        Replacement::Function(function) => {
            let mut args = MultiValue::new();
            let whole = Some((found.start, found.end));
            push_captures(call, &mut args, found.subject, found.captures, whole)?;
            call.shared.call(call.lua, function, args)?
        }
    };
    match value {
        Value::Nil | Value::Boolean(false) => result.extend_from_slice(found.text()),
        Value::String(text) => result.extend_from_slice(&text.as_bytes()),
        Value::Integer(_) | Value::Number(_) => {
            if let Some(text) = call.lua.coerce_string(value)? {
                result.extend_from_slice(&text.as_bytes());
            }
        }
        other => {
            let kind = type_name(Some(&other));
            return Err(call.error(format!("invalid replacement value (a {kind})")));
        }
    }
    Ok(())
}

/// `table[key]` with metamethods, whose errors keep their values.
fn look_up(call: &Call<'_>, table: &Table, key: Value) -> mlua::Result<Value> {
    if !table.has_metatable() {
        return table.raw_get(key);
    }
    let index = &call.shared.originals()?.index;
    call.shared
        .call(call.lua, index, [Value::Table(table.clone()), key])
}

/// Appends `template` with `%0` to `%9` replaced.
fn fill(
    call: &Call<'_>,
    template: &LuaString,
    found: &Found<'_>,
    result: &mut Vec<u8>,
) -> mlua::Result<()> {
    let template = template.as_bytes();
    let mut bytes = template.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            result.push(byte);
            continue;
        }
        // Behind the last byte PUC Lua reads the NUL that ends C strings.
        match bytes.next().unwrap_or(0) {
            b'0' => result.extend_from_slice(found.text()),
            digit @ b'1'..=b'9' => {
                let value = found.capture(call, usize::from(digit - b'1'))?;
                if let Some(text) = call.lua.coerce_string(value)? {
                    result.extend_from_slice(&text.as_bytes());
                }
            }
            other => result.push(other),
        }
    }
    Ok(())
}
