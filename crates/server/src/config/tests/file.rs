//! Configuration files, the environment and the command line.

use std::ffi::OsString;

use proptest::prelude::*;

use engine::config::{Config, LoadError, LogLevel, P};

use super::super::args::{self, Invocation};
use super::super::*;
use super::{TestDir, value_of};

fn from_file(dir: &TestDir, text: &str) -> Result<Config, LoadError> {
    let file = Some(dir.file("test.conf", text));
    load(Sources {
        file,
        ..Sources::default()
    })
}

fn from_command_line(arguments: &[&str]) -> Result<Config, LoadError> {
    match args::parse(arguments.iter().map(OsString::from)) {
        Invocation::Run(command_line) => command_line.load(Vec::new(), &mut std::io::empty()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_as_people_write_them() {
    let dir = TestDir::new();
    let config = from_file(
        &dir,
        "\u{feff}# a comment\r\n\r\n  PORT 7000\r\nsave ''\nloglevel\t\"verbose\"\nslave-read-only no\n\
         client-output-buffer-limit normal 1 2 3\nclient-output-buffer-limit pubsub 4 5 6\n\
         rename-command CONFIG \"\"\nrename-command GET fetch\nuser alice on >secret ~* +@all\n\
         proc-title-template \"{title} \\\"x\\\"\"\nlua-replicate-commands yes\nlocale-collate C\n",
    )
    .unwrap();
    assert_eq!(config.int(P::Port), 7000);
    assert!(config.save_points().is_empty());
    assert_eq!(config.choice::<LogLevel>(P::LogLevel), LogLevel::Verbose);
    assert!(!config.bool(P::ReplicaReadOnly));
    assert_eq!(
        (
            config.output_limits().normal.hard,
            config.output_limits().pubsub.soft_seconds
        ),
        (1, 6)
    );
    assert_eq!(config.text(P::ProcTitleTemplate), "{title} \"x\"");
    let renames: Vec<(&[u8], &[u8])> = config
        .renames()
        .iter()
        .map(|rename| (rename.from.as_slice(), rename.to.as_slice()))
        .collect();
    assert_eq!(renames, [(&b"CONFIG"[..], &b""[..]), (b"GET", b"fetch")]);
    assert_eq!(config.users()[0].arguments[0], b"alice");
    assert_eq!(config.users()[0].arguments.len(), 5);
    let notices = config.notices().iter().map(|notice| notice.text.as_str());
    let notices = notices.collect::<Vec<_>>().join("\n");
    assert!(
        notices.contains("'lua-replicate-commands' is obsolete")
            && notices.contains("'locale-collate'")
    );
    assert!(!notices.contains("'port'"));
    assert_eq!(config.file(), Some(dir.0.join("test.conf").as_path()));
}

#[test]
fn what_was_given_is_known_even_when_it_is_the_default() {
    let dir = TestDir::new();
    let config = from_file(&dir, "appendonly yes\n").unwrap();
    assert!(config.was_given(P::AppendOnly) && config.is_default(P::AppendOnly));
    assert!(!config.was_given(P::Save));
    assert!(!from_command_line(&[]).unwrap().was_given(P::AppendOnly));
}

#[test]
fn errors_say_where_and_why() {
    let dir = TestDir::new();
    let error = from_file(&dir, "# one\nport 1\nport abc\n")
        .unwrap_err()
        .to_string();
    let version = env!("CARGO_PKG_VERSION");
    let file = dir.0.join("test.conf");
    assert_eq!(
        error,
        format!(
            "\n*** FATAL CONFIG FILE ERROR (Version {version}) ***\nReading the configuration file, at line 3\n\
             ({}, line 3)\n>>> 'port abc'\nargument couldn't be parsed into an integer",
            file.display()
        )
    );
    for (text, reason) in [
        (
            "nothing-like-it 1",
            "Bad directive or wrong number of arguments",
        ),
        (
            "maxmemory_polcy noeviction",
            "Bad directive or wrong number of arguments. Did you mean 'maxmemory-policy'?",
        ),
        ("port", "wrong number of arguments"),
        ("port 1 2", "wrong number of arguments"),
        ("requirepass \"a", "Unbalanced quotes in configuration line"),
        ("include", "Bad directive or wrong number of arguments"),
        (
            "rename-command GET",
            "Bad directive or wrong number of arguments",
        ),
        ("user", "Bad directive or wrong number of arguments"),
        ("loadmodule x.so", "Lodestore does not load modules"),
        (
            "search.threads 3",
            "Module config given, but Lodestore does not load modules",
        ),
        (
            "sentinel monitor x",
            "sentinel directive while not in sentinel mode",
        ),
        (
            "cluster-enabled yes",
            "not supported by this version of Lodestore",
        ),
        ("dir /nowhere/at/all", "No such file or directory"),
        (
            "logfile nowhere/at/all",
            "Can't open the log file: No such file or directory",
        ),
    ] {
        assert_eq!(
            from_file(&dir, text).unwrap_err().reason(),
            reason,
            "{text}"
        );
    }
    let missing = load(Sources {
        file: Some("/nowhere.conf".into()),
        ..Sources::default()
    });
    assert_eq!(
        missing.unwrap_err().reason(),
        "Fatal error, can't open config file '/nowhere.conf': No such file or directory"
    );
    let location = from_file(&dir, "rename-command NOPE x").unwrap().renames()[0]
        .location
        .clone();
    let error = location
        .error("No such command in rename-command")
        .to_string();
    assert!(error.ends_with(">>> 'rename-command NOPE x'\nNo such command in rename-command"));
}

#[test]
fn options_are_refused_as_the_suites_expect() {
    for (arguments, line, reason) in [
        (
            &["--invalid"][..],
            "invalid",
            "Bad directive or wrong number of arguments",
        ),
        (
            &["--prot", "7777"],
            "prot \"7777\"",
            "Bad directive or wrong number of arguments. Did you mean '--port'?",
        ),
        (
            &["-port", "7777"],
            "\"-port\" \"7777\"",
            "Bad directive or wrong number of arguments. Did you mean '--port'?",
        ),
        (&["--port"], "port", "wrong number of arguments"),
        (
            &["--port", "6380", "--loglevel"],
            "loglevel",
            "wrong number of arguments",
        ),
        (
            &["--port", "6379", "6380"],
            "port \"6379\" \"6380\"",
            "wrong number of arguments",
        ),
        (
            &["--port", "--loglevel", "verbose"],
            "port \"--loglevel\" \"verbose\"",
            "wrong number of arguments",
        ),
        (
            &["--port", "--bla", "--loglevel", "verbose"],
            "port \"--bla\"",
            "argument couldn't be parsed into an integer",
        ),
        (
            &["--logfile", "", "--loglevel", "--bla"],
            "loglevel \"--bla\"",
            "argument(s) must be one of the following: debug",
        ),
        (
            &["--shutdown-on-sigint"],
            "shutdown-on-sigint",
            "argument(s) must be one of the following: default",
        ),
        (
            &["--shutdown-on-sigint", "now force", "--shutdown-on-sigterm"],
            "shutdown-on-sigterm",
            "argument(s) must be",
        ),
        (
            &["--replicaof", "127.0.0.1", "abc"],
            "replicaof \"127.0.0.1\" \"abc\"",
            "Invalid primary port",
        ),
        (
            &["--replicaof", "--127.0.0.1", "abc"],
            "replicaof \"--127.0.0.1\" \"abc\"",
            "Invalid primary port",
        ),
        (
            &["--replicaof", "--127.0.0.1", "--abc"],
            "replicaof \"--127.0.0.1\"",
            "wrong number of arguments",
        ),
        (
            &["--sentinel"],
            "sentinel",
            "Lodestore has no Sentinel mode",
        ),
    ] {
        let error = from_command_line(arguments).unwrap_err().to_string();
        assert!(
            error.contains(&format!(">>> '{line}'\n{reason}")),
            "{arguments:?}: {error}"
        );
    }
}

#[test]
fn options_win_over_the_environment_and_that_over_files() {
    let dir = TestDir::new();
    let file = dir.file("x.conf", "port 1\ntimeout 1\nhz 11\nmaxmemory-samples 3\n");
    let variable = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
    let sources = Sources {
        file: Some(file),
        stdin: Some(&mut &b"maxmemory-samples 4\n"[..]),
        environment: vec![
            variable("LODESTORE_TIMEOUT", "2"),
            variable("LODESTORE_PORT", "tcp://10.0.0.1:6379"),
            variable("LODESTORE_SERVICE_HOST", "10.0.0.1"),
            variable("LODESTORE_HZ", "12"),
            variable(
                "LODESTORE_CLIENT_OUTPUT_BUFFER_LIMIT",
                "normal 1 2 3 pubsub 4 5 6",
            ),
            variable("HOME", "/"),
        ],
        options: b"hz 13\n".to_vec(),
    };
    let config = load(sources).unwrap();
    for (name, value) in [
        ("port", "1"),
        ("timeout", "2"),
        ("hz", "13"),
        ("maxmemory-samples", "4"),
    ] {
        assert_eq!(value_of(&config, name), value, "{name}");
    }
    assert_eq!(config.output_limits().pubsub.soft, 5);
    assert_eq!(config.notices().len(), 2, "{:?}", config.notices());

    let environment = vec![variable("LODESTORE_PORT", "x")];
    let error = load(Sources {
        environment,
        ..Sources::default()
    })
    .unwrap_err()
    .to_string();
    assert!(
        error.contains("environment") && error.contains(">>> 'LODESTORE_PORT=x'"),
        "{error}"
    );
}

#[test]
fn save_points_add_up_within_a_start() {
    let dir = TestDir::new();
    // With the append-only file there are none unless they are set.
    assert_eq!(value_of(&from_file(&dir, "").unwrap(), "save"), "");
    assert_eq!(
        value_of(&from_file(&dir, "appendonly no\n").unwrap(), "save"),
        "3600 1 300 100 60 10000"
    );
    assert_eq!(
        value_of(
            &from_file(&dir, "save 900 1\nsave 60 5 30 7\n").unwrap(),
            "save"
        ),
        "900 1 60 5 30 7"
    );
    assert_eq!(
        value_of(
            &from_file(&dir, "save 900 1\nsave ''\nsave '1 1'\n").unwrap(),
            "save"
        ),
        "1 1"
    );
    let config = from_command_line(&[
        dir.file("s.conf", "save 900 1").to_str().unwrap(),
        "--save",
        "100",
        "100",
    ]);
    assert_eq!(value_of(&config.unwrap(), "save"), "900 1 100 100");
    assert_eq!(
        value_of(
            &from_command_line(&["--save", "--loglevel", "verbose"]).unwrap(),
            "save"
        ),
        ""
    );
}

#[test]
fn options_as_the_suites_give_them() {
    let config =
        from_command_line(&["--maxmemory 700mb", "--maxmemory-policy 'volatile-lru'"]).unwrap();
    assert_eq!(value_of(&config, "maxmemory"), "734003200");
    assert_eq!(value_of(&config, "maxmemory-policy"), "volatile-lru");
    let config = from_command_line(&[
        "--proc-title-template",
        "--my--title",
        "--loglevel",
        "verbose",
    ])
    .unwrap();
    assert_eq!(value_of(&config, "proc-title-template"), "--my--title");
    assert_eq!(value_of(&config, "loglevel"), "verbose");
    let arguments = [
        "--shutdown-on-sigint",
        "nosave",
        "force",
        "now",
        "--shutdown-on-sigterm",
        "nosave force",
    ];
    let config = from_command_line(&arguments).unwrap();
    assert_eq!(value_of(&config, "shutdown-on-sigint"), "nosave now force");
    assert_eq!(value_of(&config, "shutdown-on-sigterm"), "nosave force");
    let config = from_command_line(&["--dir", "./", "--dir", "./"]).unwrap();
    assert_eq!(config.dir(), std::env::current_dir().unwrap());
}

#[test]
fn files_include_files() {
    let dir = TestDir::new();
    std::fs::create_dir(dir.0.join("conf.d")).unwrap();
    dir.file("conf.d/b.conf", "port 2\n");
    dir.file("conf.d/a.conf", "port 1\ntimeout 1\n");
    dir.file("conf.d/.hidden.conf", "port 3\n");
    let root = dir.0.display();
    let config = from_file(
        &dir,
        &format!("include {root}/conf.d/*.conf\ninclude {root}/none/*\nhz 20\n"),
    )
    .unwrap();
    assert_eq!(
        (
            config.int(P::Port),
            config.int(P::Timeout),
            config.int(P::Hz)
        ),
        (2, 1, 20)
    );
    let config = from_file(&dir, &format!("dir {root}/conf.d\ninclude a.conf\n")).unwrap();
    assert_eq!(config.int(P::Port), 1);

    let error = from_file(&dir, &format!("include {root}/none\n")).unwrap_err();
    assert!(
        error
            .reason()
            .starts_with("Fatal error, can't open config file")
    );
    let error = from_file(&dir, &format!("include {root}/test.conf\n")).unwrap_err();
    assert_eq!(error.reason(), "Files include each other more than 16 deep");
    let twice = format!("include {root}/test.conf\n").repeat(2);
    assert!(from_file(&dir, &twice).is_err(), "2^16 files are too many");
    dir.file("bad.conf", "port x");
    let error = from_file(&dir, &format!("include {root}/bad.conf\n"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("bad.conf, line 1)"), "{error}");
}

#[test]
fn a_relative_dir_starts_at_the_one_before() {
    let dir = TestDir::new();
    std::fs::create_dir_all(dir.0.join("a/b")).unwrap();
    let root = dir.0.display();
    let config = from_file(
        &dir,
        &format!("dir {root}\ndir a\ndir ./b\nlogfile x.log\n"),
    )
    .unwrap();
    assert_eq!(config.dir(), dir.0.join("a/b"));
    assert_eq!(config.path(P::LogFile), Some(dir.0.join("a/b/x.log")));
    assert!(
        dir.0.join("a/b/x.log").exists(),
        "opened once to find errors early"
    );
    assert_eq!(
        from_file(&dir, "dir ''").unwrap_err().reason(),
        "dir can't be empty"
    );
    assert_eq!(
        from_file(&dir, &format!("dir {root}/test.conf"))
            .unwrap_err()
            .reason(),
        "Not a directory"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is in a file, reading it ends with a configuration or an error. File names are left
    /// out, they would be opened.
    #[test]
    fn no_text_breaks_the_reader(text in "(?s)(port|save|bind|user|#|\"|'|\\\\| |\n|\r|[0-9]|\\PC){0,80}") {
        let options = text.into_bytes();
        let _ = load(Sources { options, ..Sources::default() });
    }
}
