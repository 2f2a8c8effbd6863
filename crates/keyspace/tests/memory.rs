//! The account of memory, with the allocator of the server.

use keyspace::memory::{self, AllocatorStats, Jemalloc};
use keyspace::{DatabaseStats, Keyspace, NewValue, Options};
use std::alloc::{GlobalAlloc, Layout};
use std::sync::{Mutex, MutexGuard};

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Held by a test to run alone, because the sum is of the whole process. Dropped last, it publishes
/// what the test has freed, so that the next one begins with a settled sum.
struct Alone {
    _guard: MutexGuard<'static, ()>,
}

fn alone() -> Alone {
    static ALONE: Mutex<()> = Mutex::new(());
    Alone {
        _guard: ALONE.lock().unwrap_or_else(|error| error.into_inner()),
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        memory::publish();
    }
}

#[test]
fn use_follows_what_is_allocated() {
    let _alone = alone();
    let before = memory::used();
    let block = vec![1u8; 10_000_000];
    let during = memory::used();
    assert!(during >= before + 10_000_000, "{before} {during}");
    assert!(memory::peak() >= during);
    drop(block);
    let after = memory::used();
    assert!(after < before + 1_000_000, "{before} {after}");
    assert!(memory::peak() >= during);
    memory::reset_peak();
    assert!(memory::peak() < during);
}

#[test]
fn a_thread_leaves_its_count_behind() {
    let _alone = alone();
    let before = memory::used();
    let block = std::thread::spawn(|| {
        memory::publish();
        vec![1u8; 20_000_000]
    });
    let block = block.join().unwrap();
    assert!(memory::used() >= before + 20_000_000);
    std::thread::spawn(move || {
        memory::publish();
        drop(block);
    })
    .join()
    .unwrap();
    assert!(memory::used() < before + 1_000_000);
}

#[test]
fn blocks_have_the_alignment_they_were_asked_for() {
    let _alone = alone();
    for align in [1, 2, 4, 8, 16, 32, 64, 4096, 1 << 16] {
        for size in [1, 7, 8, 16, 24, 40, 48, 100, 1000, 10_000, 100_000] {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: the sizes are not zero; blocks are used within them and freed with their
            // layout.
            unsafe {
                let block = Jemalloc.alloc(layout);
                assert!(!block.is_null() && block.addr().is_multiple_of(align));
                block.write_bytes(1, size);
                let block = Jemalloc.realloc(block, layout, size * 3);
                assert!(!block.is_null() && block.addr().is_multiple_of(align));
                assert_eq!((*block, *block.add(size - 1)), (1, 1));
                Jemalloc.dealloc(block, Layout::from_size_align(size * 3, align).unwrap());
                let block = Jemalloc.alloc_zeroed(layout);
                assert!(!block.is_null() && block.addr().is_multiple_of(align));
                assert!((0..size).all(|i| *block.add(i) == 0));
                Jemalloc.dealloc(block, layout);
            }
        }
    }
}

/// The layout of entries relies on the size classes that jemalloc is built with.
#[test]
fn size_classes_are_what_the_entries_rely_on() {
    for bytes in (1..5_000).chain([65_536, 70_000, 1 << 20, (1 << 20) + 1]) {
        // SAFETY: nallocx has no precondition but a size above zero.
        let class = unsafe { tikv_jemalloc_sys::nallocx(bytes, 0) };
        assert_eq!(memory::usable_size(bytes), class, "{bytes}");
    }
}

#[test]
fn the_allocator_tells_about_itself() {
    let _alone = alone();
    let stats = AllocatorStats::read();
    assert!(stats.allocated > 0 && stats.allocated <= stats.active && stats.active <= stats.mapped);
    assert!(stats.resident > 0 && stats.metadata > 0);
    assert!(memory::rss() > 1_000_000);
    assert!(memory::malloc_stats().contains("jemalloc"));
    assert!(memory::purge());
}

#[test]
fn entries_take_what_they_say() {
    let _alone = alone();
    let keyspace: Keyspace = Keyspace::new(Options {
        shards: 16,
        databases: 1,
        hash_seed: [1, 2],
    });
    let before = memory::used();
    let mut locked = keyspace.lock_all();
    for number in 0..100_000u32 {
        let key = format!("key:{number:012}");
        let hash = keyspace.hash(key.as_bytes());
        let shard = locked.shard_mut(hash).unwrap();
        shard.put(
            0,
            hash,
            key.as_bytes(),
            NewValue::Bytes(b"12345x78"),
            None,
            0,
        );
    }
    drop(locked);
    let used = memory::used() - before;
    let mut stats = DatabaseStats::default();
    for shard in keyspace.lock_all().shards() {
        stats += shard.stats(0);
    }
    assert_eq!(stats.block_bytes, 100_000 * 32);
    let counted = (stats.block_bytes + stats.table_bytes) as u64;
    assert!(used.abs_diff(counted) < used / 50, "{used} {counted}");
}
