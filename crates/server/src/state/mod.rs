//! The state of the server and of its jobs: data with the operations on it alone. The functions
//! that work on a whole server stand in the rooms above.

mod backups;
mod failover;
mod handshakes;
mod http;
mod identity;
mod metrics;
mod migration;
mod origin;
mod random;
mod replication;
mod rewrites;
mod seats;
mod shutdown;
mod snapshots;

pub(crate) use backups::Backups;
pub(crate) use failover::{Failover, Phase};
pub(crate) use handshakes::{Handshakes, Running};
pub(crate) use http::{HTTP, Http};
pub use identity::Build;
pub(crate) use identity::Identity;
pub(crate) use metrics::InstantMetrics;
pub(crate) use migration::{Connection, Connections};
pub(crate) use origin::{DataOrigin, Product};
pub(crate) use random::{random_id, random_u64};
pub(crate) use replication::{FEEDER, Following, LinkState, Mail, Replication, SnapshotFile};
pub(crate) use rewrites::Rewrites;
pub(crate) use seats::Seats;
pub(crate) use shutdown::Shutdown;
pub(crate) use snapshots::Snapshots;
pub use snapshots::{Job, Purpose};
