//! The server around the engine, in rooms that import downwards only:
//!
//! ```text
//! boot       builds, starts and joins a server
//! local      clients in the process of the server
//! commands   commands that concern the process
//! http       metrics and health over HTTP
//! process    listening sockets, timers, signals, shutdown, parameters at run time
//! net        event loops             observe    INFO, the server's log
//! replication  feeds replicas
//! jobs       snapshots, AOF rewrites, backups, loading
//! server     what the threads of a server share
//! state      the parts of a server
//! transport  sockets, connections, mailboxes of workers
//! config     configuration files, the command line, CONFIG REWRITE
//! tls        configuration of TLS, encrypted sockets
//! os         the process and the operating system
//! machine    the memory there is
//! ```

mod boot;
mod commands;
pub mod config;
mod http;
mod jobs;
mod local;
mod machine;
mod net;
mod observe;
mod os;
mod process;
mod replication;
mod server;
mod state;
mod tls;
mod transport;

pub use boot::{Instance, StartError, limit_clients};
pub use jobs::loading::LoadError;
pub use jobs::snapshot::{Form, Output, SnapshotError, Walk, begin as begin_snapshot};
pub use local::{CallError, LocalClient, close, connect};
pub use observe::info::memory::allocator;
pub use observe::logging::start as start_logging;
pub use os::{daemonize, disable_huge_pages, report_crashes, take_title};
pub use process::huge_pages::make_huge_pages;
pub use process::listen::ListenError;
pub use process::signals::handle_signals;
pub use server::Server;
pub use state::{Build, Job, Purpose};
pub use tls::{ClientFiles, OutgoingStream, connect_tool};
