//! `math.random` and `math.randomseed`: the generator of `drand48`, the same on every machine.

use std::rc::Rc;

use mlua::{Lua, Table, Value};

use crate::call::{Call, function};
use crate::state::Shared;

/// The largest value of the generator plus one, as `math.random` divides by.
const RANGE: u64 = i32::MAX as u64;

/// The functions of `math` that are not PUC Lua's.
pub(crate) fn library(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("random", function(lua, shared, random)?)?;
    table.raw_set("randomseed", function(lua, shared, randomseed)?)?;
    Ok(table)
}

/// The state of the generator for a seed.
pub(crate) fn seeded(seed: i32) -> u64 {
    u64::from(seed as u32) << 16 | 0x330e
}

/// The state that the generator begins a run with: another one in each run, whatever the run before
/// has done with it.
pub(crate) fn seed_of_run(shared: &Shared) -> u64 {
    let seed = shared.seeds.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    shared.seeds.set(seed);
    let mixed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ mixed >> 27) & ((1 << 48) - 1)
}

/// The next 31 bits.
fn next(shared: &Shared) -> u64 {
    let state = shared
        .random
        .get()
        .wrapping_mul(0x5_deec_e66d)
        .wrapping_add(0xb);
    let state = state & ((1 << 48) - 1);
    shared.random.set(state);
    state >> 17
}

fn random(call: &Call<'_>) -> mlua::Result<Value> {
    let fraction = (next(call.shared) % RANGE) as f64 / RANGE as f64;
    let number = match call.len() {
        0 => fraction,
        1 => {
            let upper = call.int(1)?;
            if upper < 1 {
                return Err(call.argument_error(1, "interval is empty"));
            }
            (fraction * f64::from(upper)).floor() + 1.0
        }
        2 => {
            let (lower, upper) = (call.int(1)?, call.int(2)?);
            if lower > upper {
                return Err(call.argument_error(2, "interval is empty"));
            }
            // The width is a C int, which wraps.
            let width = upper.wrapping_sub(lower).wrapping_add(1);
            (fraction * f64::from(width)).floor() + f64::from(lower)
        }
        _ => return Err(call.error("wrong number of arguments")),
    };
    Ok(Value::Number(number))
}

fn randomseed(call: &Call<'_>) -> mlua::Result<()> {
    call.shared.random.set(seeded(call.int(1)?));
    Ok(())
}
