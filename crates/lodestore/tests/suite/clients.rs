//! Everyday use through redis-rs. Other libraries: conformance/clients.

use std::collections::{HashMap, HashSet};

use redis::{
    Client, Commands, Connection, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    ProtocolVersion, RedisConnectionInfo, RedisResult, Value, pipe,
};

use super::harness::TestServer;

const PROTOCOLS: [ProtocolVersion; 2] = [ProtocolVersion::RESP2, ProtocolVersion::RESP3];

fn client(server: &TestServer, settings: RedisConnectionInfo) -> Client {
    let address = ConnectionAddr::Tcp("127.0.0.1".to_owned(), server.port());
    let info: ConnectionInfo = address.into_connection_info().expect("an address");
    Client::open(info.set_redis_settings(settings)).expect("a client")
}

/// Runs a check on a fresh server for each protocol version.
fn with_both(check: impl Fn(&TestServer, Connection, ProtocolVersion)) {
    for protocol in PROTOCOLS {
        let server = TestServer::start();
        let settings = RedisConnectionInfo::default().set_protocol(protocol);
        let connection = client(&server, settings).get_connection();
        check(&server, connection.expect("a connection"), protocol);
    }
}

#[test]
fn redis_rs_strings_and_keys() {
    with_both(|_, mut c, _| {
        let () = c.set("a", "text").unwrap();
        assert_eq!(c.get::<_, String>("a").unwrap(), "text");
        assert_eq!(c.get::<_, Option<String>>("none").unwrap(), None);
        assert_eq!(c.incr::<_, _, i64>("n", 5).unwrap(), 5);
        assert_eq!(c.incr::<_, _, f64>("f", 0.5).unwrap(), 0.5);
        let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        let () = c.set(&b"\r\n\0"[..], &bytes).unwrap();
        assert_eq!(c.get::<_, Vec<u8>>(&b"\r\n\0"[..]).unwrap(), bytes);
        let () = c.mset(&[("x", 1), ("y", 2)]).unwrap();
        let found: Vec<Option<i64>> = c.mget(&["x", "z", "y"]).unwrap();
        assert_eq!(found, [Some(1), None, Some(2)]);
        assert!(c.exists::<_, bool>("x").unwrap());
        assert_eq!(c.del::<_, i64>(&["x", "y", "z"]).unwrap(), 2);
        let () = c.rename("a", "b").unwrap();
        let () = c.set_ex("e", 1, 100).unwrap();
        assert!((90..=100).contains(&c.ttl::<_, i64>("e").unwrap()));
        assert!(c.persist::<_, bool>("e").unwrap());
        assert_eq!(c.ttl::<_, i64>("e").unwrap(), -1);
    });
}

#[test]
fn redis_rs_pipelines_and_transactions() {
    with_both(|server, mut c, _| {
        let mut pipeline = pipe();
        for number in 0..500 {
            pipeline.set(number, number).ignore().get(number);
        }
        let numbers: Vec<i64> = pipeline.query(&mut c).unwrap();
        assert_eq!(numbers, (0..500).collect::<Vec<_>>());
        let both: (i64, String) = pipe()
            .atomic()
            .incr("t", 2)
            .set("u", "x")
            .ignore()
            .get("u")
            .query(&mut c)
            .unwrap();
        assert_eq!(both, (2, "x".to_owned()));

        let mut other = server.connect();
        let mut attempts = 0;
        let (sum,): (i64,) = redis::transaction(&mut c, &["t"], |c, pipe| {
            let before: i64 = c.get("t")?;
            attempts += 1;
            if attempts == 1 {
                other.check(&[("SET t 10", "+OK")]);
            }
            pipe.set("t", before + 1).ignore().get("t").query(c)
        })
        .unwrap();
        assert_eq!((sum, attempts), (11, 2));
    });
}

#[test]
fn redis_rs_scanning() {
    with_both(|_, mut c, _| {
        let names: HashSet<String> = (0..1_000).map(|number| format!("s:{number}")).collect();
        let pairs: Vec<(&String, i64)> = names.iter().map(|name| (name, 1)).collect();
        let () = c.mset(&pairs).unwrap();
        let () = c.set("other", 1).unwrap();
        let found: Vec<String> = c
            .scan_match("s:*")
            .unwrap()
            .collect::<RedisResult<_>>()
            .unwrap();
        assert_eq!(found.len(), names.len());
        assert_eq!(found.into_iter().collect::<HashSet<_>>(), names);
    });
}

#[test]
fn redis_rs_servers_and_connections() {
    with_both(|server, mut c, protocol| {
        let info: redis::InfoDict = redis::cmd("INFO").query(&mut c).unwrap();
        assert!(info.get::<String>("redis_version").is_some());
        assert_eq!(info.get::<String>("role").as_deref(), Some("master"));
        let found: HashMap<String, String> = redis::cmd("CONFIG")
            .arg("GET")
            .arg("appendonly")
            .query(&mut c)
            .unwrap();
        assert_eq!(found["appendonly"], "yes");
        let me: String = redis::cmd("CLIENT").arg("INFO").query(&mut c).unwrap();
        assert!(me.contains("lib-name=redis-rs"), "{me}");
        let version = if protocol == ProtocolVersion::RESP3 {
            3
        } else {
            2
        };
        assert!(me.contains(&format!("resp={version} ")), "{me}");

        let third = RedisConnectionInfo::default()
            .set_protocol(protocol)
            .set_db(3);
        let mut third = client(server, third).get_connection().unwrap();
        let () = third.set("k", "three").unwrap();
        assert_eq!(c.get::<_, Option<String>>("k").unwrap(), None);
    });
}

#[test]
fn redis_rs_errors() {
    with_both(|_, mut c, _| {
        let () = c.set("text", "abc").unwrap();
        let error = c.incr::<_, _, i64>("text", 1).unwrap_err();
        assert_eq!(error.code(), Some("ERR"));
        let error = redis::cmd("NOSUCH").query::<Value>(&mut c).unwrap_err();
        assert!(error.to_string().contains("unknown command"), "{error}");
        assert_eq!(c.get::<_, String>("text").unwrap(), "abc");
        let broken = pipe()
            .set("a", 1)
            .incr("text", 1)
            .get("a")
            .query::<Value>(&mut c);
        assert!(broken.is_err());
        assert_eq!(c.get::<_, i64>("a").unwrap(), 1);
    });
}

#[test]
fn redis_rs_passwords_and_reconnecting() {
    with_both(|server, mut c, protocol| {
        let plain = || RedisConnectionInfo::default().set_protocol(protocol);
        let set = |c: &mut Connection, word: &str| {
            redis::cmd("CONFIG")
                .arg(&["SET", "requirepass", word])
                .exec(c)
                .unwrap();
        };
        set(&mut c, "secret");
        let refused = client(server, plain().set_password("wrong")).get_connection();
        assert!(refused.is_err());
        let without: RedisResult<String> = client(server, plain())
            .get_connection()
            .and_then(|mut c| redis::cmd("PING").query(&mut c));
        assert_eq!(without.unwrap_err().code(), Some("NOAUTH"));
        let opener = client(server, plain().set_password("secret"));
        let mut victim = opener.get_connection().unwrap();
        let id: i64 = redis::cmd("CLIENT").arg("ID").query(&mut victim).unwrap();
        let killed: i64 = redis::cmd("CLIENT")
            .arg("KILL")
            .arg("ID")
            .arg(id)
            .query(&mut c)
            .unwrap();
        assert_eq!(killed, 1);
        assert!(redis::cmd("PING").query::<String>(&mut victim).is_err());
        let mut again = opener.get_connection().unwrap();
        assert_eq!(
            redis::cmd("PING").query::<String>(&mut again).unwrap(),
            "PONG"
        );
        set(&mut c, "");
    });
}
