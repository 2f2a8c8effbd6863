//! Lodestore inside another program: start a server on a free port, talk to it over TCP, stop it.
//!
//! ```no_run
//! let server = lodestore::Embedded::start(&[("appendonly", "no")])?;
//! println!("listening on port {}", server.port());
//! server.stop();
//! # Ok::<(), lodestore::EmbedError>(())
//! ```

use std::net::TcpListener;

pub use engine::config::LoadError;
pub use server::{Instance, StartError};

/// What this program was built from.
pub const BUILD: server::Build = server::Build {
    commit: env!("BUILD_COMMIT"),
    is_modified: matches!(env!("BUILD_MODIFIED").as_bytes(), b"1"),
    variant: env!("BUILD_VARIANT"),
};

/// Why an embedded server did not start.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// A parameter is wrong.
    #[error("{0}")]
    Config(#[from] LoadError),
    /// The server could not start.
    #[error("{0}")]
    Start(#[from] StartError),
    /// No free port was found.
    #[error("no free port: {0}")]
    Port(#[from] std::io::Error),
}

/// A server inside this process.
pub struct Embedded {
    instance: Instance,
    port: u16,
}

impl Embedded {
    /// Starts a server on a free port of the loopback interface, with parameters as in a
    /// configuration file (`("maxmemory", "100mb")`). Files are written to `dir`, by default the
    /// working directory.
    ///
    /// # Errors
    /// When a parameter is wrong, or the data cannot be loaded, or no port is free.
    pub fn start(options: &[(&str, &str)]) -> Result<Self, EmbedError> {
        let port = free_port()?;
        let text = port.to_string();
        let mut all = vec![("bind", "127.0.0.1"), ("port", text.as_str())];
        all.extend_from_slice(options);
        let config = server::config::with_options(&all)?;
        let instance = Instance::start(config, BUILD)?;
        Ok(Self { instance, port })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops the server and waits until its log is closed. Returns the exit code of a process that
    /// ended so.
    pub fn stop(self) -> i32 {
        self.instance.stop(0);
        self.instance.wait()
    }
}

fn free_port() -> std::io::Result<u16> {
    // The port is free again when the listener is dropped; another process may take it meanwhile,
    // and starting then fails with a clear error.
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
