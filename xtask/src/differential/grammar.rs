//! Commands by chance, out of one line of grammar each.
//!
//! ```text
//!  WORD          itself
//!  $x            something of class x (see [`Generator::pick`])
//!  [a b|c]       nothing, or one of the alternatives
//!  <a|b c>       one of the alternatives
//!  {a b}         one to four times
//! ```
//! The first character of a line decides how replies are compared.

use anyhow::{Result, bail};

/// How the replies of two servers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    /// `=`: byte for byte.
    Exact,
    /// `~`: an array whose order is free.
    Unordered,
    /// `%`: an array of pairs whose order is free.
    Pairs,
    /// `?`: a random choice: only kind and number of elements.
    Shape,
    /// `#`: a cursor and an array whose order is free.
    Scan,
    /// `!`: members that were taken at random; the peer gets a command that takes the same.
    Popped,
    /// `*`: a payload of DUMP; each server restores that of the other, and must have the same value
    /// then.
    Exchanged,
}

/// A command that can be drawn.
pub(crate) struct Template {
    pub(crate) compare: Compare,
    items: Vec<Item>,
}

enum Item {
    Word(String),
    Class(char),
    Optional(Vec<Vec<Item>>),
    OneOf(Vec<Vec<Item>>),
    Repeat(Vec<Item>),
}

impl Template {
    /// Reads one line of grammar.
    pub(crate) fn parse(line: &str) -> Result<Template> {
        let (mark, rest) = line.split_at(1);
        let compare = match mark {
            "=" => Compare::Exact,
            "~" => Compare::Unordered,
            "%" => Compare::Pairs,
            "?" => Compare::Shape,
            "#" => Compare::Scan,
            "!" => Compare::Popped,
            "*" => Compare::Exchanged,
            _ => bail!("no way to compare: {line}"),
        };
        let mut tokens = tokens(rest).into_iter();
        let mut groups = sequence(&mut tokens, None)?;
        match groups.pop() {
            Some(items) if groups.is_empty() => Ok(Template { compare, items }),
            _ => bail!("an alternative outside of brackets: {line}"),
        }
    }
}

fn tokens(line: &str) -> Vec<String> {
    let mut spaced = String::new();
    for c in line.chars() {
        match c {
            '[' | ']' | '<' | '>' | '{' | '}' | '|' => {
                spaced.push(' ');
                spaced.push(c);
                spaced.push(' ');
            }
            _ => spaced.push(c),
        }
    }
    spaced.split_whitespace().map(str::to_owned).collect()
}

/// Alternatives up to the closing bracket.
fn sequence(
    tokens: &mut std::vec::IntoIter<String>,
    close: Option<&str>,
) -> Result<Vec<Vec<Item>>> {
    let mut groups = vec![Vec::new()];
    while let Some(token) = tokens.next() {
        let item = match token.as_str() {
            token if Some(token) == close => return Ok(groups),
            "|" => {
                groups.push(Vec::new());
                continue;
            }
            "[" => Item::Optional(sequence(tokens, Some("]"))?),
            "<" => Item::OneOf(sequence(tokens, Some(">"))?),
            "{" => Item::Repeat(sequence(tokens, Some("}"))?.pop().unwrap_or_default()),
            token => match token.strip_prefix('$').and_then(|rest| rest.chars().next()) {
                Some(class) => Item::Class(class),
                None => Item::Word(token.to_owned()),
            },
        };
        if let Some(group) = groups.last_mut() {
            group.push(item);
        }
    }
    match close {
        None => Ok(groups),
        Some(close) => bail!("{close} is missing"),
    }
}

/// A generator of commands with a seed (splitmix64).
pub(crate) struct Generator {
    state: u64,
}

/// Keys of each kind.
const KEYS: u64 = 3;

impl Generator {
    pub(crate) fn new(seed: u64) -> Generator {
        Generator { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let at = self.below(from.len() as u64) as usize;
        &from[at]
    }

    /// One command.
    pub(crate) fn command(&mut self, template: &Template) -> Vec<Vec<u8>> {
        let mut words = Vec::new();
        self.expand(&template.items, &mut words);
        // Something is left out or is too much now and then, for the errors.
        match self.below(200) {
            0 if words.len() > 1 && template.compare == Compare::Exact => {
                words.pop();
            }
            1 if template.compare == Compare::Exact => words.push(self.pick('e')),
            _ => {}
        }
        words
    }

    fn expand(&mut self, items: &[Item], words: &mut Vec<Vec<u8>>) {
        for item in items {
            match item {
                Item::Word(word) => words.push(word.clone().into_bytes()),
                Item::Class('K') => self.counted_keys(words),
                Item::Class(class) => {
                    let word = self.pick(*class);
                    words.push(word);
                }
                Item::Optional(groups) if self.below(2) == 0 => {
                    let group = self.choose(groups);
                    self.expand(group, words);
                }
                Item::Optional(_) => {}
                Item::OneOf(groups) => {
                    let group = self.choose(groups);
                    self.expand(group, words);
                }
                Item::Repeat(items) => {
                    for _ in 0..=self.below(4) {
                        self.expand(items, words);
                    }
                }
            }
        }
    }

    /// The number of keys and the keys: sorted sets mostly, for the commands that count them.
    fn counted_keys(&mut self, words: &mut Vec<Vec<u8>>) {
        let count = 1 + self.below(3);
        let said = if self.below(40) == 0 {
            self.below(5)
        } else {
            count
        };
        words.push(said.to_string().into_bytes());
        for _ in 0..count {
            let class = if self.below(4) == 0 { 's' } else { 'z' };
            let key = self.pick(class);
            words.push(key);
        }
    }

    /// A word of a class: `l s h z t` keys of a kind (now and then of another), `y` sorted sets of
    /// equal scores, `m`, `L` and `S` lists, lists and sets and nothing else, `G` a pattern into
    /// hashes, `k` any key, `e` an element, `n` a small number, `N` an extreme one, `c` a count of
    /// at least 0, `f` a score, `r` a score bound, `x` a lexical bound, `g` a pattern, `p` a
    /// deadline far in the future, `w` a weight, `o` the position of a bit, `i` the type of an
    /// integer in a string, `q` streams, `d` the id of an entry, `D` the bound of a range of ids,
    /// `j` sorted sets of places, `X` and `Y` coordinates, `v` HyperLogLogs.
    pub(crate) fn pick(&mut self, class: char) -> Vec<u8> {
        let kinds = ['l', 's', 'h', 'z', 't'];
        let text = match class {
            'l' | 's' | 'h' | 'z' | 't' => {
                let kind = match self.below(30) {
                    // Not strings, which have encodings of their own.
                    0 if class != 't' => *self.choose(&kinds[..4]),
                    _ => class,
                };
                format!("{kind}{}", self.below(KEYS))
            }
            // Never another kind: scores must stay equal.
            'y' => format!("y{}", self.below(KEYS)),
            'm' => format!("m{}", self.below(KEYS)),
            'L' => format!("l{}", self.below(KEYS)),
            'S' => format!("s{}", self.below(KEYS)),
            'q' if self.below(40) == 0 => return self.pick('l'),
            'q' => format!("q{}", self.below(KEYS)),
            'j' | 'v' if self.below(60) == 0 => return self.pick('l'),
            'j' | 'v' => format!("{class}{}", self.below(KEYS)),
            'X' => self.degrees(180),
            'Y' => self.degrees(85),
            // Groups, consumers, and what a consumer reads.
            'u' => (*self.choose(&["g0", "g1", "g1", "g1", "none"])).to_owned(),
            'b' => format!("c{}", self.below(KEYS)),
            'R' if self.below(4) > 0 => ">".to_owned(),
            'R' => return self.pick('d'),
            'd' => self.entry_id(),
            'D' => match self.below(10) {
                0..=1 => "-".to_owned(),
                2..=3 => "+".to_owned(),
                4 => {
                    let mut bound = b"(".to_vec();
                    bound.extend(self.pick('d'));
                    return bound;
                }
                _ => return self.pick('d'),
            },
            'G' => {
                let mut pattern = b"h*->".to_vec();
                pattern.extend(self.element());
                return pattern;
            }
            'k' => format!("{}{}", self.choose(&kinds), self.below(KEYS)),
            'e' => return self.element(),
            'n' => (self.below(24) as i64 - 12).to_string(),
            'N' => (*self.choose(&[i64::MAX, i64::MIN, 1 << 31, -(1 << 31), 1 << 62])).to_string(),
            'c' => self.below(12).to_string(),
            'f' => self.score(),
            'r' => match self.below(6) {
                0 => "-inf".to_owned(),
                1 => "+inf".to_owned(),
                2 => format!("({}", self.score()),
                _ => self.score(),
            },
            'x' => return self.lexical_bound(),
            'g' => (*self.choose(&["*", "a*", "?", "[a-m]*", "1*", "*o*", "nothing"])).to_owned(),
            'p' => (4_000_000_000_000 + self.below(1000)).to_string(),
            'w' => (*self.choose(&["1", "2", "-1", "0.5", "0", "inf", "x"])).to_owned(),
            'o' => self.bit_position(),
            'i' => self.integer_type(),
            other => other.to_string(),
        };
        text.into_bytes()
    }

    /// The id of an entry of a stream.
    fn entry_id(&mut self) -> String {
        match self.below(30) {
            0 => (*self.choose(&[
                "-", "+", "x", "", "1-", "-1", "1-1-1", "007-+2", "0-0", "$", "1-*",
            ]))
            .to_owned(),
            1..=9 => format!("{}-{}", self.below(100), self.below(3)),
            10..=19 => format!("{}-0", self.below(100)),
            _ => self.below(100).to_string(),
        }
    }

    /// The position of a bit.
    fn bit_position(&mut self) -> String {
        match self.below(40) {
            0 => (*self.choose(&["-1", "x", "", "#", "4294967296", "9223372036854775807"]))
                .to_owned(),
            1..=6 => format!("#{}", self.below(20)),
            // Beyond what lies inside of an entry.
            7 => (600_000 + self.below(9)).to_string(),
            _ => self.below(200).to_string(),
        }
    }

    /// The type of an integer in a string.
    fn integer_type(&mut self) -> String {
        match self.below(30) {
            0 => (*self.choose(&["u64", "i65", "u0", "I8", "u", "i-1"])).to_owned(),
            1 => "i64".to_owned(),
            2..=9 => format!("i{}", 1 + self.below(64)),
            10..=17 => format!("u{}", 1 + self.below(63)),
            _ => (*self.choose(&["u8", "i8", "i5", "u2", "i16"])).to_owned(),
        }
    }

    /// No NUL: Valkey's error texts end there.
    fn element(&mut self) -> Vec<u8> {
        match self.below(16) {
            0..=4 => self.below(30).to_string().into_bytes(),
            5..=9 => vec![b'a' + self.below(26) as u8],
            10 => format!("word{}", self.below(100)).into_bytes(),
            11 => self.pick('N'),
            12 => (*self.choose(&["", "-0", "007", "3.5", "inf", " 1", "1e3"])).into(),
            13 => vec![1, 0xff, b'\r', b'\n', 1 + self.below(4) as u8],
            14 => vec![b'x'; 60 + self.below(12) as usize],
            _ => format!("-{}", self.below(70_000)).into_bytes(),
        }
    }

    /// No -0: Valkey keeps its sign only in skiplists, and it makes those at other times than we
    /// do.
    fn score(&mut self) -> String {
        match self.below(12) {
            0..=5 => (self.below(20) as i64 - 8).to_string(),
            6 => format!("{}.5", self.below(10)),
            7 => (*self.choose(&["inf", "-inf", "+inf", "1e300", "-1e-7", "0.1"])).to_owned(),
            8 => (*self.choose(&["3.0000000000000004", "1234567890123", "9007199254740993"]))
                .to_owned(),
            9 if self.below(10) == 0 => (*self.choose(&["nan", "abc", "", "1,5"])).to_owned(),
            _ => (self.below(1000)).to_string(),
        }
    }

    /// A coordinate: around Sicily, or anywhere. Never the same twice, because the order of members
    /// at one distance is free.
    fn degrees(&mut self, limit: i64) -> String {
        let fraction = self.below(1_000_000);
        match self.below(30) {
            0 => (*self.choose(&["200", "-90.5", "nan", "x", "1e300", ""])).to_owned(),
            1..=12 => {
                let whole = self.below(2 * limit as u64) as i64 - limit;
                format!("{whole}.{fraction:06}")
            }
            13 => format!("{}.{fraction:06}", limit - 1),
            14 => format!("-{}.{fraction:06}", limit - 1),
            _ if limit == 180 => format!("1{}.{fraction:06}", 2 + self.below(6)),
            _ => format!("3{}.{fraction:06}", 6 + self.below(3)),
        }
    }

    fn lexical_bound(&mut self) -> Vec<u8> {
        match self.below(8) {
            0 => b"-".to_vec(),
            1 => b"+".to_vec(),
            2 if self.below(5) == 0 => b"bad".to_vec(),
            side => {
                let mut bound = vec![if side % 2 == 0 { b'[' } else { b'(' }];
                bound.extend(self.element());
                bound
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_expand() {
        let template = Template::parse("=ZADD $z [NX|XX] [CH] {$f $e}").unwrap();
        let mut generator = Generator::new(1);
        for _ in 0..100 {
            let words = generator.command(&template);
            assert_eq!(words[0], b"ZADD");
        }
        assert!(Template::parse("=A [B").is_err());
        assert!(Template::parse("A").is_err());
    }

    #[test]
    fn a_seed_gives_the_same_commands() {
        let template = Template::parse("=SADD $s {$e}").unwrap();
        let run = || {
            let mut generator = Generator::new(7);
            (0..50)
                .map(|_| generator.command(&template))
                .collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
    }
}
