//! Splitting a line into arguments, as Redis's `sdssplitargs` does: inline requests and
//! configuration files are read with it. It undoes [`quoted`](crate::quoted).

use std::fmt;

use crate::args::OwnedArgs;

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
/// and any other escaped byte stands for itself; inside single quotes only `\'` is one. A bare
/// part in front of a quoted one belongs to the same argument, which the closing quote ends: `a"b"`
/// is `ab`, and `"a"b` is an error. A NUL byte ends the line, as the end of a C string.
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
                // A quoted part ends its argument.
                if !closed || !(peek(line, *at) == 0 || is_space(peek(line, *at))) {
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
    use crate::quoted;
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
            split(br#"bare" with quotes" next"#),
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
            br#""a"b"#,
            br#"'a'b"#,
            br#""a""b""#,
            b"\"a\"\xa0",
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
    }
}
