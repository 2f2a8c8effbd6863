//! Figures of INFO under a mixed load: whatever stays 0 is named here.

use std::time::{Duration, Instant};

use super::harness::{Client, TestServer};

/// Features that are not there, or not used by the load; what they count stays 0.
const OF_OTHER_FEATURES: &[&str] = &[
    "acl_access_denied_",
    "active_defrag_",
    "async_loading",
    "cgroup_memory_limit",
    "aof_rewrites_consecutive_failures",
    "client_output_buffer_limit_disconnections",
    "client_query_buffer_limit_disconnections",
    "cluster_",
    "connected_slaves",
    "current_active_defrag_time",
    "engines_",
    "evicted_clients",
    "instantaneous_input_repl_kbps",
    "instantaneous_output_repl_kbps",
    // I/O threads read and write for workers elsewhere; here workers do both.
    "io_threaded_",
    "loading",
    "master_replid2",
    "mem_cluster_",
    "mem_clients_slaves",
    "mem_overhead_db_hashtable_rehashing",
    "mem_replica",
    "mem_total_replication_buffers",
    "module_fork_",
    "redis_git_",
    "repl",
    "reply_buffer_",
    "slave_expires_tracked_keys",
    "slot_migration_fork_",
    "sync_",
    "tls_",
    "total_active_defrag_time",
    "total_net_cluster_",
    "total_net_repl_",
    "unexpected_error_replies",
    "used_cpu_sys_children",
    "used_cpu_user_children",
];

/// Figures of this moment, or of the last event, which may be 0 at any time, or in any short run.
const OF_THE_MOMENT: &[&str] = &[
    "evicted_scripts",
    "number_of_cached_scripts",
    "number_of_functions",
    "number_of_libraries",
    "used_memory_functions",
    "used_memory_lua",
    "used_memory_scripts",
    "used_memory_vm_",
    "pubsub",
    "tracking_",
    "allocator_",
    "aof_buffer_length",
    "aof_delayed_fsync",
    "aof_last_cow_size",
    "aof_last_rewrite_time_sec",
    "aof_pending_",
    "aof_rewrite_",
    "backup_",
    "client_recent_max_",
    "clients_in_timeout_table",
    "current_",
    // Expiry is exact: there is no stale part, and no cycle that runs out of time.
    "expire_cycle_cpu_milliseconds",
    "expired_keys_with_volatile_items_stale_perc",
    "expired_stale_perc",
    "expired_time_cap_reached_count",
    "lazyfree_pending_objects",
    "maxmemory",
    "mem_aof_buffer",
    "mem_fragmentation_bytes",
    // So little data gets none.
    "mem_huge_pages",
    "mem_not_counted_for_evict",
    "migrate_cached_sockets",
    "paused_timeout_milliseconds",
    "rdb_bgsave_in_progress",
    "rdb_current_bgsave_time_sec",
    "rdb_last_bgsave_time_sec",
    "rdb_last_cow_size",
    "rss_overhead_bytes",
    "total_blocking_keys_on_nokey",
    "uptime_in_",
];

/// The fields of INFO with their values.
fn fields(client: &mut Client) -> Vec<(String, String)> {
    let reply = client.run(&["INFO", "everything"]);
    let text = String::from_utf8_lossy(reply.as_bytes().expect("text")).into_owned();
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// True for a number that is 0, whatever its unit.
fn is_zero(value: &str) -> bool {
    let digits = value.trim_end_matches(['B', 'K', 'M', '%']);
    digits.parse::<f64>() == Ok(0.0)
}

fn zeros(client: &mut Client) -> Vec<String> {
    let named = |name: &str| {
        let mut starts = OF_OTHER_FEATURES.iter().chain(OF_THE_MOMENT);
        starts.any(|start| name.starts_with(start))
    };
    let fields = fields(client).into_iter();
    let zeros = fields.filter(|(name, value)| is_zero(value) && !named(name));
    zeros.map(|(name, _)| name).collect()
}

/// Keys that are read, missed, expired and evicted, errors, payloads, snapshots.
fn load(server: &TestServer, client: &mut Client) {
    let value = "v".repeat(500);
    for number in 0..500 {
        client.line(&format!("SET key:{number} {value}"));
        client.line(&format!("GET key:{number}"));
    }
    for line in [
        "GET none",
        "NOSUCH",
        "INCR key:1",
        "SET soon v PX 1",
        "SET later v EX 1000",
        "HSET hash f 1 g 2",
        "HPEXPIRE hash 1 FIELDS 1 f",
        "RESTORE copy 0 x",
        "SAVE",
        "BGREWRITEAOF",
    ] {
        client.line(line);
    }
    let members: Vec<String> = (0..3000).map(|number| format!("member{number}")).collect();
    client.line(&format!("SADD big {}", members.join(" ")));
    client.line("UNLINK big");
    client.line("CONFIG SET maxmemory-policy allkeys-lru");
    client.line("CONFIG SET maxmemory 1");
    client.line("SET refused v");
    std::thread::sleep(Duration::from_millis(5));
    client.line("SET refused v");
    client.line("CONFIG SET maxmemory 0");
    for number in 0..100 {
        server
            .connect()
            .line(&format!("SET again:{number} v EX 1000"));
    }
    // A transaction that is undone.
    for line in ["MULTI ROLLBACK", "SET text a", "INCR text", "EXEC"] {
        client.line(line);
    }
    // Too many clients.
    client.line("CONFIG SET maxclients 1");
    let mut refused = server.connect();
    assert!(refused.read().is_error());
    client.line("CONFIG SET maxclients 10000");
}

#[test]
fn figures_count_under_load() {
    // Without the log it starts from a snapshot, in which a key has expired.
    let args = [
        "--threads",
        "2",
        "--threads-spread",
        "yes",
        "--appendonly",
        "no",
    ];
    let mut server = TestServer::start_with(&args);
    let mut client = server.connect();
    client.check(&[
        ("MSET a 1 b 2", "+OK"),
        ("SET gone v PX 200", "+OK"),
        ("SAVE", "+OK"),
    ]);
    while client.line("EXISTS gone") == ":1" {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.restart();
    let mut client = server.connect();
    client.check(&[("CONFIG SET appendonly yes", "+OK")]);
    let (mut blocked, mut watching) = (server.connect(), server.connect());
    blocked.send(&[b"BLPOP", b"nolist", b"0"]);
    watching.line("WATCH key:1");
    // Rates are those of the last second and a half, and some figures follow in the background.
    let began = Instant::now();
    loop {
        load(&server, &mut client);
        let zeros = zeros(&mut client);
        if zeros.is_empty() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{zeros:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    // What was sent is what clients have got, as far as it is more than nothing.
    let value = |fields: &[(String, String)], name: &str| -> u64 {
        let field = fields.iter().find(|(field, _)| field == name);
        field.expect(name).1.parse().expect("a number")
    };
    let before = value(&fields(&mut client), "total_net_output_bytes");
    client.line("SET text 0123456789");
    for _ in 0..1000 {
        client.line("GET text");
    }
    let after = value(&fields(&mut client), "total_net_output_bytes");
    assert!(
        (17_000..60_000).contains(&(after - before)),
        "{before} {after}"
    );
    assert_eq!(value(&fields(&mut client), "worker_threads"), 2);
}

/// Tools set what CONFIG GET shows, and leave out what they know cannot be set elsewhere.
#[test]
fn what_config_get_shows_can_be_set() {
    let server = TestServer::start();
    let mut client = server.connect();
    for (name, other) in [("threads", "3"), ("backup-dir", "elsewhere")] {
        let reply = client.run(&["CONFIG", "GET", name]);
        let resp::Value::Array(pair) = reply else {
            panic!("{name}")
        };
        let value = String::from_utf8_lossy(pair[1].as_bytes().expect("text")).into_owned();
        assert_eq!(client.line(&format!("CONFIG SET {name} {value}")), "+OK");
        assert_eq!(
            client.line(&format!("CONFIG SET {name} {other}")),
            format!(
                "-ERR CONFIG SET failed (possibly related to argument '{name}') - can't set immutable config"
            )
        );
    }
    // What Valkey refuses as well.
    let refused = [
        "aclfile",
        "always-show-logo",
        "aof-rewrite-cpulist",
        "aof_rewrite_cpulist",
        "appenddirname",
        "appendfilename",
        "bgsave-cpulist",
        "bgsave_cpulist",
        "bio-cpulist",
        "bio_cpulist",
        "cluster-config-file",
        "cluster-databases",
        "cluster-enabled",
        "cluster-port",
        "daemonize",
        "databases",
        "dbfilename",
        "dir",
        "disable-thp",
        "enable-debug-command",
        "enable-module-command",
        "enable-protected-configs",
        "hash-seed",
        "logfile",
        "mptcp",
        "pidfile",
        "rdbchecksum",
        "rdma-completion-vector",
        "rdma-rx-size",
        "repl-mptcp",
        "replicaof",
        "server-cpulist",
        "server_cpulist",
        "set-proc-title",
        "slaveof",
        "socket-mark-id",
        "supervised",
        "syslog-enabled",
        "syslog-facility",
        "syslog-ident",
        "tcp-backlog",
        "unixsocket",
        "unixsocketgroup",
        "unixsocketperm",
        // Set to what they are, these listen anew.
        "bind",
        "port",
    ];
    let resp::Value::Array(all) = client.run(&["CONFIG", "GET", "*"]) else {
        panic!("pairs")
    };
    for pair in all.chunks(2) {
        let text = |index: usize| {
            let bytes = pair[index].as_bytes().expect("text");
            String::from_utf8_lossy(bytes).into_owned()
        };
        let (name, value) = (text(0), text(1));
        if refused.contains(&name.as_str()) {
            continue;
        }
        let reply = client.run(&["CONFIG", "SET", &name, &value]);
        assert!(!reply.is_error(), "{name} {value}: {reply:?}");
    }
}
