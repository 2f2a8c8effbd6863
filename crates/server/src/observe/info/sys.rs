//! Figures of the operating system for INFO.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::time::Duration;

/// Processor time spent in the kernel and in the program.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuTimes {
    pub(crate) system: Duration,
    pub(crate) user: Duration,
}

fn usage(who: libc::c_int) -> CpuTimes {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a rusage that getrusage may fill in; one of zeros is valid too.
    let usage = unsafe {
        libc::getrusage(who, usage.as_mut_ptr());
        usage.assume_init()
    };
    let duration = |time: libc::timeval| {
        Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0))
            + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
    };
    CpuTimes {
        system: duration(usage.ru_stime),
        user: duration(usage.ru_utime),
    }
}

/// Times of the whole process.
pub(crate) fn process_times() -> CpuTimes {
    usage(libc::RUSAGE_SELF)
}

/// Times of child processes that have ended.
pub(crate) fn children_times() -> CpuTimes {
    usage(libc::RUSAGE_CHILDREN)
}

/// Times of the calling thread, or of the process where the system does not count threads.
pub(crate) fn thread_times() -> CpuTimes {
    #[cfg(target_os = "linux")]
    let who = libc::RUSAGE_THREAD;
    #[cfg(not(target_os = "linux"))]
    let who = libc::RUSAGE_SELF;
    usage(who)
}

/// Name, release and machine of the operating system.
pub(crate) fn os_name() -> String {
    let mut name = MaybeUninit::<libc::utsname>::zeroed();
    // SAFETY: the pointer is to a utsname that uname may fill in; one of zeros holds empty strings.
    let name = unsafe {
        libc::uname(name.as_mut_ptr());
        name.assume_init()
    };
    let text = |field: &[libc::c_char]| {
        // SAFETY: a c_char is one byte.
        let bytes = unsafe { std::slice::from_raw_parts(field.as_ptr().cast(), field.len()) };
        CStr::from_bytes_until_nul(bytes)
            .map(|text| text.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    format!(
        "{} {} {}",
        text(&name.sysname),
        text(&name.release),
        text(&name.machine)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_answers() {
        assert_eq!(os_name().split(' ').count(), 3);
        let _ = (process_times(), children_times(), thread_times());
    }
}
