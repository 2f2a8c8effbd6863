//! Pages of 2 MiB for memory that is full.
//!
//! Random access to gigabytes in pages of 4 KiB waits for the tables of addresses more than for the
//! data. Redis avoids huge pages, because after a fork the first write to one copies all of it;
//! nothing forks here. What remains is the page fault that has to find and clear one: it takes
//! milliseconds. So no page is huge from the beginning. A thread looks for ranges of 2 MiB that are
//! full of small pages, and requests the kernel to copy each into a huge one (MADV_COLLAPSE, since
//! Linux 6.1). Another thread that touches the range meanwhile waits for one such copy, a fraction
//! of a millisecond.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use super::sys;

const SMALL: u64 = 4 * 1024;
/// The one size that is used: larger ones of other processors are never full.
const HUGE: u64 = 2 * 1024 * 1024;
/// Small pages of a huge one.
const PAGES: usize = (HUGE / SMALL) as usize;

/// A range with so many pages counts as full. The rest is filled with zero bytes: 3 % more memory
/// at most.
const FULL: usize = PAGES - PAGES / 32;

/// Bit 63 of an entry of the page map: the page is in memory.
const PRESENT: u64 = 1 << 63;

/// Neighbouring ranges in one call, at most. The kernel empties the queues of all processors at the
/// beginning of each.
const RANGES_PER_CALL: u64 = 8;

/// Least rest after a call, for each range: 100 MB/s.
const REST_PER_RANGE: Duration = Duration::from_millis(20);
/// The thread takes a twentieth of a processor at most, and so does whatever waits for it.
const RESTS_PER_CALL: u32 = 20;
/// Longest rest: a call takes long on a busy machine, but mostly waits.
const REST_MAX: Duration = Duration::from_millis(500);

/// Single ranges may be of a kind that the kernel leaves alone. When it has refused more of them
/// than this and accepted none, it makes no huge pages.
const REFUSALS_MAX: usize = 8;

/// The directory of the settings of huge pages.
const SETTINGS: &str = "/sys/kernel/mm/transparent_hugepage";

/// Whether a page fault may make a huge page without a request.
pub(super) fn are_made_by_faults() -> bool {
    let setting = fs::read_to_string(format!("{SETTINGS}/enabled"));
    setting.is_ok_and(|setting| setting.contains("[always]"))
}

/// The end of a walk over the memory of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walk {
    /// All full ranges are in huge pages.
    Done,
    /// The caller has stopped it.
    Stopped,
    /// The kernel has no memory to make huge pages of.
    Short,
    /// The kernel makes none.
    Refused,
}

/// A rest of a walk.
pub(crate) struct Rest {
    /// How long the kernel took before it.
    pub(crate) behind: Duration,
    /// How long it is to be.
    pub(crate) length: Duration,
    /// Bytes in huge pages so far, as far as known.
    pub(crate) covered: u64,
}

/// The memory of this process.
pub(crate) struct Memory {
    page_map: File,
    /// Ranges, by number of [`HUGE`], that are in a huge page as far as known.
    huge: HashSet<u64>,
}

impl Memory {
    /// `None` where there are no huge pages, or where they are switched off.
    pub(crate) fn open() -> Option<Self> {
        let setting = |name: &str| fs::read_to_string(format!("{SETTINGS}/{name}")).ok();
        if setting("enabled")?.contains("[never]") {
            return None;
        }
        let size: u64 = setting("hpage_pmd_size")?.trim().parse().ok()?;
        (size == HUGE && sys::page_size() == SMALL).then_some(())?;
        Some(Self {
            page_map: File::open("/proc/self/pagemap").ok()?,
            huge: HashSet::new(),
        })
    }

    /// Puts full ranges into huge pages, with a rest after each few. `rest` returns false to stop.
    pub(crate) fn walk(&mut self, mut rest: impl FnMut(&Rest) -> bool) -> io::Result<Walk> {
        let mut refused = 0;
        for region in regions(&fs::read_to_string("/proc/self/maps")?) {
            let mut numbers = region.start.div_ceil(HUGE)..region.end / HUGE;
            while let Some(run) = self.next_run(&mut numbers)? {
                let began = Instant::now();
                let ranges = run.end - run.start;
                let result = sys::collapse(run.start * HUGE, ranges * HUGE);
                match result.map_err(|error| error.raw_os_error()) {
                    Ok(()) => self.huge.extend(run),
                    // The kernel uses some of the pages at the moment.
                    Err(Some(libc::EBUSY | libc::EAGAIN)) => {}
                    Err(Some(libc::ENOMEM)) => return Ok(Walk::Short),
                    Err(_) => refused += 1,
                }
                if refused > REFUSALS_MAX && self.huge.is_empty() {
                    return Ok(Walk::Refused);
                }
                let least = REST_PER_RANGE * ranges as u32;
                let behind = began.elapsed();
                let now = Rest {
                    behind,
                    length: (behind * RESTS_PER_CALL).clamp(least, REST_MAX),
                    covered: self.huge.len() as u64 * HUGE,
                };
                if !rest(&now) {
                    return Ok(Walk::Stopped);
                }
            }
        }
        Ok(Walk::Done)
    }

    /// The next full ranges side by side that are not in huge pages as far as known.
    fn next_run(&mut self, numbers: &mut Range<u64>) -> io::Result<Option<Range<u64>>> {
        let mut run: Option<Range<u64>> = None;
        for number in numbers {
            let is_full = self.present(number)? >= FULL;
            if !is_full {
                self.huge.remove(&number);
            }
            let is_wanted = is_full && !self.huge.contains(&number);
            match &mut run {
                None if is_wanted => run = Some(number..number + 1),
                None => continue,
                Some(run) if is_wanted => run.end = number + 1,
                Some(_) => break,
            }
            if run
                .as_ref()
                .is_some_and(|it| it.end - it.start == RANGES_PER_CALL)
            {
                break;
            }
        }
        Ok(run)
    }

    /// Bytes in huge pages, as the kernel counts them. Where they are clearly fewer than were made,
    /// memory was freed and filled again: the next walk tries all ranges.
    pub(crate) fn covered(&mut self) -> io::Result<u64> {
        let covered = covered(&fs::read_to_string("/proc/self/smaps_rollup")?);
        let made = self.huge.len() as u64 * HUGE;
        if covered < made - made / 8 {
            self.huge.clear();
        }
        Ok(covered)
    }

    /// How many pages of a range are in memory.
    fn present(&self, number: u64) -> io::Result<usize> {
        let mut entries = [0; PAGES * size_of::<u64>()];
        let offset = number * PAGES as u64 * size_of::<u64>() as u64;
        self.page_map.read_exact_at(&mut entries, offset)?;
        let (words, _) = entries.as_chunks();
        let is_present = |word: &&[u8; 8]| u64::from_ne_bytes(**word) & PRESENT != 0;
        Ok(words.iter().filter(is_present).count())
    }
}

/// The regions of private memory that belong to no file, from `/proc/self/maps`:
///
/// ```text
/// 7f2c00000000-7f2c40000000 rw-p 00000000 00:00 0
/// ```
fn regions(maps: &str) -> Vec<Range<u64>> {
    let address = |text: &str| u64::from_str_radix(text, 16).ok();
    let region = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (from, to) = words.next()?.split_once('-')?;
        let is_private = words.next()? == "rw-p";
        let has_name = words.nth(3).is_some();
        (is_private && !has_name).then_some(address(from)?..address(to)?)
    };
    maps.lines().filter_map(region).collect()
}

/// The bytes in huge pages, from `/proc/self/smaps_rollup`.
fn covered(rollup: &str) -> u64 {
    let kilobytes = |line: &str| {
        let text = line.strip_prefix("AnonHugePages:")?.trim();
        text.strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    rollup.lines().find_map(kilobytes).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_private_memory_without_a_file() {
        let maps = "\
55d0c0a00000-55d0c0b00000 r-xp 00000000 fe:00 1234                       /usr/bin/lodestore
55d0c0c00000-55d0c0d00000 rw-p 00100000 fe:00 1234                       /usr/bin/lodestore
7f2c00000000-7f2c40000000 rw-p 00000000 00:00 0 \n\
7f2c40000000-7f2c40001000 ---p 00000000 00:00 0 \n\
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]
";
        let expected = 0x7f2c_0000_0000..0x7f2c_4000_0000;
        assert_eq!(regions(maps), std::slice::from_ref(&expected));
    }

    #[test]
    fn huge_pages_are_counted_in_kilobytes() {
        let rollup = "Anonymous:       10 kB\nAnonHugePages:      4096 kB\n";
        assert_eq!(covered(rollup), 4 * 1024 * 1024);
        assert_eq!(covered("Rss: 12 kB\n"), 0);
    }

    #[test]
    fn full_memory_gets_huge_pages() {
        let Some(mut memory) = Memory::open() else {
            println!("skipped: this machine makes no huge pages");
            return;
        };
        let held = vec![1_u8; 16 * HUGE as usize];
        let walk = memory.walk(|_| true).expect("a walk");
        if walk == Walk::Done {
            // The kernel leaves out what it works on at the moment.
            let start = held.as_ptr() as u64;
            let numbers = start.div_ceil(HUGE)..(start + held.len() as u64) / HUGE;
            let is_huge = numbers.clone().any(|number| memory.huge.contains(&number));
            assert!(is_huge, "{numbers:?}");
            assert!(memory.covered().expect("a count") >= HUGE);
        } else {
            println!("skipped: the walk over the memory ended with {walk:?}");
        }
        assert!(held.iter().all(|byte| *byte == 1));
    }
}
