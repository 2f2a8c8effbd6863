//! The identity of this process.

use engine::config::Config;

use super::random::random_id;

/// The identity of this process.
#[derive(Debug, Clone)]
pub struct Identity {
    /// 40 hexadecimal digits, new at each start.
    pub run_id: String,
    /// Path of the executable.
    pub executable: String,
    /// Absolute path of the configuration file; empty without one.
    pub config_file: String,
    /// Process id.
    pub pid: u32,
}

impl Identity {
    /// The identity of a process that starts now with this configuration.
    pub fn new(config: &Config) -> Self {
        let display = |path: &std::path::Path| path.display().to_string();
        Self {
            run_id: random_id(),
            executable: std::env::current_exe()
                .map_or_else(|_| String::new(), |path| display(&path)),
            config_file: config.file().map_or_else(String::new, display),
            pid: std::process::id(),
        }
    }
}
