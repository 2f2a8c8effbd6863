//! What runs inside of a signal handler: no lock, no allocation, only calls that may be made there.

use std::ffi::c_void;
use std::fmt::{self, Write};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};

/// Signals of a process that is broken, with their names.
const SIGNALS: [(libc::c_int, &str); 5] = [
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGABRT, "SIGABRT"),
];

/// Frames of a backtrace.
const FRAMES_MAX: usize = 64;

/// Longest line of the report, in bytes.
const LINE_MAX: usize = 256;

/// `crash-log-enabled`.
static ENABLED: AtomicBool = AtomicBool::new(false);
/// One report for a process: a second signal may come from the report itself.
static REPORTED: AtomicBool = AtomicBool::new(false);
/// The open log, or the standard output.
static LOG: AtomicI32 = AtomicI32::new(libc::STDOUT_FILENO);
/// What was done before, in the order of `SIGNALS`.
static BEFORE: [AtomicPtr<libc::sigaction>; SIGNALS.len()] =
    [const { AtomicPtr::new(ptr::null_mut()) }; SIGNALS.len()];

/// Switches the report on or off.
pub(crate) fn set_enabled(on: bool) {
    ENABLED.store(on, Ordering::Relaxed);
}

/// The descriptor that the report is written to.
pub(crate) fn set_log(fd: libc::c_int) {
    LOG.store(fd, Ordering::Relaxed);
}

/// Installs the handler. What the standard library does about an overflown stack goes on behind it.
pub(super) fn install() {
    // The first call may load a library, which a handler must not.
    backtrace(&mut [ptr::null_mut(); FRAMES_MAX]);
    for ((signal, _), before) in SIGNALS.iter().zip(&BEFORE) {
        let old = Box::leak(Box::new(MaybeUninit::<libc::sigaction>::zeroed()));
        // SAFETY: all zeros are a valid `sigaction`; both pointers are valid for the call, and the
        // old one lives as long as the process.
        unsafe {
            let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
            action.sa_sigaction = handle as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            if libc::sigaction(*signal, &raw const action, old.as_mut_ptr()) == 0 {
                before.store(old.as_mut_ptr(), Ordering::Release);
            }
        }
    }
}

extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel gives a valid pointer to a handler with SA_SIGINFO.
    let code = unsafe { info.as_ref() }.map_or(0, |info| info.si_code);
    // A fault of this process, whose instruction runs again when the handler returns.
    let is_fault = code > 0 && signal != libc::SIGABRT;
    if ENABLED.load(Ordering::Relaxed) && !REPORTED.swap(true, Ordering::Relaxed) {
        // SAFETY: only a fault has an address.
        let address = is_fault.then(|| unsafe { (*info).si_addr() });
        report(signal, code, address);
    }
    let place = SIGNALS.iter().position(|(known, _)| *known == signal);
    let before = place.and_then(|place| BEFORE.get(place));
    let before = before.map_or(ptr::null_mut(), |before| before.load(Ordering::Acquire));
    // SAFETY: `before` is null or was filled in by the call that installed this handler, and both
    // calls may be made in a handler.
    unsafe {
        if is_fault && !before.is_null() {
            libc::sigaction(signal, before, ptr::null_mut());
        } else {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }
}

fn report(signal: libc::c_int, code: libc::c_int, address: Option<*mut c_void>) {
    let log = Report(LOG.load(Ordering::Relaxed));
    let name = SIGNALS.iter().find(|(known, _)| *known == signal);
    let name = name.map_or("?", |(_, name)| name);
    let version = env!("CARGO_PKG_VERSION");
    log.line(format_args!(
        "=== LODESTORE BUG REPORT START: Cut & paste starting from here ==="
    ));
    log.line(format_args!(
        "Lodestore {version} crashed by signal: {signal} ({name}), si_code: {code}"
    ));
    if let Some(address) = address {
        log.line(format_args!("Accessing address: {address:?}"));
    }
    let command = engine::execute::running_command().unwrap_or("none");
    log.line(format_args!("Last command of the thread: {command}"));
    log.line(format_args!("------ STACK TRACE ------"));
    let mut frames = [ptr::null_mut(); FRAMES_MAX];
    let count = backtrace(&mut frames);
    symbols(frames.get(..count).unwrap_or_default(), log.0);
    log.line(format_args!("=== LODESTORE BUG REPORT END ==="));
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn backtrace(frames: &mut [*mut c_void]) -> usize {
    let room = libc::c_int::try_from(frames.len()).unwrap_or(0);
    // SAFETY: the buffer has room for so many frames.
    let count = unsafe { libc::backtrace(frames.as_mut_ptr(), room) };
    usize::try_from(count).unwrap_or(0)
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn backtrace(_: &mut [*mut c_void]) -> usize {
    0
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn symbols(frames: &[*mut c_void], fd: libc::c_int) {
    let count = libc::c_int::try_from(frames.len()).unwrap_or(0);
    // SAFETY: there are so many frames, and this form of the call allocates nothing.
    unsafe { libc::backtrace_symbols_fd(frames.as_ptr(), count, fd) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn symbols(_: &[*mut c_void], _: libc::c_int) {}

/// The end of the log, by its descriptor.
struct Report(libc::c_int);

impl Report {
    fn line(&self, text: fmt::Arguments<'_>) {
        let mut line = Line {
            bytes: [0; LINE_MAX],
            len: 0,
        };
        // SAFETY: takes and returns plain numbers.
        let pid = unsafe { libc::getpid() };
        // A line that is too long is cut.
        let _ = write!(line, "{pid}:signal-handler # {text}");
        line.push(b"\n");
        let bytes = line.bytes.get(..line.len).unwrap_or_default();
        // SAFETY: the buffer has so many bytes. No place is left to report an error to.
        unsafe { libc::write(self.0, bytes.as_ptr().cast(), bytes.len()) };
    }
}

/// A line that is formatted without memory of the heap.
struct Line {
    bytes: [u8; LINE_MAX],
    len: usize,
}

impl Line {
    fn push(&mut self, text: &[u8]) {
        let room = LINE_MAX - self.len;
        let text = text.get(..room).unwrap_or(text);
        if let Some(place) = self.bytes.get_mut(self.len..self.len + text.len()) {
            place.copy_from_slice(text);
            self.len += text.len();
        }
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}
