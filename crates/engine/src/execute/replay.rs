//! Runs commands from files.

use std::sync::Arc;

use resp::Args;

use super::{Call, Execution, Mode, Request, locate};
use crate::client::{ClientShared, Peer};
use crate::engine::Engine;
use crate::session::{Origin, Session};
use crate::shard_tables::Locked;
use crate::table::Resolved;
use crate::users::User;

/// A session for commands that come from files.
pub fn session(engine: &Engine) -> Session {
    let shared = ClientShared::new(0, Peer::None, &Peer::None, -1, engine.steady_ms(), 0);
    Session::new(Arc::new(shared), Origin::Replay, Some(User::above_rules()))
}

impl Execution<'_, '_> {
    /// Runs one command of a file under the locks of all shards, which are held already.
    ///
    /// # Errors
    /// The command is unknown, or it failed: the text for the log of the server.
    pub fn replay(&mut self, args: Args<'_>, locked: &mut Locked<'_>) -> Result<(), String> {
        let request = Request::new(self.engine, args);
        let Resolved::Command(command) = request.command else {
            return Err(format!(
                "Unknown command '{}' reading the append only file",
                String::from_utf8_lossy(args.arg(0))
            ));
        };
        if !command.spec.arity_fits(args.len()) {
            return Err(format!(
                "wrong number of arguments for '{}'",
                command.full_name
            ));
        }
        let mut keys = Vec::new();
        locate(self.engine, command, &request, &mut keys);
        let call = Call {
            command,
            args,
            keys: &keys,
            mode: Mode::Direct,
        };
        self.begin();
        let result = self.call(&call, locked);
        self.commit(locked, super::Touched::Keys(&keys));
        // Blocked clients are served when the whole file has been read.
        self.exec.ready.clear();
        result
            .map(|_| ())
            .map_err(|error| String::from_utf8_lossy(&error.text()).into_owned())
    }
}
