//! The subscribers of one channel or pattern.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::client::ClientShared;

/// From this many subscribers on their places are kept in a table: looking for one of fewer in the
/// list is faster.
const INDEXED_MIN: usize = 32;

/// Apart, so that a list without it has no room for it.
#[derive(Default)]
struct Places(HashMap<u64, usize, foldhash::fast::RandomState>);

/// Clients, each of them once.
#[derive(Default)]
pub(super) struct Subscribers {
    list: SmallVec<[Arc<ClientShared>; 2]>,
    /// Index in `list` by the id of the client.
    places: Option<Box<Places>>,
}

impl Subscribers {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<ClientShared>> {
        self.list.iter()
    }

    /// Adds a client that is not among them.
    pub(super) fn add(&mut self, client: &Arc<ClientShared>) {
        let place = self.list.len();
        self.list.push(Arc::clone(client));
        match &mut self.places {
            Some(places) => {
                places.0.insert(client.id, place);
            }
            None if self.list.len() >= INDEXED_MIN => {
                let ids = self.list.iter().map(|client| client.id);
                self.places = Some(Box::new(Places(ids.zip(0..).collect())));
            }
            None => {}
        }
    }

    pub(super) fn remove(&mut self, client: &ClientShared) {
        let place = match &mut self.places {
            Some(places) => places.0.remove(&client.id),
            None => self.list.iter().position(|other| other.id == client.id),
        };
        let Some(place) = place else { return };
        self.list.swap_remove(place);
        if let (Some(places), Some(moved)) = (&mut self.places, self.list.get(place)) {
            places.0.insert(moved.id, place);
        }
        if self.list.len() < INDEXED_MIN / 2 {
            self.places = None;
            self.list.shrink_to_fit();
        }
    }
}
