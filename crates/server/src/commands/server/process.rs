//! The process as a whole: its role, its time, its end.

use crate::process::shutdown::ShutdownOptions;
use crate::server::Server;
use engine::command::{Arg, Flags, Group};
use engine::config::P;
use engine::context::{Context, Mode};
use engine::error::CommandError;
use engine::execute::{CommandResult, CommandSpec, Outcome};
use engine::version::{LODESTORE_VERSION, VALKEY_VERSION};

pub(crate) const BGREWRITEAOF: CommandSpec = CommandSpec::new("bgrewriteaof", 1, bgrewriteaof)
    .group(Group::Server)
    .since("1.0.0")
    .flags(Flags::NO_ASYNC_LOADING.or(Flags::ADMIN).or(Flags::NOSCRIPT))
    .summary(
        "Replaces the append-only file by a shorter one with the same data, in the background.",
    )
    .complexity("O(1) for the caller");
fn bgrewriteaof(ctx: &mut Context<'_, '_>) -> CommandResult {
    let answer = crate::jobs::rewrite::request(&*Server::of(ctx)?, ctx.is_nested())?;
    ctx.reply.simple(answer);
    Ok(Outcome::Done)
}

pub(crate) const TIME: CommandSpec = CommandSpec::new("time", 1, time)
    .group(Group::Server)
    .since("2.6.0")
    .flags(Flags::FAST.or(Flags::ANY_TIME))
    .summary(
        "Tells the time of the server, as Unix seconds and the microseconds of the running second.",
    )
    .complexity("O(1)")
    .hints(&["nondeterministic_output"]);
fn time(ctx: &mut Context<'_, '_>) -> CommandResult {
    let clock = &ctx.engine.clock;
    let now_us = match ctx.mode {
        // Time stands still in a script.
        Mode::Script => ctx.engine.runs.of(ctx.worker).time_us(|| clock.unix_us()),
        _ => clock.unix_us(),
    };
    ctx.reply.array(2);
    ctx.reply.integer_bulk((now_us / 1_000_000) as i64);
    ctx.reply.integer_bulk((now_us % 1_000_000) as i64);
    Ok(Outcome::Done)
}

pub(crate) const MONITOR: CommandSpec = CommandSpec::new("monitor", 1, monitor)
    .group(Group::Server)
    .since("1.0.0")
    .flags(Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .summary("Streams every executed command to the connection.")
    .complexity("O(1) here, and O(N) in the size of each command later");
fn monitor(ctx: &mut Context<'_, '_>) -> CommandResult {
    if ctx.denies_blocking() {
        return Err(CommandError::line(
            "ERR MONITOR isn't allowed for DENY BLOCKING client",
        ));
    }
    ctx.session.monitor = true;
    ctx.engine.monitors.add(&ctx.session.shared);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const SHUTDOWN: CommandSpec = CommandSpec::new("shutdown", -1, shutdown)
    .group(Group::Server)
    .since("1.0.0")
    .flags(Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::NO_MULTI))
    .flags(Flags::ALLOW_BUSY.or(Flags::ANY_TIME))
    .summary("Ends the server.")
    .complexity("O(1) when the data is in the append-only file")
    .args(&[Arg::one_of("abort-selector").optional().args(&[
        Arg::block("save-selector-block").args(&[
            Arg::one_of("save-selector")
                .optional()
                .args(&[Arg::word("nosave", "NOSAVE"), Arg::word("save", "SAVE")]),
            Arg::flag("now", "NOW").since("7.0.0"),
            Arg::flag("force", "FORCE").since("7.0.0"),
            Arg::flag("safe", "SAFE").since("9.0.0"),
            Arg::flag("failover", "FAILOVER").since("9.0.0"),
        ]),
        Arg::word("abort", "ABORT").since("7.0.0"),
    ])]);
fn shutdown(ctx: &mut Context<'_, '_>) -> CommandResult {
    let mut options = ShutdownOptions::default();
    let mut abort = false;
    for word in ctx.args.skip(1).iter() {
        match word.to_ascii_lowercase().as_slice() {
            b"nosave" => options.nosave = true,
            b"save" => options.save = true,
            b"now" => options.now = true,
            b"force" => options.force = true,
            b"safe" => options.safe = true,
            b"failover" => options.failover = true,
            b"abort" => abort = true,
            _ => return Err(CommandError::Syntax),
        }
    }
    let others = options.nosave
        || options.save
        || options.now
        || options.force
        || options.safe
        || options.failover;
    if (abort && others) || (options.nosave && options.save) {
        return Err(CommandError::Syntax);
    }
    if options.failover {
        return Err(CommandError::line(
            "ERR SHUTDOWN FAILOVER is only supported in cluster mode.",
        ));
    }
    if abort {
        // Nothing makes a shutdown wait so far, so at most a signal can be waiting to be noticed.
        if !crate::process::signals::abort_shutdown() {
            return Err(CommandError::line("ERR No shutdown in progress."));
        }
        ctx.reply.ok();
        return Ok(Outcome::Done);
    }
    if let Some(slow) = ctx.engine.runs.slow() {
        if !options.nosave {
            return Err(slow.error());
        }
        crate::process::shutdown::request_later(&*Server::of(ctx)?, options);
        return Ok(Outcome::Done);
    }
    // A server that ends answers nothing: the connection closes.
    crate::process::shutdown::request_shutdown(&*Server::of(ctx)?, options)?;
    Ok(Outcome::Done)
}

pub(crate) const LOLWUT: CommandSpec = CommandSpec::new("lolwut", -1, lolwut)
    .group(Group::Server)
    .since("5.0.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary("Draws a picture and returns the version.")
    .complexity("O(1)")
    .args(&[Arg::integer("version").option("VERSION")]);
fn lolwut(ctx: &mut Context<'_, '_>) -> CommandResult {
    if ctx.args.len() >= 3 && ctx.is_word(1, "VERSION") {
        // One picture for all versions, but nonsense is still refused.
        ctx.integer(2)?;
    }
    let surface = if ctx.engine.config.bool(P::ExtendedRedisCompatibility) {
        format!("Redis ver. {}", ctx.engine.config.text(P::RedisVersion))
    } else {
        format!("Valkey ver. {VALKEY_VERSION}")
    };
    let picture = field_lines();
    let text = format!("{picture}\nLodestore ver. {LODESTORE_VERSION}, understood as {surface}\n");
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(Outcome::Done)
}

/// Iron filings around a bar magnet: at each place the direction of the field of two opposite
/// poles.
fn field_lines() -> String {
    const COLUMNS: i32 = 61;
    const ROWS: i32 = 19;
    const POLE: f64 = 14.0;
    let mut picture = String::new();
    for row in 0..ROWS {
        for column in 0..COLUMNS {
            // Characters are about twice as high as they are wide.
            let x = f64::from(column - COLUMNS / 2);
            let y = f64::from(row - ROWS / 2) * 2.0;
            let inside = y.abs() < 2.0 && x.abs() <= POLE;
            picture.push(if inside { bar(x) } else { filing(x, y, POLE) });
        }
        picture.push('\n');
    }
    picture
}

fn bar(x: f64) -> char {
    match x as i32 {
        -12 => 'N',
        12 => 'S',
        _ => '=',
    }
}

fn filing(x: f64, y: f64, pole: f64) -> char {
    let pull = |dx: f64| (dx * dx + y * y).powf(1.5).max(0.5);
    let (north, south) = (x + pole, x - pole);
    let field_x = north / pull(north) - south / pull(south);
    let field_y = y / pull(north) - y / pull(south);
    let strength = field_x.hypot(field_y);
    if strength < 0.0022 {
        return ' ';
    }
    // Direction without sense, in eighths of a half turn.
    let angle = field_y.atan2(field_x).rem_euclid(std::f64::consts::PI);
    match (angle / std::f64::consts::PI * 8.0).round() as i32 % 8 {
        0 => '-',
        1..=2 => '\\',
        3..=5 => '|',
        _ => '/',
    }
}

#[cfg(test)]
mod tests {
    use super::field_lines;

    #[test]
    fn the_picture_is_symmetric() {
        let picture = field_lines();
        let lines: Vec<&str> = picture.lines().collect();
        assert_eq!(lines.len(), 19);
        for (upper, lower) in lines.iter().zip(lines.iter().rev()).take(8) {
            let mirrored: String = lower
                .chars()
                .map(|filing| match filing {
                    '/' => '\\',
                    '\\' => '/',
                    other => other,
                })
                .collect();
            assert_eq!(*upper, mirrored);
        }
        assert!(lines[9].contains('N') && lines[9].contains('S'));
    }
}
