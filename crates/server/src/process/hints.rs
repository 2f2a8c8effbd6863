//! Hints at the start: settings of the machine that will harm this server.
//!
//! Those of Redis about `vm.overcommit_memory` 0 and about huge pages are left out: there is no
//! fork, which they are about, and the process turns huge pages off for itself.

use std::fs;

use engine::config::{Config, P};

use crate::machine;
use crate::observe::info::human_bytes;

/// Logs what applies.
pub(crate) fn log_hints(config: &Config) {
    let hints = [
        backlog(config, number("/proc/sys/net/core/somaxconn")),
        overcommit(number("/proc/sys/vm/overcommit_memory")),
        memory(config, machine::cgroup_limit()),
    ];
    for hint in hints.into_iter().flatten() {
        log::warn!("WARNING {hint}");
    }
}

fn number(path: &str) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The kernel shortens the queue of connections in silence.
fn backlog(config: &Config, most: Option<i64>) -> Option<String> {
    let asked = config.int(P::TcpBacklog);
    let most = most.filter(|most| *most < asked)?;
    Some(format!(
        "The TCP backlog setting of {asked} cannot be enforced because /proc/sys/net/core/somaxconn is set to the \
         lower value of {most}."
    ))
}

/// Without overcommitment address space counts as memory, and the allocator reserves more than it
/// uses.
fn overcommit(mode: Option<i64>) -> Option<String> {
    let hint = "vm.overcommit_memory is 2: allocations fail, and end the process, when the address space of all \
                processes reaches the limit, which can be long before memory is used up.";
    (mode == Some(2)).then(|| hint.to_owned())
}

/// The kernel ends a process whose control group is full; evicting keys comes before that.
fn memory(config: &Config, limit: Option<u64>) -> Option<String> {
    let limit = limit?;
    let maxmemory = config.int(P::Maxmemory).cast_unsigned();
    let set = match maxmemory {
        0 => "maxmemory is not set".to_owned(),
        bytes if bytes > limit => format!("maxmemory is {}", human_bytes(bytes)),
        _ => return None,
    };
    Some(format!(
        "{set}, and the control group of the process may use {}: the kernel ends the process when that is used up. \
         Set maxmemory below it, for example to 75%.",
        human_bytes(limit)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_about_what_applies() {
        let config = Config::default();
        assert_eq!(backlog(&config, Some(4096)), None);
        assert_eq!(backlog(&config, None), None);
        assert!(backlog(&config, Some(128)).is_some_and(|hint| hint.contains("511")));
        assert_eq!(overcommit(Some(0)), None);
        assert_eq!(overcommit(Some(1)), None);
        assert!(overcommit(Some(2)).is_some());
        assert_eq!(memory(&config, None), None);
        assert!(memory(&config, Some(1 << 30)).is_some_and(|hint| hint.contains("1.00G")));
        config.adjust(P::Maxmemory, 1 << 29);
        assert_eq!(memory(&config, Some(1 << 30)), None);
        config.adjust(P::Maxmemory, 1 << 31);
        assert!(memory(&config, Some(1 << 30)).is_some_and(|hint| hint.contains("2.00G")));
    }
}
