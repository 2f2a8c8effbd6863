//! Event loops: workers execute the commands of their clients.

pub mod balance;
mod batch;
mod blocked;
mod figures;
mod limits;
mod port;
pub mod worker;
