//! The allocator and its statistics.
//!
//! Used memory is what the program has allocated, in the allocator's size classes. jemalloc counts
//! both directions per thread; each thread publishes the change since its last time with
//! [`publish`], once per turn of its loop, and the sum is one atomic number. That costs a few
//! nanoseconds while the total of jemalloc takes microseconds.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use tikv_jemalloc_sys as jemalloc;

/// The configuration of jemalloc at its start: freed pages go back to the system after a second
/// instead of ten, because while a data set grows, tables free as much as they take.
///
/// It does not request pages of 2 MB, although nothing here forks (which is why Redis avoids them):
/// a page fault that has to find and clear one takes milliseconds, which delays every growing data
/// set, and prefetched look-ups were no faster with them.
#[repr(transparent)]
struct MallocConf(Option<&'static c_char>);

// SAFETY: the name is the one that jemalloc looks for (its public symbols have the prefix of the
// crate), and the value is a C string that lives as long as the process, in a type of a pointer's
// layout.
#[unsafe(export_name = "_rjem_malloc_conf")]
/// Read by jemalloc before `main`.
static MALLOC_CONF: MallocConf = {
    const TEXT: &CStr = c"dirty_decay_ms:1000";
    // SAFETY: a C string has at least one byte.
    MallocConf(Some(unsafe { &*TEXT.as_ptr() }))
};

/// The alignment of every block of jemalloc. It is built with a quantum of 8 bytes (`lg_quantum`
/// 3), less than what Rust may request, so larger alignments are requested explicitly.
const QUANTUM: usize = 8;

/// The global allocator of the server.
///
/// ```ignore
/// #[global_allocator]
/// static ALLOCATOR: keyspace::memory::Jemalloc = keyspace::memory::Jemalloc;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Jemalloc;

#[inline]
fn flags(layout: Layout) -> c_int {
    if layout.align() <= QUANTUM {
        0
    } else {
        jemalloc::MALLOCX_ALIGN(layout.align())
    }
}

// SAFETY: blocks have the size and alignment of their layout, stay until they are freed, and
// nothing here unwinds.
unsafe impl GlobalAlloc for Jemalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: callers of `GlobalAlloc` give layouts whose size is not zero.
        unsafe {
            match flags(layout) {
                0 => jemalloc::malloc(layout.size()).cast(),
                flags => jemalloc::mallocx(layout.size(), flags).cast(),
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: callers of `GlobalAlloc` give layouts whose size is not zero.
        unsafe {
            match flags(layout) {
                0 => jemalloc::calloc(1, layout.size()).cast(),
                flags => jemalloc::mallocx(layout.size(), flags | jemalloc::MALLOCX_ZERO).cast(),
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: callers of `GlobalAlloc` free a block with the layout it was allocated with.
        unsafe { jemalloc::sdallocx(ptr.cast(), layout.size(), flags(layout)) }
    }

    #[inline]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the block was allocated with this layout, and the new size is not zero.
        unsafe {
            match flags(layout) {
                0 => jemalloc::realloc(ptr.cast(), new_size).cast(),
                flags => jemalloc::rallocx(ptr.cast(), new_size, flags).cast(),
            }
        }
    }
}

/// Bytes that a request for `bytes` really takes.
pub fn usable_size(bytes: usize) -> usize {
    // SAFETY: nallocx requires a size above zero and allocates nothing.
    unsafe { jemalloc::nallocx(bytes.max(1), 0) }
}

/// The sum of what all threads have published. Below zero only when a thread frees, and publishes,
/// before the thread that allocated has published.
static USED: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicU64 = AtomicU64::new(0);

/// jemalloc's counters of one thread, and what of them is in `USED`.
struct ThreadCounters {
    allocated: NonNull<u64>,
    deallocated: NonNull<u64>,
    published: Cell<i64>,
}

impl ThreadCounters {
    fn find() -> Option<ThreadCounters> {
        Some(ThreadCounters {
            allocated: counter(c"thread.allocatedp")?,
            deallocated: counter(c"thread.deallocatedp")?,
            published: Cell::new(0),
        })
    }

    fn publish(&self) {
        // SAFETY: jemalloc keeps the two numbers as long as the thread lives; only this thread, to
        // which `ThreadCounters` is bound as a thread-local value, writes them.
        let now = unsafe { self.allocated.read().wrapping_sub(self.deallocated.read()) } as i64;
        let change = now.wrapping_sub(self.published.replace(now));
        if change != 0 {
            let used = USED
                .fetch_add(change, Ordering::Relaxed)
                .wrapping_add(change);
            if let Ok(used) = u64::try_from(used)
                && used > PEAK.load(Ordering::Relaxed)
            {
                PEAK.fetch_max(used, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for ThreadCounters {
    /// Publishes the rest when a thread ends: its allocations outlive it.
    fn drop(&mut self) {
        self.publish();
    }
}

thread_local! {
    static COUNTERS: Option<ThreadCounters> = ThreadCounters::find();
}

fn counter(name: &CStr) -> Option<NonNull<u64>> {
    let mut pointer: *mut u64 = ptr::null_mut();
    // SAFETY: these two names answer with a pointer to a 64-bit number.
    unsafe { read_value(name, &mut pointer) }
        .then(|| NonNull::new(pointer))
        .flatten()
}

/// Adds what this thread has allocated and freed since its last call to the published sum. Every
/// thread that allocates or frees lasting data calls it now and then (a worker once per turn of its
/// loop); when a thread ends that has called it, the rest is published by itself.
#[inline]
pub fn publish() {
    // During the thread's end the counters are gone, and have been published.
    let _ = COUNTERS.try_with(|counters| {
        if let Some(counters) = counters {
            counters.publish();
        }
    });
}

/// Bytes in use, as far as published; this thread's own changes are published first.
pub fn used() -> u64 {
    publish();
    u64::try_from(USED.load(Ordering::Relaxed)).unwrap_or(0)
}

/// Whether the memory of the program is counted: its global allocator is [`Jemalloc`].
pub fn is_counted() -> bool {
    /// More than a thread keeps ready without counting it.
    const PROBE_BYTES: usize = 64 * 1024;
    let allocated = || counter(c"thread.allocatedp");
    let read = |counter: NonNull<u64>| {
        // SAFETY: jemalloc keeps the number as long as the thread lives, which writes it alone.
        unsafe { counter.read() }
    };
    let Some(counter) = allocated() else {
        return false;
    };
    let before = read(counter);
    drop(std::hint::black_box(Vec::<u8>::with_capacity(PROBE_BYTES)));
    read(counter) != before
}

/// The most bytes that were in use at any publication.
pub fn peak() -> u64 {
    PEAK.load(Ordering::Relaxed)
}

/// Makes the peak the present use: `CONFIG RESETSTAT`.
pub fn reset_peak() {
    PEAK.store(used(), Ordering::Relaxed);
}

/// Bytes of the process in physical memory. Where the system has no such number, the bytes that
/// jemalloc holds.
pub fn rss() -> u64 {
    resident_set().unwrap_or_else(|| AllocatorStats::read().resident)
}

#[cfg(target_os = "linux")]
fn resident_set() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    // SAFETY: sysconf has no preconditions.
    let page_size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages.checked_mul(u64::try_from(page_size).ok()?)
}

#[cfg(not(target_os = "linux"))]
fn resident_set() -> Option<u64> {
    None
}

/// Statistics of jemalloc, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllocatorStats {
    /// In blocks that the program holds.
    pub allocated: u64,
    /// In pages that have such blocks.
    pub active: u64,
    /// In physical memory, as counted by jemalloc.
    pub resident: u64,
    /// In jemalloc's own bookkeeping.
    pub metadata: u64,
    /// In chunks that are mapped for use.
    pub mapped: u64,
    /// In address space that is kept but not in physical memory.
    pub retained: u64,
    /// In free pages that the system may take back at any time.
    pub muzzy: u64,
}

impl AllocatorStats {
    /// Reads the present numbers. Takes some microseconds.
    pub fn read() -> AllocatorStats {
        refresh();
        let page = number(c"arenas.page");
        AllocatorStats {
            allocated: number(c"stats.allocated"),
            active: number(c"stats.active"),
            resident: number(c"stats.resident"),
            metadata: number(c"stats.metadata"),
            mapped: number(c"stats.mapped"),
            retained: number(c"stats.retained"),
            // 4096 stands for all arenas together.
            muzzy: number(c"stats.arenas.4096.pmuzzy").saturating_mul(page),
        }
    }
}

/// Makes jemalloc sum its statistics up anew.
fn refresh() {
    let mut epoch: u64 = 1;
    let mut size = size_of::<u64>();
    let value: *mut c_void = ptr::from_mut(&mut epoch).cast();
    // SAFETY: "epoch" reads and writes a 64-bit number.
    unsafe { jemalloc::mallctl(c"epoch".as_ptr(), value, &mut size, value, size) };
}

/// A `size_t` by name, 0 when jemalloc does not have it.
fn number(name: &CStr) -> u64 {
    let mut value: usize = 0;
    // SAFETY: all names used here answer with a `size_t`.
    if unsafe { read_value(name, &mut value) } {
        value as u64
    } else {
        0
    }
}

/// Reads a value by name. False when jemalloc does not have it or it has another size.
///
/// # Safety
/// Every bit pattern that the name may answer is a valid `T`.
unsafe fn read_value<T>(name: &CStr, value: &mut T) -> bool {
    let mut size = size_of::<T>();
    // SAFETY: jemalloc writes at most `size` bytes to `value`.
    let error = unsafe {
        jemalloc::mallctl(
            name.as_ptr(),
            ptr::from_mut(value).cast(),
            &mut size,
            ptr::null_mut(),
            0,
        )
    };
    error == 0 && size == size_of::<T>()
}

/// The version of jemalloc that is linked, as `5.3.0`.
pub fn version() -> Option<&'static str> {
    let mut text: *const c_char = ptr::null();
    // SAFETY: "version" answers with a pointer, and null is one.
    if !unsafe { read_value(c"version", &mut text) } || text.is_null() {
        return None;
    }
    // SAFETY: the pointer is that of a C string that lives as long as the process.
    let text = unsafe { CStr::from_ptr(text) }.to_str().ok()?;
    // Behind it stand the commits since that version and the last one.
    text.split('-').next()
}

/// Gives unused memory back to the system: `MEMORY PURGE`. False when jemalloc refused.
pub fn purge() -> bool {
    // The caches of other threads cannot be emptied from here; 4096 stands for all arenas.
    [c"thread.tcache.flush", c"arena.4096.purge"]
        .iter()
        .all(|name| {
            // SAFETY: both names take and give nothing.
            unsafe {
                jemalloc::mallctl(
                    name.as_ptr(),
                    ptr::null_mut(),
                    ptr::null_mut(),
                    ptr::null_mut(),
                    0,
                ) == 0
            }
        })
}

/// Lets jemalloc return memory in a thread of its own, or not: `jemalloc-bg-thread`. False when it
/// refused.
pub fn set_background_thread(enabled: bool) -> bool {
    let mut enabled = enabled;
    let value: *mut c_void = ptr::from_mut(&mut enabled).cast();
    // SAFETY: "background_thread" takes a C bool, which is Rust's.
    unsafe {
        jemalloc::mallctl(
            c"background_thread".as_ptr(),
            ptr::null_mut(),
            ptr::null_mut(),
            value,
            size_of::<bool>(),
        ) == 0
    }
}

/// The full report of jemalloc: `MEMORY MALLOC-STATS`.
pub fn malloc_stats() -> String {
    let mut text = String::new();
    // SAFETY: the callback gets `text` back, which outlives the call, and a C string.
    unsafe {
        jemalloc::malloc_stats_print(Some(collect), ptr::from_mut(&mut text).cast(), ptr::null())
    };
    text
}

/// # Safety
/// `text` is a `String` that nothing else uses, `part` a C string.
unsafe extern "C" fn collect(text: *mut c_void, part: *const c_char) {
    // SAFETY: jemalloc calls this with the `String` that `malloc_stats` gave it, and a C string.
    unsafe { (*text.cast::<String>()).push_str(&CStr::from_ptr(part).to_string_lossy()) }
}
