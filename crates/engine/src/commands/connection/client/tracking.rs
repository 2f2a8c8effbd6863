//! CLIENT TRACKING and the commands around it. What they do stands in [`crate::tracking`].

use super::settings::on_or_off;
use crate::command::{Arg, Flags, Group};
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::tracking::{Collision, Mode, Options, Tracking, check_prefixes};

pub(crate) const CLIENT_TRACKING: CommandSpec = CommandSpec::new("tracking", -3, client_tracking)
    .group(Group::Connection)
    .since("6.0.0")
    .flags(Flags::NOSCRIPT.or(Flags::ANY_TIME))
    .summary("Enables or disables client-side caching support for the connection.")
    .complexity("O(1)")
    .args(&[
        Arg::one_of("status").args(&[Arg::word("on", "ON"), Arg::word("off", "OFF")]),
        Arg::integer("client-id").option("REDIRECT"),
        Arg::string("prefix").option("PREFIX").multiple_token(),
        Arg::flag("bcast", "BCAST"),
        Arg::flag("optin", "OPTIN"),
        Arg::flag("optout", "OPTOUT"),
        Arg::flag("noloop", "NOLOOP"),
    ]);
fn client_tracking(ctx: &mut Context<'_, '_>) -> CommandResult {
    let words = Words::parse(ctx)?;
    if on_or_off(ctx)? {
        let options = words.check(ctx.session.tracking.as_deref())?;
        if ctx.session.denies_blocking && options.redirect.is_none() {
            return Err(CommandError::line(
                "ERR CLIENT TRACKING without REDIRECT isn't allowed for a DENY BLOCKING client",
            ));
        }
        ctx.engine.start_tracking(ctx.session, options);
    } else if ctx.engine.stop_tracking(ctx.session) {
        ctx.drain_outbox();
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// The options as they were given.
#[derive(Default)]
struct Words {
    options: Options,
    bcast: bool,
    optin: bool,
    optout: bool,
}

impl Words {
    fn parse(ctx: &Context<'_, '_>) -> Result<Self, CommandError> {
        let mut words = Self::default();
        let mut at = 3;
        while at < ctx.args.len() {
            let more = at + 1 < ctx.args.len();
            match ctx.arg(at).to_ascii_lowercase().as_slice() {
                b"bcast" => words.bcast = true,
                b"optin" => words.optin = true,
                b"optout" => words.optout = true,
                b"noloop" => words.options.noloop = true,
                b"prefix" if more => {
                    at += 1;
                    words.options.prefixes.push(ctx.arg(at).to_vec());
                }
                b"redirect" if more => {
                    at += 1;
                    words.parse_redirect(ctx, at)?;
                }
                _ => return Err(CommandError::Syntax),
            }
            at += 1;
        }
        Ok(words)
    }

    fn parse_redirect(&mut self, ctx: &Context<'_, '_>, at: usize) -> Result<(), CommandError> {
        if self.options.redirect.is_some() {
            return Err(CommandError::line(
                "ERR A client can only redirect to a single other client",
            ));
        }
        let id = u64::try_from(ctx.integer(at)?).unwrap_or(0);
        let client = ctx.engine.clients.get(id);
        self.options.redirect = Some(client.ok_or(CommandError::line(
            "ERR The client ID you want redirect to does not exist",
        ))?);
        Ok(())
    }

    /// Checks the options against each other and against those that hold.
    fn check(mut self, present: Option<&Tracking>) -> Result<Options, CommandError> {
        let fail = |text: &'static str| Err(CommandError::line(text));
        if !self.bcast && !self.options.prefixes.is_empty() {
            return fail("ERR PREFIX option requires BCAST mode to be enabled");
        }
        let mode = present.map(Tracking::mode);
        if mode.is_some_and(|mode| (mode == Mode::Broadcast) != self.bcast) {
            return fail(
                "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling \
                 it with a different mode.",
            );
        }
        if self.bcast && (self.optin || self.optout) {
            return fail("ERR OPTIN and OPTOUT are not compatible with BCAST");
        }
        if self.optin && self.optout {
            return fail("ERR You can't specify both OPTIN mode and OPTOUT mode");
        }
        let switches = self.optin && mode == Some(Mode::OptOut);
        if switches || self.optout && mode == Some(Mode::OptIn) {
            return fail(
                "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling \
                 it with a different mode.",
            );
        }
        if self.bcast {
            let prefixes = present.map(|tracking| &tracking.prefixes);
            let checked = check_prefixes(&self.options.prefixes, prefixes);
            checked.map_err(|collision| collision_error(&collision))?;
        }
        self.options.mode = match () {
            () if self.bcast => Mode::Broadcast,
            () if self.optin => Mode::OptIn,
            () if self.optout => Mode::OptOut,
            () => Mode::Default,
        };
        Ok(self.options)
    }
}

fn collision_error(collision: &Collision) -> CommandError {
    let (new, what, other): (_, &[u8], _) = match collision {
        Collision::Existing(new, other) => (new, b"an existing prefix", other),
        Collision::Provided(new, other) => (new, b"another provided prefix", other),
    };
    let line = [
        b"ERR Prefix '".as_slice(),
        new,
        b"' overlaps with ",
        what,
        b" '",
        other,
        b"'. Prefixes for a single client must not overlap.",
    ];
    CommandError::Bytes(line.concat())
}

pub(crate) const CLIENT_TRACKINGINFO: CommandSpec =
    CommandSpec::new("trackinginfo", 2, client_trackinginfo)
        .group(Group::Connection)
        .since("6.2.0")
        .flags(Flags::NOSCRIPT.or(Flags::ANY_TIME))
        .summary("Returns the tracking state of the connection.")
        .complexity("O(1)");
fn client_trackinginfo(ctx: &mut Context<'_, '_>) -> CommandResult {
    let tracking = ctx.session.tracking.as_deref();
    let flags = tracking.map_or_else(|| vec!["off"], flags);
    let reply = &mut ctx.reply;
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"redirect");
    reply.integer(redirect(tracking));
    reply.bulk(b"prefixes");
    match tracking {
        None => reply.empty_array(),
        Some(tracking) => {
            reply.array(tracking.prefixes.len());
            tracking
                .prefixes
                .iter()
                .for_each(|prefix| reply.bulk(prefix));
        }
    }
    Ok(Outcome::Done)
}

fn flags(tracking: &Tracking) -> Vec<&'static str> {
    let mut flags = vec!["on"];
    let (mode, caching) = match tracking.mode() {
        Mode::Default => ("", ""),
        Mode::Broadcast => ("bcast", ""),
        Mode::OptIn => ("optin", "caching-yes"),
        Mode::OptOut => ("optout", "caching-no"),
    };
    flags.extend(Some(mode).filter(|word| !word.is_empty()));
    flags.extend(Some(caching).filter(|_| tracking.caching));
    flags.extend(Some("noloop").filter(|_| tracking.noloop()));
    flags.extend(Some("broken_redirect").filter(|_| tracking.tracker.is_broken()));
    flags
}

/// -1: tracking is off; 0: no client gets the messages instead.
fn redirect(tracking: Option<&Tracking>) -> i64 {
    tracking.map_or(-1, |tracking| tracking.redirect() as i64)
}

pub(crate) const CLIENT_GETREDIR: CommandSpec = CommandSpec::new("getredir", 2, client_getredir)
    .group(Group::Connection)
    .since("6.0.0")
    .flags(Flags::ALLOW_BUSY.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .summary(
        "Returns the id of the client that receives the tracking notifications of the connection.",
    )
    .complexity("O(1)");
fn client_getredir(ctx: &mut Context<'_, '_>) -> CommandResult {
    let id = redirect(ctx.session.tracking.as_deref());
    ctx.reply.integer(id);
    Ok(Outcome::Done)
}

pub(crate) const CLIENT_CACHING: CommandSpec = CommandSpec::new("caching", 3, client_caching)
    .group(Group::Connection)
    .since("6.0.0")
    .flags(Flags::ALLOW_BUSY.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .summary("Decides whether the keys of the next command are tracked.")
    .complexity("O(1)")
    .args(&[Arg::one_of("mode").args(&[Arg::word("yes", "YES"), Arg::word("no", "NO")])]);
fn client_caching(ctx: &mut Context<'_, '_>) -> CommandResult {
    let says_yes = match () {
        () if ctx.is_word(2, "YES") => Some(true),
        () if ctx.is_word(2, "NO") => Some(false),
        () => None,
    };
    let Some(tracking) = ctx.session.tracking.as_deref_mut() else {
        return Err(CommandError::line(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        ));
    };
    match says_yes.ok_or(CommandError::Syntax)? {
        true if tracking.mode() != Mode::OptIn => {
            return Err(CommandError::line(
                "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
            ));
        }
        false if tracking.mode() != Mode::OptOut => {
            return Err(CommandError::line(
                "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
            ));
        }
        _ => tracking.caching = true,
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}
