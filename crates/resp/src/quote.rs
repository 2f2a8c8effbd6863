//! Quoting of byte strings, as Redis's `sdscatrepr` does: MONITOR, the slow log, CONFIG REWRITE and
//! the ACL file write quoted text.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_escape_everything_unprintable() {
        assert_eq!(
            quoted(b"a b\x00\xff\"\\\n\r\t\x07\x08\x7f"),
            r#""a b\x00\xff\"\\\n\r\t\a\b\x7f""#
        );
    }
}
