use super::*;
use crate::client::{ClientShared, Peer};

fn tracking(id: u64) -> Tracking {
    let shared = ClientShared::new(id, Peer::None, &Peer::None, 8, 0, 0);
    Tracking::new(&Arc::new(shared), Options::default())
}

#[test]
fn a_key_is_remembered_once_for_each_client() {
    let mut table = TrackingTable::default();
    let clients = [tracking(1), tracking(2), tracking(3)];
    let expected = [(true, true), (false, true), (false, true), (false, false)];
    for (client, expected) in [2, 0, 1, 2].into_iter().zip(expected) {
        let registered = table.add(b"k", &clients[client].tracker);
        let added = (registered.is_new_key, registered.is_new_client);
        assert_eq!(added, expected);
    }
    let mut ids: Vec<u64> = table
        .take(b"k")
        .into_iter()
        .flatten()
        .map(|it| it.id)
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3]);
    assert!(table.is_empty() && table.take(b"k").is_none());
}

#[test]
fn a_spared_key_is_not_forgotten() {
    let mut table = TrackingTable::default();
    let client = tracking(1);
    for key in [b"a", b"b"] {
        table.add(key, &client.tracker);
    }
    assert_eq!(
        table.take_any(b"a").map(|(key, _)| key),
        Some(b"b"[..].into())
    );
    assert!(table.take_any(b"a").is_none());
    assert_eq!(table.take_all().count(), 1);
}

#[test]
fn clients_that_have_left_are_forgotten() {
    let mut table = TrackingTable::default();
    let clients = [tracking(1), tracking(2)];
    table.add(b"a", &clients[0].tracker);
    table.add(b"b", &clients[0].tracker);
    table.add(b"b", &clients[1].tracker);
    assert_eq!(table.forget_left(), (0, 0));
    clients[0].tracker.leave();
    assert_eq!(table.forget_left(), (1, 2));
    assert_eq!(table.take(b"b").map(|left| left.len()), Some(1));
}

#[test]
fn prefixes_must_not_overlap() {
    let owned = |texts: &[&str]| -> Vec<Vec<u8>> {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    };
    let existing = owned(&["foo"]).into_iter().collect();
    assert_eq!(check_prefixes(&owned(&["a", "b"]), Some(&existing)), Ok(()));
    assert_eq!(
        check_prefixes(&owned(&["x", "fo"]), Some(&existing)),
        Err(Collision::Existing(b"fo".to_vec(), b"foo".to_vec()))
    );
    let many = owned(&["a0", "a1", "ab", "b"]).into_iter().collect();
    for (new, other) in [
        ("a", "a0"),
        ("ab", "ab"),
        ("abc", "ab"),
        ("", "a0"),
        ("bx", "b"),
    ] {
        assert_eq!(
            check_prefixes(&owned(&[new]), Some(&many)),
            Err(Collision::Existing(new.into(), other.into()))
        );
    }
    assert_eq!(
        check_prefixes(&owned(&["a2", "c", "aa"]), Some(&many)),
        Ok(())
    );
    assert_eq!(
        check_prefixes(&owned(&["a", "b", "ab"]), None),
        Err(Collision::Provided(b"a".to_vec(), b"ab".to_vec()))
    );
}
