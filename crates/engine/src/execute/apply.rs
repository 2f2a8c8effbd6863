//! Applies the stream of a primary.

use std::sync::Arc;

use persist::{Append, Scope, Selection};
use resp::Args;

use super::{Call, Execution, Mode, Request, Touched, locate};
use crate::client::{ClientShared, Peer};
use crate::engine::Engine;
use crate::keys::LocatedKey;
use crate::session::{Origin, Session};
use crate::shard_tables::{Locked, lives, note_all};
use crate::table::Resolved;
use crate::users::User;

/// A session for the commands of a primary's stream.
pub fn session(engine: &Engine) -> Session {
    let shared = ClientShared::new(0, Peer::None, &Peer::None, -1, engine.steady_ms(), 0);
    Session::new(Arc::new(shared), Origin::Primary, Some(User::above_rules()))
}

/// A command of a stream that cannot be applied: the copy may differ from now on.
#[derive(Debug, PartialEq, Eq)]
pub struct Unapplied {
    /// The command's name.
    pub command: String,
    /// The error.
    pub reason: String,
}

impl Execution<'_, '_> {
    /// Applies one command of a primary's stream, or all of a transaction (without its MULTI and
    /// EXEC), under the locks of all shards, and appends `raw`, the bytes of the stream, as they
    /// came. Returns what failed, if anything did.
    pub fn apply(
        &mut self,
        commands: &[Args<'_>],
        raw: &[u8],
        locked: &mut Locked<'_>,
    ) -> Vec<Unapplied> {
        let mut failures = Vec::new();
        let mut keys: Vec<LocatedKey> = Vec::new();
        let (mut selects, mut touches) = (false, false);
        self.begin();
        for args in commands {
            let name = args.arg(0);
            selects |= name.eq_ignore_ascii_case(b"select");
            touches |= !is_for_the_stream_alone(name);
            if let Err(reason) = self.apply_one(*args, &mut keys, locked) {
                let command = String::from_utf8_lossy(name).into_owned();
                failures.push(Unapplied { command, reason });
            }
        }
        let append = Append {
            selection: Selection::Current {
                then: selects.then_some(self.session.db),
            },
            records: raw,
            scope: match touches {
                true => Scope::Both,
                false => Scope::StreamOnly,
            },
        };
        let position = self.engine.log.append_scoped(&append, self.exec.now_ms);
        self.exec.appended = Some(position);
        self.commit(locked, Touched::Keys(&keys));
        if !self.exec.ready.is_empty() {
            super::blocking::serve(self.exec, self.engine, locked);
        }
        failures
    }

    /// Runs FLUSHALL (`request`) for a full synchronization, under the locks of all shards, and
    /// lets `fill` move other data in. It is not a part of the stream.
    pub fn replace(
        &mut self,
        request: &[&[u8]],
        locked: &mut Locked<'_>,
        fill: impl FnOnce(&mut Locked<'_>),
    ) {
        let owned = resp::OwnedArgs::from_slices(request);
        self.begin();
        // It cannot fail.
        let _ = self.apply_one(owned.as_args(), &mut Vec::new(), locked);
        fill(locked);
        self.note_new(locked);
        self.exec.appended = Some(self.engine.log.appended());
        self.commit(locked, Touched::All);
        if !self.exec.ready.is_empty() {
            super::blocking::serve(self.exec, self.engine, locked);
        }
    }

    /// Keys that exist now have changed for clients that watch them or wait for them.
    fn note_new(&mut self, locked: &Locked<'_>) {
        let (listeners, now_ms) = (&self.engine.key_listeners, self.exec.now_ms);
        for shard in locked.shards() {
            for db in shard.occupied_dbs() {
                let changes = &mut self.exec.changes;
                note_all((shard, db), changes, listeners, |shard, key| {
                    lives(shard, db, key, now_ms)
                });
            }
        }
    }

    fn apply_one(
        &mut self,
        args: Args<'_>,
        keys: &mut Vec<LocatedKey>,
        locked: &mut Locked<'_>,
    ) -> Result<(), String> {
        if args.arg(0).eq_ignore_ascii_case(b"replconf") {
            return Ok(());
        }
        let request = Request::new(self.engine, args);
        let Resolved::Command(command) = request.command else {
            return Err("unknown command".to_owned());
        };
        if !command.spec.arity_fits(args.len()) {
            return Err("wrong number of arguments".to_owned());
        }
        let first = keys.len();
        locate(self.engine, command, &request, keys);
        let call = Call {
            command,
            args,
            keys: keys.get(first..).unwrap_or_default(),
            mode: Mode::Direct,
        };
        self.out.clear();
        let began_ns = self.exec.now_ns;
        let result = self.call(&call, locked);
        self.finished(&call, began_ns, 0);
        result
            .map(drop)
            .map_err(|error| String::from_utf8_lossy(&error.text()).into_owned())
    }
}

/// These are no changes of data, so the append-only file has no use for them.
fn is_for_the_stream_alone(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 4] = [b"ping", b"replconf", b"publish", b"spublish"];
    NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}
