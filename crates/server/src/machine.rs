//! Memory that there is: that of the machine, and the limit of the control group of the process.

mod sys;

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use sys::total_memory;

/// Where control groups of both versions are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// Bytes that the process may use: those of the machine, or fewer where its control group has a
/// limit.
pub(crate) fn available_memory() -> u64 {
    let total = total_memory();
    cgroup_limit().map_or(total, |limit| limit.min(total))
}

/// The limit of memory of the control group, in bytes; nothing without one. A group is also bounded
/// by those that it is in.
pub(crate) fn cgroup_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    limit_below(Path::new(ROOT), &groups, total_memory())
}

/// The least limit below `root` of the groups in `groups`, which has the form of
/// `/proc/self/cgroup`. A limit of `total` bytes and more is none.
fn limit_below(root: &Path, groups: &str, total: u64) -> Option<u64> {
    let limits = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else {
            return Vec::new();
        };
        // Version 2 names no controllers. Version 1 has a directory for each.
        let (base, file) = match controllers {
            "" => (root.to_path_buf(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return Vec::new(),
        };
        files_up(&base, group, file)
    });
    limits
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok())
        .min()
        .filter(|limit| *limit < total)
}

/// `file` in a group and in all groups around it. In a container the path of the group is that of
/// the host, and the mounted root is the group itself.
fn files_up(base: &Path, group: &str, file: &str) -> Vec<PathBuf> {
    let group = base.join(group.trim_start_matches('/'));
    let dirs = group.ancestors().take_while(|dir| dir.starts_with(base));
    dirs.map(|dir| dir.join(file)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let root =
            std::env::temp_dir().join(format!("lodestore-cgroup-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_least_limit_counts() {
        let files = [
            ("a/b/memory.max", "max\n"),
            ("a/memory.max", "5000\n"),
            ("memory.max", "9000\n"),
            ("memory/c/memory.limit_in_bytes", "4000\n"),
        ];
        let root = tree("least", &files);
        assert_eq!(limit_below(&root, "0::/a/b\n", 1 << 40), Some(5000));
        assert_eq!(limit_below(&root, "0::/\n", 1 << 40), Some(9000));
        assert_eq!(limit_below(&root, "0::/\n", 9000), None);
        let first = "5:cpu,cpuacct:/x\n4:hugetlb,memory:/c\n1:name=systemd:/y\n";
        assert_eq!(limit_below(&root, first, 1 << 40), Some(4000));
        // The path of the host is not there in a container.
        assert_eq!(limit_below(&root, "0::/host/x\n", 1 << 40), Some(9000));
        assert_eq!(limit_below(&root, "nonsense", 1 << 40), None);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(available_memory() > 1 << 20);
        assert!(available_memory() <= total_memory());
    }
}
