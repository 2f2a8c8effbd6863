//! CONFIG SET: all or nothing.

use std::fmt;
use std::sync::atomic::Ordering;

use super::Config;
use super::table::{Flags, P, Parameter};
use super::value::Value;

/// Puts changes of the configuration into effect: a new listener, another log level.
pub trait Apply {
    /// Called for every parameter that changed, after all of the set are in place, in the order
    /// they were given. The value is read from `config`. An error is the reason clients read;
    /// everything is then set back, and this is called again for the same parameters with the old
    /// values in place. It must not set or rewrite the configuration.
    fn apply(&mut self, config: &Config, id: P) -> Result<(), String>;
}

/// The circumstances of a CONFIG SET.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetContext {
    /// Data is being loaded.
    pub loading: bool,
    /// The client is connected from this machine, for `enable-protected-configs local`.
    pub client_is_local: bool,
    /// The caller holds [`Config::lock_changes`].
    pub is_locked: bool,
}

/// Why CONFIG SET did nothing. `Display` is the line clients read, with its error code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// A name without a value.
    Syntax,
    /// Not now, because data is being loaded.
    Loading,
    /// No parameter has this name.
    Unknown(Vec<u8>),
    /// A value was refused or could not take effect.
    Failed {
        /// The name as it was given.
        name: Vec<u8>,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Syntax => f.write_str("ERR syntax error"),
            ConfigError::Loading => {
                f.write_str("LOADING Lodestore is loading the dataset in memory")
            }
            ConfigError::Unknown(name) => {
                let name = String::from_utf8_lossy(name);
                write!(
                    f,
                    "ERR Unknown option or number of arguments for CONFIG SET - '{name}'"
                )
            }
            ConfigError::Failed { name, reason } => {
                let name = String::from_utf8_lossy(name);
                write!(
                    f,
                    "ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"
                )
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// One parameter of a set.
struct Change {
    parameter: &'static Parameter,
    name: Vec<u8>,
    old: Value,
    new: Value,
}

impl Change {
    fn is_one(&self) -> bool {
        self.old != self.new || self.parameter.flags.has(Flags::VOLATILE)
    }

    fn failed(&self, reason: String) -> ConfigError {
        ConfigError::Failed {
            name: self.name.clone(),
            reason,
        }
    }
}

impl Config {
    /// Whether a parameter of this name, as given to CONFIG SET, holds a secret to be kept out of
    /// logs.
    #[must_use]
    pub fn is_sensitive(name: &[u8]) -> bool {
        Parameter::named(name).is_some_and(|parameter| parameter.flags.has(Flags::SENSITIVE))
    }

    /// Sets parameters, given as names and values in turn, at once or not at all.
    pub fn set(
        &self,
        pairs: &[&[u8]],
        context: SetContext,
        apply: &mut dyn Apply,
    ) -> Result<(), ConfigError> {
        let (pairs, rest) = pairs.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(ConfigError::Syntax);
        }
        let _changing = (!context.is_locked).then(|| self.lock_changes());
        let parameters = self.settable(pairs, context)?;
        let changes = self.parse_changes(pairs, &parameters)?;
        let save_given = self.save_given.load(Ordering::Relaxed);
        for change in &changes {
            self.put(change.parameter.id, &change.new);
            if change.parameter.id == P::Save {
                self.save_given.store(true, Ordering::Relaxed);
            }
        }
        self.changed();
        let result = self.apply_changes(&changes, save_given, apply);
        if result.is_ok() {
            for change in &changes {
                match self.notice_without_effect(change.parameter.id) {
                    Some(notice) if notice.is_warning => log::warn!("{}", notice.text),
                    Some(notice) => log::info!("{}", notice.text),
                    None => {}
                }
            }
        }
        result
    }

    /// The parameters of the pairs, when all of them may be set now.
    fn settable(
        &self,
        pairs: &[[&[u8]; 2]],
        context: SetContext,
    ) -> Result<Vec<&'static Parameter>, ConfigError> {
        let mut parameters: Vec<&'static Parameter> = Vec::with_capacity(pairs.len());
        for [name, text] in pairs {
            let failed = |reason: &str| ConfigError::Failed {
                name: name.to_vec(),
                reason: reason.to_owned(),
            };
            let parameter =
                Parameter::named(name).ok_or_else(|| ConfigError::Unknown(name.to_vec()))?;
            let flags = parameter.flags;
            if flags.has(Flags::IMMUTABLE) && !self.is_own_and_same(parameter, text) {
                return Err(failed("can't set immutable config"));
            }
            if flags.has(Flags::PROTECTED)
                && !self.allows(P::EnableProtectedConfigs, context.client_is_local)
            {
                return Err(failed("can't set protected config"));
            }
            if flags.has(Flags::DENY_LOADING) && context.loading {
                return Err(ConfigError::Loading);
            }
            if parameters.iter().any(|other| other.id == parameter.id) {
                return Err(failed("duplicate parameter"));
            }
            parameters.push(parameter);
        }
        Ok(parameters)
    }

    /// See [`Flags::OWN`].
    fn is_own_and_same(&self, parameter: &Parameter, text: &[u8]) -> bool {
        let is_same = || self.parse_text(parameter, text) == Ok(self.value(parameter.id));
        parameter.flags.has(Flags::OWN) && is_same()
    }

    fn parse_changes(
        &self,
        pairs: &[[&[u8]; 2]],
        parameters: &[&'static Parameter],
    ) -> Result<Vec<Change>, ConfigError> {
        let change = |([name, text], parameter): (&[&[u8]; 2], &&'static Parameter)| {
            let old = self.value(parameter.id);
            let failed = |reason| ConfigError::Failed {
                name: name.to_vec(),
                reason,
            };
            let new = self.parse_text(parameter, text).map_err(failed)?;
            refuse_unbuilt(parameter, &new).map_err(failed)?;
            Ok(Change {
                parameter,
                name: name.to_vec(),
                old,
                new,
            })
        };
        pairs.iter().zip(parameters).map(change).collect()
    }

    fn apply_changes(
        &self,
        changes: &[Change],
        save_given: bool,
        apply: &mut dyn Apply,
    ) -> Result<(), ConfigError> {
        let changed: Vec<&Change> = changes.iter().filter(|change| change.is_one()).collect();
        for (done, change) in changed.iter().enumerate() {
            if let Err(reason) = apply.apply(self, change.parameter.id) {
                log::warn!(
                    "Failed applying new configuration. Possibly related to new {} setting. Restoring previous settings.",
                    change.parameter.name
                );
                self.save_given.store(save_given, Ordering::Relaxed);
                self.restore(changes, &changed[..=done], apply);
                return Err(change.failed(reason));
            }
        }
        Ok(())
    }

    /// Sets everything back and applies the old values of what had been applied.
    fn restore(&self, changes: &[Change], applied: &[&Change], apply: &mut dyn Apply) {
        for change in changes {
            self.put(change.parameter.id, &change.old);
        }
        self.changed();
        for change in applied {
            if let Err(reason) = apply.apply(self, change.parameter.id) {
                log::warn!("Failed applying restored failed CONFIG SET command: {reason}");
            }
        }
    }
}

/// Refuses to set what a server must not go on without (see [`Flags::REFUSED`]).
pub(super) fn refuse_unbuilt(parameter: &Parameter, value: &Value) -> Result<(), String> {
    if parameter.flags.has(Flags::REFUSED) && *value != parameter.default_value() {
        return Err("not supported by this version of Lodestore".to_owned());
    }
    Ok(())
}
