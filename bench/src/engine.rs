//! The engine alone: requests by function call, without sockets and event loops, on one thread and
//! on two. Rows with separate data show how much two threads lose to each other.

mod driver;
mod requests;
mod turns;

use std::path::PathBuf;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::report::{Section, Tables, median, number, spread};
use crate::sys;
use driver::{BATCHES_PER_TURN, Driver, Filled, Operation, Task, filled};
use requests::BATCH_REQUESTS;
use turns::{Counted, Turns};

/// Threads of the larger half of each comparison.
const THREADS: usize = 2;

/// Secret of the key hash: fixed, so that runs are alike.
const HASH_SEED: [u64; 2] = [0x6c6f_6465, 0x7374_6f72];

/// The command line of `engine`.
pub(crate) struct Options {
    keys: u64,
    value_len: usize,
    shards: usize,
    rounds: usize,
    slice: Duration,
    /// Substrings of row ids; empty means all rows.
    filter: Vec<String>,
    write: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Options> {
        let mut options = Options {
            keys: 1_000_000,
            value_len: 64,
            // As many as a server of two workers has.
            shards: 32,
            rounds: 9,
            slice: Duration::from_millis(400),
            filter: Vec::new(),
            write: None,
        };
        while let Some(word) = words.next() {
            let value = words
                .next()
                .with_context(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--keys" => options.keys = value.parse::<u64>()?.clamp(1, 100_000_000),
                "--value-len" => options.value_len = value.parse::<usize>()?.min(1 << 20),
                "--shards" => options.shards = value.parse()?,
                "--rounds" => options.rounds = value.parse::<usize>()?.clamp(1, 1000),
                "--slice" => {
                    let seconds = value.parse::<f64>()?.clamp(0.001, 60.0);
                    options.slice = Duration::try_from_secs_f64(seconds)?;
                }
                "--rows" => options.filter = value.split(',').map(str::to_owned).collect(),
                "--write" => options.write = Some(value.into()),
                _ => bail!("unknown option {word}"),
            }
        }
        Ok(options)
    }

    fn selects(&self, row: &Row) -> bool {
        let id = row.id();
        self.filter.is_empty() || self.filter.iter().any(|part| id.contains(part.as_str()))
    }

    fn fill(&self) -> Result<Filled> {
        let options = keyspace::Options {
            shards: self.shards,
            databases: 16,
            hash_seed: HASH_SEED,
        };
        filled(options, self.keys, self.value_len)
    }
}

/// Which data the two threads work on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Data {
    /// One engine for both, as in a server.
    Shared,
    /// One engine for both; each thread uses every second shard only.
    OwnShards,
    /// An engine each: the threads share nothing but the allocator.
    Apart,
}

/// A row of the table.
#[derive(Clone, Copy)]
struct Row {
    operation: Operation,
    looks_ahead: bool,
    data: Data,
}

impl Row {
    fn all() -> Vec<Row> {
        let mut rows = vec![Row {
            operation: Operation::Nothing,
            looks_ahead: false,
            data: Data::Apart,
        }];
        for operation in [Operation::Get, Operation::Set, Operation::Incr] {
            for looks_ahead in [true, false] {
                rows.extend(
                    [Data::Shared, Data::OwnShards, Data::Apart].map(|data| Row {
                        operation,
                        looks_ahead,
                        data,
                    }),
                );
            }
        }
        rows
    }

    fn name(&self) -> &'static str {
        match self.operation {
            Operation::Nothing => "keys and hashes only",
            Operation::Get => "GET",
            Operation::Set => "SET",
            Operation::Incr => "INCR",
        }
    }

    fn ahead(&self) -> &'static str {
        match (self.operation, self.looks_ahead) {
            (Operation::Nothing, _) => "",
            (_, true) => "over 32 requests",
            (_, false) => "none",
        }
    }

    fn engines(&self) -> &'static str {
        match self.data {
            Data::Shared => "one for both",
            Data::OwnShards => "one for both, own shards",
            Data::Apart => "one each",
        }
    }

    /// The id for `--rows`, for example `get-ahead-shared`.
    fn id(&self) -> String {
        let operation = match self.operation {
            Operation::Nothing => "nothing".to_owned(),
            _ => self.name().to_lowercase(),
        };
        let ahead = if self.looks_ahead { "ahead" } else { "plain" };
        let data = match self.data {
            Data::Shared => "shared",
            Data::OwnShards => "split",
            Data::Apart => "apart",
        };
        format!("{operation}-{ahead}-{data}")
    }
}

/// Requests of a turn.
const TURN_REQUESTS: f64 = (BATCH_REQUESTS * BATCHES_PER_TURN) as f64;

/// Turns that a thread must have undisturbed in a slice, for the slice to count.
const TURNS_MIN: u64 = 10;

/// One slice of load, by its undisturbed turns.
#[derive(Clone, Copy)]
struct Sample {
    /// Requests of all threads together.
    per_second: f64,
    /// Share of the slice that was undisturbed.
    quiet: f64,
}

impl Sample {
    /// `None` without enough undisturbed turns.
    fn of(threads: &[Turns]) -> Option<Sample> {
        let counted = |index: usize, turns| {
            let other = threads
                .iter()
                .enumerate()
                .find(|(other, _)| *other != index);
            Counted::of(turns, other.map(|(_, turns)| turns))
        };
        let counted: Vec<Counted> = threads
            .iter()
            .enumerate()
            .map(|(index, turns)| counted(index, turns))
            .collect();
        let all_ns: u64 = counted.iter().map(|counted| counted.all_ns).sum();
        let ns: u64 = counted.iter().map(|counted| counted.ns).sum();
        let rates = counted
            .iter()
            .map(|counted| counted.turns as f64 * TURN_REQUESTS * 1e9 / counted.ns as f64);
        let is_enough = counted.iter().all(|counted| counted.turns >= TURNS_MIN);
        is_enough.then(|| Sample {
            per_second: rates.sum(),
            quiet: ns as f64 / all_ns as f64,
        })
    }
}

/// A round: one thread on the first CPU, two threads, one thread on the second CPU.
#[derive(Clone, Copy)]
struct Round {
    first: Sample,
    both: Sample,
    second: Sample,
}

impl Round {
    fn one_per_second(&self) -> f64 {
        f64::midpoint(self.first.per_second, self.second.per_second)
    }

    fn one_ns(&self) -> f64 {
        1e9 / self.one_per_second()
    }

    /// Nanoseconds that each of two threads takes for a request.
    fn two_ns(&self) -> f64 {
        THREADS as f64 * 1e9 / self.both.per_second
    }

    /// Throughput of two threads divided by that of one.
    fn ratio(&self) -> f64 {
        self.both.per_second / self.one_per_second()
    }

    fn quiet(&self) -> f64 {
        (self.first.quiet + self.both.quiet + self.second.quiet) / 3.0
    }
}

/// Measures the selected rows.
pub(crate) fn run(options: &Options) -> Result<()> {
    let cpus = sys::allowed_cpus()?;
    let rows: Vec<Row> = Row::all()
        .into_iter()
        .filter(|row| options.selects(row))
        .collect();
    let mut tables = Tables::default();
    describe(options, &mut tables);
    eprintln!("filling {THREADS} engines with {} keys twice", options.keys);
    let engines = [options.fill()?, options.fill()?];
    for row in rows {
        eprintln!("measuring {}", row.id());
        let rounds = (0..options.rounds)
            .filter_map(|round| measure(options, &row, &engines, &cpus, round as u64).transpose())
            .collect::<Result<Vec<_>>>()
            .with_context(|| row.id())?;
        if rounds.is_empty() {
            eprintln!("{}: no round was undisturbed; use longer slices", row.id());
            continue;
        }
        add_line(&row, &rounds, &mut tables);
    }
    sys::pin(&cpus)?;
    println!("{}", tables.to_markdown());
    if let Some(path) = &options.write {
        tables.write_into(path)?;
    }
    Ok(())
}

fn describe(options: &Options, tables: &mut Tables) {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split_whitespace().take(3).collect();
    let lines = [
        ("processor", crate::processor()),
        ("load average at the start", load.join(" ")),
        (
            "data",
            format!(
                "{} strings of {} bytes and as many counters, {} shards",
                options.keys, options.value_len, options.shards
            ),
        ),
        (
            "rounds",
            format!(
                "up to {} per row, slices of {:.3} s",
                options.rounds,
                options.slice.as_secs_f64()
            ),
        ),
    ];
    for (what, value) in lines {
        tables.add(Section::EngineRun, vec![what.to_owned(), value]);
    }
}

fn measure(
    options: &Options,
    row: &Row,
    engines: &[Filled; THREADS],
    cpus: &[usize],
    round: u64,
) -> Result<Option<Round>> {
    let [first, second] = engines;
    let second = match row.data {
        Data::Shared | Data::OwnShards => first,
        Data::Apart => second,
    };
    let slice = |workers: &[Worker<'_>]| run_slice(options, row, workers, round);
    let engines = [first, second];
    let worker = |number: usize| Worker {
        number,
        engine: engines[number],
        cpu: cpus.get(number).or(cpus.first()).copied(),
    };
    let first = slice(&[worker(0)])?;
    let both = slice(&[worker(0), worker(1)])?;
    let second = slice(&[worker(1)])?;
    let round = first.zip(both).zip(second);
    Ok(round.map(|((first, both), second)| Round {
        first,
        both,
        second,
    }))
}

/// A thread of a slice: its place among the workers of the engine, and its CPU.
#[derive(Clone, Copy)]
struct Worker<'k> {
    number: usize,
    engine: &'k Filled,
    cpu: Option<usize>,
}

fn run_slice(
    options: &Options,
    row: &Row,
    workers: &[Worker<'_>],
    round: u64,
) -> Result<Option<Sample>> {
    let origin = Instant::now();
    let start = Barrier::new(workers.len());
    let name = |worker: &Worker<'_>| format!("{}-of-{}", worker.number, workers.len());
    let work = |worker: Worker<'_>| -> Result<Turns> {
        let pinned = worker.cpu.map_or(Ok(()), |cpu| sys::pin(&[cpu]));
        let task = Task {
            operation: row.operation,
            looks_ahead: row.looks_ahead,
            keys: options.keys,
            own_shards: row.data == Data::OwnShards,
            value_len: options.value_len,
            slice: options.slice,
            seed: round * 1000 + worker.number as u64 + 1,
        };
        // A failed pinning is returned after the run: the other thread waits at the barrier.
        let turns = Driver::new(worker.engine, worker.number).run(&task, origin, &start);
        pinned.map_err(anyhow::Error::from).and(turns)
    };
    let threads: Vec<Turns> = std::thread::scope(|scope| {
        let threads: Vec<_> = workers
            .iter()
            .map(|&worker| {
                let builder = std::thread::Builder::new().name(name(&worker));
                builder.spawn_scoped(scope, move || work(worker))
            })
            .collect::<Result<_, _>>()?;
        threads
            .into_iter()
            .map(|thread| {
                let turns = thread.join();
                turns.unwrap_or_else(|_| bail!("a thread panicked"))
            })
            .collect::<Result<Vec<Turns>>>()
    })?;
    Ok(Sample::of(&threads))
}

fn add_line(row: &Row, rounds: &[Round], tables: &mut Tables) {
    let middle = |figure: &dyn Fn(&Round) -> f64| number(median(rounds.iter().map(figure)));
    let cells = vec![
        row.name().to_owned(),
        row.ahead().to_owned(),
        row.engines().to_owned(),
        middle(&Round::one_ns),
        middle(&Round::two_ns),
        middle(&|round| round.one_per_second() / 1e6),
        middle(&|round| round.both.per_second / 1e6),
        spread(rounds.iter().map(Round::ratio)),
        format!(
            "{} of {:.0} %",
            rounds.len(),
            100.0 * median(rounds.iter().map(Round::quiet))
        ),
    ];
    tables.add(Section::Engine, cells);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn sample(per_second: f64) -> Sample {
        Sample {
            per_second,
            quiet: 1.0,
        }
    }

    #[test]
    fn ratios_compare_two_threads_with_the_mean_of_each_alone() {
        let round = Round {
            first: sample(2e6),
            both: sample(3.6e6),
            second: sample(2e6),
        };
        assert!((round.ratio() - 1.8).abs() < 1e-9);
        assert!((round.one_ns() - 500.0).abs() < 1e-9);
        assert!((round.two_ns() - 2000.0 / 3.6).abs() < 1e-9);
    }

    #[test]
    fn a_sample_adds_its_threads_up() {
        let turns = |length_ns: u64, count: u64| -> Turns {
            let turn = |index| turns::Turn {
                began_ns: index * length_ns,
                ended_ns: (index + 1) * length_ns,
                cpu_ns: length_ns,
            };
            (0..count).map(turn).collect()
        };
        let sample = Sample::of(&[turns(1000, 20), turns(2000, 10)]).expect("quiet");
        assert!((sample.per_second - TURN_REQUESTS * 1.5e6).abs() < 1.0);
        assert!((sample.quiet - 1.0).abs() < 1e-9);
        assert!(Sample::of(&[turns(1000, 9)]).is_none());
    }

    #[test]
    fn rows_have_ids_of_their_own_and_are_selected_by_parts() {
        let rows = Row::all();
        let ids: HashSet<String> = rows.iter().map(Row::id).collect();
        assert_eq!(ids.len(), rows.len());
        let words = ["--rows", "get-ahead,nothing"].map(str::to_owned);
        let options = Options::parse(words.into_iter()).expect("options");
        let selected: Vec<String> = rows
            .iter()
            .filter(|row| options.selects(row))
            .map(Row::id)
            .collect();
        let expected = [
            "nothing-plain-apart",
            "get-ahead-shared",
            "get-ahead-split",
            "get-ahead-apart",
        ];
        assert_eq!(selected, expected);
    }

    #[test]
    fn options_with_mistakes_are_refused() {
        let parse = |words: &[&str]| Options::parse(words.iter().map(|word| (*word).to_owned()));
        assert!(parse(&["--rounds"]).is_err());
        assert!(parse(&["--rounds", "many"]).is_err());
        assert!(parse(&["--server", "x"]).is_err());
    }

    #[test]
    fn a_row_is_measured_from_end_to_end() {
        let words = ["--keys", "50", "--rounds", "1", "--slice", "0.002"].map(str::to_owned);
        let options = Options::parse(words.into_iter()).expect("options");
        let engines = [
            options.fill().expect("filled"),
            options.fill().expect("filled"),
        ];
        for row in Row::all() {
            // Too short for a sample on a busy machine; errors are not.
            let round = measure(&options, &row, &engines, &[], 0).expect("no error");
            assert!(round.is_none_or(|round| round.ratio() > 0.0));
        }
    }
}
