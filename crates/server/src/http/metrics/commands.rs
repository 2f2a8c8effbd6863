//! Metrics of single commands.

use engine::config::P;
use engine::latency::Distribution;

use super::exposition::{Kind, Page};
use crate::observe::info::command_totals;
use crate::server::Server;

/// What is known of a command that was called or refused.
struct Figures {
    name: &'static str,
    calls: u64,
    micros: u64,
    nanos: u64,
    rejected: u64,
    failed: u64,
    latency: Distribution,
}

pub(super) fn write(server: &Server, page: &mut Page) {
    let commands = gather(server);
    counters(&commands, page);
    if server.engine.config.bool(P::LatencyTracking) {
        percentiles(server, &commands, page);
        histograms(&commands, page);
    }
}

fn gather(server: &Server) -> Vec<Figures> {
    let mut all = Vec::new();
    for entry in server.engine.commands.entries() {
        let [calls, nanos, rejected, failed] = command_totals(server, entry);
        if calls != 0 || rejected != 0 || failed != 0 {
            all.push(Figures {
                name: entry.full_name,
                calls,
                micros: nanos / 1000,
                nanos,
                rejected,
                failed,
                latency: Distribution::of(server.engine.workers(), entry),
            });
        }
    }
    all
}

fn counters(commands: &[Figures], page: &mut Page) {
    let seconds = |command: &Figures| command.micros as f64 / 1e6;
    type Column = (&'static str, &'static str, fn(&Figures) -> f64);
    let columns: [Column; 4] = [
        ("redis_commands_total", "Calls.", |it| it.calls as f64),
        (
            "redis_commands_duration_seconds_total",
            "Time in calls.",
            seconds,
        ),
        (
            "redis_commands_rejected_calls_total",
            "Calls that were refused before they ran.",
            |it| it.rejected as f64,
        ),
        (
            "redis_commands_failed_calls_total",
            "Calls that ended with an error.",
            |it| it.failed as f64,
        ),
    ];
    for (name, help, value) in columns {
        page.metric(name, Kind::Counter, help);
        for command in commands {
            page.sample(name, &[("cmd", command.name)], value(command));
        }
    }
}

fn percentiles(server: &Server, commands: &[Figures], page: &mut Page) {
    const NAME: &str = "redis_latency_percentiles_usec";
    let percentiles = server.engine.config.percentiles();
    let help = "Microseconds that this percentage of the calls did not exceed.";
    page.metric(NAME, Kind::Summary, help);
    for command in commands.iter().filter(|it| it.latency.total() > 0) {
        for percent in &percentiles {
            let labels = [("cmd", command.name), ("quantile", &percent.to_string())];
            let micros = format!("{:.3}", command.latency.percentile(*percent));
            page.sample(NAME, &labels, micros);
        }
        let labels = [("cmd", command.name)];
        page.sample(&format!("{NAME}_sum"), &labels, command.micros);
        page.sample(&format!("{NAME}_count"), &labels, command.calls);
    }
}

/// The same counts in two forms: with the steps of LATENCY HISTOGRAM, which leave out those without
/// calls of their own, under the name that redis_exporter gives them; and in seconds with the same
/// steps for all commands, which can be added up.
fn histograms(commands: &[Figures], page: &mut Page) {
    const USEC: &str = "redis_commands_latencies_usec";
    page.metric(USEC, Kind::Histogram, "Microseconds of calls.");
    for command in commands.iter().filter(|it| it.latency.total() > 0) {
        let bucket = format!("{USEC}_bucket");
        for (micros, count) in command.latency.cumulative() {
            let labels = [("cmd", command.name), ("le", &micros.to_string())];
            page.sample(&bucket, &labels, count);
        }
        let total = command.latency.total();
        page.sample(&bucket, &[("cmd", command.name), ("le", "+Inf")], total);
        let labels = [("cmd", command.name)];
        page.sample(&format!("{USEC}_sum"), &labels, command.micros);
        page.sample(&format!("{USEC}_count"), &labels, total);
    }
    const SECONDS: &str = "lodestore_command_duration_seconds";
    page.metric(SECONDS, Kind::Histogram, "Durations of calls.");
    for command in commands.iter().filter(|it| it.latency.total() > 0) {
        let bucket = format!("{SECONDS}_bucket");
        for (nanos, count) in command.latency.steps() {
            let le = (nanos as f64 / 1e9).to_string();
            page.sample(&bucket, &[("cmd", command.name), ("le", &le)], count);
        }
        let total = command.latency.total();
        page.sample(&bucket, &[("cmd", command.name), ("le", "+Inf")], total);
        let labels = [("cmd", command.name)];
        let seconds = command.nanos as f64 / 1e9;
        page.sample(&format!("{SECONDS}_sum"), &labels, seconds);
        page.sample(&format!("{SECONDS}_count"), &labels, total);
    }
}
