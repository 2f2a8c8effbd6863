use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use aws_lc_rs::aead;
use proptest::prelude::*;
use rustls::ConnectionTrafficSecrets;
use rustls::crypto::aws_lc_rs as provider_of;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use super::*;
use crate::tls::tests::Authority;

/// Both directions of a connection.
#[derive(Default)]
struct Wire {
    to_server: VecDeque<u8>,
    to_client: VecDeque<u8>,
    /// Bytes of the next reads of the server, in turn.
    splits: Vec<usize>,
    reads: usize,
    /// Bytes that the client has not taken at most.
    room: usize,
    is_closed: bool,
}

struct Socket(Rc<RefCell<Wire>>);

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        if wire.to_server.is_empty() {
            return match wire.is_closed {
                true => Ok(0),
                false => Err(ErrorKind::WouldBlock.into()),
            };
        }
        let split = wire.splits.get(wire.reads % wire.splits.len().max(1));
        let max = split.copied().unwrap_or(usize::MAX).min(into.len());
        wire.reads += 1;
        wire.to_server.read(&mut into[..max])
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        let count = bytes.len().min(wire.room - wire.to_client.len());
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        wire.to_client.extend(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Pair {
    wire: Rc<RefCell<Wire>>,
    client: ClientConnection,
    server: TlsStream<Socket>,
    config: Arc<ServerConfig>,
    /// The server writes a byte before each read.
    writes: bool,
}

impl Pair {
    /// Both ends behind their handshake.
    fn new(version: &'static SupportedProtocolVersion) -> Self {
        let authority = Authority::new();
        let made = authority.server();
        let provider = Arc::new(provider_of::default_provider());
        let key = PrivateKeyDer::Pkcs8(made.key.serialize_der().into());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_no_client_auth()
            .with_single_cert(vec![made.certificate.der().clone()], key)
            .expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots
            .add(authority.certificate.der().clone())
            .expect("a root");
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.enable_secret_extraction = true;
        let wire = Rc::new(RefCell::new(Wire {
            room: usize::MAX,
            ..Wire::default()
        }));
        let name = ServerName::try_from("localhost").expect("a name");
        let config = Arc::new(server);
        let socket = Socket(Rc::clone(&wire));
        let mut pair = Self {
            client: ClientConnection::new(Arc::new(client), name).expect("a client"),
            server: TlsStream::new(socket, Arc::clone(&config)).expect("a server"),
            config,
            writes: false,
            wire,
        };
        for _ in 0..10 {
            pair.send();
            let is_done = pair.server.shake_hands().expect("a handshake");
            pair.receive();
            if is_done && !pair.client.is_handshaking() {
                return pair;
            }
        }
        panic!("no end of the handshake");
    }

    /// Moves what the client has to send.
    fn send(&mut self) {
        let mut wire = self.wire.borrow_mut();
        while self.client.wants_write() {
            self.client.write_tls(&mut wire.to_server).expect("records");
        }
    }

    /// Moves what the server has sent; the plaintext of it.
    fn receive(&mut self) -> Vec<u8> {
        let mut plain = Vec::new();
        let mut wire = self.wire.borrow_mut();
        while !wire.to_client.is_empty() {
            self.client.read_tls(&mut wire.to_client).expect("records");
            let state = self.client.process_new_packets().expect("good records");
            let mut part = vec![0; state.plaintext_bytes_to_read()];
            self.client
                .reader()
                .read_exact(&mut part)
                .expect("plaintext");
            plain.extend(part);
        }
        plain
    }

    /// Encrypts and sends one message of the client.
    fn say(&mut self, mut message: &[u8]) {
        while !message.is_empty() {
            let count = self.client.writer().write(message).expect("room");
            message = &message[count..];
            self.send();
        }
    }

    /// Reads as a worker does: as long as there may be something. An error other than `WouldBlock`
    /// or the end is the second value.
    fn hear(&mut self, sizes: &[usize]) -> (Vec<u8>, Option<io::Result<usize>>) {
        let mut plain = Vec::new();
        for at in 0.. {
            let size = sizes
                .get(at % sizes.len().max(1))
                .copied()
                .unwrap_or(RECORD_BYTES);
            if self.writes {
                assert_eq!(self.server.write([&b"x"[..]], 1).expect("room"), 1);
            }
            let result = if at % 3 == 2 {
                self.server.read_behind(&mut plain, size)
            } else {
                let mut into = vec![0; size];
                let result = self.server.read(&mut into);
                plain.extend_from_slice(&into[..result.as_ref().copied().unwrap_or(0)]);
                result
            };
            match result {
                Ok(count @ 1..) => {
                    // What `Connection::note_read` decides.
                    let wire = self.wire.borrow();
                    let has_event = !wire.to_server.is_empty() || wire.is_closed;
                    if count < size && !self.server.has_more() && !has_event {
                        return (plain, None);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return (plain, None),
                end => return (plain, Some(end)),
            }
        }
        unreachable!("the loop has no end")
    }
}

fn message(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_split_of_the_ciphertext_gives_the_same_plaintext(
        is_new in any::<bool>(),
        lengths in prop::collection::vec(prop_oneof![1..64_usize, 1..40_000_usize], 1..8),
        splits in prop::collection::vec(prop_oneof![1..64_usize, 1..40_000_usize], 1..8),
        sizes in prop::collection::vec(prop_oneof![1..64_usize, Just(16_384), 1..100_000_usize], 1..6),
        together in any::<bool>(),
        writes in any::<bool>(),
    ) {
        let mut pair = Pair::new(if is_new { &TLS13 } else { &TLS12 });
        pair.writes = writes;
        pair.wire.borrow_mut().splits = splits;
        let (mut said, mut heard) = (Vec::new(), Vec::new());
        for length in lengths {
            let message = message(length);
            pair.say(&message);
            said.extend(message);
            if !together {
                heard.extend(pair.hear(&sizes).0);
                prop_assert!(said == heard, "{} bytes of {}", heard.len(), said.len());
            }
        }
        heard.extend(pair.hear(&sizes).0);
        prop_assert!(said == heard, "{} bytes of {}", heard.len(), said.len());
        prop_assert_eq!(pair.server.memory_usage(), 0);
        prop_assert!(pair.receive().iter().all(|byte| *byte == b'x'));
    }

    #[test]
    fn what_is_written_arrives_in_order_through_any_socket(
        is_new in any::<bool>(),
        lengths in prop::collection::vec(prop_oneof![1..64_usize, 1..100_000_usize], 1..8),
        room in 1..40_000_usize,
        max in 1..200_000_usize,
    ) {
        let mut pair = Pair::new(if is_new { &TLS13 } else { &TLS12 });
        pair.wire.borrow_mut().room = room;
        let pieces: Vec<Vec<u8>> = lengths.iter().map(|length| message(*length)).collect();
        let all = pieces.concat();
        let (mut sent, mut heard) = (0, Vec::new());
        while sent < all.len() || pair.server.has_unsent() {
            let rest = &all[sent..];
            let middle = rest.len() / 2;
            let pieces = [&rest[..middle], &rest[middle..]];
            match pair.server.write(pieces, max.min(rest.len())) {
                Ok(count) => {
                    prop_assert!(count > 0 || rest.is_empty());
                    sent += count;
                }
                Err(error) => prop_assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            prop_assert!(pair.server.memory_usage() <= WRITE_BYTES + 8 * OVERHEAD_BYTES);
            heard.extend(pair.receive());
            prop_assert!(all.starts_with(&heard));
        }
        prop_assert!(heard == all);
    }
}

/// No more than was passed is on the wire: the rest waits for the log.
#[test]
fn only_what_may_leave_is_encrypted() {
    let mut pair = Pair::new(&TLS13);
    let replies = [&b"+OK\r\n"[..], &b"+HELD\r\n"[..]];
    assert_eq!(pair.server.write(replies, 5).expect("room"), 5);
    assert_eq!(pair.receive(), b"+OK\r\n");
    assert!(!pair.server.has_unsent());
    assert_eq!(pair.server.write([&replies[1][..0]], 0).expect("room"), 0);
    assert_eq!(pair.receive(), b"");
    assert_eq!(
        pair.server
            .write(replies[1..].iter().copied(), 100)
            .expect("room"),
        7
    );
    assert_eq!(pair.receive(), b"+HELD\r\n");
}

#[test]
fn keys_are_updated_while_data_goes_on() {
    let mut pair = Pair::new(&TLS13);
    for round in 0..20 {
        pair.client.refresh_traffic_keys().expect("TLS 1.3");
        pair.say(b"PING\r\n");
        assert_eq!(pair.hear(&[]).0, b"PING\r\n", "round {round}");
        // The answer to the update stands in front of the reply.
        assert_eq!(pair.server.write([&b"+PONG\r\n"[..]], 7).expect("room"), 7);
        assert_eq!(pair.receive(), b"+PONG\r\n", "round {round}");
    }
}

/// Records of a client whose keys are known: such as no library sends.
struct Forger {
    key: aead::LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Forger {
    fn new(client: ClientConnection) -> Self {
        let secrets = client.dangerous_extract_secrets().expect("secrets");
        let (sequence, secrets) = secrets.tx;
        let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else {
            panic!("another suite");
        };
        let key = aead::UnboundKey::new(&aead::AES_256_GCM, key.as_ref()).expect("a key");
        Self {
            key: aead::LessSafeKey::new(key),
            iv: iv.as_ref().try_into().expect("12 bytes"),
            sequence,
        }
    }

    /// A record of TLS 1.3 (RFC 8446, 5.2).
    fn record(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut nonce = self.iv;
        for (byte, part) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= part;
        }
        self.sequence += 1;
        let mut body = [content, &[kind]].concat();
        let length = u16::try_from(body.len() + 16).expect("a short record");
        let mut record = vec![0x17, 3, 3];
        record.extend(length.to_be_bytes());
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        let head = aead::Aad::from(record.clone());
        self.key
            .seal_in_place_append_tag(nonce, head, &mut body)
            .expect("a record");
        record.extend(body);
        record
    }
}

const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;
/// A key update that asks for one in return (RFC 8446, 4.6.3).
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 1];

#[test]
fn replies_leave_between_the_parts_of_a_handshake_message() {
    let Pair {
        wire,
        client,
        mut server,
        ..
    } = Pair::new(&TLS13);
    let mut forger = Forger::new(client);
    let mut buffer = [0; 100];
    for part in [&KEY_UPDATE[..1], &KEY_UPDATE[1..3], &KEY_UPDATE[3..]] {
        wire.borrow_mut()
            .to_server
            .extend(forger.record(HANDSHAKE, part));
        let error = server.read(&mut buffer).expect_err("no data");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert_eq!(server.write([&b"+PONG\r\n"[..]], 7).expect("room"), 7);
    }
}

#[test]
fn a_flood_of_empty_records_is_refused() {
    let Pair {
        wire,
        client,
        mut server,
        ..
    } = Pair::new(&TLS13);
    let mut forger = Forger::new(client);
    let mut buffer = [0; 100];
    let records = |forger: &mut Forger, count| -> Vec<u8> {
        (0..count).flat_map(|_| forger.record(DATA, b"")).collect()
    };
    for _ in 0..3 {
        wire.borrow_mut().to_server.extend(records(&mut forger, 20));
        wire.borrow_mut()
            .to_server
            .extend(forger.record(DATA, b"PING"));
        assert_eq!(server.read(&mut buffer).expect("data"), 4);
    }
    wire.borrow_mut()
        .to_server
        .extend(records(&mut forger, 100));
    let error = server.read(&mut buffer).expect_err("no data");
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

#[test]
fn data_with_the_end_of_the_handshake_is_not_lost() {
    // The client says goodbye at once: three kinds of records in one read.
    let mut pair = Pair::new(&TLS13);
    pair.say(b"PING\r\n");
    pair.client.send_close_notify();
    pair.send();
    let (plain, end) = pair.hear(&[]);
    assert_eq!(plain, b"PING\r\n");
    assert!(matches!(end, Some(Ok(0))), "{end:?}");
    // It may still read its reply, and gets a goodbye.
    assert_eq!(pair.server.write([&b"+PONG\r\n"[..]], 7).expect("room"), 7);
    assert_eq!(pair.receive(), b"+PONG\r\n");
    drop(pair.server);
    let mut wire = pair.wire.borrow_mut();
    pair.client.read_tls(&mut wire.to_client).expect("records");
    let state = pair.client.process_new_packets().expect("good records");
    assert!(state.peer_has_closed());
}

#[test]
fn a_cut_within_a_record_is_an_end() {
    let mut pair = Pair::new(&TLS12);
    pair.say(b"PING\r\n");
    pair.say(&message(1000));
    let mut wire = pair.wire.borrow_mut();
    wire.to_server.truncate(500);
    wire.is_closed = true;
    drop(wire);
    let (plain, end) = pair.hear(&[]);
    assert_eq!(plain, b"PING\r\n");
    assert!(matches!(end, Some(Ok(0))), "{end:?}");
}

#[test]
fn a_broken_record_is_an_error_behind_the_data_before_it() {
    for version in [&TLS12, &TLS13] {
        let mut pair = Pair::new(version);
        pair.say(b"PING\r\n");
        let whole = pair.wire.borrow().to_server.len();
        pair.say(b"SET a b\r\n");
        *pair.wire.borrow_mut().to_server.back_mut().expect("a byte") ^= 1;
        pair.say(b"GET a\r\n");
        assert!(whole < pair.wire.borrow().to_server.len());
        let (plain, end) = pair.hear(&[]);
        assert_eq!(plain, b"PING\r\n");
        assert!(matches!(end, Some(Err(_))), "{end:?}");
        assert!(pair.hear(&[]).0.is_empty());
        // Nothing is encrypted for a peer that cannot be trusted.
        assert!(pair.server.write([&b"+OK\r\n"[..]], 5).is_err());
    }
}

#[test]
fn what_is_no_tls_is_refused_without_an_answer() {
    for bytes in [
        &b"*1\r\n$4\r\nPING\r\n"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        &[0; 100],
    ] {
        let pair = Pair::new(&TLS13);
        let wire = Rc::new(RefCell::new(Wire {
            room: usize::MAX,
            ..Wire::default()
        }));
        wire.borrow_mut().to_server.extend(bytes);
        let config = Arc::clone(&pair.config);
        let mut server = TlsStream::new(Socket(Rc::clone(&wire)), config).expect("a server");
        assert!(server.shake_hands().is_err(), "{bytes:?}");
        assert!(wire.borrow().to_client.is_empty(), "{bytes:?}");
    }
}
