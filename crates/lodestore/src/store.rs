//! Opening and closing a store.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::config::P;
use server::Instance;

use crate::client::Client;
use crate::connection::Connection;
use crate::error::{Error, OpenError};
use crate::running::Running;

/// A data store in this process.
#[derive(Clone)]
pub struct Store {
    running: Arc<Running>,
    port: Option<u16>,
}

impl Store {
    /// Opens the data in a directory, which is made when it is not there: what an append-only file
    /// or a snapshot in it holds is loaded, and every change is in the append-only file before its
    /// call returns, as with a server on its defaults.
    ///
    /// # Errors
    /// The data cannot be loaded, or the directory cannot be written. See [`OpenError`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let dir = std::env::temp_dir().join(format!("lodestore-doc-{}", std::process::id()));
    /// lodestore::Store::open(&dir)?.client().incr("starts", 1)?;
    /// let store = lodestore::Store::open(&dir)?;
    /// assert_eq!(store.client().incr("starts", 1)?, 2);
    /// store.close()?;
    /// std::fs::remove_dir_all(&dir)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, OpenError> {
        Options::new().dir(dir).open()
    }

    /// A store without files.
    ///
    /// # Errors
    /// The system has no thread or descriptor to spare.
    pub fn in_memory() -> Result<Self, OpenError> {
        Options::new().open()
    }

    /// Options, for [`Options::open`].
    pub fn options() -> Options {
        Options::new()
    }

    /// A client that runs commands on the calling thread. It is a value of its own: with its
    /// selected database, its transaction and its watched keys. Making one takes about a
    /// microsecond; a thread keeps it.
    pub fn client(&self) -> Client {
        Client::new(Arc::clone(&self.running))
    }

    /// A connection, for commands that wait and for messages.
    ///
    /// # Errors
    /// The system has no descriptor to spare, or the default user has a password
    /// ([`Store::stream`] then, and AUTH).
    pub fn connect(&self) -> Result<Connection, Error> {
        Connection::new(self.stream()?, Arc::clone(&self.running))
    }

    /// A connection as a socket, for other client libraries.
    ///
    /// # Errors
    /// The system has no descriptor to spare.
    pub fn stream(&self) -> io::Result<UnixStream> {
        server::connect(self.running.server())
    }

    /// The TCP port that [`Options::port`] asked for.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Bytes that the program has allocated; 0 in a program with another allocator than
    /// [`crate::Jemalloc`].
    pub fn used_memory(&self) -> u64 {
        keyspace::memory::used()
    }

    /// Closes the store in order: the append-only file is synced, with save points a snapshot is
    /// written, connections end. Calls of clients fail from then on.
    ///
    /// # Errors
    /// Something could not be written.
    pub fn close(self) -> io::Result<()> {
        match self.running.close() {
            true => Ok(()),
            false => Err(io::Error::other(
                "the store could not write all of its data; the log has the reason",
            )),
        }
    }
}

/// How a store is opened.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = lodestore::Store::options()
///     .set("maxmemory-policy", "allkeys-lru")
///     .set("notify-keyspace-events", "Ex")
///     .port(0)
///     .open()?;
/// println!("redis-cli -p {}", store.port().unwrap_or(0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Options {
    dir: Option<PathBuf>,
    port: Option<u16>,
    parameters: Vec<(String, String)>,
}

impl Options {
    /// A store without files and without a port.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps the data in a directory: the append-only file is on, as on a server.
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Serves the store on a TCP port of the loopback interface as well; 0 takes a free one.
    /// Another interface is a matter of `set("bind", ...)`, with a password.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Sets a parameter as in a configuration file. The last of a name counts.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.parameters.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Opens the store.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(self) -> Result<Store, OpenError> {
        let port = self.port.map(free_port).transpose();
        let port = port.map_err(server::StartError::Io)?;
        let dir = self.dir.as_deref().map(made).transpose()?;
        let mut all = vec![
            ("bind".to_owned(), "127.0.0.1".to_owned()),
            ("port".to_owned(), port.unwrap_or(0).to_string()),
        ];
        match dir {
            Some(dir) => all.push(("dir".to_owned(), dir)),
            None => all.push(("appendonly".to_owned(), "no".to_owned())),
        }
        if self.dir.is_none() {
            all.push(("save".to_owned(), String::new()));
        }
        all.extend(self.parameters);
        let all: Vec<(&str, &str)> = all.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let config = server::config::with_options(&all)?;
        if config.size(P::Maxmemory) > 0 && !keyspace::memory::is_counted() {
            return Err(OpenError::Uncounted);
        }
        let seats = std::thread::available_parallelism().map_or(1, usize::from);
        let instance = Instance::start_with_seats(config, crate::BUILD, seats)?;
        Ok(Store {
            running: Arc::new(Running::new(instance)),
            port,
        })
    }
}

/// The directory, made when it is not there.
fn made(dir: &Path) -> Result<String, OpenError> {
    let path = dir.display().to_string();
    match std::fs::create_dir_all(dir) {
        Ok(()) => Ok(path),
        Err(error) => Err(OpenError::Directory { path, error }),
    }
}

fn free_port(port: u16) -> io::Result<u16> {
    if port != 0 {
        return Ok(port);
    }
    // The port is free again when the listener is dropped; another process may take it meanwhile,
    // and starting then fails with a clear error.
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
