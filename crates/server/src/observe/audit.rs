//! The file of the audit log.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use engine::audit::Sink;
use engine::config::P;
use engine::engine::Engine;

use crate::os::os_text;

/// The value of `audit-log` for the log of the server.
const TO_LOG: &str = "log";

/// Opens the file that `audit-log` names, also anew, and sends events there.
///
/// # Errors
/// The file does not open; events go where they went.
pub(crate) fn open(engine: &Engine) -> Result<(), String> {
    let name = engine.config.text(P::AuditLog);
    let sink: Option<Arc<Sink>> = match name.as_str() {
        "" => None,
        TO_LOG => Some(Arc::new(|line: &str| log::info!("audit: {line}"))),
        _ => {
            let path = engine.config.path(P::AuditLog).unwrap_or_default();
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                // Names of users and keys are nothing for everyone on the machine.
                .mode(0o600)
                .open(&path)
                .map_err(|error| {
                    format!("The audit log {}: {}", path.display(), os_text(&error))
                })?;
            let writer = Writer {
                file: Mutex::new(file),
                has_failed: AtomicBool::new(false),
            };
            Some(Arc::new(move |line: &str| writer.write(line)))
        }
    };
    engine.audit.set_sink(sink);
    Ok(())
}

struct Writer {
    file: Mutex<File>,
    has_failed: AtomicBool,
}

impl Writer {
    /// Appends a line by one write, so that lines of several processes do not mix. A line that
    /// cannot be written is lost, and the log of the server says so once.
    fn write(&self, line: &str) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let result = file.write_all(format!("{line}\n").as_bytes());
        drop(file);
        let failed_before = self.has_failed.swap(result.is_err(), Ordering::Relaxed);
        match result {
            Err(error) if !failed_before => {
                log::error!("Writing the audit log: {}", os_text(&error));
            }
            Ok(()) if failed_before => log::warn!("The audit log is written again"),
            _ => {}
        }
    }
}
