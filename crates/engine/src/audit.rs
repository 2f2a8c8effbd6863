//! The audit log: connections, logins, denied commands and administrative commands, each as one
//! line of JSON. While it is off, it costs nothing but a load where such an event happens.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use resp::Args;

use crate::client::ClientShared;
use crate::redact::shown;
use crate::table::Command;

/// Most bytes of one text in a line, and most arguments of a command: the rest is left out.
const TEXT_BYTES_MAX: usize = 512;
const ARGS_MAX: usize = 32;

/// Takes a line, without its end.
pub type Sink = dyn Fn(&str) + Send + Sync;

/// Where lines go.
#[derive(Default)]
pub struct Audit {
    is_on: AtomicBool,
    sink: RwLock<Option<Arc<Sink>>>,
}

/// What happened.
#[derive(Clone, Copy)]
pub enum Event<'a> {
    /// A client has connected.
    Connected,
    /// A login as this user succeeded.
    LoggedIn(&'a [u8]),
    /// A login as this user failed.
    LoginFailed(&'a [u8]),
    /// A command was denied.
    Denied {
        /// The user.
        user: &'a [u8],
        /// `command`, `key`, `channel` or `database`.
        reason: &'static str,
        /// Its name.
        object: &'a [u8],
        /// The command.
        command: &'static str,
    },
    /// An administrative command was accepted.
    Command {
        /// The user.
        user: &'a [u8],
        /// The command.
        command: &'static Command,
        /// The request, whose secrets are left out.
        args: Args<'a>,
    },
}

impl Audit {
    /// Events are of interest.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Lines go there from now on, or nowhere.
    pub fn set_sink(&self, sink: Option<Arc<Sink>>) {
        self.is_on.store(sink.is_some(), Ordering::Relaxed);
        *self.sink.write().unwrap_or_else(PoisonError::into_inner) = sink;
    }

    /// Writes a line about an event.
    #[cold]
    pub fn note(&self, unix_us: u64, client: &ClientShared, event: Event<'_>) {
        let sink = self.sink.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(sink) = &*sink {
            sink(&line(unix_us, client, event));
        }
    }
}

fn line(unix_us: u64, client: &ClientShared, event: Event<'_>) -> String {
    let name = match event {
        Event::Connected => "connection",
        Event::LoggedIn(_) => "auth-success",
        Event::LoginFailed(_) => "auth-failure",
        Event::Denied { .. } => "denied",
        Event::Command { .. } => "command",
    };
    let mut line = String::with_capacity(256);
    // Writing to a string does not fail.
    let _ = write!(
        line,
        "{{\"time\":{}.{:06},\"event\":\"{name}\",\"client\":{}",
        unix_us / 1_000_000,
        unix_us % 1_000_000,
        client.id
    );
    push_field(&mut line, "addr", client.addr.as_bytes());
    push_field(&mut line, "laddr", client.laddr.as_bytes());
    match event {
        Event::Connected => {}
        Event::LoggedIn(user) | Event::LoginFailed(user) => push_field(&mut line, "user", user),
        Event::Denied {
            user,
            reason,
            object,
            command,
        } => {
            push_field(&mut line, "user", user);
            push_field(&mut line, "command", command.as_bytes());
            push_field(&mut line, "reason", reason.as_bytes());
            push_field(&mut line, "object", object);
        }
        Event::Command {
            user,
            command,
            args,
        } => {
            push_field(&mut line, "user", user);
            push_field(&mut line, "command", command.full_name.as_bytes());
            line.push_str(",\"args\":[");
            for index in 0..args.len().min(ARGS_MAX) {
                if index > 0 {
                    line.push(',');
                }
                push_text(&mut line, shown(command, args, index));
            }
            line.push(']');
        }
    }
    line.push('}');
    line
}

fn push_field(line: &mut String, name: &str, text: &[u8]) {
    line.push_str(",\"");
    line.push_str(name);
    line.push_str("\":");
    push_text(line, text);
}

/// A text of JSON; bytes that are not UTF-8 are replaced.
fn push_text(line: &mut String, text: &[u8]) {
    let text = text.get(..TEXT_BYTES_MAX).unwrap_or(text);
    line.push('"');
    for character in String::from_utf8_lossy(text).chars() {
        match character {
            '"' | '\\' => {
                line.push('\\');
                line.push(character);
            }
            // Writing to a string does not fail.
            control if control.is_control() => {
                let _ = write!(line, "\\u{:04x}", u32::from(control));
            }
            other => line.push(other),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Peer;
    use std::sync::Mutex;

    #[test]
    fn a_line_is_json() {
        let audit = Audit::default();
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let sink = Arc::clone(&lines);
        let client = ClientShared::new(7, Peer::None, &Peer::None, 0, 0, 0);
        assert!(!audit.is_on());
        audit.note(1, &client, Event::Connected);
        audit.set_sink(Some(Arc::new(move |line: &str| {
            sink.lock().expect("no panic").push(line.to_owned());
        })));
        assert!(audit.is_on());
        audit.note(1_000_002, &client, Event::LoginFailed(b"a\"\\\n\xff"));
        let lines = lines.lock().expect("no panic");
        assert_eq!(
            *lines,
            [
                "{\"time\":1.000002,\"event\":\"auth-failure\",\"client\":7,\"addr\":\"?:0\",\"laddr\":\"?:0\",\
              \"user\":\"a\\\"\\\\\\u000a\u{fffd}\"}"
            ]
        );
    }
}
