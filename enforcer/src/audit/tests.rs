use super::*;
use tempfile::TempDir;

fn deed(change: u64) -> Deed {
    Deed {
        change: Some(change),
        time: "2026-11-29T08:00:00Z".to_owned(),
        by: Some(Who {
            uid: 1000,
            user: Some("alice".to_owned()),
            login: None,
        }),
        what: What::Apply,
        replaced: Some(1),
        revision: Some(2),
        confirm_seconds: Some(600),
        comment: "CHG-17 \"quoted\"\nsecond line".to_owned(),
    }
}

fn trail(folder: &TempDir) -> Trail {
    let trail = Trail::new(folder.path());
    trail.open(None);
    trail
}

/// A trail of three changes, and one refused call.
fn written() -> TempDir {
    let folder = TempDir::new().unwrap();
    let trail = trail(&folder);
    (1..=3).for_each(|change| trail.done(deed(change)));
    trail.not_done(None, What::Reload, "", Outcome::Refused, "pending");
    folder
}

fn findings(folder: &TempDir) -> Vec<String> {
    read(folder.path()).unwrap().findings
}

fn current(folder: &TempDir) -> PathBuf {
    folder.path().join(CURRENT)
}

#[test]
fn a_trail_reads_back_and_goes_on_where_it_ended() {
    let folder = written();
    assert_eq!(trail(&folder).open(None), 3);
    trail(&folder).done(deed(4));
    let reading = read(folder.path()).unwrap();
    assert_eq!((reading.first, reading.lines, reading.changes()), (1, 5, 4));
    assert_eq!(reading.entries[4].deed, deed(4));
    assert_eq!(reading.entries[3].outcome, Outcome::Refused);
    assert_eq!((reading.findings.len(), reading.halves.len()), (0, 0));
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(current(&folder)).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_change_of_any_octet_is_found() {
    let folder = written();
    let whole = fs::read(current(&folder)).unwrap();
    let last = read(folder.path()).unwrap().entries[2].deed.clone();
    let ends: Vec<_> = (0..whole.len()).filter(|place| whole[*place] == b'\n').collect();
    // Of the last line, which nothing follows, only what makes it no line is found.
    for place in 0..=ends[2] {
        let mut changed = whole.clone();
        changed[place] ^= 1;
        fs::write(current(&folder), changed).unwrap();
        let mut reading = read(folder.path()).unwrap();
        reading.compare(Some(&last));
        assert_ne!(reading.findings, [""; 0], "changed at {place}");
    }
}

#[test]
fn lines_taken_out_put_in_and_cut_off_are_found() {
    let folder = written();
    let text = fs::read_to_string(current(&folder)).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let last = read(folder.path()).unwrap().entries[2].deed.clone();
    let found = |lines: &[&str]| {
        fs::write(current(&folder), lines.join("\n") + "\n").unwrap();
        let mut reading = read(folder.path()).unwrap();
        reading.compare(Some(&last));
        reading.findings.join("; ")
    };
    assert_eq!(found(&lines), "");
    assert!(found(&[lines[0], lines[2], lines[3]]).contains("line 2: it says that it is line 3"));
    assert!(found(&[lines[0], lines[0], lines[1], lines[2], lines[3]]).contains("line 2: it says that it is line 1"));
    assert!(found(&lines[..2]).contains("cut off"));
    let forged = lines[1].replace("alice", "mallory");
    assert!(found(&[lines[0], &forged, lines[2], lines[3]]).contains("line 3: the line before it"));
}

#[test]
fn half_a_line_that_a_kill_left_is_no_forgery() {
    let folder = written();
    let whole = fs::read(current(&folder)).unwrap();
    fs::write(current(&folder), &whole[..whole.len() - 40]).unwrap();
    trail(&folder).done(deed(4));
    let reading = read(folder.path()).unwrap();
    assert_eq!(reading.findings, [""; 0]);
    assert_eq!((reading.halves.len(), reading.lines, reading.changes()), (1, 5, 4));
}

#[test]
fn a_change_that_a_kill_kept_from_the_trail_is_added() {
    let folder = written();
    let again = Trail::new(folder.path());
    assert_eq!(again.open(Some(&deed(4))), 4);
    assert_eq!(again.open(Some(&deed(4))), 4);
    let reading = read(folder.path()).unwrap();
    assert_eq!((reading.lines, reading.changes()), (5, 4));
}

#[test]
fn full_files_are_set_aside_and_the_oldest_given_up() {
    let folder = TempDir::new().unwrap();
    let trail = Trail {
        full: 2000,
        ..trail(&folder)
    };
    (1..=200).for_each(|change| trail.done(deed(change)));
    let files = reading::rotated(folder.path()).unwrap();
    assert_eq!(files.len(), FILES);
    let reading = read(folder.path()).unwrap();
    assert_eq!(reading.findings, [""; 0]);
    assert_eq!((reading.lines, reading.changes()), (200, 200));
    assert_eq!(reading.entries[0].line, reading.first);
    assert!(reading.first > 1);

    // A kill between the two steps of setting a file aside.
    fs::rename(current(&folder), folder.path().join("audit-0000000200.ndjson")).unwrap();
    Trail::new(folder.path()).open(None);
    self::trail(&folder).done(deed(201));
    assert_eq!(findings(&folder), [""; 0]);
    fs::remove_file(&files[3]).unwrap();
    let found = findings(&folder).join("; ");
    for finding in ["lines are missing before it", "those before it are missing"] {
        assert!(found.contains(finding), "{finding}: {found}");
    }
}

#[test]
fn a_trail_that_was_removed_is_missed() {
    let folder = written();
    fs::remove_file(current(&folder)).unwrap();
    // While the enforcer runs, it goes on with the next line; after a restart it knows of the last change only.
    let again = Trail::new(folder.path());
    again.open(Some(&deed(3)));
    assert!(
        findings(&folder)
            .join("; ")
            .contains("it is change 3, and those before it are missing")
    );

    let folder = TempDir::new().unwrap();
    let trail = trail(&folder);
    trail.done(deed(1));
    fs::remove_file(current(&folder)).unwrap();
    trail.done(deed(2));
    assert!(findings(&folder).join("; ").contains("lines 1 to 1 are missing"));
}

#[test]
fn unprivileged_callers_cannot_fill_the_disk() {
    let folder = TempDir::new().unwrap();
    let trail = trail(&folder);
    let stranger = Who {
        uid: 12_345,
        user: None,
        login: None,
    };
    for _ in 0..1000 {
        trail.not_done(
            Some(stranger.clone()),
            What::Detach,
            &"x".repeat(60_000),
            Outcome::Refused,
            &"y".repeat(60_000),
        );
    }
    trail.done(deed(1));
    let reading = read(folder.path()).unwrap();
    assert_eq!(reading.lines, u64::from(REFUSED_OTHERS) + 1);
    assert!(reading.size < 30_000, "{}", reading.size);
    assert_eq!(reading.findings, [""; 0]);
}

#[test]
fn what_finds_no_room_waits() {
    let folder = TempDir::new().unwrap();
    let trail = trail(&folder);
    trail.done(deed(1));
    // A folder of that name is no file to write to, as a full disk is none.
    let path = current(&folder);
    fs::rename(&path, folder.path().join("aside")).unwrap();
    fs::create_dir(&path).unwrap();
    trail.done(deed(2));
    assert!(trail.flush().is_err());
    fs::remove_dir(&path).unwrap();
    fs::rename(folder.path().join("aside"), &path).unwrap();
    assert_eq!(trail.flush(), Ok(()));
    let reading = read(folder.path()).unwrap();
    assert_eq!((reading.lines, reading.findings.len()), (2, 0));
}

/// Opening one would wait for its other end, and with it the controller.
#[test]
fn a_pipe_is_no_trail() {
    let folder = TempDir::new().unwrap();
    let trail = trail(&folder);
    trail.done(deed(1));
    let path = current(&folder);
    fs::remove_file(&path).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
    trail.done(deed(2));
    let error = trail.flush().unwrap_err();
    assert!(error.contains("not a regular file"), "{error}");
    assert!(
        read(folder.path())
            .unwrap_err()
            .to_string()
            .contains("not a regular file")
    );
}

/// The store has the next change, and the trail not yet: as at every change, for a moment.
#[test]
fn a_change_under_way_is_no_finding_and_what_stays_is_one() {
    let folder = written();
    let trail = trail(&folder);
    let mut reads = 0;
    let settled_at = |last: u64, written_behind: bool, reads: &mut usize| {
        let reading = settled(|| {
            *reads += 1;
            let mut reading = read(folder.path())?;
            reading.compare(Some(&deed(last)));
            if written_behind && *reads == 2 {
                trail.done(deed(last));
            }
            Ok(reading)
        });
        reading.unwrap().findings
    };
    assert_eq!(settled_at(4, true, &mut reads), Vec::<String>::new());
    assert_eq!(reads, 3, "not longer than needed");
    assert_eq!(settled_at(5, false, &mut reads).len(), 1);
}
