//! Which of the files in the working directory is loaded.
//!
//! Redis and Valkey load the log with `appendonly yes`, else the snapshot, whatever else there is.
//! Here the default of `appendonly` is `yes`, so that rule alone would ignore the snapshot of a
//! user who comes from the defaults of Redis or Valkey, and the newer snapshot of a user who went
//! back to them for a while. Hence:
//!
//! | `appendonly` | log | snapshot | loaded |
//! | --- | --- | --- | --- |
//! | yes | no | yes | the snapshot; then the log begins with its data |
//! | yes, set | yes | any | the log; a warning when the snapshot is newer and not of this log |
//! | yes, not set | yes | newer than the log, not of it | the snapshot; the log is moved aside |
//! | yes, not set | yes | else | the log |
//! | no | any | yes | the snapshot |
//!
//! A snapshot is of the log when Lodestore made it while the log was on.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use persist::existing_files::{self, ExistingLog, Source, Writer};
use persist::{Disk, LogOptions, Storage};

use super::LoadError;
use crate::server::Server;
use engine::config::P;

/// The file that is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The server starts empty and without a log.
    Nothing,
    /// The log, or a new one begins.
    Log,
    /// The snapshot.
    Snapshot {
        /// What happens to the log.
        then: Then,
    },
}

/// What happens to the log after a snapshot was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// There is no log.
    NoLog,
    /// It begins with the data of the snapshot.
    Begin,
    /// The same, after the one that is there was moved aside.
    MoveAside,
}

/// The facts that the decision depends on.
struct Found {
    wanted: bool,
    /// `appendonly` was set, and not left to its default.
    given: bool,
    log: Option<ExistingLog>,
    snapshot: Option<(SystemTime, Writer)>,
}

/// Looks at the directory and decides.
pub(super) fn decide(server: &Server, log: &LogOptions) -> Decision {
    let path = server.engine.config.path(P::DbFileName);
    let snapshot = path.as_deref().and_then(|path| {
        let changed = existing_files::changed(&Disk, path)?;
        let writer = Source::open(&Disk, path).map_or(Writer::Unknown, existing_files::writer);
        Some((changed, writer))
    });
    let found = Found {
        wanted: server.engine.config.bool(P::AppendOnly),
        given: server.engine.config.was_given(P::AppendOnly),
        log: existing_files::log(Arc::new(Disk), log),
        snapshot,
    };
    let decision = found.decide();
    found.warn(decision, &path.unwrap_or_default(), &log.appenddirname);
    decision
}

impl Found {
    fn decide(&self) -> Decision {
        let then = |then| Decision::Snapshot { then };
        let Some((changed, writer)) = self.snapshot else {
            return match self.wanted {
                true => Decision::Log,
                false => Decision::Nothing,
            };
        };
        let Some(log) = self.log.filter(|_| self.wanted) else {
            return then(if self.wanted {
                Then::Begin
            } else {
                Then::NoLog
            });
        };
        let foreign = matches!(writer, Writer::Other | Writer::WithoutLog);
        match () {
            () if self.given || !foreign => Decision::Log,
            () if log.is_blank => then(Then::Begin),
            () if changed > log.changed => then(Then::MoveAside),
            () => Decision::Log,
        }
    }

    /// Logs which data is not loaded, or is about to be moved aside.
    fn warn(&self, decision: Decision, snapshot: &Path, log: &str) {
        let snapshot = snapshot.display();
        let newer = match (self.snapshot, self.log) {
            (Some((changed, writer)), Some(log)) => {
                writer != Writer::WithLog && (changed > log.changed || log.is_blank)
            }
            _ => false,
        };
        match decision {
            Decision::Log if newer => log::warn!(
                "WARNING: {snapshot} is newer than the append only file in {log}, which is loaded nevertheless{}. If \
                 you want the data of the snapshot, stop the server, move {log} away and start it again.",
                if self.given {
                    ", because appendonly is set to yes"
                } else {
                    ""
                }
            ),
            Decision::Snapshot { then: Then::Begin } => log::warn!(
                "There is no data in an append only file, but there is the snapshot {snapshot}: loading it, and \
                 beginning the append only file with its data."
            ),
            Decision::Snapshot {
                then: Then::MoveAside,
            } => log::warn!(
                "WARNING: {snapshot} is newer than the append only file in {log}, and was made without it: probably \
                 by another server that ran here. Loading the snapshot. The append only file will be moved aside, \
                 nothing is deleted. To load it instead, set appendonly to yes explicitly."
            ),
            Decision::Nothing | Decision::Snapshot { then: Then::NoLog }
                if self.log.is_some_and(|log| !log.is_blank) =>
            {
                log::warn!("appendonly is no: the append only file in {log} is not loaded");
            }
            _ => {}
        }
    }
}

/// Begins a log with the data of the loaded snapshot. After a crash in here the next start makes
/// the same decision.
pub(super) fn take_over(
    server: &Server,
    log: &LogOptions,
    snapshot: &Path,
    then: Then,
) -> Result<(), LoadError> {
    if then == Then::NoLog {
        return Ok(());
    }
    if then == Then::MoveAside {
        let suffix = format!("before-{}", server.engine.now_ms() / 1000);
        let moved =
            existing_files::set_log_aside(&(Arc::new(Disk) as Arc<dyn Storage>), log, &suffix);
        for name in moved.map_err(persist::LoadError::from)? {
            log::warn!("The append only file was moved to {}", name.display());
        }
    }
    crate::jobs::rewrite::new_base(server).map_err(LoadError::Data)?;
    log::info!(
        "The append only file begins with the data of {}",
        snapshot.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn log(seconds: u64) -> Option<ExistingLog> {
        Some(ExistingLog {
            changed: at(seconds),
            is_blank: false,
        })
    }

    fn decide(
        wanted: bool,
        given: bool,
        log: Option<ExistingLog>,
        snapshot: Option<(u64, Writer)>,
    ) -> Decision {
        let snapshot = snapshot.map(|(seconds, writer)| (at(seconds), writer));
        Found {
            wanted,
            given,
            log,
            snapshot,
        }
        .decide()
    }

    fn snapshot(then: Then) -> Decision {
        Decision::Snapshot { then }
    }

    #[test]
    fn one_of_both_is_loaded() {
        assert_eq!(decide(true, false, None, None), Decision::Log);
        assert_eq!(decide(true, true, log(5), None), Decision::Log);
        assert_eq!(decide(false, true, None, None), Decision::Nothing);
        assert_eq!(decide(false, true, log(5), None), Decision::Nothing);
        for writer in [Writer::Other, Writer::WithLog, Writer::Unknown] {
            let file = Some((5, writer));
            assert_eq!(decide(false, true, log(9), file), snapshot(Then::NoLog));
            assert_eq!(decide(true, false, None, file), snapshot(Then::Begin));
            assert_eq!(decide(true, true, None, file), snapshot(Then::Begin));
        }
    }

    #[test]
    fn a_snapshot_of_another_server_wins_when_it_is_newer() {
        let newer = |writer| decide(true, false, log(5), Some((6, writer)));
        assert_eq!(newer(Writer::Other), snapshot(Then::MoveAside));
        assert_eq!(newer(Writer::WithoutLog), snapshot(Then::MoveAside));
        assert_eq!(newer(Writer::WithLog), Decision::Log);
        assert_eq!(newer(Writer::Unknown), Decision::Log);
        let older = decide(true, false, log(5), Some((5, Writer::Other)));
        assert_eq!(older, Decision::Log);
        let given = decide(true, true, log(5), Some((6, Writer::Other)));
        assert_eq!(given, Decision::Log);
    }

    #[test]
    fn a_blank_log_is_as_good_as_none() {
        let blank = Some(ExistingLog {
            changed: at(5),
            is_blank: true,
        });
        let with = |writer| decide(true, false, blank, Some((1, writer)));
        assert_eq!(with(Writer::Other), snapshot(Then::Begin));
        assert_eq!(with(Writer::WithLog), Decision::Log);
        let given = decide(true, true, blank, Some((1, Writer::Other)));
        assert_eq!(given, Decision::Log);
    }
}
