//! JSON as values of Lua, without recursion.

use mlua::{Table, Value};

use super::{C_STACK_SLOTS, LEVELS_MAX};
use crate::call::Call;
use crate::json_options::Options;
use crate::number::read_prefix;

/// Tokens between two questions whether to go on.
const TOKENS_PER_INTERRUPT: u32 = 1 << 12;

/// A part of the text. The text of a string is in [`Scanner::text`].
#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    String,
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    /// What is wrong.
    Error(&'static str),
}

impl Token {
    /// What error texts call it.
    fn name(self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::String => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Error(reason) => reason,
        }
    }
}

/// Reads tokens. The text ends at its first NUL.
struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the last token began, or where it is wrong.
    token_at: usize,
    text: Vec<u8>,
    invalid_numbers: bool,
}

impl Scanner<'_> {
    /// A byte, 0 behind the end.
    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    fn error(&mut self, reason: &'static str) -> Token {
        self.token_at = self.at;
        Token::Error(reason)
    }

    fn next(&mut self) -> Token {
        while matches!(self.byte(self.at), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.token_at = self.at;
        let token = match self.byte(self.at) {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b',' => Token::Comma,
            b':' => Token::Colon,
            0 => return Token::End,
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' => {
                if !self.invalid_numbers && self.is_invalid_number() {
                    return self.error("invalid number");
                }
                return self.number();
            }
            b'f' | b'i' | b'I' | b'n' | b'N' | b't' | b'+' => return self.word(),
            _ => return self.error("invalid token"),
        };
        self.at += 1;
        token
    }

    fn word(&mut self) -> Token {
        for (word, token) in [
            (b"true".as_slice(), Token::Boolean(true)),
            (b"false", Token::Boolean(false)),
            (b"null", Token::Null),
        ] {
            if self.bytes[self.at..].starts_with(word) {
                self.at += word.len();
                return token;
            }
        }
        if self.invalid_numbers && self.is_invalid_number() {
            return self.number();
        }
        self.error("invalid token")
    }

    /// Whether the number is one that C reads and JSON has not.
    fn is_invalid_number(&self) -> bool {
        if self.byte(self.at) == b'+' {
            return true;
        }
        let start = self.at + usize::from(self.byte(self.at) == b'-');
        match self.byte(start) {
            b'0' => matches!(self.byte(start + 1), b'x' | b'X' | b'0'..=b'9'),
            // Bytes above 127 count as negative.
            0..=b'9' | 0x80.. => false,
            _ => {
                let word = self.bytes.get(start..start + 3).unwrap_or_default();
                word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan")
            }
        }
    }

    fn number(&mut self) -> Token {
        match read_prefix(&self.bytes[self.at..]) {
            Some((number, len)) => {
                self.at += len;
                Token::Number(number)
            }
            None => self.error("invalid number"),
        }
    }

    fn string(&mut self) -> Token {
        self.at += 1;
        self.text.clear();
        loop {
            let byte = self.byte(self.at);
            match byte {
                b'"' => break,
                0 => return self.error("unexpected end of string"),
                b'\\' => {
                    let plain = match self.byte(self.at + 1) {
                        escape @ (b'"' | b'\\' | b'/') => escape,
                        b'b' => 0x08,
                        b't' => b'\t',
                        b'n' => b'\n',
                        b'f' => 0x0c,
                        b'r' => b'\r',
                        b'u' => {
                            if !self.unicode() {
                                return self.error("invalid unicode escape code");
                            }
                            continue;
                        }
                        _ => return self.error("invalid escape code"),
                    };
                    self.text.push(plain);
                    self.at += 2;
                }
                _ => {
                    self.text.push(byte);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        Token::String
    }

    /// Four hexadecimal digits.
    fn code_unit(&self, at: usize) -> Option<u32> {
        let mut unit = 0;
        for offset in 0..4 {
            unit = unit << 4 | char::from(self.byte(at + offset)).to_digit(16)?;
        }
        Some(unit)
    }

    /// Reads `\uXXXX`, or two of them that make one character.
    fn unicode(&mut self) -> bool {
        let Some(mut code) = self.code_unit(self.at + 2) else {
            return false;
        };
        let mut len = 6;
        if code & 0xf800 == 0xd800 {
            if code & 0x400 != 0
                || self.byte(self.at + 6) != b'\\'
                || self.byte(self.at + 7) != b'u'
            {
                return false;
            }
            let Some(low) = self
                .code_unit(self.at + 8)
                .filter(|low| low & 0xfc00 == 0xdc00)
            else {
                return false;
            };
            code = ((code & 0x3ff) << 10 | low & 0x3ff) + 0x10000;
            len = 12;
        }
        let Some(character) = char::from_u32(code) else {
            return false;
        };
        let mut utf8 = [0; 4];
        self.text
            .extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
        self.at += len;
        true
    }
}

/// A value that is being read.
enum Open {
    Array { table: Table, next: i64 },
    Object { table: Table, key: Value },
}

struct Decoder<'a> {
    call: &'a Call<'a>,
    scanner: Scanner<'a>,
    open: Vec<Open>,
    depth_max: i64,
    /// Slots of Lua's stack that Lua CJSON would use.
    slots: usize,
    tokens: u32,
}

pub(super) fn decode(call: &Call<'_>, options: &Options) -> mlua::Result<Value> {
    if call.len() != 1 {
        return Err(call.argument_error(1, "expected 1 argument"));
    }
    let text = call.string(1)?;
    let bytes = text.as_bytes();
    if bytes.len() >= 2 && bytes[..2].contains(&0) {
        return Err(call.error("JSON parser does not support UTF-16 or UTF-32"));
    }
    let mut decoder = Decoder {
        call,
        scanner: Scanner {
            bytes: &bytes,
            at: 0,
            token_at: 0,
            text: Vec::new(),
            invalid_numbers: options.decode_invalid,
        },
        open: Vec::new(),
        depth_max: options.decode_depth_max.into(),
        slots: 1,
        tokens: 0,
    };
    decoder.run()
}

impl Decoder<'_> {
    fn next(&mut self) -> mlua::Result<Token> {
        self.tokens += 1;
        if self.tokens.is_multiple_of(TOKENS_PER_INTERRUPT) {
            self.call.interrupt()?;
        }
        Ok(self.scanner.next())
    }

    fn unexpected(&self, expected: &str, found: Token) -> mlua::Error {
        self.call.error(format!(
            "Expected {expected} but found {} at character {}",
            found.name(),
            self.scanner.token_at + 1
        ))
    }

    fn run(&mut self) -> mlua::Result<Value> {
        let mut token = self.next()?;
        loop {
            let complete = match token {
                Token::String => self.string()?,
                Token::Number(number) => Value::Number(number),
                Token::Boolean(value) => Value::Boolean(value),
                Token::Null => Value::NULL,
                Token::ObjectBegin => match self.open_object()? {
                    Some(empty) => empty,
                    None => {
                        token = self.next()?;
                        continue;
                    }
                },
                Token::ArrayBegin => {
                    self.descend(2)?;
                    let table = self.call.lua.create_table()?;
                    token = self.next()?;
                    if token != Token::ArrayEnd {
                        self.open.push(Open::Array { table, next: 1 });
                        self.slots += 1;
                        continue;
                    }
                    Value::Table(table)
                }
                other => return Err(self.unexpected("value", other)),
            };
            match self.close(complete)? {
                Some(value) => return Ok(value),
                None => token = self.next()?,
            }
        }
    }

    fn string(&self) -> mlua::Result<Value> {
        self.call
            .lua
            .create_string(&self.scanner.text)
            .map(Value::String)
    }

    fn descend(&self, slots: usize) -> mlua::Result<()> {
        let depth = self.open.len() + 1;
        if depth as i64 > self.depth_max || self.slots + slots > C_STACK_SLOTS || depth > LEVELS_MAX
        {
            return Err(self.call.error(format!(
                "Found too many nested data structures ({depth}) at character {}",
                self.scanner.at
            )));
        }
        Ok(())
    }

    /// Begins an object and reads its first key and the colon, or returns it when it is empty.
    fn open_object(&mut self) -> mlua::Result<Option<Value>> {
        self.descend(3)?;
        let table = self.call.lua.create_table()?;
        let token = self.next()?;
        if token == Token::ObjectEnd {
            return Ok(Some(Value::Table(table)));
        }
        let key = self.key(token)?;
        self.open.push(Open::Object { table, key });
        self.slots += 2;
        Ok(None)
    }

    /// The key that `token` is, and the colon behind it.
    fn key(&mut self, token: Token) -> mlua::Result<Value> {
        if token != Token::String {
            return Err(self.unexpected("object key string", token));
        }
        let key = self.string()?;
        match self.next()? {
            Token::Colon => Ok(key),
            other => Err(self.unexpected("colon", other)),
        }
    }

    /// Puts a value into the innermost array or object, and ends all that end with it. Returns the
    /// value when it is the whole text.
    fn close(&mut self, value: Value) -> mlua::Result<Option<Value>> {
        let mut value = value;
        loop {
            let is_array = match self.open.last_mut() {
                None => {
                    return match self.next()? {
                        Token::End => Ok(Some(value)),
                        other => Err(self.unexpected("the end", other)),
                    };
                }
                Some(Open::Array { table, next }) => {
                    table.raw_set(*next, &value)?;
                    *next += 1;
                    true
                }
                Some(Open::Object { table, key }) => {
                    table.raw_set(&*key, &value)?;
                    false
                }
            };
            match self.next()? {
                Token::Comma => {
                    if !is_array {
                        let token = self.next()?;
                        let new_key = self.key(token)?;
                        if let Some(Open::Object { key, .. }) = self.open.last_mut() {
                            *key = new_key;
                        }
                    }
                    return Ok(None);
                }
                Token::ArrayEnd if is_array => self.slots -= 1,
                Token::ObjectEnd if !is_array => self.slots -= 2,
                other if is_array => return Err(self.unexpected("comma or array end", other)),
                other => return Err(self.unexpected("comma or object end", other)),
            }
            if let Some(Open::Array { table, .. } | Open::Object { table, .. }) = self.open.pop() {
                value = Value::Table(table);
            }
        }
    }
}
