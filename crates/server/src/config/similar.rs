//! Suggestions for names that are not known.

use engine::config::PARAMETERS;

/// Longer names are not compared: no parameter is that long.
const NAME_MAX: usize = 64;

/// Directives that are not parameters.
const OTHERS: &[&str] = &["include", "rename-command", "user"];

/// The parameter or directive that a user may have meant by `name`.
pub(super) fn similar(name: &[u8]) -> Option<&'static str> {
    let name = name.trim_ascii().to_ascii_lowercase();
    let start = name.iter().take_while(|byte| **byte == b'-').count();
    let name: Vec<u8> = name.into_iter().skip(start).collect();
    let name: Vec<u8> = name
        .into_iter()
        .map(|byte| if byte == b'_' { b'-' } else { byte })
        .collect();
    if name.is_empty() || name.len() > NAME_MAX {
        return None;
    }
    let parameters = PARAMETERS.iter();
    let names = parameters.flat_map(|parameter| [Some(parameter.name), parameter.alias]);
    let names = names.flatten().chain(OTHERS.iter().copied());
    let limit = 1 + name.len() / 6;
    names
        .map(|known| (distance(&name, known.as_bytes()), known))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// How many bytes have to be inserted, removed, replaced or swapped with their neighbour to make
/// one name the other.
pub(super) fn distance(left: &[u8], right: &[u8]) -> usize {
    // Three rows of the table: before the last, last, present.
    let mut before = vec![0; right.len() + 1];
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, a) in left.iter().enumerate() {
        let mut present = vec![row + 1];
        for (column, b) in right.iter().enumerate() {
            let replaced = last[column] + usize::from(a != b);
            let mut best = replaced.min(last[column + 1] + 1).min(present[column] + 1);
            let is_swap = row > 0
                && column > 0
                && left.get(row - 1) == Some(b)
                && right.get(column - 1) == Some(a);
            if is_swap {
                best = best.min(before[column - 1] + 1);
            }
            present.push(best);
        }
        before = std::mem::replace(&mut last, present);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_are_recognized() {
        for (name, expected) in [
            ("prot", Some("port")),
            ("-port", Some("port")),
            ("maxmemory_policy", Some("maxmemory-policy")),
            ("max-memory", Some("maxmemory")),
            ("requirepas", Some("requirepass")),
            ("append-only", Some("appendonly")),
            ("APPENDFSYNK", Some("appendfsync")),
            ("slow-log-max-len", Some("slowlog-max-len")),
            ("renamecommand", Some("rename-command")),
            ("completely-different-thing", None),
            ("xyz", None),
            ("", None),
            ("--", None),
        ] {
            assert_eq!(similar(name.as_bytes()), expected, "{name}");
        }
        assert_eq!(similar(&[b'x'; 1000]), None);
    }

    #[test]
    fn distances_count_edits() {
        for (left, right, expected) in [
            ("", "", 0),
            ("", "ab", 2),
            ("ab", "ba", 1),
            ("port", "prot", 1),
            ("save", "saves", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(left.as_bytes(), right.as_bytes()), expected);
            assert_eq!(distance(right.as_bytes(), left.as_bytes()), expected);
        }
    }
}
