//! The engine's way to clients of other workers: messages to the workers that own them.

use std::sync::atomic::Ordering;

use engine::client::ClientShared;
use engine::port::{Port, Unblocked};

use crate::server::Server;
use crate::transport::mailbox::Message;

impl Port for Server {
    fn deliver(&self, clients: &[&ClientShared]) {
        if let [client] = clients {
            return self.send_to(client, Message::Deliver(client.id));
        }
        let mut mail: Vec<Vec<Message>> = Vec::new();
        mail.resize_with(self.workers.len(), Vec::new);
        for client in clients {
            let worker = client.worker.load(Ordering::Acquire);
            if let Some(mail) = mail.get_mut(worker) {
                mail.push(Message::Deliver(client.id));
            }
        }
        for (worker, mail) in self.workers.iter().zip(mail) {
            if !mail.is_empty() {
                worker.mailbox.send_many(mail);
            }
        }
    }

    fn served(&self, client: &ClientShared, offset: u64) {
        let message = Message::Served {
            client: client.id,
            offset,
        };
        self.send_to(client, message);
    }

    fn unblock(&self, client: &ClientShared, why: Unblocked) {
        let message = Message::Unblock {
            client: client.id,
            why,
        };
        self.send_to(client, message);
    }

    fn kill(&self, client: &ClientShared) {
        self.send_to(client, Message::Kill(client.id));
    }

    fn resume(&self) {
        self.broadcast(|| Message::Refresh);
    }

    fn wake_timers(&self) {
        if let Some(worker) = self.workers.first() {
            worker.mailbox.wake();
        }
    }
}
