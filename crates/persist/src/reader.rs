//! A window that moves over a file.

use crate::storage::{File, read_full};
use std::io;
use std::sync::Arc;

/// Bytes read at once.
const CHUNK: usize = 256 << 10;

/// Reads a file from the start. `buffer[start..]` are the bytes at file offset `position` and on;
/// position + unread bytes <= len.
pub(crate) struct Reader {
    file: Arc<dyn File>,
    len: u64,
    position: u64,
    buffer: Vec<u8>,
    start: usize,
}

impl Reader {
    /// Reads the first `len` bytes of the file.
    pub(crate) fn new(file: Arc<dyn File>, len: u64) -> Self {
        Self {
            file,
            len,
            position: 0,
            buffer: Vec::new(),
            start: 0,
        }
    }

    /// File offset of the first available byte.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Bytes from the position to the end of the file.
    pub(crate) fn remaining(&self) -> u64 {
        self.len - self.position
    }

    pub(crate) fn available(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Drops bytes from the front of the window.
    pub(crate) fn consume(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.available().len());
        self.start += bytes;
        self.position += bytes as u64;
    }

    /// Makes the window longer by one chunk, or to double its length, up to the end of the file:
    /// `bytes` is a claimed length and not trusted. False, with nothing read, when the file has
    /// less than `bytes` left.
    pub(crate) fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        let unread = self.available().len();
        let left = self.remaining() - unread as u64;
        if left < bytes as u64 {
            return Ok(false);
        }
        // Moving the rest costs at most as much as reading did, since the window doubles.
        self.buffer.drain(..self.start);
        self.start = 0;
        let want = CHUNK.max(unread).max(bytes.min(CHUNK));
        let want = usize::try_from(left).map_or(want, |left| want.min(left));
        self.buffer.resize(unread + want, 0);
        let at = self.position + unread as u64;
        let read = read_full(&*self.file, at, &mut self.buffer[unread..])?;
        self.buffer.truncate(unread + read);
        if read < want {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(true)
    }

    /// The file that is read.
    pub(crate) fn file(&self) -> Arc<dyn File> {
        self.file.clone()
    }

    /// Whether the file starts with one of these. Called before anything is consumed.
    pub(crate) fn starts_with_any(&mut self, signatures: &[&[u8]]) -> io::Result<bool> {
        self.fill(1)?;
        Ok(signatures
            .iter()
            .any(|signature| self.available().starts_with(signature)))
    }

    /// Goes on at this file offset, which is not before the position.
    pub(crate) fn skip_to(&mut self, offset: u64) {
        let bytes = offset.min(self.len).saturating_sub(self.position);
        let unread = usize::try_from(bytes).map_or(usize::MAX, |bytes| self.start + bytes);
        self.start = unread.min(self.buffer.len());
        self.position += bytes;
        if unread > self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// Leaves out the zeros at the end of the file, from the position on; returns how many there
    /// are.
    pub(crate) fn drop_trailing_zeros(&mut self) -> io::Result<u64> {
        let full = self.len;
        let mut block = vec![0; 4096];
        while self.len > self.position {
            let size = self.remaining().min(block.len() as u64);
            let part = &mut block[..size as usize];
            if read_full(&*self.file, self.len - size, part)? < part.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let zeros = part.iter().rev().take_while(|&&byte| byte == 0).count();
            self.len -= zeros as u64;
            if zeros < part.len() {
                break;
            }
        }
        // Bytes that were read ahead must not reach beyond the new end.
        let unread = usize::try_from(self.remaining()).unwrap_or(usize::MAX);
        self.buffer.truncate(self.start.saturating_add(unread));
        Ok(full - self.len)
    }

    /// File offset of the first line after the position that starts with `prefix` and that `accept`
    /// takes (without its line feed). Lines longer than a block are not found.
    pub(crate) fn find_line(
        &self,
        prefix: &[u8],
        accept: impl Fn(&[u8]) -> bool,
    ) -> io::Result<Option<u64>> {
        const BLOCK: usize = 64 << 10;
        const OVERLAP: usize = 1024;
        let mut block = vec![0; BLOCK];
        let mut at = self.position;
        while at < self.len {
            let size = (self.len - at).min(BLOCK as u64) as usize;
            let read = read_full(&*self.file, at, &mut block[..size])?;
            let data = &block[..read];
            let mut line_start = 0;
            for (index, _) in data.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
                let line = &data[line_start..index];
                if line_start > 0 && line.starts_with(prefix) && accept(line) {
                    return Ok(Some(at + line_start as u64));
                }
                line_start = index + 1;
            }
            if at + read as u64 >= self.len || read <= OVERLAP {
                break;
            }
            at += (read - OVERLAP) as u64;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Memory, OpenMode, Storage};
    use std::path::Path;

    fn reader(bytes: &[u8]) -> Reader {
        let memory = Memory::new();
        memory.write("f", bytes);
        let file = memory.open(Path::new("f"), OpenMode::Read).unwrap();
        Reader::new(file, bytes.len() as u64)
    }

    #[test]
    fn trailing_zeros_are_left_out_over_any_number_of_blocks() {
        for zeros in [0, 1, 4095, 4096, 4097, 20_000] {
            let mut bytes = b"x\0y".to_vec();
            bytes.resize(3 + zeros, 0);
            let mut reader = reader(&bytes);
            reader.fill(1).unwrap();
            assert_eq!(reader.drop_trailing_zeros().unwrap(), zeros as u64);
            assert_eq!((reader.remaining(), reader.available()), (3, &b"x\0y"[..]));
        }
        assert_eq!(reader(&[0; 5000]).drop_trailing_zeros().unwrap(), 5000);
    }

    #[test]
    fn a_line_is_found_wherever_it_stands() {
        for before in [1, 100, 64 << 10, (64 << 10) - 3, (64 << 10) - 1024, 200_000] {
            let mut bytes = vec![b'x'; before];
            bytes.extend_from_slice(b"\n#CRC:here\r\n");
            let found = reader(&bytes)
                .find_line(b"#CRC:", |line| line == b"#CRC:here\r")
                .unwrap();
            assert_eq!(found, Some(before as u64 + 1));
        }
        let first = reader(b"#CRC:here\r\n")
            .find_line(b"#CRC:", |_| true)
            .unwrap();
        assert_eq!(first, None, "only lines after the first one");
    }

    #[test]
    fn skipping_goes_on_inside_and_behind_the_window() {
        let bytes: Vec<u8> = (0..CHUNK * 3).map(|n| (n / 1000) as u8).collect();
        for to in [
            0,
            1,
            999,
            CHUNK,
            CHUNK + 1,
            CHUNK * 2 + 7,
            CHUNK * 3,
            CHUNK * 9,
        ] {
            let mut reader = reader(&bytes);
            reader.fill(1).unwrap();
            reader.skip_to(to as u64);
            let at = to.min(bytes.len());
            assert_eq!(reader.position(), at as u64);
            assert_eq!(reader.fill(1).unwrap(), at < bytes.len());
            assert_eq!(reader.available().first(), bytes.get(at));
        }
    }

    #[test]
    fn a_file_that_shrinks_is_an_error() {
        let memory = Memory::new();
        memory.write("f", b"short");
        let file = memory.open(Path::new("f"), OpenMode::Read).unwrap();
        assert!(Reader::new(file, 100).fill(1).is_err());
    }
}
