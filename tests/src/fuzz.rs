//! What must hold for any octets: parser, decision, policy text, configuration text, control protocol, DHCP messages.
//!
//! Each [`Target`] takes octets and panics when something does not hold. `tests/fuzz.rs` runs them all, on what is in
//! `fuzz/corpus` and `fuzz/regressions` and on mutations of it; the package in `fuzz` hands the same functions to
//! libFuzzer (`cargo +nightly fuzz run decide`), which looks where the code branches.
#![allow(clippy::missing_panics_doc, reason = "to panic is what a target is for")]

mod control;
mod dhcp;
mod mutate;
mod seeds;

use std::fmt::Display;
use std::path::Path;
use std::time::{Duration, Instant};

use enforcer::engine::Engine;
use enforcer::policy::{self, TableSet};
use enforcer_common::abi::{Event, NO_RULE};
use enforcer_common::frame::Frame as _;
use enforcer_common::packet::{Fragment, Packet};
use enforcer_common::verdict::{DropReason, Stage, Verdict};

pub use mutate::mutated;
pub use seeds::{Seed, seeds};

use crate::shapes;

/// Something that takes any octets.
#[derive(Clone, Copy)]
pub struct Target {
    /// Also the name of its folders.
    pub name: &'static str,
    /// Panics when something does not hold.
    pub run: fn(&[u8]),
    /// Mutations in a short run: a few seconds' worth.
    pub count: usize,
}

/// All targets.
pub const TARGETS: [Target; 6] = [
    Target {
        name: "parse",
        run: parse,
        count: 200_000,
    },
    Target {
        name: "decide",
        run: decide,
        count: 6_000,
    },
    Target {
        name: "policy",
        run: policy,
        count: 3_000,
    },
    Target {
        name: "config",
        run: config,
        count: 6_000,
    },
    Target {
        name: "control",
        run: control::control,
        count: 3_000,
    },
    Target {
        name: "dhcp",
        run: dhcp::dhcp,
        count: 100_000,
    },
];

/// The longest that any text may take, in an unoptimised build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// The parser believes nothing that the frame does not hold.
pub fn parse(octets: &[u8]) {
    let mut packet = Packet::default();
    let outcome = octets.parse(&mut packet);
    assert_eq!(packet.length as usize, octets.len());
    assert!(packet.tags <= 2 && packet.outer_vlan < 4096 && packet.inner_vlan < 4096);
    if outcome.is_ok() && packet.family != 0 {
        let end = usize::from(packet.transport_at) + usize::from(packet.transport_length);
        assert!(end <= octets.len(), "{end} octets of {}", octets.len());
        if packet.fragment == Fragment::Later {
            assert_eq!((packet.source_port, packet.destination_port), (0, 0));
        }
    }
}

/// Every frame of a sequence gets a verdict that fits its reason.
///
/// The octets are the interface (its two low bits), the length and the content of each frame in turn; the last may
/// be cut.
pub fn decide(octets: &[u8]) {
    thread_local! {
        static TABLES: TableSet = shapes::tables();
    }
    let engine = Engine::new(TABLES.with(Clone::clone), shapes::port_table());
    let (mut rest, mut now) = (octets, 1);
    while let [interface, length, following @ ..] = rest {
        let (frame, behind) = following.split_at(usize::from(*length).min(following.len()));
        rest = behind;
        now += u64::from(*interface >> 2) * 1_000_000_000;
        let ifindex = u32::from(interface & 3);
        let (decision, packet) = engine.decide(frame, ifindex, now);
        let fits = match decision.verdict {
            Verdict::Pass => decision.reason == DropReason::None,
            Verdict::Drop | Verdict::WouldDrop => decision.reason != DropReason::None,
            Verdict::Redirect => false,
        };
        assert!(fits && decision.reason != DropReason::TableMiss, "{decision:?}");
        let rules = engine.tables().rules.len() as u32;
        assert!(decision.rule == NO_RULE || decision.rule < rules, "{decision:?}");
        assert!(
            decision.rule == NO_RULE || decision.stage as u8 >= Stage::Flow as u8,
            "{decision:?}"
        );
        let event = Event::new(&decision, &packet, ifindex, 1, now);
        assert_eq!(event.length as usize, frame.len());
    }
}

/// Text is a policy, which then compiles, or has findings that can be shown; both in bounded time.
pub fn policy(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets).into_owned();
    let started = Instant::now();
    match policy::load_texts([("policy.yaml".into(), text)]) {
        Ok(policy) => match policy::compile(&policy) {
            // A rule that others follow when it ends may have several records.
            Ok(tables) => assert!(tables.rules.len() > policy.rules.len()),
            Err(findings) => shown(&findings),
        },
        Err(findings) => shown(&findings),
    }
    assert!(started.elapsed() < PATIENCE, "it took {:?}", started.elapsed());
}

/// What a file holds is a configuration, or has findings that can be shown; both in bounded time.
pub fn config(octets: &[u8]) {
    let started = Instant::now();
    match enforcer::config::parse(Path::new("enforcer.toml"), octets.to_vec()) {
        Ok(config) => assert!(!config.ports.is_empty()),
        Err(findings) => shown(&findings),
    }
    assert!(started.elapsed() < PATIENCE, "it took {:?}", started.elapsed());
}

/// What is wrong is said.
fn shown(findings: &impl Display) {
    assert!(!findings.to_string().trim().is_empty());
}

/// The control protocol.
pub use control::control;
/// DHCP messages.
pub use dhcp::dhcp;
