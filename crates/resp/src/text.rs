//! Quoting of byte strings, and the splitting of lines into arguments that undoes it.
//!
//! Both follow Redis's `sdscatrepr` and `sdssplitargs`: MONITOR, the slow log, CONFIG REWRITE and
//! the ACL file write quoted text; inline requests and configuration files are read with
//! [`split_args`].

use std::fmt;

use crate::args::OwnedArgs;

/// `bytes` in double quotes, with everything but printable ASCII escaped.
pub fn quoted(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for &byte in bytes {
        push_escaped(byte, &mut text);
    }
    text.push('"');
    text
}

fn push_escaped(byte: u8, text: &mut String) {
    match byte {
        b'\\' | b'"' => {
            text.push('\\');
            text.push(char::from(byte));
        }
        b'\n' => text.push_str("\\n"),
        b'\r' => text.push_str("\\r"),
        b'\t' => text.push_str("\\t"),
        0x07 => text.push_str("\\a"),
        0x08 => text.push_str("\\b"),
        0x20..=0x7e => text.push(char::from(byte)),
        _ => {
            text.push_str("\\x");
            for digit in [byte >> 4, byte & 15] {
                text.extend(char::from_digit(u32::from(digit), 16));
            }
        }
    }
}

/// Whether `bytes` would not come back unchanged from [`split_args`] without being [`quoted`].
///
/// As in Redis, a string that only holds single quotes, or nothing at all, does not count as
/// needing them.
pub fn needs_quotes(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .any(|&byte| byte == b'\\' || byte == b'"' || !matches!(byte, 0x21..=0x7e))
}

/// A quote was opened and not closed before the end of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnbalancedQuotes;

impl fmt::Display for UnbalancedQuotes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unbalanced quotes")
    }
}

impl std::error::Error for UnbalancedQuotes {}

/// Splits a line into arguments the way a shell user expects.
///
/// White space separates. Inside double quotes `\n`, `\r`, `\t`, `\b`, `\a` and `\xHH` are escapes
/// and any other escaped byte stands for itself; inside single quotes only `\'` is one. Quoted and
/// bare parts that touch are one argument: `a"b"'c'` is `abc`. A NUL byte ends the line, as the end
/// of a C string.
pub fn split_args(line: &[u8]) -> Result<OwnedArgs, UnbalancedQuotes> {
    let mut args = OwnedArgs::new();
    let mut at = 0;
    loop {
        at += line[at..]
            .iter()
            .take_while(|byte| is_space(**byte))
            .count();
        if peek(line, at) == 0 {
            return Ok(args);
        }
        if !args.push_with(|bytes| read_arg(line, &mut at, bytes)) {
            return Err(UnbalancedQuotes);
        }
    }
}

/// White space as `isspace` of the C locale sees it.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// The byte at `at`; NUL, which ends every line, behind the last one.
fn peek(line: &[u8], at: usize) -> u8 {
    line.get(at).copied().unwrap_or(0)
}

/// Reads one argument from `at` on, decoded, into `bytes`. False if a quote is left open.
fn read_arg(line: &[u8], at: &mut usize, bytes: &mut Vec<u8>) -> bool {
    loop {
        let byte = peek(line, *at);
        match byte {
            // Vertical tab and form feed separate arguments only in front of one; this is Redis's
            // rule.
            b' ' | b'\n' | b'\r' | b'\t' | 0 => return true,
            b'"' | b'\'' => {
                *at += 1;
                let closed = if byte == b'"' {
                    read_double_quoted(line, at, bytes)
                } else {
                    read_single_quoted(line, at, bytes)
                };
                if !closed {
                    return false;
                }
            }
            _ => {
                bytes.push(byte);
                *at += 1;
            }
        }
    }
}

fn read_double_quoted(line: &[u8], at: &mut usize, bytes: &mut Vec<u8>) -> bool {
    loop {
        let byte = peek(line, *at);
        let next = peek(line, *at + 1);
        match (byte, next) {
            (0, _) => return false,
            (b'"', _) => {
                *at += 1;
                return true;
            }
            (b'\\', b'x') => {
                let digit = |offset| char::from(peek(line, *at + offset)).to_digit(16);
                if let (Some(high), Some(low)) = (digit(2), digit(3)) {
                    bytes.push((high * 16 + low) as u8);
                    *at += 4;
                } else {
                    bytes.push(b'x');
                    *at += 2;
                }
            }
            (b'\\', 1..) => {
                bytes.push(match next {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => other,
                });
                *at += 2;
            }
            _ => {
                bytes.push(byte);
                *at += 1;
            }
        }
    }
}

fn read_single_quoted(line: &[u8], at: &mut usize, bytes: &mut Vec<u8>) -> bool {
    loop {
        match (peek(line, *at), peek(line, *at + 1)) {
            (0, _) => return false,
            (b'\'', _) => {
                *at += 1;
                return true;
            }
            (b'\\', b'\'') => {
                bytes.push(b'\'');
                *at += 2;
            }
            (byte, _) => {
                bytes.push(byte);
                *at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(line: &[u8]) -> Vec<Vec<u8>> {
        split_args(line)
            .unwrap()
            .as_args()
            .iter()
            .map(<[u8]>::to_vec)
            .collect()
    }

    #[test]
    fn quotes_escape_everything_unprintable() {
        assert_eq!(
            quoted(b"a b\x00\xff\"\\\n\r\t\x07\x08\x7f"),
            r#""a b\x00\xff\"\\\n\r\t\a\b\x7f""#
        );
        assert!(needs_quotes(b"a b") && needs_quotes(b"\x80") && needs_quotes(b"\\"));
        assert!(!needs_quotes(b"plain-'text'"));
    }

    #[test]
    fn splits_at_white_space() {
        assert_eq!(
            split(b"Testing one  two\tthree "),
            [&b"Testing"[..], b"one", b"two", b"three"]
        );
        assert!(split(b"").is_empty());
        assert!(split(b" \t\x0b\x0c ").is_empty());
        assert_eq!(split(b"\x0ba\x0bb c"), [&b"a\x0bb"[..], b"c"]);
        assert_eq!(split(b"one tw\0o three"), [&b"one"[..], b"tw"]);
    }

    #[test]
    fn reads_quotes() {
        assert_eq!(split(br#""a b" 'c "d' "#), [&b"a b"[..], br#"c "d"#]);
        assert_eq!(
            split(br#""\x41\n\q\x4z" '\n\'' """#),
            [&b"A\nqx4z"[..], br"\n'", b""]
        );
        assert_eq!(
            split(br#"bare" "with' 'quotes next"#),
            [&b"bare with quotes"[..], b"next"]
        );
        assert_eq!(split(br#""\"""#), [b"\""]);
    }

    #[test]
    fn open_quotes_are_an_error() {
        for line in [
            &br#""a"#[..],
            b"'a",
            br#"a "b"#,
            br#""a\""#,
            br"'a\'",
            br#""a\"#,
            b"\"a\0\"",
            br#""\x4"#,
        ] {
            assert_eq!(split_args(line), Err(UnbalancedQuotes), "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn quoted_text_splits_back(args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..6)) {
            let line: Vec<String> = args.iter().map(|arg| quoted(arg)).collect();
            prop_assert_eq!(split(line.join(" ").as_bytes()), args);
        }

        #[test]
        fn any_line_is_read_without_panic(line in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = split_args(&line);
        }

        #[test]
        fn what_needs_no_quotes_splits_back(arg in "[!-~&&[^'\"\\\\]]{1,20}") {
            prop_assert!(!needs_quotes(arg.as_bytes()));
            prop_assert_eq!(split(arg.as_bytes()), [arg.as_bytes()]);
        }
    }
}
