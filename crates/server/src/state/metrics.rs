//! Rates: figures sampled ten times a second and averaged over 16 samples.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use engine::engine::Engine;
use engine::stats::Totals;

const SAMPLES: usize = 16;

/// The rate of one growing figure against another one.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    last: Option<(u64, u64)>,
    samples: [u64; SAMPLES],
    next: usize,
}

impl Rate {
    /// Takes a sample: `value` per `base`, times `factor`.
    fn add(&mut self, value: u64, base: u64, factor: u64) {
        if let Some((last_value, last_base)) = self.last {
            let grown = u128::from(value.saturating_sub(last_value)) * u128::from(factor);
            let rate = grown
                .checked_div(u128::from(base.saturating_sub(last_base)))
                .unwrap_or(0);
            if let Some(sample) = self.samples.get_mut(self.next) {
                *sample = u64::try_from(rate).unwrap_or(u64::MAX);
            }
            self.next = (self.next + 1) % SAMPLES;
        }
        self.last = Some((value, base));
    }

    fn average(&self) -> u64 {
        self.samples.iter().sum::<u64>() / SAMPLES as u64
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Rates {
    commands: Rate,
    net_input: Rate,
    net_output: Rate,
    repl_input: Rate,
    repl_output: Rate,
    loop_turns: Rate,
    turn_micros: Rate,
}

/// Rates per second, averaged over the last second and a half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Averages {
    /// Commands.
    pub commands: u64,
    /// Bytes read from clients.
    pub net_input_bytes: u64,
    /// Bytes written to clients.
    pub net_output_bytes: u64,
    /// Bytes read from a primary and from replicas.
    pub repl_input_bytes: u64,
    /// Bytes written to replicas.
    pub repl_output_bytes: u64,
    /// Loop turns of all workers.
    pub loop_turns: u64,
    /// Microseconds of work in one loop turn.
    pub turn_micros: u64,
}

/// The rates and the start figures of INFO.
#[derive(Default)]
pub struct InstantMetrics {
    rates: Mutex<Rates>,
    /// Memory in use before there was any data, in bytes.
    startup_memory: AtomicU64,
    /// The peak of memory that was seen last, and when it was first seen, in Unix seconds.
    peak: [AtomicU64; 2],
    /// Processor time of the first worker in the kernel and in the program, in microseconds.
    main_thread_us: [AtomicU64; 2],
}

impl InstantMetrics {
    /// Records the memory in use before data is loaded.
    pub fn note_startup_memory(&self) {
        self.startup_memory
            .store(keyspace::memory::used(), Ordering::Relaxed);
    }

    /// Memory in use before there was any data, in bytes.
    pub fn startup_memory(&self) -> u64 {
        self.startup_memory.load(Ordering::Relaxed)
    }

    /// When the peak of memory was reached, in Unix seconds, a tenth of a second late at most.
    pub fn peak_time_s(&self, engine: &Engine) -> u64 {
        let [seen, time_s] = &self.peak;
        let peak = keyspace::memory::peak();
        if seen.swap(peak, Ordering::Relaxed) != peak {
            time_s.store(engine.clock.unix_ms() / 1000, Ordering::Relaxed);
        }
        time_s.load(Ordering::Relaxed)
    }

    /// Records the processor time of the first worker: in the kernel and in the program.
    pub fn note_main_thread(&self, times: [Duration; 2]) {
        for (kept, time) in self.main_thread_us.iter().zip(times) {
            let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            kept.store(micros, Ordering::Relaxed);
        }
    }

    /// Processor time of the first worker in the kernel and in the program, a tenth of a second old
    /// at most.
    pub fn main_thread(&self) -> [Duration; 2] {
        let kept = |time: &AtomicU64| Duration::from_micros(time.load(Ordering::Relaxed));
        [kept(&self.main_thread_us[0]), kept(&self.main_thread_us[1])]
    }

    fn add(&self, totals: &Totals, now_ms: u64) {
        const SECOND: u64 = 1000;
        let mut rates = self.lock();
        rates
            .commands
            .add(totals.commands_processed, now_ms, SECOND);
        rates.net_input.add(totals.net_input_bytes, now_ms, SECOND);
        rates
            .net_output
            .add(totals.net_output_bytes, now_ms, SECOND);
        rates.loop_turns.add(totals.loop_turns, now_ms, SECOND);
        rates
            .turn_micros
            .add(totals.busy_nanos / 1000, totals.loop_turns, 1);
    }

    /// Takes a sample of the counters; the timers call this every 100 ms.
    pub fn sample(&self, engine: &Engine) {
        self.peak_time_s(engine);
        let now_ms = engine.clock.monotonic_ns() / 1_000_000;
        self.add(&engine.totals(), now_ms);
        let replicas = &engine.replicas;
        let (input, output) = (&replicas.net_input_bytes, &replicas.net_output_bytes);
        let mut rates = self.lock();
        let rates = &mut *rates;
        for (rate, bytes) in [
            (&mut rates.repl_input, input),
            (&mut rates.repl_output, output),
        ] {
            rate.add(bytes.load(Ordering::Relaxed), now_ms, 1000);
        }
    }

    /// The present rates.
    pub fn averages(&self) -> Averages {
        let rates = self.lock();
        Averages {
            commands: rates.commands.average(),
            net_input_bytes: rates.net_input.average(),
            net_output_bytes: rates.net_output.average(),
            repl_input_bytes: rates.repl_input.average(),
            repl_output_bytes: rates.repl_output.average(),
            loop_turns: rates.loop_turns.average(),
            turn_micros: rates.turn_micros.average(),
        }
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&self) {
        *self.lock() = Rates::default();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Rates> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_averages_over_sixteen_samples() {
        let metrics = InstantMetrics::default();
        for tick in 0..=16u64 {
            let totals = Totals {
                commands_processed: tick * 100,
                loop_turns: tick * 10,
                busy_nanos: tick * 10 * 5_000,
                ..Totals::default()
            };
            metrics.add(&totals, tick * 100);
        }
        let averages = metrics.averages();
        assert_eq!(averages.commands, 1000);
        assert_eq!(averages.loop_turns, 100);
        assert_eq!(averages.turn_micros, 5);
        metrics.reset();
        assert_eq!(metrics.averages(), Averages::default());
    }

    #[test]
    fn counters_that_were_reset_do_no_harm() {
        let mut rate = Rate::default();
        rate.add(1000, 10, 1);
        rate.add(0, 20, 1);
        rate.add(0, 20, 1);
        assert_eq!(rate.average(), 0);
    }
}
