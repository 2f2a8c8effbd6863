//! The crash report (`crash-log-enabled`): a signal that says that the process is broken leaves its
//! number, a backtrace and the last command of the thread in the log, and then ends the process as
//! it would have without that.

mod sys;

pub(crate) use sys::{set_enabled, set_log};

/// Reports crashes from now on, unless `crash-log-enabled` says no. For a process that is a server
/// and nothing else.
pub fn report_crashes(is_enabled: bool) {
    set_enabled(is_enabled);
    sys::install();
}
