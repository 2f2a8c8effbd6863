//! Replies of commands as values of Lua, and values of Lua as replies.

use mlua::{Lua, Table, Value};
use resp::{Protocol, Reply, number};

use crate::raise::{as_number, to_integer};

/// Aggregates within each other that a reply may have. Commands nest less than ten deep.
const REPLY_DEPTH_MAX: usize = 64;

/// Tables within each other that a script's reply may have. A table that has itself ends there.
const TABLE_DEPTH_MAX: usize = 400;

/// Reads one reply, as commands of the server write it.
struct Reader<'a> {
    lua: &'a Lua,
    bytes: &'a [u8],
    at: usize,
}

/// The value of a whole reply. An error becomes a table with its text.
pub(crate) fn reply_to_lua(lua: &Lua, bytes: &[u8]) -> mlua::Result<Value> {
    Reader { lua, bytes, at: 0 }.value(0)
}

fn malformed() -> mlua::Error {
    mlua::Error::runtime("a reply that is not of the protocol")
}

impl<'a> Reader<'a> {
    /// The rest of the line, without its end.
    fn line(&mut self) -> mlua::Result<&'a [u8]> {
        let rest = self.bytes.get(self.at..).ok_or_else(malformed)?;
        let end = memchr::memchr(b'\r', rest).ok_or_else(malformed)?;
        self.at += end + 2;
        Ok(&rest[..end])
    }

    fn length(&mut self) -> mlua::Result<i64> {
        number::parse_i64(self.line()?).ok_or_else(malformed)
    }

    fn take(&mut self, len: usize) -> mlua::Result<&'a [u8]> {
        let end = self.at.checked_add(len).ok_or_else(malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or_else(malformed)?;
        self.at = end + 2;
        Ok(taken)
    }

    fn text(&self, bytes: &[u8]) -> mlua::Result<Value> {
        self.lua.create_string(bytes).map(Value::String)
    }

    /// A table with one field.
    fn field(&self, name: &str, value: Value) -> mlua::Result<Value> {
        let table = self.lua.create_table_with_capacity(0, 1)?;
        table.raw_set(name, value)?;
        Ok(Value::Table(table))
    }

    fn value(&mut self, depth: usize) -> mlua::Result<Value> {
        if depth > REPLY_DEPTH_MAX {
            return Err(malformed());
        }
        let kind = *self.bytes.get(self.at).ok_or_else(malformed)?;
        self.at += 1;
        match kind {
            b':' => Ok(Value::Number(self.length()? as f64)),
            b'$' => match self.length()? {
                -1 => Ok(Value::Boolean(false)),
                len => {
                    let bytes = self.take(len as usize)?;
                    self.text(bytes)
                }
            },
            b'+' => {
                let line = self.line()?;
                self.field("ok", self.text(line)?)
            }
            b'-' => self.error(),
            b'*' => self.array(depth),
            b'_' => self.line().map(|_| Value::Nil),
            b'#' => Ok(Value::Boolean(self.line()? == b"t")),
            b',' => {
                let line = self.line()?;
                let double = std::str::from_utf8(line)
                    .ok()
                    .and_then(|text| text.parse().ok());
                self.field("double", Value::Number(double.ok_or_else(malformed)?))
            }
            b'(' => {
                let line = self.line()?;
                self.field("big_number", self.text(line)?)
            }
            b'=' => self.verbatim(),
            b'%' => self.map(depth),
            b'~' => self.set(depth),
            b'|' => {
                for _ in 0..self.length()?.saturating_mul(2) {
                    self.value(depth + 1)?;
                }
                self.value(depth)
            }
            _ => Err(malformed()),
        }
    }

    fn error(&mut self) -> mlua::Result<Value> {
        let start = self.at - 1;
        let line = self.line()?;
        let table = error_table(self.lua, &self.bytes[start..start + 1 + line.len()])?;
        // The command counted the error when it failed.
        table.raw_set("ignore_error_stats_update", true)?;
        Ok(Value::Table(table))
    }

    fn array(&mut self, depth: usize) -> mlua::Result<Value> {
        let len = self.length()?;
        if len < 0 {
            return Ok(Value::Boolean(false));
        }
        let table = self.lua.create_table_with_capacity(self.capacity(len), 0)?;
        for index in 1..=len {
            let value = self.value(depth + 1)?;
            if !value.is_nil() {
                table.raw_set(index, value)?;
            }
        }
        Ok(Value::Table(table))
    }

    /// Elements to reserve for: a length that the rest of the reply can have.
    fn capacity(&self, len: i64) -> usize {
        (len as usize).min(self.bytes.len() - self.at.min(self.bytes.len()))
    }

    fn map(&mut self, depth: usize) -> mlua::Result<Value> {
        let len = self.length()?;
        let table = self.lua.create_table_with_capacity(0, self.capacity(len))?;
        for _ in 0..len {
            let key = self.value(depth + 1)?;
            let value = self.value(depth + 1)?;
            if !key.is_nil() {
                table.raw_set(key, value)?;
            }
        }
        self.field("map", Value::Table(table))
    }

    fn set(&mut self, depth: usize) -> mlua::Result<Value> {
        let len = self.length()?;
        let table = self.lua.create_table_with_capacity(0, self.capacity(len))?;
        for _ in 0..len {
            let member = self.value(depth + 1)?;
            if !member.is_nil() {
                table.raw_set(member, true)?;
            }
        }
        self.field("set", Value::Table(table))
    }

    fn verbatim(&mut self) -> mlua::Result<Value> {
        let len = self.length()?;
        let bytes = self.take(usize::try_from(len).map_err(|_| malformed())?)?;
        let (format, text) = match bytes {
            [format @ .., b':'] if format.len() == 3 => (format, &bytes[4..]),
            _ => (
                bytes.get(..3).ok_or_else(malformed)?,
                bytes.get(4..).ok_or_else(malformed)?,
            ),
        };
        let table = self.lua.create_table_with_capacity(0, 2)?;
        table.raw_set("string", self.text(text)?)?;
        table.raw_set("format", self.text(format)?)?;
        self.field("verbatim_string", Value::Table(table))
    }
}

/// The table of an error that a script sees, from its line with or without `-` and a code.
pub(crate) fn error_table(lua: &Lua, line: &[u8]) -> mlua::Result<Table> {
    fn trimmed(text: &[u8]) -> &[u8] {
        let is_break = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let start = text
            .iter()
            .position(|byte| !is_break(byte))
            .unwrap_or(text.len());
        let end = text
            .iter()
            .rposition(|byte| !is_break(byte))
            .map_or(start, |at| at + 1);
        &text[start..end]
    }
    // Errors are C strings, which end at a NUL.
    let line = &line[..memchr::memchr(0, line).unwrap_or(line.len())];
    let message = match line.strip_prefix(b"-") {
        Some(line) => match line.iter().position(|byte| *byte == b' ') {
            Some(space) => [&line[..space], b" ", trimmed(&line[space + 1..])].concat(),
            None => [b"ERR ", line].concat(),
        },
        None => [b"ERR ", trimmed(line)].concat(),
    };
    let table = lua.create_table_with_capacity(0, 2)?;
    table.raw_set("err", lua.create_string(message)?)?;
    Ok(table)
}

/// What an error table says.
pub(crate) struct ErrorInformation {
    pub(crate) message: Vec<u8>,
    /// The source and the line of the place that failed.
    pub(crate) place: Option<(Vec<u8>, Vec<u8>)>,
    /// Whether statistics count the error.
    pub(crate) counts: bool,
}

/// Reads an error table.
pub(crate) fn error_information(lua: &Lua, table: &Table) -> mlua::Result<ErrorInformation> {
    let text = |name: &str| -> mlua::Result<Option<Vec<u8>>> {
        let value: Value = table.raw_get(name)?;
        let text = match value {
            Value::String(_) | Value::Integer(_) | Value::Number(_) => lua.coerce_string(value)?,
            _ => None,
        };
        Ok(text.map(|text| text.as_bytes().to_vec()))
    };
    let ignored: Value = table.raw_get("ignore_error_stats_update")?;
    Ok(ErrorInformation {
        message: text("err")?.unwrap_or_else(|| b"ERR unknown error".to_vec()),
        place: text("source")?.zip(text("line")?),
        counts: ignored != Value::Boolean(true),
    })
}

/// Writes `value` as a reply. Booleans are those of `protocol`, which the script has set. What
/// cannot be read becomes an error in its place.
pub(crate) fn lua_to_reply(lua: &Lua, value: &Value, protocol: Protocol, reply: &mut Reply<'_>) {
    Writer { lua, protocol }.value(value, reply, 0);
}

struct Writer<'a> {
    lua: &'a Lua,
    protocol: Protocol,
}

impl Writer<'_> {
    fn value(&self, value: &Value, reply: &mut Reply<'_>, depth: usize) {
        match value {
            Value::String(text) => reply.bulk(&text.as_bytes()),
            Value::Integer(number) => reply.integer(*number),
            Value::Number(number) => reply.integer(to_integer(*number)),
            Value::Boolean(value) if self.protocol == Protocol::Resp3 => reply.boolean(*value),
            Value::Boolean(true) => reply.integer(1),
            Value::Table(_) if depth >= TABLE_DEPTH_MAX => {
                reply.error("ERR reached lua stack limit");
            }
            Value::Table(table) => match self.scalar(table, reply) {
                Ok(true) => {}
                Ok(false) => self.aggregate(table, reply, depth),
                Err(_) => reply.error("ERR the reply of the script cannot be read"),
            },
            _ => reply.null(),
        }
    }

    /// Writes a table that stands for a reply without elements; false when it is none.
    fn scalar(&self, table: &Table, reply: &mut Reply<'_>) -> mlua::Result<bool> {
        if let Value::String(_) = table.raw_get("err")? {
            reply.error(error_information(self.lua, table)?.message);
            return Ok(true);
        }
        if let Value::String(text) = table.raw_get("ok")? {
            let text = text.as_bytes();
            let end = memchr::memchr(0, &text).unwrap_or(text.len());
            reply.simple(&text[..end]);
            return Ok(true);
        }
        if let Some(double) = as_number(&table.raw_get("double")?) {
            reply.double(double);
            return Ok(true);
        }
        if let Value::String(digits) = table.raw_get("big_number")? {
            // A line must not end early.
            let digits = digits.to_string_lossy().replace(['\r', '\n'], " ");
            reply.big_number(&digits);
            return Ok(true);
        }
        if let Value::Table(verbatim) = table.raw_get("verbatim_string")?
            && let Value::String(format) = verbatim.raw_get("format")?
            && let Value::String(text) = verbatim.raw_get("string")?
        {
            reply.verbatim(&format.to_string_lossy(), &text.as_bytes());
            return Ok(true);
        }
        Ok(false)
    }

    fn aggregate(&self, table: &Table, reply: &mut Reply<'_>, depth: usize) {
        let deferred = reply.defer();
        let mut len = 0;
        if let Ok(Value::Table(map)) = table.raw_get("map") {
            let _ = map.for_each(|key: Value, value: Value| {
                len += 1;
                self.value(&key, reply, depth + 1);
                self.value(&value, reply, depth + 1);
                Ok(())
            });
            return reply.finish_map(deferred, len);
        }
        if let Ok(Value::Table(set)) = table.raw_get("set") {
            let _ = set.for_each(|member: Value, _: Value| {
                len += 1;
                self.value(&member, reply, depth + 1);
                Ok(())
            });
            return reply.finish_set(deferred, len);
        }
        while let Ok(value) = table.raw_get::<Value>(len + 1)
            && !value.is_nil()
        {
            len += 1;
            self.value(&value, reply, depth + 1);
        }
        reply.finish_array(deferred, len);
    }
}
