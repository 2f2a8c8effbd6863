//! Bytes made by hand.

mod assets;
mod file;
mod kinds;
mod shown;
mod streams;

use super::*;
use crate::rdb::{Access, LoadedEntry, Sink, Skipped};
use keyspace::NewValue;
use values::Thresholds;

pub(super) fn options() -> LoadOptions {
    LoadOptions {
        thresholds: Thresholds::default(),
        checksum: true,
        any_version: false,
        skip_modules: false,
        count_streams: false,
        max_string: 1 << 20,
    }
}

/// An entry, owned.
#[derive(Debug)]
pub(super) struct Kept {
    pub db: u32,
    pub key: Vec<u8>,
    pub value: Value,
    pub deadline: Option<u64>,
    pub access: Access,
}

/// Keeps what it is given.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    pub entries: Vec<Kept>,
    pub functions: Vec<Vec<u8>>,
    pub aux: Vec<(Vec<u8>, Vec<u8>)>,
    pub sizes: Vec<(u32, u64, u64)>,
    pub skipped: Vec<(Vec<u8>, Skipped)>,
    pub progress: u64,
}

impl Sink for Keeper {
    fn entry(&mut self, entry: LoadedEntry<'_>) -> Result<(), String> {
        if entry.key == b"refused" {
            return Err("not this one".to_owned());
        }
        self.entries.push(Kept {
            db: entry.db,
            key: entry.key.to_vec(),
            value: match entry.value {
                NewValue::Int(value) => Value::Int(value),
                NewValue::Bytes(bytes) => Value::Bytes(bytes.into()),
                NewValue::Raw(bytes) => Value::Raw(bytes.into()),
                NewValue::Big(big) => Value::Big(big),
                NewValue::Owned(value) => value,
            },
            deadline: entry.deadline,
            access: entry.access,
        });
        Ok(())
    }

    fn function(&mut self, code: &[u8]) -> Result<(), String> {
        self.functions.push(code.to_vec());
        Ok(())
    }

    fn aux(&mut self, name: &[u8], value: &[u8]) {
        self.aux.push((name.to_vec(), value.to_vec()));
    }

    fn sizes(&mut self, db: u32, keys: u64, volatile: u64) {
        self.sizes.push((db, keys, volatile));
    }

    fn skipped(&mut self, _db: u32, key: &[u8], why: Skipped) {
        self.skipped.push((key.to_vec(), why));
    }

    fn progress(&mut self, bytes: u64) {
        assert!(bytes >= self.progress);
        self.progress = bytes;
    }
}

/// A file of this version with this body: signature before it, end and checksum behind it.
pub(super) fn file(version: u16, body: &[u8]) -> Vec<u8> {
    let mut file = match version {
        80.. => format!("VALKEY{version:03}"),
        _ => format!("REDIS{version:04}"),
    }
    .into_bytes();
    file.extend_from_slice(body);
    file.push(0xff);
    if version >= 5 {
        let sum = crc_fast::checksum(CrcAlgorithm::Crc64Redis, &file);
        file.extend_from_slice(&sum.to_le_bytes());
    }
    file
}

/// Gives one byte at a time.
pub(super) struct Trickle<'a>(pub &'a [u8]);

impl std::io::Read for Trickle<'_> {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        let count = room.len().min(1);
        self.0.read(room.get_mut(..count).unwrap_or_default())
    }
}

pub(super) fn load_with(
    bytes: &[u8],
    options: &LoadOptions,
) -> Result<(Loaded, Keeper), Box<(RdbError, Keeper)>> {
    let mut keeper = Keeper::default();
    match load(&mut { bytes }, options, &mut keeper) {
        Ok(loaded) => Ok((loaded, keeper)),
        Err(error) => Err(Box::new((error, keeper))),
    }
}

/// What a file holds that is good.
pub(super) fn loaded(bytes: &[u8]) -> Keeper {
    let (loaded, keeper) = load_with(bytes, &options()).map_err(|both| both.0).unwrap();
    assert_eq!(loaded.bytes, bytes.len() as u64);
    keeper
}

/// What is wrong with a file of version 11 with this body.
pub(super) fn refused(body: &[u8]) -> RdbError {
    load_with(&file(11, body), &options()).unwrap_err().0
}

/// A payload of this version.
pub(super) fn payload(version: u16, body: &[u8]) -> Vec<u8> {
    let mut payload = body.to_vec();
    payload.extend_from_slice(&version.to_le_bytes());
    let sum = crc_fast::checksum(CrcAlgorithm::Crc64Redis, &payload);
    payload.extend_from_slice(&sum.to_le_bytes());
    payload
}

/// A string as it stands in a file.
pub(super) fn string(text: &[u8]) -> Vec<u8> {
    let mut bytes = length(text.len() as u64);
    bytes.extend_from_slice(text);
    bytes
}

/// A length as it stands in a file.
pub(super) fn length(length: u64) -> Vec<u8> {
    match length {
        0..0x40 => vec![length as u8],
        0x40..0x4000 => (0x4000 | length as u16).to_be_bytes().to_vec(),
        0x4000..0x1_0000_0000 => [&[0x80][..], &(length as u32).to_be_bytes()].concat(),
        _ => [&[0x81][..], &length.to_be_bytes()].concat(),
    }
}
