//! A thread that runs requests of an engine for one slice of time, as a worker of the server does.

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use ::engine::client::{ClientShared, Peer};
use ::engine::engine::Engine;
use ::engine::execute::{Execution, Executor, Handlers, Request, Verdict};
use ::engine::session::{Origin, Session};
use ::engine::table::Resolved;
use anyhow::{Result, bail};
use keyspace::KeyHash;
use resp::Output;

use super::THREADS;
use super::requests::{BATCH_REQUESTS, Requests};
use super::turns::{Turn, Turns};
use crate::sys;
use crate::workload::Random;

/// Batches between two readings of the clock. A turn of the event loop has some hundred requests
/// as well.
pub(super) const BATCHES_PER_TURN: usize = 16;

/// The load of a slice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// Draws and hashes keys without running a request: the cost of the measurement itself, and
    /// the ratio of two CPUs without any shared data.
    Nothing,
    Get,
    Set,
    Incr,
}

impl Operation {
    pub(super) fn requests(self, value: &[u8]) -> Requests {
        match self {
            Operation::Nothing | Operation::Get => Requests::new("GET", "key:", None),
            Operation::Set => Requests::new("SET", "key:", Some(value)),
            // Counters live beside the other keys, because those hold text.
            Operation::Incr => Requests::new("INCR", "cnt:", None),
        }
    }
}

/// A slice of load on one thread.
#[derive(Clone, Copy)]
pub(super) struct Task {
    pub(super) operation: Operation,
    /// Prefetches buckets and entries of a batch before its requests are run.
    pub(super) looks_ahead: bool,
    pub(super) keys: u64,
    /// Draws keys of every second shard only, beginning with the number of the worker.
    pub(super) own_shards: bool,
    pub(super) value_len: usize,
    pub(super) slice: Duration,
    pub(super) seed: u64,
}

/// A client without a connection, and the executor of its thread.
pub(super) struct Driver<'k> {
    engine: &'k Engine,
    executor: Executor,
    session: Session,
    output: Output,
    hashes: Vec<KeyHash>,
}

impl<'k> Driver<'k> {
    /// A driver in the place of the worker with this number.
    pub(super) fn new(data: &'k Filled, worker: usize) -> Driver<'k> {
        let engine = &data.engine;
        let id = engine.clients.next_id();
        let user = Arc::clone(engine.users.default_user());
        let client = ClientShared::new(id, Peer::None, &Peer::None, -1, engine.now_ms(), worker);
        Driver {
            engine,
            executor: Executor::new(engine, data.handlers, worker),
            session: Session::new(Arc::new(client), Origin::Client, Some(user)),
            output: Output::new(),
            hashes: Vec::with_capacity(BATCH_REQUESTS),
        }
    }

    /// Runs random requests until the slice is over. Times are relative to `origin`.
    pub(super) fn run(&mut self, task: &Task, origin: Instant, start: &Barrier) -> Result<Turns> {
        let value = vec![b'v'; task.value_len];
        let mut requests = task.operation.requests(&value);
        let mut random = Random::new(task.seed);
        let mut turns = Turns::default();
        let clocks = || -> Result<(u64, u64)> {
            let now = origin.elapsed().as_nanos();
            Ok((u64::try_from(now)?, sys::thread_cpu_ns()?))
        };
        start.wait();
        let (mut began_ns, mut cpu_ns) = clocks()?;
        let end_ns = began_ns + u64::try_from(task.slice.as_nanos())?;
        while began_ns < end_ns {
            self.turn(task, &mut requests, &mut random)?;
            let (now_ns, now_cpu_ns) = clocks()?;
            turns.push(Turn {
                began_ns,
                ended_ns: now_ns,
                cpu_ns: now_cpu_ns - cpu_ns,
            });
            (began_ns, cpu_ns) = (now_ns, now_cpu_ns);
        }
        Ok(turns)
    }

    fn turn(&mut self, task: &Task, requests: &mut Requests, random: &mut Random) -> Result<()> {
        self.executor.refresh_clock(self.engine);
        for _ in 0..BATCHES_PER_TURN {
            if task.own_shards {
                let worker = self.executor.worker;
                let keyspace = &self.engine.keyspace;
                let is_own = |key: &[u8]| keyspace.shard_of(keyspace.hash(key)) % THREADS == worker;
                requests.draw_where(random, task.keys, is_own);
            } else {
                requests.draw(random, task.keys);
            }
            if task.operation == Operation::Nothing {
                self.hash(requests);
                std::hint::black_box(&self.hashes);
            } else {
                self.offer(requests, task.looks_ahead)?;
            }
        }
        Ok(())
    }

    /// Runs one batch; every request must succeed.
    pub(super) fn offer(&mut self, requests: &Requests, looks_ahead: bool) -> Result<()> {
        let command = self.engine.commands.resolve(requests.args(0));
        if looks_ahead {
            self.look_ahead(requests);
        }
        for index in 0..BATCH_REQUESTS {
            let hash = looks_ahead.then(|| self.hashes.get(index).copied());
            self.offer_one(requests, index, command, hash.flatten())?;
        }
        // The event loop writes the replies to the socket here.
        self.output.clear();
        Ok(())
    }

    fn offer_one(
        &mut self,
        requests: &Requests,
        index: usize,
        command: Resolved,
        hash: Option<KeyHash>,
    ) -> Result<()> {
        let mut execution = Execution {
            exec: &mut self.executor,
            engine: self.engine,
            session: &mut self.session,
            out: &mut self.output,
            right: None,
            turn: None,
        };
        let args = requests.args(index);
        let request = Request {
            args,
            command,
            hash,
        };
        match execution.request(&request, &mut None) {
            Verdict::Done => Ok(()),
            Verdict::Failed(error) => bail!("{args:?}: {}", String::from_utf8_lossy(&error.text())),
            Verdict::Blocked | Verdict::Postponed => bail!("{args:?} waits"),
        }
    }

    fn hash(&mut self, requests: &Requests) {
        let keyspace = &self.engine.keyspace;
        let hashes = (0..BATCH_REQUESTS).map(|index| keyspace.hash(requests.args(index).arg(1)));
        self.hashes.clear();
        self.hashes.extend(hashes);
    }

    /// The look-ahead of the event loop: all buckets, then all entries.
    fn look_ahead(&mut self, requests: &Requests) {
        let keyspace = &self.engine.keyspace;
        self.hashes.clear();
        for index in 0..BATCH_REQUESTS {
            let hash = keyspace.hash(requests.args(index).arg(1));
            keyspace.prefetch_bucket(0, hash);
            self.hashes.push(hash);
        }
        for hash in &self.hashes {
            keyspace.prefetch_entry(0, *hash);
        }
    }
}

/// An engine, and what runs its commands.
pub(super) struct Filled {
    engine: Engine,
    handlers: Handlers,
}

impl std::ops::Deref for Filled {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

/// An engine of two workers with `keys` strings and as many counters, without an append-only file.
pub(super) fn filled(options: keyspace::Options, keys: u64, value_len: usize) -> Result<Filled> {
    let engine = empty(options)?;
    let mut driver = Driver::new(&engine, 0);
    let value = vec![b'v'; value_len];
    let mut fill = |mut requests: Requests| -> Result<()> {
        let mut first = 0;
        while first < keys {
            requests.number(|index| (first + index as u64).min(keys - 1));
            driver.offer(&requests, false)?;
            first += BATCH_REQUESTS as u64;
        }
        Ok(())
    };
    fill(Operation::Set.requests(&value))?;
    fill(Requests::new("SET", "cnt:", Some(b"1000000")))?;
    Ok(engine)
}

fn empty(options: keyspace::Options) -> Result<Filled> {
    use ::engine::clock::Clock;
    use ::engine::commands::GROUPS;
    use ::engine::config::Config;
    use ::engine::engine::Parts;
    use ::engine::execute::command_table;
    let (commands, handlers) = command_table(GROUPS, &[]).map_err(anyhow::Error::msg)?;
    let engine = Engine::new(Parts {
        seed: 1,
        clock: Clock::default(),
        config: Config::default(),
        commands,
        keyspace: keyspace::Keyspace::new(options),
        log: persist::Log::new(Arc::new(persist::Disk), persist::LogOptions::default()),
        workers: THREADS,
    });
    Ok(Filled { engine, handlers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine() -> Filled {
        let options = keyspace::Options {
            shards: 16,
            databases: 1,
            hash_seed: [1, 2],
        };
        filled(options, 100, 8).expect("filled")
    }

    #[test]
    fn requests_reach_the_data() {
        let engine = engine();
        let keys = |engine: &Engine| -> usize {
            let locked = engine.keyspace.lock_all();
            locked.shards().map(|shard| shard.len(0)).sum()
        };
        assert_eq!(keys(&engine), 200);
        let mut driver = Driver::new(&engine, 1);
        let hits = || engine.totals().keyspace_hits;
        for looks_ahead in [false, true] {
            let before = hits();
            let mut requests = Operation::Get.requests(b"");
            requests.draw(&mut Random::new(3), 100);
            driver.offer(&requests, looks_ahead).expect("GET");
            assert_eq!(hits() - before, BATCH_REQUESTS as u64);
        }
        assert_eq!(keys(&engine), 200);
    }

    #[test]
    fn an_error_ends_the_slice() {
        let engine = engine();
        let mut driver = Driver::new(&engine, 0);
        // The strings are no numbers.
        let requests = Requests::new("INCR", "key:", None);
        let error = driver.offer(&requests, false).expect_err("INCR of text");
        assert!(format!("{error:#}").contains("not an integer"), "{error:#}");
    }

    #[test]
    fn a_slice_counts_its_requests() {
        let engine = engine();
        let task = Task {
            operation: Operation::Incr,
            looks_ahead: true,
            keys: 100,
            own_shards: false,
            value_len: 8,
            slice: Duration::from_millis(5),
            seed: 1,
        };
        let mut driver = Driver::new(&engine, 1);
        let turns = driver.run(&task, Instant::now(), &Barrier::new(1));
        let counted = engine.stats[1].commands_processed.get();
        let turns = turns.expect("a slice").len() as u64;
        assert_eq!(turns * (BATCH_REQUESTS * BATCHES_PER_TURN) as u64, counted);
        assert!(turns > 0);
    }

    #[test]
    fn a_worker_draws_keys_of_its_own_shards() {
        let engine = engine();
        let mut requests = Operation::Set.requests(b"new");
        let task = Task {
            operation: Operation::Set,
            looks_ahead: false,
            keys: 100,
            own_shards: true,
            value_len: 3,
            slice: Duration::ZERO,
            seed: 1,
        };
        for worker in 0..THREADS {
            let mut driver = Driver::new(&engine, worker);
            let mut random = Random::new(5);
            driver
                .turn(&task, &mut requests, &mut random)
                .expect("a turn");
            let keyspace = &engine.keyspace;
            for index in 0..BATCH_REQUESTS {
                let hash = keyspace.hash(requests.args(index).arg(1));
                assert_eq!(keyspace.shard_of(hash) % THREADS, worker);
            }
        }
    }
}
