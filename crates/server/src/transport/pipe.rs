//! Connections inside of the process, for clients that a simulation plays.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes on their way from one end to the other.
#[derive(Debug, Default)]
struct Half {
    bytes: VecDeque<u8>,
    /// The end that writes is gone.
    is_closed: bool,
}

/// One end of a connection. It behaves as a non-blocking socket does.
#[derive(Debug)]
pub struct Pipe {
    incoming: Arc<Mutex<Half>>,
    outgoing: Arc<Mutex<Half>>,
    /// Most bytes that wait to be read.
    room: usize,
}

fn lock(half: &Mutex<Half>) -> MutexGuard<'_, Half> {
    half.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pipe {
    /// Both ends of a connection that holds up to `room` bytes in each direction.
    pub fn pair(room: usize) -> (Self, Self) {
        let (one, other) = (Arc::default(), Arc::default());
        let first = Self {
            incoming: Arc::clone(&one),
            outgoing: Arc::clone(&other),
            room,
        };
        let second = Self {
            incoming: other,
            outgoing: one,
            room,
        };
        (first, second)
    }

    /// There is something to read, or the other end is gone.
    pub fn is_readable(&self) -> bool {
        let half = lock(&self.incoming);
        !half.bytes.is_empty() || half.is_closed
    }

    /// The other end is gone.
    pub fn is_ended(&self) -> bool {
        lock(&self.incoming).is_closed
    }

    /// Reads what there is; 0 bytes when the other end is gone.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing yet.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut half = lock(&self.incoming);
        if half.bytes.is_empty() && !half.is_closed {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        half.bytes.read(into)
    }

    /// Writes as much as there is room for.
    ///
    /// # Errors
    /// `WouldBlock` without room, `BrokenPipe` when the other end is gone.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_ended() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut half = lock(&self.outgoing);
        let taken = bytes.len().min(self.room.saturating_sub(half.bytes.len()));
        if taken == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        half.bytes.extend(bytes.iter().take(taken));
        Ok(taken)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        lock(&self.outgoing).is_closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_behaves_as_a_socket_does() {
        let (mut one, mut other) = Pipe::pair(4);
        let mut buffer = [0; 8];
        let kind = |result: io::Result<usize>| result.map_err(|error| error.kind());
        assert_eq!(
            kind(other.read(&mut buffer)),
            Err(io::ErrorKind::WouldBlock)
        );
        assert_eq!(kind(one.write(b"abcdef")), Ok(4));
        assert_eq!(kind(one.write(b"ef")), Err(io::ErrorKind::WouldBlock));
        assert!(other.is_readable() && !other.is_ended());
        assert_eq!(kind(other.read(&mut buffer)), Ok(4));
        assert_eq!(&buffer[..4], b"abcd");
        drop(one);
        assert!(other.is_readable() && other.is_ended());
        assert_eq!(kind(other.read(&mut buffer)), Ok(0));
        assert_eq!(kind(other.write(b"x")), Err(io::ErrorKind::BrokenPipe));
    }
}
