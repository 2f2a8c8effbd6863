//! `cmsgpack`: MessagePack from and to values of Lua, as lua-cmsgpack 0.4.0 has it.

use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use crate::call::{Call, function};
use crate::raise::Raise;
use crate::state::Shared;

/// Tables within each other that are packed; deeper ones are packed as nil.
const NESTING_MAX: usize = 16;

/// Slots that a C function has on the stack of Lua, which end unpacking.
const C_STACK_SLOTS: usize = 8000;

/// Levels at which unpacking ends in any case: each holds a reference, and the interpreter has some
/// eight thousand.
const LEVELS_MAX: usize = 3000;

/// Values that one call unpacks: references again.
const VALUES_MAX: usize = 7000;

/// Elements between two questions whether to go on.
const ELEMENTS_PER_INTERRUPT: u32 = 1 << 12;

/// The library.
pub(crate) fn library(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("pack", function(lua, shared, pack)?)?;
    table.raw_set(
        "unpack",
        function(lua, shared, |call| unpack(call, None, 0))?,
    )?;
    table.raw_set(
        "unpack_one",
        function(lua, shared, |call| {
            unpack(call, Some(1), call.integer_or(2, 0)?)
        })?,
    )?;
    table.raw_set(
        "unpack_limit",
        function(lua, shared, |call| {
            unpack(call, Some(call.integer(2)?), call.integer_or(3, 0)?)
        })?,
    )?;
    table.raw_set("_NAME", "cmsgpack")?;
    table.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    table.raw_set("_COPYRIGHT", "Copyright (C) 2012, Redis Ltd.")?;
    table.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    Ok(table)
}

struct Packer<'a> {
    call: &'a Call<'a>,
    out: Vec<u8>,
    elements: u32,
}

fn pack(call: &Call<'_>) -> mlua::Result<Value> {
    if call.len() == 0 {
        return Err(call.argument_error(0, "MessagePack pack needs input."));
    }
    let mut packer = Packer {
        call,
        out: Vec::new(),
        elements: 0,
    };
    for value in &call.args {
        packer.value(value, 0)?;
        call.shared.check_bytes(packer.out.len())?;
    }
    call.shared.check_bytes(packer.out.len())?;
    call.lua.create_string(&packer.out).map(Value::String)
}

impl Packer<'_> {
    fn value(&mut self, value: &Value, level: usize) -> mlua::Result<()> {
        match value {
            Value::String(text) => self.string(&text.as_bytes()),
            Value::Boolean(true) => self.out.push(0xc3),
            Value::Boolean(false) => self.out.push(0xc2),
            Value::Integer(number) => self.integer(*number),
            Value::Number(number) => self.number(*number),
            Value::Table(table) if level < NESTING_MAX => self.table(table, level)?,
            _ => self.out.push(0xc0),
        }
        Ok(())
    }

    fn string(&mut self, text: &[u8]) {
        let len = text.len();
        match len {
            0..=31 => self.out.push(0xa0 | len as u8),
            32..=0xff => self.out.extend_from_slice(&[0xd9, len as u8]),
            0x100..=0xffff => self.head(0xda, &(len as u16).to_be_bytes()),
            _ => self.head(0xdb, &(len as u32).to_be_bytes()),
        }
        self.out.extend_from_slice(text);
    }

    fn head(&mut self, kind: u8, bytes: &[u8]) {
        self.out.push(kind);
        self.out.extend_from_slice(bytes);
    }

    fn integer(&mut self, number: i64) {
        match number {
            0..=127 => self.out.push(number as u8),
            128..=0xff => self.head(0xcc, &[number as u8]),
            0x100..=0xffff => self.head(0xcd, &(number as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => self.head(0xce, &(number as u32).to_be_bytes()),
            0x1_0000_0000.. => self.head(0xcf, &number.to_be_bytes()),
            -32..=-1 => self.out.push(number as u8),
            -128..=-33 => self.head(0xd0, &[number as u8]),
            -32_768..=-129 => self.head(0xd1, &(number as i16).to_be_bytes()),
            -2_147_483_648..=-32_769 => self.head(0xd2, &(number as i32).to_be_bytes()),
            _ => self.head(0xd3, &number.to_be_bytes()),
        }
    }

    fn number(&mut self, number: f64) {
        let integer = number as i64;
        if integer as f64 == number && integer != i64::MAX {
            return self.integer(integer);
        }
        let single = number as f32;
        if f64::from(single) == number {
            self.head(0xca, &single.to_be_bytes());
        } else {
            self.head(0xcb, &number.to_be_bytes());
        }
    }

    fn table(&mut self, table: &Table, level: usize) -> mlua::Result<()> {
        let shape = &self.call.shared.originals()?.pack_shape;
        let (max, items): (Value, i64) =
            self.call.shared.call_limited(self.call.lua, shape, table)?;
        if let Value::Table(list) = max {
            self.count((items / 2) as usize, 0x80, 0xde);
            for index in 1..=items {
                self.element(&list, index, level)?;
            }
            return Ok(());
        }
        self.count(items as usize, 0x90, 0xdc);
        for index in 1..=items {
            self.element(table, index, level)?;
        }
        Ok(())
    }

    /// The number of elements: in one byte, or behind `kind` in 16 bits or behind the next kind in
    /// 32.
    fn count(&mut self, count: usize, short: u8, kind: u8) {
        match count {
            0..=15 => self.out.push(short | count as u8),
            16..=0xffff => self.head(kind, &(count as u16).to_be_bytes()),
            _ => self.head(kind + 1, &(count as u32).to_be_bytes()),
        }
    }

    fn element(&mut self, table: &Table, index: i64, level: usize) -> mlua::Result<()> {
        self.elements += 1;
        if self.elements.is_multiple_of(ELEMENTS_PER_INTERRUPT) {
            self.call.interrupt()?;
        }
        self.call.shared.check_bytes(self.out.len())?;
        let value: Value = table.raw_get(index)?;
        self.value(&value, level + 1)
    }
}

/// What is wrong with the bytes.
enum Flaw {
    Missing,
    Malformed,
}

/// The head of one packed object.
enum Head<'a> {
    Value(Scalar<'a>),
    Array(u32),
    Map(u32),
}

enum Scalar<'a> {
    Nil,
    Boolean(bool),
    Integer(i64),
    Number(f64),
    Text(&'a [u8]),
}

/// Reads packed bytes.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Flaw> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Flaw::Missing)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A number of `N` bytes, of which the first is the most significant.
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    fn text(&mut self, len: usize) -> Result<Head<'a>, Flaw> {
        self.take(len).map(|text| Head::Value(Scalar::Text(text)))
    }

    fn head(&mut self) -> Result<Head<'a>, Flaw> {
        let [kind] = self.bytes()?;
        let scalar = match kind {
            0x00..=0x7f => Scalar::Integer(kind.into()),
            0x80..=0x8f => return Ok(Head::Map(u32::from(kind & 0xf))),
            0x90..=0x9f => return Ok(Head::Array(u32::from(kind & 0xf))),
            0xa0..=0xbf => return self.text(usize::from(kind & 0x1f)),
            0xc0 => Scalar::Nil,
            0xc2 => Scalar::Boolean(false),
            0xc3 => Scalar::Boolean(true),
            0xca => Scalar::Number(f32::from_be_bytes(self.bytes()?).into()),
            0xcb => Scalar::Number(f64::from_be_bytes(self.bytes()?)),
            0xcc => Scalar::Integer(u8::from_be_bytes(self.bytes()?).into()),
            0xcd => Scalar::Integer(u16::from_be_bytes(self.bytes()?).into()),
            0xce => Scalar::Integer(u32::from_be_bytes(self.bytes()?).into()),
            // Numbers from 2^63 on wrap, as in the library of C.
            0xcf => Scalar::Integer(u64::from_be_bytes(self.bytes()?) as i64),
            0xd0 => Scalar::Integer(i8::from_be_bytes(self.bytes()?).into()),
            0xd1 => Scalar::Integer(i16::from_be_bytes(self.bytes()?).into()),
            0xd2 => Scalar::Integer(i32::from_be_bytes(self.bytes()?).into()),
            0xd3 => Scalar::Integer(i64::from_be_bytes(self.bytes()?)),
            0xd9 => {
                let len = u8::from_be_bytes(self.bytes()?);
                return self.text(len.into());
            }
            0xda => {
                let len = u16::from_be_bytes(self.bytes()?);
                return self.text(len.into());
            }
            0xdb => {
                let len = u32::from_be_bytes(self.bytes()?);
                return self.text(len as usize);
            }
            0xdc => return Ok(Head::Array(u16::from_be_bytes(self.bytes()?).into())),
            0xdd => return Ok(Head::Array(u32::from_be_bytes(self.bytes()?))),
            0xde => return Ok(Head::Map(u16::from_be_bytes(self.bytes()?).into())),
            0xdf => return Ok(Head::Map(u32::from_be_bytes(self.bytes()?))),
            0xe0..=0xff => Scalar::Integer(i64::from(kind as i8)),
            0xc1 | 0xc4..=0xc9 | 0xd4..=0xd8 => return Err(Flaw::Malformed),
        };
        Ok(Head::Value(scalar))
    }
}

/// A table that is being filled.
enum Open {
    Array {
        table: Table,
        next: i64,
        left: u32,
    },
    Map {
        table: Table,
        key: Option<Value>,
        left: u32,
    },
}

struct Unpacker<'a> {
    call: &'a Call<'a>,
    cursor: Cursor<'a>,
    open: Vec<Open>,
    /// Slots of Lua's stack that the library of C would use.
    slots: usize,
    elements: u32,
}

fn unpack(call: &Call<'_>, limit: Option<i64>, offset: i64) -> mlua::Result<MultiValue> {
    let text = call.string(1)?;
    let bytes = text.as_bytes();
    let limit_number = limit.unwrap_or(0);
    if offset < 0 || limit_number < 0 {
        return Err(call.error(format!(
            "Invalid request to unpack with offset of {} and limit of {}.",
            offset as i32,
            bytes.len() as i32
        )));
    }
    let Some(rest) = usize::try_from(offset)
        .ok()
        .and_then(|offset| bytes.get(offset..))
    else {
        return Err(call.error(format!(
            "Start offset {} greater than input length {}.",
            offset as i32,
            bytes.len() as i32
        )));
    };
    let all = limit_number == 0 && offset == 0;
    let count_max = if all { i32::MAX.into() } else { limit_number };
    let mut unpacker = Unpacker {
        call,
        cursor: Cursor(rest),
        open: Vec::new(),
        slots: 1,
        elements: 0,
    };
    let mut values = MultiValue::new();
    while !unpacker.cursor.0.is_empty() && (values.len() as i64) < count_max {
        if values.len() >= VALUES_MAX {
            return Err(unpacker.overflow());
        }
        values.push_back(unpacker.value()?);
        unpacker.slots += 1;
    }
    if !all {
        let left = unpacker.cursor.0.len();
        let next = if left == 0 {
            -1
        } else {
            (bytes.len() - left) as i64
        };
        values.push_front(Value::Integer(next));
    }
    Ok(values)
}

impl Unpacker<'_> {
    fn overflow(&self) -> mlua::Error {
        self.call.error(
            "stack overflow (too many return values at once; use unpack_one or unpack_limit \
             instead.)",
        )
    }

    fn head(&mut self) -> mlua::Result<Head<'_>> {
        self.elements += 1;
        if self.elements.is_multiple_of(ELEMENTS_PER_INTERRUPT) {
            self.call.interrupt()?;
        }
        let is_empty = self.cursor.0.is_empty();
        if !is_empty && (self.slots + 1 > C_STACK_SLOTS || self.open.len() > LEVELS_MAX) {
            return Err(self.overflow());
        }
        self.cursor.head().map_err(|flaw| {
            self.call.error(match flaw {
                Flaw::Missing => "Missing bytes in input.",
                Flaw::Malformed => "Bad data format in input.",
            })
        })
    }

    /// Reads one object with all that is in it.
    fn value(&mut self) -> mlua::Result<Value> {
        loop {
            let lua = self.call.lua;
            let complete = match self.head()? {
                Head::Value(scalar) => match scalar {
                    Scalar::Nil => Value::Nil,
                    Scalar::Boolean(value) => Value::Boolean(value),
                    Scalar::Integer(number) => Value::Integer(number),
                    Scalar::Number(number) => Value::Number(number),
                    Scalar::Text(text) => Value::String(lua.create_string(text)?),
                },
                Head::Array(0) | Head::Map(0) => Value::Table(lua.create_table()?),
                Head::Array(left) => {
                    let table = lua.create_table()?;
                    self.open.push(Open::Array {
                        table,
                        next: 1,
                        left,
                    });
                    self.slots += 2;
                    continue;
                }
                Head::Map(left) => {
                    let table = lua.create_table()?;
                    self.open.push(Open::Map {
                        table,
                        key: None,
                        left,
                    });
                    self.slots += 1;
                    continue;
                }
            };
            if let Some(value) = self.close(complete)? {
                return Ok(value);
            }
        }
    }

    /// Puts a value into the innermost table, and ends all tables that end with it. Returns the
    /// value when it is the whole object.
    fn close(&mut self, value: Value) -> mlua::Result<Option<Value>> {
        let mut value = value;
        loop {
            let left = match self.open.last_mut() {
                None => return Ok(Some(value)),
                Some(Open::Array { table, next, left }) => {
                    if !value.is_nil() {
                        table.raw_set(*next, &value)?;
                    }
                    *next += 1;
                    *left -= 1;
                    *left
                }
                Some(Open::Map { table, key, left }) => match key.take() {
                    None => {
                        *key = Some(value);
                        self.slots += 1;
                        return Ok(None);
                    }
                    Some(key) => {
                        set_field(table, key, &value)?;
                        self.slots -= 1;
                        *left -= 1;
                        *left
                    }
                },
            };
            if left > 0 {
                return Ok(None);
            }
            match self.open.pop() {
                Some(Open::Array { table, .. }) => {
                    self.slots -= 2;
                    value = Value::Table(table);
                }
                Some(Open::Map { table, .. }) => {
                    self.slots -= 1;
                    value = Value::Table(table);
                }
                None => {}
            }
        }
    }
}

fn set_field(table: &Table, key: Value, value: &Value) -> mlua::Result<()> {
    let flaw = match key {
        Value::Nil => "table index is nil",
        Value::Number(number) if number.is_nan() => "table index is NaN",
        key => return table.raw_set(key, value),
    };
    Err(Raise::Text(flaw.as_bytes().to_vec()).into())
}
