//! Observation of the running server: INFO and the server's log.

pub(crate) mod audit;
pub(crate) mod info;
pub(crate) mod logging;
