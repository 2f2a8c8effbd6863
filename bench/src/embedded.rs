//! A store inside of a program: GET and SET by function call against the same over loopback, and
//! against plain maps. All in this process and in one run, so the ratios need no other machine.

use std::collections::HashMap;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use ::lodestore::{Client, Store, Value};
use anyhow::{Context, Result, bail};

use crate::report::{Section, Tables, median, number, spread};
use crate::sys;
use crate::workload::Random;

/// Requests between two looks at the clock.
const STEP: usize = 100;

/// The command line of `embedded`.
pub(crate) struct Options {
    keys: u64,
    value_len: usize,
    rounds: usize,
    slice: Duration,
    write: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Options> {
        let mut options = Options {
            keys: 1_000_000,
            value_len: 64,
            rounds: 7,
            slice: Duration::from_millis(300),
            write: None,
        };
        while let Some(word) = words.next() {
            let value = words
                .next()
                .with_context(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--keys" => options.keys = value.parse::<u64>()?.clamp(1, 100_000_000),
                "--value-len" => options.value_len = value.parse::<usize>()?.min(1 << 20),
                "--rounds" => options.rounds = value.parse::<usize>()?.clamp(1, 1000),
                "--slice" => {
                    let seconds = value.parse::<f64>()?.clamp(0.001, 60.0);
                    options.slice = Duration::try_from_secs_f64(seconds)?;
                }
                "--write" => options.write = Some(value.into()),
                _ => bail!("unknown option {word}"),
            }
        }
        Ok(options)
    }
}

/// What keeps the data.
trait Place {
    fn name(&self) -> &'static str;
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()>;
    /// Fails when there is no such key.
    fn get(&mut self, key: &[u8]) -> Result<()>;
}

struct Called(Client);

impl Place for Called {
    fn name(&self) -> &'static str {
        "a call of the store"
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.0.set(key, value)?)
    }

    fn get(&mut self, key: &[u8]) -> Result<()> {
        black_box(self.0.get(key)?.context("no such key")?);
        Ok(())
    }
}

/// The same store over loopback, one request at a time.
struct Loopback {
    stream: TcpStream,
    request: Vec<u8>,
    reply: Vec<u8>,
}

impl Loopback {
    fn run(&mut self, args: &[&[u8]]) -> Result<Value> {
        self.request.clear();
        resp::request::encode(&mut self.request, args);
        self.stream.write_all(&self.request)?;
        let mut filled = 0;
        loop {
            let got = self
                .stream
                .read(self.reply.get_mut(filled..).unwrap_or_default())?;
            if got == 0 {
                bail!("the connection ended, or the reply is longer than expected");
            }
            filled += got;
            let bytes = self.reply.get(..filled).unwrap_or_default();
            if let Some((value, _)) = resp::decode(bytes)? {
                return Ok(value);
            }
        }
    }
}

impl Place for Loopback {
    fn name(&self) -> &'static str {
        "the same store over loopback"
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.run(&[b"SET", key, value]).map(|_| ())
    }

    fn get(&mut self, key: &[u8]) -> Result<()> {
        match black_box(self.run(&[b"GET", key])?) {
            Value::Bulk(_) => Ok(()),
            other => bail!("no such key: {other:?}"),
        }
    }
}

struct Locked(Mutex<HashMap<Vec<u8>, Vec<u8>>>);

impl Place for Locked {
    fn name(&self) -> &'static str {
        "Mutex<HashMap>"
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut map = self.0.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
        map.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn get(&mut self, key: &[u8]) -> Result<()> {
        let map = self.0.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
        black_box(map.get(key).context("no such key")?.clone());
        Ok(())
    }
}

#[cfg(feature = "moka")]
struct Moka(moka::sync::Cache<Vec<u8>, Vec<u8>>);

#[cfg(feature = "moka")]
impl Place for Moka {
    fn name(&self) -> &'static str {
        "moka::sync::Cache"
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.0.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn get(&mut self, key: &[u8]) -> Result<()> {
        black_box(self.0.get(key).context("no such key")?);
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Get,
    Set,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Operation::Get => "GET",
            Operation::Set => "SET",
        }
    }
}

/// Nanoseconds of CPU time that the whole process takes for a request, the threads of the store
/// included.
fn measure(
    place: &mut dyn Place,
    operation: Operation,
    options: &Options,
    random: &mut Random,
) -> Result<f64> {
    let value = vec![b'v'; options.value_len];
    let pid = std::process::id();
    let began = std::time::Instant::now();
    let cpu_ns = sys::process_cpu_ns(pid)?;
    let mut requests = 0;
    while began.elapsed() < options.slice {
        for _ in 0..STEP {
            let key = key(random.below(options.keys));
            match operation {
                Operation::Get => place.get(&key)?,
                Operation::Set => place.set(&key, &value)?,
            }
        }
        requests += STEP;
    }
    Ok((sys::process_cpu_ns(pid)? - cpu_ns) as f64 / requests as f64)
}

fn key(number: u64) -> Vec<u8> {
    format!("key:{number:012}").into_bytes()
}

fn places(options: &Options) -> Result<Vec<Box<dyn Place>>> {
    let store = Store::options().port(0).set("threads", "1").open()?;
    let port = store.port().context("no port")?;
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    let loopback = Loopback {
        stream,
        request: Vec::new(),
        reply: vec![0; options.value_len + 64],
    };
    let mut called = Called(store.client());
    let mut locked = Locked(Mutex::default());
    #[cfg(feature = "moka")]
    let mut moka = Moka(moka::sync::Cache::new(options.keys * 2));
    let value = vec![b'v'; options.value_len];
    for number in 0..options.keys {
        let key = key(number);
        called.set(&key, &value)?;
        locked.set(&key, &value)?;
        #[cfg(feature = "moka")]
        moka.set(&key, &value)?;
    }
    Ok(vec![
        Box::new(called),
        Box::new(loopback),
        Box::new(locked),
        #[cfg(feature = "moka")]
        Box::new(moka),
    ])
}

/// Measures all places, round by round.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut places = places(options)?;
    let mut random = Random::new(1);
    let mut tables = Tables::default();
    for operation in [Operation::Get, Operation::Set] {
        let mut figures = vec![Vec::new(); places.len()];
        for _ in 0..options.rounds {
            for (place, figures) in places.iter_mut().zip(&mut figures) {
                figures.push(measure(&mut **place, operation, options, &mut random)?);
            }
        }
        let own = figures.first().cloned().unwrap_or_default();
        for (place, figures) in places.iter().zip(&figures) {
            let ratios = figures.iter().zip(&own).map(|(other, own)| other / own);
            let cells = vec![
                operation.name().to_owned(),
                place.name().to_owned(),
                number(median(figures.iter().copied()) / 1000.0),
                spread(ratios),
            ];
            tables.add(Section::Embedded, cells);
        }
    }
    println!("{}\n{}", crate::processor(), tables.to_markdown());
    if let Some(path) = &options.write {
        tables.write_into(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_measured() {
        let words = ["--keys", "50", "--rounds", "1", "--slice", "0.002"].map(str::to_owned);
        let options = Options::parse(words.into_iter()).expect("options");
        let mut random = Random::new(7);
        // The store is open while the first of them is there.
        let mut places = places(&options).expect("places");
        for place in &mut places {
            for operation in [Operation::Set, Operation::Get] {
                let cost = measure(&mut **place, operation, &options, &mut random);
                assert!(cost.expect("measured") > 0.0, "{}", place.name());
            }
            assert!(place.get(b"none").is_err(), "{}", place.name());
        }
    }
}
