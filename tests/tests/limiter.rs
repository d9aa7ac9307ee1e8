//! Limits over time: in the kernel program, with one and more CPUs at one bucket, at many rates, after pauses and over swaps; and
//! of flows that come under another rule. Wants to be root.
//!
//! What passes is compared with what a perfect limiter lets through of the frames as they really came, so that a busy machine
//! changes nothing. Two frames in a hundred more or less are allowed.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use enforcer::engine::Engine;
use enforcer::kernel::pins::Pins;
use enforcer::kernel::{Generation, LoadOptions, PortSetup, SharedMaps, ports};
use enforcer::policy::{self, TableSet};
use enforcer_common::packet::tcp_flags;
use enforcer_common::verdict::{DropReason, Verdict};
use enforcer_tests::lab::Namespace;
use enforcer_tests::offer::{self, Batch, Limit, Offer, Tally};
use enforcer_tests::packet::{Frame, packet};

const ZONES: &str = "
zones:
  here: {vlan: 10, subnets: 10.0.0.0/16, mode: enforce}
  there: {vlan: 20, subnets: 10.2.0.0/16, mode: enforce, limits: {toward: {packets: 20000/s}}}
  elsewhere: {vlan: 30, subnets: 10.3.0.0/16, mode: enforce}
rules:
";
/// Each source has a bucket of its own.
const RULES: &str = "
  packets: {from: here, to: elsewhere, services: udp/1, action: allow, limit: {packets: 20000/s, scope: source}}
  bits: {from: here, to: elsewhere, services: udp/2, action: allow, limit: {bits: 16M/s, scope: source}}
  trickle: {from: here, to: there, services: udp/3, action: allow, limit: {packets: 1/h, burst: 1}}
  shielded: {from: here, to: there, services: udp/4, action: allow}
";
/// Rules before them, so that all numbers in the tables are others.
const MORE: &str = "
  another: {from: elsewhere, to: here, services: udp/1-100, action: allow, limit: {packets: 5/s}, priority: 5}
  one-more: {from: any, to: there, services: udp/9, action: deny, priority: 5}
";
/// All limits: 16 Mbit/s are as many frames of 100 octets; a quarter of a second's worth may come at once.
const LIMIT: Limit = Limit {
    rate: 20_000.0,
    burst: 5_000.0,
};
/// The loopback interface, where test runs seem to come in by.
const LOOPBACK: u32 = 1;

fn tables(rules: &[&str]) -> TableSet {
    let text = format!("{ZONES}{}", rules.concat());
    let policy = policy::load_texts([("policy.yaml".into(), text)]).expect("a good policy");
    policy::compile(&policy).expect("a good policy")
}

/// Loads a policy, with state of its own unless it is said whose.
fn load(number: u32, tables: &TableSet, shared: SharedMaps, running: Option<&Generation>) -> Result<Generation> {
    let ports = [PortSetup::new("trunk", LOOPBACK)];
    let options = LoadOptions {
        number,
        shared,
        running: running.map(Generation::slots),
        event_rate: 0,
        ..LoadOptions::new(tables, &ports)
    };
    Generation::load(&options).context("the kernel takes the program: this test wants root")
}

/// A frame of 100 octets.
fn frame(source: &str, destination: &str, port: u16) -> Frame {
    let frame = packet().vlan(10).ip(source, destination).udp(1, port);
    frame.payload([0; 54]).build()
}

fn ensure_permitted(passed: f64, batches: &[Batch], what: &str) -> Result<()> {
    let (least, most) = offer::permitted(batches, LIMIT);
    let offered: f64 = batches.iter().map(|batch| f64::from(batch.frames)).sum();
    ensure!(
        passed >= 0.98 * least && passed <= 1.02 * most,
        "{what}: {passed} of {offered} passed, {least} to {most} expected"
    );
    Ok(())
}

/// Pitfall 15: what passes is the rate, times the time, plus one burst: from half the rate to a hundred times, after pauses, also
/// when every CPU charges the same bucket.
#[test]
fn what_passes_is_the_rate() -> Result<()> {
    let generation = load(1, &tables(&[RULES]), SharedMaps::Private, None)?;
    let _running = offer::keep_running(&generation)?;
    let steady = |times| Offer {
        times,
        spans: 1,
        span: Duration::from_millis(400),
        pause: Duration::ZERO,
    };
    let with_pauses = Offer {
        times: 3.0,
        spans: 3,
        span: Duration::from_millis(150),
        pause: Duration::from_millis(350),
    };
    let mut source = 0;
    for (kind, port) in [("packets", 1), ("bits", 2)] {
        for cpus in [1, thread::available_parallelism()?.get().clamp(1, 2)] {
            for offer in [
                steady(0.5),
                steady(1.0),
                steady(2.0),
                steady(10.0),
                steady(100.0),
                with_pauses,
            ] {
                source += 1;
                let frame = frame(&format!("10.0.1.{source}"), "10.3.0.1", port);
                let before = Tally::of(&generation)?;
                let batches = offer::run(&generation, &frame, cpus, LIMIT, offer, Instant::now())?;
                let Tally { passed, dropped } = Tally::of(&generation)?.since(before);
                let offered: u32 = batches.iter().map(|batch| batch.frames).sum();
                ensure!(
                    (passed + dropped - f64::from(offered)).abs() < 0.5,
                    "frames that nobody counted"
                );
                ensure_permitted(passed, &batches, &format!("{kind}, {offer:?}, {cpus} CPUs"))?;
            }
        }
    }
    Ok(())
}

/// Buckets outlive the policy that filled them.
#[test]
fn swaps_neither_fill_nor_empty_a_bucket() -> Result<()> {
    let gateway = Namespace::gateway("limiter")?;
    gateway.enter(|| {
        let pins = Pins::create("/sys/fs/bpf/enforcer".as_ref())?;
        let shared = || SharedMaps::Pinned(pins.maps());
        let first = load(1, &tables(&[RULES]), shared(), None)?;
        let second = load(2, &tables(&[MORE, RULES]), shared(), Some(&first))?;
        let _running = [offer::keep_running(&first)?, offer::keep_running(&second)?];
        let (frame, epoch) = (frame("10.0.1.1", "10.3.0.1", 1), Instant::now());
        let offer = Offer {
            times: 3.0,
            spans: 1,
            span: Duration::from_millis(150),
            pause: Duration::ZERO,
        };
        let mut batches = Vec::new();
        for generation in [&first, &second, &first, &second, &first] {
            batches.extend(offer::run(generation, &frame, 1, LIMIT, offer, epoch)?);
        }
        ensure_permitted(Tally::of(&first)?.passed, &batches, "four swaps")
    })
}

/// A flood that its rule's limit refuses takes nothing from what may be sent toward the device that it is aimed at.
#[test]
fn refused_frames_are_charged_to_nobody_elses_budget() -> Result<()> {
    let generation = load(1, &tables(&[RULES]), SharedMaps::Private, None)?;
    let _running = offer::keep_running(&generation)?;
    let (flood, good) = (frame("10.0.1.1", "10.2.0.1", 3), frame("10.0.1.2", "10.2.0.1", 4));
    let offer = |times| Offer {
        times,
        spans: 1,
        span: Duration::from_millis(500),
        pause: Duration::ZERO,
    };
    let epoch = Instant::now();
    let (flooded, served) = thread::scope(|scope| {
        let flooded = scope.spawn(|| offer::run(&generation, &flood, 1, LIMIT, offer(10.0), epoch));
        let served = offer::run(&generation, &good, 1, LIMIT, offer(0.9), epoch);
        (flooded.join().expect("no panic"), served)
    });
    let frames = |batches: &[Batch]| -> f64 { batches.iter().map(|batch| f64::from(batch.frames)).sum() };
    let Tally { passed, dropped } = Tally::of(&generation)?;
    // One frame an hour is the flood's.
    let (least, most) = offer::permitted(&served?, LIMIT);
    ensure!(
        passed >= least + 1.0 && passed <= most + 1.0,
        "{passed} passed, {least} to {most} are due, and 1"
    );
    ensure!(
        (dropped - (frames(&flooded?) - 1.0)).abs() < 5_000.0,
        "the flood is refused: {dropped}"
    );
    Ok(())
}

/// A window in which concurrent flows are counted, in nanoseconds.
const WINDOW: u64 = 1 << 34;

/// Two places under one rule, whatever its name.
fn two_at_a_time(rule: &str) -> TableSet {
    let text = format!(
        "
zones:
  here: {{vlan: 10, subnets: 10.0.1.0/24, mode: enforce}}
  there: {{vlan: 20, subnets: 10.0.2.0/24, mode: enforce}}
rules:
  {rule}: {{from: here, to: there, services: tcp/1, action: allow, limit: {{concurrent: 2}}}}
"
    );
    let policy = policy::load_texts([("policy.yaml".into(), text)]).expect("a good policy");
    policy::compile(&policy).expect("a good policy")
}

/// docs/data-path.md, `budget`: where flows count that a swap brings under another rule.
#[test]
fn a_flow_under_another_rule_takes_a_place_there_in_its_next_window() {
    let trunk = ports::table(&[PortSetup::new("trunk", LOOPBACK).entry(0)]).expect("one port");
    let mut engine = Engine::new(two_at_a_time("before"), trunk);
    let frame = |client, flags| {
        packet()
            .vlan(10)
            .ip("10.0.1.5", "10.0.2.5")
            .tcp(client, 1, flags)
            .build()
    };
    let passes = |engine: &Engine, client, flags, now| {
        let (decision, _) = engine.decide(&frame(client, flags), LOOPBACK, now);
        assert!(matches!(decision.reason, DropReason::None | DropReason::RuleLimit));
        decision.verdict == Verdict::Pass
    };
    let now = 10 * WINDOW;
    assert!(passes(&engine, 1, tcp_flags::SYN, now) && passes(&engine, 2, tcp_flags::SYN, now));
    let answer = packet()
        .vlan(20)
        .ip("10.0.2.5", "10.0.1.5")
        .tcp(1, 1, tcp_flags::SYN | tcp_flags::ACK);
    assert_eq!(engine.decide(&answer.build(), LOOPBACK, now).0.verdict, Verdict::Pass);
    assert!(
        !passes(&engine, 3, tcp_flags::SYN, now),
        "two places, and both are taken"
    );

    engine.swap(two_at_a_time("after"));
    let now = now + 1;
    // Open flows go on, and take no place yet.
    assert!(passes(&engine, 1, tcp_flags::ACK, now) && passes(&engine, 2, tcp_flags::ACK, now));
    assert!(passes(&engine, 3, tcp_flags::SYN, now) && passes(&engine, 4, tcp_flags::SYN, now));
    assert!(!passes(&engine, 5, tcp_flags::SYN, now));
    // One closes, and gives back a place that it did not take.
    assert!(passes(&engine, 1, tcp_flags::RST, now));
    assert!(passes(&engine, 5, tcp_flags::SYN, now));
    assert!(!passes(&engine, 6, tcp_flags::SYN, now));

    let later = now + WINDOW;
    assert!(
        [2, 3, 4, 5]
            .into_iter()
            .all(|client| passes(&engine, client, tcp_flags::ACK, later))
    );
    assert!(!passes(&engine, 7, tcp_flags::SYN, later), "four have a place of two");
    let last = later + WINDOW;
    assert!(
        !passes(&engine, 7, tcp_flags::SYN, last),
        "the window before counts too"
    );
    assert!(
        passes(&engine, 7, tcp_flags::SYN, last + WINDOW),
        "all have fallen silent"
    );
}
