//! The sections of INFO.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::memory::{MemoryReport, ScriptMemory, allocator};
use super::{Facts, Section, human_bytes, sys};
use crate::jobs::rewrite;
use crate::machine;
use crate::server::Server;
use crate::state::{Following, LinkState, Purpose};
use engine::config::{MaxmemoryPolicy, P, Supervised};
use engine::latency::Distribution;
use engine::pubsub::PublishedAs;
use engine::replicas::SyncState;
use engine::stats::WorkerStats;
use engine::table::Command;
use engine::version::{LODESTORE_VERSION, VALKEY_VERSION};

/// Writes `name:value` lines.
macro_rules! fields {
    ($text:expr, $($name:literal: $value:expr),* $(,)?) => {{
        // Writing to a string does not fail.
        $(let _ = write!($text, concat!($name, ":{}\r\n"), $value);)*
    }};
}

pub(super) fn write(section: Section, facts: &Facts<'_>, text: &mut String) {
    match section {
        Section::Server => server(facts, text),
        Section::Tls => tls(facts, text),
        Section::Clients => clients(facts, text),
        Section::Memory => memory(facts, text),
        Section::Persistence => persistence(facts, text),
        Section::Threads => threads(facts, text),
        Section::Stats => stats(facts, text),
        Section::Replication => replication(facts, text),
        Section::Cpu => cpu(facts, text),
        Section::Modules => text.push_str("# Modules\r\n"),
        Section::CommandStats => command_stats(facts, text),
        Section::ErrorStats => error_stats(facts, text),
        Section::LatencyStats => latency_stats(facts, text),
        Section::Cluster => text.push_str("# Cluster\r\ncluster_enabled:0\r\n"),
        Section::ClusterInfo => text.push_str("# Cluster Info\r\n"),
        Section::ScriptingEngines => scripting_engines(facts, text),
        Section::Keyspace => keyspace(facts, text),
        Section::Keysizes => super::sizes::write(facts, text),
        Section::Debug => debug(facts, text),
    }
}

fn server(facts: &Facts<'_>, text: &mut String) {
    let config = &facts.server.engine.config;
    let identity = &facts.server.identity;
    let uptime_s = facts.server.engine.clock.monotonic_ns() / 1_000_000_000;
    let hz = config.int(P::Hz);
    text.push_str("# Server\r\n");
    fields!(text,
        "redis_version": config.text(P::RedisVersion),
        "server_name": "lodestore",
        "valkey_version": VALKEY_VERSION,
        "valkey_release_stage": "ga",
        "lodestore_version": LODESTORE_VERSION,
        "redis_git_sha1": identity.build.sha(),
        "redis_git_dirty": u8::from(identity.build.is_modified),
        "redis_build_id": identity.build.id(),
        "redis_mode": "standalone",
        "server_mode": "standalone",
        "os": sys::os_name(),
        "arch_bits": usize::BITS,
        "monotonic_clock": "POSIX clock_gettime",
        "multiplexing_api": if cfg!(target_os = "linux") { "epoll" } else { "kqueue" },
        "gcc_version": "0.0.0",
        "process_id": identity.pid,
        "process_supervised": supervisor(facts),
        "run_id": identity.run_id,
        "tcp_port": match config.int(P::Port) { 0 => config.int(P::TlsPort), port => port },
        "server_time_usec": facts.server.engine.clock.unix_us(),
        "uptime_in_seconds": uptime_s,
        "uptime_in_days": uptime_s / 86400,
        "hz": hz,
        "configured_hz": hz,
        "clients_hz": hz,
        "lru_clock": (facts.server.engine.lru.now().ms() / 1000) & 0xFF_FFFF,
        "executable": identity.executable,
        "config_file": identity.config_file,
        "io_threads_active": u8::from(facts.server.workers.len() > 1),
        "worker_threads": facts.server.workers.len(),
        "availability_zone": config.text(P::AvailabilityZone),
    );
    if let Some(until_ms) = facts.server.shutdown.waits_until_ms() {
        let left_ms = until_ms as i64 - facts.server.engine.steady_ms() as i64;
        let _ = write!(text, "shutdown_in_milliseconds:{left_ms}\r\n");
    }
    listeners(facts, text);
}

fn supervisor(facts: &Facts<'_>) -> &'static str {
    match facts.server.engine.config.choice(P::Supervised) {
        Supervised::Upstart => "upstart",
        Supervised::Systemd => "systemd",
        // "auto" without a supervisor, and "no".
        _ => "no",
    }
}

fn listeners(facts: &Facts<'_>, text: &mut String) {
    let config = &facts.server.engine.config;
    let mut number = 0;
    for (name, id) in [("tcp", P::Port), ("tls", P::TlsPort)] {
        let port = config.int(id);
        if port != 0 {
            let _ = write!(text, "listener{number}:name={name}");
            for address in config.bind_addresses() {
                let _ = write!(text, ",bind={address}");
            }
            let _ = write!(text, ",port={port}\r\n");
            number += 1;
        }
    }
    let socket = config.text(P::UnixSocket);
    if !socket.is_empty() {
        let _ = write!(text, "listener{number}:name=unix,bind={socket}\r\n");
    }
}

fn tls(facts: &Facts<'_>, text: &mut String) {
    let now_s = facts.server.engine.now_ms() / 1000;
    let settings = facts.server.tls.settings();
    let server = settings
        .as_ref()
        .and_then(|it| it.server_certificate.as_ref());
    let client = settings
        .as_ref()
        .and_then(|it| it.client_certificate.as_ref());
    let authority = settings.as_ref().and_then(|it| it.authority.as_ref());
    text.push_str("# TLS\r\n");
    for (name, certificate) in [("server", server), ("client", client), ("ca", authority)] {
        let serial = certificate.map_or("none", |it| it.serial.as_str());
        let left_s = certificate.map_or(0, |it| it.left_s(now_s));
        let _ = write!(
            text,
            "tls_{name}_cert_serial:{serial}\r\ntls_{name}_cert_expires_in_seconds:{left_s}\r\n"
        );
    }
}

fn clients(facts: &Facts<'_>, text: &mut String) {
    let server = facts.server;
    let all = server.engine.clients.all();
    let figure = |of: fn(&engine::client::Figures) -> usize| {
        all.iter()
            .map(|client| of(&client.figures))
            .max()
            .unwrap_or(0)
    };
    let input = figure(|f| f.qbuf.load(Ordering::Relaxed) + f.qbuf_free.load(Ordering::Relaxed));
    let output = figure(|f| f.output_mem.load(Ordering::Relaxed));
    let pause = &server.engine.pause;
    let steady_ms = server.engine.steady_ms();
    let (reason, actions, left_ms) = match pause.longest(steady_ms) {
        None => ("none", "none", 0),
        Some((purpose, left_ms)) => {
            let is_all = pause.is_all(steady_ms);
            (
                purpose.word(),
                if is_all { "all" } else { "write" },
                left_ms,
            )
        }
    };
    text.push_str("# Clients\r\n");
    fields!(text,
        "connected_clients": server.engine.clients.count().saturating_sub(server.engine.replicas.count()),
        "cluster_connections": 0,
        "maxclients": server.engine.config.int(P::Maxclients),
        "client_recent_max_input_buffer": input,
        "client_recent_max_output_buffer": output,
        "blocked_clients": server.engine.blocked_clients.load(Ordering::Relaxed),
        "tracking_clients": server.engine.tracking.count(),
        "pubsub_clients": server.engine.pubsub.client_count(),
        "watching_clients": server.engine.key_listeners.watching(),
        "clients_in_timeout_table": server.engine.timed_waits.load(Ordering::Relaxed),
        "total_watched_keys": facts.keyspace.watched_keys,
        "total_blocking_keys": facts.keyspace.blocking_keys,
        "total_blocking_keys_on_nokey": facts.keyspace.heeded_keys,
        "paused_reason": reason,
        "paused_actions": actions,
        "paused_timeout_milliseconds": left_ms,
    );
}

fn memory(facts: &Facts<'_>, text: &mut String) {
    let Some(report) = &facts.memory else { return };
    let system = machine::total_memory();
    let cgroup = machine::cgroup_limit().unwrap_or(0);
    text.push_str("# Memory\r\n");
    fields!(text,
        "used_memory": report.used,
        "used_memory_human": human_bytes(report.used),
        "used_memory_rss": report.rss,
        "used_memory_rss_human": human_bytes(report.rss),
        "used_memory_peak": report.peak,
        "used_memory_peak_human": human_bytes(report.peak),
        "used_memory_peak_time": facts.server.metrics.peak_time_s(&facts.server.engine),
        "used_memory_peak_perc": format_args!("{:.2}%", report.peak_percent()),
        "used_memory_overhead": report.overhead,
        "used_memory_startup": report.startup,
        "used_memory_dataset": report.dataset,
        "used_memory_dataset_perc": format_args!("{:.2}%", report.dataset_percent()),
        "allocator_allocated": report.allocator.allocated,
        "allocator_active": report.allocator.active,
        "allocator_resident": report.allocator.resident,
        "allocator_muzzy": report.allocator.muzzy,
        "total_system_memory": system,
        "total_system_memory_human": human_bytes(system),
        "cgroup_memory_limit": cgroup,
        "cgroup_memory_limit_human": human_bytes(cgroup),
    );
    script_memory(facts, text);
    memory_limits(facts, report, text);
}

fn script_memory(facts: &Facts<'_>, text: &mut String) {
    let scripts = ScriptMemory::of(&facts.server.engine);
    fields!(text,
        "used_memory_lua": scripts.script_heaps,
        "used_memory_vm_eval": scripts.script_heaps,
        "used_memory_lua_human": human_bytes(scripts.script_heaps),
        "used_memory_scripts_eval": scripts.script_bytes,
        "number_of_cached_scripts": scripts.cached_scripts,
        "number_of_functions": scripts.functions,
        "number_of_libraries": scripts.libraries,
        "used_memory_vm_functions": scripts.function_heaps,
        "used_memory_vm_total": scripts.heaps(),
        "used_memory_vm_total_human": human_bytes(scripts.heaps()),
        "used_memory_functions": scripts.library_bytes,
        "used_memory_scripts": scripts.texts(),
        "used_memory_scripts_human": human_bytes(scripts.texts()),
    );
}

fn memory_limits(facts: &Facts<'_>, report: &MemoryReport, text: &mut String) {
    let config = &facts.server.engine.config;
    let limit = config.int(P::Maxmemory).cast_unsigned();
    let policy: MaxmemoryPolicy = config.choice(P::MaxmemoryPolicy);
    let (frag_ratio, frag_bytes) = report.allocator_fragmentation();
    let (allocator_rss_ratio, allocator_rss_bytes) = report.allocator_rss();
    let (overhead_ratio, overhead_bytes) = report.rss_overhead();
    let (total_ratio, total_bytes) = report.fragmentation();
    fields!(text,
        "maxmemory": limit,
        "maxmemory_human": human_bytes(limit),
        "maxmemory_policy": policy.word(),
        "allocator_frag_ratio": format_args!("{frag_ratio:.2}"),
        "allocator_frag_bytes": frag_bytes,
        "allocator_rss_ratio": format_args!("{allocator_rss_ratio:.2}"),
        "allocator_rss_bytes": allocator_rss_bytes,
        "rss_overhead_ratio": format_args!("{overhead_ratio:.2}"),
        "rss_overhead_bytes": overhead_bytes,
        "mem_fragmentation_ratio": format_args!("{total_ratio:.2}"),
        "mem_fragmentation_bytes": total_bytes,
        "mem_not_counted_for_evict": report.aof_buffer,
        "mem_replication_backlog": report.backlog,
        "mem_total_replication_buffers": report.backlog + report.replica_buffers,
        "mem_replicas_repl_buffer": report.replica_buffers,
        "mem_clients_slaves": 0,
        "mem_clients_normal": report.clients_normal,
        "mem_cluster_links": 0,
        "mem_cluster_slot_import": 0,
        "mem_cluster_slot_export": 0,
        "mem_aof_buffer": report.aof_buffer,
        "mem_allocator": allocator(),
        "mem_huge_pages": facts.server.huge_page_bytes.load(Ordering::Relaxed),
        "mem_overhead_db_hashtable_rehashing": 0,
        "active_defrag_running": 0,
        "lazyfree_pending_objects": facts.server.engine.lazy.pending(),
        "lazyfreed_objects": facts.server.engine.lazy.freed(),
    );
}

fn yes(condition: bool) -> u8 {
    u8::from(condition)
}

fn ok(condition: bool) -> &'static str {
    if condition { "ok" } else { "err" }
}

fn persistence(facts: &Facts<'_>, text: &mut String) {
    let server = facts.server;
    let log = server.engine.log.status();
    let snapshots = &server.snapshots;
    let current = snapshots.report(server.engine.steady_ms());
    let rewriting = snapshots.purpose() == Some(Purpose::Rewrite);
    // As in Redis, also one for replicas.
    let saving = current.saves_for.is_some() || snapshots.purpose() == Some(Purpose::Sync);
    let is_scheduled = rewrite::is_scheduled(server);
    let failures = server.rewrites.failures.load(Ordering::Relaxed);
    let last_rewrite_s = log
        .last_rewrite_seconds
        .map_or(-1, |seconds| seconds as i64);
    let (keys_loaded, keys_expired) = server.engine.loading.keys();
    text.push_str("# Persistence\r\n");
    fields!(text,
        "loading": yes(server.engine.loading.is_active()),
        "async_loading": yes(server.engine.loading.is_async()),
        "current_cow_peak": current.kept_peak,
        "current_cow_size": current.kept,
        "current_cow_size_age": 0,
        "current_fork_perc": format_args!("{:.2}", current.percent()),
        "current_save_keys_processed": current.keys,
        "current_save_keys_total": current.keys_total,
        "rdb_changes_since_last_save": server.changes_since_save(),
        "rdb_bgsave_in_progress": yes(saving),
        "rdb_last_save_time": server.last_save_s.load(Ordering::Relaxed),
        "rdb_last_bgsave_status": ok(!server.engine.switches.snapshots_fail.load(Ordering::Relaxed)),
        "rdb_last_bgsave_time_sec": snapshots.last_seconds.load(Ordering::Relaxed),
        "rdb_current_bgsave_time_sec": current.saves_for.unwrap_or(-1),
        "rdb_saves": snapshots.saves.load(Ordering::Relaxed),
        "rdb_last_cow_size": snapshots.last_kept_peak.load(Ordering::Relaxed),
        "rdb_last_load_keys_expired": keys_expired,
        "rdb_last_load_keys_loaded": keys_loaded,
        "aof_enabled": yes(log.enabled || is_scheduled && log.last_rewrite_ok && server.engine.config.bool(P::AppendOnly)),
        "aof_rewrite_in_progress": yes(rewriting),
        "aof_rewrite_scheduled": yes(is_scheduled),
        "aof_last_rewrite_time_sec": last_rewrite_s,
        "aof_current_rewrite_time_sec": log.current_rewrite_seconds.map_or(-1, |seconds| seconds as i64),
        "aof_last_bgrewrite_status": ok(log.last_rewrite_ok),
        "aof_rewrites": log.rewrites,
        "aof_rewrites_consecutive_failures": failures,
        "aof_last_write_status": ok(log.trouble.is_none()),
        "aof_last_cow_size": server.rewrites.last_kept_peak.load(Ordering::Relaxed),
        "module_fork_in_progress": 0,
        "module_fork_last_cow_size": 0,
        "slot_migration_fork_in_progress": 0,
    );
    if log.enabled {
        fields!(text,
            "aof_current_size": log.current_size,
            "aof_base_size": log.base_size,
            "aof_pending_rewrite": yes(is_scheduled),
            "aof_buffer_length": log.buffer_length,
            "aof_pending_bio_fsync": yes(log.pending_fsync),
            "aof_delayed_fsync": log.delayed_fsync,
        );
    }
    let (backup_s, backup_seconds) = server.backups.last();
    fields!(text,
        "backup_in_progress": yes(server.backups.is_running()),
        "backup_last_status": ok(!server.backups.has_failed()),
        "backup_last_time": backup_s,
        "backup_last_time_sec": backup_seconds,
    );
    if server.engine.loading.is_under_way() {
        loading(facts, text);
    }
}

fn loading(facts: &Facts<'_>, text: &mut String) {
    let (started_ms, loaded, total) = facts.server.engine.loading.figures();
    let percent = loaded as f64 * 100.0 / total.max(1) as f64;
    let elapsed_s = facts.now_ms.saturating_sub(started_ms) / 1000;
    let eta_s = match elapsed_s {
        // No statistics exist in the first second.
        0 => 1,
        _ => {
            u128::from(elapsed_s) * u128::from(total.saturating_sub(loaded))
                / (u128::from(loaded) + 1)
        }
    };
    fields!(text,
        "loading_start_time": started_ms / 1000,
        "loading_total_bytes": total,
        "loading_rdb_used_mem": facts.server.engine.loading.used_memory(),
        "loading_loaded_bytes": loaded,
        "loading_loaded_perc": format_args!("{percent:.2}"),
        "loading_eta_seconds": eta_s,
    );
}

/// Workers, in the form of the I/O threads of Redis 8.
fn threads(facts: &Facts<'_>, text: &mut String) {
    text.push_str("# Threads\r\n");
    let all = facts.server.engine.clients.all();
    for (number, worker) in facts.server.workers.iter().enumerate() {
        let clients = all
            .iter()
            .filter(|client| client.worker.load(Ordering::Relaxed) == number)
            .count();
        let _ = write!(
            text,
            "io_thread_{number}:clients={clients},reads={},writes={}\r\n",
            worker.stats().reads_processed.get(),
            worker.stats().writes_processed.get()
        );
    }
}

fn stats(facts: &Facts<'_>, text: &mut String) {
    text.push_str("# Stats\r\n");
    traffic(facts, text);
    data_stats(facts, text);
    loop_stats(facts, text);
}

fn traffic(facts: &Facts<'_>, text: &mut String) {
    let totals = &facts.totals;
    let rates = facts.server.metrics.averages();
    let kib = |bytes: u64| format!("{:.2}", bytes as f64 / 1024.0);
    let replication = &facts.server.replication;
    let replicas = &facts.server.engine.replicas;
    let synced = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let repl_input = synced(&replicas.net_input_bytes);
    let repl_output = synced(&replicas.net_output_bytes);
    fields!(text,
        "total_connections_received": totals.connections_received,
        "total_commands_processed": totals.commands_processed,
        "instantaneous_ops_per_sec": rates.commands,
        "total_net_input_bytes": totals.net_input_bytes + repl_input,
        "total_net_output_bytes": totals.net_output_bytes + repl_output,
        "total_net_repl_input_bytes": repl_input,
        "total_net_repl_output_bytes": repl_output,
        "total_net_cluster_slot_import_bytes": 0,
        "total_net_cluster_slot_export_bytes": 0,
        "instantaneous_input_kbps": kib(rates.net_input_bytes),
        "instantaneous_output_kbps": kib(rates.net_output_bytes),
        "instantaneous_input_repl_kbps": kib(rates.repl_input_bytes),
        "instantaneous_output_repl_kbps": kib(rates.repl_output_bytes),
        "rejected_connections": totals.connections_rejected,
        "sync_full": synced(&replication.full),
        "sync_partial_ok": synced(&replication.partial),
        "sync_partial_err": synced(&replication.refused),
    );
}

fn data_stats(facts: &Facts<'_>, text: &mut String) {
    let pubsub = &facts.server.engine.pubsub;
    let tracking = &facts.server.engine.tracking;
    let totals = &facts.totals;
    let engine = &facts.server.engine;
    let excess_ms = engine.memory_excess.milliseconds(&engine.clock);
    let unapplied = &facts.server.replication.unapplied;
    fields!(text,
        "expired_keys": totals.expired_keys,
        "expired_fields": totals.expired_fields,
        // The name in Redis.
        "expired_subkeys": totals.expired_fields,
        // Expiry is exact here: there is no stale part, and no cycle that runs out of time.
        "expired_stale_perc": "0.00",
        "expired_keys_with_volatile_items_stale_perc": "0.00",
        "expired_time_cap_reached_count": 0,
        "expire_cycle_cpu_milliseconds": totals.expire_nanos / 1_000_000,
        "evicted_keys": totals.evicted_keys,
        "evicted_clients": totals.evicted_clients,
        "evicted_scripts": facts.server.engine.scripts.evicted(),
        "total_rollbacks": totals.rollbacks,
        "total_eviction_exceeded_time": excess_ms.0,
        "current_eviction_exceeded_time": excess_ms.1,
        "keyspace_hits": totals.keyspace_hits,
        "keyspace_misses": totals.keyspace_misses,
        "pubsub_channels": pubsub.channel_count(PublishedAs::Message),
        "pubsub_patterns": pubsub.pattern_count(),
        "pubsubshard_channels": pubsub.channel_count(PublishedAs::ShardMessage),
        "latest_fork_usec": facts.server.snapshots.last_begin_us.load(Ordering::Relaxed),
        "total_forks": facts.server.snapshots.begun.load(Ordering::Relaxed),
        "migrate_cached_sockets": facts.server.migrations.len(),
        "slave_expires_tracked_keys": engine.role.local_deadlines.count(),
        "active_defrag_hits": 0,
        "active_defrag_misses": 0,
        "active_defrag_key_hits": 0,
        "active_defrag_key_misses": 0,
        "total_active_defrag_time": 0,
        "current_active_defrag_time": 0,
        "tracking_total_keys": tracking.key_count(),
        "tracking_total_items": tracking.item_count(),
        "tracking_total_prefixes": tracking.prefixes.count(),
        "unexpected_error_replies": unapplied.load(Ordering::Relaxed),
        "total_error_replies": totals.error_replies,
        "dump_payload_sanitizations": totals.payload_checks,
        "total_reads_processed": totals.reads_processed,
        "total_writes_processed": totals.writes_processed,
    );
}

fn loop_stats(facts: &Facts<'_>, text: &mut String) {
    let totals = &facts.totals;
    let rates = facts.server.metrics.averages();
    // The first worker corresponds to the main thread of Redis.
    let others = || facts.server.workers.iter().skip(1);
    let reads: u64 = others()
        .map(|other| other.stats().reads_processed.get())
        .sum();
    let writes: u64 = others()
        .map(|other| other.stats().writes_processed.get())
        .sum();
    fields!(text,
        "io_threaded_reads_processed": reads,
        "io_threaded_writes_processed": writes,
        "io_threaded_freed_objects": 0,
        "io_threaded_accept_processed": 0,
        "io_threaded_poll_processed": 0,
        "io_threaded_total_prefetch_batches": 0,
        "io_threaded_total_prefetch_entries": 0,
        "client_query_buffer_limit_disconnections": totals.query_buffer_disconnections,
        "client_output_buffer_limit_disconnections": totals.output_buffer_disconnections
            + facts.server.engine.outboxes.overflows()
            + facts.server.replication.lost.load(Ordering::Relaxed),
        "reply_buffer_shrinks": 0,
        "reply_buffer_expands": 0,
        "eventloop_cycles": totals.loop_turns,
        "eventloop_duration_sum": totals.busy_nanos / 1000,
        "eventloop_duration_cmd_sum": totals.command_nanos / 1000,
        "instantaneous_eventloop_cycles_per_sec": rates.loop_turns,
        "instantaneous_eventloop_duration_usec": rates.turn_micros,
        "acl_access_denied_auth": totals.auth_failures + facts.server.http.failed_logins.load(Ordering::Relaxed),
        "acl_access_denied_cmd": totals.denied_commands + facts.server.http.denied.load(Ordering::Relaxed),
        "acl_access_denied_key": totals.denied_keys,
        "acl_access_denied_channel": totals.denied_channels,
        "acl_access_denied_tls_cert": facts.server.tls.denied_certificates.load(Ordering::Relaxed),
        "acl_access_denied_db": totals.denied_databases,
    );
}

/// The primary that this server follows.
fn primary(facts: &Facts<'_>, following: &Following, text: &mut String) {
    let engine = &facts.server.engine;
    let (config, steady_ms) = (&engine.config, engine.steady_ms());
    let is_up = following.state == LinkState::Connected;
    let ago_s = steady_ms.saturating_sub(following.heard_ms) / 1000;
    let syncs = following.state == LinkState::Sync;
    let offset = engine.log.stream_offset();
    let replication = &facts.server.replication;
    fields!(text,
        "role": "slave",
        "master_host": following.host,
        "master_port": following.port,
        "master_link_status": if is_up { "up" } else { "down" },
        "master_last_io_seconds_ago": if is_up { ago_s as i64 } else { -1 },
        "master_sync_in_progress": i64::from(syncs),
        "slave_read_repl_offset": offset,
        "slave_repl_offset": offset,
        "replicas_repl_buffer_size": replication.buffered.load(Ordering::Relaxed),
        "replicas_repl_buffer_peak": replication.buffered_peak.load(Ordering::Relaxed),
    );
    if syncs {
        let total = following.total.map_or(-1, |total| total as i64);
        let left = following
            .total
            .map_or(-1, |total| total.saturating_sub(following.received) as i64);
        let percent = match following.total {
            Some(total @ 1..) => following.received as f64 * 100.0 / total as f64,
            _ => 0.0,
        };
        fields!(text,
            "master_sync_total_bytes": total,
            "master_sync_read_bytes": following.received,
            "master_sync_left_bytes": left,
            "master_sync_perc": format!("{percent:.2}"),
            "master_sync_last_io_seconds_ago": ago_s,
        );
    }
    if !is_up {
        let down_s = steady_ms.saturating_sub(following.down_since_ms) / 1000;
        fields!(text, "master_link_down_since_seconds": down_s);
    }
    fields!(text,
        "slave_priority": config.int(P::ReplicaPriority),
        "slave_read_only": config.int(P::ReplicaReadOnly),
        "replica_announced": config.int(P::ReplicaAnnounced),
    );
}

fn replication(facts: &Facts<'_>, text: &mut String) {
    let server = facts.server;
    let (engine, histories) = (&server.engine, server.replication.histories());
    let replicas = engine.replicas.all();
    let steady_ms = engine.steady_ms();
    text.push_str("# Replication\r\n");
    match server.replication.following() {
        Some(following) => primary(facts, &following, text),
        None => fields!(text, "role": "master"),
    }
    fields!(text, "connected_slaves": replicas.len());
    let (wanted, lag) = (P::MinReplicasToWrite, P::MinReplicasMaxLag);
    if engine.config.int(wanted) != 0 && engine.config.int(lag) != 0 {
        let lag_s = engine.config.int(lag).max(0) as u64;
        fields!(text, "min_slaves_good_slaves": engine.replicas.count_good(lag_s, steady_ms));
    }
    for (number, replica) in replicas.iter().enumerate() {
        let lag_s = match replica.state() {
            SyncState::Online => replica.lag_s(steady_ms),
            _ => 0,
        };
        let kind = match replica.state() {
            _ if replica.setup.rdb_channel => "rdb-channel",
            SyncState::LoadsApart => "main-channel",
            _ => "replica",
        };
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "slave{number}:ip={},port={},state={},offset={},lag={lag_s},type={kind}\r\n",
            replica.ip(),
            replica.setup.port,
            replica.state().word(),
            replica.acknowledged(),
        );
    }
    let offset = engine.log.stream_offset();
    let (before, until) = match histories.before {
        Some((id, until)) => (id, until as i64 + 1),
        None => ("0".repeat(40), -1),
    };
    let backlog = engine.log.stream_range();
    let kept = backlog.as_ref().map_or(0, |range| range.end - range.start);
    fields!(text,
        "replicas_waiting_psync": server.replication.rdb_clients(),
        "master_failover_state": server.replication.failover.word(),
        "master_replid": histories.id,
        "master_replid2": before,
        "master_repl_offset": offset,
        "second_repl_offset": until,
        "repl_backlog_active": i64::from(backlog.is_some()),
        "repl_backlog_size": engine.config.int(P::ReplBacklogSize),
        "repl_backlog_first_byte_offset": backlog.map_or(0, |range| range.start + 1),
        "repl_backlog_histlen": kept,
    );
}

fn seconds(duration: Duration) -> String {
    format!("{}.{:06}", duration.as_secs(), duration.subsec_micros())
}

fn cpu(facts: &Facts<'_>, text: &mut String) {
    let process = sys::process_times();
    let children = sys::children_times();
    let thread = facts.server.metrics.main_thread();
    text.push_str("# CPU\r\n");
    fields!(text,
        "used_cpu_sys": seconds(process.system),
        "used_cpu_user": seconds(process.user),
        "used_cpu_sys_children": seconds(children.system),
        "used_cpu_user_children": seconds(children.user),
        "used_cpu_sys_main_thread": seconds(thread[0]),
        "used_cpu_user_main_thread": seconds(thread[1]),
    );
    for (number, worker) in facts.server.workers.iter().enumerate() {
        let busy = seconds(Duration::from_nanos(worker.stats().busy_nanos.get()));
        let _ = match number {
            0 => write!(text, "used_active_time_main_thread:{busy}\r\n"),
            _ => write!(text, "used_active_time_io_thread_{number}:{busy}\r\n"),
        };
    }
}

/// Sums of one command over the workers: calls, nanoseconds, rejected, failed.
pub(crate) fn command_totals(server: &Server, entry: &Command) -> [u64; 4] {
    let mut sums = [0u64; 4];
    for worker in server.engine.workers() {
        if let Some(stats) = worker.commands.get(entry.id) {
            let figures = [
                stats.calls.get(),
                stats.nanos.get(),
                stats.rejected.get(),
                stats.failed.get(),
            ];
            sums.iter_mut()
                .zip(figures)
                .for_each(|(sum, figure)| *sum += figure);
        }
    }
    sums
}

fn command_stats(facts: &Facts<'_>, text: &mut String) {
    text.push_str("# Commandstats\r\n");
    for entry in facts.server.engine.commands.entries() {
        let [calls, nanos, rejected, failed] = command_totals(facts.server, entry);
        if calls == 0 && rejected == 0 && failed == 0 {
            continue;
        }
        let micros = nanos / 1000;
        let per_call = micros as f64 / calls.max(1) as f64;
        let _ = write!(
            text,
            "cmdstat_{}:calls={calls},usec={micros},usec_per_call={per_call:.2},rejected_calls={rejected},\
             failed_calls={failed}\r\n",
            entry.full_name
        );
    }
}

fn error_stats(facts: &Facts<'_>, text: &mut String) {
    text.push_str("# Errorstats\r\n");
    for (code, count) in facts.server.engine.errors.snapshot() {
        // These characters would break the format of INFO.
        let code = code.replace(['#', ':', '\r', '\n'], "_");
        let _ = write!(text, "errorstat_{code}:count={count}\r\n");
    }
}

fn latency_stats(facts: &Facts<'_>, text: &mut String) {
    text.push_str("# Latencystats\r\n");
    if !facts.server.engine.config.bool(P::LatencyTracking) {
        return;
    }
    let percentiles = facts.server.engine.config.percentiles();
    for entry in facts.server.engine.commands.entries() {
        let distribution = Distribution::of(facts.server.engine.workers(), entry);
        if distribution.total() == 0 {
            continue;
        }
        let _ = write!(text, "latency_percentiles_usec_{}:", entry.full_name);
        for (index, percent) in percentiles.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let micros = distribution.percentile(*percent);
            let _ = write!(text, "{comma}p{percent}={micros:.3}");
        }
        text.push_str("\r\n");
    }
}

fn scripting_engines(facts: &Facts<'_>, text: &mut String) {
    let heaps = ScriptMemory::of(&facts.server.engine).heaps();
    text.push_str("# Scripting Engines\r\n");
    fields!(text,
        "engines_count": 1,
        "engines_total_used_memory": heaps,
        "engines_total_memory_overhead": 0,
        "engine_0": format_args!("name=LUA,module=built-in,abi_version=4,used_memory={heaps},memory_overhead=0"),
    );
}

fn keyspace(facts: &Facts<'_>, text: &mut String) {
    text.push_str("# Keyspace\r\n");
    for (db, totals) in facts.keyspace.databases.iter().enumerate() {
        if totals.stats.entries > 0 {
            let _ = write!(
                text,
                "db{db}:keys={},expires={},avg_ttl={},keys_with_volatile_items={}\r\n",
                totals.stats.entries,
                totals.stats.volatile,
                totals.avg_ttl_ms(),
                totals.stats.volatile_elements
            );
        }
    }
}

fn debug(facts: &Facts<'_>, text: &mut String) {
    let largest = |of: fn(&WorkerStats) -> u64| {
        let workers = facts.server.workers.iter();
        workers.map(|worker| of(worker.stats())).max().unwrap_or(0)
    };
    text.push_str("# Debug\r\n");
    fields!(text,
        "eventloop_duration_aof_sum": facts.totals.log_nanos / 1000,
        "eventloop_duration_cron_sum": facts.totals.cron_nanos / 1000,
        "eventloop_duration_max": largest(|stats| stats.turn_nanos_max.get()) / 1000,
        "eventloop_cmd_per_cycle_max": largest(|stats| stats.turn_commands_max.get()),
        "io_threaded_reads_pending": 0,
        "io_threaded_writes_pending": 0,
    );
}
