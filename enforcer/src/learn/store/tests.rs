use std::fs;
use std::io;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn key(from: &str, port: usize) -> Key {
    Key {
        realm: "default".into(),
        link: None,
        from: End::Device(from.into()),
        to: End::Address([10, 20, 0, 1].into()),
        protocol: 6,
        port: port as u16,
    }
}

fn seen(answered: bool, at: u64) -> Observation {
    Observation {
        answered,
        turned: false,
        first: at,
        last: at,
        count: 1,
    }
}

fn contents(store: &Store) -> Vec<(Key, Observation)> {
    let pairs = store.iter();
    pairs.map(|(key, known)| (key.clone(), known.clone())).collect()
}

fn save(store: &Store, path: &Path) -> io::Result<()> {
    Store::save(&store.text()?, path)
}

fn has(store: &Store, key: &Key) -> bool {
    store.iter().any(|(known, _)| known == key)
}

#[test]
fn sightings_of_the_same_add_up() {
    let mut store = Store::new(8);
    assert!(store.note(key("a", 443), &seen(false, 50)));
    assert!(store.note(key("a", 443), &seen(true, 20)), "the first answer");
    assert!(!store.note(key("a", 443), &seen(false, 90)));
    let expected = Observation {
        answered: true,
        turned: false,
        first: 20,
        last: 90,
        count: 3,
    };
    assert_eq!(contents(&store), [(key("a", 443), expected)]);
}

#[test]
fn what_was_counted_before_and_given_up_counts_once() {
    let mut store = Store::new(8);
    for times in 0..2 {
        let counted_before = Observation {
            count: 0,
            ..seen(true, times)
        };
        store.note(key("a", 443), &counted_before);
        assert_eq!(contents(&store)[0].1.count, 1);
    }
}

#[test]
fn what_was_seen_the_right_way_round_once_is_not_turned() {
    let mut store = Store::new(8);
    let turned = Observation {
        turned: true,
        ..seen(true, 1)
    };
    store.note(key("a", 443), &turned);
    assert!(contents(&store)[0].1.turned);
    store.note(key("a", 443), &seen(true, 2));
    assert!(!contents(&store)[0].1.turned);
}

#[test]
fn a_scan_takes_few_places_and_never_one_that_was_answered() {
    let mut store = Store::new(2_000);
    assert!(store.note(key("a", 443), &seen(true, 1)));
    let kept = (1_000..2_000).filter(|port| store.note(key("a", *port), &seen(false, 2)));
    assert_eq!(kept.count(), UNANSWERED_A_SOURCE);
    assert_eq!(store.left_out(), 1_000 - UNANSWERED_A_SOURCE as u64);
    assert!(has(&store, &key("a", 443)));
    // An answer frees the place of the source.
    assert!(store.note(key("a", 1_000), &seen(true, 3)));
    assert!(store.note(key("a", 5_000), &seen(false, 3)));
    assert!(!store.note(key("a", 5_001), &seen(false, 3)));
}

#[test]
fn a_full_store_keeps_what_was_answered_and_gives_up_the_unanswered_that_came_first() {
    let mut store = Store::new(4);
    assert!(store.note(key("b", 2), &seen(false, 5)));
    assert!(store.note(key("a", 1), &seen(false, 9)));
    assert!(
        !store.note(key("c", 3), &seen(false, 9)),
        "half of the places are taken"
    );
    for port in [4, 5, 6] {
        assert!(store.note(key("d", port), &seen(true, 9)));
    }
    assert!(!has(&store, &key("b", 2)) && has(&store, &key("a", 1)));
    assert!(store.note(key("d", 7), &seen(true, 9)));
    assert!(!store.note(key("d", 8), &seen(true, 9)));
    assert_eq!((store.len(), store.left_out()), (4, 4));
}

#[test]
fn an_unanswered_one_that_was_not_seen_for_long_makes_room_for_another() {
    let mut store = Store::new(4);
    store.note(key("a", 1), &seen(false, 5));
    store.note(key("b", 2), &seen(false, 5));
    assert!(!store.note(key("c", 3), &seen(false, 5 + STALE)));
    assert!(store.note(key("c", 3), &seen(false, 6 + STALE)));
    assert!(!has(&store, &key("a", 1)) && has(&store, &key("b", 2)));
}

#[test]
fn damaged_and_missing_lines_are_counted_and_the_others_kept() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("learn.ndjson");
    let mut store = Store::new(8);
    for port in 1..=4 {
        store.note(key("a", port), &seen(true, 7));
    }
    save(&store, &path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    // The second is another port now, the last is cut in the middle.
    let damaged = text.replacen("\"port\":2", "\"port\":9", 1);
    fs::write(&path, &damaged[..damaged.len() - 20]).unwrap();
    let loaded = Store::load(&path, 8).unwrap();
    assert_eq!(loaded.lost, 2);
    let ports: Vec<_> = loaded.store.iter().map(|(key, _)| key.port).collect();
    assert_eq!(ports, [1, 3]);
}

#[test]
fn a_file_that_is_no_store_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("learn.ndjson");
    assert_eq!(Store::load(&path, 8).unwrap_err().kind(), io::ErrorKind::NotFound);
    for octets in [&b""[..], b"\xff\xfe", b"{}\n"] {
        fs::write(&path, octets).unwrap();
        let error = Store::load(&path, 8).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(error.to_string(), "its first line is damaged");
    }
}

#[test]
fn a_failed_save_leaves_the_old_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("learn.ndjson");
    let mut store = Store::new(8);
    store.note(key("a", 1), &seen(true, 7));
    save(&store, &path).unwrap();
    let before = contents(&store);
    store.note(key("a", 2), &seen(true, 7));
    // Every write to it says that the disk is full.
    std::os::unix::fs::symlink("/dev/full", path.with_extension("new")).unwrap();
    assert_eq!(save(&store, &path).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(contents(&Store::load(&path, 8).unwrap().store), before);
    // The disk has room again.
    save(&store, &path).unwrap();
    assert_eq!(Store::load(&path, 8).unwrap().store.len(), 2);
}

#[test]
fn refusals_are_kept_by_vlan_and_reason_with_the_last_example() {
    let mut store = Store::new(8);
    let refusal = |vlan: usize| Refusal {
        vlan: vlan.to_string(),
        reason: "source-not-in-vlan".into(),
    };
    let refused = |at, example: &str| Refused {
        first: at,
        last: at,
        count: 1,
        example: example.into(),
    };
    assert!(store.note_refusal(refusal(110), &refused(5, "later")));
    assert!(!store.note_refusal(refusal(110), &refused(3, "earlier")));
    let expected = Refused {
        first: 3,
        last: 5,
        count: 2,
        example: "later".into(),
    };
    assert_eq!(store.refusals().collect::<Vec<_>>(), [(&refusal(110), &expected)]);
    for vlan in 0..2 * REFUSALS {
        store.note_refusal(refusal(vlan), &refused(9, ""));
    }
    assert_eq!(store.refusals().count(), REFUSALS);
}

proptest! {
    #[test]
    fn bounds_hold_and_files_give_back_what_was_saved(
        notes in prop::collection::vec(("[a-c]", 0_usize..40, any::<bool>(), 0_u64..100), 0..200)
    ) {
        let mut store = Store::new(20);
        for (from, port, answered, at) in notes {
            store.note(key(&from, port), &seen(answered, at));
            let unanswered = store.iter().filter(|(_, known)| !known.answered).count();
            prop_assert!(store.len() <= 20 && unanswered <= 10);
            prop_assert_eq!(store.by_source.values().sum::<usize>(), unanswered);
            prop_assert!(store.arrivals.len() <= 40);
        }
        store.set_mark(Mark { boot: "b".into(), ticks: 7 });
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("learn.ndjson");
        save(&store, &path).unwrap();
        let loaded = Store::load(&path, 20).unwrap();
        prop_assert_eq!(loaded.lost, 0);
        prop_assert_eq!(contents(&loaded.store), contents(&store));
        prop_assert_eq!(loaded.store.left_out(), store.left_out());
        prop_assert_eq!(loaded.store.mark(), store.mark());
    }
}
