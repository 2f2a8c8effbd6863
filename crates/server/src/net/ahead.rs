//! Look-ahead: the lines that a batch of requests needs are brought into the cache together.

use keyspace::ValueRef;
use values::hash_seed::{Ahead, hash_of};
use values::stream::AheadOfAppend;

use super::round::{Batch, Pending};
use crate::server::Server;
use engine::execute::Held;

/// Second stage: the buckets of all keys, then the entries in them, and the collections behind
/// these. A prefetch of a page whose address is not in the TLB keeps the processor from retiring it
/// until that has been looked up: loops that do nothing else have several such look-ups under way.
pub(super) fn look(server: &Server, batch: &mut Batch, held: &Held<'_>) {
    let mut collections = false;
    for pending in &batch.pending {
        match (pending.hash, held) {
            (Some(hash), Some(locked)) => locked.prefetch_bucket(pending.db, hash),
            (Some(hash), None) => server.engine.keyspace.prefetch_bucket(pending.db, hash),
            (None, _) => {}
        }
    }
    for pending in &batch.pending {
        match (pending.hash, held) {
            (Some(hash), Some(locked)) => locked.prefetch_entry(pending.db, hash),
            (Some(hash), None) => server.engine.keyspace.prefetch_entry(pending.db, hash),
            (None, _) => {}
        }
        collections |= pending.is_for_collection();
    }
    if collections {
        look_into_collections(server, batch, held);
    }
}

/// Prefetches collections, which lie one pointer further, and the slot of the member in the table
/// of a large one.
fn look_into_collections(server: &Server, batch: &mut Batch, held: &Held<'_>) {
    let (mut indexed, mut streams) = (false, false);
    for pending in &mut batch.pending {
        if !pending.is_for_collection() {
            continue;
        }
        pending.has_index = match (pending.hash, held) {
            (Some(hash), Some(locked)) => locked.prefetch_value(pending.db, hash),
            (Some(hash), None) => server.engine.keyspace.prefetch_value(pending.db, hash),
            (None, _) => false,
        };
        indexed |= pending.has_index;
        streams |= pending.may_append();
    }
    if streams {
        look_at_ends_of_streams(server, batch, held);
    }
    if !indexed {
        return;
    }
    let mut large = false;
    let mut queue = std::mem::take(&mut batch.pending);
    for pending in &mut queue {
        let Some(place) = pending.member_place() else {
            continue;
        };
        let args = pending.args(batch);
        let member = args.ok().and_then(|args| args.get(place));
        let mut found = None;
        glance(server, pending, held, |value| {
            if let (Some(member), true) = (member, pays_to_look_ahead(value)) {
                let hash = *found.get_or_insert_with(|| hash_of(member));
                look_ahead(value, hash, Ahead::Bucket);
            }
        });
        pending.member = found;
        large |= found.is_some();
    }
    batch.pending = queue;
    for pending in batch.pending.iter().filter(|_| large) {
        if let Some(hash) = pending.member {
            glance(server, pending, held, |value| {
                look_ahead(value, hash, Ahead::Elements);
            });
        }
    }
}

/// Prefetches what an entry at the end of a stream needs, three pointers behind its value.
fn look_at_ends_of_streams(server: &Server, batch: &Batch, held: &Held<'_>) {
    for step in AheadOfAppend::ALL {
        for pending in batch.pending.iter().filter(|it| it.may_append()) {
            glance(server, pending, held, |value| {
                if let ValueRef::Stream(stream) = value {
                    stream.look_ahead(step);
                }
            });
        }
    }
}

fn glance(server: &Server, pending: &Pending, held: &Held<'_>, look: impl FnMut(ValueRef<'_>)) {
    match (pending.hash, held) {
        (Some(hash), Some(locked)) => locked.glance(pending.db, hash, look),
        (Some(hash), None) => server.engine.keyspace.glance(pending.db, hash, look),
        (None, _) => {}
    }
}

fn pays_to_look_ahead(value: ValueRef<'_>) -> bool {
    match value {
        ValueRef::Set(set) => set.pays_to_look_ahead(),
        ValueRef::ZSet(set) => set.pays_to_look_ahead(),
        ValueRef::Hash(hash) => hash.pays_to_look_ahead(),
        _ => false,
    }
}

fn look_ahead(value: ValueRef<'_>, hash: u64, step: Ahead) {
    match value {
        ValueRef::Set(set) => set.look_ahead(hash, step),
        ValueRef::ZSet(set) => set.look_ahead(hash, step),
        ValueRef::Hash(map) => map.look_ahead(hash, step),
        _ => {}
    }
}
