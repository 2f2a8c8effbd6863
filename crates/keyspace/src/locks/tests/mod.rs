//! A model of the locks: the files that take and extend sets of locks, compiled over primitives
//! that explore random interleavings. A deadlock ends a run with an error, and so does a run
//! without progress, because its steps are limited.
//! Miri cannot run it: the threads of the model are coroutines.

#![cfg(not(miri))]

#[expect(dead_code, reason = "the model calls a part of the functions")]
#[path = "../held.rs"]
mod held;
#[expect(unreachable_pub, reason = "public in the crate, private in the model")]
#[path = "../patience.rs"]
mod patience;
#[expect(unreachable_pub, reason = "public in the crate, private in the model")]
#[path = "../right.rs"]
mod right;
mod sync;
#[expect(dead_code, reason = "the model calls a part of the functions")]
#[path = "../table.rs"]
mod table;

use held::{Held, Many};
use patience::{GaveUp, Patience};
use shuttle::rand::Rng;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::Arc;
use shuttle::{Config, MaxSteps, Runner, thread};
use table::{Content, LockTable};

const SHARDS: usize = 4;
/// A run takes some hundred steps. One that takes so many does not come to an end.
const STEPS_MAX: usize = 50_000;
/// Interleavings per test and scheduler.
const RUNS: usize = 1_500;

/// A shard of the model.
#[derive(Default)]
struct Counter {
    /// Increments by the threads that locked this shard.
    count: u64,
    /// Number of the last of all transactions that changed this shard.
    last: u64,
}

impl Content for Counter {
    fn next_due_ms(&self) -> u64 {
        self.count
    }
}

type Table = LockTable<Counter>;

/// What a thread of the model does.
type Body = Box<dyn FnOnce(&Table) + Send>;

fn table() -> Arc<Table> {
    Arc::new(LockTable::new((0..SHARDS).map(|_| Counter::default())))
}

/// A transaction: reads each shard of a complete set, lets others run, and writes. Its number is
/// above those that it finds, so that the order of the numbers is one order for all shards.
fn transact(held: &mut Held<'_, Counter>) {
    let number = held.guards().iter().map(|shard| shard.last).max();
    let number = number.unwrap_or(0) + 1;
    let counts: Vec<u64> = held.guards().iter().map(|shard| shard.count).collect();
    thread::yield_now();
    for (shard, count) in held.guards_mut().iter_mut().zip(counts) {
        assert_eq!(shard.count, count, "another thread changed a locked shard");
        assert!(shard.last < number);
        shard.count += 1;
        shard.last = number;
    }
}

/// Increments all of `shards`, which are ascending.
fn many(table: &Table, shards: &[usize], patience: &mut Patience<'_>) -> Result<(), GaveUp> {
    let mut guards = Many::new();
    table.lock_many(shards.iter().copied(), &mut guards, patience)?;
    transact(&mut Held::Many(guards));
    Ok(())
}

/// A script: takes the right, locks the first shard and then the others in their order.
fn script(table: &Table, shards: &[usize], patience: &mut Patience<'_>) -> Result<(), GaveUp> {
    let right = table.extension().take(patience)?;
    // Only a holder of the right makes requests give shards back, and it has not begun.
    assert_eq!(table.extension().gave_back(), 0, "a request starves");
    let mut held = match shards {
        [] => Held::Many(Many::new()),
        [first, ..] => Held::One(table.lock(*first, patience)?),
    };
    for shard in shards {
        held.extend(table, &right, *shard, patience)?;
    }
    transact(&mut held);
    Ok(())
}

/// Runs a test under two ways to choose the next thread: uniformly, and by priorities that change
/// at random points.
fn explore(test: impl Fn() + Send + Sync + Clone + 'static) {
    let mut config = Config::new();
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    let random: Box<dyn Scheduler + Send> = Box::new(RandomScheduler::new(RUNS));
    let priorities: Box<dyn Scheduler + Send> = Box::new(PctScheduler::new(3, RUNS));
    for scheduler in [random, priorities] {
        Runner::new(scheduler, config.clone()).run(test.clone());
    }
}

/// Starts the threads, waits for them, and returns the counts of all shards.
fn run(table: &Arc<Table>, threads: Vec<Body>) -> [u64; SHARDS] {
    let threads: Vec<_> = threads
        .into_iter()
        .map(|body| {
            let table = Arc::clone(table);
            thread::spawn(move || body(&table))
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    let mut all = Vec::new();
    table
        .lock_many(0..SHARDS, &mut all, &mut Patience::Unlimited)
        .unwrap();
    assert!(!table.is_poisoned());
    assert_eq!(table.extension().gave_back(), 0);
    std::array::from_fn(|shard| all[shard].count)
}

fn many_unlimited(shards: &'static [usize]) -> Body {
    Box::new(move |table| many(table, shards, &mut Patience::Unlimited).unwrap())
}

fn script_unlimited(shards: &'static [usize]) -> Body {
    Box::new(move |table| script(table, shards, &mut Patience::Unlimited).unwrap())
}

#[test]
fn scripts_and_commands_do_not_deadlock_and_are_serializable() {
    explore(|| {
        let counts = run(
            &table(),
            vec![
                script_unlimited(&[3, 1, 0]),
                script_unlimited(&[2, 3, 1]),
                many_unlimited(&[0, 1, 3]),
                many_unlimited(&[1, 2]),
            ],
        );
        assert_eq!(counts, [2, 4, 2, 3]);
    });
}

#[test]
fn requests_for_all_shards_are_served_between_scripts() {
    explore(|| {
        let repeated = |shards: &'static [usize]| -> Body {
            Box::new(move |table| {
                for _ in 0..3 {
                    script(table, shards, &mut Patience::Unlimited).unwrap();
                }
            })
        };
        let counts = run(
            &table(),
            vec![
                many_unlimited(&[0, 1, 2, 3]),
                repeated(&[3, 0]),
                repeated(&[2, 1]),
                many_unlimited(&[0, 1, 2, 3]),
            ],
        );
        assert_eq!(counts, [5, 5, 5, 5]);
    });
}

#[test]
fn requests_that_give_up_leave_nothing_behind() {
    explore(|| {
        let impatient = |is_script: bool, shards: &'static [usize]| {
            let body: Body = Box::new(move |table| {
                let mut goes_on = || shuttle::rand::thread_rng().gen_range(0..3) > 0;
                let mut patience = Patience::Asked(&mut goes_on);
                let result = match is_script {
                    true => script(table, shards, &mut patience),
                    false => many(table, shards, &mut patience),
                };
                assert!(result.is_ok() || sync::holds() == 0);
            });
            body
        };
        let counts = run(
            &table(),
            vec![
                impatient(true, &[3, 0, 2]),
                impatient(true, &[1, 0]),
                impatient(false, &[0, 1, 2, 3]),
                script_unlimited(&[2, 0]),
                many_unlimited(&[0, 3]),
            ],
        );
        assert!((2..=5).contains(&counts[0]) && (1..=3).contains(&counts[3]));
    });
}

#[test]
fn the_right_is_given_in_order_of_arrival() {
    explore(|| {
        let table = table();
        let right = table.extension().take(&mut Patience::Unlimited).unwrap();
        let order = Arc::new(shuttle::sync::Mutex::new(Vec::new()));
        let mut threads = Vec::new();
        for number in 0..3 {
            let (table, order) = (Arc::clone(&table), Arc::clone(&order));
            let waits = Arc::clone(&table);
            threads.push(thread::spawn(move || {
                let _right = table.extension().take(&mut Patience::Unlimited).unwrap();
                order.lock().unwrap().push(number);
            }));
            while waits.extension().waiting() <= number {
                thread::yield_now();
            }
        }
        assert!(order.lock().unwrap().is_empty());
        drop(right);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
    });
}
