//! Subscriptions of clients, and what follows from them for keyspace notifications.

use super::Engine;
use crate::pubsub::{Kind, may_match_events};
use crate::session::Session;

impl Engine {
    /// Subscribes a client. Returns how many subscriptions its confirmation counts.
    pub fn subscribe(&self, session: &mut Session, kind: Kind, name: &[u8]) -> usize {
        let own = &mut session.subscriptions;
        let count = self.pubsub.subscribe(&session.shared, own, (kind, name));
        self.note_subscription(kind, name);
        count
    }

    /// Ends a subscription; nothing of it comes into the outbox of the client any more. Returns
    /// how many subscriptions the confirmation counts.
    pub fn unsubscribe(&self, session: &mut Session, kind: Kind, name: &[u8]) -> usize {
        let own = &mut session.subscriptions;
        let count = self.pubsub.unsubscribe(&session.shared, own, (kind, name));
        self.note_subscription(kind, name);
        count
    }

    /// Ends all subscriptions of a client. True when it had any.
    pub fn unsubscribe_all(&self, session: &mut Session) -> bool {
        let had_any = session.subscriptions.is_some();
        for kind in Kind::ALL {
            for name in session.subscribed(kind) {
                self.unsubscribe(session, kind, &name);
            }
        }
        had_any
    }

    fn note_subscription(&self, kind: Kind, name: &[u8]) {
        if may_match_events(kind, name) {
            self.refresh_notifications();
        }
    }

    /// Has to be called when `notify-keyspace-events` has changed, or the subscriptions that could
    /// match the channel of an event.
    pub(super) fn refresh_notifications(&self) {
        let (config, listeners) = (&self.config, &self.key_listeners);
        let pubsub = &self.pubsub;
        self.notifications
            .refresh(config, listeners, || pubsub.has_event_listeners());
    }
}
