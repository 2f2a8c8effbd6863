//! `lodestore --restore-to MOMENT`: the server starts from its log as it was then.
//!
//! A copy up to the moment is made beside the log; then the log is renamed aside and the copy takes
//! its place. The old directory stays, with all records after the moment.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use engine::config::{Config, P};
use persist::{Disk, LogOptions, Moment, Storage, restore_to};

const OPTION: &str = "--restore-to";

/// Takes the option out of the arguments.
///
/// # Errors
/// Its value is wrong; the text says why.
pub(crate) fn take(arguments: &mut Vec<OsString>) -> Result<Option<Moment>, String> {
    let Some(index) = arguments.iter().position(|argument| argument == OPTION) else {
        return Ok(None);
    };
    if index + 1 >= arguments.len() {
        return Err(format!("{OPTION} needs a moment"));
    }
    let taken: Vec<OsString> = arguments.drain(index..=index + 1).collect();
    let text = taken.get(1).map(|value| value.to_string_lossy());
    let text = text.unwrap_or_default();
    parse(&text).map(Some).ok_or_else(|| {
        format!(
            "{OPTION}: '{text}' is neither Unix seconds, nor a time as 2026-01-31T23:59:59Z, nor offset:NUMBER"
        )
    })
}

fn parse(text: &str) -> Option<Moment> {
    if let Some(offset) = text.strip_prefix("offset:") {
        return offset.parse().ok().map(Moment::Offset);
    }
    if text.is_empty() {
        return None;
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Moment::Time);
    }
    iso_8601(text).map(Moment::Time)
}

/// Unix seconds of `YYYY-MM-DD[T| ]HH:MM[:SS]`, followed by nothing or `Z` for UTC, or by `+HH:MM`
/// or `-HH:MM`.
fn iso_8601(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let (time, zone_s) = match time.rfind(['+', '-']) {
        Some(at) => {
            let (time, zone) = time.split_at(at);
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            (time, sign * clock(zone.get(1..)?)?)
        }
        None => (time.strip_suffix('Z').unwrap_or(time), 0),
    };
    let mut parts = date.splitn(3, '-');
    let (year, month, day) = (
        number(parts.next()?, 9_999)?,
        number(parts.next()?, 12)?,
        number(parts.next()?, 31)?,
    );
    if month == 0 || day == 0 {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + clock(time)? - zone_s;
    u64::try_from(seconds).ok()
}

/// Seconds of `HH:MM[:SS]`.
fn clock(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, ':');
    let hours = number(parts.next()?, 23)?;
    let minutes = number(parts.next().unwrap_or("0"), 59)?;
    let seconds = number(parts.next().unwrap_or("0"), 60)?;
    Some(hours * 3600 + minutes * 60 + seconds)
}

fn number(text: &str, most: i64) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let value = digits.then(|| text.parse().ok()).flatten()?;
    (value <= most).then_some(value)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years begin in March here, so that the
/// leap day is the last one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let century = year.div_euclid(400);
    let of_century = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    century * 146_097 + of_century * 365 + of_century / 4 - of_century / 100 + of_year - 719_468
}

/// Puts the log of the configuration back to a moment.
///
/// # Errors
/// The reason. The log is as it was.
pub(crate) fn run(config: &Config, moment: Moment) -> Result<(), String> {
    if !config.bool(P::AppendOnly) {
        return Err(format!("{OPTION} needs a log, but appendonly is no"));
    }
    let options = LogOptions {
        dir: config.dir(),
        appenddirname: config.text(P::AppendDirName),
        appendfilename: config.text(P::AppendFileName),
        max_bulk: config.size(P::ProtoMaxBulkLen),
        ..LogOptions::default()
    };
    let log = options.dir.join(&options.appenddirname);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = now.map_or(0, |now| now.as_secs());
    let copy = free_name(&options, &format!("restored-{now_s}"));
    let found = restore_to(Arc::new(Disk), &options, moment, &copy).map_err(|error| {
        // Removes the incomplete copy. A failure does no harm.
        drop(std::fs::remove_dir_all(&copy));
        format!("Can't restore the append only file: {error}")
    })?;
    let aside = free_name(&options, &format!("before-{now_s}"));
    let moved = Disk
        .rename(&log, &aside)
        .and_then(|()| Disk.rename(&copy, &log))
        .and_then(|()| Disk.sync_dir(&options.dir));
    moved.map_err(|error| {
        let (log, aside, copy) = (log.display(), aside.display(), copy.display());
        format!("Can't put {copy} in the place of {log}, which is to become {aside}: {error}")
    })?;
    let told = |value: Option<u64>| value.map_or("unknown".to_owned(), |value| value.to_string());
    log::warn!(
        "The append only file was put back: base {}{}, {} increments, up to stream offset {}, last time stamp {}. \
         What it was before is in {}",
        found.base,
        if found.from_history {
            " of the history"
        } else {
            ""
        },
        found.increments,
        told(found.offset),
        told(found.time),
        aside.display()
    );
    Ok(())
}

/// A name beside the log that nothing has.
fn free_name(options: &LogOptions, suffix: &str) -> PathBuf {
    let name = |number: u32| match number {
        0 => format!("{}.{suffix}", options.appenddirname),
        _ => format!("{}.{suffix}.{number}", options.appenddirname),
    };
    let path = |number| options.dir.join(name(number));
    (0..)
        .map(path)
        .find(|path| !path.exists())
        .unwrap_or_else(|| path(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        for (text, moment) in [
            ("1700000000", Some(Moment::Time(1_700_000_000))),
            ("offset:12", Some(Moment::Offset(12))),
            ("2023-11-14T22:13:20Z", Some(Moment::Time(1_700_000_000))),
            ("2023-11-14 22:13:20", Some(Moment::Time(1_700_000_000))),
            (
                "2023-11-15T00:13:20+02:00",
                Some(Moment::Time(1_700_000_000)),
            ),
            ("2023-11-14T17:13:20-05", Some(Moment::Time(1_700_000_000))),
            ("2024-02-29", Some(Moment::Time(1_709_164_800))),
            ("1970-01-01T00:00", Some(Moment::Time(0))),
            ("2023-13-01", None),
            ("2023-11-14T24:00", None),
            ("yesterday", None),
            ("offset:x", None),
            ("", None),
            ("-5", None),
        ] {
            assert_eq!(parse(text), moment, "{text}");
        }
    }

    #[test]
    fn the_option_is_taken_out() {
        let words = |list: &[&str]| list.iter().map(OsString::from).collect::<Vec<_>>();
        let mut arguments = words(&["a.conf", "--restore-to", "offset:7", "--port", "1"]);
        assert_eq!(take(&mut arguments), Ok(Some(Moment::Offset(7))));
        assert_eq!(arguments, words(&["a.conf", "--port", "1"]));
        assert_eq!(take(&mut arguments), Ok(None));
        assert!(take(&mut words(&["--restore-to"])).is_err());
        assert!(take(&mut words(&["--restore-to", "soon"])).is_err());
    }
}
