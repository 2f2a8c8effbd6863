//! Kills the server at random moments and compares what comes back with what was acknowledged.
//!
//! `LODESTORE_CRASH_ROUNDS` sets the number of rounds (100 for a full run), `LODESTORE_TEST_SEED`
//! repeats the choices of a run (not the moments at which the kernel stops the process).

mod collections;
mod lane;
mod queues;

use std::time::Duration;

use lane::{Lane, Tally};

use super::harness::{Client, TestServer};
use super::random::{Random, number_in_env};

/// Rounds in an ordinary run of the tests, all configurations together.
const ROUNDS: u64 = 6;

/// Threads that write, and connections of each.
const WRITERS: usize = 3;
const LANES_PER_WRITER: usize = 3;
/// Rounds added while nothing was acknowledged.
const EXTRA_ROUNDS: u64 = 50;

#[test]
fn nothing_acknowledged_is_lost_with_everysec() {
    crash_rounds("everysec");
}

#[test]
fn nothing_acknowledged_is_lost_with_always() {
    crash_rounds("always");
}

/// Half of the rounds, with one and two workers in turn, all on the same files.
fn crash_rounds(policy: &str) {
    let rounds = number_in_env("LODESTORE_CRASH_ROUNDS")
        .unwrap_or(ROUNDS)
        .div_ceil(2);
    let seed = Random::seed();
    println!("appendfsync {policy}, {rounds} rounds, LODESTORE_TEST_SEED={seed}");
    let mut random = Random::new(seed);
    let mut lanes: Vec<Lane> = (0..WRITERS * LANES_PER_WRITER)
        .map(|number| Lane::new(number, seed))
        .collect();
    let mut server = TestServer::start_with(&options(policy, 1));
    let mut base = Base::default();
    // On a machine with other work the first rounds may end before anything was answered.
    for round in 0..rounds + EXTRA_ROUNDS {
        if round >= rounds && acknowledged(&lanes) > 0 {
            break;
        }
        write_until_killed(&mut server, &mut lanes, &mut random);
        if random.below(3) == 0 {
            // It dies again while it loads, or begins to accept.
            server.start_and_kill(Duration::from_millis(random.below(60)));
        }
        server.restart_with(&options(policy, 1 + (round + 1) % 2));
        compare(&server, &mut lanes, &mut base, round);
    }
    let steps = acknowledged(&lanes);
    println!("{steps} steps were acknowledged");
    assert!(steps > 0, "nothing was tested");
}

fn acknowledged(lanes: &[Lane]) -> u64 {
    lanes.iter().map(|lane| lane.steps).sum()
}

fn options(policy: &str, workers: u64) -> Vec<&str> {
    let workers = if workers == 1 { "1" } else { "2" };
    let mut options = vec!["--appendfsync", policy, "--threads", workers];
    options.extend_from_slice(&["--threads-spread", "yes"]);
    options
}

/// Writes on all lanes; after a random time, in every second round with a rewrite of the log under
/// way, the server is killed.
fn write_until_killed(server: &mut TestServer, lanes: &mut [Lane], random: &mut Random) {
    let write_ms = 5 + random.below(250);
    let rewrite_ms = random.below(2 * write_ms);
    let mut admin = server.connect();
    std::thread::scope(|scope| {
        for mine in lanes.chunks_mut(LANES_PER_WRITER) {
            let mut clients: Vec<Client> = mine.iter().map(|_| server.connect()).collect();
            scope.spawn(move || write(mine, &mut clients));
        }
        if rewrite_ms < write_ms {
            std::thread::sleep(Duration::from_millis(rewrite_ms));
            let reply = admin.run(&["BGREWRITEAOF"]);
            assert!(!reply.is_error(), "{reply:?}");
        }
        std::thread::sleep(Duration::from_millis(write_ms.saturating_sub(rewrite_ms)));
        server.kill();
    });
}

fn write(lanes: &mut [Lane], clients: &mut [Client]) {
    loop {
        for (lane, client) in lanes.iter_mut().zip(clients.iter_mut()) {
            lane.send(client);
        }
        let mut alive = true;
        for (lane, client) in lanes.iter_mut().zip(clients.iter_mut()) {
            alive &= lane.receive(client);
        }
        if !alive {
            return;
        }
    }
}

/// Values of the shared counters after the previous round.
#[derive(Default)]
struct Base {
    shared: i64,
    pair: i64,
}

fn compare(server: &TestServer, lanes: &mut [Lane], base: &mut Base, round: u64) {
    println!("comparing after round {round}");
    let mut client = server.connect();
    let mut keys = 0;
    for lane in lanes.iter_mut() {
        keys += lane.compare(&mut client);
    }
    let mut counter = |key: &str| {
        let value = client.run(&["GET", key]);
        let text = value.as_bytes().map(String::from_utf8_lossy);
        keys += usize::from(text.is_some());
        text.map_or(0, |digits| digits.parse().expect("an integer"))
    };
    let (shared, a, b) = (counter("shared"), counter("pair:a"), counter("pair:b"));
    assert_eq!(a, b, "half of a transaction is there");
    check(base.shared, total(lanes, |lane| &mut lane.shared), shared);
    check(base.pair, total(lanes, |lane| &mut lane.pair), a);
    (base.shared, base.pair) = (shared, a);
    let size = client.integer("DBSIZE");
    assert_eq!(
        size, keys as i64,
        "keys that nobody wrote, or that cannot be read"
    );
}

/// Sums up what all lanes did, and starts anew.
fn total(lanes: &mut [Lane], of: fn(&mut Lane) -> &mut Tally) -> Tally {
    let mut sum = Tally::default();
    for lane in lanes {
        let tally = std::mem::take(of(lane));
        sum.acked += tally.acked;
        sum.open += tally.open;
        sum.seen = sum.seen.max(tally.seen);
    }
    sum
}

fn check(base: i64, tally: Tally, found: i64) {
    let least = base + tally.acked;
    assert!(
        found >= tally.seen && (least..=least + tally.open).contains(&found),
        "{found} found; {base} before, {} acknowledged, {} open, {} seen",
        tally.acked,
        tally.open,
        tally.seen
    );
}
