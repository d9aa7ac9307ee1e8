//! Random policies and random sequences of frames: the engine against the oracle, the kernel program against the engine.
//!
//! The stories of what they found are in `shapes/found.rs`, and those that take time at the end of this file.
//!
//! Every run does the same rounds. `ENFORCER_SEED=N` does the round with that number alone, as a failure asks for;
//! `ENFORCER_ROUNDS=N` does more or fewer of them.

#[path = "oracle/compare.rs"]
mod compare;
#[path = "oracle/counts.rs"]
mod counts;
#[path = "oracle/coverage.rs"]
mod coverage;

use std::ops::Range;
use std::time::Duration;
use std::{env, thread};

use compare::Round;
use coverage::Coverage;
use enforcer::engine::Engine;
use enforcer_common::verdict::{Stage, Verdict};
use enforcer_tests::kernel::Kernel;
use enforcer_tests::packet::{packet, tcp_flags};
use enforcer_tests::shapes;

/// Frames of a sequence.
const FRAMES: usize = 1000;

fn number(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is a number, not {value}")))
}

/// The seeds of a test that does so many rounds by default.
fn seeds(rounds: u64) -> Range<u64> {
    match number("ENFORCER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ENFORCER_ROUNDS").unwrap_or(rounds),
    }
}

#[test]
fn the_engine_agrees_with_the_oracle() {
    let mut coverage = Coverage::default();
    for seed in seeds(220) {
        let round = Round::new(seed);
        let steps = round.steps(FRAMES);
        match round.agreed(&steps) {
            Ok(outcomes) => coverage.extend(outcomes),
            Err(index) => panic!("{}", round.report(&steps[..=index])),
        }
    }
    if number("ENFORCER_SEED").is_none() {
        coverage.assert_complete();
    }
}

/// A new policy decides the next frame of every flow, fragment and error.
///
/// Pitfall 16: nothing of the earlier policy is left.
#[test]
fn the_engine_agrees_with_the_oracle_across_a_swap() {
    for seed in seeds(60) {
        let round = Round::new(seed).with_swap();
        let steps = round.steps(FRAMES);
        if let Err(index) = round.agreed(&steps) {
            panic!("{}", round.report(&steps[..=index]));
        }
    }
}

/// What is dropped in enforce mode is what monitor mode has foretold, frame by frame.
///
/// Pitfall 11: what is only watched was shown as forwarded; here it is a `would-drop`, and foretells the drop.
#[test]
fn monitor_mode_foretells_enforce_mode() {
    for seed in seeds(60) {
        let round = Round::new(seed);
        let [monitor, enforce] = ["monitor", "enforce"].map(|mode| round.in_mode(mode));
        let mut steps = round.steps(FRAMES);
        // A link-scoped address means another host on each VLAN, so an answer across VLANs answers somebody else.
        steps.retain(|step| !step.sent.is_link_scoped());
        let (foretold, enforced) = (monitor.permitted(&steps), enforce.permitted(&steps));
        let differs = foretold.iter().zip(&enforced).position(|(a, b)| a.0 != b.0);
        if let Some(index) = differs {
            panic!("{}", enforce.report_foretold(&monitor, &steps[..=index]));
        }
    }
}

/// The kernel's action, event and counters are those of the userspace build.
///
/// Pitfall 12: the tracer of policies disagreed with the data path. Here it is the data path.
#[test]
fn the_kernel_program_agrees_with_the_engine() {
    let mut coverage = Coverage::default();
    // A load takes a second or two, a frame microseconds.
    for seed in seeds(12) {
        let round = Round::new(seed).with_slow_limits();
        let steps = round.steps(3 * FRAMES);
        coverage.extend(round.agreed_in_kernel(&steps));
    }
    if number("ENFORCER_SEED").is_none() {
        coverage.assert_complete();
    }
}

/// The loader left the idle time of this state at zero: such a session was forgotten at the next tick of the clock.
#[test]
fn a_session_picked_up_in_the_middle_outlives_a_tick() {
    let tables = shapes::tables();
    let mut kernel =
        Kernel::load(&tables, &shapes::ports()).expect("the kernel takes the program: this test wants root");
    let pump = packet().vlan(110).ip("10.10.110.84", "10.20.5.10");
    let segment = pump.tcp(8004, 443, tcp_flags::ACK).build();
    let mut stage = || kernel.run(&segment, shapes::TRUNK).expect("a test run").1.stage;
    assert_eq!(stage(), Stage::Policy as u8);
    // The slowest tick is 10 milliseconds long.
    thread::sleep(Duration::from_millis(25));
    assert_eq!(stage(), Stage::Flow as u8);
}

/// A reset that somebody forged left a session two minutes of silence instead of days, for as long as it lived: the first message of
/// the night found it forgotten.
#[test]
fn a_session_that_goes_on_after_a_forged_reset_may_be_silent_again() {
    const DAY: u64 = 24 * 60 * 60 * 1_000_000_000;
    let engine = Engine::new(shapes::tables(), shapes::port_table());
    let (syn, ack, reset) = (tcp_flags::SYN, tcp_flags::ACK, tcp_flags::RST);
    let pump = |flags| {
        packet()
            .vlan(110)
            .ip("10.10.110.85", "10.20.5.10")
            .tcp(8007, 443, flags)
            .build()
    };
    let server = |flags| {
        packet()
            .vlan(205)
            .ip("10.20.5.10", "10.10.110.85")
            .tcp(443, 8007, flags)
            .build()
    };
    let passes = |frame: &[u8], now| engine.decide(frame, shapes::TRUNK, now).0.verdict == Verdict::Pass;
    for frame in [
        pump(syn),
        server(syn | ack),
        pump(ack),
        server(reset),
        pump(ack),
        server(ack),
    ] {
        assert!(passes(&frame, 1));
    }
    assert!(passes(&server(ack), DAY), "nobody has ended the session");
    // One that is over is forgotten as soon as before, also when a segment was still under way.
    for frame in [server(reset), pump(ack), server(reset)] {
        assert!(passes(&frame, DAY));
    }
    assert!(!passes(&server(ack), DAY + DAY / 1000));
}
