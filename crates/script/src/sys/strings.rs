//! `string.find`, `match`, `gmatch` and `rep`.

use std::ffi::c_int;

use mlua::ffi;

use super::{
    bytes_at, check_int, check_string, guarded, push_bytes, raise_stop, raise_text, shared_of,
};
use crate::pattern::{Extent, PatternError};
use crate::raise::Stopped;
use crate::search::{Found, Search};

/// Bytes of a repeated string that is made on the stack.
const REPEATED_INLINE: usize = 256;

/// `string.find(s, pattern [, init [, plain]])`
pub(crate) unsafe extern "C-unwind" fn find(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls a function that `function` has made.
    unsafe { search(state, true) }
}

/// `string.match(s, pattern [, init])`
pub(crate) unsafe extern "C-unwind" fn match_(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls a function that `function` has made.
    unsafe { search(state, false) }
}

/// # Safety
/// Lua runs `find` or `match_` on `state`.
unsafe fn search(state: *mut ffi::lua_State, finds: bool) -> c_int {
    // SAFETY: subject and pattern are arguments, which stay where they are; what is found is plain
    // data.
    unsafe {
        let shared = shared_of(state);
        let search = Search {
            subject: check_string(state, 1),
            pattern: check_string(state, 2),
        };
        let init = ffi::luaL_optinteger(state, 3, 1);
        let is_plain = finds && ffi::lua_toboolean(state, 4) != 0;
        let found = guarded(shared, || match finds {
            true => Ok(search.find(shared, init, is_plain)),
            false => Ok(search.first(shared, init)),
        });
        let Some(found) = unwrap(state, found) else {
            ffi::lua_pushnil(state);
            return 1;
        };
        if !finds {
            return push_captures(state, search.subject, Some(found));
        }
        ffi::lua_pushnumber(state, found.start as f64 + 1.0);
        ffi::lua_pushnumber(state, found.end as f64);
        2 + push_captures(state, search.subject, None)
    }
}

/// The match that was found, or raises why matching failed.
///
/// # Safety
/// As `search`.
unsafe fn unwrap(
    state: *mut ffi::lua_State,
    found: Result<Result<Option<Found>, PatternError>, Stopped>,
) -> Option<Found> {
    // SAFETY: errors of patterns are plain data.
    unsafe {
        match found {
            Ok(Ok(found)) => found,
            Ok(Err(PatternError::Malformed(text))) => raise_text(state, text.as_bytes()),
            Ok(Err(PatternError::Interrupted(Stopped))) | Err(Stopped) => raise_stop(state),
        }
    }
}

/// Pushes the captures of the last match, or the whole of it when there are none and it is given.
///
/// # Safety
/// As `search`.
unsafe fn push_captures(state: *mut ffi::lua_State, subject: &[u8], whole: Option<Found>) -> c_int {
    // SAFETY: the captures are copied one by one; nothing of them is borrowed where Lua may raise.
    unsafe {
        let shared = shared_of(state);
        let count = shared.captures();
        if let (0, Some(Found { start, end })) = (count, whole) {
            push_bytes(state, subject.get(start..end).unwrap_or_default());
            return 1;
        }
        ffi::luaL_checkstack(state, count as c_int, c"too many captures".as_ptr());
        for index in 0..count {
            let Some(capture) = shared.capture(index) else {
                return index as c_int;
            };
            match capture.extent {
                Extent::Open => raise_text(state, b"unfinished capture"),
                Extent::Position => ffi::lua_pushnumber(state, capture.start as f64 + 1.0),
                Extent::Bytes(bytes) => {
                    let text = subject.get(capture.start..).unwrap_or_default();
                    push_bytes(state, text.get(..bytes).unwrap_or_default());
                }
            }
        }
        count as c_int
    }
}

/// `string.gmatch(s, pattern)`
pub(crate) unsafe extern "C-unwind" fn gmatch(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls a function that `function` has made; the iterator gets the same first
    // upvalue, and keeps subject and pattern.
    unsafe {
        check_string(state, 1);
        check_string(state, 2);
        ffi::lua_settop(state, 2);
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_insert(state, 1);
        ffi::lua_pushnumber(state, 0.0);
        ffi::lua_pushcclosure(state, next_match, 4);
        1
    }
}

/// The iterator of `gmatch`. Its upvalues behind the first are subject, pattern and position.
unsafe extern "C-unwind" fn next_match(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: `gmatch` has made the upvalues; the strings live as long as the running function.
    unsafe {
        let shared = shared_of(state);
        let search = Search {
            subject: bytes_at(state, ffi::lua_upvalueindex(2)),
            pattern: bytes_at(state, ffi::lua_upvalueindex(3)),
        };
        let position = ffi::lua_tonumber(state, ffi::lua_upvalueindex(4)) as usize;
        let found = guarded(shared, || Ok(search.next(shared, position)));
        let Some(found) = unwrap(state, found) else {
            return 0;
        };
        let behind = match found.end == found.start {
            true => found.end as f64 + 1.0,
            false => found.end as f64,
        };
        ffi::lua_pushnumber(state, behind);
        ffi::lua_replace(state, ffi::lua_upvalueindex(4));
        push_captures(state, search.subject, Some(found))
    }
}

/// `string.rep(s, n)`
pub(crate) unsafe extern "C-unwind" fn rep(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls a function that `function` has made. The bytes are on this frame or belong
    // to `shared`, where nothing else uses them before they are copied.
    unsafe {
        let shared = shared_of(state);
        let text = check_string(state, 1);
        let count = usize::try_from(check_int(state, 2)).unwrap_or(0);
        let len = text.len().saturating_mul(count);
        if len <= REPEATED_INLINE {
            let mut buffer = [0; REPEATED_INLINE];
            let mut places = buffer.chunks_exact_mut(text.len().max(1));
            for place in places.by_ref().take(count.min(len)) {
                place.copy_from_slice(text);
            }
            push_bytes(state, buffer.get(..len).unwrap_or_default());
            return 1;
        }
        let repeated = guarded(shared, || {
            shared.check_bytes(len)?;
            Ok(shared.fill_scratch(|scratch| {
                scratch.reserve_exact(len);
                (0..count).for_each(|_| scratch.extend_from_slice(text));
            }))
        });
        match repeated {
            Ok(bytes) => push_bytes(state, &*bytes),
            Err(Stopped) => raise_stop(state),
        }
        shared.drop_scratch();
        1
    }
}
