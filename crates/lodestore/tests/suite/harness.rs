//! Starts servers for tests and talks to them over raw RESP.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use resp::{Value, decode, quoted, split_args};

/// How long a condition may take to come true: this decides no result on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How long a server may take to answer its first PING.
const START_TIMEOUT: Duration = PATIENCE;

/// Starts of one server that may fail because its port was taken.
const START_TRIES: usize = 5;

/// How long one reply may take.
pub(crate) const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// Words of a request that the messages of failed tests show.
const SHOWN_WORDS_MAX: usize = 8;

/// The options of every server of the tests, except those without any.
const USUAL: &[&str] = &["--save", "", "--appendonly", "yes"];

/// A running server with a directory of its own; killed when dropped.
pub(crate) struct TestServer {
    child: Child,
    port: u16,
    dir: PathBuf,
    setup: Setup,
    args: Vec<String>,
    /// A store in the process of the test, which gets the same requests.
    beside: Option<lodestore::Store>,
}

/// The kind of a server.
#[derive(Clone)]
struct Setup {
    program: PathBuf,
    usual: &'static [&'static str],
}

/// The program to test: the server as built, unless `LODESTORE_TEST_PROGRAM` names another, such as
/// one built with a sanitizer.
pub(crate) fn program() -> PathBuf {
    let named = std::env::var_os("LODESTORE_TEST_PROGRAM");
    named.map_or_else(|| env!("CARGO_BIN_EXE_lodestore").into(), PathBuf::from)
}

impl Setup {
    fn usual() -> Self {
        Self {
            usual: USUAL,
            ..Self::plain()
        }
    }

    fn plain() -> Self {
        Self {
            program: program(),
            usual: &[],
        }
    }
}

impl TestServer {
    /// A server with an append-only file in a fresh directory.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same beside a store in the process of the test: clients run each request there as well,
    /// by function call, and their tables of replies hold for both.
    pub(crate) fn start_twice() -> Self {
        let mut server = Self::start();
        server.beside = Some(lodestore::Store::in_memory().expect("a store"));
        server
    }

    /// The same with further options.
    pub(crate) fn start_with(args: &[&str]) -> Self {
        Self::start_in(fresh_dir(), Setup::usual(), owned(args))
    }

    /// A server on a directory that may have files already, with these options only.
    pub(crate) fn start_plain(dir: PathBuf, args: &[&str]) -> Self {
        Self::start_in(dir, Setup::plain(), owned(args))
    }

    /// The same, but it need not answer yet.
    pub(crate) fn begin_plain(dir: PathBuf, args: &[&str]) -> Self {
        Self::spawn(dir, Setup::plain(), owned(args))
    }

    /// As [`TestServer::start_plain`] with the program of another server.
    pub(crate) fn start_peer(program: &Path, dir: PathBuf, args: &[&str]) -> Self {
        let setup = Setup {
            program: program.to_owned(),
            ..Setup::plain()
        };
        Self::start_in(dir, setup, owned(args))
    }

    /// The same for a server that asks for a password: any reply says that it is ready.
    pub(crate) fn start_peer_unready(program: &Path, dir: PathBuf, args: &[&str]) -> Self {
        let setup = Setup {
            program: program.to_owned(),
            ..Setup::plain()
        };
        let server = Self::spawn(dir, setup, owned(args));
        server.wait_until_it_answers();
        server
    }

    /// As [`TestServer::restart`], for a server that asks for a password.
    pub(crate) fn restart_unready(&mut self) {
        self.kill();
        let next = Self::spawn(self.dir.clone(), self.setup.clone(), self.args.clone());
        next.wait_until_it_answers();
        let old = std::mem::replace(self, next);
        // The directory belongs to the new server now.
        let mut old = std::mem::ManuallyDrop::new(old);
        old.kill();
    }

    fn wait_until_it_answers(&self) {
        let began = Instant::now();
        loop {
            if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
                let mut client = Client::new(stream);
                let is_sent = client.try_send(b"PING\r\n");
                let reply = is_sent.then(|| client.read_or_closed()).flatten();
                if reply.is_some_and(|reply| !show(&reply).starts_with("-LOADING")) {
                    return;
                }
            }
            assert!(began.elapsed() < START_TIMEOUT, "{:?}", self.args);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn start_in(dir: PathBuf, setup: Setup, args: Vec<String>) -> Self {
        for _ in 0..START_TRIES {
            let mut server = Self::spawn(dir.clone(), setup.clone(), args.clone());
            if server.wait_until_ready() {
                return server;
            }
            // The server ended: another process took the port. The directory is still needed.
            let mut ended = std::mem::ManuallyDrop::new(server);
            ended.kill();
        }
        panic!("the server does not start: {args:?}");
    }

    fn spawn(dir: PathBuf, setup: Setup, args: Vec<String>) -> Self {
        let port = free_port();
        let child = Command::new(&setup.program)
            .args(["--port", &port.to_string()])
            .args(["--bind", "127.0.0.1", "--dir"])
            .arg(&dir)
            .args(setup.usual)
            .args(&args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the server starts");
        Self {
            child,
            port,
            dir,
            setup,
            args,
            beside: None,
        }
    }

    /// False when the process ended instead.
    fn wait_until_ready(&mut self) -> bool {
        let began = Instant::now();
        while began.elapsed() < START_TIMEOUT {
            if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
                // The server may close the connection or answer LOADING before it is ready.
                let mut client = Client::new(stream);
                let is_sent = client.try_send(b"PING\r\n");
                let reply = is_sent.then(|| client.read_or_closed()).flatten();
                if reply == Some(Value::Simple(b"PONG".to_vec())) {
                    return true;
                }
            } else if self.child.try_wait().expect("its state").is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the server on port {} does not answer", self.port);
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Client {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("a connection");
        let mut client = Client::new(stream);
        client.beside = self.beside.as_ref().map(|store| {
            let mut beside = store.client();
            beside.call(&["HELLO", "2"]).expect("HELLO");
            beside
        });
        client
    }

    /// A new connection that speaks RESP3.
    pub(crate) fn connect_resp3(&self) -> Client {
        let mut client = self.connect();
        assert!(!client.run(&["HELLO", "3"]).is_error());
        client
    }

    /// Kills the server as a crash would, and starts it again on its files.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let next = Self::start_in(self.dir.clone(), self.setup.clone(), self.args.clone());
        let old = std::mem::replace(self, next);
        // The directory belongs to the new server now.
        let mut old = std::mem::ManuallyDrop::new(old);
        old.kill();
    }

    /// The same with other options from now on.
    pub(crate) fn restart_with(&mut self, args: &[&str]) {
        self.args = owned(args);
        self.restart();
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A second server that loaded a copy of this server's files.
    pub(crate) fn replayed(&self) -> Self {
        let dir = fresh_dir();
        copy_dir(&self.dir, &dir);
        Self::start_in(dir, self.setup.clone(), self.args.clone())
    }

    /// The same, with further options for this start only.
    pub(crate) fn replayed_with(&self, more: &[&str]) -> Self {
        let dir = fresh_dir();
        copy_dir(&self.dir, &dir);
        let args = [self.args.clone(), owned(more)].concat();
        let mut server = Self::start_in(dir, self.setup.clone(), args);
        server.args.clone_from(&self.args);
        server
    }

    /// The commands in the newest increment of the append-only file, in the words of redis-cli.
    pub(crate) fn logged(&self) -> Vec<String> {
        let dir = self.dir.join("appendonlydir");
        let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
            .expect("the directory of the append-only file")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
            .collect();
        files.sort();
        let bytes = std::fs::read(files.last().expect("an increment")).expect("its bytes");
        parse_log(&bytes)
    }

    /// Runs `commands` and returns what they added to the log, without SELECT.
    pub(crate) fn logs_of(&self, commands: &[&str]) -> Vec<String> {
        let before = self.logged().len();
        let mut client = self.connect();
        for command in commands {
            client.line(command);
        }
        let mut added = self.logged().split_off(before);
        added.retain(|command| !command.starts_with("SELECT "));
        added
    }

    /// Checks that a second server which replays the log holds the same data.
    pub(crate) fn assert_replays(&self) {
        let other = self.replayed();
        assert_eq!(dump(&mut self.connect()), dump(&mut other.connect()));
    }

    /// Starts a killed server on its files and kills it after a while, in whatever it is doing
    /// then.
    pub(crate) fn start_and_kill(&mut self, after: Duration) {
        let next = Self::spawn(self.dir.clone(), self.setup.clone(), self.args.clone());
        std::thread::sleep(after);
        let mut next = std::mem::ManuallyDrop::new(next);
        next.kill();
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the process has ended by itself; the exit code.
    pub(crate) fn wait_for_end(&mut self) -> Option<i32> {
        let began = Instant::now();
        while began.elapsed() < START_TIMEOUT {
            if let Some(status) = self.child.try_wait().expect("its state") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the server on port {} does not end", self.port);
    }

    /// Kills the server with SIGKILL and waits for its end.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl TestServer {
    /// Ends the server with a command, and keeps its directory.
    pub(crate) fn shut_down(mut self, command: &str) -> PathBuf {
        let args = split_args(command.as_bytes()).expect("balanced quotes");
        let words: Vec<&[u8]> = args.as_args().iter().collect();
        self.connect().send(&words);
        self.wait_for_end();
        std::mem::take(&mut self.dir)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.kill();
        if !self.dir.as_os_str().is_empty() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

fn owned(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

/// Everything in databases 0 to 3, as text: one line per key.
pub(crate) fn dump(client: &mut Client) -> Vec<String> {
    let mut lines = Vec::new();
    for db in 0..4 {
        client.line(&format!("SELECT {db}"));
        let Value::Array(keys) = client.run(&["KEYS", "*"]) else {
            panic!("KEYS answers an array");
        };
        for key in keys {
            let key = key.as_bytes().expect("a key").to_vec();
            let kind = show(&client.run_bytes(&[b"TYPE", &key]));
            let deadline = show(&client.run_bytes(&[b"PEXPIRETIME", &key]));
            let content = content(client, &kind, &key);
            let line = format!("{db} {} {kind} {deadline} {content}", quoted(&key));
            lines.push(line);
        }
    }
    client.line("SELECT 0");
    lines.sort();
    lines
}

/// The contents of a key as text: elements without an order of their own are sorted, and each is
/// followed by its deadline.
fn content(client: &mut Client, kind: &str, key: &[u8]) -> String {
    /// How to read, how many replies an element has, how to ask for its deadline.
    type Reading<'a> = (&'a [&'a [u8]], usize, Option<(&'a [u8], &'a [u8])>);
    let (read, width, tell): Reading<'_> = match kind {
        "+list" => (&[b"LRANGE", key, b"0", b"-1"], 1, None),
        "+set" => (&[b"SMEMBERS", key], 1, Some((b"SPEXPIRETIME", b"MEMBERS"))),
        "+zset" => (
            &[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"],
            2,
            Some((b"ZPEXPIRETIME", b"MEMBERS")),
        ),
        "+hash" => (&[b"HGETALL", key], 2, Some((b"HPEXPIRETIME", b"FIELDS"))),
        "+stream" => {
            let entries = show(&client.run_bytes(&[b"XRANGE", key, b"-", b"+"]));
            let mut info = client.run_bytes(&[b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0"]);
            hide_transient(&mut info);
            return format!("{entries} {}", show(&info));
        }
        _ => return show(&client.run_bytes(&[b"GET", key])),
    };
    let reply = client.run_bytes(read);
    let elements = reply.as_elements().expect("an array");
    let Some((word, list)) = tell else {
        return show(&reply);
    };
    let mut texts = Vec::new();
    for element in elements.chunks(width) {
        let name = element[0].as_bytes().expect("an element");
        let deadline = client.run_bytes(&[word, key, list, b"1", name]);
        let texts_of: Vec<String> = element.iter().chain([&deadline]).map(show).collect();
        texts.push(texts_of.join(" "));
    }
    if kind != "+zset" {
        texts.sort();
    }
    format!("[{}]", texts.join(", "))
}

/// Removes from a description of a stream what does not survive a restart: when consumers were
/// seen, and how entries are spread over nodes.
fn hide_transient(value: &mut Value) {
    const TRANSIENT: [&[u8]; 4] = [
        b"seen-time",
        b"active-time",
        b"radix-tree-keys",
        b"radix-tree-nodes",
    ];
    let Value::Array(values) = value else {
        return;
    };
    for at in 0..values.len() {
        let named = at.checked_sub(1).and_then(|name| values[name].as_bytes());
        if named.is_some_and(|name| TRANSIENT.contains(&name)) {
            values[at] = Value::NullBulk;
        }
        hide_transient(&mut values[at]);
    }
}

pub(crate) fn fresh_dir() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "lodestore-test-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let dir = std::env::temp_dir().join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("a directory for the test");
    dir
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory to copy") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

pub(crate) fn free_port() -> u16 {
    // Below the ports that the system gives to clients, of which the tests have many.
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let offset = std::process::id().wrapping_mul(97);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(offset) % COUNT;
        let port = u16::try_from(FIRST + number).expect("a port");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// The records of a log; annotations between them are left out.
fn parse_log(mut bytes: &[u8]) -> Vec<String> {
    let mut commands = Vec::new();
    while let Some(first) = bytes.first() {
        if *first == b'#' {
            let end = bytes
                .iter()
                .position(|byte| *byte == b'\n')
                .expect("a line end");
            bytes = &bytes[end + 1..];
            continue;
        }
        let (value, used) = decode(bytes).expect("a record").expect("a whole record");
        let words: Vec<String> = value
            .as_elements()
            .expect("a record is an array")
            .iter()
            .map(|word| String::from_utf8_lossy(word.as_bytes().expect("a word")).into_owned())
            .collect();
        commands.push(words.join(" "));
        bytes = &bytes[used..];
    }
    commands
}

/// What carries a connection.
pub(crate) trait Transport: Read + Write + Send {}

impl<T: Read + Write + Send> Transport for T {}

/// A connection.
pub(crate) struct Client {
    stream: Box<dyn Transport>,
    input: Vec<u8>,
    /// The newest request, for messages of failed tests.
    request: String,
    /// A client of the store beside the server.
    beside: Option<lodestore::Client>,
    /// Its newest reply.
    reply_beside: Option<Value>,
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        stream
            .set_read_timeout(Some(REPLY_TIMEOUT))
            .expect("a time-out");
        stream.set_nodelay(true).expect("no delay");
        Self::over(stream)
    }

    /// A client over a connection whose reads end after some time.
    pub(crate) fn over(stream: impl Transport + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            input: Vec::new(),
            request: String::new(),
            beside: None,
            reply_beside: None,
        }
    }

    /// From now on snapshots and rewrites stay at their first key.
    pub(crate) fn hold_snapshots(&mut self) {
        self.check(&[("CONFIG SET rdb-key-save-delay 1000000000", "+OK")]);
    }

    /// Lets snapshots and rewrites go on that are held.
    pub(crate) fn let_snapshots_go(&mut self) {
        self.check(&[("CONFIG SET rdb-key-save-delay 0", "+OK")]);
    }

    /// Sends a request without waiting for its reply.
    pub(crate) fn send(&mut self, words: &[&[u8]]) {
        self.request = words
            .iter()
            .take(SHOWN_WORDS_MAX)
            .map(|word| brief(word))
            .collect::<Vec<_>>()
            .join(" ");
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.stream
            .write_all(&request)
            .expect("the request is sent");
    }

    /// Sends encoded requests. False when the server is gone.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.request = brief(bytes);
        self.stream.write_all(bytes).is_ok()
    }

    /// The next reply; `None` when the server closes the connection instead.
    ///
    /// # Panics
    ///
    /// When neither happens within the time-out.
    pub(crate) fn read_or_closed(&mut self) -> Option<Value> {
        loop {
            if let Some((value, used)) = decode(&self.input).expect("a reply") {
                self.input.drain(..used);
                return Some(value);
            }
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(read) => self.input.extend_from_slice(&chunk[..read]),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::ConnectionReset
                    | ErrorKind::ConnectionAborted
                    | ErrorKind::UnexpectedEof
                    | ErrorKind::BrokenPipe => return None,
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => panic!(
                        "no reply to {} within {REPLY_TIMEOUT:?}; received so far: {}",
                        self.request,
                        brief(&self.input)
                    ),
                    _ => panic!("reading the reply to {}: {error}", self.request),
                },
            }
        }
    }

    /// The next reply.
    ///
    /// # Panics
    ///
    /// When none comes within the time-out, or the server closes the connection.
    pub(crate) fn read(&mut self) -> Value {
        let reply = self.read_or_closed();
        reply.unwrap_or_else(|| {
            panic!(
                "the server closed the connection instead of a reply to {}",
                self.request
            )
        })
    }

    /// Runs one request.
    pub(crate) fn run_bytes(&mut self, words: &[&[u8]]) -> Value {
        self.send(words);
        let reply = self.read();
        if let Some(beside) = &mut self.beside {
            let reply = beside.call(words).unwrap_or_else(|error| match error {
                lodestore::Error::Command(line) => Value::Error(line.into_bytes()),
                other => panic!("{} by function call: {other}", self.request),
            });
            self.reply_beside = Some(reply);
        }
        reply
    }

    /// Runs one request.
    pub(crate) fn run(&mut self, words: &[&str]) -> Value {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.run_bytes(&words)
    }

    /// Runs a request written as one line, with quotes as in redis-cli; returns the reply as
    /// [`show`] writes it.
    pub(crate) fn line(&mut self, line: &str) -> String {
        let args = split_args(line.as_bytes()).expect("balanced quotes");
        let words: Vec<&[u8]> = args.as_args().iter().collect();
        show(&self.run_bytes(&words))
    }

    /// Runs requests one after the other and checks each reply.
    pub(crate) fn check(&mut self, expected: &[(&str, &str)]) {
        for (line, reply) in expected {
            assert_eq!(self.line(line), *reply, "reply to {line}");
            if let Some(beside) = self.reply_beside.take() {
                assert_eq!(show(&beside), *reply, "reply to {line} by function call");
            }
        }
    }

    /// Runs a request and returns its integer reply.
    pub(crate) fn integer(&mut self, line: &str) -> i64 {
        let reply = self.line(line);
        reply
            .strip_prefix(':')
            .and_then(|digits| digits.parse().ok())
            .unwrap_or_else(|| panic!("{line} answers {reply}, not an integer"))
    }
}

/// The first bytes of a request or reply as text, for messages.
fn brief(bytes: &[u8]) -> String {
    const MAX_BYTES: usize = 200;
    let shown = &bytes[..bytes.len().min(MAX_BYTES)];
    let more = if shown.len() < bytes.len() { "..." } else { "" };
    format!("{}{more}", quoted(shown))
}

/// A reply as text, each type of RESP in a form of its own: `+OK`, `-ERR ...`, `:1`, `"bulk"`,
/// `[...]`, `nil` (`$-1`), `nil-array` (`*-1`); in RESP3 also `null`, `{key: value}`, `~[...]`,
/// `>[...]`, `,1.5`, `#t`, `(123`, `=txt:"verbatim"`, `!"bulk error"` and `|{attribute: value}
/// reply`.
pub(crate) fn show(value: &Value) -> String {
    let list = |values: &[Value]| {
        let texts: Vec<String> = values.iter().map(show).collect();
        format!("[{}]", texts.join(" "))
    };
    match value {
        Value::Simple(text) => format!("+{}", String::from_utf8_lossy(text)),
        Value::Error(text) => format!("-{}", String::from_utf8_lossy(text)),
        Value::BulkError(text) => format!("!{}", quoted(text)),
        Value::Integer(number) => format!(":{number}"),
        Value::Bulk(bytes) => quoted(bytes),
        Value::Verbatim(format, text) => {
            format!("={}:{}", String::from_utf8_lossy(format), quoted(text))
        }
        Value::Null => "null".to_owned(),
        Value::NullBulk => "nil".to_owned(),
        Value::NullArray => "nil-array".to_owned(),
        Value::Array(values) => list(values),
        Value::Set(values) => format!("~{}", list(values)),
        Value::Push(values) => format!(">{}", list(values)),
        Value::Map(pairs) => show_pairs(pairs),
        Value::Attribute(pairs, value) => format!("|{} {}", show_pairs(pairs), show(value)),
        Value::Double(number) => format!(",{number}"),
        Value::Boolean(value) => format!("#{}", if *value { 't' } else { 'f' }),
        Value::BigNumber(digits) => format!("({}", String::from_utf8_lossy(digits)),
    }
}

fn show_pairs(pairs: &[(Value, Value)]) -> String {
    let texts: Vec<String> = pairs
        .iter()
        .map(|(key, value)| format!("{}: {}", show(key), show(value)))
        .collect();
    format!("{{{}}}", texts.join(" "))
}
