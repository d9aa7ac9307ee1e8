//! Captures: what is read of them, what is said of bad ones, and what becomes of their frames.

mod files;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::{env, fs};

use proptest::prelude::*;

use enforcer::offline::capture::{CaptureError, Captured, replay};
use enforcer::offline::simulate::Simulation;
use enforcer::offline::{Rig, build};
use enforcer::policy::probe::{Probe, Words};
use enforcer::policy::{ValidPolicy, load};

/// 2026-11-23 21:00 UTC, in nanoseconds.
const START: u64 = 1_795_467_600_000_000_000;
const SECOND: u64 = 1_000_000_000;

/// What is remembered of a frame: number, time, octets, length, sent.
type Seen = (u64, u64, Vec<u8>, u32, bool);

fn read(file: &[u8]) -> (Vec<Seen>, Result<(), CaptureError>) {
    let mut seen = Vec::new();
    let result = replay(file, |frame| {
        let Captured {
            number,
            nanos,
            octets,
            length,
            sent,
        } = *frame;
        seen.push((number, nanos, octets.to_vec(), length, sent));
        ControlFlow::Continue(())
    });
    (seen, result)
}

#[test]
fn both_byte_orders_and_both_clocks_of_pcap() {
    let frames: [files::Frame<'_>; 2] = [(START + 1000, &[1; 60]), (START + SECOND + 2000, &[2; 61])];
    let expected = vec![
        (1, START + 1000, vec![1; 60], 60, false),
        (2, START + SECOND + 2000, vec![2; 61], 61, false),
    ];
    for nanoseconds in [false, true] {
        for big in [false, true] {
            let file = files::pcap(&frames, nanoseconds, big, 1);
            assert_eq!(read(&file), (expected.clone(), Ok(())), "{nanoseconds} {big}");
        }
    }
    let nanos = files::pcap(&[(START + 7, &[0; 60])], true, false, 1);
    assert_eq!(read(&nanos).0[0].1, START + 7);
}

#[test]
fn clocks_interfaces_and_sections_of_pcapng() {
    let mut file = files::section();
    file.extend(files::interface(6));
    file.extend(files::interface(9));
    file.extend(files::interface(0x8a));
    file.extend(files::enhanced(0, START / 1000, &[1; 60], 60, None));
    file.extend(files::enhanced(1, START + 1, &[2; 60], 1500, Some(2)));
    file.extend(files::enhanced(2, (START / SECOND) << 10 | 512, &[3; 60], 60, Some(1)));
    file.extend(files::simple(&[4; 61]));
    // A block of another kind, larger than what is read at once, and a new section with other interfaces.
    file.extend(files::block(0xbad, &vec![0; 3 << 20]));
    file.extend(files::section());
    file.extend(files::interface(9));
    file.extend(files::enhanced(0, START + 5, &[5; 60], 60, None));
    let (seen, result) = read(&file);
    assert_eq!(result, Ok(()));
    let half = SECOND / 2;
    let expected = [
        (1, START, vec![1; 60], 60, false),
        (2, START + 1, vec![2; 60], 1500, true),
        (3, START + half, vec![3; 60], 60, false),
        (4, START + half, vec![4; 61], 61, false),
        (5, START + 5, vec![5; 60], 60, false),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_capture_that_is_cut_tells_so_behind_its_last_whole_frame() {
    let frames: [files::Frame<'_>; 3] = [(START, &[1; 60]), (START, &[2; 60]), (START, &[3; 60])];
    let whole = files::pcap(&frames, false, false, 1);
    // Each end is read into a fresh buffer, so not every length is tried.
    let ends = (0..=whole.len())
        .step_by(11)
        .chain([23, 24, 25, 99, 100, 101, whole.len() - 1]);
    for length in ends {
        let (seen, result) = read(&whole[..length]);
        let (frames, rest) = (length.saturating_sub(24) / 76, length.saturating_sub(24) % 76);
        assert_eq!(seen.len(), frames, "{length} octets");
        let expected = match (length, rest) {
            (..24, _) => Err(CaptureError::NotACapture),
            (_, 0) => Ok(()),
            _ => Err(CaptureError::Cut { frames: frames as u64 }),
        };
        assert_eq!(result, expected, "{length} octets");
    }
    let mut next = files::section();
    next.extend(files::interface(9));
    next.extend(files::enhanced(0, START, &[1; 60], 60, None));
    let (seen, result) = read(&next[..next.len() - 1]);
    assert_eq!((seen.len(), result), (0, Err(CaptureError::Cut { frames: 0 })));
}

#[test]
fn what_is_no_capture_of_ethernet_is_refused() {
    assert_eq!(read(b"").1, Err(CaptureError::NotACapture));
    assert_eq!(read(&[b'x'; 500]).1, Err(CaptureError::NotACapture));
    let cooked = files::pcap(&[(START, &[1; 60])], false, false, 113);
    assert_eq!(read(&cooked), (Vec::new(), Err(CaptureError::LinkType(113))));
    // A frame of an interface that the capture does not describe.
    let mut file = files::section();
    file.extend(files::interface(9));
    file.extend(files::enhanced(0, START, &[1; 60], 60, None));
    file.extend(files::enhanced(7, START, &[1; 60], 60, None));
    let (seen, result) = read(&file);
    assert_eq!((seen.len(), result), (1, Err(CaptureError::Damaged { frames: 1 })));
}

#[test]
fn a_length_that_cannot_be_is_damage() {
    let mut file = files::pcap(&[(START, &[1; 60]), (START, &[2; 60])], false, false, 1);
    file[24 + 76 + 8..][..4].copy_from_slice(&0xffff_fff0_u32.to_le_bytes());
    // So much is missing that no file has it; nothing tries to hold it.
    file.resize(file.len() + (20 << 20), 0);
    let (seen, result) = read(&file);
    assert_eq!((seen.len(), result), (1, Err(CaptureError::Damaged { frames: 1 })));
}

/// All kinds of blocks, in small.
fn mixture() -> Vec<u8> {
    let mut file = files::section();
    file.extend(files::interface(6));
    file.extend(files::interface(9));
    file.extend(files::enhanced(0, START / 1000, &[1; 60], 60, None));
    file.extend(files::enhanced(1, START + 1, &[2; 60], 1500, Some(2)));
    file.extend(files::simple(&[4; 61]));
    file.extend(files::block(0xbad, &[0; 16]));
    file
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever became of a capture on the way, it is read or refused.
    #[test]
    fn no_capture_breaks_the_reader(
        next in any::<bool>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut file = if next { mixture() } else { files::pcap(&[(START, &[1; 60]), (START, &[2; 60])], true, false, 1) };
        for (at, octet) in edits {
            let at = at.index(file.len());
            file[at] = octet;
        }
        file.truncate(cut.index(file.len()) + file.len() / 2);
        let (seen, result) = read(&file);
        prop_assert!(seen.len() <= 3);
        prop_assert!(result.is_ok() || !result.expect_err("bad").to_string().is_empty());
    }
}

fn hospital() -> ValidPolicy {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../policies"));
    load(&[folder]).unwrap_or_else(|findings| panic!("{findings}"))
}

fn frame(policy: &ValidPolicy, src: &str, dst: &str, service: &str, more: &[(&'static str, &str)]) -> Vec<u8> {
    let words = [("src", src), ("dst", dst), ("service", service)];
    let words = words.into_iter().chain(more.iter().copied());
    let words = Words::new(words.map(|(key, word)| (key, word.to_owned())));
    build::octets(&Probe::from_command_line(&words, policy).expect("a frame"))
}

/// A quarter of an hour on a trunk.
fn ward(policy: &ValidPolicy) -> Vec<(u64, Vec<u8>)> {
    let frame = |src, dst, service, more: &[_]| frame(policy, src, dst, service, more);
    let (pump, gateway) = ("pump-icu-01", "pump-gateway-01");
    let mut lldp = vec![0x01, 0x80, 0xc2, 0, 0, 0x0e, 2, 0, 0, 0, 0, 9, 0x88, 0xcc];
    lldp.resize(60, 0);
    let mut untagged = frame(pump, gateway, "tcp/443", &[]);
    untagged.drain(12..16);
    vec![
        (0, frame(pump, gateway, "tcp/443", &[("sport", "40001")])),
        (
            1,
            frame(gateway, pump, "tcp/40001", &[("sport", "443"), ("flags", "syn-ack")]),
        ),
        (
            2,
            frame(pump, gateway, "tcp/443", &[("sport", "40001"), ("flags", "ack")]),
        ),
        (
            3,
            frame(
                pump,
                gateway,
                "tcp/443",
                &[("sport", "40001"), ("flags", "psh-ack"), ("size", "300")],
            ),
        ),
        (1000, frame("ct-01", "pacs-01", "tcp/11113", &[])),
        (2000, frame("ct-01", "pacs-01", "tcp/11113", &[])),
        (3000, lldp),
        (4000, frame("analyser-01", "ventilator-icu-01", "tcp/445", &[])),
        (5000, frame("10.66.7.7", pump, "tcp/3613", &[])),
        (5001, frame("10.66.7.7", "pump-icu-02", "tcp/3613", &[])),
        (
            6000,
            frame("monitor-icu-01", "central-station-01", "udp/24105", &[("size", "200")]),
        ),
        (
            6000,
            frame("monitor-icu-02", "central-station-01", "udp/24105", &[("size", "200")]),
        ),
        (900_000, untagged),
    ]
}

/// The capture of the examples in docs/tools.md. After a change on purpose: `UPDATE_EXPECTED=1`.
#[test]
fn the_sample_is_what_it_was_made_of() {
    let frames = ward(&hospital());
    let frames = frames
        .iter()
        .map(|(millis, octets)| (START + millis * 1_000_000, octets.as_slice()));
    let file = files::pcap(&frames.collect::<Vec<_>>(), false, false, 1);
    let path = Path::new("tests/cmd/ward.pcap");
    if env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(path, &file).expect("writable");
        fs::write(path.with_file_name("cut.pcap"), &file[..file.len() - 200]).expect("writable");
    }
    assert!(
        fs::read(path).expect("readable") == file,
        "{} is another",
        path.display()
    );
}

#[test]
fn frames_of_which_a_part_was_kept_are_decided_as_the_whole() {
    let policy = hospital();
    let octets = frame(
        &policy,
        "pump-icu-01",
        "pump-gateway-01",
        "tcp/443",
        &[("size", "1000")],
    );
    let rig = Rig::new(policy, 0).unwrap_or_else(|findings| panic!("{findings}"));
    let captured = |octets, length| Captured {
        number: 1,
        nanos: START,
        octets,
        length,
        sent: false,
    };
    let length = octets.len() as u32;
    let kept = rig.outcome(&captured(&octets[..96], length), START);
    assert!(kept.is_permitted(), "{kept}");
    assert_eq!(kept.length, length);
    // On the wire, such a frame would be cut.
    let cut = rig.outcome(&captured(&octets[..96], 96), START);
    assert!(!cut.is_permitted(), "{cut}");
}

#[test]
fn what_the_gateway_sends_is_left_out_and_time_does_not_go_back() {
    let policy = hospital();
    let gateway = [2, 0, 0, 0, 0, 9];
    let pump = frame(&policy, "pump-icu-01", "pump-gateway-01", "tcp/443", &[]);
    let routed = frame(
        &policy,
        "pump-icu-01",
        "pump-gateway-01",
        "tcp/443",
        &[("vlan", "205"), ("mac", "02:00:00:00:00:09")],
    );
    let rig = Rig::new(policy, 0).unwrap_or_else(|findings| panic!("{findings}"));
    let mut simulation = Simulation::new(&rig, None, vec![gateway]);
    let mut file = files::section();
    file.extend(files::interface(9));
    let length = pump.len() as u32;
    file.extend(files::enhanced(0, START, &pump, length, None));
    file.extend(files::enhanced(0, START + 1, &routed, length, None));
    file.extend(files::enhanced(0, START + 2, &pump, length, Some(2)));
    file.extend(files::enhanced(0, START - 1, &pump, length, None));
    replay(file.as_slice(), |frame| simulation.feed(frame)).expect("a good capture");
    assert_eq!((simulation.total.frames, simulation.total.refused), (2, 0));
    assert_eq!(
        (simulation.skipped, simulation.late, simulation.flows_seen()),
        (2, 1, 1)
    );
    assert_eq!(simulation.span, Some((START, START)));
}
