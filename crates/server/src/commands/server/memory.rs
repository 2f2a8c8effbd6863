//! MEMORY.

use super::bigkeys::MEMORY_BIGKEYS;
use crate::observe::info::KeyspaceTotals;
use crate::observe::info::memory::MemoryReport;
use crate::server::Server;
use engine::command::{Arg, Flags, Group, KeyFlags, KeySpec, Locks};
use engine::context::Context;
use engine::error::CommandError;
use engine::execute::{CommandResult, CommandSpec, Outcome};

/// Tips for subcommands whose replies cannot be combined.
const HINTS: &[&str] = &[
    "nondeterministic_output",
    "request_policy:all_shards",
    "response_policy:special",
];

pub(crate) const MEMORY: CommandSpec = CommandSpec::container("memory", -2)
    .group(Group::Server)
    .since("4.0.0")
    .summary("A container for commands about memory.")
    .complexity("Depends on the subcommand")
    .subcommands(&[
        &MEMORY_BIGKEYS,
        &MEMORY_DOCTOR,
        &MEMORY_HELP,
        &MEMORY_MALLOC_STATS,
        &MEMORY_PURGE,
        &MEMORY_STATS,
        &MEMORY_USAGE,
    ]);

pub(crate) const MEMORY_USAGE: CommandSpec = CommandSpec::new("usage", -3, memory_usage)
    .group(Group::Server)
    .since("4.0.0")
    .flags(Flags::READONLY)
    .summary("Estimates the memory usage of a key in bytes.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(2, KeyFlags::RO)])
    .args(&[Arg::KEY, Arg::integer("count").option("SAMPLES")]);
fn memory_usage(ctx: &mut Context<'_, '_>) -> CommandResult {
    let mut at = 3;
    while at < ctx.args.len() {
        if !ctx.is_word(at, "SAMPLES") || at + 1 == ctx.args.len() {
            return Err(CommandError::Syntax);
        }
        if ctx.integer(at + 1)? < 0 {
            return Err(CommandError::Syntax);
        }
        at += 2;
    }
    // The figure is kept exact with every change, so there is nothing to sample.
    let key = ctx.key(2);
    match ctx.data.peek(key).map(|entry| entry.memory_usage()) {
        Some(bytes) => ctx.reply.integer(bytes as i64),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

fn gather(ctx: &mut Context<'_, '_>) -> Result<MemoryReport, CommandError> {
    let totals = KeyspaceTotals::gather(&mut ctx.data)?;
    Ok(MemoryReport::gather(&*Server::of(ctx)?, &totals))
}

/// One figure of MEMORY STATS.
enum Figure {
    Integer(i64),
    Double(f64),
}

pub(crate) const MEMORY_STATS: CommandSpec = CommandSpec::new("stats", 2, memory_stats)
    .group(Group::Server)
    .since("4.0.0")
    .summary("Returns what memory is used for, in figures.")
    .complexity("O(1)")
    .hints(HINTS)
    .locks(Locks::Own);
fn memory_stats(ctx: &mut Context<'_, '_>) -> CommandResult {
    let report = gather(ctx)?;
    let (before, after) = figures(&report);
    ctx.reply
        .map(before.len() + report.databases.len() + after.len());
    reply_figures(ctx, &before);
    for database in &report.databases {
        ctx.reply.bulk(format!("db.{}", database.db).as_bytes());
        ctx.reply.map(2);
        ctx.reply.bulk(b"overhead.hashtable.main");
        ctx.reply.integer(database.main as i64);
        ctx.reply.bulk(b"overhead.hashtable.expires");
        ctx.reply.integer(database.expires as i64);
    }
    reply_figures(ctx, &after);
    Ok(Outcome::Done)
}

fn reply_figures(ctx: &mut Context<'_, '_>, figures: &[(&str, Figure)]) {
    for (name, figure) in figures {
        ctx.reply.bulk(name.as_bytes());
        match figure {
            Figure::Integer(value) => ctx.reply.integer(*value),
            Figure::Double(value) => ctx.reply.double(*value),
        }
    }
}

type Figures = Vec<(&'static str, Figure)>;

/// The figures before and after those of the databases.
fn figures(report: &MemoryReport) -> (Figures, Figures) {
    let bytes = |value: u64| Figure::Integer(value as i64);
    let lut = report.databases.iter().map(|db| db.main + db.expires).sum();
    let before = vec![
        ("peak.allocated", bytes(report.peak)),
        ("total.allocated", bytes(report.used)),
        ("startup.allocated", bytes(report.startup)),
        ("replication.backlog", bytes(report.backlog)),
        ("replicas.repl.buffer", bytes(report.replica_buffers)),
        ("clients.slaves", bytes(0)),
        ("clients.normal", bytes(report.clients_normal)),
        ("cluster.links", bytes(0)),
        ("cluster.slot_import", bytes(0)),
        ("cluster.slot_export", bytes(0)),
        ("aof.buffer", bytes(report.aof_buffer)),
        ("lua.caches", bytes(report.script_bytes)),
        ("functions.caches", bytes(report.library_bytes)),
    ];
    let (fragmentation, fragmentation_bytes) = report.allocator_fragmentation();
    let (allocator_rss, allocator_rss_bytes) = report.allocator_rss();
    let (overhead, overhead_bytes) = report.rss_overhead();
    let (total, total_bytes) = report.fragmentation();
    let after = vec![
        ("overhead.db.hashtable.lut", bytes(lut)),
        ("overhead.db.hashtable.rehashing", bytes(0)),
        ("overhead.total", bytes(report.overhead)),
        ("db.dict.rehashing.count", bytes(0)),
        ("keys.count", bytes(report.keys)),
        ("keys.bytes-per-key", bytes(report.bytes_per_key())),
        ("dataset.bytes", bytes(report.dataset)),
        (
            "dataset.percentage",
            Figure::Double(report.dataset_percent()),
        ),
        ("peak.percentage", Figure::Double(report.peak_percent())),
        ("allocator.allocated", bytes(report.allocator.allocated)),
        ("allocator.active", bytes(report.allocator.active)),
        ("allocator.resident", bytes(report.allocator.resident)),
        ("allocator.muzzy", bytes(report.allocator.muzzy)),
        (
            "allocator-fragmentation.ratio",
            Figure::Double(fragmentation),
        ),
        (
            "allocator-fragmentation.bytes",
            Figure::Integer(fragmentation_bytes),
        ),
        ("allocator-rss.ratio", Figure::Double(allocator_rss)),
        ("allocator-rss.bytes", Figure::Integer(allocator_rss_bytes)),
        ("rss-overhead.ratio", Figure::Double(overhead)),
        ("rss-overhead.bytes", Figure::Integer(overhead_bytes)),
        ("fragmentation", Figure::Double(total)),
        ("fragmentation.bytes", Figure::Integer(total_bytes)),
    ];
    (before, after)
}

pub(crate) const MEMORY_DOCTOR: CommandSpec = CommandSpec::new("doctor", 2, memory_doctor)
    .group(Group::Server)
    .since("4.0.0")
    .summary("Returns a report of memory problems.")
    .complexity("O(1)")
    .hints(HINTS)
    .locks(Locks::Own);
fn memory_doctor(ctx: &mut Context<'_, '_>) -> CommandResult {
    let report = gather(ctx)?;
    let text = diagnosis(&report, ctx.engine.clients.count());
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(Outcome::Done)
}

/// Memory in use below which no advice is given, in bytes.
const TOO_SMALL: u64 = 5 << 20;
/// Waste below which no advice is given, in bytes.
const WORTH_A_WORD: i64 = 10 << 20;
/// Memory of one client that is much, in bytes.
const CLIENT_BIG: u64 = 200 << 10;

fn diagnosis(report: &MemoryReport, clients: usize) -> String {
    if report.used < TOO_SMALL {
        return "There is next to nothing in memory, so there is nothing to find. Come back with data.\n".to_owned();
    }
    let wasteful = |(ratio, bytes): (f64, i64), limit: f64| ratio > limit && bytes > WORTH_A_WORD;
    let findings = [
        (
            report.peak as f64 / report.used as f64 > 1.5,
            "Peak: more than 1.5 times the present memory was in use once. The allocator gives such memory back \
             slowly; MEMORY PURGE asks it to.",
        ),
        (
            wasteful(report.fragmentation(), 1.4),
            "Resident memory: the process holds more than 1.4 times what is in use, after a peak or because the \
             sizes of values changed much.",
        ),
        (
            wasteful(report.allocator_fragmentation(), 1.1),
            "Fragmentation: over a tenth of the allocator's pages is space between live blocks. It fills up when \
             data of similar size comes, and goes with a restart.",
        ),
        (
            wasteful(report.allocator_rss(), 1.1),
            "Unused pages: the allocator keeps over a tenth more pages than it uses. MEMORY PURGE releases them.",
        ),
        (
            wasteful(report.rss_overhead(), 1.1),
            "Outside of the allocator: over a tenth of the resident memory does not come from it.",
        ),
        (
            report.clients_normal / (clients.max(1) as u64) > CLIENT_BIG,
            "Clients: their buffers take over 200 KiB each on average. CLIENT LIST shows who reads slowly or sends \
             big requests.",
        ),
    ];
    let found: Vec<&str> = findings
        .iter()
        .filter(|(holds, _)| *holds)
        .map(|(_, text)| *text)
        .collect();
    if found.is_empty() {
        return "No problem with memory was found.\n".to_owned();
    }
    let mut text = "Some things about the memory stand out:\n\n".to_owned();
    for finding in found {
        text.push_str(" * ");
        text.push_str(finding);
        text.push_str("\n\n");
    }
    text
}

pub(crate) const MEMORY_MALLOC_STATS: CommandSpec =
    CommandSpec::new("malloc-stats", 2, memory_malloc_stats)
        .group(Group::Server)
        .since("4.0.0")
        .flags(Flags::LOADING)
        .summary("Returns the allocator's own report.")
        .complexity("Depends on the allocator")
        .hints(HINTS);
fn memory_malloc_stats(ctx: &mut Context<'_, '_>) -> CommandResult {
    let text = keyspace::memory::malloc_stats();
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(Outcome::Done)
}

pub(crate) const MEMORY_PURGE: CommandSpec = CommandSpec::new("purge", 2, memory_purge)
    .group(Group::Server)
    .since("4.0.0")
    .flags(Flags::LOADING)
    .summary("Releases unused memory of the allocator.")
    .complexity("Depends on the allocator")
    .hints(&["request_policy:all_shards", "response_policy:all_succeeded"]);
fn memory_purge(ctx: &mut Context<'_, '_>) -> CommandResult {
    if !keyspace::memory::purge() {
        return Err(CommandError::line("ERR Error purging dirty pages"));
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const MEMORY_HELP: CommandSpec = CommandSpec::new("help", 2, memory_help)
    .group(Group::Server)
    .since("4.0.0")
    .flags(Flags::ANY_TIME)
    .summary("Lists the subcommands of MEMORY.")
    .complexity("O(1)");
fn memory_help(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.help(&[
        "BIGKEYS [COUNT <count>]",
        "    The biggest keys of each type, by bytes and by elements.",
        "DOCTOR",
        "    Looks for problems and explains them.",
        "MALLOC-STATS",
        "    The allocator's own report.",
        "PURGE",
        "    Gives unused memory back to the system.",
        "STATS",
        "    Where the memory of the server is.",
        "USAGE <key> [SAMPLES <count>]",
        "    Bytes of a key and its value.",
    ]);
    Ok(Outcome::Done)
}
