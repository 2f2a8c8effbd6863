//! An encrypted socket. This is the one file that drives the TLS library.
//!
//! The library gets records and gives plaintext, or the other way round; sockets and buffers are
//! ours. A connection that waits for requests therefore owns no buffer:
//!
//! ```text
//! socket --read--> scratch of the thread --decrypt--> the caller's buffer
//!                    | a part of a record              | plaintext beyond its end
//!                    v                                 v
//!                 `incoming`                         `plain`
//!
//! the caller's pieces --encrypt--> scratch of the thread --write--> socket
//!                                    | what the socket does not take
//!                                    v
//!                                 `outgoing`
//! ```
//!
//! Invariants: records are encrypted in the order in which they leave, so nothing is encrypted
//! while `outgoing` has bytes; callers pass only bytes that may leave now. All counts are of
//! plaintext. Every call of the library gets the bytes that it has not released yet, from the
//! first on: it keeps positions of handshake messages in them, also while it encrypts.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, WriteTraffic};
use rustls::{HandshakeKind, ServerConfig};

/// Plaintext of one record at most (RFC 8446, 5.1).
const RECORD_BYTES: usize = 16 * 1024;

/// What encryption adds to a record at most: the header of 5 bytes, and a nonce, a tag and a type,
/// which are below 256 bytes in every version.
const OVERHEAD_BYTES: usize = 5 + 256;

/// Ciphertext that one call reads from the socket at once, at least: a whole record.
const READ_BYTES_MIN: usize = RECORD_BYTES + OVERHEAD_BYTES;

/// The same at most, for big arguments.
const READ_BYTES_MAX: usize = 64 * 1024;

/// Plaintext that is encrypted for one write: four records. A client that does not read makes the
/// server hold no more ciphertext than this.
const WRITE_BYTES: usize = 4 * RECORD_BYTES;

/// Reads from the socket in one call; then other connections get their turn.
const READS_PER_CALL: usize = 16;

/// Records without data in a row, which no client sends; more are an attack.
const EMPTY_RECORDS_MAX: u32 = 64;

/// Bytes that wait for the end of a handshake message. Messages have at most 64 KiB, and
/// certificate chains of real clients far less.
const INCOMING_BYTES_MAX: usize = 128 * 1024;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Buffers that all connections of a thread share, because none needs them between two calls.
#[derive(Default)]
struct Scratch {
    /// Ciphertext that was read.
    incoming: Buffer,
    /// Plaintext of several pieces that become one record.
    gathered: Vec<u8>,
    /// Ciphertext to be written.
    outgoing: Buffer,
}

/// A vector that is filled without being zeroed each time: `filled <= bytes.len()`.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    filled: usize,
}

impl Buffer {
    fn filled(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    fn filled_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.filled).unwrap_or_default()
    }

    /// `count` bytes behind the filled ones.
    fn room(&mut self, count: usize) -> &mut [u8] {
        let end = self.filled + count;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes.get_mut(self.filled..end).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
        self.filled += bytes.len();
    }

    /// Removes bytes from the beginning.
    fn consume(&mut self, count: usize) {
        self.bytes.copy_within(count..self.filled, 0);
        self.filled -= count;
    }
}

/// Where plaintext goes.
trait Sink {
    /// Bytes that it still takes.
    fn room(&self) -> usize;
    /// Takes the first `room` bytes at most; returns how many.
    fn put(&mut self, bytes: &[u8]) -> usize;
}

/// A slice that is filled from its beginning.
struct Slice<'a> {
    bytes: &'a mut [u8],
    filled: usize,
}

impl Sink for Slice<'_> {
    fn room(&self) -> usize {
        self.bytes.len() - self.filled
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        let room = self.bytes.get_mut(self.filled..).unwrap_or_default();
        let count = room.len().min(bytes.len());
        if let (Some(to), Some(from)) = (room.get_mut(..count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        self.filled += count;
        count
    }
}

/// The end of a vector.
struct Behind<'a> {
    bytes: &'a mut Vec<u8>,
    room: usize,
}

impl Sink for Behind<'_> {
    fn room(&self) -> usize {
        self.room
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        let part = bytes.get(..self.room).unwrap_or(bytes);
        self.bytes.extend_from_slice(part);
        self.room -= part.len();
        part.len()
    }
}

/// The server's end of an encrypted connection over the socket `S`, which must not block.
pub struct TlsStream<S: Read + Write> {
    socket: S,
    tls: UnbufferedServerConnection,
    /// Ciphertext that was received and not processed: the beginning of a record, or records that
    /// the caller has had no room for.
    incoming: Vec<u8>,
    /// Plaintext that the caller had no room for: the end of a record, or what was received when
    /// something had to be encrypted. At most [`READ_BYTES_MAX`] and a record.
    plain: Vec<u8>,
    /// Ciphertext that the socket has not taken yet.
    outgoing: Vec<u8>,
    /// There may be plaintext without an event of the socket.
    has_more: bool,
    /// The other end sent close_notify, or the socket ended.
    is_ended: bool,
    /// A record was broken, or the socket failed.
    has_failed: bool,
    /// Handshake messages may still come, and no data.
    is_handshaking: bool,
    /// Records without data since the last one with data.
    empty_records: u32,
}

impl<S: Read + Write> TlsStream<S> {
    /// An accepted socket before its handshake.
    ///
    /// # Errors
    /// The library has no random numbers, or the configuration is no good.
    pub(crate) fn new(socket: S, config: Arc<ServerConfig>) -> io::Result<Self> {
        let tls = UnbufferedServerConnection::new(config).map_err(invalid)?;
        Ok(Self {
            socket,
            tls,
            incoming: Vec::new(),
            plain: Vec::new(),
            outgoing: Vec::new(),
            has_more: true,
            is_ended: false,
            has_failed: false,
            is_handshaking: true,
            empty_records: 0,
        })
    }

    /// The socket.
    pub(crate) fn socket(&self) -> &S {
        &self.socket
    }

    /// The socket, to register it.
    pub(crate) fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
    }

    /// Goes on with the handshake until it is done (true) or the socket has to be waited for.
    ///
    /// # Errors
    /// The other end does not speak TLS, or refuses or breaks the rules; the alert that says so has
    /// been sent if the socket took it. `UnexpectedEof` when it has hung up.
    pub(crate) fn shake_hands(&mut self) -> io::Result<bool> {
        while self.is_handshaking {
            match self.read(&mut []) {
                Ok(_) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // A bounded part of the work is done, and an event will not come for the rest.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // The last messages of the handshake leave before the connection counts as made.
        Ok(!self.is_handshaking && self.flush_or_wait()?)
    }

    /// The certificate of the client, verified.
    pub(crate) fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.tls.peer_certificates()?.first()
    }

    /// Whether an earlier session was resumed.
    pub(crate) fn is_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Reads plaintext into a slice; 0 bytes: the other end has closed the connection.
    ///
    /// # Errors
    /// `WouldBlock` without any, `Interrupted` when the call should be made again later, and those
    /// of the socket and of TLS.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut sink = Slice {
            bytes: into,
            filled: 0,
        };
        SCRATCH.with_borrow_mut(|scratch| self.read_into(scratch, &mut sink))
    }

    /// The same behind the end of a vector, `max` bytes at most.
    ///
    /// # Errors
    /// As [`TlsStream::read`].
    pub(crate) fn read_behind(&mut self, buffer: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        let mut sink = Behind {
            bytes: buffer,
            room: max,
        };
        SCRATCH.with_borrow_mut(|scratch| self.read_into(scratch, &mut sink))
    }

    /// Whether a read may bring plaintext although no event of the socket announces it.
    pub(crate) fn has_more(&self) -> bool {
        self.has_more
    }

    /// Whether the socket has yet to take ciphertext.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Heap memory of buffers, in bytes.
    pub(crate) fn memory_usage(&self) -> usize {
        self.incoming.capacity() + self.plain.capacity() + self.outgoing.capacity()
    }

    fn read_into(&mut self, scratch: &mut Scratch, sink: &mut impl Sink) -> io::Result<usize> {
        // What answers earlier records (a key update, say) leaves before more of them are read.
        self.flush_or_wait()?;
        let asked = sink.room();
        let taken = sink.put(&self.plain);
        self.plain.drain(..taken);
        self.has_more = true;
        if !self.plain.is_empty() {
            return Ok(taken);
        }
        self.plain = Vec::new();
        if self.has_failed {
            return Err(ErrorKind::InvalidData.into());
        }
        let buffer = &mut scratch.incoming;
        buffer.filled = 0;
        buffer.push(&std::mem::take(&mut self.incoming));
        let result = self.read_records(buffer, sink);
        if buffer.filled > 0 {
            self.incoming = buffer.filled().to_vec();
        }
        let got = asked - sink.room();
        if let Err(error) = &result {
            let is_passing = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted);
            self.has_failed = !is_passing;
            self.has_more |= self.has_failed;
        }
        match result {
            // Data before the end or the failure comes first; the next call reports that.
            Ok(()) | Err(_) if got > 0 => Ok(got),
            result => result.map(|()| 0),
        }
    }

    /// Processes the records in `bytes` and reads more of them until there is some plaintext.
    /// Leaves what is not processed in `bytes`. `Ok`: there is plaintext, or the end was reached.
    fn read_records(&mut self, buffer: &mut Buffer, sink: &mut impl Sink) -> io::Result<()> {
        let asked = sink.room();
        let was_handshaking = self.is_handshaking;
        let mut reads = 0;
        loop {
            if buffer.filled > 0 {
                let used = self.process(buffer.filled_mut(), sink);
                if used.is_err() {
                    // The alert that names the reason; the connection is lost either way.
                    let _ = self.flush();
                }
                buffer.consume(used?);
                self.flush_or_wait()?;
            }
            if was_handshaking && !self.is_handshaking {
                // Nothing is read for a connection before it has been handed on.
                return Err(ErrorKind::WouldBlock.into());
            }
            let has_data = asked > sink.room();
            let is_full = asked > 0 && sink.room() == 0;
            if self.is_ended || is_full || (has_data && !self.has_more) {
                return Ok(());
            }
            if reads == READS_PER_CALL {
                return match has_data {
                    true => Ok(()),
                    false => Err(ErrorKind::Interrupted.into()),
                };
            }
            reads += 1;
            self.read_socket(buffer, sink.room())?;
        }
    }

    /// Reads ciphertext, about as much as `room` bytes of plaintext need.
    fn read_socket(&mut self, buffer: &mut Buffer, room: usize) -> io::Result<()> {
        if buffer.filled > INCOMING_BYTES_MAX {
            return Err(invalid("a message is too long"));
        }
        let asked = (room + OVERHEAD_BYTES).clamp(READ_BYTES_MIN, READ_BYTES_MAX);
        match self.socket.read(buffer.room(asked)) {
            Ok(0) => {
                // Without close_notify: commands are complete in themselves, so a cut does no
                // harm that an end would not do.
                self.is_ended = true;
                self.has_more = true;
                if buffer.filled > 0 {
                    log::debug!("A TLS connection ended within a record");
                }
                Ok(())
            }
            Ok(got) => {
                buffer.filled += got;
                // A short read has emptied the socket; the next bytes raise an event.
                self.has_more = got == asked;
                Ok(())
            }
            Err(error) => {
                self.has_more = error.kind() == ErrorKind::Interrupted;
                Err(error)
            }
        }
    }

    /// Has the library process records at the beginning of `bytes`, until there are no more whole
    /// ones or the sink is full. Returns how many bytes are used.
    fn process(&mut self, bytes: &mut [u8], sink: &mut impl Sink) -> io::Result<usize> {
        let may_fill = sink.room() > 0;
        let mut used = 0;
        loop {
            let rest = bytes.get_mut(used..).unwrap_or_default();
            let status = self.tls.process_tls_records(rest);
            used += status.discard;
            match status.state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    let mut count = 0;
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(invalid)?;
                        used += record.discard;
                        count += record.payload.len();
                        let taken = sink.put(record.payload);
                        let beyond = record.payload.get(taken..).unwrap_or_default();
                        self.plain.extend_from_slice(beyond);
                    }
                    self.empty_records = if count > 0 { 0 } else { self.empty_records + 1 };
                    if self.empty_records > EMPTY_RECORDS_MAX {
                        return Err(invalid("too many records without data"));
                    }
                    if may_fill && sink.room() == 0 {
                        // Whole records may be left, for which no event comes.
                        self.has_more = true;
                        return Ok(used);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut message)) => {
                    encode(&mut message, &mut self.outgoing)?;
                }
                // The bytes are in `outgoing` and leave in order.
                Ok(ConnectionState::TransmitTlsData(transmit)) => transmit.done(),
                Ok(ConnectionState::WriteTraffic(_)) => {
                    self.is_handshaking = false;
                    return Ok(used);
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.is_ended = true;
                    self.has_more = true;
                }
                Ok(ConnectionState::Closed) => return Ok(used),
                Ok(ConnectionState::BlockedHandshake) => return Ok(used),
                // Early data is not offered.
                Ok(_) => return Err(invalid("an unexpected state")),
                Err(error) => {
                    if !is_no_tls(&error) {
                        self.queue_alert(bytes.get_mut(used..).unwrap_or_default());
                    }
                    return Err(invalid(error));
                }
            }
        }
    }

    /// Takes the alert that the library has ready after an error; `rest` is what it has not
    /// released.
    fn queue_alert(&mut self, rest: &mut [u8]) {
        if let Ok(ConnectionState::EncodeTlsData(mut message)) =
            self.tls.process_tls_records(rest).state
        {
            // Without it the connection is closed all the same.
            let _ = encode(&mut message, &mut self.outgoing);
        }
    }

    /// Encrypts and writes bytes of the pieces, `max` at most. Returns how many were encrypted;
    /// they are on their way, although the socket may still have to take them.
    ///
    /// # Errors
    /// `WouldBlock` when the socket has yet to take earlier ciphertext.
    pub(crate) fn write<'a>(
        &mut self,
        pieces: impl IntoIterator<Item = &'a [u8]>,
        max: usize,
    ) -> io::Result<usize> {
        if self.has_failed {
            return Err(ErrorKind::InvalidData.into());
        }
        self.flush()?;
        SCRATCH.with_borrow_mut(|scratch| {
            let mut pieces = pieces.into_iter();
            let max = max.min(WRITE_BYTES);
            let first = pieces.next().unwrap_or_default();
            if let Some(bytes) = first.get(..max) {
                return self.encrypt_and_write(bytes, &mut scratch.outgoing);
            }
            let gathered = &mut scratch.gathered;
            gathered.clear();
            gathered.extend_from_slice(first);
            for piece in pieces {
                let room = max - gathered.len();
                gathered.extend_from_slice(piece.get(..room).unwrap_or(piece));
                if gathered.len() == max {
                    break;
                }
            }
            self.encrypt_and_write(&scratch.gathered, &mut scratch.outgoing)
        })
    }

    fn encrypt_and_write(&mut self, plain: &[u8], buffer: &mut Buffer) -> io::Result<usize> {
        buffer.filled = 0;
        for chunk in plain.chunks(RECORD_BYTES) {
            self.process_received()?;
            // In front of the data stands what the library has to say by itself.
            buffer.push(&std::mem::take(&mut self.outgoing));
            let status = self.tls.process_tls_records(&mut self.incoming);
            let ConnectionState::WriteTraffic(traffic) = status.state.map_err(invalid)? else {
                return Err(ErrorKind::NotConnected.into());
            };
            encrypt(traffic, chunk, buffer)?;
        }
        let mut sent = 0;
        while let Some(rest @ [_, ..]) = buffer.filled().get(sent..) {
            match self.socket.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.outgoing = rest.to_vec();
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(plain.len())
    }

    /// Processes what was received, so that the library is ready to encrypt. Plaintext waits in
    /// `plain`.
    fn process_received(&mut self) -> io::Result<()> {
        let mut received = std::mem::take(&mut self.incoming);
        let mut nothing = Slice {
            bytes: &mut [],
            filled: 0,
        };
        let used = self.process(&mut received, &mut nothing);
        self.has_failed = used.is_err();
        received.drain(..used?);
        if !received.is_empty() {
            self.incoming = received;
        }
        self.has_more |= !self.plain.is_empty();
        Ok(())
    }

    /// Writes the ciphertext that the socket has not taken yet.
    ///
    /// # Errors
    /// `WouldBlock` when some is left; those of the socket.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        let result = loop {
            let Some(rest @ [_, ..]) = self.outgoing.get(sent..) else {
                break Ok(());
            };
            match self.socket.write(rest) {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        if sent == self.outgoing.len() {
            self.outgoing = Vec::new();
        } else {
            self.outgoing.drain(..sent);
        }
        result
    }

    /// The same, false when some is left.
    fn flush_or_wait(&mut self) -> io::Result<bool> {
        match self.flush() {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Says goodbye, unless records before it have not left.
    fn send_close_notify(&mut self) {
        if self.is_handshaking || self.has_failed || self.has_unsent() {
            return;
        }
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) =
            self.tls.process_tls_records(&mut self.incoming).state
        {
            let mut record = [0; OVERHEAD_BYTES];
            if let Ok(length) = traffic.queue_close_notify(&mut record) {
                // The connection goes either way.
                let _ = self.socket.write(record.get(..length).unwrap_or_default());
            }
        }
    }
}

impl<S: Read + Write> Drop for TlsStream<S> {
    fn drop(&mut self) {
        self.send_close_notify();
    }
}

/// Encrypts one record behind what `buffer` has.
fn encrypt(
    mut traffic: WriteTraffic<'_, ServerConnectionData>,
    chunk: &[u8],
    buffer: &mut Buffer,
) -> io::Result<()> {
    let mut room = chunk.len() + OVERHEAD_BYTES;
    loop {
        match traffic.encrypt(chunk, buffer.room(room)) {
            Ok(length) => {
                buffer.filled += length;
                return Ok(());
            }
            // Messages of the library stand in front.
            Err(EncryptError::InsufficientSize(needed)) if needed.required_size > room => {
                room = needed.required_size;
            }
            Err(error) => return Err(invalid(error)),
        }
    }
}

/// Puts a message of the library behind the end of `outgoing`.
fn encode(
    message: &mut EncodeTlsData<'_, ServerConnectionData>,
    outgoing: &mut Vec<u8>,
) -> io::Result<()> {
    let needed = match message.encode(&mut []) {
        Ok(_) => return Ok(()),
        Err(EncodeError::InsufficientSize(needed)) => needed.required_size,
        Err(error) => return Err(invalid(error)),
    };
    let start = outgoing.len();
    outgoing.resize(start + needed, 0);
    let room = outgoing.get_mut(start..).unwrap_or_default();
    let length = message.encode(room).map_err(invalid)?;
    outgoing.truncate(start + length);
    Ok(())
}

/// Whether bytes are no records at all: their sender would not understand an alert.
fn is_no_tls(error: &rustls::Error) -> bool {
    use rustls::{Error, InvalidMessage};
    matches!(
        error,
        Error::InvalidMessage(InvalidMessage::InvalidContentType)
    )
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests;
