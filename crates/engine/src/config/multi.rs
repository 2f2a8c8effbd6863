//! Parameters made of several values: how they are read from the arguments of a directive, and
//! their one canonical text, which is what CONFIG GET answers and what the typed accessors of
//! [`super::Config`] read back.

use std::fmt;

use persist::rdb::{self, Version};
use resp::number::{parse_i64, parse_memory};

/// The most addresses `bind` takes.
const ADDRESSES_MAX: usize = 16;

/// A point of `save`: a snapshot when at least `changes` keys changed and `seconds` have passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    /// Seconds since the last snapshot; at least 1.
    pub seconds: i64,
    /// Changes since the last snapshot.
    pub changes: i64,
}

/// How much output may wait for a client of one class before the client is closed. 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    /// Bytes that close the client at once.
    pub hard: u64,
    /// Bytes that close the client when exceeded for `soft_seconds` on end.
    pub soft: u64,
    /// Seconds.
    pub soft_seconds: u64,
}

/// `client-output-buffer-limit`: one limit for each class of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimits {
    /// Ordinary clients.
    pub normal: OutputLimit,
    /// Replicas.
    pub replica: OutputLimit,
    /// Clients with subscriptions.
    pub pubsub: OutputLimit,
}

impl OutputLimits {
    /// The limit of a class of clients.
    pub fn of(&self, class: ClientClass) -> OutputLimit {
        match class {
            ClientClass::Normal => self.normal,
            ClientClass::Replica => self.replica,
            ClientClass::PubSub => self.pubsub,
        }
    }
}

/// `oom-score-adj-values`: the score for each role of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OomScores {
    /// As a primary.
    pub primary: i64,
    /// As a replica.
    pub replica: i64,
    /// As a child process; Lodestore has none.
    pub child: i64,
}

/// An integer as C's strtoll reads it: leading white space, a plus sign and zeros are fine, nothing
/// may follow.
fn lenient_i64(text: &[u8]) -> Option<i64> {
    str::from_utf8(text).ok()?.trim_ascii_start().parse().ok()
}

/// The words of a canonical text.
pub(super) fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
}

/// Whether the arguments say "none": no argument, or one empty one.
fn is_none(args: &[&[u8]]) -> bool {
    args.is_empty() || (args.len() == 1 && args[0].is_empty())
}

/// Numbers with spaces between them.
fn joined<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    texts.join(" ")
}

/// Reads the arguments of `save`: pairs of seconds and changes, or one empty argument for no points
/// at all.
pub fn parse_save(args: &[&[u8]]) -> Result<Vec<SavePoint>, String> {
    let refusal = || "Invalid save parameters".to_owned();
    if is_none(args) {
        return Ok(Vec::new());
    }
    let (pairs, rest) = args.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(refusal());
    }
    let point = |[seconds, changes]: &[&[u8]; 2]| {
        let point = SavePoint {
            seconds: lenient_i64(seconds)?,
            changes: lenient_i64(changes)?,
        };
        (point.seconds >= 1 && (0..=i64::from(i32::MAX)).contains(&point.changes)).then_some(point)
    };
    pairs
        .iter()
        .map(point)
        .collect::<Option<Vec<SavePoint>>>()
        .ok_or_else(refusal)
}

/// The canonical text of save points.
#[must_use]
pub fn format_save(points: &[SavePoint]) -> String {
    joined(
        points
            .iter()
            .flat_map(|point| [point.seconds, point.changes]),
    )
}

impl OutputLimits {
    fn class_mut(&mut self, name: &[u8]) -> Option<&mut OutputLimit> {
        let is = |class: &str| name.eq_ignore_ascii_case(class.as_bytes());
        match () {
            () if is("normal") => Some(&mut self.normal),
            () if is("slave") || is("replica") => Some(&mut self.replica),
            () if is("pubsub") => Some(&mut self.pubsub),
            () => None,
        }
    }

    /// Reads groups of class, hard limit, soft limit and seconds; classes that are not named keep
    /// their limits.
    pub fn updated(mut self, args: &[&[u8]]) -> Result<OutputLimits, String> {
        let (groups, rest) = args.as_chunks::<4>();
        if !rest.is_empty() {
            return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
        }
        for [class, hard, soft, seconds] in groups {
            let limit = self.class_mut(class).ok_or_else(|| {
                "Invalid client class specified in buffer limit configuration.".to_owned()
            })?;
            let bytes =
                |text: &[u8]| parse_memory(text).filter(|&bytes| i64::try_from(bytes).is_ok());
            let parsed = bytes(hard).zip(bytes(soft)).zip(lenient_i64(seconds));
            let ((hard, soft), seconds) = parsed
                .filter(|&(_, seconds)| i32::try_from(seconds).is_ok_and(|seconds| seconds >= 0))
                .ok_or_else(|| {
                    "Error in hard, soft or soft_seconds setting in buffer limit configuration."
                        .to_owned()
                })?;
            *limit = OutputLimit {
                hard,
                soft,
                soft_seconds: seconds.unsigned_abs(),
            };
        }
        Ok(self)
    }

    /// The limits with the names of their classes in CONFIG GET and in CONFIG REWRITE.
    pub fn classes(&self) -> [(&'static str, &'static str, OutputLimit); 3] {
        [
            ("normal", "normal", self.normal),
            ("slave", "replica", self.replica),
            ("pubsub", "pubsub", self.pubsub),
        ]
    }
}

impl fmt::Display for OutputLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (class, _, limit)) in self.classes().into_iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(
                f,
                "{space}{class} {} {} {}",
                limit.hard, limit.soft, limit.soft_seconds
            )?;
        }
        Ok(())
    }
}

impl OomScores {
    /// Reads three scores between -2000 and 2000.
    pub fn parse(args: &[&[u8]]) -> Result<OomScores, String> {
        let [primary, replica, child] = args else {
            return Err("wrong number of arguments".to_owned());
        };
        let score = |text: &[u8]| {
            lenient_i64(text)
                .filter(|score| (-2000..=2000).contains(score))
                .ok_or_else(|| {
                    "Invalid oom-score-adj-values, elements must be between -2000 and 2000."
                        .to_owned()
                })
        };
        Ok(OomScores {
            primary: score(primary)?,
            replica: score(replica)?,
            child: score(child)?,
        })
    }
}

impl fmt::Display for OomScores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.primary, self.replica, self.child)
    }
}

/// Whether a host or an address can stand in a configuration file without quotes, also when it is
/// split twice.
fn is_plain(host: &[u8]) -> bool {
    let is_plain = |&byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    !host.is_empty() && host.iter().all(is_plain)
}

/// Reads the arguments of `bind`; one empty argument is no address at all.
pub(super) fn parse_addresses(args: &[&[u8]]) -> Result<Vec<u8>, String> {
    if args.len() > ADDRESSES_MAX {
        return Err("Too many bind addresses specified.".to_owned());
    }
    if is_none(args) {
        return Ok(Vec::new());
    }
    if !args.iter().all(|address| is_plain(address)) {
        return Err("Invalid bind address.".to_owned());
    }
    Ok(args.join(&b' '))
}

/// Reads percentiles between 0 and 100; one empty argument is none at all.
pub fn parse_percentiles(args: &[&[u8]]) -> Result<Vec<f64>, String> {
    if is_none(args) {
        return Ok(Vec::new());
    }
    let percentile = |text: &&[u8]| {
        let number: f64 = str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(f64::NAN);
        match number {
            _ if number.is_nan() => {
                Err("Invalid latency-tracking-info-percentiles parameters".to_owned())
            }
            0.0..=100.0 => Ok(number),
            _ => Err(
                "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"
                    .to_owned(),
            ),
        }
    };
    args.iter().map(percentile).collect()
}

/// The canonical text of percentiles: six decimals at most, without trailing zeros.
#[must_use]
pub fn format_percentiles(percentiles: &[f64]) -> String {
    let text = |percentile: &f64| {
        let fixed = format!("{percentile:.6}");
        fixed.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    joined(percentiles.iter().map(text))
}

/// Reads versions of the RDB format in order of preference, each of them one that can be written.
pub fn parse_rdb_versions(args: &[&[u8]]) -> Result<Vec<Version>, String> {
    let version = |text: &&[u8]| {
        let number = lenient_i64(text)?;
        let written = rdb::WRITTEN.iter().copied();
        written
            .into_iter()
            .find(|version| i64::from(version.0) == number)
    };
    let versions: Option<Vec<Version>> = args.iter().map(version).collect();
    versions
        .filter(|versions| !versions.is_empty())
        .ok_or_else(|| {
            let numbers = rdb::WRITTEN.iter().map(|version| version.0);
            format!(
                "argument must be a list of RDB versions out of: {}",
                joined(numbers)
            )
        })
}

/// The canonical text of versions.
#[must_use]
pub fn format_rdb_versions(versions: &[Version]) -> String {
    joined(versions.iter().map(|version| version.0))
}

/// Reads the arguments of `replicaof`: a host and a port, or `no one`, or one empty argument.
pub(super) fn parse_replicaof(args: &[&[u8]]) -> Result<Vec<u8>, String> {
    if let [b""] = args {
        return Ok(Vec::new());
    }
    let [host, port] = args else {
        return Err("wrong number of arguments".to_owned());
    };
    if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
        return Ok(Vec::new());
    }
    let port = lenient_i64(port).filter(|port| (0..=65535).contains(port));
    let port = port.ok_or_else(|| "Invalid primary port".to_owned())?;
    if !is_plain(host) {
        return Err("Invalid primary host".to_owned());
    }
    Ok([host, format!(" {port}").as_bytes()].concat())
}

/// The classes of keyspace events as bits, and their letters in `notify-keyspace-events`.
pub mod events {
    /// Events are published under the key's channel.
    pub const KEYSPACE: i64 = 1;
    /// Events are published under the event's channel.
    pub const KEYEVENT: i64 = 1 << 1;
    /// Commands of all types: DEL, EXPIRE, RENAME ...
    pub const GENERIC: i64 = 1 << 2;
    /// String commands.
    pub const STRING: i64 = 1 << 3;
    /// List commands.
    pub const LIST: i64 = 1 << 4;
    /// Set commands.
    pub const SET: i64 = 1 << 5;
    /// Hash commands.
    pub const HASH: i64 = 1 << 6;
    /// Sorted set commands.
    pub const ZSET: i64 = 1 << 7;
    /// Keys that expired.
    pub const EXPIRED: i64 = 1 << 8;
    /// Keys that were evicted.
    pub const EVICTED: i64 = 1 << 9;
    /// Stream commands.
    pub const STREAM: i64 = 1 << 10;
    /// Reads of keys that are not there. Not part of `A`.
    pub const KEY_MISS: i64 = 1 << 11;
    /// Module types.
    pub const MODULE: i64 = 1 << 13;
    /// New keys. Not part of `A`.
    pub const NEW: i64 = 1 << 14;
    /// Keys whose value was replaced as a whole. Not part of `A`.
    pub const OVERWRITTEN: i64 = 1 << 15;
    /// Such keys that have another type than before. Not part of `A`.
    pub const TYPE_CHANGED: i64 = 1 << 16;
    /// Events are published with the names of elements under the key's channel.
    pub const SUBKEYSPACE: i64 = 1 << 19;
    /// Events are published with the names of elements under the event's channel.
    pub const SUBKEYEVENT: i64 = 1 << 20;
    /// Events are published under a channel for each element.
    pub const SUBKEYSPACEITEM: i64 = 1 << 21;
    /// Events are published with the names of elements under a channel of event and key.
    pub const SUBKEYSPACEEVENT: i64 = 1 << 22;
    /// The letter `A`.
    pub const ALL: i64 =
        GENERIC | STRING | LIST | SET | HASH | ZSET | EXPIRED | EVICTED | STREAM | MODULE;

    /// The classes that `A` covers or that precede the channels, in the order they are written,
    /// then the others.
    const LETTERS: [(u8, i64); 20] = [
        (b'g', GENERIC),
        (b'$', STRING),
        (b'l', LIST),
        (b's', SET),
        (b'h', HASH),
        (b'z', ZSET),
        (b'x', EXPIRED),
        (b'e', EVICTED),
        (b't', STREAM),
        (b'd', MODULE),
        (b'n', NEW),
        (b'o', OVERWRITTEN),
        (b'c', TYPE_CHANGED),
        (b'K', KEYSPACE),
        (b'E', KEYEVENT),
        (b'm', KEY_MISS),
        (b'S', SUBKEYSPACE),
        (b'T', SUBKEYEVENT),
        (b'I', SUBKEYSPACEITEM),
        (b'V', SUBKEYSPACEEVENT),
    ];

    /// The bits of a string of letters, or nothing when a letter is unknown.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<i64> {
        let bit = |&letter: &u8| match letter {
            b'A' => Some(ALL),
            _ => LETTERS
                .iter()
                .find(|(known, _)| *known == letter)
                .map(|(_, bit)| *bit),
        };
        text.iter()
            .try_fold(0, |bits, letter| Some(bits | bit(letter)?))
    }

    /// The letters of bits.
    #[must_use]
    pub fn format(bits: i64) -> String {
        let covers_all = bits & ALL == ALL;
        let mut text = String::new();
        if covers_all {
            text.push('A');
        }
        for (letter, bit) in LETTERS {
            if bits & bit != 0 && !(covers_all && ALL & bit != 0) {
                text.push(char::from(letter));
            }
        }
        text
    }
}

/// A whole number, parsed as strictly as CONFIG SET does.
pub(super) fn strict_i64(text: &[u8]) -> Option<i64> {
    parse_i64(text)
}

/// Classes of clients, as `client-output-buffer-limit` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ClientClass {
    /// `normal`
    Normal = 0,
    /// `pubsub`: subscribed to a channel or a pattern.
    PubSub = 1,
    /// `replica`
    Replica = 2,
}

impl ClientClass {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::Normal, Self::PubSub, Self::Replica];
}
