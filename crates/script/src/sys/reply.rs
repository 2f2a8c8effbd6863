//! Replies of commands as values of Lua.

use std::ffi::{CStr, c_int};

use mlua::ffi;
use resp::number;

use super::push_bytes;

/// Aggregates within each other that a reply may have. Commands nest less than ten deep.
const DEPTH_MAX: usize = 64;

/// Places of the stack that one level of a reply needs at most.
const SLOTS: c_int = 8;

/// Reads one reply, as commands of the server write it. It is plain data, because an error of Lua
/// jumps over it.
struct Reader<'a> {
    state: *mut ffi::lua_State,
    bytes: &'a [u8],
    at: usize,
}

/// Pushes the value of a whole reply; true when that is an error, which is a table with its text.
///
/// # Safety
/// Lua runs the caller in protected mode; it has nothing to drop.
pub(super) unsafe fn push(state: *mut ffi::lua_State, bytes: &[u8]) -> bool {
    let mut reader = Reader {
        state,
        bytes,
        at: 0,
    };
    // SAFETY: neither the reader nor the frame has a destructor, and `table` checks the room of the
    // stack.
    unsafe {
        if reader.value(0).is_none() {
            ffi::lua_pushliteral(state, c"a reply that is not of the protocol");
            ffi::lua_error(state)
        }
    }
    bytes.first() == Some(&b'-')
}

impl<'a> Reader<'a> {
    /// The rest of the line, without its end.
    fn line(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let end = memchr::memchr(b'\r', rest)?;
        self.at = self.at.wrapping_add(end).wrapping_add(2);
        rest.get(..end)
    }

    fn length(&mut self) -> Option<i64> {
        number::parse_i64(self.line()?)
    }

    fn take(&mut self, len: i64) -> Option<&'a [u8]> {
        let end = self.at.checked_add(usize::try_from(len).ok()?)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end.wrapping_add(2);
        Some(taken)
    }

    /// Elements to reserve for: a length that the rest of the reply can have.
    fn capacity(&self, len: i64) -> c_int {
        let rest = self.bytes.len().saturating_sub(self.at);
        c_int::try_from(rest.min(len.max(0) as usize)).unwrap_or(c_int::MAX)
    }

    /// Pushes the next value; `None` when the reply is malformed.
    ///
    /// # Safety
    /// As [`push`], whose calls these are.
    unsafe fn value(&mut self, depth: usize) -> Option<()> {
        let state = self.state;
        let kind = *self.bytes.get(self.at)?;
        self.at = self.at.wrapping_add(1);
        // SAFETY: what is pushed fits the room that functions of C have at depth 0, and that
        // `table` has made below.
        unsafe {
            match kind {
                b':' => ffi::lua_pushnumber(state, self.length()? as f64),
                b'$' => match self.length()? {
                    -1 => ffi::lua_pushboolean(state, 0),
                    len => push_bytes(state, self.take(len)?),
                },
                b'+' => {
                    let line = self.line()?;
                    ffi::lua_createtable(state, 0, 1);
                    push_bytes(state, line);
                    set(state, c"ok");
                }
                b'-' => self.error()?,
                b'*' => self.array(depth)?,
                b'_' => {
                    self.line()?;
                    ffi::lua_pushnil(state);
                }
                b'#' => ffi::lua_pushboolean(state, c_int::from(self.line()? == b"t")),
                b',' => {
                    let text = std::str::from_utf8(self.line()?).ok()?;
                    let double = text.parse().ok()?;
                    ffi::lua_createtable(state, 0, 1);
                    ffi::lua_pushnumber(state, double);
                    set(state, c"double");
                }
                b'(' => {
                    let line = self.line()?;
                    ffi::lua_createtable(state, 0, 1);
                    push_bytes(state, line);
                    set(state, c"big_number");
                }
                b'=' => self.verbatim()?,
                b'%' => self.map(depth)?,
                b'~' => self.set(depth)?,
                b'|' => self.attributed(depth)?,
                _ => return None,
            }
        }
        Some(())
    }

    /// Makes room for a level, and pushes a table.
    unsafe fn table(&self, depth: usize, array: c_int, hash: c_int) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        // SAFETY: Lua grows its stack or refuses.
        unsafe {
            if ffi::lua_checkstack(self.state, SLOTS) == 0 {
                return None;
            }
            ffi::lua_createtable(self.state, array, hash);
        }
        Some(())
    }

    unsafe fn error(&mut self) -> Option<()> {
        let start = self.at.wrapping_sub(1);
        self.line()?;
        let line = self.bytes.get(start..self.at.wrapping_sub(2))?;
        // SAFETY: as `value`; the table is on the top of the stack.
        unsafe {
            push_error(self.state, line);
            // The command counted the error when it failed.
            ffi::lua_pushboolean(self.state, 1);
            set(self.state, c"ignore_error_stats_update");
        }
        Some(())
    }

    unsafe fn array(&mut self, depth: usize) -> Option<()> {
        let (state, len) = (self.state, self.length()?);
        // SAFETY: the table is below the value that is set, and `table` has made room for both.
        unsafe {
            if len < 0 {
                ffi::lua_pushboolean(state, 0);
                return Some(());
            }
            self.table(depth, self.capacity(len), 0)?;
            for index in 1..=c_int::try_from(len).ok()? {
                self.value(depth.wrapping_add(1))?;
                if ffi::lua_type(state, -1) == ffi::LUA_TNIL {
                    ffi::lua_settop(state, -2);
                } else {
                    ffi::lua_rawseti_(state, -2, index);
                }
            }
        }
        Some(())
    }

    unsafe fn map(&mut self, depth: usize) -> Option<()> {
        let (state, len) = (self.state, self.length()?);
        // SAFETY: outer table, inner table, key and value fit the room that `table` has made.
        unsafe {
            self.table(depth, 0, 1)?;
            ffi::lua_createtable(state, 0, self.capacity(len));
            for _ in 0..len {
                self.value(depth.wrapping_add(1))?;
                self.value(depth.wrapping_add(1))?;
                if ffi::lua_type(state, -2) == ffi::LUA_TNIL {
                    ffi::lua_settop(state, -3);
                } else {
                    ffi::lua_rawset(state, -3);
                }
            }
            set(state, c"map");
        }
        Some(())
    }

    unsafe fn set(&mut self, depth: usize) -> Option<()> {
        let (state, len) = (self.state, self.length()?);
        // SAFETY: as `map`.
        unsafe {
            self.table(depth, 0, 1)?;
            ffi::lua_createtable(state, 0, self.capacity(len));
            for _ in 0..len {
                self.value(depth.wrapping_add(1))?;
                if ffi::lua_type(state, -1) == ffi::LUA_TNIL {
                    ffi::lua_settop(state, -2);
                } else {
                    ffi::lua_pushboolean(state, 1);
                    ffi::lua_rawset(state, -3);
                }
            }
            set(state, c"set");
        }
        Some(())
    }

    unsafe fn verbatim(&mut self) -> Option<()> {
        let len = self.length()?;
        let bytes = self.take(len)?;
        let (format, text) = (bytes.get(..3)?, bytes.get(4..)?);
        let state = self.state;
        // SAFETY: outer table, inner table and a text fit the room of a level.
        unsafe {
            ffi::lua_createtable(state, 0, 1);
            ffi::lua_createtable(state, 0, 2);
            push_bytes(state, text);
            set(state, c"string");
            push_bytes(state, format);
            set(state, c"format");
            set(state, c"verbatim_string");
        }
        Some(())
    }

    /// A value behind attributes, which scripts do not see.
    unsafe fn attributed(&mut self, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        // SAFETY: each attribute is popped before the next one is pushed.
        unsafe {
            for _ in 0..self.length()?.saturating_mul(2) {
                self.value(depth.wrapping_add(1))?;
                ffi::lua_settop(self.state, -2);
            }
            self.value(depth.wrapping_add(1))
        }
    }
}

/// Sets a field of the table below the top to the value at the top, which is popped.
unsafe fn set(state: *mut ffi::lua_State, name: &CStr) {
    // SAFETY: the table was made here, so it has no metatable.
    unsafe { ffi::lua_setfield(state, -2, name.as_ptr()) }
}

/// Pushes the table of an error that a script sees, from its line with or without `-` and a code.
///
/// # Safety
/// As [`push`].
pub(super) unsafe fn push_error(state: *mut ffi::lua_State, line: &[u8]) {
    // Errors are C strings, which end at a NUL.
    let end = memchr::memchr(0, line).unwrap_or(line.len());
    let line = line.get(..end).unwrap_or_default();
    let (code, text) = match line.strip_prefix(b"-") {
        None => (b"ERR".as_slice(), trimmed(line)),
        Some(line) => match memchr::memchr(b' ', line) {
            Some(space) => {
                let (code, rest) = line.split_at_checked(space).unwrap_or((line, &[]));
                (code, trimmed(rest.get(1..).unwrap_or_default()))
            }
            None => (b"ERR".as_slice(), line),
        },
    };
    // SAFETY: the table, two texts and what stands between them fit the room that functions of C
    // have beside their arguments, or that the reader has made.
    unsafe {
        ffi::lua_createtable(state, 0, 2);
        push_bytes(state, code);
        push_bytes(state, b" ");
        push_bytes(state, text);
        ffi::lua_concat(state, 3);
        set(state, c"err");
    }
}

/// A text without the line breaks at its begin and end.
fn trimmed(text: &[u8]) -> &[u8] {
    let is_break = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let start = text.iter().position(|byte| !is_break(byte));
    let start = start.unwrap_or(text.len());
    let text = text.get(start..).unwrap_or_default();
    let end = text.iter().rposition(|byte| !is_break(byte));
    let end = end.map_or(0, |at| at.wrapping_add(1));
    text.get(..end).unwrap_or_default()
}
