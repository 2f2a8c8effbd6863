//! `struct`: values in the layouts of C.

use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use crate::call::{Call, function};
use crate::raise::to_integer;
use crate::state::Shared;

/// Bytes that an integer may have.
const INTEGER_BYTES_MAX: i32 = 32;

/// The alignment that `!` stands for.
const ALIGNMENT_MAX: i32 = 8;

/// Results of one call: slots of a C function's stack, and references of the interpreter.
const RESULTS_MAX: usize = 7000;

/// The library.
pub(crate) fn library(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("pack", function(lua, shared, pack)?)?;
    table.raw_set("unpack", function(lua, shared, unpack)?)?;
    table.raw_set("size", function(lua, shared, size)?)?;
    Ok(table)
}

/// Reads a format. It ends at its first NUL.
struct Format<'a> {
    call: &'a Call<'a>,
    text: Vec<u8>,
    at: usize,
    is_little: bool,
    align: usize,
}

/// One option with its size in bytes, behind as many bytes of padding.
struct Item {
    option: u8,
    size: usize,
    padding: usize,
}

impl<'a> Format<'a> {
    fn new(call: &'a Call<'a>) -> mlua::Result<Format<'a>> {
        let text = call.string(1)?;
        let text: Vec<u8> = text
            .as_bytes()
            .iter()
            .copied()
            .take_while(|byte| *byte != 0)
            .collect();
        Ok(Format {
            call,
            text,
            at: 0,
            is_little: cfg!(target_endian = "little"),
            align: 1,
        })
    }

    /// The next option at position `position` of the bytes.
    fn next(&mut self, position: usize) -> mlua::Result<Option<Item>> {
        let Some(option) = self.text.get(self.at).copied() else {
            return Ok(None);
        };
        self.at += 1;
        let size = self.size_of(option)?;
        let padding = if size == 0 || option == b'c' {
            0
        } else {
            let unit = size.min(self.align);
            unit.wrapping_sub(position & (unit - 1)) & (unit - 1)
        };
        Ok(Some(Item {
            option,
            size,
            padding,
        }))
    }

    fn size_of(&mut self, option: u8) -> mlua::Result<usize> {
        Ok(match option {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'L' | b'l' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.number(1)? as usize,
            b'i' | b'I' => {
                let size = self.number(4)?;
                if size > INTEGER_BYTES_MAX {
                    return Err(self.call.error(format!(
                        "integral size {size} is larger than limit of {INTEGER_BYTES_MAX}"
                    )));
                }
                size as usize
            }
            _ => 0,
        })
    }

    /// The number at this place, or `default`.
    fn number(&mut self, default: i32) -> mlua::Result<i32> {
        let mut number: Option<i32> = None;
        while let Some(digit @ b'0'..=b'9') = self.text.get(self.at).copied() {
            let next = number
                .unwrap_or(0)
                .checked_mul(10)
                .and_then(|number| number.checked_add(i32::from(digit - b'0')));
            match next {
                Some(next) => number = Some(next),
                None => return Err(self.call.error("integral size overflow")),
            }
            self.at += 1;
        }
        Ok(number.unwrap_or(default))
    }

    /// An option that is about the layout of the next ones.
    fn control(&mut self, option: u8) -> mlua::Result<()> {
        match option {
            b' ' => {}
            b'>' => self.is_little = false,
            b'<' => self.is_little = true,
            b'!' => {
                let align = self.number(ALIGNMENT_MAX)?;
                if align <= 0 || align & (align - 1) != 0 {
                    let message = format!("alignment {align} is not a power of 2");
                    return Err(self.call.error(message));
                }
                self.align = align as usize;
            }
            other => {
                let message = [b"invalid format option '".as_slice(), &[other], b"'"].concat();
                return Err(self.call.argument_error(1, message));
            }
        }
        Ok(())
    }
}

/// The bits of a number as C converts it.
fn integer_bits(number: f64) -> u64 {
    if number < 0.0 {
        return to_integer(number) as u64;
    }
    if number.is_nan() {
        return 1 << 63;
    }
    if number >= 18_446_744_073_709_551_616.0 {
        return 0;
    }
    number as u64
}

fn append(out: &mut Vec<u8>, little_endian: &[u8], is_little: bool) {
    if is_little {
        out.extend_from_slice(little_endian);
    } else {
        out.extend(little_endian.iter().rev());
    }
}

/// An argument of `pack`. The one behind the last is nil, where the library of C has a mark.
fn packed_number(call: &Call<'_>, index: usize) -> mlua::Result<f64> {
    if index == call.len() + 1 {
        return Err(call.argument_error(index, "number expected, got nil"));
    }
    call.number(index)
}

fn pack(call: &Call<'_>) -> mlua::Result<Value> {
    let mut format = Format::new(call)?;
    let mut out = Vec::new();
    let mut argument = 2;
    while let Some(item) = format.next(out.len())? {
        out.resize(out.len() + item.padding, 0);
        let size = item.size;
        match item.option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let bits = integer_bits(packed_number(call, argument)?);
                let mut bytes = [0; INTEGER_BYTES_MAX as usize];
                bytes[..8].copy_from_slice(&bits.to_le_bytes());
                append(&mut out, &bytes[..size], format.is_little);
                argument += 1;
            }
            b'x' => out.push(0),
            b'f' => {
                let number = packed_number(call, argument)? as f32;
                append(&mut out, &number.to_le_bytes(), format.is_little);
                argument += 1;
            }
            b'd' => {
                let number = packed_number(call, argument)?;
                append(&mut out, &number.to_le_bytes(), format.is_little);
                argument += 1;
            }
            option @ (b'c' | b's') => {
                if argument == call.len() + 1 {
                    return Err(call.argument_error(argument, "string expected, got nil"));
                }
                let text = call.string(argument)?;
                let text = text.as_bytes();
                argument += 1;
                let len = if size == 0 { text.len() } else { size };
                let Some(text) = text.get(..len) else {
                    return Err(call.argument_error(argument, "string too short"));
                };
                call.shared.check_bytes(out.len() + len)?;
                out.extend_from_slice(text);
                if option == b's' {
                    out.push(0);
                }
            }
            other => format.control(other)?,
        }
    }
    call.lua.create_string(&out).map(Value::String)
}

/// The integer of the bytes in their order, of more than eight the lower ones.
fn integer(bytes: &[u8], is_little: bool, is_signed: bool) -> f64 {
    let step = |bits: u64, byte: &u8| bits << 8 | u64::from(*byte);
    let mut bits = if is_little {
        bytes.iter().rev().fold(0, step)
    } else {
        bytes.iter().fold(0, step)
    };
    if !is_signed {
        return bits as f64;
    }
    // Shifts count modulo 64, as the library of C does them on this hardware.
    let shift = (bytes.len() as u32).wrapping_mul(8).wrapping_sub(1);
    let mask = u64::MAX.wrapping_shl(shift);
    if bits & mask != 0 {
        bits |= mask;
    }
    bits as i64 as f64
}

/// The bytes of an `f` or `d` in the order of this machine's little-endian form.
fn float_bytes<const N: usize>(bytes: &[u8], is_little: bool) -> [u8; N] {
    let mut own = [0; N];
    own.copy_from_slice(bytes);
    if !is_little {
        own.reverse();
    }
    own
}

fn unpack(call: &Call<'_>) -> mlua::Result<MultiValue> {
    let mut format = Format::new(call)?;
    let data = call.string(2)?;
    let data = data.as_bytes();
    let start = call.integer_or(3, 1)?;
    if start == 0 {
        return Err(call.argument_error(3, "offset must be 1 or greater"));
    }
    let mut at = (start as u64 as usize).wrapping_sub(1);
    let mut results = MultiValue::new();
    while let Some(item) = format.next(at)? {
        at = at.wrapping_add(item.padding);
        let bytes = part(call, &data, at, item.size)?;
        if results.len() >= RESULTS_MAX {
            return Err(call.error("stack overflow (too many results)"));
        }
        let mut size = item.size;
        match item.option {
            option @ (b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I') => {
                let number = integer(bytes, format.is_little, option.is_ascii_lowercase());
                results.push_back(Value::Number(number));
            }
            b'x' => {}
            b'f' => {
                let number = f32::from_le_bytes(float_bytes(bytes, format.is_little));
                results.push_back(Value::Number(number.into()));
            }
            b'd' => {
                let number = f64::from_le_bytes(float_bytes(bytes, format.is_little));
                results.push_back(Value::Number(number));
            }
            b'c' => {
                let mut bytes = bytes;
                if size == 0 {
                    size = previous_size(call, &mut results)?;
                    bytes = part(call, &data, at, size)?;
                }
                results.push_back(Value::String(call.lua.create_string(bytes)?));
            }
            b's' => {
                let rest = &data[at..];
                let Some(len) = memchr::memchr(0, rest) else {
                    return Err(call.error("unfinished string in data"));
                };
                results.push_back(Value::String(call.lua.create_string(&rest[..len])?));
                size = len + 1;
            }
            other => format.control(other)?,
        }
        at += size;
    }
    results.push_back(Value::Integer(at as i64 + 1));
    Ok(results)
}

/// `size` bytes of the data at `at`.
fn part<'a>(call: &Call<'_>, data: &'a [u8], at: usize, size: usize) -> mlua::Result<&'a [u8]> {
    let end = at.checked_add(size);
    match end.and_then(|end| data.get(at..end)) {
        Some(bytes) => Ok(bytes),
        None => Err(call.argument_error(2, "data string too short")),
    }
}

/// The number that was unpacked last, as the size of what follows; it is no result then.
fn previous_size(call: &Call<'_>, results: &mut MultiValue) -> mlua::Result<usize> {
    let number = match results.back() {
        Some(value) => call.lua.coerce_number(value.clone())?,
        None => None,
    };
    let Some(number) = number else {
        return Err(call.error("format 'c0' needs a previous size"));
    };
    results.pop_back();
    Ok(integer_bits(number) as usize)
}

fn size(call: &Call<'_>) -> mlua::Result<Value> {
    let mut format = Format::new(call)?;
    let mut position = 0_usize;
    while let Some(item) = format.next(position)? {
        position = position.wrapping_add(item.padding);
        match item.option {
            b's' => return Err(call.argument_error(1, "option 's' has no fixed size")),
            b'c' if item.size == 0 => {
                return Err(call.argument_error(1, "option 'c0' has no fixed size"));
            }
            option if !option.is_ascii_alphanumeric() => format.control(option)?,
            _ => {}
        }
        position = position.wrapping_add(item.size);
    }
    Ok(Value::Integer(position as i64))
}
