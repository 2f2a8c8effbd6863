//! The server around the engine: event loops and connections (`net`), jobs in the background
//! (`jobs`), INFO and the server's log (`observe`), the commands that concern the process
//! (`commands`), start and end (`start`, `os`).

pub mod boot;
pub mod commands;
pub mod jobs;
pub mod net;
pub mod observe;
pub mod os;
pub mod process;
pub mod server;
pub mod state;
pub mod transport;
