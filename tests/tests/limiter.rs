//! The limiter in the kernel program, with all CPUs at one bucket.

use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{Map, PerCpuArray};
use aya::programs::{TestRun as _, TestRunOptions};
use enforcer::kernel::{Generation, LoadOptions, PortSetup};
use enforcer::policy;
use enforcer_common::abi::{Counter, settings_flags};
use enforcer_common::verdict::Verdict;
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
