//! One connection as CLIENT LIST shows it and as the filters see it.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use resp::{Args, Protocol};

use crate::client::{ClientShared, Details, flag};
use crate::engine::Engine;
use crate::session::Session;
use crate::table::Command;

/// Never published, because it follows from the address.
const UNIX_SOCKET: u32 = 1 << 31;

/// Published flags and their letters, in the order of the `flags` field.
const LETTERS: [(u32, char); 17] = [
    (flag::MONITOR, 'O'),
    (flag::REPLICA, 'S'),
    (flag::PRIMARY, 'M'),
    (flag::PUBSUB, 'P'),
    (flag::MULTI, 'x'),
    (flag::BLOCKED, 'b'),
    (flag::TRACKING, 't'),
    (flag::BROKEN_REDIRECT, 'R'),
    (flag::BROADCAST, 'B'),
    (flag::DIRTY_CAS, 'd'),
    (flag::CLOSE_AFTER_REPLY, 'c'),
    (flag::CLOSE_ASAP, 'A'),
    (UNIX_SOCKET, 'U'),
    (flag::READONLY, 'r'),
    (flag::NO_EVICT, 'e'),
    (flag::NO_TOUCH, 'T'),
    (flag::IMPORT_SOURCE, 'I'),
];

/// Class of a connection, as the TYPE filter names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Primary,
    Replica,
    Pubsub,
}

impl Kind {
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        const NAMES: [(&[u8], Kind); 6] = [
            (b"normal", Kind::Normal),
            (b"slave", Kind::Replica),
            (b"replica", Kind::Replica),
            (b"pubsub", Kind::Pubsub),
            (b"master", Kind::Primary),
            (b"primary", Kind::Primary),
        ];
        NAMES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, kind)| *kind)
    }
}

/// The client whose command looks at rows, as it is now.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) session: &'a Session,
    pub(crate) command: Option<&'static Command>,
    pub(crate) args: Args<'a>,
}

/// A snapshot of one connection.
pub(crate) struct Row {
    pub(crate) client: Arc<ClientShared>,
    pub(crate) details: Details,
    pub(crate) flags: u32,
    pub(crate) db: u32,
    pub(crate) age_s: u64,
    pub(crate) idle_s: u64,
    protocol: u32,
    last_command: Option<&'static Command>,
    multi: i64,
    multi_mem: usize,
    watch: usize,
    argv_mem: usize,
    is_own: bool,
}

impl Row {
    /// The row of a client. Others are shown as their workers published them at the end of the last
    /// loop turn; the calling client is shown as it is now.
    pub(crate) fn of(engine: &Engine, caller: &Caller<'_>, client: Arc<ClientShared>) -> Self {
        let now_s = engine.steady_ms() / 1000;
        let figures = &client.figures;
        let load = |figure: &std::sync::atomic::AtomicUsize| figure.load(Ordering::Relaxed);
        let last = load(&figures.last_command).checked_sub(1);
        let mut row = Self {
            details: client.details(),
            flags: client.flags(),
            db: figures.db.load(Ordering::Relaxed),
            age_s: now_s.saturating_sub(client.created_ms / 1000),
            idle_s: now_s.saturating_sub(figures.last_active_ms.load(Ordering::Relaxed) / 1000),
            protocol: figures.protocol.load(Ordering::Relaxed),
            last_command: last.and_then(|id| engine.commands.entries().get(id).copied()),
            multi: figures.multi.load(Ordering::Relaxed),
            multi_mem: load(&figures.multi_mem),
            watch: load(&figures.watch),
            argv_mem: load(&figures.argv_mem),
            is_own: client.id == caller.session.shared.id,
            client,
        };
        if row.is_own {
            row.refresh(caller);
        }
        if row.client.is_unix_socket() {
            row.flags |= UNIX_SOCKET;
        }
        row
    }

    fn refresh(&mut self, caller: &Caller<'_>) {
        let session = caller.session;
        self.flags = session.flag_bits();
        self.db = session.db;
        self.idle_s = 0;
        self.protocol = match session.protocol {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        };
        self.last_command = caller.command;
        let queued = session.multi.as_ref().map(|multi| multi.queue.len());
        self.multi = queued.map_or(-1, |len| len as i64);
        self.multi_mem = session.multi.as_ref().map_or(0, |multi| multi.bytes);
        self.watch = session.watched.len();
        self.argv_mem = caller.args.byte_len();
    }

    pub(crate) fn kind(&self) -> Kind {
        if self.flags & flag::REPLICA != 0 {
            Kind::Replica
        } else if self.flags & flag::PRIMARY != 0 {
            Kind::Primary
        } else if self.flags & flag::PUBSUB != 0 {
            Kind::Pubsub
        } else {
            Kind::Normal
        }
    }

    /// The letters of the `flags` field.
    pub(crate) fn letters(&self) -> String {
        let letters: String = LETTERS
            .iter()
            .filter(|(bit, _)| self.flags & bit != 0)
            .map(|(_, letter)| *letter)
            .collect();
        if letters.is_empty() {
            "N".to_owned()
        } else {
            letters
        }
    }

    /// The letters of the `capa` field.
    pub(crate) fn capabilities(&self) -> &'static str {
        if self.flags & flag::CAPA_REDIRECT != 0 {
            "r"
        } else {
            ""
        }
    }

    /// Memory that the connection holds, in bytes.
    pub(crate) fn memory(&self) -> usize {
        // The published figure does not include the arguments of the running command.
        let unlisted = self.client.figures.unlisted.load(Ordering::Relaxed);
        let own = if self.is_own { self.argv_mem } else { 0 };
        self.client.memory().saturating_sub(unlisted) + own
    }

    /// The line without its end.
    pub(crate) fn write(&self, line: &mut String) {
        let figures = &self.client.figures;
        let size = |figure: &std::sync::atomic::AtomicUsize| figure.load(Ordering::Relaxed);
        let sum = |figure: &std::sync::atomic::AtomicU64| figure.load(Ordering::Relaxed);
        let capacity = size(&figures.output_capacity);
        let waits = size(&figures.output_bytes) + size(&figures.output_mem) > 0;
        let events = if waits { "rw" } else { "r" };
        // Writing to a string does not fail.
        let _ = write!(
            line,
            "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} capa={} db={} sub={} psub={} ssub={} \
             multi={} watch={} qbuf={} qbuf-free={} argv-mem={} multi-mem={} rbs={capacity} rbp={capacity} obl={} \
             oll={} omem={} tot-mem={} events={events} cmd={} user={} redir={} resp={} lib-name={} lib-ver={} tot-net-in={} \
             tot-net-out={} tot-cmds={}",
            self.client.id,
            self.client.addr,
            self.client.laddr,
            self.client.fd,
            String::from_utf8_lossy(&self.details.name),
            self.age_s,
            self.idle_s,
            self.letters(),
            self.capabilities(),
            self.db,
            size(&figures.sub),
            size(&figures.psub),
            size(&figures.ssub),
            self.multi,
            self.watch,
            size(&figures.qbuf),
            size(&figures.qbuf_free),
            self.argv_mem,
            self.multi_mem,
            size(&figures.output_bytes),
            size(&figures.output_pieces),
            size(&figures.output_mem),
            self.memory(),
            self.last_command.map_or("NULL", |entry| entry.full_name),
            String::from_utf8_lossy(&self.details.user),
            figures.redirect.load(Ordering::Relaxed),
            self.protocol,
            String::from_utf8_lossy(&self.details.lib_name),
            String::from_utf8_lossy(&self.details.lib_ver),
            sum(&figures.net_in),
            sum(&figures.net_out),
            sum(&figures.commands),
        );
    }
}

/// The line of the calling client, for logs.
pub(crate) fn own_line(engine: &Engine, caller: &Caller<'_>) -> String {
    let mut line = String::new();
    Row::of(engine, caller, Arc::clone(&caller.session.shared)).write(&mut line);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_old_and_new_names() {
        assert_eq!(Kind::named(b"SLAVE"), Some(Kind::Replica));
        assert_eq!(Kind::named(b"primary"), Some(Kind::Primary));
        assert_eq!(Kind::named(b"x"), None);
    }

    #[test]
    fn every_flag_has_its_own_letter() {
        let letters: std::collections::BTreeSet<char> =
            LETTERS.iter().map(|(_, letter)| *letter).collect();
        assert_eq!(letters.len(), LETTERS.len());
        assert!(!letters.contains(&'N'));
    }
}
