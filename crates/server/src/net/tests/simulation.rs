//! A server of several workers on one thread, driven by a seed: which worker takes the next step,
//! which client sends, when time passes. The same seed gives the same run, byte for byte.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine::client::Peer;
use engine::clock::Clock;
use engine::context::Random;
use resp::{Value, decode};

use crate::boot;
use crate::net::worker::{Ready, Worker};
use crate::server::Server;
use crate::state::Build;
use crate::transport::listener::Accepted;
use crate::transport::pipe::Pipe;
use crate::transport::stream::Stream;

const WORKERS: usize = 3;
/// Bytes on their way to or from a client: little, so that writes stop in the middle.
const ROOM: usize = 200;
/// Steps without any client that sends, at the end.
const STEPS_TO_REST: usize = 400;

/// What a client does all the time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// INCR of one key.
    Counts,
    /// RPUSH of numbers that nothing else pushes.
    Produces,
    /// BLPOP.
    Consumes,
    /// PUBLISH of numbers that nothing else publishes.
    Publishes,
    /// SUBSCRIBE once, then it listens.
    Subscribes,
    /// A transaction that changes two keys together.
    Transacts,
    /// GET of a key that it keeps until the invalidation comes.
    Caches,
    /// SET of the keys that others keep.
    Writes,
    /// SET with an expiry, and GET.
    Expires,
}

const ROLES: [Role; 14] = [
    Role::Counts,
    Role::Counts,
    Role::Produces,
    Role::Produces,
    Role::Consumes,
    Role::Consumes,
    Role::Consumes,
    Role::Publishes,
    Role::Publishes,
    Role::Subscribes,
    Role::Subscribes,
    Role::Transacts,
    Role::Transacts,
    Role::Expires,
];

struct Client {
    role: Role,
    number: usize,
    pipe: Pipe,
    unsent: VecDeque<u8>,
    /// Requests whose replies have not come, oldest first.
    open: VecDeque<Vec<String>>,
    input: Vec<u8>,
    /// Every byte that came.
    transcript: Vec<u8>,
    sent: u64,
    replies: Vec<(Vec<String>, Value)>,
    pushes: Vec<Value>,
    cached: BTreeMap<String, Option<Vec<u8>>>,
}

impl Client {
    fn send(&mut self, words: &[&str]) {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let mut bytes = Vec::new();
        let slices: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        resp::request::encode(&mut bytes, &slices);
        self.unsent.extend(bytes);
        self.open.push_back(words);
    }

    /// The next request of its role.
    fn act(&mut self, random: &mut Random) {
        self.sent += 1;
        let unique = format!("{}:{}", self.number, self.sent);
        let key = format!("cached:{}", random.below(3));
        match self.role {
            Role::Counts => self.send(&["INCR", "counter"]),
            Role::Produces => self.send(&["RPUSH", "queue", &unique]),
            Role::Consumes => self.send(&["BLPOP", "queue", "0"]),
            Role::Publishes => self.send(&["PUBLISH", "channel", &unique]),
            Role::Subscribes => {}
            Role::Transacts => {
                for request in [&["MULTI"][..], &["INCR", "a"], &["INCR", "b"], &["EXEC"]] {
                    self.send(request);
                }
            }
            Role::Caches => self.send(&["GET", &key]),
            Role::Writes => self.send(&["SET", &key, &unique]),
            Role::Expires => {
                self.send(&["SET", "volatile", &unique, "PX", "5"]);
                self.send(&["GET", "volatile"]);
            }
        }
    }

    /// Moves bytes, and takes replies and messages out of what came.
    fn exchange(&mut self) {
        let bytes = self.unsent.make_contiguous();
        if let Ok(count) = self.pipe.write(bytes) {
            self.unsent.drain(..count);
        }
        let mut buffer = [0; 512];
        while let Ok(count @ 1..) = self.pipe.read(&mut buffer) {
            self.input.extend_from_slice(&buffer[..count]);
            self.transcript.extend_from_slice(&buffer[..count]);
        }
        while let Some((value, used)) = decode(&self.input).expect("a reply") {
            self.input.drain(..used);
            let is_message = self.role == Role::Subscribes && self.open.is_empty();
            if is_message || matches!(value, Value::Push(_)) {
                self.take_push(value);
            } else {
                let request = self.open.pop_front().expect("a request of this reply");
                self.take_reply(request, value);
            }
        }
    }

    fn take_reply(&mut self, request: Vec<String>, value: Value) {
        assert!(!value.is_error(), "{request:?}: {value:?}");
        if self.role == Role::Caches && request[0] == "GET" {
            let kept = value.as_bytes().map(<[u8]>::to_vec);
            self.cached.insert(request[1].clone(), kept);
        }
        self.replies.push((request, value));
    }

    fn take_push(&mut self, value: Value) {
        if self.role == Role::Caches {
            let Value::Push(parts) = &value else { return };
            for key in parts[1].as_elements().expect("keys") {
                let key = key.as_bytes().expect("a key").to_vec();
                self.cached.remove(&String::from_utf8(key).expect("a text"));
            }
        }
        self.pushes.push(value);
    }
}

struct Simulation {
    server: Arc<Server>,
    workers: Vec<Worker>,
    clients: Vec<Client>,
    random: Random,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let options = [
            ("threads", "3"),
            ("threads-spread", "yes"),
            ("appendonly", "no"),
            ("save", ""),
            ("hash-seed", "a simulation"),
        ];
        let config = crate::config::with_options(&options).expect("good options");
        let clock = Clock::simulated(1_700_000_000_000_000);
        let server = boot::build(config, Build::default(), clock, seed, 0).expect("a server");
        let workers = (0..WORKERS)
            .map(|index| Worker::new(Arc::clone(&server), index, boot::timers(index), None))
            .collect::<Result<_, _>>()
            .expect("workers");
        let random = Random::new(seed);
        Self {
            server,
            workers,
            clients: Vec::new(),
            random,
        }
    }

    fn connect(&mut self, role: Role) {
        let (pipe, far) = Pipe::pair(ROOM);
        let path = || Peer::Unix(PathBuf::from("simulated"));
        let accepted = Accepted {
            stream: Stream::Memory(far),
            peer: path(),
            local: path(),
            names: Vec::new(),
        };
        let server = Arc::clone(&self.server);
        self.workers[0].welcome(&server, accepted);
        let mut client = Client {
            role,
            number: self.clients.len(),
            pipe,
            unsent: VecDeque::new(),
            open: VecDeque::new(),
            input: Vec::new(),
            transcript: Vec::new(),
            sent: 0,
            replies: Vec::new(),
            pushes: Vec::new(),
            cached: BTreeMap::new(),
        };
        match role {
            Role::Subscribes => client.send(&["SUBSCRIBE", "channel"]),
            Role::Caches => {
                client.send(&["HELLO", "3"]);
                client.send(&["CLIENT", "TRACKING", "ON"]);
            }
            _ => {}
        }
        self.clients.push(client);
    }

    fn step(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        let connections = worker.connections.iter().enumerate();
        let ready: Vec<Ready> = connections
            .filter_map(|(token, connection)| {
                let Stream::Memory(pipe) = &connection.as_ref()?.stream else {
                    return None;
                };
                Some(Ready {
                    token,
                    reads: pipe.is_readable(),
                    writes: true,
                    ended: pipe.is_ended(),
                })
            })
            .collect();
        worker.step(ready.into_iter()).expect("the server runs");
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    /// Runs `events` random events, then until nothing is on its way.
    fn run(&mut self, events: usize) {
        for _ in 0..events {
            match self.below(20) {
                0 => {
                    let by = Duration::from_micros(self.random.below(4_000));
                    self.server.engine.clock.advance(by);
                }
                1..10 => {
                    let index = self.below(WORKERS);
                    self.step(index);
                }
                _ => {
                    let index = self.below(self.clients.len());
                    let client = &mut self.clients[index];
                    client.exchange();
                    if client.open.len() < 8 {
                        client.act(&mut self.random);
                    }
                }
            }
        }
        for _ in 0..STEPS_TO_REST {
            (0..WORKERS).for_each(|index| self.step(index));
            self.clients.iter_mut().for_each(Client::exchange);
        }
    }

    fn of(&self, role: Role) -> impl Iterator<Item = &Client> {
        self.clients
            .iter()
            .filter(move |client| client.role == role)
    }

    fn replies(&self, role: Role, command: &str) -> Vec<&Value> {
        let replies = self.of(role).flat_map(|client| &client.replies);
        let wanted = replies.filter(|(request, _)| request[0] == command);
        wanted.map(|(_, value)| value).collect()
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    value.as_bytes().expect("a string").to_vec()
}

fn integers(values: &[&Value]) -> Vec<i64> {
    let numbers = values.iter().map(|value| value.as_integer());
    numbers.map(|number| number.expect("a number")).collect()
}

/// Each INCR has its own number, and no number is left out.
fn check_counters(world: &Simulation) {
    for client in world.of(Role::Counts) {
        let values: Vec<&Value> = client.replies.iter().map(|(_, value)| value).collect();
        assert!(integers(&values).is_sorted(), "a client saw time go back");
    }
    let mut all = integers(&world.replies(Role::Counts, "INCR"));
    all.sort_unstable();
    let expected: Vec<i64> = (1..=all.len() as i64).collect();
    assert!(!all.is_empty() && all == expected, "{all:?}");
}

/// What was pushed is popped once, in the order of each producer, or is still there.
fn check_queue(world: &Simulation) {
    let mut popped = BTreeSet::new();
    for client in world.of(Role::Consumes) {
        let mut last: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        for (_, value) in &client.replies {
            let element = bytes(&value.as_elements().expect("a pair")[1]);
            let colon = element
                .iter()
                .position(|byte| *byte == b':')
                .expect("a colon");
            let number = std::str::from_utf8(&element[colon + 1..]).expect("digits");
            let number: u64 = number.parse().expect("a number");
            let before = last.insert(element[..colon].to_vec(), number);
            assert!(before.is_none_or(|before| before < number), "out of order");
            assert!(popped.insert(element), "popped twice");
        }
    }
    let pushed = world.replies(Role::Produces, "RPUSH").len();
    let waiting: usize = world
        .of(Role::Consumes)
        .map(|client| client.open.len())
        .sum();
    assert!(!popped.is_empty());
    if waiting > 0 {
        assert_eq!(popped.len(), pushed, "a consumer waits beside a full queue");
    }
    assert!(popped.len() <= pushed);
}

/// All subscribers get the same messages in the same order, each once, from their subscription on.
fn check_channel(world: &Simulation) {
    let received: Vec<Vec<Vec<u8>>> = world
        .of(Role::Subscribes)
        .map(|client| {
            let messages = client.pushes.iter();
            messages
                .map(|message| bytes(&message.as_elements().expect("a message")[2]))
                .collect()
        })
        .collect();
    let [one, other] = &received[..] else {
        panic!("two subscribers");
    };
    let (longer, shorter) = match one.len() < other.len() {
        true => (other, one),
        false => (one, other),
    };
    assert!(
        longer.ends_with(shorter),
        "subscribers disagree about the order"
    );
    let counts = integers(&world.replies(Role::Publishes, "PUBLISH"));
    let last = counts.iter().filter(|count| **count == 2).count();
    assert!(
        last > 0 && received[0].len() >= last,
        "a message is missing"
    );
    let distinct: BTreeSet<&Vec<u8>> = received[0].iter().collect();
    assert_eq!(distinct.len(), received[0].len(), "a message came twice");
}

/// Both keys of a transaction change together.
fn check_transactions(world: &Simulation) {
    let replies = world.replies(Role::Transacts, "EXEC");
    assert!(!replies.is_empty());
    for reply in replies {
        let both = reply.as_elements().expect("two replies");
        assert_eq!(both[0], both[1]);
    }
}

#[test]
fn workers_keep_the_promises_of_one_server() {
    for seed in 1..=12 {
        let mut world = Simulation::new(seed);
        for role in ROLES {
            world.connect(role);
        }
        world.run(6_000);
        check_counters(&world);
        check_queue(&world);
        check_channel(&world);
        check_transactions(&world);
    }
}

#[test]
fn a_seed_repeats_a_run() {
    let run = |seed| {
        let mut world = Simulation::new(seed);
        for role in ROLES {
            world.connect(role);
        }
        world.run(2_000);
        let clients = world.clients.iter();
        clients.map(|client| client.transcript.clone()).collect()
    };
    let (first, again, other): (Vec<_>, Vec<_>, Vec<_>) = (run(7), run(7), run(8));
    assert_eq!(first, again);
    assert_ne!(first, other);
}

/// At rest every client keeps the values that the server has.
#[test]
fn caches_are_never_stale_at_rest() {
    for seed in 1..=12 {
        let mut world = Simulation::new(seed);
        for role in [
            Role::Caches,
            Role::Caches,
            Role::Caches,
            Role::Writes,
            Role::Writes,
        ] {
            world.connect(role);
        }
        world.run(4_000);
        let mut kept = 0;
        for client in world.of(Role::Caches) {
            for (key, value) in &client.cached {
                let hash = world.server.engine.keyspace.hash(key.as_bytes());
                let locked = world.server.engine.keyspace.lock_all();
                let entry = locked.held(hash).find(0, hash, key.as_bytes());
                let text = entry.and_then(|entry| entry.string().map(|text| text.to_vec()));
                assert_eq!(*value, text, "{key} of client {}", client.number);
                kept += 1;
            }
        }
        assert!(kept > 0, "nothing is kept");
    }
}
