//! Two servers, the same random commands, the same replies: `cargo xtask differential`.
//!
//! Batches of commands go to both; replies are compared one by one, and after each batch the
//! digests and encodings of all keys. Random replies are compared by shape; members that the server
//! takes at random are removed from the peer, too. A run is repeated by its seed.

mod connection;
mod events;
mod grammar;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use resp::Value;

use connection::Connection;
use events::Events;
use grammar::{Compare, Generator, Template};

const USAGE: &str = "usage: cargo xtask differential --peer PATH [options]

  --peer PATH       valkey-server 9.1
  --server PATH     the server to test; default: target/release/lodestore
  --commands N      how many commands; default: 200000
  --seed N          default: 1
  --batch N         commands between two looks at digests and encodings; default: 100
  --encodings yes   compares OBJECT ENCODING, too; it differs where Valkey converts for reasons of its own
                    (SORT of sorted sets, failed LSET and LINSERT, node boundaries, its set estimates)
  --events yes      compares keyspace events, too, but those of expiry
  --only WORD       only templates that contain it, besides those that write";

/// Commands between two fresh starts with other limits of the packed encodings.
const ROUND: usize = 5_000;
/// Differences that are reported before the run ends.
const REPORTS_MAX: usize = 10;

const TEMPLATES: &str = include_str!("templates.txt");

/// Limits of the packed encodings, so small that collections convert all the time; then the
/// defaults.
const LIMITS: [&[&str]; 4] = [
    &["4", "8", "4", "6", "8", "5", "8", "3", "0"],
    &["16", "64", "16", "12", "64", "12", "64", "-1", "1"],
    &["512", "64", "512", "128", "64", "128", "64", "-2", "0"],
    &["1", "4", "2", "2", "4", "1", "4", "2", "2"],
];

const LIMIT_NAMES: [&str; 9] = [
    "hash-max-listpack-entries",
    "hash-max-listpack-value",
    "set-max-intset-entries",
    "set-max-listpack-entries",
    "set-max-listpack-value",
    "zset-max-listpack-entries",
    "zset-max-listpack-value",
    "list-max-listpack-size",
    "list-compress-depth",
];

struct Options {
    server: PathBuf,
    peer: PathBuf,
    commands: usize,
    seed: u64,
    batch: usize,
    encodings: bool,
    events: bool,
    only: Option<String>,
}

/// Runs it.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let options = parse(words)?;
    let templates = templates(options.only.as_deref())?;
    let mut ours = Server::start(&options.server, &["--appendonly", "no"], options.events)?;
    let mut peer = Server::start(
        &options.peer,
        &["--save", "", "--appendonly", "no"],
        options.events,
    )?;
    for server in [&mut ours, &mut peer] {
        server.ask(&["DEBUG", "SET-ACTIVE-EXPIRE", "1"])?;
    }
    let mut generator = Generator::new(options.seed);
    let mut report = Report::default();
    let began = Instant::now();
    let mut done = 0;
    let mut round = usize::MAX;
    while done < options.commands && report.differences < REPORTS_MAX {
        if done / ROUND != round {
            round = done / ROUND;
            let limits = LIMITS[(done / ROUND) % LIMITS.len()];
            for server in [&mut ours, &mut peer] {
                server.begin_round(limits)?;
            }
            report.history.clear();
        }
        let protocol = if generator.below(4) == 0 { "3" } else { "2" };
        for server in [&mut ours, &mut peer] {
            server.ask(&["HELLO", protocol])?;
        }
        let batch: Vec<(Compare, Vec<Vec<u8>>)> = (0..options.batch)
            .map(|_| {
                let template = &templates[generator.below(templates.len() as u64) as usize];
                (template.compare, generator.command(template))
            })
            .collect();
        run_batch(&mut ours, &mut peer, &batch, &mut report)?;
        compare_events(&mut ours, &mut peer, &mut report)?;
        compare_state(&mut ours, &mut peer, &batch, options.encodings, &mut report)?;
        done += options.batch;
    }
    println!(
        "{done} commands with seed {}, {} events, {} differences, {} s",
        options.seed,
        report.events,
        report.differences,
        began.elapsed().as_secs()
    );
    report.print_counts();
    if report.differences > 0 {
        bail!("the servers differ");
    }
    Ok(())
}

fn parse(words: &[String]) -> Result<Options> {
    let mut options = Options {
        server: PathBuf::from("target/release/lodestore"),
        peer: PathBuf::new(),
        commands: 200_000,
        seed: 1,
        batch: 100,
        encodings: false,
        events: false,
        only: None,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let value = words.next().context(USAGE)?;
        match word.as_str() {
            "--server" => options.server = value.into(),
            "--peer" => options.peer = value.into(),
            "--commands" => options.commands = value.parse()?,
            "--seed" => options.seed = value.parse()?,
            "--encodings" => options.encodings = value == "yes",
            "--events" => options.events = value == "yes",
            "--batch" => options.batch = value.parse::<usize>()?.clamp(1, ROUND),
            "--only" => options.only = Some(value.clone()),
            _ => bail!("{USAGE}"),
        }
    }
    if options.peer.as_os_str().is_empty() {
        bail!("{USAGE}");
    }
    Ok(options)
}

fn templates(only: Option<&str>) -> Result<Vec<Template>> {
    let mut all = Vec::new();
    for line in TEMPLATES.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with("# ") {
            continue;
        }
        let (weight, line) = match line.split_once(' ') {
            Some((weight, rest)) if weight.parse::<usize>().is_ok() => {
                (weight.parse::<usize>()?, rest)
            }
            _ => (1, line),
        };
        let fills = weight >= 120;
        if only.is_some_and(|only| !line.contains(only)) && !fills {
            continue;
        }
        for _ in 0..weight {
            all.push(Template::parse(line)?);
        }
    }
    Ok(all)
}

/// The differences found, and the commands before them.
#[derive(Default)]
struct Report {
    differences: usize,
    /// Keyspace events that were compared.
    events: usize,
    history: Vec<Vec<Vec<u8>>>,
    counts: BTreeMap<Vec<u8>, usize>,
}

impl Report {
    fn difference(&mut self, command: &[Vec<u8>], ours: &str, theirs: &str) {
        self.differences += 1;
        println!("\n{}\n  ours:   {ours}\n  theirs: {theirs}", show(command));
        let keys: Vec<&Vec<u8>> = command.iter().skip(1).filter(|word| is_key(word)).collect();
        let related: Vec<&Vec<Vec<u8>>> = self
            .history
            .iter()
            .filter(|past| past.iter().any(|word| keys.contains(&word)))
            .collect();
        println!("  before:");
        for past in related.iter().rev().take(12).rev() {
            println!("    {}", show(past));
        }
    }

    fn print_counts(&self) {
        let line: Vec<String> = self
            .counts
            .iter()
            .map(|(name, count)| format!("{} {count}", String::from_utf8_lossy(name)))
            .collect();
        println!("{}", line.join(", "));
    }
}

fn is_key(word: &[u8]) -> bool {
    matches!(
        word,
        [
            b'l' | b's' | b'h' | b'z' | b't' | b'y' | b'm' | b'j' | b'v',
            b'0'..=b'9'
        ]
    )
}

fn show(command: &[Vec<u8>]) -> String {
    let words: Vec<String> = command
        .iter()
        .map(|word| match word.is_empty() {
            true => "''".to_owned(),
            false => word.escape_ascii().to_string(),
        })
        .collect();
    words.join(" ")
}

/// A reply for people.
fn text(value: &Value) -> String {
    let list = |elements: &[Value]| elements.iter().map(text).collect::<Vec<_>>().join(" ");
    match value {
        Value::Bulk(bytes) => format!("\"{}\"", bytes.escape_ascii()),
        Value::Simple(bytes) => format!("+{}", bytes.escape_ascii()),
        Value::Error(bytes) => format!("-{}", bytes.escape_ascii()),
        Value::Integer(number) => number.to_string(),
        Value::Array(elements) => format!("[{}]", list(elements)),
        Value::Set(elements) => format!("~[{}]", list(elements)),
        other => format!("{other:?}"),
    }
}

fn run_batch(
    ours: &mut Server,
    peer: &mut Server,
    batch: &[(Compare, Vec<Vec<u8>>)],
    report: &mut Report,
) -> Result<()> {
    // A command that takes members at random ends a run of pipelined commands, because the peer
    // needs its reply first. So does a payload, which depends on the value at that time.
    let ends = |compare: &Compare| matches!(compare, Compare::Popped | Compare::Exchanged);
    for part in batch.split_inclusive(|(compare, _)| ends(compare)) {
        for (_, command) in part {
            ours.send(command);
        }
        let mine = ours.receive(part.len())?;
        for ((compare, command), reply) in part.iter().zip(&mine) {
            match compare {
                Compare::Popped => peer.send(&same_pop(command, reply)),
                _ => peer.send(command),
            }
        }
        let theirs = peer.receive(part.len())?;
        for (((compare, command), mine), theirs) in part.iter().zip(&mine).zip(&theirs) {
            let same = match compare {
                Compare::Exchanged => exchange(ours, peer, command, mine, theirs)?,
                compare => agree(*compare, mine, theirs),
            };
            if !same {
                report.difference(command, &text(mine), &text(theirs));
            }
            let name = command.first().cloned().unwrap_or_default();
            *report.counts.entry(name).or_default() += 1;
            report.history.push(command.clone());
        }
    }
    Ok(())
}

/// Each server restores the payload of the other. True when all four values are the same.
fn exchange(
    ours: &mut Server,
    peer: &mut Server,
    command: &[Vec<u8>],
    mine: &Value,
    theirs: &Value,
) -> Result<bool> {
    const NAME: &str = "exchanged";
    let (Some(key), Some(from_us), Some(from_peer)) =
        (command.get(1), mine.as_bytes(), theirs.as_bytes())
    else {
        return Ok(agree(Compare::Exact, mine, theirs));
    };
    let mut digests = BTreeSet::new();
    for (server, payload) in [(ours, from_peer), (peer, from_us)] {
        let restore: [&[u8]; 4] = [b"RESTORE", NAME.as_bytes(), b"0", payload];
        server.send(&restore.map(<[u8]>::to_vec));
        let reply = server.receive(1)?;
        if reply.iter().any(Value::is_error) {
            return Ok(false);
        }
        server.send(&[b"PERSIST".to_vec(), key.clone()]);
        server.receive(1)?;
        for name in [key.as_slice(), NAME.as_bytes()] {
            server.send(&[b"DEBUG".to_vec(), b"DIGEST-VALUE".to_vec(), name.to_vec()]);
            digests.extend(server.receive(1)?.iter().map(text));
        }
        server.ask(&["DEL", NAME])?;
    }
    Ok(digests.len() == 1)
}

/// The keyspace events of the batch, in their order.
fn compare_events(ours: &mut Server, peer: &mut Server, report: &mut Report) -> Result<()> {
    let (Some(ours), Some(peer)) = (&mut ours.events, &mut peer.events) else {
        return Ok(());
    };
    let (mine, theirs) = (ours.take()?, peer.take()?);
    report.events += mine.len();
    if let Some((mine, theirs)) = events::difference(&mine, &theirs) {
        report.difference(&[b"events".to_vec()], &mine, &theirs);
    }
    Ok(())
}

/// Digest and encoding of every key that the batch names.
fn compare_state(
    ours: &mut Server,
    peer: &mut Server,
    batch: &[(Compare, Vec<Vec<u8>>)],
    encodings: bool,
    report: &mut Report,
) -> Result<()> {
    let words = batch.iter().flat_map(|(_, command)| command);
    let keys: BTreeSet<String> = words
        .filter(|word| is_key(word))
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    for key in &keys {
        for question in [
            &["DEBUG", "DIGEST-VALUE", key][..],
            &["OBJECT", "ENCODING", key][..],
            &["PEXPIRETIME", key][..],
        ] {
            let is_encoding = question.contains(&"ENCODING");
            if is_encoding && (!encodings || key.starts_with(['t', 'm'])) {
                continue;
            }
            let (mine, theirs) = (ours.ask(question)?, peer.ask(question)?);
            // SORT converts sorted sets in Valkey; some lie under the names of lists and sets.
            let is_sorted = !key.starts_with(['z', 'y']) && theirs.as_bytes() == Some(b"skiplist");
            if mine != theirs && !is_sorted {
                let command: Vec<Vec<u8>> = question.iter().map(|word| (*word).into()).collect();
                report.difference(&command, &text(&mine), &text(&theirs));
            }
        }
    }
    Ok(())
}

/// The command that takes from the peer what was taken from the server.
fn same_pop(command: &[Vec<u8>], reply: &Value) -> Vec<Vec<u8>> {
    let key = command.get(1).cloned().unwrap_or_default();
    let mut words = vec![b"SREM".to_vec(), key];
    match reply {
        Value::Bulk(member) => words.push(member.clone()),
        Value::Array(members) | Value::Set(members) if !members.is_empty() => {
            words.extend(
                members
                    .iter()
                    .filter_map(|it| it.as_bytes().map(<[u8]>::to_vec)),
            );
        }
        // Nothing was taken; an error must be the peer's, too.
        _ => return command.to_vec(),
    }
    words
}

fn agree(compare: Compare, mine: &Value, theirs: &Value) -> bool {
    match compare {
        _ if mine.is_error() || theirs.is_error() => mine == theirs,
        Compare::Exact => mine == theirs,
        Compare::Unordered => sorted(mine) == sorted(theirs),
        Compare::Pairs => pairs(mine) == pairs(theirs),
        Compare::Shape | Compare::Exchanged => shape(mine) == shape(theirs),
        Compare::Scan => match (mine, theirs) {
            (Value::Array(mine), Value::Array(theirs)) => {
                mine.first() == theirs.first()
                    && mine.get(1).map(sorted) == theirs.get(1).map(sorted)
            }
            _ => false,
        },
        Compare::Popped => match (mine, theirs) {
            (Value::Bulk(_), Value::Integer(1)) => true,
            (Value::Array(taken) | Value::Set(taken), Value::Integer(count)) => {
                taken.len() as i64 == *count
            }
            _ => mine == theirs,
        },
    }
}

fn sorted(value: &Value) -> Vec<String> {
    let elements = match value {
        Value::Array(elements) | Value::Set(elements) => elements,
        other => return vec![format!("{other:?}")],
    };
    let mut texts: Vec<String> = elements.iter().map(|it| format!("{it:?}")).collect();
    texts.sort_unstable();
    texts
}

fn pairs(value: &Value) -> Vec<String> {
    let mut texts: Vec<String> = match value {
        Value::Map(pairs) => pairs.iter().map(|pair| format!("{pair:?}")).collect(),
        Value::Array(flat) => flat.chunks(2).map(|pair| format!("{pair:?}")).collect(),
        other => vec![format!("{other:?}")],
    };
    texts.sort_unstable();
    texts
}

fn shape(value: &Value) -> (&'static str, usize) {
    match value {
        Value::Array(elements) => ("array", elements.len()),
        Value::Set(elements) => ("set", elements.len()),
        Value::Map(pairs) => ("map", pairs.len()),
        Value::Null | Value::NullBulk | Value::NullArray => ("null", 0),
        Value::Bulk(_) => ("bulk", 1),
        _ => ("other", 0),
    }
}

/// A server and a connection to it.
struct Server {
    child: Child,
    connection: Connection,
    events: Option<Events>,
    dir: PathBuf,
}

impl Server {
    fn start(path: &Path, args: &[&str], with_events: bool) -> Result<Server> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port();
        let dir = std::env::temp_dir().join(format!("lodestore-differential-{port}"));
        std::fs::create_dir_all(&dir)?;
        let child = Command::new(path)
            .args(["--port", &port.to_string(), "--enable-debug-command", "yes"])
            .args(["--dir".as_ref(), dir.as_os_str()])
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", path.display()))?;
        let deadline = Instant::now() + Duration::from_secs(20);
        let connection = loop {
            match Connection::open(port) {
                Ok(connection) => break connection,
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        Ok(Server {
            child,
            connection,
            events: with_events.then(|| Events::listen(port)).transpose()?,
            dir,
        })
    }

    fn begin_round(&mut self, limits: &[&str]) -> Result<()> {
        self.ask(&["FLUSHALL"])?;
        for (name, value) in LIMIT_NAMES.iter().zip(limits) {
            let reply = self.ask(&["CONFIG", "SET", name, value])?;
            if reply.is_error() {
                bail!("CONFIG SET {name} {value}: {reply:?}");
            }
        }
        Ok(())
    }

    fn send(&mut self, command: &[Vec<u8>]) {
        self.connection.send(command);
    }

    fn receive(&mut self, count: usize) -> Result<Vec<Value>> {
        self.connection.receive(count)
    }

    fn ask(&mut self, words: &[&str]) -> Result<Value> {
        self.connection.ask(words)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
