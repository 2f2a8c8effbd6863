//! The proof over the tokens of a script.

use std::collections::{HashMap, HashSet};

use super::tokens::Token;
use super::{CommandKeys, KeyPositions};

/// The script is not proved.
#[derive(Debug)]
pub(super) struct Unproved;

/// Names by which a script reaches what the proof does not see.
const REFUSED_NAMES: [&[u8]; 5] = [
    b"_G",
    b"load",
    b"loadstring",
    b"__redis__err__handler",
    b"__server__err__handler",
];

const KEYWORDS: [&[u8]; 21] = [
    b"and",
    b"break",
    b"do",
    b"else",
    b"elseif",
    b"end",
    b"false",
    b"for",
    b"function",
    b"if",
    b"in",
    b"local",
    b"nil",
    b"not",
    b"or",
    b"repeat",
    b"return",
    b"then",
    b"true",
    b"until",
    b"while",
];

/// Functions with exactly one result, so that a call of them as the last argument is one argument.
const ONE_RESULT: [&[&[u8]]; 11] = [
    &[b"tostring"],
    &[b"tonumber"],
    &[b"type"],
    &[b"cjson", b"encode"],
    &[b"cmsgpack", b"pack"],
    &[b"struct", b"pack"],
    &[b"string", b"format"],
    &[b"string", b"sub"],
    &[b"math", b"floor"],
    &[b"math", b"ceil"],
    &[b"table", b"concat"],
];

/// How many more arguments an argument list of unknown length is tried with.
const UNKNOWN_LENGTHS: usize = 4;

/// Proves that the calls of the script touch keys of `KEYS` only; true when a command among them
/// may touch any key.
pub(super) fn scan(tokens: &[Token<'_>], commands: &dyn CommandKeys) -> Result<bool, Unproved> {
    let tokens = Source::new(tokens)?;
    let scan = Scan {
        declared: declarations(&tokens)?,
        tokens,
        commands,
    };
    scan.run()
}

/// A half-open range of tokens.
type Span = (usize, usize);

/// What a name is declared as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Declared {
    /// A local with an element of `KEYS`, or a loop variable over them.
    Key,
    /// A local with `redis.call` or `redis.pcall`.
    Call,
    /// Anything else, or declared more than once.
    Other,
}

struct Scan<'a> {
    tokens: Source<'a>,
    commands: &'a dyn CommandKeys,
    declared: HashMap<&'a [u8], Declared>,
}

fn is_name(token: Option<&Token<'_>>, name: &[u8]) -> bool {
    matches!(token, Some(Token::Name(text)) if *text == name)
}

fn is_sign(token: Option<&Token<'_>>, sign: u8) -> bool {
    token == Some(&Token::Sign(sign))
}

fn is_keyword(name: &[u8]) -> bool {
    KEYWORDS.contains(&name)
}

/// Tokens with their brackets paired.
struct Source<'a> {
    tokens: &'a [Token<'a>],
    /// For an opening bracket the index behind the one that closes it, else 0.
    behind: Vec<usize>,
}

impl<'a> Source<'a> {
    fn new(tokens: &'a [Token<'a>]) -> Result<Source<'a>, Unproved> {
        let mut behind = vec![0; tokens.len()];
        let mut open = Vec::new();
        for (index, token) in tokens.iter().enumerate() {
            match token {
                Token::Sign(b'(' | b'[' | b'{') => open.push(index),
                Token::Sign(b')' | b']' | b'}') => {
                    behind[open.pop().ok_or(Unproved)?] = index + 1;
                }
                _ => {}
            }
        }
        match open.is_empty() {
            true => Ok(Source { tokens, behind }),
            false => Err(Unproved),
        }
    }
}

impl<'a> std::ops::Deref for Source<'a> {
    type Target = [Token<'a>];

    fn deref(&self) -> &[Token<'a>] {
        self.tokens
    }
}

/// The index behind the bracket that closes the one at `open`.
fn behind_bracket(tokens: &Source<'_>, open: usize) -> Result<usize, Unproved> {
    match tokens.behind.get(open) {
        Some(behind) if *behind > 0 => Ok(*behind),
        _ => Err(Unproved),
    }
}

/// Whether the tokens of `span` are `KEYS[...]` and nothing else.
fn is_key_element(tokens: &Source<'_>, span: Span) -> bool {
    let (start, end) = span;
    is_name(tokens.get(start), b"KEYS")
        && is_sign(tokens.get(start + 1), b'[')
        && behind_bracket(tokens, start + 1).is_ok_and(|behind| behind == end)
}

/// Whether the tokens of `span` are these names, joined by points.
fn is_path(tokens: &Source<'_>, span: Span, names: &[&[u8]]) -> bool {
    let (start, end) = span;
    end == start + names.len() * 2 - 1
        && names.iter().enumerate().all(|(index, name)| {
            let at = start + index * 2;
            is_name(tokens.get(at), name) && (index == 0 || is_sign(tokens.get(at - 1), b'.'))
        })
}

fn is_server_call(tokens: &Source<'_>, span: Span) -> bool {
    [b"redis".as_slice(), b"server"].iter().any(|table| {
        is_path(tokens, span, &[table, b"call"]) || is_path(tokens, span, &[table, b"pcall"])
    })
}

/// Splits `span` at the commas outside of brackets. A keyword or a semicolon outside of brackets
/// ends it, as does a name behind an operand: the next statement begins there.
fn expressions(tokens: &Source<'_>, span: Span) -> Result<Vec<Span>, Unproved> {
    let (start, end) = span;
    let mut parts = Vec::new();
    let mut part = start;
    let mut at = start;
    while at < end {
        match tokens[at] {
            Token::Sign(b',') => {
                parts.push((part, at));
                at += 1;
                part = at;
            }
            Token::Sign(b'(' | b'[' | b'{') => at = behind_bracket(tokens, at)?,
            _ => at += 1,
        }
    }
    parts.push((part, end));
    Ok(parts)
}

/// Where a list of expressions that begins at `start` ends, in a `local` statement: at the first
/// token that cannot go on. `None` for what the rules do not cover.
fn simple_list_end(tokens: &Source<'_>, start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        // One operand: a literal, or a name with fields, indices and calls.
        at = match tokens.get(at)? {
            Token::String(_) | Token::Number(_) => at + 1,
            Token::Name(b"nil" | b"true" | b"false") => at + 1,
            Token::Name(name) if !is_keyword(name) => suffix_end(tokens, at + 1)?,
            _ => return None,
        };
        match tokens.get(at) {
            Some(Token::Sign(b',')) => at += 1,
            Some(Token::Name(b"and" | b"or")) => return None,
            None | Some(Token::Name(_) | Token::Sign(b';')) => return Some(at),
            // An operator: the value is none of the forms that the rules know.
            _ => return None,
        }
    }
}

fn suffix_end(tokens: &Source<'_>, start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        at = match tokens.get(at) {
            Some(Token::Sign(b'.' | b':'))
                if matches!(tokens.get(at + 1), Some(Token::Name(_))) =>
            {
                at + 2
            }
            Some(Token::Sign(b'(' | b'[')) => behind_bracket(tokens, at).ok()?,
            _ => return Some(at),
        };
    }
}

/// All names that the script declares.
fn declarations<'a>(tokens: &Source<'a>) -> Result<HashMap<&'a [u8], Declared>, Unproved> {
    let mut declared = HashMap::new();
    let mut declare = |name: &'a [u8], kind: Declared| {
        declared
            .entry(name)
            .and_modify(|known| *known = Declared::Other)
            .or_insert(kind);
    };
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::Name(b"local") if is_name(tokens.get(index + 1), b"function") => {
                if let Some(Token::Name(name)) = tokens.get(index + 2) {
                    declare(name, Declared::Other);
                }
            }
            Token::Name(b"local") => {
                let (names, behind) = name_list(tokens, index + 1);
                let values = if is_sign(tokens.get(behind), b'=') {
                    match simple_list_end(tokens, behind + 1) {
                        Some(end) => expressions(tokens, (behind + 1, end))?,
                        None => Vec::new(),
                    }
                } else {
                    Vec::new()
                };
                for (position, name) in names.into_iter().enumerate() {
                    let kind = match values.get(position) {
                        Some(value) if is_key_element(tokens, *value) => Declared::Key,
                        Some(value) if is_server_call(tokens, *value) => Declared::Call,
                        _ => Declared::Other,
                    };
                    declare(name, kind);
                }
            }
            Token::Name(b"for") => {
                let (names, behind) = name_list(tokens, index + 1);
                let over_keys = is_name(tokens.get(behind), b"in")
                    && is_name(tokens.get(behind + 1), b"ipairs")
                    && is_sign(tokens.get(behind + 2), b'(')
                    && is_name(tokens.get(behind + 3), b"KEYS")
                    && is_sign(tokens.get(behind + 4), b')')
                    && is_name(tokens.get(behind + 5), b"do");
                for (position, name) in names.into_iter().enumerate() {
                    let is_key = over_keys && position == 1;
                    declare(
                        name,
                        if is_key {
                            Declared::Key
                        } else {
                            Declared::Other
                        },
                    );
                }
            }
            Token::Name(b"function") => {
                let open = (index + 1..tokens.len()).find(|at| is_sign(tokens.get(*at), b'('));
                if let Some(open) = open {
                    let (names, _) = name_list(tokens, open + 1);
                    names
                        .into_iter()
                        .for_each(|name| declare(name, Declared::Other));
                }
            }
            _ => {}
        }
    }
    Ok(declared)
}

/// Names from `start` on with commas between them, and the index behind them.
fn name_list<'a>(tokens: &Source<'a>, start: usize) -> (Vec<&'a [u8]>, usize) {
    let mut names = Vec::new();
    let mut at = start;
    while let Some(Token::Name(name)) = tokens.get(at) {
        names.push(*name);
        at += 1;
        if !is_sign(tokens.get(at), b',') {
            break;
        }
        at += 1;
    }
    (names, at)
}

impl<'a> Scan<'a> {
    fn run(&self) -> Result<bool, Unproved> {
        let reserved = [
            b"redis".as_slice(),
            b"server",
            b"KEYS",
            b"ipairs",
            b"unpack",
        ];
        if reserved.iter().any(|name| self.declared.contains_key(name)) {
            return Err(Unproved);
        }
        self.check_one_result()?;
        let mut all = false;
        for (index, token) in self.tokens.iter().enumerate() {
            let Token::Name(name) = token else {
                continue;
            };
            let before = index
                .checked_sub(1)
                .and_then(|before| self.tokens.get(before));
            let is_concatenated = index >= 2 && is_sign(self.tokens.get(index - 2), b'.');
            if matches!(before, Some(Token::Sign(b'.' | b':'))) && !is_concatenated {
                continue;
            }
            all |= self.name(index, name)?;
        }
        Ok(all)
    }

    /// Functions with one result keep it only while nothing redefines their names.
    fn check_one_result(&self) -> Result<(), Unproved> {
        let is_declared = |path: &&[&[u8]]| self.declared.contains_key(path[0]);
        match ONE_RESULT.iter().any(is_declared) {
            true => Err(Unproved),
            false => Ok(()),
        }
    }

    /// Checks one use of a name that is no field.
    fn name(&self, index: usize, name: &[u8]) -> Result<bool, Unproved> {
        if REFUSED_NAMES.contains(&name) {
            return Err(Unproved);
        }
        match name {
            b"redis" | b"server" => return self.server(index),
            b"KEYS" => self.keys(index)?,
            _ => {}
        }
        match self.declared.get(name) {
            Some(Declared::Key) if self.is_assigned(index) => Err(Unproved),
            Some(Declared::Call) => self.alias(index),
            _ => Ok(false),
        }
    }

    /// `redis.x`: fields other than calls do nothing with keys.
    fn server(&self, index: usize) -> Result<bool, Unproved> {
        let Some(Token::Name(field)) = self.tokens.get(index + 2) else {
            return Err(Unproved);
        };
        if !is_sign(self.tokens.get(index + 1), b'.') {
            return Err(Unproved);
        }
        if *field != b"call" && *field != b"pcall" {
            return Ok(false);
        }
        if is_sign(self.tokens.get(index + 3), b'(') {
            return self.call(index + 3);
        }
        // The value of a local that is only called, or nothing that the rules know.
        match self.alias_of(index) {
            true => Ok(false),
            false => Err(Unproved),
        }
    }

    /// Whether `redis.call` at `index` is the value of a local that [`Declared::Call`] covers.
    fn alias_of(&self, index: usize) -> bool {
        let Some(local) = (0..index)
            .rev()
            .find(|at| is_name(self.tokens.get(*at), b"local"))
        else {
            return false;
        };
        let (names, behind) = name_list(&self.tokens, local + 1);
        let Some(end) = simple_list_end(&self.tokens, behind + 1) else {
            return false;
        };
        let Ok(values) = expressions(&self.tokens, (behind + 1, end)) else {
            return false;
        };
        let position = values.iter().position(|(start, _)| *start == index);
        position
            .and_then(|position| names.get(position))
            .is_some_and(|name| self.declared.get(name) == Some(&Declared::Call))
    }

    /// A use of a local with `redis.call`: its declaration, or a call.
    fn alias(&self, index: usize) -> Result<bool, Unproved> {
        if is_sign(self.tokens.get(index + 1), b'(') {
            return self.call(index + 1);
        }
        match self.is_declaration(index) {
            true => Ok(false),
            false => Err(Unproved),
        }
    }

    /// Whether the name at `index` stands between `local` and the end of its names.
    fn is_declaration(&self, index: usize) -> bool {
        let mut at = index;
        while at >= 2
            && is_sign(self.tokens.get(at - 1), b',')
            && matches!(self.tokens.get(at - 2), Some(Token::Name(_)))
        {
            at -= 2;
        }
        at >= 1 && is_name(self.tokens.get(at - 1), b"local")
    }

    /// Whether the name at `index` is assigned, other than where it is declared.
    fn is_assigned(&self, index: usize) -> bool {
        if self.is_declaration(index) {
            return false;
        }
        let mut at = index + 1;
        loop {
            match self.tokens.get(at) {
                Some(Token::Sign(b'=')) => return true,
                Some(Token::Sign(b',')) => {
                    let Some(Token::Name(_)) = self.tokens.get(at + 1) else {
                        return false;
                    };
                    match suffix_end(&self.tokens, at + 2) {
                        Some(end) => at = end,
                        None => return false,
                    }
                }
                _ => return false,
            }
        }
    }

    /// A use of `KEYS` that changes nothing and gives it to nothing that could.
    fn keys(&self, index: usize) -> Result<(), Unproved> {
        let before = |offset: usize| index.checked_sub(offset).and_then(|at| self.tokens.get(at));
        if is_sign(before(1), b'#') && !is_sign(self.tokens.get(index + 1), b'[') {
            return Ok(());
        }
        if is_sign(self.tokens.get(index + 1), b'[') {
            let behind = behind_bracket(&self.tokens, index + 1)?;
            let is_read = !matches!(
                self.tokens.get(behind),
                Some(Token::Sign(b'=' | b'.' | b'[' | b'(' | b'{') | Token::String(_))
            );
            // Of several targets of an assignment the last one is followed by its sign.
            let is_target = self.is_assigned_from(behind);
            return if is_read && !is_target {
                Ok(())
            } else {
                Err(Unproved)
            };
        }
        let is_only_argument =
            is_sign(before(1), b'(') && is_sign(self.tokens.get(index + 1), b')');
        let reader = before(2);
        let is_field = matches!(before(3), Some(Token::Sign(b'.' | b':')));
        let is_reader = is_name(reader, b"ipairs") || is_name(reader, b"unpack");
        if is_only_argument && is_reader && !is_field {
            return Ok(());
        }
        Err(Unproved)
    }

    fn is_assigned_from(&self, behind: usize) -> bool {
        let mut at = behind;
        while is_sign(self.tokens.get(at), b',') {
            let Some(Token::Name(_)) = self.tokens.get(at + 1) else {
                return false;
            };
            match suffix_end(&self.tokens, at + 2) {
                Some(end) => at = end,
                None => return false,
            }
        }
        is_sign(self.tokens.get(at), b'=')
    }

    /// A call whose arguments are in the parentheses at `open`.
    fn call(&self, open: usize) -> Result<bool, Unproved> {
        let end = behind_bracket(&self.tokens, open)? - 1;
        let arguments = expressions(&self.tokens, (open + 1, end))?;
        let (name, arguments) = arguments.split_first().ok_or(Unproved)?;
        let name = self.literal(*name).ok_or(Unproved)?;
        let (fixed, lengths) = match arguments.last() {
            Some(last) if is_path_call(&self.tokens, *last, b"unpack") => {
                let fixed = arguments.len() - 1;
                (fixed, fixed..fixed + UNKNOWN_LENGTHS)
            }
            Some(last) if !self.is_one_value(*last) => return Err(Unproved),
            _ => (arguments.len(), arguments.len()..arguments.len() + 1),
        };
        let literals: Vec<Option<Vec<u8>>> = arguments[..fixed]
            .iter()
            .map(|argument| self.literal(*argument))
            .collect();
        for length in lengths {
            match self.commands.positions(&name, length, &literals) {
                KeyPositions::All => return Ok(true),
                KeyPositions::Unknown => return Err(Unproved),
                KeyPositions::At(positions) => {
                    let keys: HashSet<usize> = positions.into_iter().collect();
                    // Behind the fixed arguments stand elements of KEYS only.
                    let proved = keys.iter().all(|position| {
                        *position > fixed
                            || position
                                .checked_sub(1)
                                .is_some_and(|at| self.is_key(arguments[at]))
                    });
                    if !proved {
                        return Err(Unproved);
                    }
                }
            }
        }
        Ok(false)
    }

    /// The bytes of an argument that is one literal.
    fn literal(&self, span: Span) -> Option<Vec<u8>> {
        match (span.1 - span.0, self.tokens.get(span.0)?) {
            (1, Token::String(text)) => text.map(<[u8]>::to_vec),
            (1, Token::Number(text)) => Some(text.to_vec()),
            _ => None,
        }
    }

    fn is_key(&self, span: Span) -> bool {
        if is_key_element(&self.tokens, span) {
            return true;
        }
        let is_name = span.1 - span.0 == 1;
        match self.tokens.get(span.0) {
            Some(Token::Name(name)) if is_name => self.declared.get(name) == Some(&Declared::Key),
            _ => false,
        }
    }

    /// Whether the last argument is one value, not the several of a call or of `...`.
    fn is_one_value(&self, span: Span) -> bool {
        match self.tokens.get(span.1 - 1) {
            Some(Token::Sign(b')')) => ONE_RESULT.iter().any(|path| {
                let open = span.0 + path.len() * 2 - 1;
                is_path(&self.tokens, (span.0, open), path)
                    && is_sign(self.tokens.get(open), b'(')
                    && behind_bracket(&self.tokens, open).is_ok_and(|behind| behind == span.1)
            }),
            // `...`, and calls with a string or a table.
            Some(Token::Sign(b'.' | b'}')) => false,
            Some(Token::String(_)) => span.1 - span.0 == 1,
            _ => true,
        }
    }
}

/// Whether `span` is `name(KEYS)`.
fn is_path_call(tokens: &Source<'_>, span: Span, name: &[u8]) -> bool {
    span.1 - span.0 == 4
        && is_name(tokens.get(span.0), name)
        && is_sign(tokens.get(span.0 + 1), b'(')
        && is_name(tokens.get(span.0 + 2), b"KEYS")
        && is_sign(tokens.get(span.0 + 3), b')')
}
