//! Counting RESP values in a byte stream without keeping them.
//!
//! The load generator counts replies with it and the echo loops count requests, which are RESP
//! arrays themselves. Only lengths are read, so the client stays much cheaper than the server.

use anyhow::{Result, bail};

/// The longest line (type, length or status text) that is accepted.
const LINE_LEN_MAX: usize = 4096;

/// An incremental counter of complete top-level values of RESP2, and maps of RESP3.
#[derive(Default)]
pub(crate) struct Counter {
    /// Bytes of a bulk string, with its CRLF, that are still to come.
    skip: usize,
    /// Elements of the current top-level value that are still to come after the current one.
    elements: u64,
    /// The beginning of a line whose end has not arrived.
    line: Vec<u8>,
    /// The first error reply seen.
    error: Option<String>,
}

impl Counter {
    /// Takes the next bytes of the stream and returns how many top-level values ended in them.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<u64> {
        let mut complete = 0;
        while !bytes.is_empty() {
            if self.skip > 0 {
                let taken = self.skip.min(bytes.len());
                self.skip -= taken;
                bytes = &bytes[taken..];
                if self.skip == 0 {
                    complete += self.element_done();
                }
                continue;
            }
            let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
                if self.line.len() + bytes.len() > LINE_LEN_MAX {
                    bail!("a reply line is longer than {LINE_LEN_MAX} bytes");
                }
                self.line.extend_from_slice(bytes);
                break;
            };
            let (head, rest) = bytes.split_at(end);
            bytes = &rest[1..];
            complete += if self.line.is_empty() {
                self.line_done(head)?
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(head);
                self.line_done(&line)?
            };
        }
        Ok(complete)
    }

    /// The first error reply since the last call, if there was any.
    pub(crate) fn take_error(&mut self) -> Option<String> {
        self.error.take()
    }

    /// Interprets one line, given without its LF, and returns 1 when it ends a top-level value.
    fn line_done(&mut self, line: &[u8]) -> Result<u64> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line.split_first() {
            Some((b'+' | b':' | b'_' | b'#' | b',', _)) => Ok(self.element_done()),
            Some((b'-', text)) => {
                self.error
                    .get_or_insert_with(|| String::from_utf8_lossy(text).into_owned());
                Ok(self.element_done())
            }
            Some((b'$', length)) => match parse_length(length)? {
                None => Ok(self.element_done()),
                Some(length) => {
                    self.skip = length + 2;
                    Ok(0)
                }
            },
            Some((b'*', length)) => match parse_length(length)? {
                None | Some(0) => Ok(self.element_done()),
                Some(length) => {
                    // The array's own place is taken by its elements.
                    self.elements += length as u64 - 1;
                    Ok(0)
                }
            },
            Some((b'%', pairs)) => match parse_length(pairs)? {
                None | Some(0) => Ok(self.element_done()),
                Some(pairs) => {
                    self.elements += 2 * pairs as u64 - 1;
                    Ok(0)
                }
            },
            _ => bail!(
                "unexpected bytes in the stream: {:?}",
                String::from_utf8_lossy(line)
            ),
        }
    }

    fn element_done(&mut self) -> u64 {
        if self.elements == 0 {
            return 1;
        }
        self.elements -= 1;
        // One more element has ended, but the value it belongs to goes on.
        0
    }
}

/// Reads a length line; -1, which stands for null, is `None`.
fn parse_length(digits: &[u8]) -> Result<Option<usize>> {
    match std::str::from_utf8(digits)
        .ok()
        .and_then(|text| text.parse::<i64>().ok())
    {
        Some(-1) => Ok(None),
        Some(length) if (0..=512 << 20).contains(&length) => Ok(Some(usize::try_from(length)?)),
        _ => bail!(
            "unexpected length in the stream: {:?}",
            String::from_utf8_lossy(digits)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"+OK\r\n$5\r\nhello\r\n$-1\r\n*2\r\n$1\r\na\r\n*2\r\n:1\r\n:2\r\n*0\r\n-ERR no\r\n$0\r\n\r\n%1\r\n+a\r\n:1\r\n";

    #[test]
    fn counts_values_however_the_stream_is_cut() {
        for cut in 1..STREAM.len() {
            let mut counter = Counter::default();
            let counted: u64 = STREAM
                .chunks(cut)
                .map(|part| counter.feed(part).unwrap())
                .sum();
            assert_eq!(counted, 8, "cut into pieces of {cut} bytes");
            assert_eq!(counter.take_error().as_deref(), Some("ERR no"));
        }
    }

    #[test]
    fn refuses_what_is_not_resp() {
        assert!(Counter::default().feed(b"HTTP/1.1 400\r\n").is_err());
        assert!(Counter::default().feed(b"$-2\r\n").is_err());
        assert!(Counter::default().feed(b"$9999999999\r\n").is_err());
    }
}
