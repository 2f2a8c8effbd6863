//! A look inside: PFDEBUG and PFSELFTEST.

use std::fmt::Write;

use keyspace::NewValue;
use values::hyperloglog::{self, Form, Registers};

use super::{corrupted, sketch};
use crate::command::*;
use crate::context::{Context, Random};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::keys::Key;

pub(super) const PFDEBUG: CommandSpec = CommandSpec::new("pfdebug", 3, pfdebug)
    .group(Group::HyperLogLog)
    .since("2.8.9")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::ADMIN))
    .summary("Shows the registers of a HyperLogLog or how they are written, or makes it dense.")
    .complexity("N/A")
    .keys(&[KeySpec::one(2, KeyFlags::RW.or(KeyFlags::ACCESS))])
    .args(&[Arg::string("subcommand"), Arg::KEY]);

fn pfdebug(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (key, args) = (ctx.key(2), ctx.args);
    let is = |word: &[u8]| args.arg(1).eq_ignore_ascii_case(word);
    if is(b"simd") {
        return simd(ctx);
    }
    let Some(entry) = ctx.data.lookup_mut(key) else {
        return Err(CommandError::line("ERR The specified key does not exist"));
    };
    let (bytes, form) = sketch(entry.string())?;
    match () {
        () if is(b"getreg") => return registers(ctx, key),
        () if is(b"todense") => {
            let changed = make_dense(ctx, key)?;
            ctx.reply.integer(i64::from(changed));
        }
        () if is(b"decode") => {
            if form == Form::Dense {
                return Err(CommandError::line("ERR HLL encoding is not sparse"));
            }
            ctx.reply.bulk(decoded(bytes).as_bytes());
        }
        () if is(b"encoding") => ctx.reply.simple(match form {
            Form::Dense => "dense",
            Form::Sparse => "sparse",
        }),
        () => {
            let mut line = b"ERR Unknown PFDEBUG subcommand '".to_vec();
            line.extend_from_slice(args.arg(1));
            line.push(b'\'');
            return Err(CommandError::Bytes(line));
        }
    }
    Ok(Outcome::Done)
}

/// PFDEBUG SIMD ON or OFF.
fn simd(ctx: &mut Context<'_, '_>) -> CommandResult {
    if ctx.is_word(2, "on") || ctx.is_word(2, "off") {
        hyperloglog::set_simd(ctx.is_word(2, "on"));
    } else {
        return Err(CommandError::line("ERR Argument must be ON or OFF"));
    }
    ctx.reply.simple(if hyperloglog::uses_simd() {
        "enabled"
    } else {
        "disabled"
    });
    Ok(Outcome::Done)
}

/// Converts a sketch to the dense form; true when it was sparse. The change is logged, but has no
/// event.
fn make_dense(ctx: &mut Context<'_, '_>, key: Key<'_>) -> Result<bool, CommandError> {
    let Some(mut entry) = ctx.data.lookup_mut(key) else {
        return Ok(false);
    };
    let (bytes, form) = sketch(entry.string())?;
    if form == Form::Dense {
        return Ok(false);
    }
    let dense = hyperloglog::to_dense(bytes).map_err(corrupted)?;
    entry.set_string(NewValue::Raw(&dense));
    ctx.data.effects.add_dirty(1);
    Ok(true)
}

/// PFDEBUG GETREG: the sketch becomes dense by it.
fn registers(ctx: &mut Context<'_, '_>, key: Key<'_>) -> CommandResult {
    make_dense(ctx, key)?;
    let mut registers = Registers::new();
    if let Some(entry) = ctx.data.lookup_mut(key) {
        registers
            .merge(sketch(entry.string())?.0)
            .map_err(corrupted)?;
    }
    ctx.reply.array(hyperloglog::REGISTERS);
    for value in registers.as_array() {
        ctx.reply.integer(i64::from(*value));
    }
    Ok(Outcome::Done)
}

/// The runs of a sparse sketch: `z:` and `Z:` for zero registers, `v:` for a value and the number
/// of registers that have it.
fn decoded(bytes: &[u8]) -> String {
    let mut text = String::new();
    for run in hyperloglog::runs(bytes).map_while(Result::ok) {
        if !text.is_empty() {
            text.push(' ');
        }
        // Writing to a string does not fail.
        let _ = match (run.value, run.is_long) {
            (0, false) => write!(text, "z:{}", run.len),
            (0, true) => write!(text, "Z:{}", run.len),
            (value, _) => write!(text, "v:{value},{}", run.len),
        };
    }
    text
}

pub(super) const PFSELFTEST: CommandSpec = CommandSpec::new("pfselftest", 1, pfselftest)
    .group(Group::HyperLogLog)
    .since("2.8.9")
    .flags(Flags::ADMIN)
    .summary("Checks estimates and both forms of HyperLogLogs against known cardinalities.")
    .complexity("N/A");

/// Elements added by the self-test.
const TEST_ELEMENTS: u64 = 1_000_000;

/// Six times the standard error of an estimate; a correct estimate is never that far off.
const TEST_ERROR: f64 = 6.0 * 1.04 / 128.0;

fn pfselftest(ctx: &mut Context<'_, '_>) -> CommandResult {
    let seed = ctx.data.random.next_u64();
    self_test(seed)?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// Adds different elements to a dense sketch and one that begins sparse, and compares at every
/// power of ten.
fn self_test(seed: u64) -> Result<(), CommandError> {
    let failed = |what: String| CommandError::owned(format!("ERR TESTFAILED {what}"));
    let mut sketch = hyperloglog::empty();
    let mut dense = hyperloglog::to_dense(&sketch).map_err(corrupted)?;
    let mut random = Random::new(seed);
    let seed = random.next_u64();
    let mut checkpoint = 1;
    for number in 1..=TEST_ELEMENTS {
        let element = (number ^ seed).to_le_bytes();
        hyperloglog::add_dense(&mut dense, std::iter::once(&element[..]));
        // A dense sketch is not copied for every element; once both are dense, adding to one of the
        // two is enough.
        if hyperloglog::form(&sketch) == Some(Form::Sparse)
            && let Some((added, _)) =
                hyperloglog::add(&sketch, std::iter::once(&element[..]), SPARSE_MAX)
                    .map_err(corrupted)?
        {
            sketch = added;
            if number == 1 && hyperloglog::form(&sketch) != Some(Form::Sparse) {
                return Err(failed("sparse encoding not used".to_owned()));
            }
            if hyperloglog::to_dense(&sketch).map_err(corrupted)? != dense {
                return Err(failed("dense/sparse disagree".to_owned()));
            }
        }
        if number == checkpoint {
            let count = hyperloglog::count(&dense).map_err(corrupted)?;
            let error = count.abs_diff(number);
            // Of ten elements two may well have the same register.
            let error_max = (TEST_ERROR * number as f64).ceil() as u64;
            if error > error_max.max(1) {
                return Err(failed(format!(
                    "Too big error. card:{number} abserr:{error}"
                )));
            }
            checkpoint *= 10;
        }
    }
    Ok(())
}

/// The default of `hll-sparse-max-bytes`.
const SPARSE_MAX: usize = 3000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_told() {
        let header = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0";
        let text = |registers: &[u8]| decoded(&[header, registers].concat());
        assert_eq!(
            text(b"\x43\xe7\x84\x12\x89\x7c\x01"),
            "Z:1000 v:2,1 z:19 v:3,2 Z:15362"
        );
        assert_eq!(text(b"\x00\x7f"), "z:1");
        assert_eq!(text(b""), "");
    }

    #[test]
    fn the_self_test_passes() {
        assert_eq!(self_test(7), Ok(()));
    }
}
