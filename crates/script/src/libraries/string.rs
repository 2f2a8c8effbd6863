//! `string.find`, `match`, `gsub` and `rep`, and what `gmatch` of the prelude needs.

use std::rc::Rc;

use mlua::{Lua, LuaString, MultiValue, Table, Value};

use super::pattern::{Capture, Extent, Matcher, PatternError};
use crate::call::{Call, function};
use crate::raise::type_name;
use crate::state::Shared;

/// Characters that make a pattern more than a plain text.
const SPECIALS: &[u8] = b"^$*+?.([%-";

/// The functions of `string` that are not PUC Lua's.
pub(crate) fn library(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("find", function(lua, shared, |call| search(call, true))?)?;
    table.raw_set("match", function(lua, shared, |call| search(call, false))?)?;
    table.raw_set("gsub", function(lua, shared, gsub)?)?;
    table.raw_set("rep", function(lua, shared, rep)?)?;
    Ok(table)
}

fn pattern_error(call: &Call<'_>, error: PatternError) -> mlua::Error {
    match error {
        PatternError::Malformed(text) => call.error(text),
        PatternError::Interrupted(error) => error,
    }
}

/// A position as scripts give it, from 1 or from the end, as one from 1 or below.
fn from_end(position: i64, len: usize) -> i64 {
    let position = if position < 0 {
        position.wrapping_add(len as i64 + 1)
    } else {
        position
    };
    position.max(0)
}

fn search(call: &Call<'_>, find: bool) -> mlua::Result<MultiValue> {
    let (subject, pattern) = (call.string(1)?, call.string(2)?);
    let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
    let start = from_end(call.integer_or(3, 1)?, subject.len()) - 1;
    let start = (start.max(0) as usize).min(subject.len());
    let special = pattern
        .iter()
        .take_while(|byte| **byte != 0)
        .any(|byte| SPECIALS.contains(byte));
    if find && (call.truth(4) || !special) {
        let found = find_plain(call, &subject[start..], &pattern)?;
        return Ok(match found {
            Some(at) => [start + at + 1, start + at + pattern.len()]
                .into_iter()
                .map(|position| Value::Integer(position as i64))
                .collect(),
            None => MultiValue::from_iter([Value::Nil]),
        });
    }
    let (anchored, pattern) = match pattern.split_first() {
        Some((b'^', rest)) => (true, rest),
        _ => (false, &*pattern),
    };
    let interrupt = || call.interrupt();
    let mut matcher = Matcher::new(&subject, pattern, &interrupt);
    for at in start..=subject.len() {
        let end = matcher
            .match_at(at)
            .map_err(|error| pattern_error(call, error))?;
        if let Some(end) = end {
            let mut results = MultiValue::new();
            if find {
                results.push_back(Value::Integer(at as i64 + 1));
                results.push_back(Value::Integer(end as i64));
            }
            let whole = (!find).then_some((at, end));
            push_captures(call, &mut results, &subject, matcher.captures(), whole)?;
            return Ok(results);
        }
        if anchored {
            break;
        }
    }
    Ok(MultiValue::from_iter([Value::Nil]))
}

/// Where `needle` begins in `text`.
fn find_plain(call: &Call<'_>, text: &[u8], needle: &[u8]) -> mlua::Result<Option<usize>> {
    /// Bytes between two questions whether to go on. The search itself takes linear time.
    const CHUNK: usize = 16 << 20;
    if needle.is_empty() {
        return Ok(Some(0));
    }
    let finder = memchr::memmem::Finder::new(needle);
    let mut start = 0;
    while start < text.len() {
        let end = (start + CHUNK + needle.len() - 1).min(text.len());
        if let Some(at) = finder.find(&text[start..end]) {
            return Ok(Some(start + at));
        }
        start += CHUNK;
        call.interrupt()?;
    }
    Ok(None)
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

/// `next_match(subject, pattern, position)`: the position behind the next match from `position` on,
/// and its captures. Nothing but a position behind the end is left when there is none.
pub(crate) fn next_match(call: &Call<'_>) -> mlua::Result<MultiValue> {
    let (subject, pattern) = (call.string(1)?, call.string(2)?);
    let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
    let position = usize::try_from(call.integer(3)?).unwrap_or(usize::MAX);
    let interrupt = || call.interrupt();
    let mut matcher = Matcher::new(&subject, &pattern, &interrupt);
    let mut results = MultiValue::new();
    for at in position..=subject.len() {
        let end = matcher
            .match_at(at)
            .map_err(|error| pattern_error(call, error))?;
        if let Some(end) = end {
            let behind = if end == at { end + 1 } else { end };
            results.push_back(Value::Integer(behind as i64));
            let whole = Some((at, end));
            push_captures(call, &mut results, &subject, matcher.captures(), whole)?;
            return Ok(results);
        }
    }
    results.push_back(Value::Integer(subject.len() as i64 + 1));
    Ok(results)
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
    let mut matcher = Matcher::new(&subject, pattern, &interrupt);
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

fn rep(call: &Call<'_>) -> mlua::Result<Value> {
    let text = call.string(1)?;
    let text = text.as_bytes();
    let count = usize::try_from(call.int(2)?).unwrap_or(0);
    call.shared.check_bytes(text.len().saturating_mul(count))?;
    Ok(Value::String(call.lua.create_string(text.repeat(count))?))
}
