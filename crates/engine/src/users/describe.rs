//! The texts of rules: ACL LIST, ACL GETUSER, and the lines of files.

use std::io::Write;

use super::rules::Rules;
use super::selector::{Access, KeyPattern, Selector};

impl Rules {
    /// The words of ACL GETUSER's `flags`.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        let state = if self.enabled { "on" } else { "off" };
        [Some(state), self.nopass.then_some("nopass")]
            .into_iter()
            .flatten()
    }

    /// All rules on one line, so that ACL SETUSER gives the same user again.
    pub fn describe(&self) -> Vec<u8> {
        let mut line = Vec::new();
        for flag in self.flags() {
            push_word(&mut line, b"", flag.as_bytes());
        }
        for hash in &self.passwords {
            push_word(&mut line, b"#", hex(hash).as_bytes());
        }
        for (index, selector) in self.selectors.iter().enumerate() {
            match index {
                0 => selector.describe(&mut line),
                _ => {
                    let mut inner = Vec::new();
                    selector.describe(&mut inner);
                    line.extend_from_slice(b" (");
                    push_quoted(&mut line, &inner);
                    line.push(b')');
                }
            }
        }
        line
    }
}

/// A hash in hexadecimal digits.
pub fn hex(hash: &[u8; 32]) -> String {
    use std::fmt::Write;
    hash.iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

impl Selector {
    fn describe(&self, line: &mut Vec<u8>) {
        match self.all_keys {
            true => line.extend_from_slice(b"~* "),
            false => {
                for key in &self.keys {
                    key.push(line);
                    line.push(b' ');
                }
            }
        }
        match self.all_channels {
            true => line.extend_from_slice(b"&* "),
            false => {
                line.extend_from_slice(b"resetchannels ");
                for channel in &self.channels {
                    push_word(line, b"&", channel.text());
                }
            }
        }
        match (self.all_dbs, self.dbs.is_empty()) {
            // Not written, because older servers do not read it.
            (true, _) => {}
            (false, true) => line.extend_from_slice(b"resetdbs "),
            (false, false) => push_word(line, b"", &self.database_list()),
        }
        line.extend_from_slice(&self.command_rules());
    }

    /// The rules about commands, `+@all` or `-@all` first.
    pub fn command_rules(&self) -> Vec<u8> {
        let mut text = match self.begins_with_all {
            true => b"+@all".to_vec(),
            false => b"-@all".to_vec(),
        };
        for rule in &self.command_rules {
            text.extend_from_slice(if rule.allows { b" +" } else { b" -" });
            text.extend_from_slice(&rule.text);
        }
        text
    }

    /// The patterns of keys.
    pub fn key_rules(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let texts = self.keys.iter().map(|key| {
            let mut text = Vec::new();
            key.push(&mut text);
            text
        });
        texts.collect::<Vec<_>>().join(&b' ')
    }

    /// The patterns of channels.
    pub fn channel_rules(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let texts = self.channels.iter();
        texts
            .map(|channel| [b"&", channel.text()].concat())
            .collect::<Vec<_>>()
            .join(&b' ')
    }

    /// The databases.
    pub fn database_rules(&self) -> Vec<u8> {
        match (self.all_dbs, self.dbs.is_empty()) {
            (true, _) => b"alldbs".to_vec(),
            (false, true) => Vec::new(),
            (false, false) => self.database_list(),
        }
    }

    fn database_list(&self) -> Vec<u8> {
        let mut text = b"db=".to_vec();
        for (index, db) in self.dbs.iter().enumerate() {
            if index > 0 {
                text.push(b',');
            }
            // Writing to a vector does not fail.
            let _ = write!(text, "{db}");
        }
        text
    }
}

impl KeyPattern {
    fn push(&self, text: &mut Vec<u8>) {
        let access: &[u8] = match self.access {
            Access::ALL => b"~",
            Access { read: true, .. } => b"%R~",
            Access { .. } => b"%W~",
        };
        text.extend_from_slice(access);
        text.extend_from_slice(self.pattern.text());
    }
}

/// Appends the rules of a selector. They are split as the lines of a configuration file are, and a
/// word that ends in a parenthesis would end them: such words are quoted.
fn push_quoted(line: &mut Vec<u8>, rules: &[u8]) {
    for (index, word) in rules.split(|byte| *byte == b' ').enumerate() {
        if index > 0 {
            line.push(b' ');
        }
        let has_quotes = word.iter().any(|byte| matches!(byte, b'"' | b'\''));
        if has_quotes || word.last() == Some(&b')') {
            line.extend_from_slice(resp::quoted(word).as_bytes());
        } else {
            line.extend_from_slice(word);
        }
    }
}

fn push_word(line: &mut Vec<u8>, sign: &[u8], text: &[u8]) {
    line.extend_from_slice(sign);
    line.extend_from_slice(text);
    line.push(b' ');
}
