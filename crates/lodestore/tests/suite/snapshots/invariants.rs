//! Changes over several keys that keep something the same, and whether a snapshot shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;

use keyspace::{NewValue, ValueRef};
use persist::rdb::{LoadOptions, LoadedEntry, Sink, load};
use values::{DIGITS, Thresholds};

use super::super::harness::Client;

const ACCOUNTS: u64 = 40;
const ACCOUNT_START: i64 = 1_000;
const LIST_ELEMENTS: u64 = 60;
const TOKENS: u64 = 20;
const PLACES: u64 = 15;
/// Keys of each of the two databases that are swapped.
const SWAPPED: u64 = 50;
/// Keys of the database that is flushed.
const FLUSHED: u64 = 30;
/// Keys that never change: the walk takes longer with them.
const FILLER: u64 = 3_000;

/// A small generator.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What is there before the first snapshot.
pub(super) fn fill(client: &mut Client) {
    for number in 0..ACCOUNTS {
        client.line(&format!("SET account:{number} {ACCOUNT_START}"));
        client.line(&format!(
            "HSET purse:{number} cents {ACCOUNT_START} owner o{number}"
        ));
    }
    for number in 0..LIST_ELEMENTS {
        client.line(&format!("RPUSH left element:{number}"));
        client.line(&format!("SADD here member:{number}"));
        client.line(&format!("ZADD rising {number} member:{number}"));
    }
    for token in 0..TOKENS {
        client.line(&format!("SET token:{token}:0 {token}"));
    }
    client.line(&format!("MSET {}", pairs("a", SWAPPED, 0)));
    client.line("SELECT 1");
    client.line(&format!("MSET {}", pairs("a", SWAPPED, 0)));
    client.line("SELECT 2");
    client.line(&format!("MSET {}", pairs("b", SWAPPED, 0)));
    client.line("SELECT 0");
    client.line("SET swapped no");
    flush_round(client, 0);
    for number in 0..FILLER {
        client.send(&[b"SET", format!("filler:{number}").as_bytes(), b"x"]);
    }
    (0..FILLER).for_each(|_| drop(client.read()));
}

fn pairs(prefix: &str, count: u64, value: u64) -> String {
    let pairs: Vec<String> = (0..count)
        .map(|number| format!("{prefix}:{number} {value}"))
        .collect();
    pairs.join(" ")
}

/// One random change that may run beside others of its kind.
pub(super) fn change(client: &mut Client, random: &mut Random) {
    let (one, two) = (random.below(ACCOUNTS), random.below(ACCOUNTS));
    let amount = random.below(50);
    let element = random.below(LIST_ELEMENTS);
    match random.below(10) {
        0..3 => transaction(
            client,
            &[
                &format!("DECRBY account:{one} {amount}"),
                &format!("INCRBY account:{two} {amount}"),
            ],
        ),
        3 => transaction(
            client,
            &[
                &format!("HINCRBY purse:{one} cents -{amount}"),
                &format!("HINCRBY purse:{two} cents {amount}"),
            ],
        ),
        4 => drop(client.line("LMOVE left right LEFT RIGHT")),
        5 => drop(client.line("LMOVE right left LEFT RIGHT")),
        6 if amount.is_multiple_of(2) => {
            drop(client.line(&format!("SMOVE here there member:{element}")))
        }
        6 => drop(client.line(&format!("SMOVE there here member:{element}"))),
        7 => {
            // A token goes from one name to another; most often it is elsewhere.
            let token = random.below(TOKENS);
            let (from, to) = (random.below(PLACES), random.below(PLACES));
            client.line(&format!("RENAMENX token:{token}:{from} token:{token}:{to}"));
        }
        8 => transaction(
            client,
            &[
                &format!("ZINCRBY rising {amount} member:{element}"),
                "INCR changes",
                "APPEND journal x",
                &format!("SET passing:{one} {amount} PX 40"),
                &format!("HSETEX fields:{one} PX 60 FIELDS 1 f {amount}"),
            ],
        ),
        _ => drop(client.line(&format!("XADD stream:{} MAXLEN 50 * n {amount}", one % 3))),
    }
}

/// Changes to whole databases, by one writer alone.
pub(super) fn change_databases(client: &mut Client, round: u64) {
    match round % 4 {
        0 => {
            let number = round / 4;
            flush_round(client, number);
        }
        1 => transaction(client, &["SWAPDB 1 2", "SET swapped yes"]),
        2 => {
            // The contents are distinguished by their keys wherever they are.
            transaction(
                client,
                &[
                    "SELECT 1",
                    &format!("MSET {}", pairs("b", SWAPPED, round)),
                    "SELECT 0",
                ],
            );
        }
        _ => transaction(client, &["SWAPDB 1 2", "SET swapped no"]),
    }
}

fn flush_round(client: &mut Client, number: u64) {
    transaction(
        client,
        &[
            "SELECT 3",
            "FLUSHDB",
            &format!("MSET {}", pairs("flushed", FLUSHED, number)),
            "SELECT 0",
            &format!("SET flushes {number}"),
        ],
    );
}

fn transaction(client: &mut Client, commands: &[&str]) {
    let mut count = 2;
    client.send(&[b"MULTI"]);
    for command in commands {
        let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        client.send(&words);
        count += 1;
    }
    client.send(&[b"EXEC"]);
    for _ in 0..count {
        let reply = client.read();
        assert!(!reply.is_error(), "{reply:?}");
    }
}

/// The content of a snapshot: by database and key the elements, for hashes field by field.
#[derive(Default)]
pub(super) struct Content {
    keys: BTreeMap<(u32, String), Vec<String>>,
    pub(super) log_offset: Option<u64>,
    sizes: BTreeMap<u32, u64>,
}

impl Sink for Content {
    fn entry(&mut self, entry: LoadedEntry<'_>) -> Result<(), String> {
        let key = (entry.db, text(entry.key));
        match self.keys.insert(key, elements(&entry.value)) {
            None => Ok(()),
            Some(_) => Err(format!("{} comes twice", text(entry.key))),
        }
    }

    fn function(&mut self, _code: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn aux(&mut self, name: &[u8], value: &[u8]) {
        if name == b"lodestore-log-offset" {
            self.log_offset = text(value).parse().ok();
        }
    }

    fn sizes(&mut self, db: u32, keys: u64, _volatile: u64) {
        self.sizes.insert(db, keys);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn elements(value: &NewValue<'_>) -> Vec<String> {
    let value = match value {
        NewValue::Int(number) => return vec![number.to_string()],
        NewValue::Bytes(bytes) | NewValue::Raw(bytes) => return vec![text(bytes)],
        NewValue::Big(big) => return vec![text(big.as_slice())],
        NewValue::Owned(value) => value.as_value_ref(),
    };
    let mut elements = Vec::new();
    match value {
        ValueRef::List(list) => list.visit(0..list.len(), false, |element| {
            elements.push(text(element.as_bytes(&mut { DIGITS })));
            ControlFlow::Continue(())
        }),
        ValueRef::Set(set) => {
            elements.extend(
                set.iter()
                    .map(|element| text(element.as_bytes(&mut { DIGITS }))),
            );
        }
        ValueRef::Hash(hash) => elements.extend(hash.iter(0).map(|(field, value)| {
            let (field, value) = (field.as_bytes(&mut { DIGITS }).to_vec(), value);
            format!("{}={}", text(&field), text(value.as_bytes(&mut { DIGITS })))
        })),
        other => elements.extend(other.string().map(|string| text(&string.to_vec()))),
    }
    elements
}

impl Content {
    /// Reads an RDB file.
    pub(super) fn read(path: &Path) -> Content {
        let options = LoadOptions {
            thresholds: Thresholds::default(),
            checksum: true,
            any_version: false,
            skip_modules: false,
            count_streams: false,
            max_string: 1 << 29,
        };
        let bytes = std::fs::read(path).expect("the snapshot");
        let mut content = Content::default();
        load(&mut &bytes[..], &options, &mut content).expect("a whole snapshot");
        content
    }

    fn single(&self, db: u32, key: &str) -> &str {
        match self.keys.get(&(db, key.to_owned())).map(Vec::as_slice) {
            Some([value]) => value,
            other => panic!("{key} in database {db}: {other:?}"),
        }
    }

    fn number(&self, db: u32, key: &str) -> i64 {
        self.single(db, key).parse().expect("a number")
    }

    /// Number of keys in all databases.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The string at a key.
    pub(super) fn text(&self, db: u32, key: &str) -> &str {
        self.single(db, key)
    }

    /// The distinct values of the keys `prefix:0` to `prefix:count`, all of which must be there and
    /// no others.
    fn values_of(&self, db: u32, prefix: &str, count: u64) -> BTreeSet<i64> {
        let keys = self.keys.keys().filter(|(number, _)| *number == db).count();
        assert_eq!(keys as u64, count, "keys of database {db}");
        let values = (0..count).map(|number| self.number(db, &format!("{prefix}:{number}")));
        values.collect()
    }

    /// Panics unless everything that must be the same is.
    pub(super) fn check(&self) {
        let total = ACCOUNT_START * ACCOUNTS as i64;
        let accounts = (0..ACCOUNTS).map(|number| self.number(0, &format!("account:{number}")));
        assert_eq!(accounts.sum::<i64>(), total, "accounts");
        let purses = (0..ACCOUNTS).map(|number| self.purse(number));
        assert_eq!(purses.sum::<i64>(), total, "purses");
        self.check_union(["left", "right"], "element");
        self.check_union(["here", "there"], "member");
        for token in 0..TOKENS {
            let places = (0..PLACES).map(|place| (0, format!("token:{token}:{place}")));
            let held: Vec<_> = places.filter_map(|key| self.keys.get(&key)).collect();
            assert_eq!(held, [&vec![token.to_string()]], "token {token}");
        }
        if let Some(journal) = self.keys.get(&(0, "journal".to_owned())) {
            assert_eq!(journal[0].len() as i64, self.number(0, "changes"));
        }
        let (a, b) = match self.single(0, "swapped") {
            "no" => (1, 2),
            _ => (2, 1),
        };
        assert_eq!(self.values_of(a, "a", SWAPPED), BTreeSet::from([0]));
        assert_eq!(self.values_of(b, "b", SWAPPED).len(), 1, "one MSET");
        let flushes = self.number(0, "flushes");
        assert_eq!(
            self.values_of(3, "flushed", FLUSHED),
            BTreeSet::from([flushes])
        );
        for (db, keys) in &self.sizes {
            let found = self.keys.keys().filter(|(number, _)| number == db).count();
            assert_eq!(found as u64, *keys, "keys of database {db}");
        }
    }

    fn purse(&self, number: u64) -> i64 {
        let fields = &self.keys[&(0, format!("purse:{number}"))];
        let cents = fields.iter().find_map(|field| field.strip_prefix("cents="));
        cents.and_then(|cents| cents.parse().ok()).expect("cents")
    }

    fn check_union(&self, keys: [&str; 2], prefix: &str) {
        let parts = keys
            .iter()
            .filter_map(|key| self.keys.get(&(0, (*key).to_owned())));
        let mut found: Vec<&String> = parts.flatten().collect();
        found.sort();
        let mut expected: Vec<String> = (0..LIST_ELEMENTS)
            .map(|number| format!("{prefix}:{number}"))
            .collect();
        expected.sort();
        assert_eq!(found, expected.iter().collect::<Vec<_>>(), "{keys:?}");
    }
}
