//! Metrics of the server with labels: databases, replication, parameters, logs, errors.

use engine::commandlog::LogKind;
use engine::config::{ClientClass, P};
use engine::replicas::SyncState;

use super::exposition::{Kind, Page};
use super::{Fields, number};
use crate::observe::info::KeyspaceTotals;
use crate::server::Server;
use crate::state::LinkState;

/// Empty databases have samples up to this number, so that a page stays small however many there
/// may be.
const EMPTY_DATABASES_MAX: usize = 256;

pub(super) fn write(
    server: &Server,
    fields: &Fields<'_>,
    keyspace: &KeyspaceTotals,
    page: &mut Page,
) {
    instance(fields, page);
    databases(keyspace, page);
    worker_times(fields, page);
    errors(server, page);
    replicas(server, page);
    primary(server, fields, page);
    parameters(server, page);
    output_limits(server, page);
    command_logs(server, page);
    latency_events(server, page);
}

fn instance(fields: &Fields<'_>, page: &mut Page) {
    const LABELS: [&str; 12] = [
        "role",
        "redis_version",
        "redis_build_id",
        "redis_mode",
        "os",
        "maxmemory_policy",
        "tcp_port",
        "run_id",
        "process_id",
        "master_replid",
        "valkey_version",
        "valkey_release_stage",
    ];
    let value = |name: &&'static str| (*name, fields.get(name).copied().unwrap_or(""));
    let labels: Vec<_> = LABELS.iter().map(value).collect();
    let name = "redis_instance_info";
    page.metric(name, Kind::Gauge, "The server, in labels.");
    page.sample(name, &labels, 1);
    let uptime_s = fields.get("uptime_in_seconds").and_then(|it| number(it));
    let now_us = fields.get("server_time_usec").and_then(|it| number(it));
    if let (Some(uptime_s), Some(now_us)) = (uptime_s, now_us) {
        let started_s = (now_us / 1e6).floor() - uptime_s;
        let help = "When the server started, Unix seconds.";
        page.single("redis_start_time_seconds", Kind::Gauge, help, started_s);
    }
}

fn databases(keyspace: &KeyspaceTotals, page: &mut Page) {
    let all = keyspace.databases.iter().enumerate();
    let named: Vec<_> = all
        .filter(|(db, totals)| *db < EMPTY_DATABASES_MAX || totals.stats.entries > 0)
        .map(|(db, totals)| (format!("db{db}"), totals))
        .collect();
    let used = || named.iter().filter(|(_, totals)| totals.stats.entries > 0);
    let name = "redis_db_keys";
    page.metric(name, Kind::Gauge, "Keys.");
    for (db, totals) in &named {
        page.sample(name, &[("db", db)], totals.stats.entries);
    }
    let name = "redis_db_keys_expiring";
    page.metric(name, Kind::Gauge, "Keys with a deadline.");
    for (db, totals) in &named {
        page.sample(name, &[("db", db)], totals.stats.volatile);
    }
    // redis_exporter takes the fourth figure of a database for this one, whatever it is.
    let name = "redis_db_keys_cached";
    page.metric(name, Kind::Gauge, "Keys with elements that have deadlines.");
    for (db, totals) in used() {
        page.sample(name, &[("db", db)], totals.stats.volatile_elements);
    }
    let name = "redis_db_avg_ttl_seconds";
    page.metric(name, Kind::Gauge, "Average time to live of keys.");
    for (db, totals) in used() {
        page.sample(name, &[("db", db)], totals.avg_ttl_ms() as f64 / 1000.0);
    }
}

/// Work of the workers behind the first one, which are the I/O threads of INFO.
fn worker_times(fields: &Fields<'_>, page: &mut Page) {
    let name = "redis_active_time_io_thread_seconds_total";
    let help = "Work of the workers behind the first one.";
    page.metric(name, Kind::Counter, help);
    let field = |number| format!("used_active_time_io_thread_{number}");
    for thread in 1.. {
        let Some(seconds) = fields.get(field(thread).as_str()) else {
            return;
        };
        page.sample(name, &[("thread", &thread.to_string())], seconds);
    }
}

fn errors(server: &Server, page: &mut Page) {
    let name = "redis_errors_total";
    page.metric(name, Kind::Counter, "Error replies by their code.");
    for (code, count) in server.engine.errors.snapshot() {
        // As in INFO, from which redis_exporter has it.
        let code = code.replace(['#', ':', '\r', '\n'], "_");
        page.sample(name, &[("err", &code)], count);
    }
}

fn replicas(server: &Server, page: &mut Page) {
    let steady_ms = server.engine.steady_ms();
    let replicas = server.engine.replicas.all();
    let texts: Vec<_> = replicas
        .iter()
        .map(|replica| (replica.ip().to_string(), replica.setup.port.to_string()))
        .collect();
    let rows = || replicas.iter().zip(&texts);
    let name = "redis_connected_slave_offset_bytes";
    page.metric(name, Kind::Gauge, "What a replica has acknowledged.");
    for (replica, (ip, port)) in rows() {
        let labels = [
            ("slave_ip", ip.as_str()),
            ("slave_port", port),
            ("slave_state", replica.state().word()),
        ];
        page.sample(name, &labels, replica.acknowledged());
    }
    let name = "redis_connected_slave_lag_seconds";
    page.metric(name, Kind::Gauge, "Seconds since its last acknowledgement.");
    for (replica, (ip, port)) in rows() {
        let labels = [
            ("slave_ip", ip.as_str()),
            ("slave_port", port),
            ("slave_state", replica.state().word()),
        ];
        let lag_s = match replica.state() {
            SyncState::Online => replica.lag_s(steady_ms),
            _ => 0,
        };
        page.sample(name, &labels, lag_s);
    }
}

/// A replica's view of its primary.
fn primary(server: &Server, fields: &Fields<'_>, page: &mut Page) {
    let Some(following) = server.replication.following() else {
        return;
    };
    let port = following.port.to_string();
    let labels = [
        ("master_host", following.host.as_str()),
        ("master_port", port.as_str()),
    ];
    let is_up = u8::from(following.state == LinkState::Connected);
    let name = "redis_master_link_up";
    page.metric(name, Kind::Gauge, "1 while the primary is followed.");
    page.sample(name, &labels, is_up);
    for (field, help) in [
        (
            "master_last_io_seconds_ago",
            "Seconds since anything came from the primary.",
        ),
        (
            "master_sync_in_progress",
            "1 during a full synchronization.",
        ),
        (
            "slave_repl_offset",
            "Where the stream of the primary is here.",
        ),
    ] {
        if let Some(value) = fields.get(field) {
            let name = format!("redis_{field}");
            page.metric(&name, Kind::Gauge, help);
            page.sample(&name, &labels, value);
        }
    }
    let read_only = fields.get("slave_read_only").copied().unwrap_or("");
    let [host, port] = labels;
    let name = "redis_slave_info";
    page.metric(name, Kind::Gauge, "The replica, in labels.");
    page.sample(name, &[host, port, ("read_only", read_only)], 1);
}

fn parameters(server: &Server, page: &mut Page) {
    let config = &server.engine.config;
    for (name, value) in [
        ("io_threads", config.int(P::IoThreads)),
        ("maxclients", config.int(P::Maxclients)),
        ("repl_backlog_size", config.int(P::ReplBacklogSize)),
    ] {
        let name = format!("redis_config_{name}");
        page.single(&name, Kind::Gauge, "The parameter of that name.", value);
    }
    // Its 64 bits are unsigned.
    let maxmemory = config.int(P::Maxmemory).cast_unsigned();
    let help = "The parameter maxmemory.";
    page.single("redis_config_maxmemory", Kind::Gauge, help, maxmemory);
}

fn output_limits(server: &Server, page: &mut Page) {
    let limits = server.engine.config.output_limits();
    let classes = [
        ("normal", limits.of(ClientClass::Normal)),
        ("slave", limits.of(ClientClass::Replica)),
        ("pubsub", limits.of(ClientClass::PubSub)),
    ];
    let name = "redis_config_client_output_buffer_limit_bytes";
    page.metric(name, Kind::Gauge, "Output that closes a client.");
    for (class, limit) in classes {
        page.sample(name, &[("class", class), ("limit", "hard")], limit.hard);
        page.sample(name, &[("class", class), ("limit", "soft")], limit.soft);
    }
    let name = "redis_config_client_output_buffer_limit_overcome_seconds";
    page.metric(
        name,
        Kind::Gauge,
        "How long the soft limit may be exceeded.",
    );
    for (class, limit) in classes {
        let labels = [("class", class), ("limit", "soft")];
        page.sample(name, &labels, limit.soft_seconds);
    }
}

fn command_logs(server: &Server, page: &mut Page) {
    let (logs, config) = (&server.engine.commandlog, &server.engine.config);
    let slow = logs.len(LogKind::Slow);
    let last = logs.newest(LogKind::Slow, 1);
    let last = last.first();
    let id = last.map_or(0, |entry| entry.id);
    let seconds = last.map_or(0.0, |entry| entry.value as f64 / 1e6);
    let gauge = Kind::Gauge;
    page.single("redis_slowlog_length", gauge, "Entries of SLOWLOG.", slow);
    page.single("redis_slowlog_last_id", gauge, "The newest of them.", id);
    let help = "How long the newest of them took.";
    page.single(
        "redis_last_slow_execution_duration_seconds",
        gauge,
        help,
        seconds,
    );
    for (name, kind) in [
        ("slow", LogKind::Slow),
        ("large_request", LogKind::LargeRequest),
        ("large_reply", LogKind::LargeReply),
    ] {
        let name = format!("redis_commandlog_{name}_length");
        page.single(&name, gauge, "Entries of COMMANDLOG.", logs.len(kind));
    }
    for id in [
        P::CommandlogExecutionSlowerThan,
        P::CommandlogSlowExecutionMaxLen,
        P::CommandlogRequestLargerThan,
        P::CommandlogLargeRequestMaxLen,
        P::CommandlogReplyLargerThan,
        P::CommandlogLargeReplyMaxLen,
    ] {
        let name = format!("redis_{}", id.name().replace('-', "_"));
        page.single(&name, gauge, "The parameter of that name.", config.int(id));
    }
}

fn latency_events(server: &Server, page: &mut Page) {
    let events = server.engine.latency.all();
    let samples = || {
        events
            .iter()
            .filter_map(|(event, series)| Some((event.as_str(), *series.samples.back()?)))
    };
    let name = "redis_latency_spike_last";
    page.metric(name, Kind::Gauge, "When it last happened, Unix seconds.");
    for (event, last) in samples() {
        page.sample(name, &[("event_name", event)], last.time_s);
    }
    let name = "redis_latency_spike_duration_seconds";
    page.metric(name, Kind::Gauge, "How long it took then.");
    for (event, last) in samples() {
        page.sample(
            name,
            &[("event_name", event)],
            last.latency_ms as f64 / 1000.0,
        );
    }
}
