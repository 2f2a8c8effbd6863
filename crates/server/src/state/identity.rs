//! The identity of this process.

use engine::config::Config;

use super::random::random_id;

/// What a program was built from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Build {
    /// The first eight digits of the commit; empty when it is not known.
    pub commit: &'static str,
    /// Files differed from the commit when it was first built.
    pub is_modified: bool,
    /// Everything else that makes builds of one commit differ: target, profile, compiler.
    pub variant: &'static str,
}

impl Build {
    /// The commit, zeros when it is not known.
    pub fn sha(&self) -> &'static str {
        match self.commit {
            "" => "00000000",
            commit => commit,
        }
    }

    /// A number that other builds do not have, as 16 hexadecimal digits.
    pub fn id(&self) -> String {
        let text = format!(
            "{} {} {} {}",
            engine::version::LODESTORE_VERSION,
            self.sha(),
            self.is_modified,
            self.variant
        );
        format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
    }
}

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
    /// What the program was built from.
    pub build: Build,
}

impl Identity {
    /// The identity of a process that starts now with this configuration.
    pub fn new(config: &Config, build: Build) -> Self {
        let display = |path: &std::path::Path| path.display().to_string();
        Self {
            run_id: random_id(),
            executable: std::env::current_exe()
                .map_or_else(|_| String::new(), |path| display(&path)),
            config_file: config.file().map_or_else(String::new, display),
            pid: std::process::id(),
            build,
        }
    }
}
