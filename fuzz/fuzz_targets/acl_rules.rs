//! Any text is taken as the users of an ACL file or refused as a whole, and what was taken reads
//! back as it is described.

#![no_main]

use std::sync::LazyLock;

use engine::execute::command_table;
use engine::table::CommandTable;
use engine::users::{Defaults, parse_file};
use libfuzzer_sys::fuzz_target;

static COMMANDS: LazyLock<Option<CommandTable>> =
    LazyLock::new(|| Some(command_table(engine::commands::GROUPS, &[]).ok()?.0));

fuzz_target!(|text: &[u8]| {
    let Some(commands) = COMMANDS.as_ref() else {
        return;
    };
    for all_channels in [false, true] {
        let defaults = Defaults { all_channels };
        let Ok(users) = parse_file(text, "users.acl", commands, defaults) else {
            continue;
        };
        let mut file = Vec::new();
        for (name, rules) in &users {
            file.extend_from_slice(&[b"user ", &**name, b" ", &rules.describe(), b"\n"].concat());
        }
        match parse_file(&file, "users.acl", commands, defaults) {
            Ok(again) => assert_eq!(users, again),
            Err(errors) => panic!("{}", String::from_utf8_lossy(&errors)),
        }
    }
});
