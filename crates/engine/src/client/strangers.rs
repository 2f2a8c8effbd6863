//! Clients that have not authenticated yet, by age and by address.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::{ClientShared, Peer};

/// Clients of one address that may be unauthenticated at a time. A pool, or many hosts behind one
/// address, can connect by hundreds at once and authenticate within milliseconds.
pub(super) const STRANGERS_PER_ADDRESS: usize = 1_024;

/// Invariant: each id of `by_address` stands in `by_id`, under its client's address.
#[derive(Default)]
pub(super) struct Strangers {
    by_id: BTreeMap<u64, Arc<ClientShared>>,
    by_address: HashMap<IpAddr, BTreeSet<u64>>,
}

impl Strangers {
    pub(super) fn insert(&mut self, client: Arc<ClientShared>) {
        if let Some(address) = address(&client.peer) {
            let ids = self.by_address.entry(address).or_default();
            ids.insert(client.id);
        }
        self.by_id.insert(client.id, client);
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Arc<ClientShared>> {
        let client = self.by_id.remove(&id)?;
        if let Some(address) = address(&client.peer)
            && let Some(ids) = self.by_address.get_mut(&address)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_address.remove(&address);
            }
        }
        Some(client)
    }

    /// The client that connected first, of all.
    pub(super) fn oldest(&self) -> Option<&Arc<ClientShared>> {
        self.by_id.first_key_value().map(|(_, client)| client)
    }

    /// The client that connected first from the address of `peer`, when that has too many.
    pub(super) fn one_too_many(&self, peer: &Peer) -> Option<u64> {
        let ids = self.by_address.get(&address(peer)?)?;
        if ids.len() <= STRANGERS_PER_ADDRESS {
            return None;
        }
        ids.first().copied()
    }
}

/// The address that a client counts for. In IPv6 that is its network of 64 bits, which one host can
/// have for itself.
fn address(peer: &Peer) -> Option<IpAddr> {
    let Peer::Tcp(address) = peer else {
        return None;
    };
    Some(match address.ip().to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => {
            let network = u128::from(ip) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(id: u64, address: &str) -> Arc<ClientShared> {
        let peer = Peer::Tcp(address.parse().expect("an address"));
        Arc::new(ClientShared::new(id, peer, &Peer::None, -1, id, 0))
    }

    #[test]
    fn an_address_has_one_too_many() {
        let mut strangers = Strangers::default();
        let last = STRANGERS_PER_ADDRESS as u64;
        for id in 1..=last {
            // Hosts of one network, and as many of others.
            strangers.insert(client(id, &format!("[2001:db8::{id:x}]:{id}")));
            let address = format!("[2001:db8:0:{id:x}::1]:{id}");
            strangers.insert(client(last + id, &address));
        }
        let newest = client(3 * last, "[2001:db8::1]:1");
        assert_eq!(strangers.one_too_many(&newest.peer), None);
        strangers.insert(Arc::clone(&newest));
        assert_eq!(strangers.one_too_many(&newest.peer), Some(1));
        assert_eq!(strangers.one_too_many(&Peer::None), None);
        assert_eq!(strangers.remove(1).map(|client| client.id), Some(1));
        assert_eq!(strangers.one_too_many(&newest.peer), None);
        assert_eq!(strangers.oldest().map(|client| client.id), Some(2));
        for id in 2..=3 * last {
            strangers.remove(id);
        }
        assert!(strangers.oldest().is_none());
        assert!(strangers.by_address.is_empty());
    }
}
