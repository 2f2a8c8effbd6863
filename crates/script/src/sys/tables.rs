//! `table.insert`.

use std::ffi::c_int;

use mlua::ffi;

use super::{check_int, guarded, push_bytes, raise_stop, raise_text, shared_of};
use crate::raise::READ_ONLY;

/// Elements that are moved between two questions whether to go on: some milliseconds.
const MOVES_PER_INTERRUPT: i32 = 1 << 16;

/// `table.insert(t, [position,] value)`
pub(crate) unsafe extern "C-unwind" fn insert(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls a function that `function` has made; the frame has nothing to drop.
    unsafe {
        ffi::luaL_checktype(state, 1, ffi::LUA_TTABLE);
        if is_protected(state) {
            push_bytes(state, READ_ONLY);
            ffi::lua_error(state);
        }
        let end = (ffi::lua_objlen(state, 1) as c_int).wrapping_add(1);
        let position = match ffi::lua_gettop(state) {
            2 => end,
            3 => {
                let position = check_int(state, 2);
                make_room(state, position, end);
                position
            }
            _ => raise_text(state, b"wrong number of arguments to 'insert'"),
        };
        ffi::lua_rawseti_(state, 1, position);
    }
    0
}

/// Moves the elements from `position` to `end` by one.
///
/// # Safety
/// As `insert`.
unsafe fn make_room(state: *mut ffi::lua_State, position: c_int, end: c_int) {
    // SAFETY: as `insert`.
    unsafe {
        let shared = shared_of(state);
        let mut index = end;
        while index > position {
            ffi::lua_rawgeti_(state, 1, index.wrapping_sub(1));
            ffi::lua_rawseti_(state, 1, index);
            index = index.wrapping_sub(1);
            let asks = index % MOVES_PER_INTERRUPT == 0;
            if asks && guarded(shared, || shared.interrupt()).is_err() {
                raise_stop(state)
            }
        }
    }
}

/// Whether the table at place 1 is one that scripts read only.
///
/// # Safety
/// As `insert`.
unsafe fn is_protected(state: *mut ffi::lua_State) -> bool {
    // SAFETY: what is pushed is popped; the place of the registry has a table.
    unsafe {
        if ffi::lua_getmetatable(state, 1) == 0 {
            return false;
        }
        let real = shared_of(state).real_reference.get();
        ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, real);
        ffi::lua_pushvalue(state, 1);
        ffi::lua_rawget_(state, -2);
        let is_protected = ffi::lua_type(state, -1) != ffi::LUA_TNIL;
        ffi::lua_settop(state, -4);
        is_protected
    }
}
