//! A Rust file taken apart as far as the checks need it: code without comments and literals,
//! comments, functions, and which lines are tests. A scanner of characters, not a parser.

use std::ops::RangeInclusive;

/// One file. All vectors have one element per line.
pub(crate) struct Source {
    /// Code, in which comments and the contents of literals are blanks.
    pub(crate) code: Vec<String>,
    /// Text of comments.
    pub(crate) comments: Vec<String>,
    /// Whether the line belongs to an item under `#[cfg(test)]`.
    pub(crate) test: Vec<bool>,
    pub(crate) functions: Vec<Function>,
}

/// A function with a body.
pub(crate) struct Function {
    pub(crate) name: String,
    /// From the line of `fn` to the line of the closing brace, counted from 0.
    pub(crate) lines: RangeInclusive<usize>,
}

impl Source {
    /// Takes `text` apart. `test_file` says that the whole file is test code.
    pub(crate) fn new(text: &str, test_file: bool) -> Source {
        let mut scanner = Scanner {
            chars: text.chars().collect(),
            at: 0,
            code: String::new(),
            comments: String::new(),
        };
        scanner.scan();
        let lines = |text: &str| text.split('\n').map(str::to_owned).collect::<Vec<_>>();
        let (code, comments) = (lines(&scanner.code), lines(&scanner.comments));
        let mut source = Source {
            test: vec![test_file; code.len()],
            code,
            comments,
            functions: Vec::new(),
        };
        source.functions = source.find_functions();
        source.mark_tests();
        source
    }

    /// Number of lines with code, and number of lines with nothing but a comment, both outside
    /// tests.
    pub(crate) fn line_counts(&self) -> (usize, usize) {
        let (mut code, mut comments) = (0, 0);
        for line in (0..self.code.len()).filter(|&line| !self.test[line]) {
            if !self.code[line].trim().is_empty() {
                code += 1;
            } else if !self.comments[line].trim().is_empty() {
                comments += 1;
            }
        }
        (code, comments)
    }

    /// Every `fn` with a body, nested ones included.
    fn find_functions(&self) -> Vec<Function> {
        let mut functions = Vec::new();
        for (line, code) in self.code.iter().enumerate() {
            for (at, name) in function_names(code) {
                if let Some(end) = self.body_end(line, at) {
                    functions.push(Function {
                        name: name.to_owned(),
                        lines: line..=end,
                    });
                }
            }
        }
        functions
    }

    /// Marks what stands under `#[cfg(test)]`, from the attribute to the end of its block.
    fn mark_tests(&mut self) {
        for line in 0..self.code.len() {
            if self.code[line].contains("#[cfg(test)]")
                && let Some(end) = self.body_end(line, 0)
            {
                self.test[line..=end].fill(true);
            }
        }
    }

    /// The line on which the first braced block from `line` and byte `at` on ends; `None` when a
    /// semicolon comes first (a declaration without a body).
    fn body_end(&self, line: usize, at: usize) -> Option<usize> {
        let mut depth = 0_usize;
        // Semicolons inside brackets are lengths of arrays in a signature.
        let mut brackets = 0_usize;
        for (index, code) in self.code.iter().enumerate().skip(line) {
            let start = if index == line { at } else { 0 };
            for byte in code.bytes().skip(start) {
                match byte {
                    b'{' => depth += 1,
                    b'}' if depth <= 1 => return Some(index),
                    b'}' => depth -= 1,
                    b'(' | b'[' => brackets += 1,
                    b')' | b']' => brackets = brackets.saturating_sub(1),
                    b';' if depth == 0 && brackets == 0 => return None,
                    _ => {}
                }
            }
        }
        None
    }
}

/// Names of functions that begin in a line of code, with the byte positions of `fn`.
fn function_names(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.match_indices("fn ").filter_map(|(at, _)| {
        let before = code[..at].chars().next_back();
        let name = &code[at + 3..];
        let end = name
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(name.len());
        let is_word = !before.is_some_and(|c| c.is_alphanumeric() || c == '_');
        (is_word && end > 0).then(|| (at, &name[..end]))
    })
}

/// Copies characters to `code` or `comments`, blanking the other one, so that both keep all line
/// ends.
struct Scanner {
    chars: Vec<char>,
    at: usize,
    code: String,
    comments: String,
}

impl Scanner {
    fn scan(&mut self) {
        while let Some(&c) = self.chars.get(self.at) {
            match (c, self.peek(1)) {
                ('/', Some('/')) => self.line_comment(),
                ('/', Some('*')) => self.block_comment(),
                ('"', _) => self.string(0, true),
                ('r', Some('"' | '#')) if !self.inside_word() => self.raw_string(),
                // Byte and C strings: the prefix is code, the rest goes the usual way.
                ('b' | 'c', Some('r'))
                    if !self.inside_word() && matches!(self.peek(2), Some('"' | '#')) =>
                {
                    self.push_code();
                    self.raw_string();
                }
                ('\'', _) => self.quote(),
                _ => self.push_code(),
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn inside_word(&self) -> bool {
        self.code
            .chars()
            .next_back()
            .is_some_and(|c| c.is_alphanumeric() || c == '_')
    }

    fn push_code(&mut self) {
        let c = self.chars[self.at];
        self.code.push(c);
        self.comments.push(if c == '\n' { '\n' } else { ' ' });
        self.at += 1;
    }

    fn push_comment(&mut self) {
        let c = self.chars[self.at];
        self.comments.push(c);
        self.code.push(if c == '\n' { '\n' } else { ' ' });
        self.at += 1;
    }

    /// Passes over a character that is neither code nor comment.
    fn push_literal(&mut self) {
        let blank = if self.chars[self.at] == '\n' {
            '\n'
        } else {
            ' '
        };
        self.code.push(blank);
        self.comments.push(blank);
        self.at += 1;
    }

    fn line_comment(&mut self) {
        while self.peek(0).is_some_and(|c| c != '\n') {
            self.push_comment();
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(c) = self.peek(0) {
            let pair = (c, self.peek(1));
            if pair == ('/', Some('*')) || pair == ('*', Some('/')) {
                depth = if c == '/' { depth + 1 } else { depth - 1 };
                self.push_comment();
            }
            self.push_comment();
            if depth == 0 {
                break;
            }
        }
    }

    /// A string from its opening quote on, closed by a quote and `hashes` hash signs.
    fn string(&mut self, hashes: usize, escapes: bool) {
        self.push_code();
        while let Some(c) = self.peek(0) {
            if c == '\\' && escapes {
                self.push_literal();
                if self.peek(0).is_some() {
                    self.push_literal();
                }
            } else if c == '"' && (1..=hashes).all(|ahead| self.peek(ahead) == Some('#')) {
                for _ in 0..=hashes {
                    self.push_code();
                }
                break;
            } else {
                self.push_literal();
            }
        }
    }

    /// A raw string from its `r` on, or a raw identifier.
    fn raw_string(&mut self) {
        self.push_code();
        let mut hashes = 0;
        while self.peek(hashes) == Some('#') {
            hashes += 1;
        }
        if self.peek(hashes) != Some('"') {
            return;
        }
        for _ in 0..hashes {
            self.push_code();
        }
        self.string(hashes, false);
    }

    /// A character literal or a lifetime. Only after a character does a second quote follow at
    /// once.
    fn quote(&mut self) {
        self.push_code();
        if self.peek(0) == Some('\\') {
            self.push_literal();
            self.push_literal();
            while self.peek(0).is_some_and(|c| c != '\'' && c != '\n') {
                self.push_literal();
            }
            self.push_code_if_any();
        } else if self.peek(1) == Some('\'') {
            self.push_literal();
            self.push_code();
        }
    }

    fn push_code_if_any(&mut self) {
        if self.at < self.chars.len() {
            self.push_code();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_leave_the_code() {
        let text = "let a = \"{ // no\"; // yes {\nlet b = '{'; let c = r#\"}\"}\"#; /* x\n } */ f(b'\\'', '\\u{7f}', &'a x)";
        let source = Source::new(text, false);
        let code = source.code.join("\n");
        assert!(!code.contains(['{', '}']), "{code}");
        assert!(code.contains("&'a x)"));
        assert!(source.comments[0].contains("yes {"));
        assert!(source.comments[2].contains("} */"));
    }

    #[test]
    fn functions_have_their_whole_body() {
        let text = "trait T { fn no(&self) -> [u8; 4]; }\nfn yes<F: Fn(u8)>(f: F)\nwhere F: Send {\n if x { y }\n}\nfn one() {}";
        let source = Source::new(text, false);
        let found: Vec<_> = source
            .functions
            .iter()
            .map(|f| (f.name.as_str(), f.lines.clone()))
            .collect();
        assert_eq!(found, [("yes", 1..=4), ("one", 5..=5)]);
    }

    #[test]
    fn tests_are_marked() {
        let source = Source::new(
            "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() {}\n}\nfn c() {}",
            false,
        );
        assert_eq!(source.test, [false, true, true, true, true, false]);
    }
}
