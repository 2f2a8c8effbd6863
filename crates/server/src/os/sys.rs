//! The calls to the operating system for which the standard library has no safe wrapper.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::AtomicU8;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// See [`super::daemonize`].
pub(super) fn daemonize() -> io::Result<()> {
    // SAFETY: the caller has no other thread, so the child is a complete copy of the process.
    match check(unsafe { libc::fork() })? {
        0 => {}
        // SAFETY: the child goes on; leaving without running destructors is what keeps its files
        // and sockets intact.
        _ => unsafe { libc::_exit(0) },
    }
    // SAFETY: takes no pointers. It fails only for a leader of a process group, which a new child
    // is not.
    check(unsafe { libc::setsid() })?;
    let nowhere = File::options().read(true).write(true).open("/dev/null")?;
    for stream in 0..=2 {
        // SAFETY: both are open or about to be opened; the standard library never closes 0 to 2.
        check(unsafe { libc::dup2(nowhere.as_raw_fd(), stream) })?;
    }
    Ok(())
}

/// See [`super::is_running`].
pub(super) fn is_running(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else {
        return false;
    };
    // SAFETY: takes no pointers; signal 0 only asks.
    match check(unsafe { libc::kill(pid, 0) }) {
        Ok(_) => true,
        Err(error) => error.raw_os_error() != Some(libc::ESRCH),
    }
}

/// See [`super::lower_thread_priority`].
pub(super) fn lower_thread_priority(steps: i32) {
    // On Linux a priority belongs to the thread; elsewhere it would be that of the whole process.
    #[cfg(target_os = "linux")]
    // SAFETY: takes no pointers. It only fails where priorities are forbidden altogether.
    unsafe {
        libc::setpriority(
            libc::PRIO_PROCESS,
            0,
            libc::getpriority(libc::PRIO_PROCESS, 0) + steps,
        );
    }
    #[cfg(not(target_os = "linux"))]
    let _ = steps;
}

/// See [`super::ignore_unused_signals`].
pub(super) fn ignore_signals(signals: &[libc::c_int]) {
    for signal in signals {
        // SAFETY: ignoring a signal installs no handler. It fails only for numbers that are none.
        unsafe { libc::signal(*signal, libc::SIG_IGN) };
    }
}

/// Stops the process until SIGCONT.
pub(super) fn stop_self() {
    // SAFETY: takes no pointers.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// The limits of open files: the one in force and the one up to which it may be raised.
#[derive(Clone, Copy)]
pub(super) struct OpenFiles {
    pub(super) soft: u64,
    pub(super) hard: u64,
}

pub(super) fn open_files() -> io::Result<OpenFiles> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid place to write to.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    Ok(OpenFiles {
        soft: limit.rlim_cur,
        hard: limit.rlim_max,
    })
}

pub(super) fn set_open_files(files: OpenFiles) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: files.soft,
        rlim_max: files.hard,
    };
    // SAFETY: `limit` is valid to read from.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }).map(drop)
}

/// The id of a group by its name.
pub(super) fn group_id(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    let mut group = MaybeUninit::<libc::group>::uninit();
    let mut found: *mut libc::group = std::ptr::null_mut();
    let mut buffer = vec![0 as libc::c_char; 16 * 1024];
    // SAFETY: all pointers are valid for the call, and the buffer's length is its own. When `found`
    // is not null it points to `group`, which is then written.
    unsafe {
        let result = libc::getgrnam_r(
            name.as_ptr(),
            group.as_mut_ptr(),
            buffer.as_mut_ptr(),
            buffer.len(),
            &raw mut found,
        );
        (result == 0 && !found.is_null()).then(|| (*found).gr_gid)
    }
}

/// Turns huge pages off for this process: all, or all but those that are requested (since Linux
/// 6.18).
#[cfg(target_os = "linux")]
pub(super) fn disable_huge_pages(but_requested: bool) -> io::Result<()> {
    /// PR_THP_DISABLE_EXCEPT_ADVISED
    const BUT_REQUESTED: libc::c_ulong = 1 << 1;
    let (on, unused): (libc::c_ulong, libc::c_ulong) = (1, 0);
    let flags = if but_requested { BUT_REQUESTED } else { 0 };
    // SAFETY: this operation takes plain numbers.
    check(unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, on, flags, unused, unused) }).map(drop)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn disable_huge_pages(_but_requested: bool) -> io::Result<()> {
    Ok(())
}

/// Requests the kernel to put this range into huge pages.
#[cfg(target_os = "linux")]
pub(super) fn collapse(address: u64, len: u64) -> io::Result<()> {
    let address = std::ptr::without_provenance_mut(address as usize);
    // SAFETY: this advice changes which physical pages hold the bytes, never the bytes; for a range
    // that is not mapped it is an error.
    check(unsafe { libc::madvise(address, len as usize, libc::MADV_COLLAPSE) }).map(drop)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn collapse(_address: u64, _len: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Bytes of a page.
pub(super) fn page_size() -> u64 {
    // SAFETY: takes no pointers.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(0)
}

/// Waits up to `milliseconds` until `fd` can be written to.
pub(crate) fn is_writable(fd: BorrowedFd<'_>, milliseconds: i32) -> bool {
    let mut poll = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one valid entry, as said by the count.
    let ready = unsafe { libc::poll(&raw mut poll, 1, milliseconds) };
    // On an error there is nothing to wait for: the write itself returns the error.
    ready != 0
}

/// A calendar date and time.
pub(crate) struct LocalTime {
    pub(crate) year: i32,
    /// 0 is January.
    pub(crate) month: usize,
    pub(crate) day: i32,
    pub(crate) hour: i32,
    pub(crate) minute: i32,
    pub(crate) second: i32,
    /// Seconds east of UTC.
    pub(crate) offset: i64,
}

/// `seconds` since 1970 in the local time zone.
pub(crate) fn local_time(seconds: i64) -> LocalTime {
    let mut broken = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid. A null result means nothing was written, and all zeros are a
    // valid `tm`.
    let tm = unsafe {
        libc::localtime_r(&raw const seconds, broken.as_mut_ptr());
        broken.assume_init()
    };
    LocalTime {
        year: tm.tm_year + 1900,
        month: usize::try_from(tm.tm_mon).unwrap_or(0),
        day: tm.tm_mday,
        hour: tm.tm_hour,
        minute: tm.tm_min,
        second: tm.tm_sec,
        offset: tm.tm_gmtoff,
    }
}

/// Connects to the system's log. The name has to live as long as the process, since syslog(3) keeps
/// the pointer.
pub(crate) fn open_syslog(name: &'static CStr, facility: i32) {
    // SAFETY: `name` is never freed.
    unsafe {
        libc::openlog(
            name.as_ptr(),
            libc::LOG_PID | libc::LOG_NDELAY | libc::LOG_NOWAIT,
            facility,
        )
    };
}

/// Hands one line to the system's log.
pub(crate) fn syslog(priority: i32, line: &str) {
    // A NUL would end the line early.
    let line = CString::new(line.replace('\0', "?")).unwrap_or_default();
    // SAFETY: the format takes exactly one C string.
    unsafe { libc::syslog(priority, c"%s".as_ptr(), line.as_ptr()) };
}

/// The arguments of PR_SET_MM_MAP: `struct prctl_mm_map` of linux/prctl.h.
#[cfg(target_os = "linux")]
#[repr(C)]
struct MemoryMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: *mut u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// Makes the kernel read the process's command line from `buffer`. `fields` are those of
/// /proc/self/stat, the first one at 1, since everything else stays where it is. To be called while
/// there is one thread: the end of the heap is set again to where it was a moment before.
#[cfg(target_os = "linux")]
pub(super) fn move_command_line(buffer: &'static [AtomicU8], fields: &[u64; 52]) -> io::Result<()> {
    let start = buffer.as_ptr() as u64;
    // SAFETY: an increment of 0 only asks.
    let brk = unsafe { libc::sbrk(0) } as u64;
    let map = MemoryMap {
        start_code: fields[26],
        end_code: fields[27],
        start_data: fields[45],
        end_data: fields[46],
        start_brk: fields[47],
        brk,
        start_stack: fields[28],
        arg_start: start,
        arg_end: start + buffer.len() as u64,
        env_start: fields[50],
        env_end: fields[51],
        auxv: std::ptr::null_mut(),
        auxv_size: 0,
        exe_fd: u32::MAX,
    };
    let (what, size): (libc::c_ulong, libc::c_ulong) =
        (14, size_of::<MemoryMap>() as libc::c_ulong);
    let unused: libc::c_ulong = 0;
    // SAFETY: `map` has the layout and the size the kernel expects, and it checks every address in
    // it. The buffer lives as long as the process.
    check(unsafe { libc::prctl(libc::PR_SET_MM, what, &raw const map, size, unused) }).map(drop)
}
