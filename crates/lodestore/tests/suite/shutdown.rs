//! SHUTDOWN: the server waits for its replicas and serves clients meanwhile, or goes on.

use super::harness::{Client, TestServer, show};
use super::operations::signal;
use super::pubsub::wait_until;
use super::replication::{field, primary, replica_of, replication};

const FAILED: &str = "-ERR Errors trying to SHUTDOWN. Check logs.";
/// A wait that no test outlasts.
const LONG: &[&str] = &["--shutdown-timeout", "3600", "--logfile", "server.log"];

fn log_of(server: &TestServer) -> String {
    std::fs::read_to_string(server.dir().join("server.log")).unwrap()
}

/// Stops the process. The signal takes its time on a machine under load, and threads run meanwhile.
fn stop(server: &TestServer) {
    signal(server, "STOP");
    let tasks = format!("/proc/{}/task", server.pid());
    wait_until("all threads are stopped", || {
        let Ok(tasks) = std::fs::read_dir(&tasks) else {
            return true;
        };
        tasks.flatten().all(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // The state is behind the name, which may hold spaces.
            stat.rsplit(") ")
                .next()
                .is_none_or(|rest| rest.starts_with('T'))
        })
    });
}

/// A primary with a replica that is stopped, and has not got the last write.
fn lagging(args: &[&str]) -> (TestServer, TestServer) {
    let primary = primary(args);
    let replica = replica_of(&primary, &[]);
    assert_eq!(primary.connect().line("SET key 1"), "+OK");
    wait_until("the replica has the key", || {
        replica.connect().line("GET key") == "\"1\""
    });
    stop(&replica);
    assert_eq!(primary.connect().line("SET key 2"), "+OK");
    (primary, replica)
}

fn waits(server: &TestServer) -> bool {
    !field(&mut server.connect(), "server", "shutdown_in_milliseconds").is_empty()
}

fn shutdown(server: &TestServer, words: &[&str]) -> Client {
    let mut client = server.connect();
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    client.send(&words);
    client
}

#[test]
fn clients_are_served_while_replicas_are_waited_for() {
    let (mut primary, replica) = lagging(LONG);
    let _caller = shutdown(&primary, &["SHUTDOWN"]);
    wait_until("the server waits", || waits(&primary));
    let mut client = primary.connect_resp3();
    assert_eq!(client.line("GET key"), "\"2\"");
    let left: i64 = field(&mut client, "server", "shutdown_in_milliseconds")
        .parse()
        .unwrap();
    assert!((1..=3_600_000).contains(&left), "{left}");
    for (name, value) in [
        ("paused_reason", "shutdown_in_progress"),
        ("paused_actions", "write"),
        ("blocked_clients", "1"),
    ] {
        assert_eq!(field(&mut client, "clients", name), value);
    }
    // A write waits, and the end of the server is its answer.
    client.send(&[b"SET", b"key", b"3"]);
    signal(&replica, "CONT");
    assert_eq!(client.read_or_closed(), None);
    assert_eq!(primary.wait_for_end(), Some(0));
    assert_eq!(replica.connect().line("GET key"), "\"2\"");
    let log = log_of(&primary);
    assert!(log.contains("Waiting for replicas before shutting down."));
    assert!(log.contains("1 of 1 replicas are in sync when shutting down."));
    assert!(!log.contains("Lagging replica"), "{log}");
}

#[test]
fn a_shutdown_is_aborted() {
    let (mut primary, replica) = lagging(LONG);
    let first = shutdown(&primary, &["SHUTDOWN"]);
    wait_until("the server waits", || waits(&primary));
    // NOW comes too late for this one.
    let second = shutdown(&primary, &["SHUTDOWN", "NOSAVE", "NOW"]);
    let mut callers = [first, second];
    let mut client = primary.connect();
    wait_until("both callers are blocked", || {
        field(&mut client, "clients", "blocked_clients") == "2"
    });
    // They wait for the end of the process alone.
    let list = client.line("CLIENT LIST");
    let rows = list.split("\\n").filter(|row| row.contains("cmd=shutdown"));
    let ids: Vec<&str> = rows
        .filter_map(|row| row.split("id=").nth(1)?.split(' ').next())
        .collect();
    assert_eq!(ids.len(), 2, "{list}");
    for id in ids {
        assert_eq!(client.line(&format!("CLIENT UNBLOCK {id}")), ":0");
    }
    let mut writer = primary.connect();
    writer.send(&[b"INCR", b"key"]);
    assert_eq!(client.line("SHUTDOWN ABORT NOW"), "-ERR syntax error");
    assert_eq!(client.line("SHUTDOWN ABORT"), "+OK");
    assert_eq!(show(&writer.read()), ":3");
    for caller in &mut callers {
        assert_eq!(show(&caller.read()), FAILED);
        assert_eq!(caller.line("GET key"), "\"3\"");
    }
    assert!(!waits(&primary));
    let nothing = "-ERR No shutdown in progress.";
    assert_eq!(client.line("SHUTDOWN ABORT"), nothing);
    assert_eq!(field(&mut client, "clients", "paused_reason"), "none");
    assert!(log_of(&primary).contains("Shutdown manually aborted."));
    // NOW waits for nothing.
    let _caller = shutdown(&primary, &["SHUTDOWN", "NOW"]);
    assert_eq!(primary.wait_for_end(), Some(0));
    let log = log_of(&primary);
    assert!(log.contains("Lagging replica 127.0.0.1:"), "{log}");
    assert!(log.contains(", state=online."), "{log}");
    assert!(log.contains("0 of 1 replicas are in sync when shutting down."));
    signal(&replica, "CONT");
}

#[test]
fn a_shutdown_that_fails_after_its_wait_goes_on() {
    let (mut primary, replica) = lagging(LONG);
    // The snapshot cannot take the place of a directory.
    std::fs::create_dir(primary.dir().join("dump.rdb")).unwrap();
    let mut caller = shutdown(&primary, &["SHUTDOWN", "SAVE"]);
    wait_until("the server waits", || waits(&primary));
    let mut other = shutdown(&primary, &["SHUTDOWN"]);
    let mut client = primary.connect();
    wait_until("both callers are blocked", || {
        field(&mut client, "clients", "blocked_clients") == "2"
    });
    signal(&replica, "CONT");
    for caller in [&mut caller, &mut other] {
        assert_eq!(show(&caller.read()), FAILED);
    }
    assert_eq!(client.line("SET key 3"), "+OK");
    assert_eq!(field(&mut client, "clients", "blocked_clients"), "0");
    assert!(log_of(&primary).contains("Errors trying to shut down the server."));
    assert_eq!(client.line("SHUTDOWN SAVE NOW"), FAILED);
    // FORCE does not mind.
    let _caller = shutdown(&primary, &["SHUTDOWN", "SAVE", "FORCE"]);
    assert_eq!(primary.wait_for_end(), Some(0));
    assert_eq!(replica.connect().line("GET key"), "\"3\"");
}

#[test]
fn signals_wait_for_replicas_too() {
    let (mut primary, replica) = lagging(&["--shutdown-timeout", "1", "--logfile", "server.log"]);
    signal(&primary, "TERM");
    signal(&primary, "TERM");
    assert_eq!(primary.wait_for_end(), Some(0));
    let log = log_of(&primary);
    assert!(log.contains("Received SIGTERM scheduling shutdown..."));
    assert!(log.contains("Waiting for replicas before shutting down."));
    assert!(log.contains("Lagging replica 127.0.0.1:"), "{log}");
    signal(&replica, "CONT");
}

#[test]
fn a_signal_can_be_aborted_and_insisted_on() {
    let (mut primary, replica) = lagging(LONG);
    signal(&primary, "INT");
    wait_until("the server waits", || waits(&primary));
    assert_eq!(primary.connect().line("SHUTDOWN ABORT"), "+OK");
    assert!(!waits(&primary));
    signal(&primary, "INT");
    wait_until("the server waits", || waits(&primary));
    signal(&primary, "TERM");
    assert!(waits(&primary));
    signal(&primary, "INT");
    assert_eq!(primary.wait_for_end(), Some(1));
    assert!(log_of(&primary).contains("You insist... exiting now."));
    signal(&replica, "CONT");
}

#[test]
fn a_replica_without_replicas_ends_at_once() {
    let primary = primary(&[]);
    // A log that is just being begun would prevent the end.
    let mut replica = replica_of(&primary, &[LONG, &["--appendonly", "no"]].concat());
    assert_eq!(replication(&replica, "connected_slaves"), "0");
    let _caller = shutdown(&replica, &["SHUTDOWN"]);
    assert_eq!(replica.wait_for_end(), Some(0));
    assert!(!log_of(&replica).contains("Waiting for replicas"));
}
