//! Tests of the configuration as a whole; smaller ones stand under the code they are about.

mod set;
mod valkey;

use super::*;

/// The configuration after directives with one argument each.
fn with_options(options: &[(&str, &str)]) -> Config {
    let mut builder = ConfigBuilder::new(Surroundings::default());
    for (name, value) in options {
        let parameter = Parameter::named(name.as_bytes()).unwrap();
        let args: Vec<&[u8]> = match parameter.kind.takes_many() {
            true => multi::words(value.as_bytes()).collect(),
            false => vec![value.as_bytes()],
        };
        builder.set(parameter, &args).unwrap();
    }
    builder.finish().unwrap()
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
            let shown = parameter.format(&config.value(parameter.id));
            assert_eq!(
                String::from_utf8_lossy(&shown),
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
    ("save", ""),
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
            "dir" => assert_eq!(value_of(&config, name), "/"),
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
    let config = with_options(&[
        ("client-output-buffer-limit", "replica 2mb 1mb 5"),
        ("bind", "127.0.0.1 -::1"),
        ("maxmemory-policy", "allkeys-lfu"),
        ("enable-debug-command", "local"),
        ("shutdown-on-sigint", "nosave force"),
        ("logfile", ""),
    ]);
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
    assert!(
        config.save_points().is_empty(),
        "the append-only file is on"
    );
    config.adjust(P::AppendOnly, 0);
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

#[test]
fn a_start_may_set_what_config_set_refuses() {
    let mut builder = ConfigBuilder::new(Surroundings {
        initial: "/start".into(),
        resolve: |path| match path.ends_with("none") {
            true => Err("No such file or directory".to_owned()),
            false => Ok(Path::new("/real").join(path.strip_prefix("/").unwrap_or(path))),
        },
        memory: || 1000,
    });
    assert_eq!(builder.config().dir(), Path::new("/start"));
    assert!(builder.config().is_default(P::Dir));
    let dir = P::Dir.parameter();
    assert_eq!(builder.set(dir, &[b"a"]), Ok(()));
    assert_eq!(builder.config().dir(), Path::new("/real/start/a"));
    let refusal = Err("No such file or directory".to_owned());
    assert_eq!(builder.set(dir, &[b"none"]), refusal);
    assert_eq!(
        builder.set(dir, &[b""]),
        Err("dir can't be empty".to_owned())
    );
    assert_eq!(builder.set(P::Save.parameter(), &[b"900", b"1"]), Ok(()));
    assert_eq!(builder.set(P::Save.parameter(), &[b"60", b"5"]), Ok(()));
    assert_eq!(value_of(builder.config(), "save"), "900 1 60 5");
    assert_eq!(builder.set(P::Threads.parameter(), &[b"3"]), Ok(()));
    let maxmemory = P::Maxmemory.parameter();
    assert_eq!(builder.set(maxmemory, &[b"75%"]), Ok(()));
    assert_eq!(value_of(builder.config(), "maxmemory"), "750");
    for wrong in [b"0%".as_slice(), b"101%", b"-1%", b"%", b"7.5%"] {
        assert!(builder.set(maxmemory, &[wrong]).is_err());
    }
    assert_eq!(
        builder.set(P::ClusterEnabled.parameter(), &[b"yes"]),
        Ok(())
    );
    let refused = builder.finish().map(|_| ()).unwrap_err();
    assert_eq!(refused.id, P::ClusterEnabled);
    assert_eq!(refused.reason, "not supported by this version of Lodestore");
}
