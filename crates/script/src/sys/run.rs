//! Runs compiled functions.

use std::ffi::{CStr, c_int};

use mlua::{Function, Lua, Table, Value, ffi};
use resp::{Args, Reply};

use super::push_bytes;
use super::result::{Writer, field};
use crate::state::Shared;

/// Elements of a list of arguments that is filled again rather than replaced.
const REUSED_LEN_MAX: usize = 64;

/// The place of a compiled function in the table of functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compiled(pub(crate) c_int);

/// How a run ended.
pub(crate) enum Ended {
    /// What it returned was written as its reply.
    Written,
    /// Its error, or a returned value that is an error; `done`: it was returned.
    Left { done: bool, value: Value },
}

/// A value in the registry of Lua.
#[derive(Clone, Copy)]
struct Reference(c_int);

/// What runs need of the interpreter, by places of its registry.
pub(crate) struct Runner {
    /// The main stack. It lives as long as the interpreter, which every call shows.
    state: *mut ffi::lua_State,
    /// Makes the error of a run.
    handler: Reference,
    /// Compiled functions by their places.
    functions: Reference,
    /// The globals of scripts, behind the read-only front.
    globals: Reference,
    keys: List,
    argv: List,
    /// A table with one place, for values that mlua takes over.
    left: Table,
    left_reference: Reference,
}

/// `KEYS` or `ARGV`, which is filled again for each script.
struct List {
    name: &'static CStr,
    reference: Reference,
    /// Elements of the run before.
    len: usize,
}

impl Runner {
    /// Refers to what runs need, and makes `KEYS` and `ARGV`.
    pub(crate) fn new(
        lua: &Lua,
        handler: &Function,
        functions: &Table,
        globals: &Table,
    ) -> mlua::Result<Runner> {
        let left = lua.create_table_with_capacity(1, 0)?;
        left.raw_set(1, false)?;
        let list = |name: &'static CStr| -> mlua::Result<List> {
            let table = lua.create_table()?;
            globals.raw_set(name.to_string_lossy(), &table)?;
            Ok(List {
                name,
                reference: refer_to(lua, table)?,
                len: 0,
            })
        };
        let (keys, argv) = (list(c"KEYS")?, list(c"ARGV")?);
        let mut main = std::ptr::null_mut();
        // SAFETY: the closure reads the stack's own address, at the outermost level.
        unsafe { lua.exec_raw::<()>((), |state| main = state)? };
        Ok(Runner {
            state: main,
            handler: refer_to(lua, handler.clone())?,
            functions: refer_to(lua, functions.clone())?,
            globals: refer_to(lua, globals.clone())?,
            keys,
            argv,
            left_reference: refer_to(lua, left.clone())?,
            left,
        })
    }

    /// Runs a script with `KEYS` and `ARGV`. No limit of memory is set at the begin and the end.
    pub(crate) fn script(
        &mut self,
        (lua, shared): (&Lua, &Shared),
        function: Compiled,
        (keys, args): (Args<'_>, Args<'_>),
        reply: &mut Reply<'_>,
    ) -> mlua::Result<Ended> {
        let state = self.state;
        // SAFETY: `state` is the main stack of `lua`, where nothing runs. `begin` makes room for
        // what is pushed; without a limit nothing raises.
        unsafe {
            let base = self.begin();
            self.keys.fill(state, self.globals, keys);
            self.argv.fill(state, self.globals, args);
            self.push_function(function);
            self.run((lua, shared), base, 0, reply)
        }
    }

    /// Calls a function of a library with the lists of keys and arguments. As [`Runner::script`].
    pub(crate) fn function(
        &mut self,
        (lua, shared): (&Lua, &Shared),
        function: Compiled,
        (keys, args): (Args<'_>, Args<'_>),
        reply: &mut Reply<'_>,
    ) -> mlua::Result<Ended> {
        let state = self.state;
        // SAFETY: as `script`.
        unsafe {
            let base = self.begin();
            self.push_function(function);
            push_list(state, keys);
            push_list(state, args);
            self.run((lua, shared), base, 2, reply)
        }
    }

    /// Pushes the handler of errors; the height of the stack below it.
    unsafe fn begin(&self) -> c_int {
        /// Handler, function, two arguments, and what fills a list.
        const SLOTS: c_int = 12;
        // SAFETY: an outermost stack of Lua has room for many times so much.
        unsafe {
            let base = ffi::lua_gettop(self.state);
            ffi::lua_checkstack(self.state, SLOTS);
            push_reference(self.state, self.handler);
            base
        }
    }

    unsafe fn push_function(&self, function: Compiled) {
        // SAFETY: the place of `functions` has a table; the function takes its place on the stack.
        unsafe {
            push_reference(self.state, self.functions);
            ffi::lua_rawgeti_(self.state, -1, function.0);
            ffi::lua_remove(self.state, -2);
        }
    }

    /// Calls the function behind the handler, and writes what it returns.
    unsafe fn run(
        &self,
        (lua, shared): (&Lua, &Shared),
        base: c_int,
        arguments: c_int,
        reply: &mut Reply<'_>,
    ) -> mlua::Result<Ended> {
        let state = self.state;
        shared.limit_memory(lua);
        // SAFETY: handler, function and arguments are on the stack; errors end in `status`.
        let status = unsafe { ffi::lua_pcall(state, arguments, 1, base + 1) };
        shared.unlimit_memory(lua);
        let done = status == ffi::LUA_OK;
        // SAFETY: one value is above the handler, and memory has no limit.
        unsafe {
            if done && !shared.is_stopped() && !self.is_error() {
                let protocol = shared.protocol.get();
                let mut writer = Writer {
                    state,
                    protocol,
                    reply,
                };
                writer.value(0);
                ffi::lua_settop(state, base);
                return Ok(Ended::Written);
            }
            push_reference(state, self.left_reference);
            ffi::lua_insert(state, -2);
            ffi::lua_rawseti_(state, -2, 1);
            ffi::lua_settop(state, base);
        }
        let value = self.left.raw_get(1)?;
        self.left.raw_set(1, false)?;
        Ok(Ended::Left { done, value })
    }

    /// Whether the value at the top is a table with the text of an error.
    unsafe fn is_error(&self) -> bool {
        // SAFETY: what is pushed is popped; `begin` has made room.
        unsafe {
            if ffi::lua_type(self.state, -1) != ffi::LUA_TTABLE {
                return false;
            }
            let kind = field(self.state, c"err");
            ffi::lua_settop(self.state, -2);
            kind == ffi::LUA_TSTRING
        }
    }
}

impl List {
    /// Makes `items` the elements of the list. One that is large, or that a script has changed in
    /// another way than by setting elements, is replaced.
    unsafe fn fill(&mut self, state: *mut ffi::lua_State, globals: Reference, items: Args<'_>) {
        // SAFETY: `Runner::begin` has made room; the table is on the stack while it is filled.
        unsafe {
            push_reference(state, self.reference);
            let is_small = items.len().max(self.len) <= REUSED_LEN_MAX;
            let before = std::mem::replace(&mut self.len, items.len());
            if !is_small || !refill(state, items, before) {
                ffi::lua_settop(state, -2);
                push_list(state, items);
                self.replace(state, globals);
            }
            ffi::lua_settop(state, -2);
        }
    }

    /// Makes the table at the top the list.
    unsafe fn replace(&self, state: *mut ffi::lua_State, globals: Reference) {
        // SAFETY: as `fill`; both tables have the fields already.
        unsafe {
            ffi::lua_pushvalue(state, -1);
            ffi::lua_rawseti_(state, ffi::LUA_REGISTRYINDEX, self.reference.0);
            push_reference(state, globals);
            push_bytes(state, self.name.to_bytes());
            ffi::lua_pushvalue(state, -3);
            ffi::lua_rawset(state, -3);
            ffi::lua_settop(state, -2);
        }
    }
}

/// Fills the table at the top, which had `before` elements. False: it has something else, which a
/// script has left.
unsafe fn refill(state: *mut ffi::lua_State, items: Args<'_>, before: usize) -> bool {
    // SAFETY: as `List::fill`; a key that is no number is not converted, and a table is not changed
    // while it is traversed.
    unsafe {
        if ffi::lua_getmetatable(state, -1) != 0 {
            ffi::lua_settop(state, -2);
            return false;
        }
        set_elements(state, items);
        for index in items.len()..before {
            ffi::lua_pushnil(state);
            ffi::lua_rawseti_(state, -2, index as c_int + 1);
        }
        let mut found = 0;
        ffi::lua_pushnil(state);
        while ffi::lua_next(state, -2) != 0 {
            found += 1;
            let is_own = ffi::lua_type(state, -2) == ffi::LUA_TNUMBER
                && (1.0..=items.len() as f64).contains(&ffi::lua_tonumber(state, -2));
            ffi::lua_settop(state, -2);
            if !is_own || found > items.len() {
                ffi::lua_settop(state, -2);
                return false;
            }
        }
        found == items.len()
    }
}

/// Pushes a new list.
unsafe fn push_list(state: *mut ffi::lua_State, items: Args<'_>) {
    // SAFETY: the caller has made room for two values.
    unsafe {
        ffi::lua_createtable(state, c_int::try_from(items.len()).unwrap_or(0), 0);
        set_elements(state, items);
    }
}

/// Sets the elements of the table at the top.
unsafe fn set_elements(state: *mut ffi::lua_State, items: Args<'_>) {
    for (item, index) in items.iter().zip(1..) {
        // SAFETY: the caller has made room for a value above the table.
        unsafe {
            push_bytes(state, item);
            ffi::lua_rawseti_(state, -2, index);
        }
    }
}

fn refer_to(lua: &Lua, value: impl mlua::IntoLua) -> mlua::Result<Reference> {
    refer(lua, value).map(Reference)
}

/// The place of a value in the registry, which keeps it as long as the interpreter lives.
pub(crate) fn refer(lua: &Lua, value: impl mlua::IntoLua) -> mlua::Result<c_int> {
    // SAFETY: runs in protected mode; the closure takes the value from the stack and pushes a
    // number.
    unsafe {
        lua.exec_raw(value, |state| {
            let reference = ffi::luaL_ref(state, ffi::LUA_REGISTRYINDEX);
            ffi::lua_pushinteger(state, i64::from(reference));
        })
    }
}

unsafe fn push_reference(state: *mut ffi::lua_State, reference: Reference) {
    // SAFETY: the caller has made room for a value; the registry is a table.
    unsafe { ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, reference.0) }
}
