//! The HTTP side: metrics, health, who may ask, and what it refuses.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::harness::{REPLY_TIMEOUT, TestServer, free_port, fresh_dir, show};

/// A server with an HTTP port.
pub(super) struct Watched {
    pub(super) server: TestServer,
    pub(super) port: u16,
}

impl Watched {
    pub(super) fn start(options: &[&str]) -> Self {
        let port = free_port();
        let text = port.to_string();
        let server = TestServer::start_with(&[&["--http-port", &text], options].concat());
        Self { server, port }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("a connection");
        let limit = Some(REPLY_TIMEOUT);
        stream.set_read_timeout(limit).expect("a time-out");
        stream
    }

    /// Sends bytes and reads until the server closes the connection.
    pub(super) fn exchange(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(request).expect("the request is sent");
        read_all(&mut stream)
    }

    /// A request with the usual headers and others; the status and all of the answer.
    pub(super) fn ask(&self, method: &str, path: &str, headers: &[&str]) -> (u16, String) {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n",
            self.port
        );
        for header in headers {
            request.push_str(header);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        let answer = self.exchange(request.as_bytes());
        (status(&answer), answer)
    }

    /// The samples of `/metrics`.
    fn metrics(&self, headers: &[&str]) -> HashMap<String, f64> {
        let (code, answer) = self.ask("GET", "/metrics", headers);
        assert_eq!(code, 200, "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(
            head.to_ascii_lowercase()
                .contains("content-type: text/plain; version=0.0.4"),
            "{head}"
        );
        samples(body)
    }

    fn wait_until_ready(&self) {
        let began = Instant::now();
        while self.ask("GET", "/readyz", &[]).0 != 200 {
            assert!(began.elapsed() < REPLY_TIMEOUT);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut chunk = [0; 64 * 1024];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the server neither answers nor closes: {error}"),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

pub(super) fn status(answer: &str) -> u16 {
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    code.unwrap_or_else(|| panic!("no status: {answer}"))
}

/// Checks the text format, and returns the samples by name with labels.
fn samples(body: &str) -> HashMap<String, f64> {
    let mut found = HashMap::new();
    let mut family = String::new();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().expect("a name").to_owned();
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect("a value");
        let base = name.split('{').next().expect("a name");
        assert!(base.starts_with(&family), "{line} stands under {family}");
        let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
        let before = found.insert(name.to_owned(), value);
        assert!(before.is_none(), "{name} is there twice");
    }
    found
}

pub(super) fn basic(credentials: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in credentials.as_bytes().chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * digit)) as usize & 63];
            text.push(if digit <= chunk.len() {
                letter.into()
            } else {
                '='
            });
        }
    }
    format!("Authorization: Basic {text}")
}

#[test]
fn metrics_move_under_load() {
    let watched = Watched::start(&["--threads", "2"]);
    let mut client = watched.server.connect();
    client.line("SET a 1");
    client.line("SET b 2 EX 1000");
    let before = watched.metrics(&[]);
    for _ in 0..100 {
        client.line("GET a");
    }
    client.line("GET missing");
    client.line("LPUSH a 1");
    client.line("NOSUCH");
    client.line("CLIENT SETNAME q");
    client.line("SELECT 3");
    client.line("SET c 1");
    let after = watched.metrics(&[]);
    let of = |name: &str| after.get(name).copied().unwrap_or_else(|| panic!("{name}"));
    let grown = |name: &str| of(name) - before.get(name).copied().unwrap_or(0.0);
    assert_eq!(grown("redis_commands_total{cmd=\"get\"}"), 101.0);
    assert!(grown("redis_commands_duration_seconds_total{cmd=\"get\"}") > 0.0);
    assert_eq!(of("redis_commands_failed_calls_total{cmd=\"lpush\"}"), 1.0);
    assert_eq!(grown("redis_keyspace_hits_total"), 100.0);
    assert_eq!(grown("redis_keyspace_misses_total"), 1.0);
    assert!(grown("redis_commands_processed_total") >= 104.0);
    assert!(grown("redis_net_input_bytes_total") > 1000.0);
    assert_eq!(of("redis_errors_total{err=\"WRONGTYPE\"}"), 1.0);
    assert_eq!(of("redis_db_keys{db=\"db0\"}"), 2.0);
    assert_eq!(of("redis_db_keys_expiring{db=\"db0\"}"), 1.0);
    assert!(of("redis_db_avg_ttl_seconds{db=\"db0\"}") > 900.0);
    assert_eq!(of("redis_db_keys{db=\"db3\"}"), 1.0);
    assert_eq!(of("redis_db_keys{db=\"db15\"}"), 0.0);
    assert_eq!(of("redis_connected_clients"), 1.0);
    assert_eq!(of("redis_up"), 1.0);
    assert_eq!(of("redis_aof_last_write_status"), 1.0);
    assert_eq!(of("lodestore_ready"), 1.0);
    assert_eq!(of("lodestore_keys_stale"), 0.0);
    assert!(
        after
            .keys()
            .any(|name| name.starts_with("redis_instance_info{role=\"master\""))
    );
}

#[test]
fn histograms_and_percentiles_agree_with_the_counts() {
    let watched = Watched::start(&[]);
    let mut client = watched.server.connect();
    for _ in 0..50 {
        client.line("SET a 1");
    }
    let found = watched.metrics(&[]);
    let of = |name: &str| found.get(name).copied().unwrap_or_else(|| panic!("{name}"));
    let calls = of("redis_commands_total{cmd=\"set\"}");
    assert_eq!(calls, 50.0);
    let name = "lodestore_command_duration_seconds";
    assert_eq!(of(&format!("{name}_count{{cmd=\"set\"}}")), calls);
    assert_eq!(
        of(&format!("{name}_bucket{{cmd=\"set\",le=\"+Inf\"}}")),
        calls
    );
    let mut buckets: Vec<(f64, f64)> = found
        .iter()
        .filter_map(|(sample, count)| {
            let le = sample
                .strip_prefix(&format!("{name}_bucket{{cmd=\"set\",le=\""))?
                .strip_suffix("\"}")?;
            Some((le.parse().ok()?, *count))
        })
        .collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(buckets.len() > 15);
    assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1), "{buckets:?}");
    assert_eq!(
        of("redis_commands_latencies_usec_bucket{cmd=\"set\",le=\"+Inf\"}"),
        calls
    );
    assert_eq!(
        of("redis_latency_percentiles_usec_count{cmd=\"set\"}"),
        calls
    );
    assert!(of("redis_latency_percentiles_usec{cmd=\"set\",quantile=\"99.9\"}") > 0.0);
    // Without tracking there is nothing to show.
    client.line("CONFIG SET latency-tracking no");
    let found = watched.metrics(&[]);
    assert!(!found.keys().any(|sample| sample.contains("percentiles")));
}

#[test]
fn methods_and_paths() {
    let watched = Watched::start(&[]);
    assert_eq!(watched.ask("GET", "/", &[]).0, 200);
    assert_eq!(watched.ask("GET", "/healthz", &[]).0, 200);
    assert_eq!(watched.ask("GET", "/metrics?x=1", &[]).0, 200);
    assert_eq!(watched.ask("GET", "/nothing", &[]).0, 404);
    assert_eq!(watched.ask("GET", "/metrics/", &[]).0, 404);
    let (code, answer) = watched.ask("HEAD", "/metrics", &[]);
    assert_eq!(code, 200);
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
        let (code, answer) = watched.ask(method, "/metrics", &[]);
        assert_eq!(code, 405, "{method}");
        assert!(answer.to_ascii_lowercase().contains("allow: get, head"));
    }
    let body = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(status(&watched.exchange(body.as_bytes())), 413);
    let (_, answer) = watched.ask("GET", "/", &[]);
    let answer = answer.to_ascii_lowercase();
    assert!(answer.contains("x-content-type-options: nosniff"));
    assert!(answer.contains("content-security-policy: default-src 'none'"));
    assert!(answer.contains("cache-control: no-store"));
}

#[test]
fn other_names_and_pages_are_refused() {
    let watched = Watched::start(&["--http-hosts", "db.example"]);
    let host = |name: &str| {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {name}\r\n\r\n");
        status(&watched.exchange(request.as_bytes()))
    };
    for name in [
        "127.0.0.1",
        "localhost:1",
        "[::1]:80",
        "192.0.2.1",
        "DB.example:9",
    ] {
        assert_eq!(host(name), 200, "{name}");
    }
    for name in ["evil.example", "db.example.evil", "127.0.0.1.nip.io"] {
        assert_eq!(host(name), 403, "{name}");
    }
    for name in ["", "a@127.0.0.1", "127.0.0.1\r\nHost: 127.0.0.1"] {
        assert_eq!(host(name), 400, "{name:?}");
    }
    let none = watched.exchange(b"GET /healthz HTTP/1.1\r\n\r\n");
    assert_eq!(status(&none), 400);
    let absolute = b"GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(status(&watched.exchange(absolute)), 403);
    let own = format!("Origin: http://127.0.0.1:{}", watched.port);
    assert_eq!(watched.ask("GET", "/metrics", &[&own]).0, 200);
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        let header = format!("Origin: {origin}");
        assert_eq!(watched.ask("GET", "/metrics", &[&header]).0, 403);
    }
    // The list can be changed while the server runs.
    watched
        .server
        .connect()
        .line("CONFIG SET http-hosts evil.example");
    assert_eq!((host("evil.example"), host("db.example")), (200, 403));
}

#[test]
fn users_and_their_rights() {
    let watched = Watched::start(&["--acllog-max-len", "10"]);
    let mut client = watched.server.connect();
    assert_eq!(watched.ask("GET", "/metrics", &[]).0, 200);
    client.line("CONFIG SET requirepass secret");
    let mut client = watched.server.connect();
    client.line("AUTH secret");
    client.line("ACL SETUSER reader on >pw +info");
    client.line("ACL SETUSER other on >pw +get ~*");
    client.line("ACL SETUSER asleep off >pw +@all");
    let ask = |credentials: &str| watched.ask("GET", "/metrics", &[&basic(credentials)]).0;
    let (code, answer) = watched.ask("GET", "/metrics", &[]);
    assert_eq!(code, 401);
    assert!(
        answer
            .to_ascii_lowercase()
            .contains("www-authenticate: basic")
    );
    assert_eq!(ask("default:secret"), 200);
    assert_eq!(ask(":secret"), 200);
    assert_eq!(ask("reader:pw"), 200);
    assert_eq!(ask("reader:wrong"), 401);
    assert_eq!(ask("nosuch:pw"), 401);
    assert_eq!(ask("asleep:pw"), 401);
    assert_eq!(ask("other:pw"), 403);
    let wrong = "Authorization: Bearer x";
    assert_eq!(watched.ask("GET", "/metrics", &[wrong]).0, 400);
    // Probes have no password.
    assert_eq!(watched.ask("GET", "/healthz", &[]).0, 200);
    assert_eq!(watched.ask("GET", "/readyz", &[]).0, 200);
    let log = client.line("ACL LOG");
    assert!(
        log.contains("\"object\" \"http\" \"username\" \"nosuch\""),
        "{log}"
    );
    assert!(
        log.contains("\"object\" \"info\" \"username\" \"other\""),
        "{log}"
    );
    let found = watched.metrics(&[&basic("reader:pw")]);
    assert_eq!(found["redis_acl_access_denied_auth_total"], 3.0);
    assert_eq!(found["redis_acl_access_denied_cmd_total"], 1.0);
    // The right can be taken away at any time.
    client.line("ACL SETUSER reader -info");
    assert_eq!(ask("reader:pw"), 403);
}

#[test]
fn failed_logins_are_audited() {
    let watched = Watched::start(&["--audit-log", "audit"]);
    watched
        .server
        .connect()
        .line("CONFIG SET requirepass secret");
    watched.ask("GET", "/metrics", &[&basic("someone:wrong")]);
    watched.ask("GET", "/metrics", &[&basic("default:secret")]);
    let path = watched.server.dir().join("audit");
    let lines = std::fs::read_to_string(path).expect("the audit log");
    assert!(lines.contains("\"event\":\"auth-failure\""), "{lines}");
    assert!(lines.contains("\"user\":\"someone\""), "{lines}");
    assert!(lines.contains("\"event\":\"auth-success\""), "{lines}");
    assert!(
        !lines.contains("secret") && !lines.contains("wrong"),
        "{lines}"
    );
}

#[test]
fn what_is_too_large_or_malformed_is_refused() {
    let watched = Watched::start(&[]);
    let long = format!("/{}", "a".repeat(2000));
    assert_eq!(watched.ask("GET", &long, &[]).0, 414);
    let big = format!("X-Big: {}", "a".repeat(20_000));
    assert_eq!(watched.ask("GET", "/healthz", &[&big]).0, 431);
    let many = ["X: y"; 100];
    assert_eq!(watched.ask("GET", "/healthz", &many).0, 431);
    for request in [
        "*1\r\n$4\r\nPING\r\n\r\n",
        "PING\r\n\r\n",
        "GET /healthz\r\n\r\n",
        "GET /healthz HTTP/9.9\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\r\n\r\n",
    ] {
        let answer = watched.exchange(request.as_bytes());
        assert!(
            answer.is_empty() || status(&answer) == 400,
            "{request:?}: {answer}"
        );
    }
    // A client that says nothing more loses its connection, the server goes on.
    let stream = watched.connect();
    stream.shutdown(Shutdown::Write).expect("half closed");
    assert_eq!(watched.ask("GET", "/healthz", &[]).0, 200);
}

#[test]
fn slow_requests_end() {
    let watched = Watched::start(&[]);
    let mut stream = watched.connect();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHo")
        .expect("sent");
    // Others are served meanwhile.
    assert_eq!(watched.ask("GET", "/healthz", &[]).0, 200);
    let answer = read_all(&mut stream);
    assert!(answer.is_empty() || status(&answer) == 408, "{answer}");
}

#[test]
fn idle_connections_keep_no_monitor_out() {
    let watched = Watched::start(&[]);
    let mut idle: Vec<_> = (0..64).map(|_| watched.connect()).collect();
    // Each of these takes the place of the oldest.
    for _ in 0..3 {
        assert_eq!(watched.ask("GET", "/healthz", &[]).0, 200);
    }
    assert_eq!(read_all(&mut idle[0]), "");
    let last = idle.last_mut().expect("the last one");
    last.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("sent");
    assert_eq!(status(&read_all(last)), 200);
}

#[test]
fn a_port_in_use_ends_the_start() {
    let watched = Watched::start(&[]);
    let text = watched.port.to_string();
    let args = ["--http-port", &text, "--logfile", "log"];
    let mut second = TestServer::begin_plain(fresh_dir(), &args);
    assert_eq!(second.wait_for_end(), Some(1));
    let log = std::fs::read_to_string(second.dir().join("log")).expect("the log");
    assert!(log.contains("Failed listening on 127.0.0.1"), "{log}");
    assert!(log.contains("Address already in use"), "{log}");
}

#[test]
fn the_port_is_off_by_default_and_closes_at_the_end() {
    let plain = TestServer::start();
    assert_eq!(
        plain.connect().line("CONFIG GET http-port"),
        "[\"http-port\" \"0\"]"
    );
    let Watched { server, port } = Watched::start(&[]);
    let dir = server.shut_down("SHUTDOWN");
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
    let _ = std::fs::remove_dir_all(dir);
}

#[test]
fn a_replica_is_ready_when_it_is_in_sync() {
    let primary = TestServer::start();
    let watched = Watched::start(&[]);
    watched.wait_until_ready();
    // A port on which nothing listens.
    let nowhere = free_port();
    let mut client = watched.server.connect();
    client.line(&format!("REPLICAOF 127.0.0.1 {nowhere}"));
    let (code, answer) = watched.ask("GET", "/readyz", &[]);
    assert_eq!(code, 503);
    assert!(answer.contains("not in sync with its primary"), "{answer}");
    let down = watched.metrics(&[]);
    let link =
        format!("redis_master_link_up{{master_host=\"127.0.0.1\",master_port=\"{nowhere}\"}}");
    assert_eq!((down[&link], down["lodestore_ready"]), (0.0, 0.0));
    client.line(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    watched.wait_until_ready();
    let up = watched.metrics(&[]);
    let port = primary.port();
    let link = format!("redis_master_link_up{{master_host=\"127.0.0.1\",master_port=\"{port}\"}}");
    assert_eq!((up[&link], up["lodestore_ready"]), (1.0, 1.0));
    assert!(up.keys().any(|name| name.starts_with("redis_slave_info{")));
}

#[test]
fn data_that_stays_locked_holds_no_page_up() {
    let watched = Watched::start(&["--busy-reply-threshold", "100"]);
    let mut client = watched.server.connect();
    client.line("SET a 1");
    assert_eq!(watched.metrics(&[])["redis_db_keys{db=\"db0\"}"], 1.0);
    let script = "redis.call('get', KEYS[1]) while true do end";
    client.send(&[b"EVAL", script.as_bytes(), b"1", b"a"]);
    let began = Instant::now();
    while watched.metrics(&[])["lodestore_keys_stale"] == 0.0 {
        assert!(began.elapsed() < REPLY_TIMEOUT);
    }
    // The figures are those of before.
    assert_eq!(watched.metrics(&[])["redis_db_keys{db=\"db0\"}"], 1.0);
    watched.server.connect().line("SCRIPT KILL");
    assert!(show(&client.read()).starts_with('-'));
}

/// The dashboard and the alerts of contrib/ use metrics that a replica, which has all, shows.
#[test]
fn dashboards_and_alerts_use_what_there_is() {
    let primary = TestServer::start();
    let option = format!("127.0.0.1 {}", primary.port());
    let watched = Watched::start(&["--replicaof", &option]);
    watched.wait_until_ready();
    watched.server.connect().line("GET a");
    // The append-only file begins anew behind a synchronization.
    let began = Instant::now();
    let page = loop {
        let (_, page) = watched.ask("GET", "/metrics", &[]);
        if page.contains("# TYPE redis_aof_base_size_bytes ") {
            break page;
        }
        assert!(began.elapsed() < REPLY_TIMEOUT);
        std::thread::sleep(Duration::from_millis(10));
    };
    let contrib = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contrib");
    let mut used = 0;
    for file in ["grafana/lodestore.json", "prometheus/lodestore.rules.yml"] {
        let text = std::fs::read_to_string(format!("{contrib}/{file}")).expect(file);
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        for word in words {
            let is_metric = ["redis_", "lodestore_"].iter().any(|prefix| {
                word.strip_prefix(prefix)
                    .is_some_and(|rest| !rest.is_empty())
            });
            // That is the name that the comments and a job have in common with metrics.
            if is_metric && word != "redis_exporter" {
                let family = word.strip_suffix("_bucket").unwrap_or(word);
                assert!(
                    page.contains(&format!("# TYPE {family} ")),
                    "{file}: {word}"
                );
                used += 1;
            }
        }
    }
    assert!(used > 50, "{used}");
}
