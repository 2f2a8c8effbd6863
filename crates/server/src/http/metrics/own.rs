//! Figures that only this server has.

use std::sync::atomic::Ordering;

use engine::version::LODESTORE_VERSION;

use super::exposition::{Kind, Page};
use crate::http::health;
use crate::machine;
use crate::server::Server;
use crate::state::Purpose;

pub(super) fn write(server: &Server, is_fresh: bool, page: &mut Page) {
    state(server, is_fresh, page);
    memory(page);
    log_of_changes(server, page);
    snapshots(server, page);
    workers(server, page);
    http(server, page);
}

fn memory(page: &mut Page) {
    let limit = machine::cgroup_limit().unwrap_or(0);
    let help = "Limit of memory of the control group, 0 for none.";
    page.single(
        "lodestore_cgroup_memory_limit_bytes",
        Kind::Gauge,
        help,
        limit,
    );
}

fn state(server: &Server, is_fresh: bool, page: &mut Page) {
    let build = &server.identity.build;
    let name = "lodestore_info";
    page.metric(name, Kind::Gauge, "The server, in labels.");
    let labels = [("version", LODESTORE_VERSION), ("commit", build.sha())];
    page.sample(name, &labels, 1);
    let is_ready = u8::from(health::reasons(server).is_empty());
    let help = "1 when /readyz says so.";
    page.single("lodestore_ready", Kind::Gauge, help, is_ready);
    let help = "How long the next run of active expiry is overdue.";
    let due_ms = server.engine.next_expiry_ms.load(Ordering::Relaxed);
    let overdue_s = server.engine.now_ms().saturating_sub(due_ms) as f64 / 1000.0;
    page.single(
        "lodestore_expiry_overdue_seconds",
        Kind::Gauge,
        help,
        overdue_s,
    );
    let help = "1 when figures of keys are those of an earlier page, because data stayed locked.";
    let is_stale = u8::from(!is_fresh);
    page.single("lodestore_keys_stale", Kind::Gauge, help, is_stale);
}

fn log_of_changes(server: &Server, page: &mut Page) {
    let log = server.engine.log.status();
    let help = "Syncs of the append-only file.";
    page.single("lodestore_log_syncs_total", Kind::Counter, help, log.fsyncs);
    let help = "Time in them.";
    let seconds = log.fsync_time.as_secs_f64();
    page.single(
        "lodestore_log_sync_seconds_total",
        Kind::Counter,
        help,
        seconds,
    );
    let help = "How long the last of them took.";
    let seconds = log.last_fsync_time.as_secs_f64();
    page.single(
        "lodestore_log_last_sync_seconds",
        Kind::Gauge,
        help,
        seconds,
    );
    let help = "Bytes that are appended and not durable yet.";
    let unsynced = log.appended.saturating_sub(log.synced);
    page.single("lodestore_log_unsynced_bytes", Kind::Gauge, help, unsynced);
}

fn snapshots(server: &Server, page: &mut Page) {
    let purpose = server.snapshots.purpose();
    let name = "lodestore_snapshot_in_progress";
    page.metric(name, Kind::Gauge, "1 while a snapshot of that kind runs.");
    for (word, kind) in [
        ("save", Purpose::Save),
        ("rewrite", Purpose::Rewrite),
        ("backup", Purpose::Copy),
        ("sync", Purpose::Sync),
    ] {
        page.sample(name, &[("kind", word)], u8::from(purpose == Some(kind)));
    }
    let report = server.snapshots.report(server.engine.steady_ms());
    let help = "Keys that the running snapshot has.";
    page.single("lodestore_snapshot_keys", Kind::Gauge, help, report.keys);
    let help = "Keys that it will have.";
    page.single(
        "lodestore_snapshot_keys_expected",
        Kind::Gauge,
        help,
        report.keys_total,
    );
    let help = "Old values that wait to be written.";
    page.single(
        "lodestore_snapshot_kept_bytes",
        Kind::Gauge,
        help,
        report.kept,
    );
}

fn workers(server: &Server, page: &mut Page) {
    let names: Vec<String> = (0..server.workers.len())
        .map(|number| number.to_string())
        .collect();
    let clients = server.engine.clients.all();
    let mut counts = vec![0u64; names.len()];
    for client in &clients {
        if let Some(count) = counts.get_mut(client.worker.load(Ordering::Relaxed)) {
            *count += 1;
        }
    }
    let rows = || names.iter().zip(&server.workers);
    let name = "lodestore_worker_busy_seconds_total";
    page.metric(
        name,
        Kind::Counter,
        "Time a worker did not wait for events.",
    );
    for (worker, handle) in rows() {
        let seconds = handle.stats().busy_nanos.get() as f64 / 1e9;
        page.sample(name, &[("worker", worker)], seconds);
    }
    let name = "lodestore_worker_commands_total";
    page.metric(name, Kind::Counter, "Commands that a worker ran.");
    for (worker, handle) in rows() {
        let commands = handle.stats().commands_processed.get();
        page.sample(name, &[("worker", worker)], commands);
    }
    let name = "lodestore_worker_clients";
    page.metric(name, Kind::Gauge, "Clients of a worker.");
    for (worker, count) in names.iter().zip(counts) {
        page.sample(name, &[("worker", worker)], count);
    }
}

fn http(server: &Server, page: &mut Page) {
    let requests = server.http.requests.load(Ordering::Relaxed);
    let help = "Requests over HTTP.";
    page.single(
        "lodestore_http_requests_total",
        Kind::Counter,
        help,
        requests,
    );
}
