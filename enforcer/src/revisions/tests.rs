use super::*;
use tempfile::TempDir;

fn store() -> (TempDir, Store) {
    let folder = TempDir::new().unwrap();
    let store = Store::new(folder.path());
    store.prepare().unwrap();
    (folder, store)
}

fn change(comment: &str) -> Change {
    Change {
        at: 1_700_000_000,
        uid: Some(1000),
        comment: comment.to_owned(),
        replaced: None,
        policy_hash: "ab".repeat(32),
        files: vec![
            ("/etc/enforcer/policy/a.yaml".into(), "zones: {}\n".into()),
            (
                "/etc/enforcer/policy/ä.yaml".into(),
                format!("# {comment}\nrules: {{}}\n"),
            ),
        ],
    }
}

fn add(store: &Store, comment: &str) -> u32 {
    let number = store.add(&change(comment), &store.pointer()).unwrap();
    store
        .point(&Pointer {
            in_force: number,
            newest: number,
            ..Pointer::default()
        })
        .unwrap();
    number
}

#[test]
fn a_revision_comes_back_as_it_was() {
    let (_folder, store) = store();
    assert_eq!((add(&store, "first"), add(&store, "line\nbreak \"quoted\"")), (1, 2));
    let revision = store.read(2).unwrap();
    assert_eq!(revision.files, change("line\nbreak \"quoted\"").files);
    assert_eq!(revision.header.uid, Some(1000));
    assert_eq!(revision.header.comment, "line\nbreak \"quoted\"");
    let listed: Vec<_> = store.list().into_iter().map(|header| header.unwrap().number).collect();
    assert_eq!(listed, [2, 1]);
    assert!(matches!(store.read(3), Err(StoreError::Missing(3))));
}

#[test]
fn a_file_cut_off_or_changed_anywhere_is_never_taken() {
    let (folder, store) = store();
    add(&store, "good");
    let path = folder.path().join("revisions/00000001.revision");
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(
            matches!(store.read(1), Err(StoreError::Damaged { number: 1, .. })),
            "cut at {length}"
        );
    }
    for place in 0..whole.len() {
        let mut changed = whole.clone();
        changed[place] ^= 1;
        fs::write(&path, &changed).unwrap();
        assert!(store.read(1).is_err(), "changed at {place}");
    }
}

#[test]
fn the_newest_good_revision_is_found_behind_damaged_ones() {
    let (folder, store) = store();
    for _ in 0..3 {
        add(&store, "x");
    }
    fs::write(folder.path().join("revisions/00000003.revision"), b"").unwrap();
    assert_eq!(store.newest_good(3).unwrap().header.number, 2);
    assert_eq!(store.newest_good(1).unwrap().header.number, 1);
    // Its number is not given out again.
    assert_eq!(add(&store, "next"), 4);
}

#[test]
fn fifty_are_kept_and_what_is_needed_beyond() {
    let (_folder, store) = store();
    for _ in 0..KEPT + 5 {
        add(&store, "x");
    }
    assert_eq!(store.numbers().len(), KEPT);
    let oldest = *store.numbers().last().unwrap();
    let pointer = Pointer {
        in_force: oldest,
        newest: KEPT as u32 + 5,
        held: true,
        ..Pointer::default()
    };
    store.point(&pointer).unwrap();
    for _ in 0..3 {
        store.add(&change("x"), &pointer).unwrap();
    }
    assert!(store.read(oldest).is_ok(), "it is in force");
    assert_eq!(store.numbers().len(), KEPT + 1);
}

#[test]
fn what_a_kill_left_is_cleared_away() {
    let (folder, store) = store();
    add(&store, "good");
    let left = folder.path().join("revisions/.unfinished-00000002.revision");
    fs::write(&left, b"half").unwrap();
    assert_eq!(store.list().len(), 1);
    store.prepare().unwrap();
    assert!(!left.exists());
    assert_eq!(store.pointer().in_force, 1);
}

#[test]
fn a_revision_that_a_kill_kept_from_coming_into_force_is_forgotten() {
    let (_folder, store) = store();
    add(&store, "good");
    assert_eq!(store.add(&change("killed"), &store.pointer()).unwrap(), 2);
    store.prepare().unwrap();
    assert_eq!(store.numbers(), [1]);
}

/// A change of the policy in force, step by step, and what a kill behind each step leaves.
#[test]
fn a_kill_behind_any_step_leaves_the_old_state_or_the_new_one() {
    let (folder, store) = store();
    add(&store, "old");
    let old = store.pointer();
    let new = Pointer {
        in_force: 2,
        newest: 2,
        pending: Some(Pending::after(1, 600)),
        ..old.clone()
    };
    let path = folder.path().join("revisions");
    let mut moments = vec![snapshot(&path)];
    assert_eq!(store.add(&change("new"), &old).unwrap(), 2);
    moments.push(snapshot(&path));
    let back = store.stage("back", &old).unwrap();
    moments.push(snapshot(&path));
    let staged = store.stage("point", &new).unwrap();
    moments.push(snapshot(&path));
    staged.commit().unwrap();
    moments.push(snapshot(&path));
    // The swap fails.
    back.commit().unwrap();
    moments.push(snapshot(&path));
    store.remove(2);
    moments.push(snapshot(&path));

    let mut seen = Vec::new();
    for files in &moments {
        // Each file that is new may also be cut off anywhere, as long as it has no name for good.
        let unfinished = |name: &String| name.starts_with(UNFINISHED);
        let lengths = files
            .iter()
            .filter(|(name, _)| unfinished(name))
            .map(|(_, octets)| octets.len());
        for cut in 0..=lengths.max().unwrap_or(0) {
            let after = TempDir::new().unwrap();
            let place = after.path().join("revisions");
            fs::create_dir(&place).unwrap();
            for (name, octets) in files {
                let kept = if unfinished(name) {
                    cut.min(octets.len())
                } else {
                    octets.len()
                };
                fs::write(place.join(name), &octets[..kept]).unwrap();
            }
            let store = Store::new(after.path());
            store.prepare().unwrap();
            let pointer = store.pointer();
            assert!(pointer == old || pointer == new, "{pointer:?}");
            assert!(store.read(pointer.in_force).is_ok());
            assert_eq!(store.numbers().len() as u32, pointer.in_force, "nothing is left over");
            seen.push(pointer.in_force);
        }
    }
    assert!(seen.contains(&1) && seen.contains(&2));
}

/// Names and contents of the files in a folder.
fn snapshot(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let file = |entry: fs::DirEntry| {
        (
            entry.file_name().into_string().unwrap(),
            fs::read(entry.path()).unwrap(),
        )
    };
    entries.map(file).collect()
}

#[test]
fn what_was_before_a_revision_is_what_it_replaced() {
    let (folder, store) = store();
    for (replaced, number) in [(None, 1), (Some(1), 2), (Some(2), 3), (Some(2), 4)] {
        let change = Change {
            replaced,
            ..change("x")
        };
        assert_eq!(store.add(&change, &Pointer::default()).unwrap(), number);
    }
    assert_eq!(
        [4, 3, 2, 1].map(|number| store.before(number)),
        [Some(2), Some(2), Some(1), None]
    );
    // Not 3, which 4 did not replace, but what is older than the one that is lost.
    fs::write(folder.path().join("revisions/00000002.revision"), b"").unwrap();
    assert_eq!(store.before(4), Some(1));
}

#[test]
fn a_staged_pointer_counts_when_it_is_committed() {
    let (folder, store) = store();
    add(&store, "a");
    let next = Pointer {
        held: true,
        ..store.pointer()
    };
    drop(store.stage("x", &next).unwrap());
    assert!(!store.pointer().held);
    store.stage("x", &next).unwrap().commit().unwrap();
    assert!(store.pointer().held);
    let left = fs::read_dir(folder.path().join("revisions")).unwrap().count();
    assert_eq!(left, 3, "the revision, the pointer and its copy");
}

/// Else a damaged pointer would end a hold, and would confirm what nobody confirmed.
#[test]
fn a_damaged_or_missing_pointer_is_read_from_its_copy() {
    let (folder, store) = store();
    add(&store, "a");
    add(&store, "b");
    let path = folder.path().join("revisions/pointer");
    let held = Pointer {
        in_force: 1,
        newest: 2,
        held: true,
        ..Pointer::default()
    };
    let pending = Pointer {
        in_force: 2,
        newest: 2,
        pending: Some(Pending::after(1, 600)),
        ..Pointer::default()
    };
    for pointer in [held, pending] {
        store.point(&pointer).unwrap();
        fs::write(&path, b"x").unwrap();
        store.prepare().unwrap();
        assert_eq!(store.pointer(), pointer, "damaged");
        fs::remove_file(&path).unwrap();
        assert_eq!(store.pointer(), pointer, "missing");
    }
}

/// Reading one would wait for whoever writes into it.
#[test]
fn a_pipe_is_no_pointer_and_no_revision() {
    let (folder, store) = store();
    add(&store, "a");
    add(&store, "b");
    let pipe = |name: &str| {
        let path = folder.path().join("revisions").join(name);
        fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
    };
    pipe(POINTER);
    assert_eq!(store.pointer().in_force, 2);
    pipe("00000002.revision");
    let error = store.read(2).unwrap_err().to_string();
    assert!(error.contains("not a regular file"), "{error}");
    assert_eq!(store.read(1).unwrap().header.number, 1);
}

#[test]
fn a_copy_one_step_behind_forgets_no_revision() {
    let (folder, store) = store();
    add(&store, "a");
    let path = folder.path().join("revisions");
    let behind = fs::read(path.join(COPY)).unwrap();
    add(&store, "b");
    fs::write(path.join(COPY), behind).unwrap();
    fs::write(path.join(POINTER), b"x").unwrap();
    store.prepare().unwrap();
    assert_eq!(store.pointer().in_force, 1);
    assert_eq!(store.numbers(), [2, 1]);
}

#[test]
fn a_copy_that_cannot_be_written_is_in_nobodys_way() {
    let (folder, store) = store();
    fs::create_dir(folder.path().join("revisions/pointer.copy")).unwrap();
    add(&store, "a");
    assert_eq!(store.pointer().in_force, 1);
}

#[test]
fn without_pointer_and_copy_the_newest_counts() {
    let (folder, store) = store();
    add(&store, "a");
    add(&store, "b");
    for name in [POINTER, COPY] {
        fs::write(folder.path().join("revisions").join(name), b"{").unwrap();
    }
    assert_eq!(
        store.pointer(),
        Pointer {
            in_force: 2,
            newest: 2,
            ..Pointer::default()
        }
    );
}

#[test]
fn a_pending_change_is_due_after_its_time_and_after_a_reboot() {
    let pending = Pending::after(1, 600);
    assert!((598..=600).contains(&pending.remaining()));
    assert_eq!(Pending::after(1, 0).remaining(), 0);
    let earlier = Pending {
        boot: "another".into(),
        ..pending
    };
    assert_eq!(earlier.remaining(), 0);
}
