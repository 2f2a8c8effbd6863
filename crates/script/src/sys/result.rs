//! What a script returns, as a reply.

use std::ffi::{CStr, c_int};

use mlua::ffi;
use resp::{Protocol, Reply};

use super::{bytes_at, push_bytes};
use crate::raise::to_integer;

/// Tables within each other that a script's reply may have. A table that has itself ends there.
const DEPTH_MAX: usize = 400;

/// Places of the stack that one table needs at most.
const SLOTS: c_int = 8;

/// Writes values of one stack. Booleans are those of `protocol`, which the script has set. What
/// cannot be read becomes an error in its place.
pub(super) struct Writer<'w, 'a> {
    pub(super) state: *mut ffi::lua_State,
    pub(super) protocol: Protocol,
    pub(super) reply: &'w mut Reply<'a>,
}

/// The field `name` of the table at the top, pushed; its type.
///
/// # Safety
/// The stack has room for a value.
pub(super) unsafe fn field(state: *mut ffi::lua_State, name: &CStr) -> c_int {
    // SAFETY: the table is below the name, which the value replaces; metamethods are passed by.
    unsafe {
        push_bytes(state, name.to_bytes());
        ffi::lua_rawget_(state, -2);
        ffi::lua_type(state, -1)
    }
}

/// Drops `count` values.
unsafe fn pop(state: *mut ffi::lua_State, count: c_int) {
    // SAFETY: callers have pushed so many.
    unsafe { ffi::lua_settop(state, -count - 1) }
}

impl Writer<'_, '_> {
    /// Writes the value at the top of the stack, which stays there.
    ///
    /// # Safety
    /// Memory has no limit, so nothing raises, and the stack has room for a value.
    pub(super) unsafe fn value(&mut self, depth: usize) {
        let state = self.state;
        // SAFETY: there is a value at the top, which is read by its type.
        unsafe {
            match ffi::lua_type(state, -1) {
                ffi::LUA_TSTRING => self.reply.bulk(bytes_at(state, -1)),
                ffi::LUA_TNUMBER => self.reply.integer(to_integer(ffi::lua_tonumber(state, -1))),
                ffi::LUA_TBOOLEAN => match ffi::lua_toboolean(state, -1) != 0 {
                    value if self.protocol == Protocol::Resp3 => self.reply.boolean(value),
                    true => self.reply.integer(1),
                    false => self.reply.null(),
                },
                ffi::LUA_TTABLE if depth >= DEPTH_MAX || ffi::lua_checkstack(state, SLOTS) == 0 => {
                    self.reply.error("ERR reached lua stack limit");
                }
                ffi::LUA_TTABLE => {
                    if !self.scalar() {
                        self.aggregate(depth);
                    }
                }
                _ => self.reply.null(),
            }
        }
    }

    /// Writes a table that stands for a reply without elements; false when it is none.
    unsafe fn scalar(&mut self) -> bool {
        let state = self.state;
        // SAFETY: `value` has made room, and each field is popped; texts are read while they are on
        // the stack.
        unsafe {
            if field(state, c"err") == ffi::LUA_TSTRING {
                self.reply.error(bytes_at(state, -1));
                pop(state, 1);
                return true;
            }
            pop(state, 1);
            if field(state, c"ok") == ffi::LUA_TSTRING {
                let text = bytes_at(state, -1);
                let end = memchr::memchr(0, text).unwrap_or(text.len());
                self.reply.simple(&text[..end]);
                pop(state, 1);
                return true;
            }
            pop(state, 1);
            if field(state, c"double") == ffi::LUA_TNUMBER {
                self.reply.double(ffi::lua_tonumber(state, -1));
                pop(state, 1);
                return true;
            }
            pop(state, 1);
            if field(state, c"big_number") == ffi::LUA_TSTRING {
                // A line must not end early.
                let digits = String::from_utf8_lossy(bytes_at(state, -1));
                self.reply.big_number(&digits.replace(['\r', '\n'], " "));
                pop(state, 1);
                return true;
            }
            pop(state, 1);
            let is_verbatim =
                field(state, c"verbatim_string") == ffi::LUA_TTABLE && self.verbatim();
            pop(state, 1);
            is_verbatim
        }
    }

    /// Writes the verbatim string of the table at the top; false when there is none.
    unsafe fn verbatim(&mut self) -> bool {
        let state = self.state;
        // SAFETY: as `scalar`.
        unsafe {
            let has_format = field(state, c"format") == ffi::LUA_TSTRING;
            ffi::lua_insert(state, -2);
            let has_text = field(state, c"string") == ffi::LUA_TSTRING;
            if has_format && has_text {
                let format = String::from_utf8_lossy(bytes_at(state, -3));
                self.reply.verbatim(&format, bytes_at(state, -1));
            }
            // The table is where it was.
            pop(state, 1);
            ffi::lua_remove(state, -2);
            has_format && has_text
        }
    }

    unsafe fn aggregate(&mut self, depth: usize) {
        let state = self.state;
        let deferred = self.reply.defer();
        let mut len = 0;
        // SAFETY: as `scalar`; keys are not converted while a table is traversed, and nothing is
        // assigned to it.
        unsafe {
            if field(state, c"map") == ffi::LUA_TTABLE {
                ffi::lua_pushnil(state);
                while ffi::lua_next(state, -2) != 0 {
                    len += 1;
                    ffi::lua_pushvalue(state, -2);
                    self.value(depth + 1);
                    pop(state, 1);
                    self.value(depth + 1);
                    pop(state, 1);
                }
                pop(state, 1);
                return self.reply.finish_map(deferred, len);
            }
            pop(state, 1);
            if field(state, c"set") == ffi::LUA_TTABLE {
                ffi::lua_pushnil(state);
                while ffi::lua_next(state, -2) != 0 {
                    len += 1;
                    pop(state, 1);
                    self.value(depth + 1);
                }
                pop(state, 1);
                return self.reply.finish_set(deferred, len);
            }
            pop(state, 1);
            while let Ok(index) = c_int::try_from(len + 1) {
                ffi::lua_rawgeti_(state, -1, index);
                if ffi::lua_type(state, -1) == ffi::LUA_TNIL {
                    pop(state, 1);
                    break;
                }
                len += 1;
                self.value(depth + 1);
                pop(state, 1);
            }
        }
        self.reply.finish_array(deferred, len);
    }
}
