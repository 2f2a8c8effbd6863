//! The one unsafe corner of the network: reading into memory that was not zeroed first.

use std::io;
use std::os::fd::AsRawFd;

/// Reads at most `max` bytes behind the end of `buffer` and returns how many came (0: end of file).
pub(super) fn read_behind(
    fd: &impl AsRawFd,
    buffer: &mut Vec<u8>,
    max: usize,
) -> io::Result<usize> {
    buffer.reserve(max);
    let spare = buffer.spare_capacity_mut();
    let room = spare.len().min(max);
    // SAFETY: `spare` is memory of the vector behind its length, at least `room` bytes of it, and
    // nothing else refers to it; read(2) writes at most `room` bytes there.
    let got = unsafe { libc::read(fd.as_raw_fd(), spare.as_mut_ptr().cast(), room) };
    let Ok(got) = usize::try_from(got) else {
        return Err(io::Error::last_os_error());
    };
    // SAFETY: read(2) has initialised the first `got` bytes of the spare room.
    unsafe { buffer.set_len(buffer.len() + got) };
    Ok(got)
}
