//! The few system calls the standard library does not offer: CPU clocks of other processes, CPU
//! affinity and the death signal of children. All unsafe code of this crate stands here.

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// CPU time in nanoseconds that all threads of process `pid` have used, ended threads included.
///
/// The process CPU clock is exact, whereas `utime + stime` of `/proc/PID/stat` counts ticks of 10
/// ms.
pub(crate) fn process_cpu_ns(pid: u32) -> io::Result<u64> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut clock: libc::clockid_t = 0;
    // SAFETY: `clock` is a valid place for one clock id.
    let error = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    clock_ns(clock)
}

/// CPU time in nanoseconds of the calling thread.
pub(crate) fn thread_cpu_ns() -> io::Result<u64> {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn clock_ns(clock: libc::clockid_t) -> io::Result<u64> {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: `time` is a valid place for one timespec.
    if unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: clock_gettime answered 0, so it has written the whole struct.
    let time = unsafe { time.assume_init() };
    Ok(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

/// The CPUs this process may run on, ascending.
pub(crate) fn allowed_cpus() -> io::Result<Vec<usize>> {
    // SAFETY: cpu_set_t is a plain bit set, for which all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the size given is the size of the set pointed to.
    let status = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    let limit = usize::try_from(libc::CPU_SETSIZE).map_err(io::Error::other)?;
    // SAFETY: CPU_ISSET reads one bit of the set, and `cpu` is below its number of bits.
    Ok((0..limit)
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .collect())
}

/// Restricts the calling thread, and the threads it starts later, to `cpus`.
pub(crate) fn pin(cpus: &[usize]) -> io::Result<()> {
    let set = cpu_set(cpus);
    // SAFETY: the size given is the size of the set pointed to.
    if unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn cpu_set(cpus: &[usize]) -> libc::cpu_set_t {
    // SAFETY: cpu_set_t is a plain bit set, for which all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus {
        // SAFETY: CPU_SET indexes the array of the set and panics by itself when `cpu` is too
        // large.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    set
}

/// Makes the child that `command` will start run on `cpus` only and die with this process, so that
/// an interrupted benchmark leaves no server behind.
pub(crate) fn confine_child(command: &mut Command, cpus: &[usize]) {
    let set = cpu_set(cpus);
    let confine = move || {
        // SAFETY: sched_setaffinity reads `set`, which the closure owns.
        if unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: PR_SET_PDEATHSIG takes one integer argument.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure only makes two system calls: it neither allocates
    // nor takes locks.
    unsafe { command.pre_exec(confine) };
}
