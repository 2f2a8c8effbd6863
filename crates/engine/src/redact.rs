//! Which arguments of a request are secrets: MONITOR, SLOWLOG and COMMANDLOG show `(redacted)` for
//! them.

use resp::Args;

use crate::table::Command;

/// The text in the place of a secret.
const REDACTED: &[u8] = b"(redacted)";

/// True when argument `index` of a request must be shown as `(redacted)`.
pub fn is_secret(entry: &Command, args: Args<'_>, index: usize) -> bool {
    let secrets = entry.spec.secrets;
    secrets.is_some_and(|is_secret| is_secret(args, index))
}

/// The argument as it may be shown.
pub fn shown<'a>(entry: &Command, args: Args<'a>, index: usize) -> &'a [u8] {
    if is_secret(entry, args, index) {
        REDACTED
    } else {
        args.arg(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::command_table;
    use resp::OwnedArgs;

    fn shown_as(request: &[&[u8]]) -> Vec<String> {
        let (table, _) = command_table(crate::commands::GROUPS, &[]).expect("no renames");
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
        assert_eq!(shown_as(&[b"ECHO", b"auth"]), ["ECHO", "auth"]);
    }
}
