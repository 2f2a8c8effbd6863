//! `redis.call` and `redis.pcall`.

use std::ffi::c_int;

use mlua::ffi;
use resp::{OwnedArgs, number};

use super::{bytes_at, guarded, raise_stop, reply, shared_of};
use crate::number::argument_of;
use crate::raise::Stopped;
use crate::state::Shared;

/// Bytes of arguments for which the interpreter keeps room.
const ARGUMENT_BYTES_KEEP: usize = 64 * 1024;

/// How a command ended.
enum Ran {
    /// Its reply is in [`Shared::reply`].
    Replied,
    /// It was not called: the text of an error for the script.
    Refused(&'static [u8]),
}

/// `redis.call(name, ...)`
pub(crate) unsafe extern "C-unwind" fn call(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls a function that `function` has made.
    unsafe { command(state, true) }
}

/// `redis.pcall(name, ...)`
pub(crate) unsafe extern "C-unwind" fn pcall(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls a function that `function` has made.
    unsafe { command(state, false) }
}

/// Runs the command of the arguments, and pushes its reply.
///
/// # Safety
/// Lua runs `call` or `pcall` on `state`.
unsafe fn command(state: *mut ffi::lua_State, raises: bool) -> c_int {
    // SAFETY: nothing lives in this frame that has a destructor; the bytes of the reply belong to
    // `shared`, and no other command runs before they are converted.
    unsafe {
        let shared = shared_of(state);
        let is_error = match guarded(shared, || run(shared, state)) {
            Err(Stopped) => raise_stop(state),
            Ok(Ran::Refused(text)) => {
                reply::push_error(state, text);
                true
            }
            Ok(Ran::Replied) => reply::push(state, &*shared.reply_bytes()),
        };
        if raises && is_error {
            ffi::lua_error(state)
        }
        1
    }
}

fn run(shared: &Shared, state: *mut ffi::lua_State) -> Result<Ran, Stopped> {
    if shared.is_stopped() {
        return Err(Stopped);
    }
    let mut args = shared.argv.borrow_mut();
    args.clear();
    // SAFETY: Lua runs `command` on `state`, whose arguments are not changed here.
    if let Err(text) = unsafe { read_arguments(state, &mut args) } {
        return Ok(Ran::Refused(text));
    }
    shared.command(args.as_args());
    if args.memory_usage() > ARGUMENT_BYTES_KEEP {
        *args = OwnedArgs::new();
    }
    Ok(Ran::Replied)
}

/// Reads the arguments of the running function. Raises nothing: strings are not converted.
///
/// # Safety
/// `state` runs a function of C.
unsafe fn read_arguments(
    state: *mut ffi::lua_State,
    args: &mut OwnedArgs,
) -> Result<(), &'static [u8]> {
    // SAFETY: the indices are those of the arguments, and only strings are read as such.
    unsafe {
        let count = ffi::lua_gettop(state);
        if count == 0 {
            return Err(b"Please specify at least one argument for this call");
        }
        for index in 1..=count {
            match ffi::lua_type(state, index) {
                ffi::LUA_TSTRING => args.push(bytes_at(state, index)),
                ffi::LUA_TNUMBER => {
                    let mut buffer = [0; number::F64_BYTES_MAX];
                    args.push(argument_of(ffi::lua_tonumber(state, index), &mut buffer));
                }
                _ => return Err(b"Command arguments must be strings or integers"),
            }
        }
    }
    Ok(())
}
