//! MONITOR: clients that see every command as it is executed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use resp::Args;

use crate::client::ClientShared;
use crate::command::Flags;
use crate::redact;
use crate::session::Session;
use crate::table::Command;

/// The clients in MONITOR mode.
#[derive(Default)]
pub struct Monitors {
    /// Length of `clients`, so that a server without monitors pays one relaxed load per command.
    count: AtomicUsize,
    clients: Mutex<Vec<Arc<ClientShared>>>,
}

impl Monitors {
    /// Starts sending commands to a client; a second time changes nothing.
    pub fn add(&self, client: &Arc<ClientShared>) {
        let mut clients = self.clients();
        if !clients.iter().any(|other| other.id == client.id) {
            clients.push(Arc::clone(client));
        }
        self.count.store(clients.len(), Ordering::Relaxed);
    }

    /// Stops sending commands to a client (RESET, disconnect).
    pub fn remove(&self, client: &ClientShared) {
        let mut clients = self.clients();
        clients.retain(|other| other.id != client.id);
        self.count.store(clients.len(), Ordering::Relaxed);
    }

    /// How many clients monitor.
    #[inline]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The clients; must not be held for long.
    pub fn clients(&self) -> MutexGuard<'_, Vec<Arc<ClientShared>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines for the monitors, of the commands of one execution.
#[derive(Default)]
pub struct MonitorLines(String);

impl MonitorLines {
    /// Notes a command that ran at `now_us`, Unix microseconds. One that a script has called is
    /// shown as the script's.
    #[cold]
    pub fn note(&mut self, now_us: u64, by: Caller<'_>, entry: &Command, args: Args<'_>) {
        let hidden = match by {
            // Commands that run scripts are noted before what the scripts call.
            Caller::Script(_) => Flags::ADMIN,
            _ => Flags::SKIP_MONITOR.or(Flags::ADMIN),
        };
        let (Caller::Client(session) | Caller::Script(session) | Caller::Lua(session)) = by;
        if !entry.spec.flags.any(hidden) && session.is_client() {
            self.0.push_str(&line(now_us, by, entry, args));
        }
    }

    /// True when there is nothing to show.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the lines. They are delivered to all monitors in the order in which the commands are
    /// logged: under the locks of the execution, when its effects are appended.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.0)
    }
}

/// Where a command that monitors see comes from.
#[derive(Clone, Copy)]
pub enum Caller<'a> {
    /// A client has sent it.
    Client(&'a Session),
    /// A client has sent it, and it runs a script.
    Script(&'a Session),
    /// A script of the client has called it.
    Lua(&'a Session),
}

/// `+<seconds>.<microseconds> [<db> <address>] "cmd" "arg" ...`.
fn line(now_us: u64, by: Caller<'_>, entry: &Command, args: Args<'_>) -> String {
    let (Caller::Client(session) | Caller::Script(session) | Caller::Lua(session)) = by;
    let client = &session.shared;
    let mut line = format!(
        "+{}.{:06} [{} ",
        now_us / 1_000_000,
        now_us % 1_000_000,
        session.db
    );
    if matches!(by, Caller::Lua(_)) {
        line.push_str("lua");
    } else if client.is_unix_socket() {
        line.push_str("unix:");
        line.push_str(client.addr.strip_suffix(":0").unwrap_or(&client.addr));
    } else {
        line.push_str(&client.addr);
    }
    line.push(']');
    for index in 0..args.len() {
        line.push(' ');
        line.push_str(&resp::quoted(redact::shown(entry, args, index)));
    }
    line.push_str("\r\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Peer;
    use crate::execute::command_table;
    use crate::session::Origin;
    use resp::OwnedArgs;

    fn client(id: u64) -> Arc<ClientShared> {
        let peer = Peer::Tcp("127.0.0.1:60866".parse().unwrap());
        Arc::new(ClientShared::new(id, peer, &Peer::None, 8, 0, 0))
    }

    #[test]
    fn clients_are_counted_once() {
        let monitors = Monitors::default();
        let one = client(1);
        monitors.add(&one);
        monitors.add(&one);
        monitors.add(&client(2));
        assert_eq!(monitors.count(), 2);
        monitors.remove(&one);
        monitors.remove(&one);
        assert_eq!(monitors.count(), 1);
    }

    #[test]
    fn a_line_is_quoted_and_redacted() {
        let (table, _) = command_table(crate::commands::GROUPS, &[]).expect("no renames");
        let mut session = Session::new(client(1), Origin::Client, None);
        session.db = 9;
        let owned = OwnedArgs::from_slices(&[b"AUTH", b"secret"]);
        let entry = table.lookup(b"auth").expect("known");
        assert_eq!(
            line(
                1_339_518_083_107_412,
                Caller::Client(&session),
                entry,
                owned.as_args()
            ),
            "+1339518083.107412 [9 127.0.0.1:60866] \"AUTH\" \"(redacted)\"\r\n"
        );
        let owned = OwnedArgs::from_slices(&[b"ECHO", b"a\"\r\n\xff"]);
        let entry = table.lookup(b"echo").expect("known");
        let shown = line(0, Caller::Lua(&session), entry, owned.as_args());
        assert!(shown.starts_with("+0.000000 [9 lua] \"ECHO\" "));
        assert!(
            line(0, Caller::Client(&session), entry, owned.as_args())
                .ends_with("\"ECHO\" \"a\\\"\\r\\n\\xff\"\r\n")
        );
    }
}
