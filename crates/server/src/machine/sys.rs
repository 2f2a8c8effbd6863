//! The memory of the machine.

/// Physical memory of the machine, in bytes.
pub(crate) fn total_memory() -> u64 {
    // SAFETY: sysconf has no preconditions.
    let (pages, page_size) = unsafe {
        (
            libc::sysconf(libc::_SC_PHYS_PAGES),
            libc::sysconf(libc::_SC_PAGESIZE),
        )
    };
    let number = |value: libc::c_long| u64::try_from(value).unwrap_or(0);
    number(pages).saturating_mul(number(page_size))
}
