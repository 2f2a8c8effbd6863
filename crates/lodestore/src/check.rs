//! `lodestore check aof|rdb`: checks files, as `valkey-check-aof` and `valkey-check-rdb` do.

use std::io::{self, BufRead, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use persist::check::{AofCheck, check_rdb};
use persist::{Clock, Disk, SystemClock};

const USAGE: &str = "\
Usage: lodestore check aof [--fix | --truncate-to-timestamp SECONDS] <file.manifest|file.aof>
       lodestore check rdb <file.rdb>
";

/// Runs the check that the arguments behind `check` ask for.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let now_ms = SystemClock::default().wall_ms();
    let mut out = BufWriter::new(io::stdout());
    let result = match words.as_slice() {
        ["rdb", file] if !file.starts_with('-') => {
            check_rdb(&Disk, Path::new(file), now_ms, &mut out)
        }
        ["aof", options @ .., file] if !file.starts_with("--") => {
            let Some((fix, to_timestamp)) = aof_options(options) else {
                return usage();
            };
            let mut check = AofCheck {
                storage: &Disk,
                out: &mut out,
                fix,
                to_timestamp,
                now_ms,
                confirm: &mut confirm,
            };
            check.run(Path::new(file))
        }
        _ => return usage(),
    };
    let good = result.and_then(|good| out.flush().map(|()| good));
    match good {
        Ok(true) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn usage() -> ExitCode {
    eprint!("{USAGE}");
    ExitCode::FAILURE
}

/// Whether to fix, and the time to cut at.
fn aof_options(options: &[&str]) -> Option<(bool, Option<u64>)> {
    match options {
        [] => Some((false, None)),
        ["--fix"] => Some((true, None)),
        ["--truncate-to-timestamp", seconds] => Some((false, Some(seconds.parse().ok()?))),
        _ => None,
    }
}

fn confirm() -> bool {
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.is_ok() && answer.starts_with(['y', 'Y'])
}
