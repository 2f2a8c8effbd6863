//! Which arguments of a request are secrets: MONITOR, SLOWLOG and COMMANDLOG show `(redacted)` for them.

use std::ops::Range;

use resp::Args;

use crate::config::Config;
use crate::table::Entry;

/// What is shown in the place of a secret.
pub const REDACTED: &[u8] = b"(redacted)";

/// True when argument `index` of a request must not be shown to anybody.
pub fn is_secret(entry: &Entry, args: Args<'_>, index: usize) -> bool {
    match entry.full_name {
        // User names too: they are half of a login.
        "auth" => index >= 1,
        "hello" => index >= 3 && (is_auth(args, index - 1) || is_auth(args, index - 2)),
        "migrate" => migrate_secrets(args).contains(&index),
        "config|set" => index >= 3 && index % 2 == 1 && Config::is_sensitive(args.arg(index - 1)),
        _ => false,
    }
}

/// Where the login of MIGRATE stands: keys may have the names of options.
fn migrate_secrets(args: Args<'_>) -> Range<usize> {
    let is = |index: usize, word: &[u8]| args.arg(index).eq_ignore_ascii_case(word);
    let login = (6..args.len())
        .take_while(|index| !is(*index, b"keys"))
        .find(|index| is(*index, b"auth") || is(*index, b"auth2"));
    match login {
        Some(at) if is(at, b"auth") => at + 1..at + 2,
        Some(at) => at + 1..at + 3,
        None => 0..0,
    }
}

fn is_auth(args: Args<'_>, index: usize) -> bool {
    args.arg(index).eq_ignore_ascii_case(b"auth")
}

/// The argument as it may be shown.
pub fn shown<'a>(entry: &Entry, args: Args<'a>, index: usize) -> &'a [u8] {
    if is_secret(entry, args, index) {
        REDACTED
    } else {
        args.arg(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::CommandTable;
    use resp::OwnedArgs;

    fn shown_as(request: &[&[u8]]) -> Vec<String> {
        let table = CommandTable::new(crate::commands::GROUPS, &[]).expect("no renames");
        let owned = OwnedArgs::from_slices(request);
        let args = owned.as_args();
        let entry = table.resolve(args).found().expect("known");
        (0..args.len())
            .map(|index| String::from_utf8_lossy(shown(entry, args, index)).into_owned())
            .collect()
    }

    #[test]
    fn passwords_are_hidden_and_nothing_else() {
        assert_eq!(shown_as(&[b"AUTH", b"p"]), ["AUTH", "(redacted)"]);
        assert_eq!(
            shown_as(&[b"auth", b"u", b"p"]),
            ["auth", "(redacted)", "(redacted)"]
        );
        assert_eq!(
            shown_as(&[b"HELLO", b"3", b"auth", b"u", b"p", b"SETNAME", b"n"]),
            [
                "HELLO",
                "3",
                "auth",
                "(redacted)",
                "(redacted)",
                "SETNAME",
                "n"
            ]
        );
        assert_eq!(
            shown_as(&[b"CONFIG", b"SET", b"requirepass", b"x", b"timeout", b"5"]),
            ["CONFIG", "SET", "requirepass", "(redacted)", "timeout", "5"]
        );
        assert_eq!(
            shown_as(&[
                b"MIGRATE", b"h", b"1", b"", b"0", b"1", b"AUTH2", b"u", b"p", b"KEYS", b"auth",
                b"k"
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
        assert_eq!(shown_as(&[b"ECHO", b"auth"]), ["ECHO", "auth"]);
    }
}
