//! Replies as JSON.
//!
//! ```text
//! string        "text", or {"text": ..., "len": n} and {"hex": ..., "len": n} (bytes that are no
//!               text) where it was cut; {"hex": ...} alone is whole
//! status        {"status": "OK"}            error   {"error": "ERR ..."}
//! integer       12, or {"number": "..."} beyond 2^53       double   {"number": "1.5"}
//! null, boolean null, true, false
//! array         [...]     map   {"map": [[key, value], ...]}     set   {"set": [...]}
//! ```
//!
//! Replies are read piece by piece: of a string of 50 MB only its beginning is kept.

use std::io;

use super::link::Link;

/// Bytes of a string that a page gets: several screens of text. It asks for more by ranges.
const STRING_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a text that the server has made, as that of INFO or CLIENT LIST.
const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of all replies of a request: a page of 200 elements that are all cut.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Levels of arrays and maps: COMMAND DOCS has eight.
const DEPTH_MAX: usize = 32;
/// The largest integer that JavaScript has exactly.
const EXACT_MAX: u64 = (1 << 53) - 1;

/// Why a reply was not read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The connection failed.
    Io(io::Error),
    /// Beyond the bounds of a page.
    TooLarge,
    /// It is no reply.
    Malformed,
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// JSON in the making.
#[derive(Default)]
pub(super) struct Page {
    json: String,
}

impl Page {
    /// What was written.
    pub(super) fn text(&self) -> &str {
        &self.json
    }

    /// A comma before an element that is not the first one.
    pub(super) fn separate(&mut self, follows: bool) {
        if follows {
            self.json.push(',');
        }
    }

    /// An error reply.
    pub(super) fn error(&mut self, text: &[u8]) {
        self.field("error", &String::from_utf8_lossy(text));
    }

    fn field(&mut self, name: &str, text: &str) {
        self.json.push_str("{\"");
        self.json.push_str(name);
        self.json.push_str("\":");
        self.quoted(text);
        self.json.push('}');
    }

    fn quoted(&mut self, text: &str) {
        self.json.push('"');
        for letter in text.chars() {
            match letter {
                '"' | '\\' => {
                    self.json.push('\\');
                    self.json.push(letter);
                }
                // Also those that end a line in JavaScript, and what could begin a tag.
                '\0'..='\x1f' | '\x7f'..='\u{9f}' | '<' | '\u{2028}' | '\u{2029}' => {
                    self.json.push_str(&format!("\\u{:04x}", letter as u32));
                }
                letter => self.json.push(letter),
            }
        }
        self.json.push('"');
    }

    /// A string of `len` bytes, of which these are the first.
    fn string(&mut self, bytes: &[u8], len: usize) {
        let is_cut = bytes.len() < len;
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => Some(text),
            // The cut may be inside of a letter.
            Err(error) if is_cut && error.error_len().is_none() => {
                let whole = bytes.get(..error.valid_up_to()).unwrap_or_default();
                std::str::from_utf8(whole).ok()
            }
            Err(_) => None,
        };
        match text {
            Some(text) if !is_cut => return self.quoted(text),
            Some(text) => {
                self.json.push_str("{\"text\":");
                self.quoted(text);
            }
            None => {
                self.json.push_str("{\"hex\":\"");
                for byte in bytes {
                    self.json.push_str(&format!("{byte:02x}"));
                }
                self.json.push('"');
            }
        }
        if is_cut {
            self.json.push_str(&format!(",\"len\":{len}"));
        }
        self.json.push('}');
    }

    fn integer(&mut self, text: &str) {
        let exact = text.parse::<i64>().ok();
        match exact.filter(|number| number.unsigned_abs() <= EXACT_MAX) {
            Some(number) => self.json.push_str(&number.to_string()),
            None => self.field("number", text),
        }
    }
}

/// An array, map or set that is being written.
struct Frame {
    /// Values that are missing.
    left: usize,
    written: usize,
    is_map: bool,
    end: &'static str,
}

impl Frame {
    fn before(&self, page: &mut Page) {
        let begins_pair = !self.is_map || self.written.is_multiple_of(2);
        page.separate(self.written > 0);
        if self.is_map && begins_pair {
            page.json.push('[');
        }
    }

    fn after(&mut self, page: &mut Page) {
        self.written += 1;
        self.left -= 1;
        if self.is_map && self.written.is_multiple_of(2) {
            page.json.push(']');
        }
    }
}

/// What the head of a value says.
enum Value {
    /// It was written.
    Whole,
    /// Values follow.
    Opens(Frame),
    /// Attributes follow, so many values, which are left out, and then the value.
    Attributes(usize),
}

/// Reads a reply and writes it.
///
/// # Errors
/// See [`ReadError`]; the connection is of no use afterwards.
pub(super) async fn read_reply(link: &mut Link, page: &mut Page) -> Result<(), ReadError> {
    let mut frames: Vec<Frame> = Vec::new();
    loop {
        if let Some(frame) = frames.last() {
            frame.before(page);
        }
        let mut value = read_value(link, page).await?;
        while let Value::Attributes(count) = value {
            let mut hidden = Page::default();
            for _ in 0..count {
                if !matches!(read_value(link, &mut hidden).await?, Value::Whole) {
                    return Err(ReadError::Malformed);
                }
            }
            value = read_value(link, page).await?;
        }
        if page.json.len() > PAGE_BYTES_MAX {
            return Err(ReadError::TooLarge);
        }
        if let Value::Opens(frame) = value {
            frames.push(frame);
        } else if let Some(frame) = frames.last_mut() {
            frame.after(page);
        }
        if frames.len() > DEPTH_MAX {
            return Err(ReadError::TooLarge);
        }
        while let Some(frame) = frames.pop_if(|frame| frame.left == 0) {
            page.json.push_str(frame.end);
            if let Some(outer) = frames.last_mut() {
                outer.after(page);
            }
        }
        if frames.is_empty() {
            return Ok(());
        }
    }
}

async fn read_value(link: &mut Link, page: &mut Page) -> Result<Value, ReadError> {
    let line = link.line().await?;
    let (kind, text) = line.split_first().ok_or(ReadError::Malformed)?;
    let text = String::from_utf8_lossy(text);
    let len = || text.parse::<usize>().map_err(|_| ReadError::Malformed);
    match kind {
        b'$' | b'*' if text == "-1" => page.json.push_str("null"),
        b'+' => page.field("status", &text),
        b'-' => page.error(text.as_bytes()),
        b':' => page.integer(&text),
        b'_' => page.json.push_str("null"),
        b'#' => page
            .json
            .push_str(if text == "t" { "true" } else { "false" }),
        b',' | b'(' => page.field("number", &text),
        b'$' | b'=' => {
            let len = len()?;
            // The format of a verbatim string stands before a colon.
            let (format, kept) = match kind {
                b'=' => (4.min(len), TEXT_BYTES_MAX),
                _ => (0, STRING_BYTES_MAX),
            };
            let bytes = link.bulk(len, kept).await?;
            page.string(bytes.get(format..).unwrap_or_default(), len - format);
        }
        b'!' => {
            let bytes = link.bulk(len()?, STRING_BYTES_MAX).await?;
            page.error(&bytes);
        }
        b'|' => return Ok(Value::Attributes(2 * len()?)),
        b'*' | b'>' => return Ok(opened(page, ("[", "]"), len()?, false)),
        b'~' => return Ok(opened(page, ("{\"set\":[", "]}"), len()?, false)),
        b'%' => return Ok(opened(page, ("{\"map\":[", "]}"), len()?, true)),
        _ => return Err(ReadError::Malformed),
    }
    Ok(Value::Whole)
}

fn opened(page: &mut Page, (start, end): (&str, &'static str), len: usize, is_map: bool) -> Value {
    page.json.push_str(start);
    let values = if is_map { 2 } else { 1 };
    Value::Opens(Frame {
        left: len.saturating_mul(values),
        written: 0,
        is_map,
        end,
    })
}
