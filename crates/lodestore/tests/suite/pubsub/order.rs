//! A model of the order of messages: publishers and subscribers on four workers.
//!
//! Each message names its publisher and its number among the messages of that publisher, so a
//! subscriber's stream shows what the rules allow:
//!
//! * messages of one publisher come in the order in which they were published, over all channels;
//! * two subscribers of a channel see its messages in the same order;
//! * nothing of a channel comes before its subscription is confirmed or behind the end of it;
//! * nothing is lost between them;
//! * a message that was published after another one had been seen comes behind it everywhere.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use resp::Value;

use super::super::harness::{Client, TestServer};
use super::super::random::{Random, number_in_env};

const PUBLISHERS: usize = 4;
const SUBSCRIBERS: usize = 6;
const CHANNELS: u64 = 3;
const MESSAGES: u64 = 400;

/// What a subscriber has read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Event {
    /// Subscribed to a channel; or to all by a pattern, as channel `*`.
    Begin(String),
    End(String),
    Message {
        /// The channel, or `*`.
        by: String,
        channel: String,
        publisher: usize,
        number: u64,
    },
}

fn text(value: &Value) -> String {
    String::from_utf8_lossy(value.as_bytes().expect("bytes")).into_owned()
}

fn event(value: &Value) -> Event {
    let parts = value.as_elements().expect("an array");
    let word = text(&parts[0]);
    let name = text(&parts[1]);
    match word.as_str() {
        "subscribe" | "psubscribe" => Event::Begin(name),
        "unsubscribe" | "punsubscribe" => Event::End(name),
        _ => {
            let channel = text(&parts[parts.len() - 2]);
            let payload = text(&parts[parts.len() - 1]);
            let (publisher, number) = payload.split_once(':').expect("publisher:number");
            Event::Message {
                by: name,
                channel,
                publisher: publisher.parse().expect("a number"),
                number: number.parse().expect("a number"),
            }
        }
    }
}

/// A publisher: every message is answered before the next is sent, half of them inside MULTI.
fn publish(server: &TestServer, publisher: usize, seed: u64, progress: &[AtomicUsize]) {
    let mut random = Random::new(seed ^ (publisher as u64 + 1) << 32);
    let mut client = server.connect();
    for number in 0..MESSAGES {
        let line = format!("PUBLISH c{} {publisher}:{number}", random.below(CHANNELS));
        if random.below(4) == 0 {
            client.check(&[("MULTI", "+OK"), (&line, "+QUEUED")]);
            client.line("EXEC");
        } else {
            client.integer(&line);
        }
        progress[publisher].store(number as usize + 1, Ordering::SeqCst);
    }
}

/// Reads until `name` is confirmed.
fn read_until(client: &mut Client, events: &mut Vec<Event>, wanted: &Event) {
    loop {
        let event = event(&client.read());
        let found = event == *wanted;
        events.push(event);
        if found {
            return;
        }
    }
}

/// How many messages of each publisher were answered or may be under way.
fn snapshot(progress: &[AtomicUsize]) -> Vec<usize> {
    let loads = progress.iter().map(|count| count.load(Ordering::SeqCst));
    loads.collect()
}

/// One stretch of a subscription: its events, and the progress of all publishers around it.
struct Stretch {
    by: String,
    events: Vec<Event>,
    /// When the confirmation of the beginning had come: later messages must be there.
    confirmed: Vec<usize>,
    /// Before the end was asked for: earlier messages must be there.
    ending: Vec<usize>,
}

fn subscribe(
    server: &TestServer,
    number: usize,
    seed: u64,
    progress: &[AtomicUsize],
    finished: &AtomicBool,
) -> Vec<Stretch> {
    let mut random = Random::new(seed ^ (number as u64 + 100) << 32);
    let mut stretches = Vec::new();
    let mut client = connect(server, &mut random);
    loop {
        let is_last = finished.load(Ordering::SeqCst);
        let by_pattern = random.below(3) == 0;
        let name = if by_pattern {
            "*".to_owned()
        } else {
            format!("c{}", random.below(CHANNELS))
        };
        let p = if by_pattern { "P" } else { "" };
        let mut events = Vec::new();
        client.send(&[format!("{p}SUBSCRIBE").as_bytes(), name.as_bytes()]);
        read_until(&mut client, &mut events, &Event::Begin(name.clone()));
        assert_eq!(
            events.len(),
            1,
            "seed {seed}: a message before the confirmation"
        );
        let confirmed = snapshot(progress);
        let pause = random.below(20);
        std::thread::sleep(std::time::Duration::from_millis(pause));
        let ending = snapshot(progress);
        client.send(&[format!("{p}UNSUBSCRIBE").as_bytes(), name.as_bytes()]);
        read_until(&mut client, &mut events, &Event::End(name.clone()));
        stretches.push(Stretch {
            by: name,
            events,
            confirmed,
            ending,
        });
        // Behind the last confirmation nothing comes but the reply.
        assert_eq!(client.line("PING"), "+PONG", "seed {seed}");
        if random.below(10) == 0 {
            client = connect(server, &mut random);
        }
        if is_last {
            return stretches;
        }
    }
}

fn connect(server: &TestServer, random: &mut Random) -> Client {
    if random.below(2) == 0 {
        server.connect()
    } else {
        server.connect_resp3()
    }
}

/// The rules for one stretch. Returns the messages of each channel in their order.
fn check_stretch(stretch: &Stretch, seed: u64) -> HashMap<String, Vec<(usize, u64)>> {
    let mut last = HashMap::new();
    let mut by_channel: HashMap<String, Vec<(usize, u64)>> = HashMap::new();
    let mut seen = vec![Vec::new(); PUBLISHERS];
    for event in &stretch.events {
        let Event::Message {
            by,
            channel,
            publisher,
            number,
        } = event
        else {
            continue;
        };
        assert_eq!(
            *by, stretch.by,
            "seed {seed}: a message of another subscription"
        );
        let before = last.insert(*publisher, *number);
        assert!(
            before.is_none_or(|before| before < *number),
            "seed {seed}: publisher {publisher} sent {number} before {before:?}"
        );
        seen[*publisher].push(*number);
        let list = by_channel.entry(channel.clone()).or_default();
        list.push((*publisher, *number));
    }
    if stretch.by == "*" {
        for (publisher, numbers) in seen.iter().enumerate() {
            for number in stretch.confirmed[publisher]..stretch.ending[publisher] {
                // The first one after the confirmation may have been under way.
                let under_way = number == stretch.confirmed[publisher];
                assert!(
                    under_way || numbers.contains(&(number as u64)),
                    "seed {seed}: {publisher}:{number} is lost"
                );
            }
        }
    }
    by_channel
}

/// Two subscribers of a channel see the messages that both see in the same order.
fn check_common_order(streams: &[Vec<(usize, u64)>], channel: &str, seed: u64) {
    for (index, one) in streams.iter().enumerate() {
        let places: HashMap<_, _> = one.iter().zip(0..).collect();
        for other in streams.iter().skip(index + 1) {
            let common: Vec<i32> = other
                .iter()
                .filter_map(|message| places.get(message).copied())
                .collect();
            assert!(
                common.is_sorted(),
                "seed {seed}: two orders of messages in channel {channel}"
            );
        }
    }
}

#[test]
fn subscribers_see_messages_in_the_order_of_the_rules() {
    let seed = Random::seed();
    println!("LODESTORE_TEST_SEED={seed}");
    let server = TestServer::start_with(&["--threads", "4", "--threads-spread", "yes"]);
    for round in 0..number_in_env("LODESTORE_ORDER_ROUNDS").unwrap_or(2) {
        check_round(&server, seed.wrapping_add(round));
    }
}

fn check_round(server: &TestServer, seed: u64) {
    let progress: Vec<AtomicUsize> = (0..PUBLISHERS).map(|_| AtomicUsize::new(0)).collect();
    let finished = AtomicBool::new(false);
    let stretches = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let progress = &progress;
                scope.spawn(move || publish(server, publisher, seed, progress))
            })
            .collect();
        for number in 0..SUBSCRIBERS {
            let (progress, finished, stretches) = (&progress, &finished, &stretches);
            scope.spawn(move || {
                let seen = subscribe(server, number, seed, progress, finished);
                stretches.lock().expect("unpoisoned").extend(seen);
            });
        }
        for publisher in publishers {
            publisher.join().expect("a publisher");
        }
        finished.store(true, Ordering::SeqCst);
    });
    let stretches = stretches.into_inner().expect("unpoisoned");
    let mut streams: HashMap<String, Vec<Vec<(usize, u64)>>> = HashMap::new();
    for stretch in &stretches {
        for (channel, messages) in check_stretch(stretch, seed) {
            streams.entry(channel).or_default().push(messages);
        }
    }
    let messages: usize = streams.values().flatten().map(Vec::len).sum();
    assert!(
        messages > 500,
        "seed {seed}: only {messages} messages were seen"
    );
    for (channel, streams) in &streams {
        check_common_order(streams, channel, seed);
    }
}

/// A message that answers another one comes behind it everywhere, whatever its channel and worker.
#[test]
fn answers_come_behind_what_they_answer() {
    let server = TestServer::start_with(&["--threads", "4", "--threads-spread", "yes"]);
    let server = Arc::new(server);
    const ROUNDS: usize = 300;
    let mut watchers: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    for watcher in &mut watchers {
        watcher.line("SUBSCRIBE question");
        watcher.line("SUBSCRIBE answer");
    }
    let mut listener = server.connect();
    listener.line("SUBSCRIBE question");
    let answers = {
        let server = Arc::clone(&server);
        std::thread::spawn(move || {
            let mut publisher = server.connect();
            for round in 0..ROUNDS {
                let question = listener.read();
                let parts = question.as_elements().expect("a message");
                assert_eq!(text(&parts[2]), round.to_string());
                publisher.integer(&format!("PUBLISH answer {round}"));
            }
        })
    };
    let mut publisher = server.connect();
    for round in 0..ROUNDS {
        publisher.integer(&format!("PUBLISH question {round}"));
    }
    answers.join().expect("answers");
    for watcher in &mut watchers {
        let mut asked = None;
        for _ in 0..2 * ROUNDS {
            let message = watcher.read();
            let parts = message.as_elements().expect("a message");
            let number: usize = text(&parts[2]).parse().expect("a number");
            match text(&parts[1]).as_str() {
                "question" => asked = Some(number),
                _ => assert!(asked >= Some(number), "an answer before its question"),
            }
        }
    }
}
