//! Setting up an interpreter.

use std::rc::Rc;

use mlua::{Function, HookTriggers, Lua, LuaOptions, StdLib, Table, VmState};

use super::Parts;
use crate::libraries::{base, bit, cjson, cmsgpack, math, server, string, structs, table};
use crate::raise::PRELUDE_CHUNK;
use crate::state::{Originals, Shared};
use crate::sys::{self, Runner};
use crate::{Limits, VmError};

const PRELUDE: &str = include_str!("../prelude.lua");

/// Pause and step multiplier of PUC Lua's collector, in percent.
const COLLECTOR_DEFAULT: i32 = 200;

/// An interpreter, and what runs need of it.
pub(super) fn interpreter(shared: &Rc<Shared>, limits: &Limits) -> Result<(Lua, Parts), VmError> {
    let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::OS;
    let lua = Lua::new_with(libraries, LuaOptions::new())?;
    let globals = lua.globals();
    let loadstring: Function = globals.raw_get("loadstring")?;
    let helpers = helpers(&lua, shared, limits)?;
    let sandbox: Table = own_code(&lua, PRELUDE)?.call(&helpers)?;
    let originals = Originals {
        pcall: globals.raw_get("pcall")?,
        loadstring,
        setfenv: globals.raw_get("setfenv")?,
        index: sandbox.raw_get("index")?,
        flatten: sandbox.raw_get("flatten")?,
        json_shape: sandbox.raw_get("json_shape")?,
        pack_shape: sandbox.raw_get("pack_shape")?,
        callbacks: lua.create_table()?,
        real: sandbox.raw_get("real")?,
        eval_environment: sandbox.raw_get("eval_environment")?,
        function_environment: sandbox.raw_get("function_environment")?,
    };
    shared
        .real_reference
        .set(sys::refer(&lua, originals.real.clone())?);
    if shared.originals.set(originals).is_err() {
        return Err(VmError(
            "the state belongs to another interpreter".to_owned(),
        ));
    }
    let eval_globals: Table = sandbox.raw_get("eval")?;
    let handler: Function = helpers.raw_get("error_handler")?;
    let functions = lua.create_table()?;
    let parts = Parts {
        runner: Runner::new(&lua, &handler, &functions, &eval_globals)?,
        collectgarbage: globals.raw_get("collectgarbage")?,
        functions,
        switch: sandbox.raw_get("switch")?,
        function_globals: sandbox.raw_get("functions")?,
        load_globals: sandbox.raw_get("load")?,
    };
    set_interrupt(&lua, shared)?;
    Ok((lua, parts))
}

/// What the prelude needs of Rust.
fn helpers(lua: &Lua, shared: &Rc<Shared>, limits: &Limits) -> mlua::Result<Table> {
    let globals = lua.globals();
    let table = lua.create_table()?;
    base::add_helpers(lua, shared, &table)?;
    table.raw_set(
        "concat",
        globals
            .raw_get::<Table>("table")?
            .raw_get::<Function>("concat")?,
    )?;
    table.raw_set("string_library", string::library(lua, shared)?)?;
    let original: Table = globals.raw_get("table")?;
    table.raw_set("table_library", table::library(lua, shared, &original)?)?;
    table.raw_set("math_library", math::library(lua, shared)?)?;
    table.raw_set("cjson", cjson::library(lua, shared, &shared.cjson)?)?;
    table.raw_set("cmsgpack", cmsgpack::library(lua, shared)?)?;
    table.raw_set("struct", structs::library(lua, shared)?)?;
    table.raw_set("bit", bit::library(lua, shared)?)?;
    let eval_api = server::api(lua, shared, &limits.identity)?;
    server::add_eval_api(lua, shared, &eval_api)?;
    table.raw_set("eval_api", eval_api)?;
    table.raw_set("function_api", server::api(lua, shared, &limits.identity)?)?;
    table.raw_set("load_api", server::load_api(lua, shared, &limits.identity)?)?;
    Ok(table)
}

/// Compiles code of the crate, under a chunk name that no script can give.
fn own_code(lua: &Lua, code: &str) -> mlua::Result<Function> {
    lua.load(code).set_name(PRELUDE_CHUNK).into_function()
}

/// Asks the host from time to time whether the run goes on.
fn set_interrupt(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<()> {
    let triggers = HookTriggers::new().every_nth_instruction(Limits::INSTRUCTIONS_PER_INTERRUPT);
    let shared = Rc::clone(shared);
    lua.set_global_hook(triggers, move |_, _| {
        sys::guarded(&shared, || shared.interrupt())?;
        Ok(VmState::Continue)
    })
}

/// Undoes what a script set with `collectgarbage`.
pub(super) fn reset_collector(collectgarbage: &Function) {
    for (option, value) in [
        ("setpause", COLLECTOR_DEFAULT),
        ("setstepmul", COLLECTOR_DEFAULT),
        ("restart", 0),
    ] {
        // The function fails for unknown options only.
        let _ = collectgarbage.call::<()>((option, value));
    }
}
