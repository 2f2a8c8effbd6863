//! Bytes that pass as a packed sorted set read the same in both forms, and both do the same under
//! changes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use values::listpack::Listpack;
use values::{Element, ScoreRange, SortedSet, Thresholds};

fn owned((member, score): (Element<'_>, f64)) -> (Vec<u8>, f64) {
    (member.to_vec(), score)
}

fn all(set: &SortedSet) -> Vec<(Vec<u8>, f64)> {
    let mut backwards: Vec<_> = set.iter().rev().map(owned).collect();
    backwards.reverse();
    let forwards: Vec<_> = set.iter().map(owned).collect();
    assert_eq!(forwards, backwards);
    forwards
}

/// The bytes as they are, or as texts of a listpack with alternating members and scores.
fn read(data: &[u8]) -> Option<SortedSet> {
    SortedSet::from_listpack(data).ok().or_else(|| {
        let mut listpack = Listpack::new();
        for text in data.split(|byte| *byte == b' ') {
            listpack.push_back(text);
        }
        SortedSet::from_listpack(listpack.as_bytes()).ok()
    })
}

fuzz_target!(|data: &[u8]| {
    let (first, changes) = data.split_at(data.len() / 2);
    let Some(mut packed) = read(data).or_else(|| read(first)) else {
        return;
    };
    let never = Thresholds {
        zset_entries: usize::MAX,
        zset_value: usize::MAX,
        ..Thresholds::default()
    };
    let always = Thresholds {
        zset_entries: 0,
        ..never
    };
    let again = SortedSet::from_listpack(packed.pack_bytes().expect("packed"));
    assert_eq!(
        all(&again.expect("what was written is valid")),
        all(&packed)
    );
    let mut indexed = packed.clone();
    indexed.convert(&always);
    for change in changes.chunks(4) {
        let [kind, byte, rest @ ..] = change else {
            break;
        };
        let score = f64::from(*byte as i8) / 3.0;
        if kind % 4 == 0 {
            assert_eq!(packed.remove(rest), indexed.remove(rest));
        } else {
            let done = packed.insert(rest, score, &never);
            assert_eq!(indexed.insert(rest, score, &always), done);
        }
        assert_eq!(packed.rank(rest), indexed.rank(rest));
        let range = ScoreRange {
            min: score,
            min_exclusive: kind % 2 == 0,
            max: score + 1.0,
            max_exclusive: kind % 3 == 0,
        };
        assert_eq!(packed.score_range(&range), indexed.score_range(&range));
    }
    assert_eq!(all(&packed), all(&indexed));
});
