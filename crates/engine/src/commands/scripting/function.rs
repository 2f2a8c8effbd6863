//! FUNCTION.

use std::sync::Arc;

use resp::{Args, Reply};
use values::glob::matches;

use super::{Arg, CommandSpec, FLUSH_TYPE, Flags, check_flush_mode, payload};
use crate::command::{Group, Locks};
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{
    Call, CommandResult, Execution, Outcome, drop_interpreter, read_library, run_library,
};
use crate::scripts::{Kind, Libraries, Library};
use crate::session::Origin;
use crate::shard_tables::Locked;

pub(super) const FUNCTION: CommandSpec = CommandSpec::container("function", -2)
    .group(Group::Scripting)
    .since("7.0.0")
    .summary("A container for commands about functions.")
    .complexity("Depends on the subcommand")
    .subcommands(&[
        &DELETE, &DUMP, &FLUSH, &HELP, &KILL, &LIST, &LOAD, &RESTORE, &STATS,
    ]);

const BASE: CommandSpec = CommandSpec::BASE
    .group(Group::Scripting)
    .flags(Flags::NOSCRIPT)
    .since("7.0.0");

/// Libraries change under the locks of all shards, so that snapshots and the log agree about them.
const CHANGES: CommandSpec = BASE
    .flags(Flags::WRITE)
    .locks(Locks::All)
    .hints(&["request_policy:all_shards", "response_policy:all_succeeded"]);

fn refused(text: Vec<u8>) -> CommandError {
    CommandError::Bytes([b"ERR ", &*text].concat())
}

const LOAD: CommandSpec = CommandSpec::nested("load", -3, load)
    .group(Group::Scripting)
    .since("7.0.0")
    .flags(Flags::NOSCRIPT.or(Flags::WRITE).or(Flags::DENYOOM))
    .locks(Locks::All)
    .hints(&["request_policy:all_shards", "response_policy:all_succeeded"])
    .summary("Adds a library of functions.")
    .complexity("O(1), beside compiling and running the code")
    .args(&[
        Arg::flag("replace", "REPLACE"),
        Arg::string("function-code"),
    ]);
fn load(execution: &mut Execution<'_, '_>, call: &Call<'_>, _: &mut Locked<'_>) -> CommandResult {
    let args = call.args;
    let options = args.take(args.len() - 1).skip(2);
    let is_replace = |word: &[u8]| word.eq_ignore_ascii_case(b"replace");
    if let Some(unknown) = options.iter().find(|word| !is_replace(word)) {
        return Err(refused([b"Unknown option given: ", unknown].concat()));
    }
    let is_client = execution.session.is_client();
    // A replica keeps a library of its own, as those of other products do, and says so in its log.
    let replaces = !options.is_empty() || execution.session.origin == Origin::Replay;
    let code = args.arg(args.len() - 1);
    let engine = execution.engine;
    let mut library = read_library(code).map_err(refused)?;
    let is_there = |name: &str| {
        engine
            .scripts
            .libraries()
            .library(name.as_bytes())
            .is_some()
    };
    if !replaces && is_there(&library.name) {
        let text = format!("Library '{}' already exists", library.name);
        return Err(refused(text.into_bytes()));
    }
    let heap_bytes = run_library(engine, &mut library, is_client).map_err(refused)?;
    let run = engine.runs.of(execution.exec.worker);
    run.set_memory(Kind::Function, heap_bytes);
    let name = library.name.clone();
    let replace = |all: &mut Libraries| all.replace(Arc::new(library));
    engine.scripts.change_libraries(replace).map_err(refused)?;
    execution.exec.effects.add_dirty(1);
    Reply::new(execution.out, execution.session.protocol).bulk(name.as_bytes());
    Ok(Outcome::Done)
}

const DELETE: CommandSpec = CHANGES
    .named("delete", 3, delete)
    .summary("Removes a library and its functions.")
    .complexity("O(1)")
    .args(&[Arg::string("library-name")]);
fn delete(ctx: &mut Context<'_, '_>) -> CommandResult {
    let name = ctx.arg(2);
    if !ctx.engine.scripts.change_libraries(|all| all.remove(name)) {
        return Err(CommandError::line("ERR Library not found"));
    }
    ctx.data.effects.add_dirty(1);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

const FLUSH: CommandSpec = CHANGES
    .named("flush", -2, flush)
    .summary("Removes all libraries.")
    .complexity("O(N) in the number of functions")
    .args(&[FLUSH_TYPE]);
fn flush(ctx: &mut Context<'_, '_>) -> CommandResult {
    if ctx.args.len() > 3 {
        return Err(ctx.subcommand_arity_error());
    }
    check_flush_mode(ctx, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option")?;
    ctx.engine.scripts.flush_libraries();
    drop_interpreter(ctx.engine, ctx.worker, Kind::Function);
    ctx.data.effects.add_dirty(1);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

const DUMP: CommandSpec = BASE
    .named("dump", 2, dump)
    .summary("Returns all libraries as one payload.")
    .complexity("O(N) in the number of functions");
fn dump(ctx: &mut Context<'_, '_>) -> CommandResult {
    let libraries = ctx.engine.scripts.libraries();
    ctx.reply
        .bulk(&payload::dump(&ctx.engine.config, &libraries));
    Ok(Outcome::Done)
}

const RESTORE: CommandSpec = CommandSpec::nested("restore", -3, restore)
    .group(Group::Scripting)
    .since("7.0.0")
    .flags(Flags::NOSCRIPT.or(Flags::WRITE).or(Flags::DENYOOM))
    .locks(Locks::All)
    .hints(&["request_policy:all_shards", "response_policy:all_succeeded"])
    .summary("Adds the libraries of a payload of FUNCTION DUMP.")
    .complexity("O(N) in the number of functions in the payload")
    .args(&[
        Arg::string("serialized-value"),
        Arg::one_of("policy").optional().args(&[
            Arg::word("flush", "FLUSH"),
            Arg::word("append", "APPEND"),
            Arg::word("replace", "REPLACE"),
        ]),
    ]);

/// The treatment of the libraries that are there when others are restored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    Flush,
    Append,
    Replace,
}

impl Policy {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        match args.get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
            None | Some(b"append") => Ok(Self::Append),
            Some(b"replace") => Ok(Self::Replace),
            Some(b"flush") => Ok(Self::Flush),
            Some(_) => Err(CommandError::line(
                "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
            )),
        }
    }
}

fn restore(
    execution: &mut Execution<'_, '_>,
    call: &Call<'_>,
    _: &mut Locked<'_>,
) -> CommandResult {
    let args = call.args;
    if args.len() > 4 {
        return Err(CommandError::line(
            "ERR unknown subcommand or wrong number of arguments for 'restore'. Try FUNCTION HELP.",
        ));
    }
    let policy = Policy::parse(args)?;
    let engine = execution.engine;
    let is_client = execution.session.is_client();
    let texts = payload::restore(engine, args.arg(2), !is_client).map_err(refused)?;
    let mut restored: Vec<Library> = Vec::new();
    for text in texts {
        let mut library = read_library(&text).map_err(refused)?;
        if restored.iter().any(|other| other.name == library.name) {
            let text = format!("Library '{}' already exists", library.name);
            return Err(refused(text.into_bytes()));
        }
        let heap_bytes = run_library(engine, &mut library, false).map_err(refused)?;
        let run = engine.runs.of(execution.exec.worker);
        run.set_memory(Kind::Function, heap_bytes);
        restored.push(library);
    }
    let mut libraries = match policy {
        Policy::Flush => Libraries::default(),
        _ => Libraries::clone(&engine.scripts.libraries()),
    };
    for library in &restored {
        let removed = libraries.remove(library.name.as_bytes());
        if removed && policy == Policy::Append && is_client {
            let text = format!("Library {} already exists", library.name);
            return Err(refused(text.into_bytes()));
        }
    }
    for library in restored {
        libraries.add(Arc::new(library)).map_err(refused)?;
    }
    engine.scripts.set_libraries(libraries);
    execution.exec.effects.add_dirty(1);
    Reply::new(execution.out, execution.session.protocol).ok();
    Ok(Outcome::Done)
}

const LIST: CommandSpec = BASE
    .named("list", -2, list)
    .summary("Lists the libraries of functions.")
    .complexity("O(N) in the number of functions")
    .hints(&["nondeterministic_output_order"])
    .args(&[
        Arg::string("library-name-pattern").option("LIBRARYNAME"),
        Arg::flag("withcode", "WITHCODE"),
    ]);
fn list(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (mut with_code, mut pattern) = (false, None);
    let mut at = 2;
    while at < ctx.args.len() {
        if !with_code && ctx.is_word(at, "WITHCODE") {
            with_code = true;
        } else if pattern.is_none() && ctx.is_word(at, "LIBRARYNAME") {
            at += 1;
            let name = ctx.args.get(at).ok_or(CommandError::line(
                "ERR library name argument was not given",
            ))?;
            pattern = Some(name);
        } else {
            return Err(refused([b"Unknown argument ", ctx.arg(at)].concat()));
        }
        at += 1;
    }
    let libraries = ctx.engine.scripts.libraries();
    let is_asked = |library: &&Arc<Library>| {
        let fits = |pattern| matches(pattern, library.name.as_bytes(), true);
        pattern.is_none_or(fits)
    };
    let asked: Vec<&Arc<Library>> = libraries.iter().filter(is_asked).collect();
    ctx.reply.array(asked.len());
    for library in asked {
        describe(&mut ctx.reply, library, with_code);
    }
    Ok(Outcome::Done)
}

fn describe(reply: &mut Reply<'_>, library: &Library, with_code: bool) {
    reply.map(if with_code { 4 } else { 3 });
    reply.bulk(b"library_name");
    reply.bulk(library.name.as_bytes());
    reply.bulk(b"engine");
    reply.bulk(b"LUA");
    reply.bulk(b"functions");
    reply.array(library.functions.len());
    for function in &library.functions {
        reply.map(3);
        reply.bulk(b"name");
        reply.bulk(&function.name);
        reply.bulk(b"description");
        match &function.description {
            Some(text) => reply.bulk(text),
            None => reply.null(),
        }
        reply.bulk(b"flags");
        reply.set(function.flags.names().count());
        function.flags.names().for_each(|name| reply.simple(name));
    }
    if with_code {
        reply.bulk(b"library_code");
        reply.bulk(&library.code);
    }
}

const STATS: CommandSpec = BASE
    .named("stats", 2, stats)
    .flags(Flags::ALLOW_BUSY)
    .summary("Returns information about the running function and the engines.")
    .complexity("O(1)")
    .hints(&[
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ]);
fn stats(ctx: &mut Context<'_, '_>) -> CommandResult {
    let running = ctx.engine.runs.slow_function()?;
    let now_ns = ctx.engine.clock.monotonic_ns();
    let reply = &mut ctx.reply;
    reply.map(2);
    reply.bulk(b"running_script");
    match running {
        None => reply.null(),
        Some((running, began_ns)) => {
            reply.map(3);
            reply.bulk(b"name");
            reply.bulk(&running.name);
            reply.bulk(b"command");
            reply.array(running.args.len());
            running.args.iter().for_each(|arg| reply.bulk(arg));
            reply.bulk(b"duration_ms");
            let nanos = now_ns.saturating_sub(began_ns);
            reply.integer((nanos / 1_000_000).cast_signed());
        }
    }
    let libraries = ctx.engine.scripts.libraries();
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(b"LUA");
    reply.map(2);
    reply.bulk(b"libraries_count");
    reply.integer(libraries.iter().len() as i64);
    reply.bulk(b"functions_count");
    reply.integer(libraries.function_count() as i64);
    Ok(Outcome::Done)
}

const KILL: CommandSpec = BASE
    .named("kill", 2, kill)
    .flags(Flags::ALLOW_BUSY)
    .summary("Ends the running function.")
    .complexity("O(1)")
    .hints(&["request_policy:all_shards", "response_policy:one_succeeded"]);
fn kill(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.engine.runs.kill(Kind::Function)?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

const HELP: CommandSpec = CommandSpec::new("help", 2, help)
    .group(Group::Scripting)
    .since("7.0.0")
    .flags(Flags::ANY_TIME)
    .summary("Lists the subcommands of FUNCTION.")
    .complexity("O(1)");
fn help(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.help(&[
        "DELETE <library name>",
        "    Removes a library.",
        "DUMP",
        "    All libraries as one payload.",
        "FLUSH [ASYNC|SYNC]",
        "    Removes all libraries.",
        "KILL",
        "    Ends the functions that run for longer than busy-reply-threshold.",
        "LIST [LIBRARYNAME <pattern>] [WITHCODE]",
        "    The libraries and their functions.",
        "LOAD [REPLACE] <code>",
        "    Adds a library.",
        "RESTORE <payload> [FLUSH|APPEND|REPLACE]",
        "    Adds the libraries of a payload: in place of all, beside them (the default), or in place of those with",
        "    the same names.",
        "STATS",
        "    The running function and the engines.",
    ]);
    Ok(Outcome::Done)
}
