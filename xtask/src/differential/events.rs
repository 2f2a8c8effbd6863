//! The keyspace events of both servers, for the same commands.

use anyhow::{Context, Result};
use resp::Value;

use super::connection::Connection;

/// A subscriber to all events of a server.
pub(super) struct Events(Connection);

impl Events {
    /// Switches every class of Valkey on, and listens.
    pub(super) fn listen(port: u16) -> Result<Self> {
        let mut connection = Connection::open(port)?;
        connection.ask(&["CONFIG", "SET", "notify-keyspace-events", "KEAn"])?;
        connection.ask(&["PSUBSCRIBE", "__key*"])?;
        Ok(Self(connection))
    }

    /// The events since the last call: `channel payload`. What depends on the moment is left out.
    pub(super) fn take(&mut self) -> Result<Vec<String>> {
        self.0.send(&[b"PING".to_vec(), b"mark".to_vec()]);
        let mut events = Vec::new();
        loop {
            let message = self.0.receive(1)?.pop().context("a message")?;
            let Some([_, _, channel, payload]) = message.as_elements() else {
                return Ok(events);
            };
            let text = |part: &Value| {
                part.as_bytes()
                    .unwrap_or_default()
                    .escape_ascii()
                    .to_string()
            };
            let event = format!("{} {}", text(channel), text(payload));
            // One server takes at random what the other removes by name.
            let event = event.replace("spop", "srem");
            if !event.contains("expired") {
                events.push(event);
            }
        }
    }
}

/// The first place where two lists differ, with what stands there in each.
pub(super) fn difference(ours: &[String], theirs: &[String]) -> Option<(String, String)> {
    let longer = ours.len().max(theirs.len());
    let at = (0..longer).find(|at| ours.get(*at) != theirs.get(*at))?;
    let around = |events: &[String]| {
        let shown = events.iter().skip(at.saturating_sub(2)).take(6);
        shown.cloned().collect::<Vec<_>>().join(" | ")
    };
    Some((around(ours), around(theirs)))
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn a_difference_is_shown_with_what_stands_around() {
        let list = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(difference(&list("a b c"), &list("a b c")), None);
        assert_eq!(
            difference(&list("a b c"), &list("a b")),
            Some(("a | b | c".to_owned(), "a | b".to_owned()))
        );
    }
}
