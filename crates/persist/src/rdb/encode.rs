//! Writing values and files.

mod file;
mod hash;
mod stream;
#[cfg(test)]
mod tests;
mod text;

pub use file::{FileWriter, function};

use self::text::{put_len, put_string};
use super::format::{self, opcode, types};
use super::{Access, SaveOptions, Version};
use crc_fast::{CrcAlgorithm, checksum};
use keyspace::{EntryRef, ValueRef};
use values::list::NodeRef;
use values::{ListView, SetEncoding, SetView, SortedSetView};

/// Redis 8.6: ids of producers of streams.
const V13: Version = Version(13);
/// Redis 8.8: entries that are pending without a consumer.
const V14: Version = Version(14);

/// Versions that can be written. Redis 5 and 6 read 9, Redis 7.0 reads 10; values without a packed
/// form in these are written element by element.
pub const WRITTEN: &[Version] = &[
    Version(9),
    Version::V10,
    Version::V11,
    Version::V12,
    V13,
    V14,
    Version::V80,
];

/// Why a value cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoForm {
    /// A hash has fields with deadlines.
    #[error("RDB version {} has no form for hashes whose fields have deadlines", .0.0)]
    FieldDeadlines(Version),
    /// A set or a sorted set has members with deadlines, which a DUMP payload has no room for.
    #[error("DUMP payloads have no form for sets whose members have deadlines")]
    MemberDeadlines,
    /// Entries of a stream are pending without a consumer (XNACK), which a DUMP payload cannot
    /// represent.
    #[error("DUMP payloads of RDB version {} have no form for pending entries without a consumer", .0.0)]
    UnownedPending(Version),
}

/// Appends an entry of a file: deadline, use, type, key and value. Which database it is in is said
/// by [`FileWriter::entries`]. Nothing is appended when there is an error.
///
/// # Errors
/// The version has no form for the value.
pub fn entry(
    entry: &EntryRef<'_>,
    access: Access,
    options: &SaveOptions,
    out: &mut Vec<u8>,
) -> Result<(), NoForm> {
    let value = entry.value();
    let kind = type_of(&value, options)?;
    extras(&value, kind, options, out);
    if let Some(deadline) = entry.deadline() {
        out.push(opcode::EXPIRETIME_MS);
        out.extend_from_slice(&deadline.to_le_bytes());
    }
    match access {
        Access::Unknown => {}
        Access::IdleSeconds(seconds) => {
            out.push(opcode::IDLE);
            put_len(seconds, out);
        }
        Access::Frequency(counter) => out.extend_from_slice(&[opcode::FREQ, counter]),
    }
    out.push(kind);
    put_string(entry.key(), options.compression, out);
    put_value(&value, kind, options, out);
    Ok(())
}

/// Appends a DUMP payload: type, value, version and checksum. Nothing is appended when there is an
/// error.
///
/// # Errors
/// The version, or a payload without the auxiliary fields of a file, has no form for the value.
pub fn dump(value: &ValueRef<'_>, options: &SaveOptions, out: &mut Vec<u8>) -> Result<(), NoForm> {
    let kind = type_of(value, options)?;
    if member_deadlines(value) > 0 {
        return Err(NoForm::MemberDeadlines);
    }
    // Ids of producers expire within seconds, so a version without a form for them is no error.
    if let ValueRef::Stream(stream) = value
        && kind != types::STREAM_LISTPACKS_5
        && stream::has_unowned(stream)
    {
        return Err(NoForm::UnownedPending(options.version));
    }
    let start = out.len();
    out.push(kind);
    put_value(value, kind, options, out);
    out.extend_from_slice(&options.version.0.to_le_bytes());
    let payload = out.get(start..).unwrap_or_default();
    let crc = checksum(CrcAlgorithm::Crc64Redis, payload);
    out.extend_from_slice(&crc.to_le_bytes());
    Ok(())
}

/// True when the value is a hash whose fields have deadlines: not every version has a form for it.
pub fn needs_field_deadlines(value: &ValueRef<'_>) -> bool {
    matches!(value, ValueRef::Hash(hash) if hash.volatile_len() > 0)
}

/// How many bytes the value takes in a file, without its key.
pub fn value_len(value: &ValueRef<'_>, options: &SaveOptions) -> usize {
    // Every value has a form in the latest version.
    let latest = SaveOptions {
        version: Version::V80,
        ..*options
    };
    let mut out = Vec::new();
    if let Ok(kind) = type_of(value, options) {
        put_value(value, kind, options, &mut out);
    } else if let Ok(kind) = type_of(value, &latest) {
        put_value(value, kind, &latest, &mut out);
    }
    out.len()
}

/// The number that says in which form the value follows.
fn type_of(value: &ValueRef<'_>, options: &SaveOptions) -> Result<u8, NoForm> {
    let version = options.version;
    Ok(match value {
        ValueRef::Int(_) | ValueRef::Bytes(_) | ValueRef::Big(_) => types::STRING,
        ValueRef::List(_) if version < Version::V10 => types::LIST,
        ValueRef::List(_) => types::LIST_QUICKLIST_2,
        ValueRef::Set(set) => match set.encoding() {
            SetEncoding::Intset => types::SET_INTSET,
            SetEncoding::Listpack if version >= Version::V11 => types::SET_LISTPACK,
            SetEncoding::Listpack | SetEncoding::Table => types::SET,
        },
        ValueRef::ZSet(set) if set.is_packed() && version >= Version::V10 => types::ZSET_LISTPACK,
        ValueRef::ZSet(_) => types::ZSET_2,
        ValueRef::Hash(hash) if hash.volatile_len() > 0 => match version {
            version if version >= Version::V80 => types::HASH_2,
            version if version >= Version::V12 => types::HASH_METADATA,
            version => return Err(NoForm::FieldDeadlines(version)),
        },
        ValueRef::Hash(hash) if hash.is_packed() && version >= Version::V10 => types::HASH_LISTPACK,
        ValueRef::Hash(_) => types::HASH,
        ValueRef::Stream(_) if version < Version::V10 => types::STREAM_LISTPACKS,
        ValueRef::Stream(_) if version < Version::V11 => types::STREAM_LISTPACKS_2,
        ValueRef::Stream(_) if (V14..Version::V80).contains(&version) => types::STREAM_LISTPACKS_5,
        ValueRef::Stream(_) if version == V13 => types::STREAM_LISTPACKS_4,
        ValueRef::Stream(_) => types::STREAM_LISTPACKS_3,
    })
}

fn put_value(value: &ValueRef<'_>, kind: u8, options: &SaveOptions, out: &mut Vec<u8>) {
    let compress = options.compression;
    match value {
        ValueRef::Int(value) => text::put_integer(*value, out),
        ValueRef::Bytes(bytes) => put_string(bytes, compress, out),
        ValueRef::Big(big) => put_string(big.as_slice(), compress, out),
        ValueRef::List(list) if kind == types::LIST => put_elements(list, compress, out),
        ValueRef::List(list) => put_list(list, compress, out),
        ValueRef::Set(set) => put_set(set, kind, compress, out),
        ValueRef::ZSet(set) => put_sorted_set(set, kind, compress, out),
        ValueRef::Hash(hash) => hash::put(hash, kind, compress, out),
        ValueRef::Stream(stream) => stream::put(stream, kind, compress, out),
    }
}

/// Nodes as they are, packed or plain, compressed or not. A list that is one listpack is a
/// quicklist with one node to the format.
fn put_list(list: &ListView, compress: bool, out: &mut Vec<u8>) {
    put_len(list.nodes() as u64, out);
    list.each_node(&mut |node| match node {
        NodeRef::Plain(bytes) => {
            put_len(format::NODE_PLAIN, out);
            put_string(bytes, compress, out);
        }
        NodeRef::Packed(bytes) => {
            put_len(format::NODE_PACKED, out);
            put_string(bytes, compress, out);
        }
        NodeRef::Compressed {
            bytes,
            plain_len,
            is_plain,
        } => {
            let container = if is_plain {
                format::NODE_PLAIN
            } else {
                format::NODE_PACKED
            };
            put_len(container, out);
            text::put_compressed(bytes, plain_len, out);
        }
    });
}

/// The form of lists in versions before 10 that we write: elements one by one.
fn put_elements(list: &ListView, compress: bool, out: &mut Vec<u8>) {
    put_len(list.len() as u64, out);
    list.visit(0..list.len(), false, |element| {
        text::put_element(element, compress, out);
        std::ops::ControlFlow::Continue(())
    });
}

fn put_set(set: &SetView, kind: u8, compress: bool, out: &mut Vec<u8>) {
    match set.pack_bytes() {
        Some(bytes) if kind != types::SET => put_string(bytes, compress, out),
        _ => {
            put_len(set.len() as u64, out);
            for member in set.iter() {
                text::put_element(member, compress, out);
            }
        }
    }
}

/// From the greatest to the smallest: a loader that inserts one by one always finds the place at
/// the front.
fn put_sorted_set(set: &SortedSetView, kind: u8, compress: bool, out: &mut Vec<u8>) {
    match set.pack_bytes() {
        Some(bytes) if kind == types::ZSET_LISTPACK => put_string(bytes, compress, out),
        _ => {
            put_len(set.len() as u64, out);
            for (member, score) in set.iter().rev() {
                text::put_element(member, compress, out);
                out.extend_from_slice(&score.to_le_bytes());
            }
        }
    }
}

/// How many members of a set or a sorted set have deadlines.
fn member_deadlines(value: &ValueRef<'_>) -> usize {
    match value {
        ValueRef::Set(set) => set.volatile_len(),
        ValueRef::ZSet(set) => set.volatile_len(),
        _ => 0,
    }
}

/// Writes properties without a form in the version as auxiliary fields before the entry: other
/// servers ignore them.
fn extras(value: &ValueRef<'_>, kind: u8, options: &SaveOptions, out: &mut Vec<u8>) {
    let count = member_deadlines(value);
    if count > 0 {
        let mut content = Vec::new();
        put_len(count as u64, &mut content);
        let mut put = |member: &[u8], deadline: Option<Option<u64>>| {
            if let Some(Some(deadline)) = deadline {
                content.extend_from_slice(&deadline.to_le_bytes());
                put_string(member, false, &mut content);
            }
        };
        let mut digits = values::DIGITS;
        match value {
            ValueRef::Set(set) => set.iter().for_each(|member| {
                let member = member.as_bytes(&mut digits);
                put(member, set.deadline(member));
            }),
            ValueRef::ZSet(set) => set.iter().for_each(|(member, _)| {
                let member = member.as_bytes(&mut digits);
                put(member, set.deadline(member));
            }),
            _ => {}
        }
        put_aux(
            format::AUX_MEMBER_DEADLINES,
            &content,
            options.compression,
            out,
        );
    }
    let ValueRef::Stream(stream) = value else {
        return;
    };
    if kind < types::STREAM_LISTPACKS_5
        && let Some(content) = stream::unowned(stream)
    {
        put_aux(
            format::AUX_UNOWNED_PENDING,
            &content,
            options.compression,
            out,
        );
    }
    if kind < types::STREAM_LISTPACKS_4
        && let Some(known) = stream.idempotence()
    {
        let mut content = Vec::new();
        stream::put_producers(known, false, &mut content);
        put_aux(format::AUX_PRODUCERS, &content, options.compression, out);
    }
}

fn put_aux(name: &str, value: &[u8], compress: bool, out: &mut Vec<u8>) {
    out.push(opcode::AUX);
    put_string(name.as_bytes(), compress, out);
    put_string(value, compress, out);
}
