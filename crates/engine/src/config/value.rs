//! Values of parameters: read from arguments, checked, and written back as text.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use resp::number::parse_memory;

use super::choices::{must_be_one_of, number_of, word_of, words_of};
use super::multi::{self, OomScores, OutputLimits, events, strict_i64, words};
use super::table::{Kind, P, Parameter, Unit};

/// The range `hz` is kept in. Values outside are taken for the nearest, not refused: it is a hint.
const HZ_RANGE: (i64, i64) = (1, 500);

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// For kinds with [`Kind::is_number`].
    Number(i64),
    /// The canonical text, for all other kinds.
    Text(Arc<[u8]>),
}

impl Value {
    pub(super) fn text(bytes: impl AsRef<[u8]>) -> Value {
        Value::Text(bytes.as_ref().into())
    }

    pub(super) fn path(path: &Path) -> Value {
        Value::text(path.as_os_str().as_bytes())
    }

    fn as_text(&self) -> &[u8] {
        match self {
            Value::Number(_) => b"",
            Value::Text(text) => text,
        }
    }
}

impl Parameter {
    /// Reads the arguments of a directive or the value of CONFIG SET. `current` is what the
    /// parameter is set to: the output limits of classes that are not named stay, and a relative
    /// `dir` starts there. The error is the reason clients read.
    pub(super) fn parse(&self, args: &[&[u8]], current: &Value) -> Result<Value, String> {
        if self.kind.takes_many() {
            return self.parse_many(args, current);
        }
        let [argument] = args else {
            return Err("wrong number of arguments".to_owned());
        };
        match &self.kind {
            Kind::Bool => parse_bool(argument).map(Value::Number),
            Kind::Number { min, max, unit } => {
                let number = parse_number(argument, *unit)?;
                check_range(number, *min, *max, *unit)?;
                let hz = self.id == P::Hz;
                Ok(Value::Number(if hz {
                    number.clamp(HZ_RANGE.0, HZ_RANGE.1)
                } else {
                    number
                }))
            }
            Kind::Choice(list) => number_of(list, argument)
                .map(Value::Number)
                .ok_or_else(|| must_be_one_of(list)),
            Kind::Events => events::parse(argument)
                .map(Value::Number)
                .ok_or_else(|| "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_owned()),
            Kind::Text { check, .. } => {
                check(self.name, argument)?;
                Ok(Value::text(argument))
            }
            Kind::Dir => join_dir(argument, current.as_text()),
            _ => Err("wrong number of arguments".to_owned()),
        }
    }

    fn parse_many(&self, args: &[&[u8]], current: &Value) -> Result<Value, String> {
        match &self.kind {
            Kind::Flags(list) => parse_flags(list, args).map(Value::Number),
            Kind::Save => Ok(Value::text(multi::format_save(&multi::parse_save(args)?))),
            Kind::OutputLimits => {
                let limits = output_limits(current.as_text()).updated(args)?;
                Ok(Value::text(limits.to_string()))
            }
            Kind::Addresses => multi::parse_addresses(args).map(Value::text),
            Kind::OomScores => Ok(Value::text(OomScores::parse(args)?.to_string())),
            Kind::Percentiles => {
                let percentiles = multi::parse_percentiles(args)?;
                Ok(Value::text(multi::format_percentiles(&percentiles)))
            }
            Kind::RdbVersions => {
                let versions = multi::parse_rdb_versions(args)?;
                Ok(Value::text(multi::format_rdb_versions(&versions)))
            }
            Kind::ReplicaOf => multi::parse_replicaof(args).map(Value::text),
            _ => Err("wrong number of arguments".to_owned()),
        }
    }

    /// Reads a value given as one text: by CONFIG SET, by the environment, or as a default.
    pub(super) fn parse_text(&self, text: &[u8], current: &Value) -> Result<Value, String> {
        if self.kind.takes_many() && !text.is_empty() {
            let args: Vec<&[u8]> = words(text).collect();
            return self.parse(&args, current);
        }
        self.parse(&[text], current)
    }

    /// The value of the table; `dir` has none there.
    pub(super) fn default_value(&self) -> Value {
        // The table's own texts always parse; a test goes through all of them.
        let empty = Value::text("");
        self.parse_text(self.default.as_bytes(), &empty)
            .unwrap_or(match self.kind.is_number() {
                true => Value::Number(0),
                false => empty,
            })
    }

    /// The text CONFIG GET answers.
    pub(super) fn format(&self, value: &Value) -> Vec<u8> {
        match value {
            Value::Text(text) => text.to_vec(),
            Value::Number(number) => self.format_number(*number).into_bytes(),
        }
    }

    fn format_number(&self, number: i64) -> String {
        match &self.kind {
            Kind::Bool => if number != 0 { "yes" } else { "no" }.to_owned(),
            Kind::Choice(list) => word_of(list, number).unwrap_or("unknown").to_owned(),
            Kind::Flags(list) => words_of(list, number),
            Kind::Events => events::format(number),
            Kind::Number {
                unit: Unit::MemoryOrPercent,
                ..
            } if number < 0 => format!("{}%", -number),
            Kind::Number {
                unit: Unit::UnsignedMemoryOrShare,
                ..
            } => number.cast_unsigned().to_string(),
            Kind::Number {
                unit: Unit::Octal, ..
            } => format!("{number:o}"),
            _ => number.to_string(),
        }
    }
}

/// The limits a canonical text stands for.
pub(super) fn output_limits(text: &[u8]) -> OutputLimits {
    let args: Vec<&[u8]> = words(text).collect();
    OutputLimits::default().updated(&args).unwrap_or_default()
}

fn parse_bool(text: &[u8]) -> Result<i64, String> {
    match text {
        _ if text.eq_ignore_ascii_case(b"yes") => Ok(1),
        _ if text.eq_ignore_ascii_case(b"no") => Ok(0),
        _ => Err("argument must be 'yes' or 'no'".to_owned()),
    }
}

fn parse_flags(list: &[super::choices::Word], args: &[&[u8]]) -> Result<i64, String> {
    use super::choices::shutdown::{NOSAVE, SAVE};
    let numbers: Option<Vec<i64>> = args.iter().map(|word| number_of(list, word)).collect();
    let numbers = numbers
        .filter(|numbers| !numbers.is_empty())
        .ok_or_else(|| must_be_one_of(list))?;
    let bits = numbers.into_iter().fold(0, |bits, bit| bits | bit);
    if bits & SAVE != 0 && bits & NOSAVE != 0 {
        return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".to_owned());
    }
    Ok(bits)
}

fn parse_bytes(text: &[u8]) -> Option<i64> {
    parse_memory(text).and_then(|bytes| i64::try_from(bytes).ok())
}

pub(super) fn parse_percent(text: &[u8]) -> Option<i64> {
    text.strip_suffix(b"%")
        .and_then(strict_i64)
        .filter(|percent| *percent >= 0)
}

fn parse_octal(text: &[u8]) -> Option<i64> {
    i64::from_str_radix(str::from_utf8(text).ok()?, 8).ok()
}

fn parse_number(text: &[u8], unit: Unit) -> Result<i64, String> {
    let (number, refusal) = match unit {
        Unit::Plain => (
            strict_i64(text),
            "argument couldn't be parsed into an integer",
        ),
        Unit::Memory => (parse_bytes(text), "argument must be a memory value"),
        Unit::UnsignedMemoryOrShare => (
            parse_memory(text).map(u64::cast_signed),
            "argument must be a memory value",
        ),
        Unit::SignedMemory => (
            parse_bytes(text).or_else(|| strict_i64(text)),
            "argument must be a memory value",
        ),
        Unit::MemoryOrPercent => {
            let number = parse_bytes(text).or_else(|| parse_percent(text).map(|percent| -percent));
            (number, "argument must be a memory or percent value")
        }
        Unit::Octal => (
            parse_octal(text),
            "argument couldn't be parsed as an octal number",
        ),
    };
    number.ok_or_else(|| refusal.to_owned())
}

fn check_range(number: i64, min: i64, max: i64, unit: Unit) -> Result<(), String> {
    if unit == Unit::UnsignedMemoryOrShare || (min..=max).contains(&number) {
        return Ok(());
    }
    Err(match unit {
        Unit::MemoryOrPercent if number < 0 => {
            format!("percentage argument must be less or equal to {}", -min)
        }
        Unit::Octal => format!("argument must be between {min:o} and {max:o} inclusive"),
        _ => format!("argument must be between {min} and {max} inclusive"),
    })
}

/// `dir` becomes an absolute path at once, starting from the directory that was in force: the
/// process itself never changes its directory, since it may be another program that embeds the
/// server. [`super::Surroundings`] resolves the result.
fn join_dir(text: &[u8], current: &[u8]) -> Result<Value, String> {
    if text.is_empty() {
        return Err("dir can't be empty".to_owned());
    }
    let path = |bytes| Path::new(std::ffi::OsStr::from_bytes(bytes));
    Ok(Value::path(&path(current).join(path(text))))
}
