//! The kernel's out-of-memory score of the process: `oom-score-adj`.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::os_text;
use engine::config::{Config, OomScoreAdj, OomScores, P};

/// The kernel's out-of-memory score of this process, and what it was before the server touched it.
#[derive(Debug, Default)]
struct OomScore {
    /// The score before the server changed it; relative values are added to it, and `no` returns to
    /// it.
    base: Option<i64>,
}

impl OomScore {
    /// Sets the score of a primary as `oom-score-adj` asks; does nothing on systems without such a
    /// score. The error is the text of CONFIG SET.
    fn apply(&mut self, mode: OomScoreAdj, values: OomScores) -> Result<(), String> {
        if mode == OomScoreAdj::No && self.base.is_none() {
            return Ok(());
        }
        let base = *self
            .base
            .get_or_insert_with(|| read_oom_score().unwrap_or(0));
        let value = values.primary;
        let score = match mode {
            OomScoreAdj::No => base,
            OomScoreAdj::Relative => base + value,
            OomScoreAdj::Absolute => value,
        };
        if mode == OomScoreAdj::No {
            self.base = None;
        }
        write_oom_score(score.clamp(-1000, 1000)).map_err(|error| {
            log::warn!("Unable to write oom_score_adj: {}", os_text(&error));
            "Failed to set current oom_score_adj. Check server logs.".to_owned()
        })
    }
}

/// There is one process, whatever number of servers live in it.
static OOM_SCORE: Mutex<OomScore> = Mutex::new(OomScore { base: None });

/// Sets the out-of-memory score of the process as the configuration asks.
pub(crate) fn apply_oom_score(config: &Config) -> Result<(), String> {
    OOM_SCORE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .apply(config.choice(P::OomScoreAdj), config.oom_scores())
}

const OOM_SCORE_FILE: &str = "/proc/self/oom_score_adj";

fn read_oom_score() -> Option<i64> {
    fs::read_to_string(OOM_SCORE_FILE).ok()?.trim().parse().ok()
}

fn write_oom_score(score: i64) -> io::Result<()> {
    if !Path::new(OOM_SCORE_FILE).exists() {
        return Ok(());
    }
    fs::File::options()
        .write(true)
        .open(OOM_SCORE_FILE)?
        .write_all(score.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oom_score_untouched_by_default() {
        let values = OomScores {
            primary: 0,
            replica: 200,
            child: 800,
        };
        OomScore::default().apply(OomScoreAdj::No, values).unwrap();
    }
}
