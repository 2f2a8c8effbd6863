//! The server around the engine: event loops and connections (`net`), jobs in the background
//! (`snapshot`, `rewrite`, `backup`, `loading`, `migration`), observation (`info`, `logging`), the
//! commands that concern the process (`commands`), start and end (`start`, `process`).

pub mod backup;
pub mod commands;
pub mod config;
mod entropy;
mod image;
pub mod info;
pub mod loading;
pub mod logging;
pub mod migration;
pub mod net;
pub mod process;
pub mod rewrite;
pub mod server;
pub mod snapshot;
pub mod start;
