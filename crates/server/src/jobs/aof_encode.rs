//! Values as the commands that create them: for the base of a log, and for DEBUG RELOAD.

mod stream;

use std::io::{self, Write};
use std::ops::ControlFlow;

use keyspace::{EntryRef, StringRef, ValueRef};
use resp::number::{F64_BYTES_MAX, format_f64};
use resp::request::{write as write_command, write_begin, write_bulk};
use values::{DIGITS, Element, HashView, ListView, SetView, SortedSetView};

/// Elements written in one command, as in Redis's files: a server that loads the file holds one
/// command at a time.
const ELEMENTS_PER_COMMAND: usize = 64;

/// Writes the commands that create an entry, deadlines included.
pub(crate) fn write_entry(entry: &EntryRef<'_>, out: &mut dyn Write) -> io::Result<()> {
    let key = entry.key();
    match entry.value() {
        ValueRef::List(list) => write_list(key, list, out)?,
        ValueRef::Set(set) => write_set(key, set, out)?,
        ValueRef::ZSet(set) => write_sorted_set(key, set, out)?,
        ValueRef::Hash(hash) => write_hash(key, hash, out)?,
        ValueRef::Stream(stream) => stream::write(key, stream, out)?,
        value => {
            let Some(string) = value.string() else {
                return Err(io::Error::other("a value that has no form in the log"));
            };
            return write_string(entry, &string, out);
        }
    }
    match entry.deadline() {
        None => Ok(()),
        Some(deadline) => {
            let deadline = deadline.to_string();
            write_command(out, &[b"PEXPIREAT", key, deadline.as_bytes()])
        }
    }
}

fn write_string(
    entry: &EntryRef<'_>,
    string: &StringRef<'_>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let key = entry.key();
    let mut digits = DIGITS;
    let value: &[u8] = match string {
        StringRef::Big(big) => big.as_slice(),
        other => other.as_bytes(&mut digits),
    };
    match entry.deadline() {
        None => write_command(out, &[b"SET", key, value]),
        Some(deadline) => {
            let deadline = deadline.to_string();
            write_command(out, &[b"SET", key, value, b"PXAT", deadline.as_bytes()])
        }
    }
}

fn write_list(key: &[u8], list: &ListView, out: &mut dyn Write) -> io::Result<()> {
    let mut batch = Batches::new(b"RPUSH", key, list.len(), 1);
    let mut result = Ok(());
    list.visit(0..list.len(), false, |element| {
        result = batch.next(out).and_then(|()| write_element(out, element));
        match result {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    result
}

fn write_set(key: &[u8], set: &SetView, out: &mut dyn Write) -> io::Result<()> {
    let mut batch = Batches::new(b"SADD", key, set.len(), 1);
    for member in set.iter() {
        batch.next(out)?;
        write_element(out, member)?;
    }
    if set.volatile_len() == 0 {
        return Ok(());
    }
    let deadline = |member: Element<'_>| set.deadline(member.as_bytes(&mut { DIGITS })).flatten();
    let volatile = set.iter().filter_map(|it| Some((deadline(it)?, it)));
    write_deadlines(b"SPEXPIREAT", b"MEMBERS", key, volatile.collect(), out)
}

fn write_sorted_set(key: &[u8], set: &SortedSetView, out: &mut dyn Write) -> io::Result<()> {
    let mut batch = Batches::new(b"ZADD", key, set.len(), 2);
    for (member, score) in set.iter() {
        batch.next(out)?;
        write_bulk(out, format_f64(score, &mut [0; F64_BYTES_MAX]))?;
        write_element(out, member)?;
    }
    if set.volatile_len() == 0 {
        return Ok(());
    }
    let deadline = |member: Element<'_>| set.deadline(member.as_bytes(&mut { DIGITS })).flatten();
    let volatile = set.iter().filter_map(|(it, _)| Some((deadline(it)?, it)));
    write_deadlines(b"ZPEXPIREAT", b"MEMBERS", key, volatile.collect(), out)
}

fn write_hash(key: &[u8], hash: &HashView, out: &mut dyn Write) -> io::Result<()> {
    let mut batch = Batches::new(b"HMSET", key, hash.len(), 2);
    for (field, value) in hash.iter(0) {
        batch.next(out)?;
        write_element(out, field)?;
        write_element(out, value)?;
    }
    if hash.volatile_len() == 0 {
        return Ok(());
    }
    let deadline = |field: Element<'_>| hash.deadline(field.as_bytes(&mut { DIGITS })).flatten();
    let volatile = hash.iter(0).filter_map(|(it, _)| Some((deadline(it)?, it)));
    write_deadlines(b"HPEXPIREAT", b"FIELDS", key, volatile.collect(), out)
}

/// Deadlines of elements; elements with the same deadline share a command.
fn write_deadlines(
    word: &[u8],
    token: &[u8],
    key: &[u8],
    mut elements: Vec<(u64, Element<'_>)>,
    out: &mut dyn Write,
) -> io::Result<()> {
    elements.sort_unstable_by_key(|(deadline, _)| *deadline);
    for group in elements.chunk_by(|a, b| a.0 == b.0) {
        for chunk in group.chunks(ELEMENTS_PER_COMMAND) {
            let deadline = chunk.first().map_or(0, |(deadline, _)| *deadline);
            write_begin(out, 5 + chunk.len())?;
            write_bulk(out, word)?;
            write_bulk(out, key)?;
            write_bulk(out, deadline.to_string().as_bytes())?;
            write_bulk(out, token)?;
            write_bulk(out, chunk.len().to_string().as_bytes())?;
            chunk
                .iter()
                .try_for_each(|(_, it)| write_element(out, *it))?;
        }
    }
    Ok(())
}

/// Splits the elements of a collection into commands.
struct Batches<'a> {
    word: &'a [u8],
    key: &'a [u8],
    /// Elements not written yet.
    left: usize,
    /// Arguments of one element.
    width: usize,
    /// Elements that still fit the current command.
    room: usize,
}

impl<'a> Batches<'a> {
    fn new(word: &'a [u8], key: &'a [u8], elements: usize, width: usize) -> Self {
        Self {
            word,
            key,
            left: elements,
            width,
            room: 0,
        }
    }

    /// An element follows.
    fn next(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.room == 0 {
            self.room = self.left.min(ELEMENTS_PER_COMMAND);
            write_begin(out, 2 + self.room * self.width)?;
            write_bulk(out, self.word)?;
            write_bulk(out, self.key)?;
        }
        self.room = self.room.saturating_sub(1);
        self.left = self.left.saturating_sub(1);
        Ok(())
    }
}

fn write_element(out: &mut dyn Write, element: Element<'_>) -> io::Result<()> {
    write_bulk(out, element.as_bytes(&mut { DIGITS }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use values::{End, FieldDeadline, Thresholds};
    use values::{Hash, List};

    pub(super) fn text(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).expect("memory takes everything");
        let text = String::from_utf8(out).expect("text");
        let words = text.split("\r\n").filter(|word| !word.starts_with('$'));
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn long_collections_are_split() {
        let limits = Thresholds::default();
        let mut list = List::new();
        for number in 0..130 {
            list.push(End::Back, number.to_string().as_bytes(), &limits);
        }
        let text = text(|out| write_list(b"k", &list, out));
        assert!(text.starts_with("*66 RPUSH k 0 1 "), "{text}");
        assert!(text.contains(" 63 *66 RPUSH k 64 "), "{text}");
        assert!(text.ends_with(" 127 *4 RPUSH k 128 129 "), "{text}");
    }

    #[test]
    fn deadlines_of_elements_share_commands() {
        let limits = Thresholds::default();
        let mut hash = Hash::new();
        for (field, deadline) in [("a", 7), ("b", 5), ("c", 7)] {
            let deadline = FieldDeadline::At(deadline);
            hash.set(field.as_bytes(), b"v", deadline, &limits);
        }
        let text = text(|out| write_hash(b"k", &hash, out));
        assert!(text.starts_with("*8 HMSET k "), "{text}");
        assert!(text.contains(" *6 HPEXPIREAT k 5 FIELDS 1 b "), "{text}");
        assert!(text.contains(" *7 HPEXPIREAT k 7 FIELDS 2 "), "{text}");
    }
}
