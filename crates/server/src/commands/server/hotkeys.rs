//! HOTKEYS; what it tracks is in [`engine::hotkeys`].

use crate::observe::info::sys::process_times;
use engine::command::{Arg, Flags, Group};
use engine::context::Context;
use engine::error::CommandError;
use engine::execute::{CommandResult, CommandSpec, Outcome};
use engine::hotkeys::{Options, Report};

const HINTS: &[&str] = &["request_policy:special"];
/// The metrics there are.
const METRICS: i64 = 2;
/// Keys that are reported for each metric without COUNT.
const COUNT_DEFAULT: usize = 10;
/// The most seconds of a session; the limit of Redis.
const DURATION_MAX: i64 = 1_000_000;
/// The last hash slot; the server has all of them.
const LAST_SLOT: i64 = 16_383;

pub(crate) const HOTKEYS: CommandSpec = CommandSpec::container("hotkeys", -2)
    .group(Group::Server)
    .since("8.6.0")
    .summary("A container for commands about the keys that are used most.")
    .complexity("Depends on the subcommand")
    .subcommands(&[
        &HOTKEYS_GET,
        &HOTKEYS_HELP,
        &HOTKEYS_RESET,
        &HOTKEYS_START,
        &HOTKEYS_STOP,
    ]);

/// What the subcommands that change or show a session have in common.
const BASE: CommandSpec = CommandSpec::BASE
    .group(Group::Server)
    .since("8.6.0")
    .flags(Flags::ADMIN.or(Flags::NOSCRIPT))
    .complexity("O(1)")
    .hints(HINTS);

pub(crate) const HOTKEYS_START: CommandSpec = BASE
    .named("start", -2, hotkeys_start)
    .summary("Begins to track which keys take the most processor time and network bytes.")
    .args(&[
        Arg::block("metrics").token("METRICS").args(&[
            Arg::integer("count"),
            Arg::flag("cpu", "CPU"),
            Arg::flag("net", "NET"),
        ]),
        Arg::integer("k").option("COUNT"),
        Arg::integer("seconds").option("DURATION"),
        Arg::integer("ratio").option("SAMPLE"),
        Arg::block("slots")
            .option("SLOTS")
            .args(&[Arg::integer("count"), Arg::integer("slot").multiple()]),
    ]);
fn hotkeys_start(ctx: &mut Context<'_, '_>) -> CommandResult {
    let running = CommandError::line("ERR hotkey tracking session already in progress");
    let now_ms = ctx.data.now_ms;
    if ctx.engine.hotkeys.is_running(now_ms) {
        return Err(running);
    }
    let options = parse_options(ctx)?;
    let workers = ctx.engine.stats.len();
    if !ctx.engine.hotkeys.start(options, workers, now_ms) {
        return Err(running);
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// An argument as a number within a range.
fn ranged(
    ctx: &Context<'_, '_>,
    at: usize,
    range: std::ops::RangeInclusive<i64>,
    error: &'static str,
) -> Result<i64, CommandError> {
    let number = ctx.integer(at).ok();
    let number = number.filter(|number| range.contains(number));
    number.ok_or(CommandError::line(error))
}

fn parse_options(ctx: &Context<'_, '_>) -> Result<Options, CommandError> {
    if ctx.args.len() < 4 || !ctx.is_word(2, "METRICS") {
        return Err(CommandError::line("ERR METRICS parameter is required"));
    }
    let error = "ERR METRICS count must be > 0 and <= 2";
    let count = ranged(ctx, 3, 1..=METRICS, error)? as usize;
    let (cpu, net) = parse_metrics(ctx, count)?;
    let now = process_times();
    let mut options = Options {
        cpu,
        net,
        count: COUNT_DEFAULT,
        duration_ms: 0,
        sample: 1,
        process_ms: (now.user.as_millis() as u64, now.system.as_millis() as u64),
    };
    let mut at = 4 + count;
    while at < ctx.args.len() {
        let has_value = at + 1 < ctx.args.len();
        if has_value && ctx.is_word(at, "COUNT") {
            let error = "ERR COUNT must be between 1 and 64";
            options.count = ranged(ctx, at + 1, 1..=64, error)? as usize;
        } else if has_value && ctx.is_word(at, "DURATION") {
            let error = "ERR DURATION must be between 1 and 1000000";
            options.duration_ms = ranged(ctx, at + 1, 1..=DURATION_MAX, error)? as u64 * 1000;
        } else if has_value && ctx.is_word(at, "SAMPLE") {
            let error = "ERR SAMPLE ratio must be positive";
            options.sample = ranged(ctx, at + 1, 1..=i64::from(i32::MAX), error)? as u64;
        } else if has_value && ctx.is_word(at, "SLOTS") {
            return Err(CommandError::line(
                "ERR SLOTS parameter cannot be used in non-cluster mode",
            ));
        } else {
            return Err(CommandError::Syntax);
        }
        at += 2;
    }
    Ok(options)
}

/// Which metrics are asked for: CPU, NET. Unknown ones are left out, as in Redis, so that later
/// ones can be asked for.
fn parse_metrics(ctx: &Context<'_, '_>, count: usize) -> Result<(bool, bool), CommandError> {
    let (mut cpu, mut net) = (false, false);
    for at in (4..ctx.args.len()).take(count) {
        if ctx.is_word(at, "CPU") && std::mem::replace(&mut cpu, true) {
            return Err(CommandError::line(
                "ERR METRICS CPU defined more than once!",
            ));
        }
        if ctx.is_word(at, "NET") && std::mem::replace(&mut net, true) {
            return Err(CommandError::line(
                "ERR METRICS NET defined more than once!",
            ));
        }
    }
    if ctx.args.len() < 4 + count {
        return Err(CommandError::line(
            "ERR METRICS count does not match number of metric types provided",
        ));
    }
    if !cpu && !net {
        return Err(CommandError::line(
            "ERR METRICS no valid metrics passed. Supported: CPU|NET",
        ));
    }
    Ok((cpu, net))
}

pub(crate) const HOTKEYS_STOP: CommandSpec = BASE
    .named("stop", 2, hotkeys_stop)
    .summary("Ends the tracking and keeps its results.");
fn hotkeys_stop(ctx: &mut Context<'_, '_>) -> CommandResult {
    match ctx.engine.hotkeys.stop(ctx.data.now_ms) {
        true => ctx.reply.ok(),
        false => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

pub(crate) const HOTKEYS_RESET: CommandSpec = BASE
    .named("reset", 2, hotkeys_reset)
    .summary("Frees the results of a tracking that has ended.");
fn hotkeys_reset(ctx: &mut Context<'_, '_>) -> CommandResult {
    if !ctx.engine.hotkeys.reset(ctx.data.now_ms) {
        return Err(CommandError::line(
            "ERR hotkey tracking session in progress, stop tracking first",
        ));
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const HOTKEYS_GET: CommandSpec = BASE
    .named("get", 2, hotkeys_get)
    .summary("Returns the keys that have taken the most processor time and network bytes.")
    .complexity("O(K) in the number of keys that are returned")
    .hints(&[
        "nondeterministic_output",
        "request_policy:special",
        "response_policy:special",
    ]);
fn hotkeys_get(ctx: &mut Context<'_, '_>) -> CommandResult {
    match ctx.engine.hotkeys.report(ctx.data.now_ms) {
        Some(report) => reply_report(ctx, &report),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

/// One field of the reply.
enum Field<'a> {
    Number(u64),
    /// Keys with their figures, in units of so many.
    Keys(&'a [(Box<[u8]>, u64)], u64),
    Slots,
}

fn reply_report(ctx: &mut Context<'_, '_>, report: &Report) {
    const NANOS_PER_MICRO: u64 = 1000;
    let options = &report.options;
    let mut fields = vec![
        ("tracking-active", Field::Number(report.is_active.into())),
        ("sample-ratio", Field::Number(options.sample)),
        ("selected-slots", Field::Slots),
        (
            "all-commands-all-slots-us",
            Field::Number(report.nanos / NANOS_PER_MICRO),
        ),
        (
            "net-bytes-all-commands-all-slots",
            Field::Number(report.bytes),
        ),
        (
            "collection-start-time-unix-ms",
            Field::Number(report.start_ms),
        ),
        ("collection-duration-ms", Field::Number(report.duration_ms)),
    ];
    if options.cpu {
        let now = process_times();
        let (user_ms, system_ms) = options.process_ms;
        let since = |now: std::time::Duration, then: u64| {
            Field::Number((now.as_millis() as u64).saturating_sub(then))
        };
        fields.push(("total-cpu-time-user-ms", since(now.user, user_ms)));
        fields.push(("total-cpu-time-sys-ms", since(now.system, system_ms)));
    }
    if options.net {
        fields.push(("total-net-bytes", Field::Number(report.tracked_bytes)));
    }
    if options.cpu {
        let keys = Field::Keys(&report.by_cpu, NANOS_PER_MICRO);
        fields.push(("by-cpu-time-us", keys));
    }
    if options.net {
        fields.push(("by-net-bytes", Field::Keys(&report.by_net, 1)));
    }
    // One map in an array, as many nodes of a cluster answer.
    let reply = &mut ctx.reply;
    reply.array(1);
    reply.map(fields.len());
    for (name, field) in fields {
        reply.bulk(name.as_bytes());
        match field {
            Field::Number(number) => reply.integer(number as i64),
            Field::Slots => {
                reply.array(1);
                reply.array(2);
                reply.integer(0);
                reply.integer(LAST_SLOT);
            }
            Field::Keys(keys, unit) => {
                reply.array(2 * keys.len());
                for (key, weight) in keys {
                    reply.bulk(key);
                    reply.integer(weight.div_ceil(unit) as i64);
                }
            }
        }
    }
}

pub(crate) const HOTKEYS_HELP: CommandSpec = CommandSpec::new("help", 2, hotkeys_help)
    .group(Group::Server)
    .since("8.6.1")
    .flags(Flags::ANY_TIME)
    .summary("Lists the subcommands of HOTKEYS.")
    .complexity("O(1)");
fn hotkeys_help(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.help(&[
        "GET",
        "    The results of the tracking, and how far it is.",
        "RESET",
        "    Frees the results of a tracking that has ended.",
        "START METRICS <count> [CPU] [NET] [COUNT <k>] [DURATION <seconds>] [SAMPLE <ratio>]",
        "    Tracks the <k> (10) keys that take the most processor time, network bytes or both, for",
        "    some time or until STOP; of <ratio> commands one is tracked.",
        "STOP",
        "    Ends the tracking. GET has its results until RESET.",
    ]);
    Ok(Outcome::Done)
}
