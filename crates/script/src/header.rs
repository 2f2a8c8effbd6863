//! The first line of scripts and libraries: `#!lua flags=no-writes` and `#!lua name=lib`.

/// Flags of a script or of a function, as a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// `no-writes`: the script writes nothing.
    pub const NO_WRITES: Flags = Flags(1);
    /// `allow-oom`: runs when the memory limit is exceeded.
    pub const ALLOW_OOM: Flags = Flags(2);
    /// `allow-stale`: runs on a replica whose data is stale.
    pub const ALLOW_STALE: Flags = Flags(4);
    /// `no-cluster`: refused in cluster mode.
    pub const NO_CLUSTER: Flags = Flags(8);
    /// `allow-cross-slot-keys`: may access keys of several slots.
    pub const ALLOW_CROSS_SLOT_KEYS: Flags = Flags(16);

    /// Flags with their names, in the order of FUNCTION LIST.
    pub const NAMES: [(Flags, &'static str); 5] = [
        (Flags::NO_WRITES, "no-writes"),
        (Flags::ALLOW_OOM, "allow-oom"),
        (Flags::ALLOW_STALE, "allow-stale"),
        (Flags::NO_CLUSTER, "no-cluster"),
        (Flags::ALLOW_CROSS_SLOT_KEYS, "allow-cross-slot-keys"),
    ];

    /// Whether all flags of `other` are set.
    pub fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags of both.
    pub fn union(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// The names of the flags that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Flags::NAMES
            .into_iter()
            .filter(move |(flag, _)| self.contains(*flag))
            .map(|(_, name)| name)
    }
}

/// The first line of a script of EVAL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptHeader {
    /// The engine's name as written: `lua` when there is no header.
    pub engine: Vec<u8>,
    /// The flags, or `None` without a header: then the rules before flags apply, and a write is
    /// judged when it happens.
    pub flags: Option<Flags>,
    /// Where the code begins in the body: at the line end of the header, so that lines count on.
    pub code_start: usize,
}

/// The first line of a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryHeader {
    /// The engine's name as written.
    pub engine: Vec<u8>,
    /// The library's name, not yet checked for its characters.
    pub name: Vec<u8>,
    /// Where the code begins: at the line end of the header.
    pub code_start: usize,
}

/// Reads the header of a script. The error is the text behind `ERR `.
pub fn script(body: &[u8]) -> Result<ScriptHeader, Vec<u8>> {
    let _ = body;
    Err(Vec::new())
}

/// Reads the header of a library. The error is the text behind `ERR `.
pub fn library(body: &[u8]) -> Result<LibraryHeader, Vec<u8>> {
    let _ = body;
    Err(Vec::new())
}
