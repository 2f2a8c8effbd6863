//! Event loops: workers execute the commands of their clients.

pub(crate) mod balance;
mod batch;
mod blocked;
mod busy;
pub(crate) mod event_loop;
mod figures;
mod limits;
mod port;
#[cfg(test)]
mod tests;
pub(crate) mod worker;
