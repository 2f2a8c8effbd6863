//! The tokens of Lua 5.1.

/// A token of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A name or a keyword.
    Name(&'a [u8]),
    /// A string without its quotes, or `None` for one with escapes.
    String(Option<&'a [u8]>),
    /// A number as written.
    Number(&'a [u8]),
    /// An operator or another sign; longer ones are several: `..` is two points.
    Sign(u8),
    /// `==`, `~=`, `<=` or `>=`.
    Comparison,
}

/// The tokens of `code`, or `None` when a string or a comment has no end.
pub(super) fn tokens(code: &[u8]) -> Option<Vec<Token<'_>>> {
    let mut lexer = Lexer { code, at: 0 };
    let mut tokens = Vec::new();
    while lexer.skip_space()? {
        tokens.push(lexer.token()?);
    }
    Some(tokens)
}

struct Lexer<'a> {
    code: &'a [u8],
    at: usize,
}

impl<'a> Lexer<'a> {
    fn peek(&self, offset: usize) -> Option<u8> {
        self.code.get(self.at + offset).copied()
    }

    /// Skips white space and comments; false at the end.
    fn skip_space(&mut self) -> Option<bool> {
        loop {
            match (self.peek(0), self.peek(1)) {
                (None, _) => return Some(false),
                (Some(byte), _) if byte.is_ascii_whitespace() || byte == 0x0b => self.at += 1,
                (Some(b'-'), Some(b'-')) => {
                    self.at += 2;
                    if self.peek(0) == Some(b'[') && self.bracket_level().is_some() {
                        self.long_bracket()?;
                    } else {
                        let rest = &self.code[self.at..];
                        self.at += memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                    }
                }
                _ => return Some(true),
            }
        }
    }

    fn token(&mut self) -> Option<Token<'a>> {
        let byte = self.peek(0)?;
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
                Some(Token::Name(self.take_while(is_part)))
            }
            b'0'..=b'9' => Some(Token::Number(self.number())),
            b'.' if self.peek(1).is_some_and(|next| next.is_ascii_digit()) => {
                Some(Token::Number(self.number()))
            }
            b'"' | b'\'' => self.string(byte),
            b'[' if self.bracket_level().is_some() => self.long_bracket(),
            b'=' | b'~' | b'<' | b'>' if self.peek(1) == Some(b'=') => {
                self.at += 2;
                Some(Token::Comparison)
            }
            sign => {
                self.at += 1;
                Some(Token::Sign(sign))
            }
        }
    }

    fn take_while(&mut self, is_part: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = &self.code[self.at..];
        let len = rest.iter().take_while(|byte| is_part(**byte)).count();
        self.at += len;
        &rest[..len]
    }

    /// A number as PUC Lua's lexer reads it, which takes in what follows and complains later.
    fn number(&mut self) -> &'a [u8] {
        let start = self.at;
        self.take_while(|byte| byte.is_ascii_digit() || byte == b'.');
        if matches!(self.peek(0), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(0), Some(b'+' | b'-')));
        }
        self.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        &self.code[start..self.at]
    }

    fn string(&mut self, quote: u8) -> Option<Token<'a>> {
        let start = self.at + 1;
        let mut is_plain = true;
        self.at = start;
        loop {
            match self.peek(0)? {
                b'\\' => {
                    is_plain = false;
                    self.at += 2;
                }
                b'\n' | b'\r' => return None,
                byte => {
                    self.at += 1;
                    if byte == quote {
                        break;
                    }
                }
            }
        }
        let text = self.code.get(start..self.at - 1)?;
        Some(Token::String(is_plain.then_some(text)))
    }

    /// The number of equals signs when a long bracket opens here.
    fn bracket_level(&self) -> Option<usize> {
        let rest = self.code.get(self.at + 1..)?;
        let level = rest.iter().take_while(|byte| **byte == b'=').count();
        (rest.get(level) == Some(&b'[')).then_some(level)
    }

    fn long_bracket(&mut self) -> Option<Token<'a>> {
        let level = self.bracket_level()?;
        let mut close = vec![b'='; level + 2];
        close[0] = b']';
        close[level + 1] = b']';
        let start = self.at + level + 2;
        let rest = self.code.get(start..)?;
        let len = memchr::memmem::find(rest, &close)?;
        self.at = start + len + close.len();
        // A line break at the begin is no part of the string, and others are changed.
        let text = &rest[..len];
        let is_plain = memchr::memchr2(b'\n', b'\r', text).is_none();
        Some(Token::String(is_plain.then_some(text)))
    }
}
