//! Which keys a script touches, as far as its source proves it.

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

/// The profile of the script `code`, which has no header.
pub fn profile(code: &[u8], commands: &dyn CommandKeys) -> Profile {
    let _ = (code, commands);
    Profile::Undeclared
}
