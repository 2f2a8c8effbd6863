//! CONFIG SET: what it refuses, in which words, and that it is all or nothing.

use proptest::prelude::*;

use super::super::*;
use super::{value_of, with_options};

/// Records what is applied; fails for one parameter.
#[derive(Default)]
struct Recorder {
    applied: Vec<(P, String)>,
    fails_for: Option<P>,
}

impl Apply for Recorder {
    fn apply(&mut self, config: &Config, id: P) -> Result<(), String> {
        self.applied.push((id, value_of(config, id.name())));
        if self.fails_for == Some(id) && value_of(config, id.name()) != id.parameter().default {
            return Err("Unable to listen on this port. Check server logs.".to_owned());
        }
        Ok(())
    }
}

fn set(config: &Config, pairs: &[&str]) -> Result<(), String> {
    let pairs: Vec<&[u8]> = pairs.iter().map(|text| text.as_bytes()).collect();
    let context = SetContext {
        loading: false,
        client_is_local: true,
        is_locked: false,
    };
    config
        .set(&pairs, context, &mut Recorder::default())
        .map_err(|error| error.to_string())
}

#[test]
fn refusals_in_the_words_clients_know() {
    let config = Config::default();
    let failed = |name: &str, reason: &str| {
        format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
    };
    let refusals = [
        ("port", "abc", "argument couldn't be parsed into an integer"),
        (
            "port",
            "65536",
            "argument must be between 0 and 65535 inclusive",
        ),
        ("port", "+1", "argument couldn't be parsed into an integer"),
        (
            "maxclients",
            "0",
            "argument must be between 1 and 4294967295 inclusive",
        ),
        ("appendonly", "maybe", "argument must be 'yes' or 'no'"),
        ("maxmemory", "10x", "argument must be a memory value"),
        ("maxmemory", "-1", "argument must be a memory value"),
        (
            "proto-max-bulk-len",
            "1",
            "argument must be between 1048576 and 9223372036854775807 inclusive",
        ),
        (
            "maxmemory-clients",
            "200%",
            "percentage argument must be less or equal to 100",
        ),
        (
            "maxmemory-clients",
            "x",
            "argument must be a memory or percent value",
        ),
        (
            "maxmemory-policy",
            "all",
            "argument(s) must be one of the following: volatile-lru, volatile-lfu, \
            volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction",
        ),
        (
            "oom-score-adj",
            "x",
            "argument(s) must be one of the following: no, yes, relative, absolute",
        ),
        ("oom-score-adj-values", "1 2", "wrong number of arguments"),
        (
            "oom-score-adj-values",
            "1 2 9000",
            "Invalid oom-score-adj-values, elements must be between -2000 and 2000.",
        ),
        (
            "notify-keyspace-events",
            "KEq",
            "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.",
        ),
        ("save", "1", "Invalid save parameters"),
        ("save", "0 1", "Invalid save parameters"),
        (
            "shutdown-on-sigint",
            "save nosave",
            "shutdown options SAVE and NOSAVE can't be used simultaneously",
        ),
        (
            "latency-tracking-info-percentiles",
            "x",
            "Invalid latency-tracking-info-percentiles parameters",
        ),
        (
            "latency-tracking-info-percentiles",
            "101",
            "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
        ),
        (
            "client-output-buffer-limit",
            "normal 1 2",
            "Wrong number of arguments in buffer limit configuration.",
        ),
        (
            "client-output-buffer-limit",
            "master 1 2 3",
            "Invalid client class specified in buffer limit configuration.",
        ),
        (
            "client-output-buffer-limit",
            "normal 1 x 3",
            "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
        ),
        ("daemonize", "yes", "can't set immutable config"),
        ("dir", "/", "can't set protected config"),
        (
            "proc-title-template",
            "{x}",
            "template format is invalid or contains unknown variables",
        ),
        (
            "tls-protocols",
            "TLSv1.2 TLSv1.1",
            "TLSv1 and TLSv1.1 are not safe and not supported",
        ),
    ];
    for (name, value, reason) in refusals {
        let before = config.generation();
        assert_eq!(
            set(&config, &[name, value]),
            Err(failed(name, reason)),
            "{name} {value}"
        );
        assert_eq!(config.generation(), before);
    }
    assert_eq!(set(&config, &["port"]), Err("ERR syntax error".into()));
    assert_eq!(
        set(&config, &["nothing", "1"]),
        Err("ERR Unknown option or number of arguments for CONFIG SET - 'nothing'".into())
    );
    assert_eq!(
        set(&config, &["Port", "1", "port", "2"]),
        Err(failed("port", "duplicate parameter"))
    );
    assert_eq!(
        set(
            &config,
            &[
                "slowlog-max-len",
                "1",
                "commandlog-slow-execution-max-len",
                "2"
            ]
        ),
        Err(failed(
            "commandlog-slow-execution-max-len",
            "duplicate parameter"
        )),
        "also under another name"
    );
}

#[test]
fn values_in_canonical_form() {
    let config = Config::default();
    for (name, given, shown) in [
        ("maxmemory", "10k", "10000"),
        ("maxmemory", "10kb", "10240"),
        ("maxmemory", "1GB", "1073741824"),
        ("maxmemory-clients", "5%", "5%"),
        ("hz", "100000", "500"),
        ("hz", "0", "1"),
        ("slot-migration-max-failover-repl-bytes", "-1", "-1"),
        ("loglevel", "VERBOSE", "verbose"),
        ("oom-score-adj", "relative", "yes"),
        ("shutdown-on-sigterm", "force NOSAVE", "nosave force"),
        ("save", "", ""),
        ("save", "100 5  7 0", "100 5 7 0"),
        ("bind", "", ""),
        ("bind", "127.0.0.1   ::1", "127.0.0.1 ::1"),
        (
            "latency-tracking-info-percentiles",
            "50.0 99.90 100",
            "50 99.9 100",
        ),
        ("latency-tracking-info-percentiles", "", ""),
        (
            "client-output-buffer-limit",
            "slave 1mb 0 7",
            "normal 0 0 0 slave 1048576 0 7 pubsub 33554432 8388608 60",
        ),
        ("notify-keyspace-events", "KEA", "AKE"),
        ("requirepass", "a b\"c", "a b\"c"),
    ] {
        assert_eq!(set(&config, &[name, given]), Ok(()), "{name} {given}");
        assert_eq!(value_of(&config, name), shown, "{name} {given}");
    }
}

#[test]
fn nothing_is_set_when_one_value_is_refused() {
    let config = Config::default();
    let error = set(
        &config,
        &[
            "maxmemory",
            "1",
            "maxmemory-clients",
            "200%",
            "client-query-buffer-limit",
            "x",
        ],
    );
    assert!(error.unwrap_err().contains("'maxmemory-clients'"));
    assert_eq!(config.int(P::Maxmemory), 0);
}

#[test]
fn everything_is_set_back_when_one_value_cannot_take_effect() {
    let config = Config::default();
    let mut recorder = Recorder {
        fails_for: Some(P::Port),
        ..Recorder::default()
    };
    let pairs: [&[u8]; 8] = [
        b"maxmemory",
        b"1",
        b"timeout",
        b"0",
        b"port",
        b"1",
        b"hz",
        b"20",
    ];
    let error = config
        .set(&pairs, SetContext::default(), &mut recorder)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port. Check server logs."
    );
    let applied = |id, value: &str| (id, value.to_owned());
    // `timeout` did not change; `hz` was never reached.
    assert_eq!(
        recorder.applied,
        [
            applied(P::Maxmemory, "1"),
            applied(P::Port, "1"),
            applied(P::Maxmemory, "0"),
            applied(P::Port, "6379")
        ]
    );
    for (name, value) in [("maxmemory", "0"), ("port", "6379"), ("hz", "10")] {
        assert_eq!(value_of(&config, name), value);
    }
}

#[test]
fn some_parameters_wait_for_the_end_of_loading_or_for_permission() {
    let config = with_options(&[("enable-protected-configs", "local")]);
    let mut recorder = Recorder::default();
    let loading = SetContext {
        loading: true,
        client_is_local: true,
        is_locked: false,
    };
    let pairs: [&[u8]; 2] = [b"appendonly", b"no"];
    assert_eq!(
        config.set(&pairs, loading, &mut recorder),
        Err(ConfigError::Loading)
    );
    let pairs: [&[u8]; 2] = [b"dbfilename", b"x.rdb"];
    assert!(
        config
            .set(&pairs, SetContext::default(), &mut recorder)
            .is_err()
    );
    assert_eq!(
        config.set(
            &pairs,
            SetContext {
                client_is_local: true,
                ..SetContext::default()
            },
            &mut recorder
        ),
        Ok(())
    );
    assert_eq!(recorder.applied.len(), 1);
}

#[test]
fn secrets_are_known() {
    for name in [
        "requirepass",
        "MASTERAUTH",
        "masteruser",
        "tls-key-file-pass",
    ] {
        assert!(Config::is_sensitive(name.as_bytes()), "{name}");
    }
    assert!(!Config::is_sensitive(b"port") && !Config::is_sensitive(b"nothing"));
}

#[test]
fn setting_every_parameter_to_itself_changes_nothing() {
    let config = with_options(&[("enable-protected-configs", "yes"), ("save", "900 1")]);
    for (name, value) in config.get(&[b"*"]) {
        let parameter = Parameter::named(&name).unwrap();
        let mut recorder = Recorder::default();
        let result = config.set(&[&name, &value], SetContext::default(), &mut recorder);
        if parameter.flags.has(Flags::IMMUTABLE) && !parameter.flags.has(Flags::OWN) {
            assert!(result.is_err());
            continue;
        }
        assert_eq!(result, Ok(()), "{}", parameter.name);
        assert_eq!(
            recorder.applied.is_empty(),
            !parameter.flags.has(Flags::VOLATILE),
            "{}",
            parameter.name
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever the value, CONFIG SET refuses it or it reads back as the value of its canonical
    /// form.
    #[test]
    fn canonical_values_read_back(index in 0..PARAMETERS.len(), text in "[-0-9a-z %.]{0,12}|\\PC{0,6}") {
        struct Nothing;
        impl Apply for Nothing {
            fn apply(&mut self, _: &Config, _: P) -> Result<(), String> {
                Ok(())
            }
        }
        let parameter = &PARAMETERS[index];
        let config = Config::default();
        let set = |value: &[u8]| config.set(&[parameter.name.as_bytes(), value], SetContext::default(), &mut Nothing);
        if set(text.as_bytes()).is_ok() {
            let canonical = value_of(&config, parameter.name);
            prop_assert!(set(canonical.as_bytes()).is_ok(), "{} {}", parameter.name, canonical);
            prop_assert_eq!(value_of(&config, parameter.name), canonical);
        }
    }
}
