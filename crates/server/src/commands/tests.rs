//! What must hold of every command, those of the engine included.

use super::GROUPS;
use std::collections::HashSet;

use engine::command::{Arg, ArgKind, Flags, KeyFlags, KeySpec};
use engine::execute::{CommandSpec, Runs, container};
use engine::redact;
use engine::table::CommandTable;
use resp::OwnedArgs;

fn check(command: &CommandSpec, path: &str) {
    let is_container = !command.subcommands.is_empty();
    assert!(!command.name.is_empty(), "{path} has no name");
    assert!(!command.summary.is_empty(), "{path} has no summary");
    assert!(
        command.summary.ends_with('.') && !command.summary.trim_end_matches('.').contains(". "),
        "the summary of {path} is not one sentence"
    );
    assert!(!command.complexity.is_empty(), "{path} has no complexity");
    assert!(!command.since.is_empty(), "{path} has no version");
    assert_ne!(command.arity, 0, "{path} has no arity");
    if !is_container {
        let is_container =
            |handler| std::ptr::fn_addr_eq(handler, container as engine::execute::Handler);
        assert!(
            !matches!(command.runs, Runs::Handler(handler) if is_container(handler)),
            "{path} has no handler"
        );
    }
    assert!(
        !(command.flags.has(Flags::WRITE) && command.flags.has(Flags::READONLY)),
        "{path} reads only and writes"
    );
    check_args(command.args, command.keys.len(), path);
    let varies = |spec: &KeySpec| spec.flags.has(KeyFlags::VARIABLE_FLAGS);
    assert!(
        command.variable_flags.is_none() || command.keys.iter().any(varies),
        "{path} has flags by its arguments, but no key specification with variable flags"
    );
    let names: HashSet<&str> = command.subcommands.iter().map(|sub| sub.name).collect();
    assert_eq!(
        names.len(),
        command.subcommands.len(),
        "{path} has a subcommand twice"
    );
    for sub in command.subcommands {
        check(sub, &format!("{path}|{}", sub.name));
    }
}

fn check_args(args: &[Arg], keys: usize, path: &str) {
    let mut names = HashSet::new();
    for arg in args {
        let path = format!("{path} {}", arg.name);
        assert!(!arg.name.is_empty(), "{path} has no name");
        assert!(names.insert(arg.name), "{path} stands twice");
        assert!(
            arg.key_spec.is_none_or(|index| usize::from(index) < keys),
            "{path} belongs to a key specification that does not exist"
        );
        assert_eq!(
            matches!(arg.kind, ArgKind::OneOf | ArgKind::Block),
            !arg.args.is_empty(),
            "only a oneof and a block have members: {path}"
        );
        assert!(
            arg.kind != ArgKind::PureToken || arg.token.is_some(),
            "{path} is a token without a word"
        );
        assert!(
            !arg.multiple_token || arg.multiple && arg.token.is_some(),
            "{path} repeats a token that it does not have"
        );
        check_args(arg.args, keys, &path);
    }
}

#[test]
fn every_command_is_complete() {
    for command in GROUPS.iter().flat_map(|group| group.iter()) {
        check(command, command.name);
    }
}

#[test]
fn no_name_is_taken_twice() {
    let commands: usize = GROUPS.iter().map(|group| group.len()).sum();
    let table = CommandTable::new(GROUPS, &[]).expect("no renames");
    assert_eq!(table.len(), commands);
}
fn shown_as(request: &[&[u8]]) -> Vec<String> {
    let table = CommandTable::new(GROUPS, &[]).expect("no renames");
    let owned = OwnedArgs::from_slices(request);
    let args = owned.as_args();
    let command = table.resolve(args).found().expect("known");
    let shown = (0..args.len()).map(|index| redact::shown(command, args, index));
    shown
        .map(|arg| String::from_utf8_lossy(arg).into_owned())
        .collect()
}

#[test]
fn passwords_of_configuration_and_migrate_are_hidden() {
    assert_eq!(
        shown_as(&[b"CONFIG", b"SET", b"requirepass", b"x", b"timeout", b"5"]),
        ["CONFIG", "SET", "requirepass", "(redacted)", "timeout", "5"]
    );
    assert_eq!(
        shown_as(&[
            b"MIGRATE", b"h", b"1", b"", b"0", b"1", b"AUTH2", b"u", b"p", b"KEYS", b"auth", b"k"
        ]),
        [
            "MIGRATE",
            "h",
            "1",
            "",
            "0",
            "1",
            "AUTH2",
            "(redacted)",
            "(redacted)",
            "KEYS",
            "auth",
            "k"
        ]
    );
}
