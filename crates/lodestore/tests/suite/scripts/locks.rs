//! Scripts on several workers.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::super::harness::{Client, TestServer, show};
use super::{eval, load};

fn workers() -> TestServer {
    TestServer::start_with(&["--threads", "4", "--threads-spread", "yes"])
}

const ACCOUNTS: usize = 40;
const MONEY: i64 = 1_000;

/// Moves money between two accounts whose names only the script knows.
const TRANSFER: &str = "
    local from, to = 'account:' .. ARGV[1], 'account:' .. ARGV[2]
    local amount = tonumber(ARGV[3])
    if tonumber(redis.call('get', from)) < amount then return 0 end
    redis.call('decrby', from, amount)
    redis.call('incrby', to, amount)
    return 1";

/// The same with the names as keys.
const DECLARED: &str = "
    local amount = tonumber(ARGV[1])
    if tonumber(redis.call('get', KEYS[1])) < amount then return 0 end
    redis.call('decrby', KEYS[1], amount)
    redis.call('incrby', KEYS[2], amount)
    return 1";

fn total(client: &mut Client, how: usize) -> i64 {
    let keys: Vec<String> = (0..ACCOUNTS)
        .map(|number| format!("account:{number}"))
        .collect();
    let mut words = vec!["MGET"];
    words.extend(keys.iter().map(String::as_str));
    let script = "local sum = 0
        for number = 0, tonumber(ARGV[1]) - 1 do
            sum = sum + redis.call('get', 'account:' .. number)
        end
        return sum";
    if how == 0 {
        let count = ACCOUNTS.to_string();
        let reply = eval(client, script, &[], &[&count]);
        return reply.trim_start_matches(':').parse().expect("a sum");
    }
    let reply = client.run(&words);
    let values = reply.as_elements().expect("values").iter();
    let number = |value: &resp::Value| {
        let text = String::from_utf8_lossy(value.as_bytes().expect("a value")).into_owned();
        text.parse::<i64>().expect("a number")
    };
    values.map(number).sum()
}

#[test]
fn undeclared_keys_are_locked_as_they_are_touched() {
    let server = workers();
    let mut client = server.connect();
    for number in 0..ACCOUNTS {
        client.line(&format!("SET account:{number} {MONEY}"));
    }
    let done = AtomicBool::new(false);
    let transfers = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..6_usize {
            let (mut client, done, transfers) = (server.connect(), &done, &transfers);
            scope.spawn(move || {
                let mut step = thread;
                while !done.load(Ordering::Relaxed) {
                    step = step.wrapping_mul(31).wrapping_add(7);
                    let (from, to) = (step % ACCOUNTS, (step / 64) % ACCOUNTS);
                    if from == to {
                        continue;
                    }
                    let (from, to) = (from.to_string(), to.to_string());
                    let reply = if thread % 3 == 0 {
                        let keys = [format!("account:{from}"), format!("account:{to}")];
                        eval(&mut client, DECLARED, &[&keys[0], &keys[1]], &["3"])
                    } else {
                        eval(&mut client, TRANSFER, &[], &[&from, &to, "5"])
                    };
                    assert!(reply == ":0" || reply == ":1", "{reply}");
                    transfers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut mover = server.connect();
        let done = &done;
        scope.spawn(move || {
            // Commands that lock several shards, and all.
            while !done.load(Ordering::Relaxed) {
                mover.check(&[
                    ("MULTI", "+OK"),
                    ("DECRBY account:1 2", "+QUEUED"),
                    ("INCRBY account:2 2", "+QUEUED"),
                ]);
                mover.line("EXEC");
                mover.line("DBSIZE");
                mover.line("RENAME account:3 account:3");
                mover.check(&[("MULTI", "+OK")]);
                eval(&mut mover, TRANSFER, &[], &["2", "1", "2"]);
                mover.line("EXEC");
            }
        });
        for round in 0..200 {
            assert_eq!(total(&mut client, round % 2), MONEY * ACCOUNTS as i64);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(transfers.load(Ordering::Relaxed) > 100);
    server.assert_replays();
}

#[test]
fn commands_on_all_keys_see_one_state() {
    let server = workers();
    let mut client = server.connect();
    client.line("SET a 1");
    let script = "
        redis.call('set', 'b', 1)
        local before = redis.call('dbsize')
        redis.call('set', 'c', 1)
        local keys = redis.call('keys', '*')
        table.sort(keys)
        redis.call('flushall')
        return {before, keys, redis.call('dbsize'), redis.call('randomkey')}";
    assert_eq!(
        eval(&mut client, script, &[], &[]),
        "[:2 [\"a\" \"b\" \"c\"] :0 nil]"
    );
    let scan = "redis.call('set', 'x', 1) return redis.call('scan', 0, 'count', 100)[2]";
    assert_eq!(eval(&mut client, scan, &[], &[]), "[\"x\"]");
}

#[test]
fn undeclared_keys_can_be_refused() {
    let server = TestServer::start_with(&["--script-undeclared-keys", "deny"]);
    let mut client = server.connect();
    assert_eq!(
        eval(
            &mut client,
            "return redis.call('set', KEYS[1], 1)",
            &["k"],
            &[]
        ),
        "+OK"
    );
    let reply = eval(
        &mut client,
        "return redis.call('get', 'other')",
        &["k"],
        &[],
    );
    assert_eq!(
        reply,
        "-ERR Script attempted to access the undeclared key 'other', and script-undeclared-keys is deny script: on @user_script:1."
    );
    let reply = eval(&mut client, "return redis.call('dbsize')", &["k"], &[]);
    assert!(
        reply.starts_with("-ERR Script attempted to call 'dbsize', which works on all keys"),
        "{reply}"
    );
    client.check(&[("CONFIG SET script-undeclared-keys allow", "+OK")]);
    assert_eq!(
        eval(&mut client, "return redis.call('dbsize')", &["k"], &[]),
        ":1"
    );
}

/// A script is in the log as a whole, or not at all.
#[test]
fn a_crash_does_not_cut_a_script() {
    let mut server = workers();
    let script = "for i = 1, 20 do redis.call('incr', 'c:' .. ARGV[1] .. ':' .. i) end";
    for round in 0..4 {
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let mut client = server.connect();
                scope.spawn(move || {
                    let name = thread.to_string();
                    let words: [&[u8]; 4] = [b"EVAL", script.as_bytes(), b"0", name.as_bytes()];
                    let mut request = Vec::new();
                    resp::request::encode(&mut request, &words);
                    while client.try_send(&request) && client.read_or_closed().is_some() {}
                });
            }
            std::thread::sleep(Duration::from_millis(150 + round * 37));
            server.kill();
        });
        server.restart();
        let mut client = server.connect();
        for thread in 0..3 {
            let values: Vec<String> = (1..=20)
                .map(|number| client.line(&format!("GET c:{thread}:{number}")))
                .collect();
            assert!(
                values.windows(2).all(|pair| pair[0] == pair[1]),
                "{values:?}"
            );
        }
    }
}

#[test]
fn every_worker_runs_scripts_of_the_cache() {
    let server = workers();
    let mut first = server.connect();
    let sha = load(&mut first, "return redis.call('incr', KEYS[1])");
    for number in 1..=8 {
        let mut client = server.connect();
        let reply = show(&client.run(&["EVALSHA", &sha, "1", "k"]));
        assert_eq!(reply, format!(":{number}"));
    }
    first.check(&[("SCRIPT FLUSH", "+OK")]);
    for _ in 0..8 {
        let mut client = server.connect();
        let reply = show(&client.run(&["EVALSHA", &sha, "1", "k"]));
        assert_eq!(reply, "-NOSCRIPT No matching script.");
    }
}
