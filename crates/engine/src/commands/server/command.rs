//! COMMAND: the command table, as clients and proxies read it.

use values::glob;

use crate::command::{
    Arg, ArgKind, BeginSearch, Categories, FindKeys, Flags, Group, KeyFlags, KeyPosition, KeySpec,
    Metadata,
};
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::table::{Command, Resolved, counts_fit, flag_names, key_positions};
use resp::{Args, Reply};

pub(crate) const COMMAND: CommandSpec = CommandSpec::new("command", -1, command)
    .group(Group::Server)
    .since("2.8.13")
    .flags(Flags::ANY_TIME)
    .categories(Categories::CONNECTION)
    .summary("Describes all commands.")
    .complexity("O(N) in the number of commands")
    .hints(&["nondeterministic_output_order"])
    .subcommands(&[
        &COMMAND_COUNT,
        &COMMAND_DOCS,
        &COMMAND_GETKEYS,
        &COMMAND_GETKEYSANDFLAGS,
        &COMMAND_HELP,
        &COMMAND_INFO,
        &COMMAND_LIST,
    ]);
fn command(ctx: &mut Context<'_, '_>) -> CommandResult {
    reply_all(ctx);
    Ok(Outcome::Done)
}

/// All commands in the order of their names.
fn sorted(ctx: &Context<'_, '_>) -> Vec<&'static Command> {
    let mut entries: Vec<&'static Command> = ctx.engine.commands.commands().collect();
    entries.sort_unstable_by_key(|entry| entry.full_name);
    entries
}

fn reply_all(ctx: &mut Context<'_, '_>) {
    let entries = sorted(ctx);
    ctx.reply.array(entries.len());
    for entry in entries {
        reply_info(&mut ctx.reply, entry);
    }
}

pub(crate) const COMMAND_COUNT: CommandSpec = CommandSpec::new("count", 2, command_count)
    .group(Group::Server)
    .since("2.8.13")
    .flags(Flags::ANY_TIME)
    .categories(Categories::CONNECTION)
    .summary("Counts the commands.")
    .complexity("O(1)");
fn command_count(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.reply.integer(ctx.engine.commands.len() as i64);
    Ok(Outcome::Done)
}

pub(crate) const COMMAND_INFO: CommandSpec = CommandSpec::new("info", -2, command_info)
    .group(Group::Server)
    .since("2.8.13")
    .flags(Flags::ANY_TIME)
    .categories(Categories::CONNECTION)
    .summary("Describes the named commands, or all.")
    .complexity("O(N) in the number of commands")
    .hints(&["nondeterministic_output_order"])
    .args(&[Arg::string("command-name").optional().multiple()]);
fn command_info(ctx: &mut Context<'_, '_>) -> CommandResult {
    if ctx.args.len() == 2 {
        reply_all(ctx);
        return Ok(Outcome::Done);
    }
    ctx.reply.array(ctx.args.len() - 2);
    for name in ctx.args.skip(2).iter() {
        match ctx.engine.commands.lookup_full(name) {
            Some(entry) => reply_info(&mut ctx.reply, entry),
            None => ctx.reply.null(),
        }
    }
    Ok(Outcome::Done)
}

fn reply_info(reply: &mut Reply<'_>, entry: &Command) {
    let command = entry.spec;
    let (first, last, step) = entry.legacy_range();
    reply.array(10);
    reply.bulk(entry.full_name.as_bytes());
    reply.integer(i64::from(command.arity));
    reply_words(reply, &flag_names(entry));
    reply.integer(first);
    reply.integer(last);
    reply.integer(step);
    let categories: Vec<String> = category_names(command)
        .map(|name| format!("@{name}"))
        .collect();
    reply_words(reply, &categories);
    reply.set(command.hints.len());
    command
        .hints
        .iter()
        .for_each(|hint| reply.bulk(hint.as_bytes()));
    reply.set(command.keys.len());
    command
        .keys
        .iter()
        .for_each(|spec| reply_key_spec(reply, spec));
    reply.array(entry.subcommands.len());
    entry
        .subcommands
        .iter()
        .for_each(|sub| reply_info(reply, sub));
}

fn category_names(command: &Metadata) -> impl Iterator<Item = &'static str> {
    command.all_categories().names()
}

fn reply_words(reply: &mut Reply<'_>, words: &[impl AsRef<str>]) {
    reply.set(words.len());
    words.iter().for_each(|word| reply.simple(word.as_ref()));
}

fn reply_key_flags(reply: &mut Reply<'_>, flags: KeyFlags) {
    reply_words(reply, &flags.names().collect::<Vec<_>>());
}

fn reply_key_spec(reply: &mut Reply<'_>, spec: &KeySpec) {
    reply.map(3);
    reply.bulk(b"flags");
    reply_key_flags(reply, spec.flags);
    reply.bulk(b"begin_search");
    match spec.begin {
        BeginSearch::Index(index) => reply_part(reply, "index", &[("index", index)]),
        BeginSearch::Keyword { keyword, start } => {
            reply_part_head(reply, "keyword", 2);
            reply.bulk(b"keyword");
            reply.bulk(keyword.as_bytes());
            reply.bulk(b"startfrom");
            reply.integer(i64::from(start));
        }
        BeginSearch::Unknown => reply_part(reply, "unknown", &[]),
    }
    reply.bulk(b"find_keys");
    match spec.find {
        FindKeys::Range { last, step, limit } => reply_part(
            reply,
            "range",
            &[("lastkey", last), ("keystep", step), ("limit", limit)],
        ),
        FindKeys::KeyNum { count, first, step } => reply_part(
            reply,
            "keynum",
            &[("keynumidx", count), ("firstkey", first), ("keystep", step)],
        ),
        FindKeys::Unknown => reply_part(reply, "unknown", &[]),
    }
}

fn reply_part_head(reply: &mut Reply<'_>, kind: &str, fields: usize) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(fields);
}

fn reply_part(reply: &mut Reply<'_>, kind: &str, fields: &[(&str, i32)]) {
    reply_part_head(reply, kind, fields.len());
    for (name, value) in fields {
        reply.bulk(name.as_bytes());
        reply.integer(i64::from(*value));
    }
}

pub(crate) const COMMAND_DOCS: CommandSpec = CommandSpec::new("docs", -2, command_docs)
    .group(Group::Server)
    .since("7.0.0")
    .flags(Flags::ANY_TIME)
    .categories(Categories::CONNECTION)
    .summary("Documents the named commands, or all.")
    .complexity("O(N) in the number of commands")
    .hints(&["nondeterministic_output_order"])
    .args(&[Arg::string("command-name").optional().multiple()]);
fn command_docs(ctx: &mut Context<'_, '_>) -> CommandResult {
    let entries: Vec<&'static Command> = if ctx.args.len() == 2 {
        sorted(ctx)
    } else {
        let names = ctx.args.skip(2);
        names
            .iter()
            .filter_map(|name| ctx.engine.commands.lookup_full(name))
            .collect()
    };
    ctx.reply.map(entries.len());
    for entry in entries {
        ctx.reply.bulk(entry.full_name.as_bytes());
        reply_docs(&mut ctx.reply, entry);
    }
    Ok(Outcome::Done)
}

fn reply_docs(reply: &mut Reply<'_>, entry: &Command) {
    let command = entry.spec;
    let deferred = reply.defer();
    let mut fields = 0;
    let texts = [
        ("summary", Some(command.summary)),
        ("since", Some(command.since)),
        ("group", Some(command.group.name())),
        ("complexity", Some(command.complexity)),
    ];
    for (name, text) in texts {
        fields += reply_text(reply, name, text);
    }
    if command.deprecated_since.is_some() {
        reply.bulk(b"doc_flags");
        reply_words(reply, &["deprecated"]);
        fields += 1;
    }
    fields += reply_text(reply, "deprecated_since", command.deprecated_since);
    fields += reply_text(reply, "replaced_by", command.replaced_by);
    if !command.args.is_empty() {
        reply.bulk(b"arguments");
        reply_args(reply, command.args);
        fields += 1;
    }
    if !entry.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(entry.subcommands.len());
        for sub in &entry.subcommands {
            reply.bulk(sub.full_name.as_bytes());
            reply_docs(reply, sub);
        }
        fields += 1;
    }
    reply.finish_map(deferred, fields);
}

/// Writes a field unless it has no text; returns how many fields that are.
fn reply_text(reply: &mut Reply<'_>, name: &str, text: Option<&str>) -> usize {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return 0;
    };
    reply.bulk(name.as_bytes());
    reply.bulk(text.as_bytes());
    1
}

// The depth is that of the constants in the table.
fn reply_args(reply: &mut Reply<'_>, args: &[Arg]) {
    reply.array(args.len());
    args.iter().for_each(|arg| reply_arg(reply, arg));
}

fn reply_arg(reply: &mut Reply<'_>, arg: &Arg) {
    let has_members = matches!(arg.kind, ArgKind::OneOf | ArgKind::Block);
    let deferred = reply.defer();
    let mut fields = reply_text(reply, "name", Some(arg.name));
    fields += reply_text(reply, "type", Some(arg.kind.name()));
    if !has_members {
        fields += reply_text(reply, "display_text", Some(arg.display.unwrap_or(arg.name)));
    }
    if let Some(index) = arg.key_spec {
        reply.bulk(b"key_spec_index");
        reply.integer(i64::from(index));
        fields += 1;
    }
    // An empty token is a token: the place of a literal empty string.
    if let Some(token) = arg.token {
        reply.bulk(b"token");
        reply.bulk(token.as_bytes());
        fields += 1;
    }
    fields += reply_text(reply, "since", arg.since);
    fields += reply_text(reply, "deprecated_since", arg.deprecated_since);
    let flags = [
        (arg.optional, "optional"),
        (arg.multiple, "multiple"),
        (arg.multiple_token, "multiple_token"),
    ];
    let flags: Vec<&str> = flags
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, name)| *name)
        .collect();
    if !flags.is_empty() {
        reply.bulk(b"flags");
        reply_words(reply, &flags);
        fields += 1;
    }
    if has_members {
        reply.bulk(b"arguments");
        reply_args(reply, arg.args);
        fields += 1;
    }
    reply.finish_map(deferred, fields);
}

/// The filter of COMMAND LIST.
enum Only<'a> {
    Everything,
    Category(&'a [u8]),
    Pattern(&'a [u8]),
    /// Commands of a module: there are none.
    Module,
}

impl Only<'_> {
    fn includes(&self, entry: &Command) -> bool {
        match self {
            Self::Everything => true,
            Self::Module => false,
            Self::Pattern(pattern) => glob::matches(pattern, entry.full_name.as_bytes(), true),
            Self::Category(name) => {
                category_names(entry.spec).any(|own| own.as_bytes().eq_ignore_ascii_case(name))
            }
        }
    }
}

pub(crate) const COMMAND_LIST: CommandSpec = CommandSpec::new("list", -2, command_list)
    .group(Group::Server)
    .since("7.0.0")
    .flags(Flags::ANY_TIME)
    .categories(Categories::CONNECTION)
    .summary("Returns the names of the commands.")
    .complexity("O(N) in the number of commands")
    .hints(&["nondeterministic_output_order"])
    .args(&[Arg::one_of("filterby").option("FILTERBY").args(&[
        Arg::string("module-name").token("MODULE"),
        Arg::string("category").token("ACLCAT"),
        Arg::pattern("pattern").token("PATTERN"),
    ])]);
fn command_list(ctx: &mut Context<'_, '_>) -> CommandResult {
    let only = match ctx.args.len() {
        2 => Only::Everything,
        5 if ctx.is_word(2, "FILTERBY") && ctx.is_word(3, "MODULE") => Only::Module,
        5 if ctx.is_word(2, "FILTERBY") && ctx.is_word(3, "ACLCAT") => Only::Category(ctx.arg(4)),
        5 if ctx.is_word(2, "FILTERBY") && ctx.is_word(3, "PATTERN") => Only::Pattern(ctx.arg(4)),
        _ => return Err(CommandError::Syntax),
    };
    let names: Vec<&str> = sorted(ctx)
        .into_iter()
        .flat_map(|entry| std::iter::once(entry).chain(entry.subcommands.iter().copied()))
        .filter(|entry| only.includes(entry))
        .map(|entry| entry.full_name)
        .collect();
    ctx.reply.array(names.len());
    names
        .iter()
        .for_each(|name| ctx.reply.bulk(name.as_bytes()));
    Ok(Outcome::Done)
}

pub(crate) const COMMAND_GETKEYS: CommandSpec = CommandSpec::new("getkeys", -3, command_getkeys)
    .group(Group::Server)
    .since("2.8.13")
    .flags(Flags::ANY_TIME)
    .categories(Categories::CONNECTION)
    .summary("Returns the keys among the arguments of a command.")
    .complexity("O(N) in the number of arguments")
    .args(&[
        Arg::string("command"),
        Arg::string("arg").optional().multiple(),
    ]);
fn command_getkeys(ctx: &mut Context<'_, '_>) -> CommandResult {
    let request = ctx.args.skip(2);
    let keys = find_keys(ctx, request)?;
    ctx.reply.array(keys.len());
    for key in keys {
        ctx.reply.bulk(request.arg(key.index));
    }
    Ok(Outcome::Done)
}

pub(crate) const COMMAND_GETKEYSANDFLAGS: CommandSpec =
    CommandSpec::new("getkeysandflags", -3, command_getkeysandflags)
        .group(Group::Server)
        .since("7.0.0")
        .flags(Flags::ANY_TIME)
        .categories(Categories::CONNECTION)
        .summary("Returns the keys among the arguments of a command, and what happens to them.")
        .complexity("O(N) in the number of arguments")
        .args(&[
            Arg::string("command"),
            Arg::string("arg").optional().multiple(),
        ]);
fn command_getkeysandflags(ctx: &mut Context<'_, '_>) -> CommandResult {
    let request = ctx.args.skip(2);
    let keys = find_keys(ctx, request)?;
    ctx.reply.array(keys.len());
    for key in keys {
        ctx.reply.array(2);
        ctx.reply.bulk(request.arg(key.index));
        reply_key_flags(&mut ctx.reply, KeyFlags(key.flags));
    }
    Ok(Outcome::Done)
}

fn find_keys(ctx: &Context<'_, '_>, request: Args<'_>) -> Result<Vec<KeyPosition>, CommandError> {
    let Resolved::Command(entry) = ctx.engine.commands.resolve(request) else {
        return Err(CommandError::line("ERR Invalid command specified"));
    };
    let mut specs = entry.spec.keys.iter();
    if specs.all(|spec| spec.flags.has(KeyFlags::NOT_KEY)) {
        return Err(CommandError::line("ERR The command has no key arguments"));
    }
    if !entry.spec.arity_fits(request.len()) {
        return Err(CommandError::line(
            "ERR Invalid number of arguments specified for command",
        ));
    }
    let mut keys = match counts_fit(entry.spec, request) {
        true => key_positions(entry.spec, request).to_vec(),
        false => Vec::new(),
    };
    if keys.is_empty() && !entry.spec.flags.has(Flags::NO_MANDATORY_KEYS) {
        return Err(CommandError::line(
            "ERR Invalid arguments specified for command",
        ));
    }
    if let Some(flags_of) = entry.spec.variable_flags {
        let flags = flags_of(request).0;
        keys.iter_mut().for_each(|key| key.flags = flags);
    }
    Ok(keys)
}

pub(crate) const COMMAND_HELP: CommandSpec = CommandSpec::new("help", 2, command_help)
    .group(Group::Server)
    .since("5.0.0")
    .flags(Flags::ANY_TIME)
    .categories(Categories::CONNECTION)
    .summary("Lists the subcommands of COMMAND.")
    .complexity("O(1)");
fn command_help(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.help(&[
        "(no subcommand)",
        "    Describes all commands.",
        "COUNT",
        "    Number of commands.",
        "DOCS [<command> ...]",
        "    Documentation of these commands, or of all.",
        "GETKEYS <command> [<arg> ...]",
        "    The keys among the arguments of a command.",
        "GETKEYSANDFLAGS <command> [<arg> ...]",
        "    The keys, and what happens to them.",
        "INFO [<command> ...]",
        "    Describes these commands, or all.",
        "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
        "    Names of the commands.",
    ]);
    Ok(Outcome::Done)
}
