//! Whole files.

use super::super::format::{self, opcode};
use super::super::{SaveOptions, Version};
use super::text::{put_len, put_string};
use crc_fast::{CrcAlgorithm, Digest};
use std::io::{self, Write};

/// Small pieces are gathered until there are so many bytes of them.
const BUFFER: usize = 64 * 1024;

/// Appends the code of a library of functions, as files and payloads of FUNCTION DUMP have it.
pub fn function(code: &[u8], compression: bool, out: &mut Vec<u8>) {
    out.push(opcode::FUNCTION2);
    put_string(code, compression, out);
}

/// Writes a file from its first byte to its last.
pub struct FileWriter<W: Write> {
    sink: W,
    options: SaveOptions,
    /// Bytes that are not yet written. They count for neither the checksum nor `written`.
    buffer: Vec<u8>,
    written: u64,
    digest: Digest,
    db: Option<u32>,
}

impl<W: Write> FileWriter<W> {
    /// Begins a file, with these auxiliary fields.
    ///
    /// # Errors
    /// Errors of writing to the sink.
    pub fn new(sink: W, options: SaveOptions, aux: &[(&str, &str)]) -> io::Result<FileWriter<W>> {
        let mut writer = FileWriter {
            sink,
            options,
            buffer: Vec::with_capacity(BUFFER),
            written: 0,
            digest: Digest::new(CrcAlgorithm::Crc64Redis),
            db: None,
        };
        let magic = if options.version >= Version::V80 {
            let magic = std::str::from_utf8(format::MAGIC_VALKEY).unwrap_or_default();
            format!("{magic}{:03}", options.version.0)
        } else {
            let magic = std::str::from_utf8(format::MAGIC).unwrap_or_default();
            format!("{magic}{:04}", options.version.0)
        };
        writer.buffer.extend_from_slice(magic.as_bytes());
        for (name, value) in aux {
            super::put_aux(
                name,
                value.as_bytes(),
                options.compression,
                &mut writer.buffer,
            );
        }
        writer.flush_if_full()?;
        Ok(writer)
    }

    /// Writes the code of a library of functions. Functions come before the first entry.
    ///
    /// # Errors
    /// Errors of writing to the sink.
    pub fn function(&mut self, code: &[u8]) -> io::Result<()> {
        function(code, self.options.compression, &mut self.buffer);
        self.flush_if_full()
    }

    /// Writes how many keys a database has, and how many of them have a deadline: a hint for
    /// loaders.
    ///
    /// # Errors
    /// Errors of writing to the sink.
    pub fn sizes(&mut self, db: u32, keys: u64, volatile: u64) -> io::Result<()> {
        self.select(db);
        self.buffer.push(opcode::RESIZEDB);
        put_len(keys, &mut self.buffer);
        put_len(volatile, &mut self.buffer);
        self.flush_if_full()
    }

    /// Writes entries of one database, as [`super::entry`] made them.
    ///
    /// # Errors
    /// Errors of writing to the sink.
    pub fn entries(&mut self, db: u32, encoded: &[u8]) -> io::Result<()> {
        if encoded.is_empty() {
            return Ok(());
        }
        self.select(db);
        if encoded.len() < BUFFER {
            self.buffer.extend_from_slice(encoded);
            return self.flush_if_full();
        }
        self.flush()?;
        self.write_through(encoded)
    }

    /// The length of the file so far.
    pub fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Ends the file and gives the sink back. It is not flushed: nothing is kept here any more.
    ///
    /// # Errors
    /// Errors of writing to the sink.
    pub fn finish(mut self) -> io::Result<W> {
        self.buffer.push(opcode::EOF);
        self.flush()?;
        let crc = if self.options.checksum {
            self.digest.finalize()
        } else {
            0
        };
        self.sink.write_all(&crc.to_le_bytes())?;
        Ok(self.sink)
    }

    fn select(&mut self, db: u32) {
        if self.db != Some(db) {
            self.db = Some(db);
            self.buffer.push(opcode::SELECTDB);
            put_len(u64::from(db), &mut self.buffer);
        }
    }

    fn flush_if_full(&mut self) -> io::Result<()> {
        if self.buffer.len() < BUFFER {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let done = self.write_through(&buffer);
        buffer.clear();
        self.buffer = buffer;
        done
    }

    fn write_through(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sink.write_all(bytes)?;
        self.written += bytes.len() as u64;
        if self.options.checksum {
            self.digest.update(bytes);
        }
        Ok(())
    }
}
