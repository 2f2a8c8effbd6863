//! Tests of the configuration as a whole; smaller ones stand under the code they are about.

mod file;
mod rewrite;
mod set;
mod valkey;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A directory of a test, gone at its end.
struct TestDir(PathBuf);

impl TestDir {
    fn new() -> TestDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lodestore-config-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        TestDir(dir.canonicalize().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The value CONFIG GET answers.
fn value_of(config: &Config, name: &str) -> String {
    let answer = config.get(&[name.as_bytes()]);
    String::from_utf8(
        answer
            .into_iter()
            .next()
            .unwrap_or_else(|| panic!("no {name}"))
            .1,
    )
    .unwrap()
}

#[test]
fn the_table_is_consistent() {
    let config = Config::default();
    let mut names: Vec<&str> = Vec::new();
    for (index, parameter) in PARAMETERS.iter().enumerate() {
        let name = parameter.name;
        assert_eq!(parameter.id as usize, index, "{name}");
        names.push(name);
        names.extend(parameter.alias);
        if parameter.id != P::Dir {
            assert_eq!(
                value_of(&config, name),
                parameter.default,
                "{name}: the default is in canonical form"
            );
        }
        let flags = parameter.flags;
        assert!(
            !(flags.has(Flags::INERT) && flags.has(Flags::LATER)),
            "{name}"
        );
        assert!(
            !flags.has(Flags::REFUSED) || flags.has(Flags::LATER),
            "{name}"
        );
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'-' | b'0'..=b'9')),
            "{name}"
        );
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "two parameters with the same name");
}

/// Parameters whose default differs from Valkey's on purpose, with ours.
const DELIBERATE: &[(&str, &str)] = &[
    ("aof-timestamp-enabled", "yes"),
    ("appendonly", "yes"),
    ("syslog-ident", "lodestore"),
];

#[test]
fn every_parameter_of_valkey_is_here_with_its_default() {
    let config = Config::default();
    let shown: Vec<String> = config
        .get(&[b"*"])
        .into_iter()
        .map(|(name, _)| String::from_utf8(name).unwrap())
        .collect();
    assert!(shown.is_sorted());
    for (name, default) in valkey::PARAMETERS {
        assert!(
            shown.iter().any(|shown| shown == name),
            "{name} is not answered by CONFIG GET *"
        );
        let deliberate = DELIBERATE
            .iter()
            .find(|(ours, _)| ours == name)
            .map(|(_, default)| default);
        match *name {
            "dir" => assert_eq!(
                value_of(&config, name),
                std::env::current_dir().unwrap().display().to_string()
            ),
            _ => assert_eq!(
                value_of(&config, name),
                *deliberate.unwrap_or(default),
                "{name}"
            ),
        }
    }
}

#[test]
fn get_answers_under_the_names_asked_for() {
    let config = Config::default();
    let names = |patterns: &[&str]| -> Vec<String> {
        let patterns: Vec<&[u8]> = patterns.iter().map(|pattern| pattern.as_bytes()).collect();
        config
            .get(&patterns)
            .into_iter()
            .map(|(name, _)| String::from_utf8(name).unwrap())
            .collect()
    };
    assert_eq!(
        names(&["maxmemory", "MAXMEMORY-S*", "*of"]),
        ["maxmemory", "maxmemory-samples", "replicaof", "slaveof"]
    );
    assert_eq!(names(&["slowlog-max-len"]), ["slowlog-max-len"]);
    assert_eq!(names(&["Port", "port"]), ["Port"]);
    assert_eq!(
        names(&["key-load-delay"]),
        ["key-load-delay"],
        "hidden ones by name"
    );
    assert_eq!(
        names(&["key-load-d*"]),
        Vec::<String>::new(),
        "but not by pattern"
    );
    assert_eq!(names(&["nothing-like-it", ""]), Vec::<String>::new());
}

#[test]
fn typed_accessors() {
    let config = Config::with_options(&[
        ("client-output-buffer-limit", "replica 2mb 1mb 5"),
        ("bind", "127.0.0.1 -::1"),
        ("maxmemory-policy", "allkeys-lfu"),
        ("enable-debug-command", "local"),
        ("shutdown-on-sigint", "nosave force"),
        ("logfile", ""),
    ])
    .unwrap();
    let replica = OutputLimit {
        hard: 2 << 20,
        soft: 1 << 20,
        soft_seconds: 5,
    };
    let pubsub = OutputLimit {
        hard: 32 << 20,
        soft: 8 << 20,
        soft_seconds: 60,
    };
    assert_eq!(
        config.output_limits(),
        OutputLimits {
            normal: OutputLimit::default(),
            replica,
            pubsub
        }
    );
    assert_eq!(config.bind_addresses(), ["127.0.0.1", "-::1"]);
    assert_eq!(
        config.choice::<MaxmemoryPolicy>(P::MaxmemoryPolicy),
        MaxmemoryPolicy::AllkeysLfu
    );
    assert!(
        config.allows(P::EnableDebugCommand, true) && !config.allows(P::EnableDebugCommand, false)
    );
    assert_eq!(
        config.int(P::ShutdownOnSigint),
        shutdown::NOSAVE | shutdown::FORCE
    );
    assert_eq!(config.save_points().len(), 3);
    assert_eq!(config.percentiles(), [50.0, 99.0, 99.9]);
    assert_eq!(
        config.oom_scores(),
        OomScores {
            primary: 0,
            replica: 200,
            child: 800
        }
    );
    assert_eq!(config.path(P::LogFile), None);
    assert_eq!(
        config.path(P::AppendDirName),
        Some(config.dir().join("appendonlydir"))
    );
}

#[test]
fn keyspace_events_as_letters() {
    for (given, canonical) in [
        ("", ""),
        ("KEA", "AKE"),
        ("Kg$lshzxetd", "AK"),
        ("nmEx", "xnEm"),
        ("An", "An"),
    ] {
        assert_eq!(
            events::format(events::parse(given.as_bytes()).unwrap()),
            canonical,
            "{given}"
        );
    }
    assert_eq!(events::parse(b"Kq"), None);
}
