//! The documented arguments of a command, as COMMAND DOCS shows them.
//!
//! An argument is built from its type and name, and from what differs from a plain, required one:
//! `Arg::integer("seconds").token("EX").since("2.6.12")`.

/// Type of one documented argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are those of COMMAND DOCS")]
pub enum ArgKind {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    PureToken,
    OneOf,
    Block,
}

impl ArgKind {
    /// The name in COMMAND DOCS.
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Key => "key",
            Self::Pattern => "pattern",
            Self::UnixTime => "unix-time",
            Self::PureToken => "pure-token",
            Self::OneOf => "oneof",
            Self::Block => "block",
        }
    }
}

/// One node of a command's argument tree, as COMMAND DOCS shows it.
#[derive(Clone, Copy)]
pub struct Arg {
    /// Name of the argument.
    pub name: &'static str,
    /// Its type.
    pub kind: ArgKind,
    /// Literal word before it, or the word itself for a pure token.
    pub token: Option<&'static str>,
    /// Index of the key specification it belongs to.
    pub key_spec: Option<u8>,
    /// Name shown to people when it differs.
    pub display: Option<&'static str>,
    /// May be left out.
    pub optional: bool,
    /// May be repeated.
    pub multiple: bool,
    /// The token is repeated with each value.
    pub multiple_token: bool,
    /// Version of Redis that introduced it, when later than the command.
    pub since: Option<&'static str>,
    /// Version of Redis that deprecated it.
    pub deprecated_since: Option<&'static str>,
    /// Members of a `oneof` or `block`.
    pub args: &'static [Arg],
}

impl Arg {
    const fn new(name: &'static str, kind: ArgKind) -> Self {
        Self {
            name,
            kind,
            token: None,
            key_spec: None,
            display: None,
            optional: false,
            multiple: false,
            multiple_token: false,
            since: None,
            deprecated_since: None,
            args: &[],
        }
    }

    /// A string.
    pub const fn string(name: &'static str) -> Self {
        Self::new(name, ArgKind::String)
    }

    /// An integer.
    pub const fn integer(name: &'static str) -> Self {
        Self::new(name, ArgKind::Integer)
    }

    /// A floating-point number.
    pub const fn double(name: &'static str) -> Self {
        Self::new(name, ArgKind::Double)
    }

    /// A glob pattern.
    pub const fn pattern(name: &'static str) -> Self {
        Self::new(name, ArgKind::Pattern)
    }

    /// A Unix time.
    pub const fn unix_time(name: &'static str) -> Self {
        Self::new(name, ArgKind::UnixTime)
    }

    /// A key of the first key specification.
    pub const fn key(name: &'static str) -> Self {
        Self::new(name, ArgKind::Key).key_spec(0)
    }

    /// The literal word `token`.
    pub const fn word(name: &'static str, token: &'static str) -> Self {
        Self::new(name, ArgKind::PureToken).token(token)
    }

    /// The literal word `token`, which may be left out.
    pub const fn flag(name: &'static str, token: &'static str) -> Self {
        Self::word(name, token).optional()
    }

    /// One of the arguments that [`Arg::args`] names.
    pub const fn one_of(name: &'static str) -> Self {
        Self::new(name, ArgKind::OneOf)
    }

    /// All arguments that [`Arg::args`] names, in that order.
    pub const fn block(name: &'static str) -> Self {
        Self::new(name, ArgKind::Block)
    }

    /// Sets the members of a `oneof` or `block`.
    pub const fn args(mut self, args: &'static [Arg]) -> Self {
        assert!(matches!(self.kind, ArgKind::OneOf | ArgKind::Block));
        self.args = args;
        self
    }

    /// Sets the name.
    pub const fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Puts a literal word before the argument.
    pub const fn token(mut self, token: &'static str) -> Self {
        self.token = Some(token);
        self
    }

    /// An option: may be left out, and has a literal word before it.
    pub const fn option(self, token: &'static str) -> Self {
        self.token(token).optional()
    }

    /// Sets the index of the key specification.
    pub const fn key_spec(mut self, index: u8) -> Self {
        self.key_spec = Some(index);
        self
    }

    /// Sets the name shown to people.
    pub const fn display(mut self, name: &'static str) -> Self {
        self.display = Some(name);
        self
    }

    /// Sets the version of Redis that introduced the argument, when later than the command.
    pub const fn since(mut self, version: &'static str) -> Self {
        self.since = Some(version);
        self
    }

    /// Sets the version of Redis that deprecated the argument.
    pub const fn deprecated_since(mut self, version: &'static str) -> Self {
        self.deprecated_since = Some(version);
        self
    }

    /// May be left out.
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// May be repeated.
    pub const fn multiple(mut self) -> Self {
        self.multiple = true;
        self
    }

    /// May be repeated, each time with the token.
    pub const fn multiple_token(mut self) -> Self {
        assert!(self.token.is_some());
        self.multiple = true;
        self.multiple_token = true;
        self
    }
}

/// Arguments that commands of several groups share.
impl Arg {
    /// The key.
    pub const KEY: Self = Self::key("key");
    /// One key or more.
    pub const KEYS: Self = Self::KEY.multiple();
    /// One key or more that are read, after the key of a destination.
    pub const SOURCE_KEYS: Self = Self::KEYS.key_spec(1);
    /// The key of a result.
    pub const DESTINATION: Self = Self::key("destination");
    /// The number of keys that follow.
    pub const NUMKEYS: Self = Self::integer("numkeys");
    /// A value.
    pub const VALUE: Self = Self::string("value");
    /// A field of a hash.
    pub const FIELD: Self = Self::string("field");
    /// A member of a set or a sorted set.
    pub const MEMBER: Self = Self::string("member");
    /// One member or more.
    pub const MEMBERS: Self = Self::MEMBER.multiple();
    /// `COUNT count`
    pub const COUNT: Self = Self::integer("count").option("COUNT");
    /// `LIMIT offset count`
    pub const LIMIT: Self = Self::block("limit")
        .option("LIMIT")
        .args(&[Self::integer("offset"), Self::integer("count")]);
    /// `MATCH pattern`
    pub const MATCH: Self = Self::pattern("pattern").option("MATCH");
    /// `NX` or `XX`
    pub const NX_OR_XX: Self = Self::one_of("condition")
        .optional()
        .args(&[Self::NX, Self::XX]);
    /// `NX`, `XX`, `GT` or `LT`
    pub const NX_XX_GT_OR_LT: Self =
        Self::one_of("condition")
            .optional()
            .args(&[Self::NX, Self::XX, Self::GT, Self::LT]);
    /// `NX`
    pub const NX: Self = Self::word("nx", "NX");
    /// `XX`
    pub const XX: Self = Self::word("xx", "XX");
    /// `GT`
    pub const GT: Self = Self::word("gt", "GT");
    /// `LT`
    pub const LT: Self = Self::word("lt", "LT");
    /// `ASC` or `DESC`
    pub const ORDER: Self = Self::one_of("order")
        .optional()
        .args(&[Self::word("asc", "ASC"), Self::word("desc", "DESC")]);
    /// `EX seconds`
    pub const EX: Self = Self::integer("seconds").token("EX");
    /// `PX milliseconds`
    pub const PX: Self = Self::integer("milliseconds").token("PX");
    /// `EXAT unix-time-seconds`
    pub const EXAT: Self = Self::unix_time("unix-time-seconds").token("EXAT");
    /// `PXAT unix-time-milliseconds`
    pub const PXAT: Self = Self::unix_time("unix-time-milliseconds").token("PXAT");
    /// `EX seconds`, `PX milliseconds`, `EXAT ...`, `PXAT ...` or `PERSIST`
    pub const EXPIRATION_OR_PERSIST: Self = Self::one_of("expiration").optional().args(&[
        Self::EX,
        Self::PX,
        Self::EXAT,
        Self::PXAT,
        Self::word("persist", "PERSIST"),
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_optional_and_has_a_token() {
        let count = Arg::integer("count").option("COUNT").multiple();
        assert_eq!(count.kind, ArgKind::Integer);
        assert_eq!(count.token, Some("COUNT"));
        assert!(count.optional && count.multiple && !count.multiple_token);
    }

    #[test]
    fn a_repeated_token_repeats_the_argument() {
        let get = Arg::pattern("pattern").option("GET").multiple_token();
        assert!(get.optional && get.multiple && get.multiple_token);
    }

    #[test]
    fn a_key_has_the_first_specification_by_default() {
        assert_eq!(Arg::KEY.key_spec, Some(0));
        let sources = Arg::SOURCE_KEYS;
        assert_eq!(sources.key_spec, Some(1));
        assert_eq!((sources.multiple, sources.optional), (true, false));
        assert_eq!(Arg::string("value").key_spec, None);
    }

    #[test]
    fn a_shared_argument_keeps_what_is_not_changed() {
        let newer = Arg::NX_XX_GT_OR_LT.since("7.0.0");
        assert_eq!(newer.since, Some("7.0.0"));
        assert_eq!(newer.name, "condition");
        assert!(newer.optional);
        assert_eq!(newer.args.len(), 4);
    }
}
