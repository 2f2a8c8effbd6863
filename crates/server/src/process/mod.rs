//! The running process: listening sockets, timers, signals, its end, parameters that take effect
//! at run time.

pub mod apply;
pub mod cron;
pub mod listen;
pub mod log_options;
pub mod shutdown;
pub mod signals;
