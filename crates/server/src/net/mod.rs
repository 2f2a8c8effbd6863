//! Sockets and event loops: the only place that owns file descriptors of clients.

pub mod balance;
mod batch;
mod blocked;
pub mod connection;
mod figures;
mod limits;
pub mod listener;
pub mod mailbox;
pub mod stream;
mod sys;
pub mod worker;
