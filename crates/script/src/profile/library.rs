//! The code of a library as the proof reads it: with `KEYS` for what its functions call their keys.
//!
//! A function that is registered, and used for nothing else, gets the declared keys as its first
//! parameter. Inside of it that parameter stands for `KEYS` of a script, under the same rules.
//! A library has a state that outlives a call, so such a function has no function inside of it: one
//! that was kept in a variable of the library could use the keys of an earlier call. Any other
//! function has parameters that nothing is known about.

use super::tokens::Token;

/// What stands for the name of the parameter.
const PARAMETER: Token<'static> = Token::Name(b"__keys");

/// The tokens with the keys of all functions that are registered called `KEYS`. `None` for what the
/// rules do not cover.
pub(super) fn with_keys<'a>(tokens: &[Token<'a>]) -> Option<Vec<Token<'a>>> {
    let enclosing = enclosing_brackets(tokens)?;
    let mut renamed = tokens.to_vec();
    for at in 0..tokens.len() {
        if !is_name(tokens.get(at), b"function") {
            continue;
        }
        let function = Function::read(tokens, at)?;
        let Some(Token::Name(keys)) = tokens.get(function.parameters + 1) else {
            continue;
        };
        if !function.is_registered(tokens, &enclosing) {
            continue;
        }
        let body = function.body..function.end;
        if body.clone().any(|at| is_name(tokens.get(at), b"function")) {
            return None;
        }
        renamed[function.parameters + 1] = PARAMETER;
        for at in body {
            if is_name(tokens.get(at), keys) && !is_field(tokens, at) {
                renamed[at] = Token::Name(b"KEYS");
            }
        }
    }
    Some(renamed)
}

/// A function in the source.
struct Function<'a> {
    /// Where `function` stands.
    at: usize,
    /// Its name, when it is a `local function`.
    local: Option<&'a [u8]>,
    /// Where its parameters open.
    parameters: usize,
    /// Its body: from here to the `end`.
    body: usize,
    end: usize,
}

impl<'a> Function<'a> {
    fn read(tokens: &[Token<'a>], at: usize) -> Option<Function<'a>> {
        let parameters = (at + 1..tokens.len()).find(|at| is_sign(tokens.get(*at), b'('))?;
        let closes = (parameters..tokens.len()).find(|at| is_sign(tokens.get(*at), b')'))?;
        let is_local = at > 0 && is_name(tokens.get(at - 1), b"local");
        let local = match tokens.get(at + 1) {
            Some(Token::Name(name)) if is_local && parameters == at + 2 => Some(*name),
            _ => None,
        };
        let mut depth = 1_usize;
        for (index, token) in tokens.iter().enumerate().skip(closes + 1) {
            match token {
                Token::Name(b"function" | b"if" | b"do" | b"repeat") => depth += 1,
                Token::Name(b"end" | b"until") => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Some(Function {
                    at,
                    local,
                    parameters,
                    body: closes + 1,
                    end: index,
                });
            }
        }
        None
    }

    /// Whether the function is registered, and nothing else is done with it.
    fn is_registered(&self, tokens: &[Token<'_>], enclosing: &[Option<usize>]) -> bool {
        if let Some(name) = self.local {
            let is_use = |at: &usize| {
                *at != self.at + 1 && is_name(tokens.get(*at), name) && !is_field(tokens, *at)
            };
            let mut uses = (0..tokens.len()).filter(is_use).peekable();
            return uses.peek().is_some()
                && uses.all(|at| is_passed(tokens, enclosing, at, at + 1));
        }
        let is_anonymous = self.parameters == self.at + 1;
        is_anonymous && is_passed(tokens, enclosing, self.at, self.end + 1)
    }
}

/// Whether the tokens from `start` to `end` are the callback of `redis.register_function`.
fn is_passed(tokens: &[Token<'_>], enclosing: &[Option<usize>], start: usize, end: usize) -> bool {
    let Some(open) = enclosing.get(start).copied().flatten() else {
        return false;
    };
    let before = |offset: usize| start.checked_sub(offset).and_then(|at| tokens.get(at));
    if is_sign(tokens.get(open), b'(') {
        // register_function('name', callback)
        return is_register(tokens, open)
            && start == open + 3
            && matches!(before(2), Some(Token::String(_)))
            && is_sign(before(1), b',')
            && is_sign(tokens.get(end), b')');
    }
    // register_function{..., callback = callback, ...}, with parentheses or without
    let is_table = is_sign(tokens.get(open), b'{');
    let outer = match open.checked_sub(1) {
        Some(outer) if is_sign(tokens.get(outer), b'(') => outer,
        _ => open,
    };
    is_table
        && is_register(tokens, outer)
        && is_name(before(2), b"callback")
        && is_sign(before(1), b'=')
        && (is_sign(tokens.get(end), b',') || is_sign(tokens.get(end), b'}'))
}

/// Whether the bracket at `open` follows `redis.register_function`.
fn is_register(tokens: &[Token<'_>], open: usize) -> bool {
    let before = |offset: usize| open.checked_sub(offset).and_then(|at| tokens.get(at));
    let is_table = is_name(before(3), b"redis") || is_name(before(3), b"server");
    is_name(before(1), b"register_function") && is_sign(before(2), b'.') && is_table
}

/// For each token the bracket that it stands in. `None` when they do not match.
fn enclosing_brackets(tokens: &[Token<'_>]) -> Option<Vec<Option<usize>>> {
    let mut open = Vec::new();
    let mut enclosing = Vec::with_capacity(tokens.len());
    for (index, token) in tokens.iter().enumerate() {
        if let Token::Sign(b')' | b']' | b'}') = token {
            open.pop()?;
        }
        enclosing.push(open.last().copied());
        if let Token::Sign(b'(' | b'[' | b'{') = token {
            open.push(index);
        }
    }
    Some(enclosing)
}

/// Whether the name at `at` is a field or a method.
fn is_field(tokens: &[Token<'_>], at: usize) -> bool {
    let before = |offset: usize| at.checked_sub(offset).and_then(|at| tokens.get(at));
    let is_concatenated = is_sign(before(2), b'.');
    matches!(before(1), Some(Token::Sign(b'.' | b':'))) && !is_concatenated
}

fn is_name(token: Option<&Token<'_>>, name: &[u8]) -> bool {
    matches!(token, Some(Token::Name(text)) if *text == name)
}

fn is_sign(token: Option<&Token<'_>>, sign: u8) -> bool {
    token == Some(&Token::Sign(sign))
}
