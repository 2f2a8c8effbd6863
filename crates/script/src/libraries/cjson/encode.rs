//! Values of Lua as JSON, without recursion.

use mlua::{Table, Value};

use super::{C_STACK_SLOTS, LEVELS_MAX};
use crate::call::Call;
use crate::json_options::{InvalidNumbers, Options};
use crate::number::append_general;
use crate::raise::{as_number, type_name};

/// Elements between two questions whether to go on.
const ELEMENTS_PER_INTERRUPT: u32 = 1 << 12;

/// A table that is being written.
enum Open {
    /// Elements 1 to `len`, of which `next` comes next.
    Array { table: Table, next: i64, len: i64 },
    /// Keys and values in turn, of which position `next` comes next.
    Object { list: Table, next: i64, len: i64 },
}

struct Encoder<'a> {
    call: &'a Call<'a>,
    options: &'a Options,
    out: Vec<u8>,
    open: Vec<Open>,
    /// Slots of Lua's stack that Lua CJSON would use.
    slots: usize,
    elements: u32,
}

pub(super) fn encode(call: &Call<'_>, options: &Options) -> mlua::Result<Value> {
    let (1, Some(value)) = (call.len(), call.get(1)) else {
        return Err(call.argument_error(1, "expected 1 argument"));
    };
    let mut encoder = Encoder {
        call,
        options,
        out: Vec::new(),
        open: Vec::new(),
        slots: 1,
        elements: 0,
    };
    encoder.value(value)?;
    while encoder.advance()? {}
    call.shared.check_bytes(encoder.out.len())?;
    call.lua.create_string(&encoder.out).map(Value::String)
}

impl Encoder<'_> {
    /// Writes the next part of the innermost table; false at the end of all.
    fn advance(&mut self) -> mlua::Result<bool> {
        self.elements += 1;
        if self.elements.is_multiple_of(ELEMENTS_PER_INTERRUPT) {
            self.call.interrupt()?;
        }
        self.call.shared.check_bytes(self.out.len())?;
        match self.open.last_mut() {
            None => return Ok(false),
            Some(Open::Array { next, len, .. }) if *next > *len => {
                self.out.push(b']');
                self.slots -= 1;
                self.open.pop();
            }
            Some(Open::Array { table, next, .. }) => {
                let value: Value = table.raw_get(*next)?;
                if *next > 1 {
                    self.out.push(b',');
                }
                *next += 1;
                self.value(&value)?;
            }
            Some(Open::Object { next, len, .. }) if *next > *len => {
                self.out.push(b'}');
                self.slots -= 2;
                self.open.pop();
            }
            Some(Open::Object { list, next, .. }) => {
                let key: Value = list.raw_get(*next)?;
                let value: Value = list.raw_get(*next + 1)?;
                if *next > 1 {
                    self.out.push(b',');
                }
                *next += 2;
                self.key(&key)?;
                self.value(&value)?;
            }
        }
        Ok(true)
    }

    fn refuse(&self, value: &Value, reason: &str) -> mlua::Error {
        let kind = type_name(Some(value));
        self.call
            .error(format!("Cannot serialise {kind}: {reason}"))
    }

    fn key(&mut self, key: &Value) -> mlua::Result<()> {
        match key {
            Value::Integer(_) | Value::Number(_) => {
                self.out.push(b'"');
                self.number(key)?;
                self.out.extend_from_slice(b"\":");
            }
            Value::String(text) => {
                self.string(&text.as_bytes());
                self.out.push(b':');
            }
            _ => return Err(self.refuse(key, "table key must be a number or string")),
        }
        Ok(())
    }

    fn value(&mut self, value: &Value) -> mlua::Result<()> {
        match value {
            Value::String(text) => self.string(&text.as_bytes()),
            Value::Integer(_) | Value::Number(_) => self.number(value)?,
            Value::Boolean(true) => self.out.extend_from_slice(b"true"),
            Value::Boolean(false) => self.out.extend_from_slice(b"false"),
            Value::Table(table) => self.table(table)?,
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::LightUserData(data) if data.0.is_null() => {
                self.out.extend_from_slice(b"null");
            }
            _ => return Err(self.refuse(value, "type not supported")),
        }
        Ok(())
    }

    fn table(&mut self, table: &Table) -> mlua::Result<()> {
        let depth = self.open.len() + 1;
        if depth as i64 > i64::from(self.options.encode_depth_max)
            || self.slots + 3 > C_STACK_SLOTS
            || depth > LEVELS_MAX
        {
            let message = format!("Cannot serialise, excessive nesting ({depth})");
            return Err(self.call.error(message));
        }
        let shape = &self.call.shared.originals()?.json_shape;
        let (max, items): (Value, i64) =
            self.call.shared.call_limited(self.call.lua, shape, table)?;
        let max = match max {
            Value::Table(list) => return self.object(list, items),
            other => as_number(&other).unwrap_or(0.0) as i64,
        };
        let ratio = i64::from(self.options.sparse_ratio);
        let sparse = ratio > 0 && max > items * ratio && max > i64::from(self.options.sparse_safe);
        if sparse && !self.options.sparse_convert {
            let value = Value::Table(table.clone());
            return Err(self.refuse(&value, "excessively sparse array"));
        }
        if sparse || max <= 0 {
            let list = &self.call.shared.originals()?.flatten;
            let (list, len) = self.call.shared.call_limited(self.call.lua, list, table)?;
            return self.object(list, len);
        }
        self.out.push(b'[');
        self.slots += 1;
        self.open.push(Open::Array {
            table: table.clone(),
            next: 1,
            len: max,
        });
        Ok(())
    }

    fn object(&mut self, list: Table, len: i64) -> mlua::Result<()> {
        self.out.push(b'{');
        self.slots += 2;
        self.open.push(Open::Object { list, next: 1, len });
        Ok(())
    }

    fn number(&mut self, value: &Value) -> mlua::Result<()> {
        let number = as_number(value).unwrap_or(0.0);
        match self.options.encode_invalid {
            _ if number.is_finite() => {
                append_general(&mut self.out, number, self.options.precision as usize);
            }
            InvalidNumbers::Refused => return Err(self.refuse(value, "must not be NaN or Inf")),
            InvalidNumbers::Written if number.is_nan() => self.out.extend_from_slice(b"nan"),
            InvalidNumbers::Written if number > 0.0 => self.out.extend_from_slice(b"inf"),
            InvalidNumbers::Written => self.out.extend_from_slice(b"-inf"),
            InvalidNumbers::Null => self.out.extend_from_slice(b"null"),
        }
        Ok(())
    }

    fn string(&mut self, text: &[u8]) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        self.out.reserve(text.len() + 2);
        self.out.push(b'"');
        for byte in text {
            let escape = match byte {
                b'"' | b'\\' | b'/' => *byte,
                0x08 => b'b',
                b'\t' => b't',
                b'\n' => b'n',
                0x0c => b'f',
                b'\r' => b'r',
                0..=0x1f | 0x7f => {
                    self.out.extend_from_slice(b"\\u00");
                    self.out.push(HEX[usize::from(byte >> 4)]);
                    self.out.push(HEX[usize::from(byte & 15)]);
                    continue;
                }
                _ => {
                    self.out.push(*byte);
                    continue;
                }
            };
            self.out.extend_from_slice(&[b'\\', escape]);
        }
        self.out.push(b'"');
    }
}
