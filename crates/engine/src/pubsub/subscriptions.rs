//! What one client is subscribed to.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::client::ClientShared;

/// What can be subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// SUBSCRIBE
    Channel,
    /// PSUBSCRIBE
    Pattern,
    /// SSUBSCRIBE
    ShardChannel,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Channel, Self::Pattern, Self::ShardChannel];
}

type Names = HashSet<Arc<[u8]>, foldhash::fast::RandomState>;

/// The subscriptions of a client. The names are shared with the registry.
#[derive(Debug, Default)]
pub struct Subscriptions {
    channels: Names,
    patterns: Names,
    shard_channels: Names,
    /// Bytes of all names.
    name_bytes: usize,
}

impl Subscriptions {
    fn set(&self, kind: Kind) -> &Names {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::ShardChannel => &self.shard_channels,
        }
    }

    fn set_mut(&mut self, kind: Kind) -> &mut Names {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::ShardChannel => &mut self.shard_channels,
        }
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        Kind::ALL.iter().all(|kind| self.set(*kind).is_empty())
    }

    /// How many there are of one kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.set(kind).len()
    }

    /// What a confirmation counts: channels and patterns together, shard channels apart.
    pub fn count_with(&self, kind: Kind) -> usize {
        match kind {
            Kind::Channel | Kind::Pattern => self.channels.len() + self.patterns.len(),
            Kind::ShardChannel => self.shard_channels.len(),
        }
    }

    /// The channels or patterns of one kind.
    pub fn names(&self, kind: Kind) -> Vec<Arc<[u8]>> {
        self.set(kind).iter().cloned().collect()
    }

    pub(super) fn has(&self, kind: Kind, name: &[u8]) -> bool {
        self.set(kind).contains(name)
    }

    pub(super) fn insert(&mut self, kind: Kind, name: Arc<[u8]>) {
        self.name_bytes += name.len();
        self.set_mut(kind).insert(name);
    }

    pub(super) fn remove(&mut self, kind: Kind, name: &[u8]) -> bool {
        let removed = self.set_mut(kind).remove(name);
        if removed {
            self.name_bytes -= name.len();
        }
        removed
    }

    /// Publishes the numbers for CLIENT LIST.
    pub(super) fn publish(&self, client: &ClientShared) {
        let figures = &client.figures;
        let places = [
            (&figures.sub, Kind::Channel),
            (&figures.psub, Kind::Pattern),
            (&figures.ssub, Kind::ShardChannel),
        ];
        for (figure, kind) in places {
            figure.store(self.count(kind), Ordering::Relaxed);
        }
    }

    /// Heap memory of the sets, with the names, in bytes.
    pub fn memory_usage(&self) -> usize {
        let places: usize = Kind::ALL
            .iter()
            .map(|kind| self.set(*kind).capacity())
            .sum();
        size_of::<Self>() + self.name_bytes + places * (size_of::<Arc<[u8]>>() + 1)
    }
}
