//! The running process: listening sockets, timers, signals, its end, parameters that take effect
//! at run time.

pub(crate) mod apply;
pub(crate) mod cron;
pub(crate) mod hints;
pub(crate) mod huge_pages;
pub(crate) mod listen;
pub(crate) mod log_options;
pub(crate) mod shutdown;
pub(crate) mod signals;
