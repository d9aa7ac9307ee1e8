//! Limits over time: in the kernel program, with all CPUs at one bucket, and of flows that come under another rule.

use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{Map, PerCpuArray};
use aya::programs::{TestRun as _, TestRunOptions};
use enforcer::engine::Engine;
use enforcer::kernel::{Generation, LoadOptions, PortSetup, ports};
use enforcer::policy;
use enforcer_common::abi::{Counter, settings_flags};
use enforcer_common::packet::tcp_flags;
use enforcer_common::verdict::{DropReason, Verdict};
use enforcer_tests::packet::packet;

const POLICY: &str = "
zones:
  here: {vlan: 10, subnets: 10.0.1.0/24, mode: enforce}
  there: {vlan: 20, subnets: 10.0.2.0/24, mode: enforce}
rules:
  limited: {from: here, to: there, services: udp/1, action: allow, limit: {packets: 20000/s, burst: 10000}}
";

/// Frames a second that the policy permits.
const RATE: f64 = 20_000.0;
/// Frames that may come at once: half a second, so that a busy machine, which lets nobody offer anything for a while, changes
/// nothing.
const BURST: f64 = 10_000.0;
/// Frames of one system call.
const BATCH: u32 = 10_000;
/// How long the offer lasts.
const SPAN: Duration = Duration::from_millis(1500);

/// The loopback interface, where test runs seem to come in by.
const LOOPBACK: u32 = 1;

/// What was offered and what passed, in how many seconds. As many threads as there are CPUs offer as much as they can.
fn offer(generation: &Generation, threads: usize) -> (f64, f64, f64) {
    let frame = packet().vlan(10).ip("10.0.1.5", "10.0.2.5").udp(1, 1).build();
    let program = generation.program().expect("the program");
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // The last batch begins after the span, and takes what the bucket has left.
                let mut last = false;
                while !last {
                    last = start.elapsed() >= SPAN;
                    let mut options = TestRunOptions::new();
                    options.data_in = Some(&frame);
                    options.repeat = BATCH;
                    program.test_run(options).expect("a test run");
                }
            });
        }
    });
    let seconds = start.elapsed().as_secs_f64();
    let of = |verdict| counted(generation, verdict);
    let (passed, dropped) = (of(Verdict::Pass), of(Verdict::Drop));
    (passed + dropped, passed, seconds)
}

fn counted(generation: &Generation, verdict: Verdict) -> f64 {
    let map = generation.map("PORT_COUNTERS").expect("the map");
    let counters: PerCpuArray<_, Counter> = Map::PerCpuArray(map).try_into().expect("counters");
    let of_cpus = counters.get(&(verdict as u32), 0).expect("the first port's counters");
    let frames: u64 = of_cpus.iter().map(|counter| counter.packets).sum();
    f64::from(u32::try_from(frames).expect("some millions"))
}

/// Pitfall 15: what passes is the rate, times the time, plus one burst: also when every CPU charges the same bucket, at many
/// times the rate. Two frames in a hundred more or less are allowed.
#[test]
fn all_cpus_together_get_the_rate() {
    let cpus = thread::available_parallelism().map_or(2, usize::from);
    for threads in [1, cpus.max(2)] {
        let policy = policy::load_texts([("policy.yaml".into(), POLICY.to_owned())]).expect("a good policy");
        let tables = policy::compile(&policy).expect("a good policy");
        let ports = [PortSetup::new("trunk", LOOPBACK)];
        let mut options = LoadOptions::new(&tables, &ports);
        options.flags = settings_flags::FLOWS;
        options.event_rate = 0;
        let generation = Generation::load(&options).expect("the kernel takes the program: this test wants root");
        let (offered, passed, seconds) = offer(&generation, threads);
        let expected = RATE * seconds + BURST;
        assert!(
            offered > 3.0 * expected,
            "{offered} frames in {seconds} s are too few to tell anything"
        );
        let least = RATE * SPAN.as_secs_f64() + BURST;
        assert!(
            passed >= 0.98 * least && passed <= 1.02 * expected,
            "{threads} threads: {passed} of {offered} passed in {seconds} s, {least} to {expected} expected"
        );
    }
}

/// A window in which concurrent flows are counted, in nanoseconds.
const WINDOW: u64 = 1 << 34;

/// Two places under one rule, whatever its name.
fn two_at_a_time(rule: &str) -> policy::TableSet {
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
