//! A configuration while a start reads its sources.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::origin::Origin;
use super::set::refuse_unbuilt;
use super::table::{Kind, P, PARAMETERS, Parameter};
use super::value::Value;
use super::{Config, multi};

/// The file system as `dir` sees it, and the memory that `maxmemory` may take a share of. The
/// program around the engine provides them.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The default of `dir`, absolute.
    pub initial: PathBuf,
    /// Resolves a path to the one that is stored; an error is the reason clients read.
    pub resolve: fn(&Path) -> Result<PathBuf, String>,
    /// Bytes that the process may use: those of the machine, or of its control group.
    pub memory: fn() -> u64,
}

impl Default for Surroundings {
    /// `/`, every path is stored as it is, and no memory.
    fn default() -> Self {
        Self {
            initial: PathBuf::from("/"),
            resolve: |path| Ok(path.to_path_buf()),
            memory: || 0,
        }
    }
}

/// A parameter that this version refuses to start with, see [`super::Flags::REFUSED`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedParameter {
    /// The parameter.
    pub id: P,
    /// Why, as `CONFIG SET` words it.
    pub reason: String,
}

/// A configuration while a start reads its sources, in order: later values win.
pub struct ConfigBuilder {
    config: Config,
    /// A `save` was read, so that further ones add to it.
    save_given: bool,
}

impl ConfigBuilder {
    /// The defaults of the table.
    #[must_use]
    pub fn new(directory: Surroundings) -> Self {
        Self {
            config: Config::new(directory),
            save_given: false,
        }
    }

    /// The configuration as far as it is read.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The directives and notices so far.
    pub fn origin_mut(&mut self) -> &mut Origin {
        &mut self.config.origin
    }

    /// Sets a parameter to the arguments of a directive, also one that CONFIG SET cannot set.
    ///
    /// # Errors
    /// Why the arguments are wrong.
    pub fn set(&mut self, parameter: &'static Parameter, args: &[&[u8]]) -> Result<(), String> {
        let value = self.parse(parameter, args)?;
        self.config.put(parameter.id, &value);
        self.config.origin.given.insert(parameter.id);
        Ok(())
    }

    fn parse(&mut self, parameter: &'static Parameter, args: &[&[u8]]) -> Result<Value, String> {
        let Kind::Save = parameter.kind else {
            return self.config.parse(parameter, args);
        };
        let adds = self.save_given && !matches!(args, [b""]);
        let before = if adds {
            self.config.bytes(parameter.id)
        } else {
            Arc::from([])
        };
        let all: Vec<&[u8]> = multi::words(&before).chain(args.iter().copied()).collect();
        let value = self.config.parse(parameter, &all)?;
        self.save_given = true;
        self.config.save_given.store(true, Ordering::Relaxed);
        Ok(value)
    }

    /// The configuration, with notices about the parameters that have no effect.
    ///
    /// # Errors
    /// The first parameter that must not be set.
    pub fn finish(mut self) -> Result<Config, RefusedParameter> {
        for parameter in PARAMETERS {
            let id = parameter.id;
            if !self.config.was_given(id) {
                continue;
            }
            refuse_unbuilt(parameter, &self.config.value(id))
                .map_err(|reason| RefusedParameter { id, reason })?;
            if let Some(notice) = self.config.notice_without_effect(id) {
                self.config.origin.notices.push(notice);
            }
        }
        Ok(self.config)
    }
}
