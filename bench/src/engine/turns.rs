//! Times of turns, and the choice of the turns that count.
//!
//! Other processes may use the same CPUs. A turn counts when its thread was on its CPU and, with
//! two threads, the other thread was on its CPU during the whole turn. So the figures are close to
//! those of a quiet machine, as long as some turns are undisturbed. Caches are still shared with
//! the other processes.

/// Least share of a turn that its thread is on its CPU. Another process keeps the CPU for some
/// milliseconds, many times the length of a turn. A wait for a lock is shorter than that and is
/// counted.
const ON_CPU_MIN: f64 = 0.8;

/// Consecutive requests of one thread, all turns having the same number of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Turn {
    /// Nanoseconds since an origin that all threads of a slice have in common.
    pub(super) began_ns: u64,
    pub(super) ended_ns: u64,
    /// CPU time of the thread in it.
    pub(super) cpu_ns: u64,
}

impl Turn {
    fn length_ns(&self) -> u64 {
        self.ended_ns - self.began_ns
    }

    fn is_on_cpu(&self) -> bool {
        self.cpu_ns as f64 >= self.length_ns() as f64 * ON_CPU_MIN
    }
}

/// The turns of a thread, in order, without gaps.
pub(super) type Turns = Vec<Turn>;

/// The turns that count.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counted {
    /// How many of them.
    pub(super) turns: u64,
    /// Their length.
    pub(super) ns: u64,
    /// The length of all turns.
    pub(super) all_ns: u64,
}

impl Counted {
    /// The turns of one thread beside `other`, which is `None` when it runs alone.
    pub(super) fn of(turns: &Turns, other: Option<&Turns>) -> Counted {
        let mut counted = Counted::default();
        for turn in turns {
            counted.all_ns += turn.length_ns();
            if turn.is_on_cpu() && other.is_none_or(|other| runs_through(other, turn)) {
                counted.turns += 1;
                counted.ns += turn.length_ns();
            }
        }
        counted
    }
}

/// True when the thread of `turns` is on its CPU during the whole of `turn`.
fn runs_through(turns: &Turns, turn: &Turn) -> bool {
    let first = turns.partition_point(|other| other.ended_ns <= turn.began_ns);
    let rest = turns.get(first..).unwrap_or_default();
    let begins_before = rest
        .first()
        .is_some_and(|other| other.began_ns <= turn.began_ns);
    let mut during = rest
        .iter()
        .take_while(|other| other.began_ns < turn.ended_ns);
    let ends_behind = turns
        .last()
        .is_some_and(|last| last.ended_ns >= turn.ended_ns);
    begins_before && ends_behind && during.all(Turn::is_on_cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(began_ns: u64, ended_ns: u64, cpu_ns: u64) -> Turn {
        Turn {
            began_ns,
            ended_ns,
            cpu_ns,
        }
    }

    #[test]
    fn a_turn_off_the_cpu_does_not_count() {
        let turns = vec![turn(0, 100, 95), turn(100, 400, 110), turn(400, 500, 80)];
        let counted = Counted::of(&turns, None);
        let expected = Counted {
            turns: 2,
            ns: 200,
            all_ns: 500,
        };
        assert_eq!(counted, expected);
    }

    #[test]
    fn the_other_thread_must_run_through() {
        let other = vec![turn(50, 150, 100), turn(150, 250, 10), turn(250, 450, 200)];
        let counts = |turn| Counted::of(&vec![turn], Some(&other)).turns == 1;
        assert!(counts(turn(60, 150, 90)));
        assert!(counts(turn(260, 450, 190)));
        // It has begun before the other one, ends behind it, or the other one was away.
        assert!(!counts(turn(40, 150, 110)));
        assert!(!counts(turn(260, 451, 191)));
        assert!(!counts(turn(140, 160, 20)));
        assert!(!counts(turn(60, 260, 200)));
    }
}
