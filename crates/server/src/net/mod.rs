//! Event loops: workers execute the commands of their clients.

pub(crate) mod balance;
mod batch;
mod blocked;
mod figures;
mod limits;
mod port;
pub(crate) mod worker;
