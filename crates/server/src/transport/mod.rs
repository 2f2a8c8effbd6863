//! Below the event loops: sockets, connections of clients, mailboxes of workers.

pub mod connection;
pub mod listener;
pub mod mailbox;
pub mod stream;
mod sys;
