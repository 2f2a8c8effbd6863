//! Which keys a script touches, as far as its source proves it.
//!
//! A script is proved when every call of `redis.call` and `redis.pcall` stands in its source with
//! the command's name as a literal, and has at each position of a key an element of `KEYS`. The
//! proof reads tokens, not a syntax tree: its rules are local, it takes linear time, and no nesting
//! of the source can exhaust a stack. What the rules do not cover is not proved:
//!
//! - `redis` and `server` stand only in front of a field, and `call` and `pcall` only in front of
//!   parentheses or as the value of a local that is declared once and only called;
//! - `KEYS` stands only as `KEYS[...]` that is read, `#KEYS`, `ipairs(KEYS)` and `unpack(KEYS)`;
//! - a key is `KEYS[...]`, a local that is declared once with that value and never assigned, or the
//!   second variable of `for ... in ipairs(KEYS)`;
//! - nothing compiles text at run time, and `_G` does not occur.
//!
//! A proof is about calls that the source makes. An element of `KEYS` that does not exist is nil,
//! which no command takes.

mod library;
mod scan;
mod tokens;

/// Where a command has its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPositions {
    /// The command works on these arguments as keys, counted from 1 (0 is the command's name).
    /// Empty for a command without keys.
    At(Vec<usize>),
    /// The command may touch any key: SCAN, FLUSHALL, RANDOMKEY.
    All,
    /// The keys cannot be told from the number of arguments, or the command is unknown.
    Unknown,
}

/// The command table as the proof needs it.
pub trait CommandKeys {
    /// Where the command `name` (in any case) has keys when it has `arguments` arguments besides
    /// its name; `literals[i]` is argument `i + 1` where the source has it as a literal.
    fn positions(
        &self,
        name: &[u8],
        arguments: usize,
        literals: &[Option<Vec<u8>>],
    ) -> KeyPositions;
}

/// What the source of a script proves about the keys that it touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Every key is one of `KEYS`.
    Proved,
    /// A command that may touch any key is called.
    All,
    /// Nothing is proved.
    Undeclared,
}

/// The profile of the script `code`, which has no header and compiles.
pub fn profile(code: &[u8], commands: &dyn CommandKeys) -> Profile {
    match read(code) {
        Some(tokens) => profile_of(&tokens, commands),
        None => Profile::Undeclared,
    }
}

/// The profile that all functions of the library `code` have, which has no header and compiles.
pub fn library_profile(code: &[u8], commands: &dyn CommandKeys) -> Profile {
    let tokens = read(code).and_then(|tokens| library::with_keys(&tokens));
    match tokens {
        Some(tokens) => profile_of(&tokens, commands),
        None => Profile::Undeclared,
    }
}

fn read(code: &[u8]) -> Option<Vec<tokens::Token<'_>>> {
    (code.len() <= SOURCE_BYTES_MAX).then(|| tokens::tokens(code))?
}

fn profile_of(tokens: &[tokens::Token<'_>], commands: &dyn CommandKeys) -> Profile {
    match scan::scan(tokens, commands) {
        Ok(false) => Profile::Proved,
        Ok(true) => Profile::All,
        Err(scan::Unproved) => Profile::Undeclared,
    }
}

/// Sources above this length are not looked at. The scripts of queue libraries, with all that they
/// include, have some 50 KB.
const SOURCE_BYTES_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests;
