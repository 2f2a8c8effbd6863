//! The latency monitor: events of the server that took longer than `latency-monitor-threshold`, and
//! their analysis.
//!
//! Each kind of event has a series of samples, one per second at most, of which the last 160 are
//! kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::config::{Config, P};
use crate::stats::{LATENCY_BUCKETS, WorkerStats};
use crate::table::Command;

/// Samples that are kept of each event.
const SAMPLES_MAX: usize = 160;

/// The worst latency of an event in one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Unix seconds.
    pub time_s: u64,
    /// Milliseconds.
    pub latency_ms: u64,
}

/// The samples and totals of one event.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Oldest first.
    pub samples: VecDeque<Sample>,
    /// The worst latency ever, in milliseconds.
    pub max_ms: u64,
    /// All latencies together, in milliseconds.
    pub sum_ms: u64,
    /// How often the event was recorded.
    pub count: u64,
}

impl Series {
    fn add(&mut self, now_s: u64, ms: u64) {
        self.max_ms = self.max_ms.max(ms);
        self.sum_ms = self.sum_ms.saturating_add(ms);
        self.count += 1;
        if let Some(last) = self.samples.back_mut()
            && last.time_s == now_s
        {
            last.latency_ms = last.latency_ms.max(ms);
            return;
        }
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            time_s: now_s,
            latency_ms: ms,
        });
    }

    /// Figures over the samples that are kept.
    pub fn analyze(&self, now_s: u64) -> Analysis {
        let values = || self.samples.iter().map(|sample| sample.latency_ms);
        let count = self.samples.len() as u64;
        let average = values().sum::<u64>().checked_div(count).unwrap_or(0);
        let deviation: u64 = values().map(|value| value.abs_diff(average)).sum();
        let oldest = self.samples.front().map_or(now_s, |sample| sample.time_s);
        Analysis {
            samples: count,
            average_ms: average,
            mean_deviation_ms: deviation.checked_div(count).unwrap_or(0),
            min_ms: values().min().unwrap_or(0),
            max_ms: values().max().unwrap_or(0),
            period_s: now_s.saturating_sub(oldest).max(1),
        }
    }
}

/// Figures over the kept samples of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Analysis {
    /// How many there are.
    pub samples: u64,
    /// Their mean.
    pub average_ms: u64,
    /// Mean distance from the mean.
    pub mean_deviation_ms: u64,
    /// The smallest.
    pub min_ms: u64,
    /// The largest.
    pub max_ms: u64,
    /// Seconds since the oldest, at least 1.
    pub period_s: u64,
}

/// All events.
#[derive(Default)]
pub struct LatencyMonitor {
    /// Milliseconds; 0: nothing is recorded.
    threshold_ms: AtomicU64,
    events: Mutex<BTreeMap<String, Series>>,
}

impl LatencyMonitor {
    /// Takes over the threshold of the configuration.
    pub fn configure(&self, config: &Config) {
        let threshold = config.int(P::LatencyMonitorThreshold);
        self.threshold_ms
            .store(threshold.try_into().unwrap_or(0), Ordering::Relaxed);
    }

    /// The threshold in milliseconds; 0 when nothing is recorded.
    pub fn threshold_ms(&self) -> u64 {
        self.threshold_ms.load(Ordering::Relaxed)
    }

    /// Records an event if it took long enough.
    #[inline]
    pub fn record(&self, event: &str, now_ms: u64, ms: u64) {
        let threshold = self.threshold_ms();
        if threshold != 0 && ms >= threshold {
            self.add(event, now_ms / 1000, ms);
        }
    }

    #[cold]
    fn add(&self, event: &str, now_s: u64, ms: u64) {
        let mut events = self.lock();
        match events.get_mut(event) {
            Some(series) => series.add(now_s, ms),
            None => events.entry(event.to_owned()).or_default().add(now_s, ms),
        }
    }

    /// A copy of one event's series.
    pub fn series(&self, event: &[u8]) -> Option<Series> {
        let event = str::from_utf8(event).ok()?;
        self.lock().get(event).cloned()
    }

    /// A copy of all series, by the name of their event.
    pub fn all(&self) -> Vec<(String, Series)> {
        self.lock()
            .iter()
            .map(|(event, series)| (event.clone(), series.clone()))
            .collect()
    }

    /// Removes one event (in any case), or all of them. Returns how many there were.
    pub fn reset(&self, event: Option<&[u8]>) -> usize {
        let mut events = self.lock();
        let before = events.len();
        match event {
            None => events.clear(),
            Some(name) => events.retain(|event, _| !event.as_bytes().eq_ignore_ascii_case(name)),
        }
        before - events.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Series>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Executions of one command by the power of two of their nanoseconds: bucket `b` holds those from
/// 2^(b-1) to 2^b - 1 ns, the last one everything longer.
#[derive(Clone, Debug)]
pub struct Distribution {
    buckets: [u64; LATENCY_BUCKETS],
}

impl Default for Distribution {
    fn default() -> Self {
        Self {
            buckets: [0; LATENCY_BUCKETS],
        }
    }
}

/// The first bucket that LATENCY HISTOGRAM shows (about a microsecond) and the last one (about a
/// second).
const SHOWN_FIRST: usize = 10;
const SHOWN_LAST: usize = 30;

impl Distribution {
    /// The executions of a command on all workers.
    pub fn of<'a>(workers: impl Iterator<Item = &'a WorkerStats>, entry: &Command) -> Self {
        let mut distribution = Self::default();
        for stats in workers {
            if let Some(stats) = stats.commands.get(entry.id) {
                let buckets = stats.latency.iter().enumerate();
                buckets.for_each(|(bucket, count)| distribution.add(bucket, count.get()));
            }
        }
        distribution
    }

    fn add(&mut self, bucket: usize, count: u64) {
        if let Some(sum) = self.buckets.get_mut(bucket) {
            *sum += count;
        }
    }

    /// All executions.
    pub fn total(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Pairs of microseconds and the number of executions that took at most so long, in steps of a
    /// power of two; steps without executions of their own are left out. The numbers on the steps
    /// are those of Redis, whose histograms have a precision of 1/128.
    pub fn cumulative(&self) -> Vec<(u64, u64)> {
        let mut steps = Vec::new();
        let mut sum = 0;
        for step in SHOWN_FIRST..=SHOWN_LAST {
            let own: u64 = match step {
                SHOWN_FIRST => self.buckets.iter().take(SHOWN_FIRST + 1).sum(),
                SHOWN_LAST => self.buckets.iter().skip(SHOWN_LAST).sum(),
                _ => self.buckets.get(step).copied().unwrap_or(0),
            };
            if own > 0 {
                sum += own;
                let nanos = (1u64 << step) + (1 << (step - 7)) - 1;
                steps.push((nanos / 1000, sum));
            }
        }
        steps
    }

    /// Pairs of nanoseconds and the number of executions that took at most so long: every power of
    /// two from about a microsecond to about a second.
    pub fn steps(&self) -> impl Iterator<Item = (u64, u64)> {
        (SHOWN_FIRST..=SHOWN_LAST).map(|step| {
            let count = self.buckets.iter().take(step + 1).sum();
            (1u64 << step, count)
        })
    }

    /// The latency in microseconds that `percent` of the executions did not exceed, interpolated
    /// inside its bucket.
    pub fn percentile(&self, percent: f64) -> f64 {
        let total = self.total();
        if total == 0 {
            return 0.0;
        }
        let rank = (percent / 100.0 * total as f64).clamp(1.0, total as f64);
        let mut below = 0u64;
        for (bucket, &count) in self.buckets.iter().enumerate() {
            if count > 0 && (below + count) as f64 >= rank {
                let high = (1u64 << bucket) as f64;
                let low = if bucket == 0 { 0.0 } else { high / 2.0 };
                let part = (rank - below as f64) / count as f64;
                return (low + (high - low) * part) / 1000.0;
            }
            below += count;
        }
        0.0
    }
}

/// An ASCII picture of the samples, with their ages underneath (written downwards).
pub fn graph(event: &str, series: &Series, now_s: u64) -> String {
    let figures = series.analyze(now_s);
    let mut text = format!(
        "{event} - high {} ms, low {} ms (all time high {} ms)\n{}\n",
        figures.max_ms,
        figures.min_ms,
        series.max_ms,
        "-".repeat(GRAPH_COLUMNS)
    );
    let samples: Vec<Sample> = series.samples.iter().copied().collect();
    for (index, part) in samples.chunks(GRAPH_COLUMNS).enumerate() {
        if index > 0 {
            text.push('\n');
        }
        draw(&mut text, part, figures, now_s);
    }
    text
}

const GRAPH_COLUMNS: usize = 80;
const GRAPH_ROWS: u64 = 4;
/// Heights that one character can show, lowest first.
const GRAPH_STEPS: [char; 3] = ['_', 'o', '#'];

fn draw(text: &mut String, samples: &[Sample], figures: Analysis, now_s: u64) {
    let per_row = GRAPH_STEPS.len() as u64;
    let steps = GRAPH_ROWS * per_row;
    let range = (figures.max_ms - figures.min_ms).max(1);
    for row in (0..GRAPH_ROWS).rev() {
        for sample in samples {
            let step = (sample.latency_ms - figures.min_ms).saturating_mul(steps) / range;
            let step = step.min(steps - 1);
            let cell = match step.checked_sub(row * per_row) {
                None => ' ',
                Some(height) => GRAPH_STEPS.get(height as usize).copied().unwrap_or('|'),
            };
            text.push(cell);
        }
        text.push('\n');
    }
    text.push('\n');
    let ages: Vec<String> = samples
        .iter()
        .map(|sample| age(now_s.saturating_sub(sample.time_s)))
        .collect();
    let lines = ages.iter().map(String::len).max().unwrap_or(0);
    for line in 0..lines {
        text.extend(ages.iter().map(|age| age.chars().nth(line).unwrap_or(' ')));
        text.push('\n');
    }
}

/// `5s`, `12m`, `3h`, `2d`.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sample_per_second_and_the_worst_of_it() {
        let monitor = LatencyMonitor::default();
        monitor.record("command", 1_000, 500);
        assert!(monitor.all().is_empty(), "the threshold is 0");
        monitor.threshold_ms.store(100, Ordering::Relaxed);
        monitor.record("command", 1_000, 99);
        monitor.record("command", 1_000, 300);
        monitor.record("command", 1_900, 200);
        monitor.record("command", 4_000, 100);
        let series = monitor.series(b"command").expect("recorded");
        let samples: Vec<_> = series
            .samples
            .iter()
            .map(|s| (s.time_s, s.latency_ms))
            .collect();
        assert_eq!(samples, [(1, 300), (4, 100)]);
        assert_eq!((series.max_ms, series.sum_ms, series.count), (300, 600, 3));
        let figures = series.analyze(5);
        assert_eq!(
            figures,
            Analysis {
                samples: 2,
                average_ms: 200,
                mean_deviation_ms: 100,
                min_ms: 100,
                max_ms: 300,
                period_s: 4,
            }
        );
        assert_eq!(monitor.reset(Some(b"other")), 0);
        assert_eq!(monitor.reset(Some(b"COMMAND")), 1);
        assert_eq!(monitor.reset(None), 0);
    }

    #[test]
    fn a_series_is_bounded() {
        let mut series = Series::default();
        for second in 0..200 {
            series.add(second, 1);
        }
        assert_eq!(series.samples.len(), SAMPLES_MAX);
        assert_eq!(series.samples.front().map(|s| s.time_s), Some(40));
    }

    #[test]
    fn histograms_accumulate() {
        let mut distribution = Distribution::default();
        distribution.add(3, 2);
        distribution.add(10, 1);
        distribution.add(16, 5);
        distribution.add(40, 1);
        assert_eq!(distribution.cumulative(), [(1, 3), (66, 8), (1_082_130, 9)]);
        assert_eq!(distribution.total(), 9);
        assert!(distribution.percentile(50.0) > 32.0 && distribution.percentile(50.0) <= 65.536);
        assert!(distribution.percentile(99.9) > 1_000_000.0);
        assert_eq!(Distribution::default().percentile(50.0), 0.0);
    }

    #[test]
    fn graphs_show_heights_and_ages() {
        let mut series = Series::default();
        series.add(100, 10);
        series.add(160, 20);
        let text = graph("fork", &series, 165);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "fork - high 20 ms, low 10 ms (all time high 20 ms)"
        );
        assert_eq!(lines[2], " #");
        assert_eq!(lines[5], "_|");
        assert_eq!(lines[7], "15");
        assert_eq!(lines[8], "ms");
    }
}
