//! SAVE, BGSAVE, save points, and what is in the files.

mod commands;
mod consistency;
mod faults;
mod invariants;
mod points;

use std::time::{Duration, Instant};

use super::harness::{Client, PATIENCE};

/// A field of INFO.
fn info(client: &mut Client, section: &str, field: &str) -> String {
    let reply = client.run(&["INFO", section]);
    let text = String::from_utf8_lossy(reply.as_bytes().expect("INFO answers a text")).into_owned();
    let mut lines = text.lines();
    let found = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    found.unwrap_or_else(|| panic!("no {field}")).to_owned()
}

/// BGSAVE, as soon as no other one runs.
fn save_in_background(client: &mut Client) {
    assert_eq!(client.line("BGSAVE"), "+Background saving started");
}

fn wait_until_saved(client: &mut Client) {
    wait_for(client, "rdb_bgsave_in_progress", "0");
    assert_eq!(info(client, "persistence", "rdb_last_bgsave_status"), "ok");
}

fn wait_for(client: &mut Client, field: &str, value: &str) {
    let began = Instant::now();
    while info(client, "persistence", field) != value {
        assert!(
            began.elapsed() < PATIENCE,
            "{field} does not become {value}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
