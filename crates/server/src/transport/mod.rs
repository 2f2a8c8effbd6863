//! Below the event loops: sockets, connections of clients, mailboxes of workers.

pub(crate) mod connection;
pub(crate) mod listener;
pub(crate) mod mailbox;
pub(crate) mod pipe;
pub(crate) mod stream;
mod sys;
