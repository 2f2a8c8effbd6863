//! The hot path in Lua's own C interface: running a compiled script, `redis.call`, and the
//! functions of `string` and `table` that scripts call most. A value costs some instructions here;
//! in mlua it costs a place on a second stack, an object, and conversions.
//!
//! An error of Lua is a `longjmp`, which runs no destructor, and a panic must not unwind through
//! frames of C. So
//!
//! 1. a function that Lua calls holds nothing to drop at any call that may raise an error: bytes
//!    that outlive such a call belong to [`Shared`] or to a value on the stack of Lua;
//! 2. what may panic, a command above all, runs in [`guarded`] and raises nothing; a panic becomes
//!    the end of the run, and goes on when the interpreter has returned;
//! 3. outside of a protected call nothing raises: memory has no limit there, so an allocation
//!    succeeds or ends the process.

mod command;
mod reply;
mod result;
mod run;
mod sort;
mod strings;
mod tables;

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use mlua::{Function, Lua, ffi};

use crate::raise::Stopped;
use crate::state::Shared;

pub(crate) use command::{call, pcall};
pub(crate) use run::{Compiled, Ended, Runner, refer};
pub(crate) use sort::sort;
pub(crate) use strings::{find, gmatch, match_, rep};
pub(crate) use tables::insert;

/// A function of C, as Lua calls it.
pub(crate) type CFunction = unsafe extern "C-unwind" fn(*mut ffi::lua_State) -> c_int;

/// Makes one of this module's functions callable by scripts. Its first upvalue is `shared`, which
/// must live as long as `lua` runs code: [`Vm`](crate::Vm) holds both.
pub(crate) fn function(lua: &Lua, shared: &Rc<Shared>, f: CFunction) -> mlua::Result<Function> {
    let shared = Rc::as_ptr(shared).cast_mut().cast();
    // SAFETY: the closure runs in protected mode on a stack with room for three values, pushes one,
    // and holds nothing to drop.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::lua_pushlightuserdata(state, shared);
            ffi::lua_pushcclosure(state, f, 1);
        })
    }
}

/// The state of the interpreter that calls one of this module's functions.
///
/// # Safety
/// `state` runs a function made by [`function`].
unsafe fn shared_of<'a>(state: *mut ffi::lua_State) -> &'a Shared {
    // SAFETY: the first upvalue is a pointer to the `Shared` that the `Vm` of `state` holds.
    unsafe { &*ffi::lua_touserdata(state, ffi::lua_upvalueindex(1)).cast::<Shared>() }
}

/// Runs code of Rust that may panic. A panic ends the run.
pub(crate) fn guarded<R>(
    shared: &Shared,
    work: impl FnOnce() -> Result<R, Stopped>,
) -> Result<R, Stopped> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(shared.stop_for_panic(panic)))
}

/// Raises the end of the run. Every function that catches errors passes it on.
///
/// # Safety
/// The caller is run by Lua in protected mode and has nothing to drop.
unsafe fn raise_stop(state: *mut ffi::lua_State) -> ! {
    // SAFETY: the value of the error is not looked at, because `Shared::stop` is set.
    unsafe {
        ffi::lua_pushboolean(state, 0);
        ffi::lua_error(state)
    }
}

/// Raises a text with the place of the caller in front.
///
/// # Safety
/// As [`raise_stop`].
unsafe fn raise_text(state: *mut ffi::lua_State, text: &[u8]) -> ! {
    // SAFETY: Lua copies the text before it jumps.
    unsafe {
        ffi::luaL_where(state, 1);
        push_bytes(state, text);
        ffi::lua_concat(state, 2);
        ffi::lua_error(state)
    }
}

/// Pushes a string.
///
/// # Safety
/// The stack has room for a value; may raise where memory is limited.
unsafe fn push_bytes(state: *mut ffi::lua_State, bytes: &[u8]) {
    // SAFETY: the pointer and the length are those of a slice, which Lua copies.
    unsafe { ffi::lua_pushlstring_(state, bytes.as_ptr().cast(), bytes.len()) }
}

/// The bytes of a string on the stack, empty for what is none.
///
/// # Safety
/// The value is a string, so that nothing is converted, and stays on the stack while they are used.
unsafe fn bytes_at<'a>(state: *mut ffi::lua_State, index: c_int) -> &'a [u8] {
    let mut len = 0;
    // SAFETY: Lua gives the begin of a string of `len` bytes, which do not move while it lives.
    unsafe {
        let text = ffi::lua_tolstring(state, index, &mut len);
        if text.is_null() {
            return &[];
        }
        std::slice::from_raw_parts(text.cast(), len)
    }
}

/// A string argument, or a number as its text; raises the error of another one.
///
/// # Safety
/// As [`raise_stop`]; the bytes live while the argument does.
unsafe fn check_string<'a>(state: *mut ffi::lua_State, index: c_int) -> &'a [u8] {
    let mut len = 0;
    // SAFETY: Lua gives the begin of a string of `len` bytes, or does not come back.
    unsafe {
        let text = ffi::luaL_checklstring(state, index, &mut len);
        std::slice::from_raw_parts(text.cast(), len)
    }
}

/// An argument as a C `int`, the lower bits of the integer; raises the error of another one.
///
/// # Safety
/// As [`raise_stop`].
unsafe fn check_int(state: *mut ffi::lua_State, index: c_int) -> c_int {
    // SAFETY: Lua reads an argument of the running function, or does not come back.
    unsafe { ffi::luaL_checkinteger(state, index) as c_int }
}
