//! BACKUP: a copy of the append-only file, made and checked while the server goes on.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use crate::command::{Arg, Categories, Command, CommandResult, Flags, Group, Outcome};
use crate::config::P;
use crate::context::Context;
use crate::error::CommandError;
use crate::process::os_text;
use crate::server::Server;

/// Longest name of a backup, in bytes: what file systems take, less `.partial`.
const NAME_MAX: usize = 240;

/// What a server knows of its backups.
#[derive(Debug)]
pub struct Backups {
    running: AtomicBool,
    failed: AtomicBool,
    /// Unix seconds of the end of the last good one, 0 without one.
    last_s: AtomicI64,
    /// Seconds the last one took, -1 without one.
    last_seconds: AtomicI64,
}

impl Default for Backups {
    fn default() -> Self {
        Self {
            running: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            last_s: AtomicI64::new(0),
            last_seconds: AtomicI64::new(-1),
        }
    }
}

impl Backups {
    /// Whether one is under way.
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed)
    }

    /// Whether the last one failed.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// End of the last good one (Unix seconds, 0 without one), and the seconds the last one took (-1 without one).
    pub fn last(&self) -> (i64, i64) {
        let load = |it: &AtomicI64| it.load(Ordering::Relaxed);
        (load(&self.last_s), load(&self.last_seconds))
    }
}

pub(crate) const BACKUP: Command = Command {
    name: "backup",
    arity: 2,
    flags: Flags::NO_ASYNC_LOADING
        .or(Flags::ADMIN)
        .or(Flags::NOSCRIPT)
        .or(Flags::NO_MULTI),
    categories: Categories::ADMIN
        .or(Categories::DANGEROUS)
        .or(Categories::SLOW),
    group: Group::Server,
    since: "8.0.0",
    summary: "Copies the append-only file to a directory of this name below backup-dir, and checks the copy, in the background.",
    complexity: "O(1) for the caller",
    args: &[Arg {
        name: "name",
        ..Arg::BASE
    }],
    handler: backup,
    ..Command::BASE
};
fn backup(ctx: &mut Context<'_, '_>) -> CommandResult {
    let server = ctx.server;
    let name = name(ctx.arg(1))?;
    if !server.log.is_enabled() {
        return Err(CommandError::line(
            "ERR BACKUP copies the append only file, which is off. Use BGSAVE and copy the RDB file",
        ));
    }
    let target = server.config.dir().join(server.config.text(P::BackupDir));
    start(server, target, name)?;
    ctx.reply.simple("Background backup started");
    Ok(Outcome::Done)
}

/// A name stays below the directory of backups, and is easy to type.
fn name(bytes: &[u8]) -> Result<String, CommandError> {
    let is_good = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let text = std::str::from_utf8(bytes).ok();
    text.filter(|text| (1..=NAME_MAX).contains(&text.len()) && !text.starts_with('.'))
        .filter(|text| text.bytes().all(|byte| is_good(&byte)))
        .map(str::to_owned)
        .ok_or(CommandError::line(
            "ERR Invalid backup name: letters, digits, '.', '_' and '-' are allowed, and it must not begin with '.'",
        ))
}

fn start(server: &Server, parent: PathBuf, name: String) -> Result<(), CommandError> {
    let me = server.me.upgrade();
    let me = me.ok_or(CommandError::line("ERR the server is shutting down"))?;
    if parent.join(&name).exists() {
        return Err(CommandError::owned(format!(
            "ERR there is a backup called '{name}' already"
        )));
    }
    if server.backups.running.swap(true, Ordering::AcqRel) {
        return Err(CommandError::line(
            "ERR Background backup already in progress",
        ));
    }
    let thread = std::thread::Builder::new().name("backup".to_owned());
    let spawned = thread.spawn(move || {
        let began_ns = me.clock.monotonic_ns();
        let result = run(&me, &parent, &name);
        let state = &me.backups;
        let seconds = me.clock.monotonic_ns().saturating_sub(began_ns) / 1_000_000_000;
        state.last_seconds.store(seconds as i64, Ordering::Relaxed);
        state.failed.store(result.is_err(), Ordering::Relaxed);
        match result {
            Ok(()) => state
                .last_s
                .store((me.now_ms() / 1000) as i64, Ordering::Relaxed),
            Err(reason) => log::warn!("Backup '{name}' failed: {reason}"),
        }
        state.running.store(false, Ordering::Release);
    });
    spawned.map(|_| ()).map_err(|error| {
        server.backups.running.store(false, Ordering::Release);
        CommandError::owned(format!("ERR Can't start a backup: {}", os_text(&error)))
    })
}

fn run(server: &Server, parent: &std::path::Path, name: &str) -> Result<(), String> {
    let target = parent.join(name);
    let backup = server
        .log
        .backup(&target)
        .map_err(|error| error.to_string())?;
    log::info!(
        "Backup '{name}' is complete and was checked: {} files ({} of them links), {} bytes, up to log offset {}. Start a server with --dir {} to use it",
        backup.files,
        backup.linked,
        backup.bytes,
        backup.offset,
        target.display()
    );
    Ok(())
}
