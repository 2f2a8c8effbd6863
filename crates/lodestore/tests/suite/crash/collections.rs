//! The collections of a lane: one of each type, and what its requests make of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use resp::Value;

use super::lane::FAR_FUTURE_MS;
use crate::suite::harness::Client;
use crate::suite::random::Random;

/// Different elements of a set, a hash and a sorted set: more than fit a packed form.
const NAMES: u64 = 200;

/// A list grows up to this many elements.
const LIST_MAX: usize = 400;

/// Names of the keys.
const KINDS: [&str; 4] = ["list", "set", "hash", "zset"];

/// A request that changes a collection.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Push(bool, Vec<Vec<u8>>),
    Pop(bool),
    Add(Vec<u8>),
    Remove(Vec<u8>),
    SetField(Vec<u8>, Vec<u8>),
    RemoveField(Vec<u8>),
    ExpireField(Vec<u8>, u64),
    Score(Vec<u8>, i64),
    Unscore(Vec<u8>),
    Clear(&'static str),
}

impl Change {
    pub(super) fn invent(random: &mut Random, sequence: u64, state: &Collections) -> Self {
        let text = |random: &mut Random| {
            // Now and then one that no packed form takes.
            let len = if random.below(50) == 0 {
                9_000
            } else {
                random.below(30) as usize
            };
            let mut text = sequence.to_string().into_bytes();
            text.resize(text.len().max(len), b'.');
            text
        };
        let name = random.below(NAMES).to_string().into_bytes();
        match random.below(20) {
            0..=4 if state.list.len() < LIST_MAX => {
                let count = 1 + random.below(5);
                let values = (0..count).map(|_| text(random)).collect();
                Self::Push(random.below(2) == 0, values)
            }
            0..=5 => Self::Pop(random.below(2) == 0),
            6..=8 => Self::Add(name),
            9 => Self::Remove(name),
            10..=12 => Self::SetField(name, text(random)),
            13 => Self::RemoveField(name),
            14 => Self::ExpireField(name, FAR_FUTURE_MS + sequence),
            15..=17 => Self::Score(name, random.below(100) as i64 - 50),
            18 => Self::Unscore(name),
            _ if random.below(20) == 0 => Self::Clear(KINDS[random.below(4) as usize]),
            _ => Self::Remove(name),
        }
    }

    /// The request; `prefix` makes the key the lane's own.
    pub(super) fn encode(&self, prefix: &str, put: &mut impl FnMut(&[&[u8]])) {
        let key = |kind: &str| format!("{prefix}{kind}");
        let end = |front: bool, left: &'static [u8], right: &'static [u8]| {
            if front { left } else { right }
        };
        match self {
            Self::Push(front, values) => {
                let key = key("list");
                let mut words: Vec<&[u8]> = vec![end(*front, b"LPUSH", b"RPUSH"), key.as_bytes()];
                words.extend(values.iter().map(|value| &value[..]));
                put(&words);
            }
            Self::Pop(front) => put(&[end(*front, b"LPOP", b"RPOP"), key("list").as_bytes()]),
            Self::Add(name) => put(&[b"SADD", key("set").as_bytes(), name]),
            Self::Remove(name) => put(&[b"SREM", key("set").as_bytes(), name]),
            Self::SetField(name, value) => put(&[b"HSET", key("hash").as_bytes(), name, value]),
            Self::RemoveField(name) => put(&[b"HDEL", key("hash").as_bytes(), name]),
            Self::ExpireField(name, deadline) => {
                let (key, deadline) = (key("hash"), deadline.to_string());
                let head: [&[u8]; 3] = [b"HPEXPIREAT", key.as_bytes(), deadline.as_bytes()];
                put(&[head[0], head[1], head[2], b"FIELDS", b"1", name]);
            }
            Self::Score(name, score) => {
                put(&[
                    b"ZADD",
                    key("zset").as_bytes(),
                    score.to_string().as_bytes(),
                    name,
                ]);
            }
            Self::Unscore(name) => put(&[b"ZREM", key("zset").as_bytes(), name]),
            Self::Clear(kind) => put(&[b"DEL", key(kind).as_bytes()]),
        }
    }
}

/// What the collections of a lane hold; the fields of the hash with their deadlines.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Collections {
    list: VecDeque<Vec<u8>>,
    set: BTreeSet<Vec<u8>>,
    hash: BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>,
    zset: BTreeMap<Vec<u8>, i64>,
}

impl Collections {
    /// Applies a change and returns its reply.
    pub(super) fn apply(&mut self, change: &Change) -> Value {
        let count = |yes: bool| Value::Integer(i64::from(yes));
        match change {
            Change::Push(front, values) => {
                for value in values {
                    match front {
                        true => self.list.push_front(value.clone()),
                        false => self.list.push_back(value.clone()),
                    }
                }
                Value::Integer(self.list.len() as i64)
            }
            Change::Pop(front) => {
                let popped = match front {
                    true => self.list.pop_front(),
                    false => self.list.pop_back(),
                };
                popped.map_or(Value::NullBulk, Value::Bulk)
            }
            Change::Add(name) => count(self.set.insert(name.clone())),
            Change::Remove(name) => count(self.set.remove(name)),
            Change::SetField(name, value) => {
                let old = self.hash.insert(name.clone(), (value.clone(), None));
                count(old.is_none())
            }
            Change::RemoveField(name) => count(self.hash.remove(name).is_some()),
            Change::ExpireField(name, deadline) => {
                let field = self.hash.get_mut(name);
                let code = if field.is_some() { 1 } else { -2 };
                if let Some((_, at)) = field {
                    *at = Some(*deadline);
                }
                Value::Array(vec![Value::Integer(code)])
            }
            Change::Score(name, score) => count(self.zset.insert(name.clone(), *score).is_none()),
            Change::Unscore(name) => count(self.zset.remove(name).is_some()),
            Change::Clear(kind) => {
                let lived = self.lives(kind);
                match *kind {
                    "list" => self.list.clear(),
                    "set" => self.set.clear(),
                    "hash" => self.hash.clear(),
                    _ => self.zset.clear(),
                }
                count(lived)
            }
        }
    }

    fn lives(&self, kind: &str) -> bool {
        match kind {
            "list" => !self.list.is_empty(),
            "set" => !self.set.is_empty(),
            "hash" => !self.hash.is_empty(),
            _ => !self.zset.is_empty(),
        }
    }

    /// How many of them there are.
    pub(super) fn keys(&self) -> usize {
        KINDS.iter().filter(|kind| self.lives(kind)).count()
    }

    /// What the server holds.
    pub(super) fn held(client: &mut Client, prefix: &str) -> Self {
        let mut elements = |words: &[&str]| -> Vec<Vec<u8>> {
            let reply = client.run(words);
            let elements = reply.as_elements().expect("an array").iter();
            elements
                .map(|it| it.as_bytes().expect("an element").to_vec())
                .collect()
        };
        let key = |kind: &str| format!("{prefix}{kind}");
        let list = elements(&["LRANGE", &key("list"), "0", "-1"]).into();
        let set = elements(&["SMEMBERS", &key("set")]).into_iter().collect();
        let scored = elements(&["ZRANGE", &key("zset"), "0", "-1", "WITHSCORES"]);
        let zset = scored
            .chunks(2)
            .map(|pair| (pair[0].clone(), number(&pair[1])));
        let zset = zset.collect();
        let pairs = elements(&["HGETALL", &key("hash")]);
        let mut hash = BTreeMap::new();
        for pair in pairs.chunks(2) {
            let (name, hash_key) = (&pair[0], key("hash"));
            let ask: [&[u8]; 5] = [b"HPEXPIRETIME", hash_key.as_bytes(), b"FIELDS", b"1", name];
            let reply = client.run_bytes(&ask);
            let deadline = reply.as_elements().and_then(|one| one[0].as_integer());
            let deadline = u64::try_from(deadline.expect("an integer")).ok();
            hash.insert(name.clone(), (pair[1].clone(), deadline));
        }
        Self {
            list,
            set,
            hash,
            zset,
        }
    }
}

fn number(digits: &[u8]) -> i64 {
    let text = std::str::from_utf8(digits).expect("digits");
    text.parse().expect("an integer")
}
