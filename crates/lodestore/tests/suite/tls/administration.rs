//! Parameters of TLS: what they refuse, and changes while the server runs.

use super::*;

const UNABLE: &str = "Unable to update TLS configuration. Check server logs.";

fn failed(name: &str, reason: &str) -> String {
    format!("-ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
}

fn info(client: &mut Client, field: &str) -> String {
    let info = client.line("INFO tls");
    let (_, rest) = info.split_once(&format!("{field}:")).expect("the field");
    rest.split("\\r").next().expect("a value").to_owned()
}

#[test]
fn what_cannot_be_honoured_is_refused() {
    let encrypted = Encrypted::start(&[]);
    let mut client = encrypted.connect();
    let key = encrypted.authority.file("server.key");
    let ca = encrypted.authority.file("ca.pem");
    for (name, value, reason) in [
        (
            "tls-protocols",
            "\"TLSv1.1 TLSv1.2\"",
            "TLSv1 and TLSv1.1 are not safe and not supported",
        ),
        (
            "tls-protocols",
            "SSLv3",
            "Invalid tls-protocols specified. Use a combination of 'TLSv1.2' and 'TLSv1.3'.",
        ),
        ("tls-ciphers", "AES128-SHA256", UNABLE),
        ("tls-ciphersuites", "TLS_AES_128_CCM_SHA256", UNABLE),
        ("tls-cert-file", "/nonexistent", UNABLE),
        ("tls-cert-file", "\"\"", UNABLE),
        ("tls-cert-file", &key, UNABLE),
        ("tls-cert-file", &ca, UNABLE),
        ("tls-key-file", &ca, UNABLE),
        ("tls-ca-cert-file", &key, UNABLE),
        ("tls-ca-cert-file", "\"\"", UNABLE),
        ("tls-ca-cert-dir", "/nonexistent", UNABLE),
    ] {
        let before = client.line(&format!("CONFIG GET {name}"));
        let reply = client.line(&format!("CONFIG SET {name} {value}"));
        assert_eq!(reply, failed(name, reason), "{value}");
        assert_eq!(client.line(&format!("CONFIG GET {name}")), before);
        assert!(encrypted.ping(&encrypted.usual()).is_ok(), "{name} {value}");
    }
    let name = "tls-auto-reload-interval";
    let reply = client.line(&format!("CONFIG SET {name} -1"));
    assert!(reply.starts_with("-ERR CONFIG SET failed"), "{reply}");
}

#[test]
fn a_server_without_good_files_does_not_start() {
    let authority = Authority::new(&fresh_dir());
    let all = authority.options();
    let key = authority.file("ca.pem");
    let cases: [Vec<&str>; 4] = [
        vec![],
        all.iter().take(2).map(String::as_str).collect(),
        all.iter().take(4).map(String::as_str).collect(),
        all.iter()
            .map(String::as_str)
            .chain(["--tls-key-file", &key])
            .collect(),
    ];
    for options in cases {
        let port = free_port().to_string();
        let options = [&options[..], &["--tls-port", &port]].concat();
        let mut server = TestServer::begin_plain(fresh_dir(), &options);
        assert_eq!(server.wait_for_end(), Some(1), "{options:?}");
    }
}

#[test]
fn versions_and_suites_are_those_of_the_parameters() {
    let encrypted = Encrypted::start(&[]);
    let made = encrypted.authority.client("client");
    let suite = |version| {
        let config = encrypted
            .authority
            .config(&[version], Some(&made), Resumption::disabled());
        let stream = open(encrypted.port, &config).ok()?;
        let suite = stream.conn.negotiated_cipher_suite().expect("a suite");
        Some(format!("{:?}", suite.suite()))
    };
    let mut plain = encrypted.server.connect();
    plain.check(&[("CONFIG SET tls-protocols TLSv1.2", "+OK")]);
    assert_eq!(suite(&TLS13), None);
    plain.check(&[(
        "CONFIG SET tls-ciphers ECDHE-ECDSA-CHACHA20-POLY1305:AES128-SHA",
        "+OK",
    )]);
    assert_eq!(
        suite(&TLS12).as_deref(),
        Some("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256")
    );
    plain.check(&[
        ("CONFIG SET tls-protocols TLSv1.3 tls-ciphers \"\"", "+OK"),
        (
            "CONFIG SET tls-ciphersuites TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256",
            "+OK",
        ),
    ]);
    assert_eq!(suite(&TLS12), None);
    // The client's order, unless the server's is preferred.
    plain.check(&[("CONFIG SET tls-prefer-server-ciphers no", "+OK")]);
    assert_eq!(suite(&TLS13).as_deref(), Some("TLS13_AES_128_GCM_SHA256"));
    plain.check(&[
        (
            "CONFIG SET tls-ciphersuites TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256",
            "+OK",
        ),
        ("CONFIG SET tls-prefer-server-ciphers yes", "+OK"),
    ]);
    assert_eq!(
        suite(&TLS13).as_deref(),
        Some("TLS13_CHACHA20_POLY1305_SHA256")
    );
    plain.check(&[("CONFIG SET tls-prefer-server-ciphers no", "+OK")]);
    assert_eq!(suite(&TLS13).as_deref(), Some("TLS13_AES_128_GCM_SHA256"));
}

#[test]
fn changed_files_are_read_again() {
    let encrypted = Encrypted::start(&[]);
    let mut old = encrypted.connect();
    let serial = "tls_server_cert_serial";
    let first = info(&mut old, serial);
    // Broken files keep the old ones in use.
    let path = encrypted.authority.file("server.pem");
    std::fs::write(&path, "nothing").expect("a file");
    let set = format!("CONFIG SET tls-cert-file {path}");
    assert_eq!(old.line(&set), failed("tls-cert-file", UNABLE));
    assert_eq!(info(&mut old, serial), first);
    assert_eq!(encrypted.connect().line("PING"), "+PONG");
    // Good ones replace them; connections keep what they began with.
    encrypted
        .authority
        .write("server", &encrypted.authority.server());
    assert_eq!(old.line(&set), "+OK");
    let second = info(&mut encrypted.connect(), serial);
    assert_ne!(second, first);
    assert_eq!(old.line("PING"), "+PONG");
    // The same without a command.
    assert_eq!(old.line("CONFIG SET tls-auto-reload-interval 1"), "+OK");
    encrypted
        .authority
        .write("server", &encrypted.authority.server());
    let began = std::time::Instant::now();
    while info(&mut old, serial) == second {
        assert!(began.elapsed() < REPLY_TIMEOUT, "the files are not read");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(encrypted.connect().line("PING"), "+PONG");
}

#[test]
fn tls_is_switched_on_and_off() {
    let authority = Authority::new(&fresh_dir());
    let server = TestServer::start();
    let mut client = server.connect();
    let none = ("none".to_owned(), "0".to_owned());
    let server_info = |client: &mut Client| {
        let left = info(client, "tls_server_cert_expires_in_seconds");
        (info(client, "tls_server_cert_serial"), left)
    };
    assert_eq!(server_info(&mut client), none);
    let port = free_port();
    let on = format!("CONFIG SET tls-port {port}");
    assert_eq!(client.line(&on), failed("tls-port", UNABLE));
    for (name, file) in [
        ("tls-cert-file", "server.pem"),
        ("tls-key-file", "server.key"),
        ("tls-ca-cert-file", "ca.pem"),
    ] {
        let set = format!("CONFIG SET {name} {}", authority.file(file));
        assert_eq!(client.line(&set), "+OK");
    }
    assert_eq!(client.line(&on), "+OK");
    assert_ne!(server_info(&mut client), none);
    assert_ne!(info(&mut client, "tls_ca_cert_serial"), "none");
    assert_eq!(info(&mut client, "tls_client_cert_serial"), "none");
    let made = authority.client("client");
    let config = authority.config(&[&TLS13], Some(&made), Resumption::disabled());
    assert!(ping(port, &config).is_ok());
    // Both ports change places.
    let both = format!("CONFIG SET tls-port 0 port {}", server.port());
    assert_eq!(client.line(&both), "+OK");
    assert_eq!(server_info(&mut client), none);
    assert!(ping(port, &config).is_err());
    assert_eq!(client.line(&on), "+OK");
    assert!(ping(port, &config).is_ok());
}

#[test]
fn secrets_are_not_shown() {
    let encrypted = Encrypted::start(&["--slowlog-log-slower-than", "0"]);
    let mut client = encrypted.connect();
    client.check(&[
        (
            "CONFIG SET tls-key-file-pass 1234 tls-auth-clients no",
            "+OK",
        ),
        (
            "CONFIG GET tls-auth-clients",
            "[\"tls-auth-clients\" \"no\"]",
        ),
        (
            "CONFIG GET tls-key-file-pass",
            "[\"tls-key-file-pass\" \"1234\"]",
        ),
    ]);
    let log = client.line("SLOWLOG GET");
    assert!(
        log.contains("tls-key-file-pass") && !log.contains("1234"),
        "{log}"
    );
}

#[test]
fn health_checks_are_encrypted() {
    let encrypted = Encrypted::start(&[]);
    let made = encrypted.authority.client("probe");
    encrypted.authority.write("probe", &made);
    let stranger = Authority::new(&fresh_dir());
    let port = encrypted.port.to_string();
    let ping = |authority: &Authority, identity: bool| {
        let mut command = std::process::Command::new(super::super::harness::program());
        command.args(["ping", "--port", &port, "--tls", "--cacert"]);
        command.arg(authority.file("ca.pem"));
        if identity {
            let file = |name| encrypted.authority.file(name);
            command.args(["--cert", &file("probe.pem"), "--key", &file("probe.key")]);
        }
        command.output().expect("the program runs").status.code()
    };
    assert_eq!(ping(&encrypted.authority, true), Some(0));
    // Without a certificate, and at a server of another authority.
    assert_eq!(ping(&encrypted.authority, false), Some(2));
    assert_eq!(ping(&stranger, true), Some(2));
}
