//! Errors of reading RDB.

use super::kind;
use crate::rdb::Version;
use std::fmt;
use std::io;
use values::Malformed;

/// Why reading ended.
#[derive(Debug, thiserror::Error)]
pub enum RdbCause {
    /// The file cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The bytes end too early.
    #[error("unexpected end")]
    Truncated,
    /// The first bytes are not those of an RDB file.
    #[error("Wrong signature trying to load DB from file: {0}")]
    Signature(String),
    /// An unknown version.
    #[error("Can't handle RDB format version {0}")]
    Version(u16),
    /// An unknown type or opcode.
    #[error("{}", type_text(*.code, *.version))]
    Type {
        /// Its number.
        code: u8,
        /// The version that has it.
        version: Option<Version>,
    },
    /// Bytes that break a rule of the format.
    #[error("{0}")]
    Malformed(&'static str),
    /// A damaged packed form.
    #[error("{form} integrity check failed: {rule}")]
    Integrity {
        /// The name of the form.
        form: &'static str,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// A collection without elements; in a file such keys are skipped.
    #[error("empty key")]
    Empty,
    /// A value of a module, or its metadata of a key.
    #[error("The RDB file contains module data I can't load: no matching module type '{0}'")]
    Module(String),
    /// Auxiliary data of a module.
    #[error("The RDB file contains AUX module data I can't load: no matching module '{0}'")]
    ModuleAux(String),
    /// The checksum is wrong.
    #[error("Wrong RDB checksum expected: ({computed:x}) but got ({stored:x}). Aborting now.")]
    Checksum {
        /// The checksum of the bytes that were read.
        computed: u64,
        /// The checksum at the end of the file.
        stored: u64,
    },
    /// The sink refused the item.
    #[error("{0}")]
    Refused(String),
}

fn type_text(code: u8, version: Option<Version>) -> String {
    match version {
        Some(version) if version < Version::V80 && code >= kind::FOREIGN_MIN => {
            format!(
                "Can't handle foreign type or opcode {code} in RDB with version {}",
                version.0
            )
        }
        _ => {
            "Unknown type or opcode when loading DB. Unrecoverable error, aborting now.".to_owned()
        }
    }
}

impl From<Malformed> for RdbCause {
    fn from(Malformed(rule): Malformed) -> Self {
        RdbCause::Integrity {
            form: "Value",
            rule,
        }
    }
}

/// The value that was being read at the error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the database.
    pub db: u32,
    /// The key.
    pub key: Box<[u8]>,
    /// The type of the value, one of [`types`](crate::rdb::format::types).
    pub code: u8,
}

/// A file that cannot be loaded: what is wrong, and where.
#[derive(Debug)]
pub struct RdbError {
    /// What is wrong.
    pub cause: RdbCause,
    /// How far the file was read, in bytes.
    pub offset: u64,
    /// The value, when it was within one.
    pub place: Option<Box<Place>>,
}

impl RdbError {
    /// True when the file ends too early, where Redis says `Short read or OOM loading DB`.
    pub fn is_truncated(&self) -> bool {
        matches!(self.cause, RdbCause::Truncated)
    }
}

impl fmt::Display for RdbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (offset {}", self.cause, self.offset)?;
        if let Some(place) = &self.place {
            let (key, name) = (place.key.escape_ascii(), kind::name(place.code));
            write!(
                f,
                ", key \"{key}\" of database {}, type {} {name}",
                place.db, place.code
            )?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for RdbError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// A payload that is not restored; the text is the one of the reply.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The version is unknown, or the checksum is wrong.
    #[error("DUMP payload version or checksum are wrong")]
    Footer,
    /// An unknown type.
    #[error("Unsupported foreign data type: {0}")]
    Foreign(u8),
    /// The value is not well-formed.
    #[error("Bad data format")]
    Data(#[source] RdbCause),
}

impl RestoreError {
    /// What is wrong with the value, for the log.
    pub fn cause(&self) -> Option<&RdbCause> {
        match self {
            RestoreError::Data(cause) => Some(cause),
            _ => None,
        }
    }
}
