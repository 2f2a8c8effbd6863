//! TLS: what the parameters say about it, and encrypted sockets.
//!
//! `settings` makes the configuration of the TLS library (rustls) of the `tls-...` parameters and
//! their files, all or nothing; connections keep the one that they began with. `stream` is the one
//! file that drives the library for clients; who may connect, and when handshakes run, is the
//! business of `net`.

mod certificate;
mod files;
mod outgoing;
mod sessions;
mod settings;
mod stream;
mod suites;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use engine::config::{Config, P};
use rustls::ClientConfig;

pub(crate) use certificate::client_names;
pub(crate) use outgoing::connect;
pub use outgoing::{ClientFiles, OutgoingStream, connect_tool};
pub(crate) use settings::Settings;
pub(crate) use stream::TlsStream;

/// The settings in force, and what happened with them.
#[derive(Default)]
pub struct Tls {
    current: ArcSwapOption<Settings>,
    /// Held while settings are made of files, so that the last change wins.
    changing: Mutex<()>,
    /// Clients whose certificates named no user that may log in.
    pub denied_certificates: AtomicU64,
}

/// What a look at the files has led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reload {
    /// They are as they were.
    Unchanged,
    /// Connections from now on use the new ones.
    Done,
    /// They are no good: the old ones stay in use.
    Failed(String),
}

impl Tls {
    /// The settings in force; nothing without TLS.
    pub(crate) fn settings(&self) -> Option<Arc<Settings>> {
        self.current.load_full()
    }

    /// The configuration of connections to other servers; nothing without TLS.
    pub(crate) fn client(&self) -> Option<Arc<ClientConfig>> {
        self.settings()?.client.clone()
    }

    /// Makes settings of the parameters and puts them in force; without TLS there are none.
    ///
    /// # Errors
    /// The reason why the parameters or their files are no good. The old settings stay in force.
    pub(crate) fn configure(&self, config: &Config) -> Result<(), String> {
        let _changing = self.lock();
        if !is_wanted(config) {
            self.current.store(None);
            return Ok(());
        }
        let settings = Settings::load(config)?;
        settings.announce();
        self.current.store(Some(Arc::new(settings)));
        Ok(())
    }

    /// The same if a file has changed since.
    pub(crate) fn reload(&self, config: &Config) -> Reload {
        let _changing = self.lock();
        let Some(current) = self.settings() else {
            return Reload::Unchanged;
        };
        if !current.have_files_changed(config) {
            return Reload::Unchanged;
        }
        match Settings::load(config) {
            Ok(settings) => {
                settings.announce();
                self.current.store(Some(Arc::new(settings)));
                Reload::Done
            }
            Err(reason) => Reload::Failed(reason),
        }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether anything is encrypted: connections of clients, or to other servers.
pub(crate) fn is_wanted(config: &Config) -> bool {
    config.int(P::TlsPort) != 0 || config.bool(P::TlsReplication) || config.bool(P::TlsCluster)
}
