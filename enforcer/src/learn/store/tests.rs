use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn end(device: &str) -> End {
    End {
        zone: Some("pumps".into()),
        device: Some(device.into()),
        address: None,
    }
}

fn key(from: &str, port: usize) -> Key {
    Key {
        from: end(from),
        to: end("server"),
        service: format!("tcp/{port}"),
    }
}

fn seen(answered: bool, at: u64) -> Observation {
    Observation {
        answered,
        first: at,
        last: at,
        count: 1,
    }
}

fn contents(store: &Store) -> Vec<(Key, Observation)> {
    let pairs = store.iter();
    pairs.map(|(key, known)| (key.clone(), known.clone())).collect()
}

#[test]
fn sightings_of_the_same_add_up() {
    let mut store = Store::new(8);
    for at in [50, 20, 90] {
        assert!(store.note(key("a", 443), &seen(at == 20, at)));
    }
    let expected = Observation {
        answered: true,
        first: 20,
        last: 90,
        count: 3,
    };
    assert_eq!(contents(&store), [(key("a", 443), expected)]);
}

#[test]
fn a_scan_takes_few_places_and_never_one_that_was_answered() {
    let mut store = Store::new(2_000);
    assert!(store.note(key("a", 443), &seen(true, 1)));
    let kept = (1_000..2_000).filter(|port| store.note(key("a", *port), &seen(false, 2)));
    assert_eq!(kept.count(), UNANSWERED_A_SOURCE);
    assert_eq!(store.left_out(), 1_000 - UNANSWERED_A_SOURCE as u64);
    assert!(store.iter().any(|(known, _)| *known == key("a", 443)));
    // An answer frees the place of the source.
    assert!(store.note(key("a", 1_000), &seen(true, 3)));
    assert!(store.note(key("a", 5_000), &seen(false, 3)));
    assert!(!store.note(key("a", 5_001), &seen(false, 3)));
}

#[test]
fn a_full_store_keeps_what_was_answered_and_gives_up_the_oldest_unanswered() {
    let mut store = Store::new(4);
    assert!(store.note(key("a", 1), &seen(false, 9)));
    assert!(store.note(key("b", 2), &seen(false, 5)));
    assert!(
        !store.note(key("c", 3), &seen(false, 9)),
        "half of the places are taken"
    );
    for port in [4, 5, 6] {
        assert!(store.note(key("d", port), &seen(true, 9)));
    }
    assert!(!store.iter().any(|(known, _)| *known == key("b", 2)));
    assert!(store.note(key("d", 7), &seen(true, 9)));
    assert!(!store.note(key("d", 8), &seen(true, 9)));
    assert_eq!(store.len(), 4);
}

#[test]
fn damaged_and_missing_lines_are_counted_and_the_others_kept() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("learn.ndjson");
    let mut store = Store::new(8);
    for port in 1..=4 {
        store.note(key("a", port), &seen(true, 7));
    }
    store.save(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    // The second is another service now, the last is cut in the middle.
    let damaged = text.replacen("tcp/2", "tcp/9", 1);
    fs::write(&path, &damaged[..damaged.len() - 20]).unwrap();
    let loaded = Store::load(&path, 8).unwrap();
    assert_eq!(loaded.lost, 2);
    let services: Vec<_> = loaded.store.iter().map(|(key, _)| key.service.as_str()).collect();
    assert_eq!(services, ["tcp/1", "tcp/3"]);
}

#[test]
fn a_file_that_is_no_store_is_refused_and_none_is_empty() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("learn.ndjson");
    assert!(Store::load(&path, 8).unwrap().store.is_empty());
    for octets in [&b""[..], b"\xff\xfe", b"{}\n"] {
        fs::write(&path, octets).unwrap();
        assert_eq!(Store::load(&path, 8).unwrap_err(), "its first line is damaged");
    }
}

#[test]
fn a_failed_save_leaves_the_old_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("learn.ndjson");
    let mut store = Store::new(8);
    store.note(key("a", 1), &seen(true, 7));
    store.save(&path).unwrap();
    let before = contents(&store);
    store.note(key("a", 2), &seen(true, 7));
    // Every write to it says that the disk is full.
    std::os::unix::fs::symlink("/dev/full", path.with_extension("new")).unwrap();
    assert_eq!(store.save(&path).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(contents(&Store::load(&path, 8).unwrap().store), before);
    // The disk has room again.
    store.save(&path).unwrap();
    assert_eq!(Store::load(&path, 8).unwrap().store.len(), 2);
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
            prop_assert_eq!(store.unanswered.values().sum::<usize>(), unanswered);
        }
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("learn.ndjson");
        store.save(&path).unwrap();
        let loaded = Store::load(&path, 20).unwrap();
        prop_assert_eq!(loaded.lost, 0);
        prop_assert_eq!(contents(&loaded.store), contents(&store));
        prop_assert_eq!(loaded.store.left_out(), store.left_out());
    }
}
