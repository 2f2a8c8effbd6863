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

/// A function that a library registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionInfo {
    /// The name, not yet checked for its characters nor for being new.
    pub name: Vec<u8>,
    /// The description, when there is one.
    pub description: Option<Vec<u8>>,
    /// The flags.
    pub flags: Flags,
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

/// Where the first line ends, and its arguments: none when its quotes are unbalanced. `None`
/// without a line end in front of a NUL.
fn first_line(body: &[u8]) -> Option<(usize, Vec<Vec<u8>>)> {
    let end = memchr::memchr2(b'\n', 0, body).filter(|end| body[*end] == b'\n')?;
    let parts = resp::split_args(&body[..end]).unwrap_or_default();
    Some((end, parts.as_args().iter().map(<[u8]>::to_vec).collect()))
}

/// Reads the header of a script. The error is the text behind `ERR `.
pub fn script(body: &[u8]) -> Result<ScriptHeader, Vec<u8>> {
    if !body.starts_with(b"#!") {
        return Ok(ScriptHeader {
            engine: b"lua".to_vec(),
            flags: None,
            code_start: 0,
        });
    }
    let Some((code_start, parts)) = first_line(body) else {
        return Err(b"Invalid script shebang".to_vec());
    };
    let Some((engine, options)) = parts.split_first().filter(|(engine, _)| engine.len() >= 2)
    else {
        return Err(b"Invalid engine in script shebang".to_vec());
    };
    let mut flags = Flags::default();
    for option in options {
        let Some(names) = option.strip_prefix(b"flags=") else {
            return Err([b"Unknown lua shebang option: ", option.as_slice()].concat());
        };
        if names.is_empty() {
            continue;
        }
        for name in names.split(|byte| *byte == b',') {
            let known = Flags::NAMES
                .iter()
                .find(|(_, known)| known.as_bytes() == name);
            match known {
                Some((flag, _)) => flags = flags.union(*flag),
                None => return Err([b"Unexpected flag in script shebang: ", name].concat()),
            }
        }
    }
    Ok(ScriptHeader {
        engine: engine[2..].to_vec(),
        flags: Some(flags),
        code_start,
    })
}

/// Reads the header of a library. The error is the text behind `ERR `.
pub fn library(body: &[u8]) -> Result<LibraryHeader, Vec<u8>> {
    if !body.starts_with(b"#!") {
        return Err(b"Missing library metadata".to_vec());
    }
    let Some((code_start, parts)) = first_line(body) else {
        return Err(b"Invalid library metadata".to_vec());
    };
    let Some((engine, options)) = parts.split_first() else {
        return Err(b"Invalid library metadata".to_vec());
    };
    let mut name = None;
    for option in options {
        let is_name = option
            .get(..5)
            .is_some_and(|key| key.eq_ignore_ascii_case(b"name="));
        if !is_name {
            return Err([b"Invalid metadata value given: ", option.as_slice()].concat());
        }
        if name.is_some() {
            let message = b"Invalid metadata value, name argument was given multiple times";
            return Err(message.to_vec());
        }
        name = Some(option[5..].to_vec());
    }
    let Some(name) = name else {
        return Err(b"Library name was not given".to_vec());
    };
    Ok(LibraryHeader {
        engine: engine.get(2..).unwrap_or_default().to_vec(),
        name,
        code_start,
    })
}
