//! The table `table`.

use std::rc::Rc;

use mlua::{Lua, Table, Value};

use crate::state::Shared;
use crate::sys;

/// The functions of `table`: those of PUC Lua in `original`, but for the ones that may work without
/// end or change a read-only table.
pub(crate) fn library(lua: &Lua, shared: &Rc<Shared>, original: &Table) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for pair in original.pairs::<Value, Value>() {
        let (name, value) = pair?;
        table.raw_set(name, value)?;
    }
    table.raw_set("insert", sys::function(lua, shared, sys::insert)?)?;
    table.raw_set("sort", sys::function(lua, shared, sys::sort)?)?;
    Ok(table)
}
