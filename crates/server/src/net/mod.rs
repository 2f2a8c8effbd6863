//! Event loops: workers execute the commands of their clients.

mod ahead;
pub(crate) mod balance;
mod batch;
mod blocked;
mod busy;
mod certificate_users;
pub(crate) mod event_loop;
mod figures;
pub(crate) mod handshakes;
mod limits;
mod parse;
mod port;
mod round;
mod spares;
#[cfg(test)]
mod tests;
pub(crate) mod worker;
