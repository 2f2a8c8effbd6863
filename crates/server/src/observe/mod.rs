//! Observation of the running server: INFO and the server's log.

pub mod info;
pub mod logging;
