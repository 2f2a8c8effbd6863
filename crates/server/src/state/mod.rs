//! What the server keeps of its jobs and of itself: data with the operations on it alone. The
//! functions that work on a whole server stand in the rooms above.

mod backups;
mod identity;
mod metrics;
mod migration;
mod random;
mod replication;
mod rewrites;
mod shutdown;
mod snapshots;

pub use backups::Backups;
pub use identity::Identity;
pub use metrics::InstantMetrics;
pub use migration::{Connection, Connections};
pub use random::random_u64;
pub use replication::ReplicationId;
pub use rewrites::Rewrites;
pub use shutdown::Shutdown;
pub use snapshots::{Job, Purpose, Snapshots};
