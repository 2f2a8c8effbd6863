//! LATENCY; the monitor itself is in [`crate::latency`].

use std::fmt::Write;

use crate::command::{Arg, Flags, Group};
use crate::context::Context;
use crate::engine::Engine;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::latency::{Distribution, Series, graph};
use crate::table::Command;

/// Tips for subcommands whose replies cannot be combined.
const HINTS: &[&str] = &[
    "nondeterministic_output",
    "request_policy:all_nodes",
    "response_policy:special",
];

pub(crate) const LATENCY: CommandSpec = CommandSpec::container("latency", -2)
    .group(Group::Server)
    .since("2.8.13")
    .summary("A container for commands that diagnose latency.")
    .complexity("Depends on the subcommand")
    .subcommands(&[
        &LATENCY_DOCTOR,
        &LATENCY_GRAPH,
        &LATENCY_HELP,
        &LATENCY_HISTOGRAM,
        &LATENCY_HISTORY,
        &LATENCY_LATEST,
        &LATENCY_RESET,
    ]);

pub(crate) const LATENCY_LATEST: CommandSpec = CommandSpec::new("latest", 2, latency_latest)
    .group(Group::Server)
    .since("2.8.13")
    .flags(Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .summary("Returns the newest sample of each event, with its worst, sum and count.")
    .complexity("O(N) in the number of events")
    .hints(HINTS);
fn latency_latest(ctx: &mut Context<'_, '_>) -> CommandResult {
    let all = ctx.engine.latency.all();
    let reply = &mut ctx.reply;
    reply.array(all.len());
    for (event, series) in &all {
        let last = series.samples.back();
        reply.array(6);
        reply.bulk(event.as_bytes());
        reply.integer(last.map_or(0, |sample| sample.time_s as i64));
        reply.integer(last.map_or(0, |sample| sample.latency_ms as i64));
        reply.integer(series.max_ms as i64);
        reply.integer(series.sum_ms as i64);
        reply.integer(series.count as i64);
    }
    Ok(Outcome::Done)
}

pub(crate) const LATENCY_HISTORY: CommandSpec = CommandSpec::new("history", 3, latency_history)
    .group(Group::Server)
    .since("2.8.13")
    .flags(Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .summary("Returns the samples of one event.")
    .complexity("O(1)")
    .hints(HINTS)
    .args(&[Arg::string("event")]);
fn latency_history(ctx: &mut Context<'_, '_>) -> CommandResult {
    let series = ctx.engine.latency.series(ctx.arg(2)).unwrap_or_default();
    ctx.reply.array(series.samples.len());
    for sample in &series.samples {
        ctx.reply.array(2);
        ctx.reply.integer(sample.time_s as i64);
        ctx.reply.integer(sample.latency_ms as i64);
    }
    Ok(Outcome::Done)
}

pub(crate) const LATENCY_GRAPH: CommandSpec = CommandSpec::new("graph", 3, latency_graph)
    .group(Group::Server)
    .since("2.8.13")
    .flags(Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .summary("Draws the samples of one event.")
    .complexity("O(1)")
    .hints(HINTS)
    .args(&[Arg::string("event")]);
fn latency_graph(ctx: &mut Context<'_, '_>) -> CommandResult {
    let event = ctx.arg(2);
    let Some(series) = ctx.engine.latency.series(event) else {
        let line = [b"ERR No samples available for event '", event, b"'"].concat();
        return Err(CommandError::Bytes(line));
    };
    let name = String::from_utf8_lossy(event);
    let text = graph(&name, &series, ctx.data.now_ms / 1000);
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(Outcome::Done)
}

pub(crate) const LATENCY_RESET: CommandSpec = CommandSpec::new("reset", -2, latency_reset)
    .group(Group::Server)
    .since("2.8.13")
    .flags(Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .summary("Resets the samples of the named events, or of all.")
    .complexity("O(N) in the number of events")
    .hints(&["request_policy:all_nodes", "response_policy:agg_sum"])
    .args(&[Arg::string("event").optional().multiple()]);
fn latency_reset(ctx: &mut Context<'_, '_>) -> CommandResult {
    let latency = &ctx.engine.latency;
    let count: usize = match ctx.args.len() {
        2 => latency.reset(None),
        _ => ctx
            .args
            .skip(2)
            .iter()
            .map(|event| latency.reset(Some(event)))
            .sum(),
    };
    ctx.reply.integer(count as i64);
    Ok(Outcome::Done)
}

pub(crate) const LATENCY_HISTOGRAM: CommandSpec =
    CommandSpec::new("histogram", -2, latency_histogram)
        .group(Group::Server)
        .since("7.0.0")
        .flags(Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
        .summary("Returns how long commands took, as cumulative counts by microseconds.")
        .complexity("O(N) in the number of commands")
        .hints(HINTS)
        .args(&[Arg::string("command").optional().multiple()]);
fn latency_histogram(ctx: &mut Context<'_, '_>) -> CommandResult {
    let engine = ctx.engine;
    let entries: Vec<&'static Command> = if ctx.args.len() == 2 {
        engine.commands.entries().to_vec()
    } else {
        let names = ctx.args.skip(2);
        names
            .iter()
            .filter_map(|name| engine.commands.lookup_full(name))
            .flat_map(|entry| std::iter::once(entry).chain(entry.subcommands.iter().copied()))
            .collect()
    };
    let deferred = ctx.reply.defer();
    let mut count = 0;
    for entry in entries {
        let distribution = Distribution::of(engine.workers(), entry);
        if distribution.total() > 0 {
            reply_distribution(ctx, entry, &distribution);
            count += 1;
        }
    }
    ctx.reply.finish_map(deferred, count);
    Ok(Outcome::Done)
}

fn reply_distribution(ctx: &mut Context<'_, '_>, entry: &Command, distribution: &Distribution) {
    let reply = &mut ctx.reply;
    let steps = distribution.cumulative();
    reply.bulk(entry.full_name.as_bytes());
    reply.map(2);
    reply.bulk(b"calls");
    reply.integer(distribution.total() as i64);
    reply.bulk(b"histogram_usec");
    reply.map(steps.len());
    for (micros, calls) in steps {
        reply.integer(micros as i64);
        reply.integer(calls as i64);
    }
}

pub(crate) const LATENCY_DOCTOR: CommandSpec = CommandSpec::new("doctor", 2, latency_doctor)
    .group(Group::Server)
    .since("2.8.13")
    .flags(Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .summary("Returns a human-readable analysis of latencies.")
    .complexity("O(N) in the number of events")
    .hints(HINTS);
fn latency_doctor(ctx: &mut Context<'_, '_>) -> CommandResult {
    let text = report(ctx.engine, ctx.data.now_ms / 1000);
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(Outcome::Done)
}

/// The report of LATENCY DOCTOR.
fn report(engine: &Engine, now_s: u64) -> String {
    let all = engine.latency.all();
    if all.is_empty() && engine.latency.threshold_ms() == 0 {
        return "Latency is not monitored: latency-monitor-threshold is 0. \
                CONFIG SET latency-monitor-threshold <milliseconds> turns it on.\n"
            .to_owned();
    }
    if all.is_empty() {
        return "No event has taken longer than the threshold so far. All is well.\n".to_owned();
    }
    let mut text = "These events took longer than the threshold:\n\n".to_owned();
    for (number, (event, series)) in (1..).zip(&all) {
        let figures = series.analyze(now_s);
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{number}. {event}: {} samples, on average {} ms (mean deviation {} ms), one every {:.2} s; worst ever {} ms.",
            figures.samples,
            figures.average_ms,
            figures.mean_deviation_ms,
            figures.period_s as f64 / figures.samples.max(1) as f64,
            series.max_ms
        );
    }
    text.push_str("\nWhat may help:\n\n");
    for advice in advice(engine, &all) {
        let _ = writeln!(text, "- {advice}");
    }
    text
}

/// Advice by the events seen, each piece once.
fn advice(engine: &Engine, all: &[(String, Series)]) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut add = |text: String| {
        if !pieces.contains(&text) {
            pieces.push(text);
        }
    };
    for (event, _) in all {
        match event.as_str() {
            "command" => {
                add(slow_log_advice(engine));
                add("Commands over many elements take time in proportion: read and remove big values in parts.".into());
            }
            "fast-command" => add(
                "Commands of constant time were slow, so the server did not get the processor: lower the load of \
                 the machine, or give the server cores of its own."
                    .into(),
            ),
            "expire-cycle" | "eviction-cycle" | "eviction-del" => add(
                "Many or big keys went at once: spread deadlines, keep values small, and leave lazyfree-lazy-expire \
                 and lazyfree-lazy-eviction on."
                    .into(),
            ),
            event if event.starts_with("aof") => add(
                "The disk of the append-only file is slow or shared: prefer a local SSD, and appendfsync everysec \
                 where a second of loss can be borne."
                    .into(),
            ),
            _ => add(format!("Nothing is known about '{event}'; look at what ran at these times.")),
        }
    }
    pieces
}

fn slow_log_advice(engine: &Engine) -> String {
    let threshold_us = engine.latency.threshold_ms().saturating_mul(1000);
    let slow_us = engine.commandlog.slow_threshold_us();
    if engine.commandlog.is_slow_log_off() {
        return format!(
            "The slow log is off; CONFIG SET slowlog-log-slower-than {threshold_us} would tell which commands it were."
        );
    }
    if u64::try_from(slow_us).is_ok_and(|slow_us| slow_us > threshold_us) {
        return format!(
            "The slow log misses some of these events; CONFIG SET slowlog-log-slower-than {threshold_us} includes them."
        );
    }
    "SLOWLOG GET tells which commands it were.".to_owned()
}

pub(crate) const LATENCY_HELP: CommandSpec = CommandSpec::new("help", 2, latency_help)
    .group(Group::Server)
    .since("2.8.13")
    .flags(Flags::ANY_TIME)
    .summary("Lists the subcommands of LATENCY.")
    .complexity("O(1)");
fn latency_help(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.help(&[
        "DOCTOR",
        "    A report in words, with advice.",
        "GRAPH <event>",
        "    A picture of the samples of an event.",
        "HISTOGRAM [<command> ...]",
        "    How often commands took at most so many microseconds.",
        "HISTORY <event>",
        "    The samples of an event: Unix seconds and milliseconds.",
        "LATEST",
        "    The newest sample of each event.",
        "RESET [<event> ...]",
        "    Forgets the samples of these events, or of all.",
    ]);
    Ok(Outcome::Done)
}
