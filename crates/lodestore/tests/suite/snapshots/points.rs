//! Save points.

use super::super::harness::{TestServer, fresh_dir};
use super::{info, wait_for, wait_until_saved};

#[test]
fn a_point_is_reached_by_changes_and_seconds() {
    let log = fresh_dir().join("server.log");
    let log_text = log.to_string_lossy().into_owned();
    let args = [
        "--appendonly",
        "no",
        "--save",
        "1 3",
        "--logfile",
        &log_text,
    ];
    let server = TestServer::start_plain(fresh_dir(), &args);
    let mut client = server.connect();
    client.check(&[("SET a 1", "+OK"), ("SET b 1", "+OK")]);
    std::thread::sleep(std::time::Duration::from_millis(2_500));
    assert_eq!(info(&mut client, "persistence", "rdb_saves"), "0");
    client.check(&[("SET c 1", "+OK")]);
    wait_for(&mut client, "rdb_saves", "1");
    wait_until_saved(&mut client);
    assert_eq!(
        info(&mut client, "persistence", "rdb_changes_since_last_save"),
        "0"
    );
    let text = std::fs::read_to_string(log).expect("the log");
    for line in [
        "3 changes in 1 seconds. Saving...",
        "Background saving started by pid",
        "DB saved on disk",
        "Background saving terminated with success",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}

/// A failure is tried again after some seconds, and writes are welcome again when that succeeds.
#[test]
fn a_point_is_tried_again_after_a_failure() {
    let server = TestServer::start_plain(fresh_dir(), &["--appendonly", "no", "--save", "1 1"]);
    let mut client = server.connect();
    let obstacle = server.dir().join("dump.rdb");
    std::fs::create_dir_all(obstacle.join("inside")).expect("an obstacle");
    client.check(&[("SET a 1", "+OK")]);
    wait_for(&mut client, "rdb_last_bgsave_status", "err");
    assert!(client.line("SET a 2").starts_with("-MISCONF"));
    std::fs::remove_dir_all(&obstacle).expect("the obstacle goes");
    wait_for(&mut client, "rdb_last_bgsave_status", "ok");
    client.check(&[("SET a 2", "+OK")]);
}
