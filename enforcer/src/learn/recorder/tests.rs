use enforcer_common::verdict::{DropReason, Stage, Verdict};

use super::*;
use crate::events::tests::names;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn flow(protocol: u8, from: u16, to: u16) -> RefusedFlow {
    RefusedFlow {
        realm: "default".into(),
        link: None,
        from: (address("10.10.110.21"), from),
        to: (address("10.20.0.1"), to),
        protocol,
        picked_up: protocol == 6,
        answered: true,
        created: 500_000_000_000,
        seen: 590_000_000_000,
    }
}

fn span(after: u64) -> Span {
    Span {
        after: after * 1_000_000_000,
        until: 599_000_000_000,
        now: 600_000_000_000,
        unix: 1_000_000,
    }
}

#[test]
fn a_flow_is_counted_once_and_its_last_frame_is_followed() {
    let sighting = |after| span(after).sighting(&flow(6, 40_000, 443), &Leases::new());
    let (key, seen) = sighting(0).unwrap();
    assert_eq!(
        (key.protocol, key.port, key.to),
        (6, 443, End::Address(address("10.20.0.1")))
    );
    assert_eq!((seen.first, seen.last, seen.count), (999_900, 999_990, 1));
    assert_eq!(sighting(499).unwrap().1.count, 1);
    assert_eq!(sighting(500).unwrap().1.count, 0, "the reading before has counted it");
    let late = RefusedFlow {
        created: 599_000_000_001,
        seen: 600_000_000_000,
        ..flow(6, 40_000, 443)
    };
    assert_eq!(span(0).sighting(&late, &Leases::new()), None, "the next reading has it");
}

#[test]
fn readings_follow_each_other_without_a_gap_and_without_an_overlap() {
    const SECOND: u64 = 1_000_000_000;
    let mut after = 0;
    let mut counted = 0;
    let young = RefusedFlow {
        created: 10 * SECOND,
        seen: 10 * SECOND,
        ..flow(6, 40_000, 443)
    };
    // The one of a controller that ends, and the first one of the next, moments later.
    for (tenths, is_last) in [(95, false), (101, false), (102, true), (104, false), (250, false)] {
        let span = Span::new(after, tenths * SECOND / 10, is_last);
        assert!(span.until >= after, "it never goes back");
        counted += span.sighting(&young, &Leases::new()).map_or(0, |(_, seen)| seen.count);
        after = span.until;
    }
    assert_eq!(counted, 1);
}

#[test]
fn a_leased_address_is_its_device() {
    let realm = "default".to_owned();
    let leases = Leases::from([((realm, [10, 10, 110, 21].into()), "pump-9".to_owned())]);
    let (key, _) = span(0).sighting(&flow(17, 40_000, 53), &leases).unwrap();
    assert_eq!(key.from, End::Device("pump-9".into()));
}

#[test]
fn answers_of_sessions_that_are_older_are_told_the_right_way_round() {
    let turned = [(6, 443, 50_000), (6, 2575, 40_000), (17, 53, 5_000), (17, 161, 50_000)];
    let straight = [
        (6, 50_000, 443),
        (6, 2575, 2576),
        (6, 50_000, 50_001),
        (17, 123, 123),
        (17, 5_000, 50_000),
        (132, 443, 50_000),
    ];
    for (protocol, from, to) in turned {
        let (key, seen) = span(0).sighting(&flow(protocol, from, to), &Leases::new()).unwrap();
        assert!(seen.turned, "{protocol} {from} {to}");
        assert_eq!((key.from, key.port), (End::Address(address("10.20.0.1")), from));
    }
    // Of one that was seen to begin the ports do not matter: a client of an old system, a server that takes any port.
    let begun = RefusedFlow {
        picked_up: false,
        ..flow(6, 1_050, 49_155)
    };
    let (key, seen) = span(0).sighting(&begun, &Leases::new()).unwrap();
    assert_eq!((key.port, seen.turned), (49_155, false));
    for (protocol, from, to) in straight {
        let (key, seen) = span(0).sighting(&flow(protocol, from, to), &Leases::new()).unwrap();
        assert!(!seen.turned, "{protocol} {from} {to}");
        assert_eq!(key.port, to);
    }
}

#[test]
fn a_damaged_file_is_set_aside_and_what_is_whole_in_it_kept() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("learned.ndjson");
    let recorder = Recorder::new(path.clone());
    recorder.adopt();
    let mut store = Store::new(8);
    for port in [80, 443] {
        let (key, seen) = span(0).sighting(&flow(6, 40_000, port), &Leases::new()).unwrap();
        store.note(key, &seen);
    }
    let text = String::from_utf8(store.text().unwrap()).unwrap();
    std::fs::write(&path, text.replacen("\"port\":80", "\"port\":81", 1)).unwrap();
    let recorder = Recorder::new(path.clone());
    recorder.adopt();
    assert_eq!(recorder.inner().store.len(), 1);
    assert!(!path.exists() && folder.path().join("learned.damaged").exists());
    std::fs::write(&path, "nonsense").unwrap();
    let recorder = Recorder::new(path.clone());
    recorder.adopt();
    assert!(recorder.inner().store.is_empty() && !path.exists());
}

#[test]
fn nothing_is_written_before_the_file_was_read_nor_without_a_change() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("learned.ndjson");
    let recorder = Recorder::new(path.clone());
    let state = crate::state::tests::state();
    let tell = || {
        let names = names();
        let lan = names
            .tables
            .names
            .lans
            .iter()
            .position(|lan| lan.vlan.is_some())
            .unwrap();
        let event = Event {
            lan: lan as u16,
            family: 4,
            protocol: 2,
            destination_address: [0, 0, 0, 0xe000_0001],
            verdict: Verdict::WouldDrop as u8,
            reason: DropReason::DefaultDeny as u8,
            stage: Stage::Policy as u8,
            ..Event::default()
        };
        recorder.note_event(&event, SystemTime::now(), &names);
    };
    tell();
    recorder.sweep(&state);
    assert!(!path.exists());
    recorder.adopt();
    recorder.sweep(&state);
    assert!(path.exists());
    let counts = recorder.counts();
    assert_eq!((counts.answered, counts.unanswered, counts.saved), (0, 1, true));
    std::fs::remove_file(&path).unwrap();
    recorder.sweep(&state);
    recorder.close(&state);
    assert!(!path.exists(), "nothing has changed since");
    tell();
    recorder.sweep(&state);
    assert!(!path.exists(), "a count alone waits");
    recorder.close(&state);
    assert_eq!(Store::load(&path, 8).unwrap().store.iter().next().unwrap().1.count, 2);
}

#[test]
fn what_cannot_be_saved_is_told_and_tried_again() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("learned.ndjson");
    let recorder = Recorder::new(path.clone());
    let state = crate::state::tests::state();
    recorder.adopt();
    let (key, seen) = span(0).sighting(&flow(6, 40_000, 443), &Leases::new()).unwrap();
    recorder.told().note(key, &seen);
    std::os::unix::fs::symlink("/dev/full", path.with_extension("new")).unwrap();
    recorder.sweep(&state);
    assert!(!recorder.counts().saved && !path.exists());
    recorder.sweep(&state);
    assert!(recorder.counts().saved && path.exists(), "the disk has room again");
}
