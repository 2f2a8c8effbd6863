//! `table.insert`.

use std::rc::Rc;

use mlua::{Lua, Table, Value};

use crate::call::{Call, function};
use crate::state::Shared;

/// Elements that are moved between two questions whether to go on: some milliseconds.
const MOVES_PER_INTERRUPT: u32 = 1 << 16;

/// The functions of `table`: those of PUC Lua in `original`, but for the ones that may work without
/// end or change a read-only table.
pub(crate) fn library(lua: &Lua, shared: &Rc<Shared>, original: &Table) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for pair in original.pairs::<Value, Value>() {
        let (name, value) = pair?;
        table.raw_set(name, value)?;
    }
    table.raw_set("insert", function(lua, shared, insert)?)?;
    Ok(table)
}

fn insert(call: &Call<'_>) -> mlua::Result<()> {
    let table = call.own_table(1)?;
    let end = table.raw_len() as i32 + 1;
    let (position, value) = match (call.len(), call.get(2), call.get(3)) {
        (2, Some(value), _) => (end, value),
        (3, _, Some(value)) => {
            let position = call.int(2)?;
            for (moves, index) in (position + 1..=end).rev().enumerate() {
                let moved: Value = table.raw_get(index - 1)?;
                table.raw_set(index, moved)?;
                if (moves as u32).is_multiple_of(MOVES_PER_INTERRUPT) {
                    call.interrupt()?;
                }
            }
            (position, value)
        }
        _ => return Err(call.error("wrong number of arguments to 'insert'")),
    };
    table.raw_set(position, value)
}
