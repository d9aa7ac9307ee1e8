//! What limits let through: offered against passed.

use std::os::fd::{AsFd as _, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use aya::maps::{Map, PerCpuArray};
use aya::programs::{TestRun as _, TestRunOptions};
use enforcer::kernel::{Generation, LoadOptions, PortSetup, netdev, sys};
use enforcer::policy::TableSet;
use enforcer_common::abi::Counter;
use enforcer_common::verdict::Verdict;
use enforcer_tests::lab::Namespace;
use enforcer_tests::packet::{Frame, packet};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::policy::compiled;
use crate::results::{Case, Outcome};

/// Frames a second that both limits permit, the one in packets and the one in bits.
const RATE: f64 = 20_000.0;
/// A quarter of a second's worth may come at once, unless a policy says otherwise.
const BURST: f64 = RATE / 4.0;
/// Octets of the frame; in bits a frame costs eight times that.
const OCTETS: usize = 100;

/// Natively: `linux/if_link.h`.
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

const POLICY: &str = "
zones:
  here: {vlan: 10, subnets: 10.0.1.0/24, mode: enforce}
  there: {vlan: 20, subnets: 10.0.2.0/24, mode: enforce}
rules:
  packets: {from: here, to: there, services: udp/1, action: allow, limit: {packets: 20000/s}}
  bits: {from: here, to: there, services: udp/2, action: allow, limit: {bits: 16M/s}}
";

/// An offer: so many times the rate, for a while, with pauses in between.
#[derive(Clone, Copy)]
struct Offer {
    times: f64,
    spans: u32,
    span: Duration,
    pause: Duration,
}

/// What passed of what was offered.
struct Tally {
    offered: f64,
    passed: f64,
    /// What a perfect limiter lets through.
    expected: f64,
}

/// Measures both kinds of limit, on one CPU and two.
pub(crate) fn run(quick: bool) -> Result<Outcome> {
    let span = Duration::from_millis(if quick { 300 } else { 1_000 });
    let factors: &[f64] = if quick {
        &[0.5, 2.0, 10.0]
    } else {
        &[0.5, 0.9, 1.0, 1.1, 2.0, 5.0, 10.0]
    };
    let mut outcome = Outcome {
        how: format!(
            "a limit of {RATE} frames a second, or of as many bits, with a burst of a quarter of a second, offered so many times as \
             much for {} ms, by test runs; passed is in percent of what the rate, the burst and the offer permit",
            span.as_millis()
        ),
        ..Outcome::default()
    };
    let tables = compiled(POLICY.into())?;
    let cpus = thread::available_parallelism().map_or(1, usize::from).min(2);
    for (kind, port) in [("packets", 1), ("bits", 2)] {
        for cpus in 1..=cpus {
            eprintln!("bench: limiter: {kind}, {cpus} CPUs");
            let steady = |&times: &f64| Offer {
                times,
                spans: 1,
                span,
                pause: Duration::ZERO,
            };
            let gaps = Offer {
                times: 3.0,
                spans: 4,
                span: span / 4,
                pause: Duration::from_millis(400),
            };
            for offer in factors.iter().map(steady).chain([gaps]) {
                outcome.cases.push(case(kind, port, cpus, offer, &tables)?);
            }
        }
    }
    let worst = outcome
        .cases
        .iter()
        .map(|case| (case.value.median - 100.0).abs())
        .fold(0.0, f64::max);
    outcome
        .notes
        .push(format!("The worst is {worst:.1} % off; the promise is 2 %."));
    outcome.aims.push(crate::results::Aim::at_most(
        "limits let through what they should, worst of all cases, percent off",
        2.0,
        "%",
        crate::stats::Spread::of(&[worst]),
    ));
    Ok(outcome)
}

fn case(kind: &str, port: u16, cpus: usize, offer: Offer, tables: &TableSet) -> Result<Case> {
    let ports = [PortSetup::new("bench", 1)];
    let options = LoadOptions {
        event_rate: 0,
        ..LoadOptions::new(tables, &ports)
    };
    let generation = Generation::load(&options)?;
    let _running = keep_running(&generation)?;
    let frame = packet().vlan(10).ip("10.0.1.5", "10.0.2.5").udp(1, port);
    let frame = frame.payload([0; OCTETS - 46]).build();
    let tally = run_offer(&generation, &frame, cpus, offer)?;
    let gaps = if offer.spans > 1 { ", with idle gaps" } else { "" };
    let name = format!(
        "{} times{gaps}, {cpus} CPU{}",
        offer.times,
        if cpus == 1 { "" } else { "s" }
    );
    let percent = tally.passed / tally.expected * 100.0;
    Ok(Case::new(&format!("limit in {kind}"), &name, "%", &[percent])
        .figure("offered", tally.offered)
        .figure("passed", tally.passed)
        .figure("expected", tally.expected))
}

/// Puts the program on an interface where nothing comes. The kernel enters a program that runs nowhere into its dispatcher for
/// each call of test runs, and waits for all CPUs each time; one that runs somewhere it has there already.
fn keep_running(generation: &Generation) -> Result<(Namespace, OwnedFd)> {
    let namespace = Namespace::new("limiter")?;
    namespace.ip("link add p0 type veth peer name g0")?;
    let program = generation.program_fd()?;
    let link = namespace.enter(|| -> Result<_> {
        let index = netdev::by_name("p0")?.context("no interface p0")?.index;
        Ok(sys::link_create(program.as_fd(), index, XDP_FLAGS_DRV_MODE)?)
    })?;
    Ok((namespace, link))
}

fn run_offer(generation: &Generation, frame: &Frame, cpus: usize, offer: Offer) -> Result<Tally> {
    let start = Instant::now();
    let mut batches = Vec::new();
    for _ in 0..offer.spans {
        batches.extend(span_of(generation, frame, cpus, offer, start)?);
        thread::sleep(offer.pause);
    }
    let (passed, dropped) = counted(generation)?;
    Ok(Tally {
        offered: passed + dropped,
        passed,
        expected: permitted(&mut batches),
    })
}

/// Frames that came at once, and when, in seconds.
type Batch = (f64, u32);

/// What a perfect limiter lets through of these: by when they really came, because a sender that a busy machine holds up
/// loses what does not fit into the burst.
fn permitted(batches: &mut [Batch]) -> f64 {
    batches.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (mut room, mut last, mut passed) = (BURST, 0.0, 0.0);
    for &(time, frames) in batches.iter() {
        room = BURST.min(room + RATE * (time - last));
        last = time;
        let now = f64::from(frames).min(room);
        (room, passed) = (room - now, passed + now);
    }
    passed
}

/// Offers evenly for one span, each CPU its part.
fn span_of(generation: &Generation, frame: &Frame, cpus: usize, offer: Offer, start: Instant) -> Result<Vec<Batch>> {
    let program = generation.program()?;
    let began = Instant::now();
    #[expect(clippy::cast_precision_loss, reason = "one or two")]
    let rate = RATE * offer.times / cpus as f64;
    let one = |cpu: usize| -> Result<Vec<Batch>> {
        let mut only = CpuSet::new();
        only.set(cpu);
        sched_setaffinity(None, &only).with_context(|| format!("cannot run on CPU {cpu}"))?;
        let (mut sent, mut batches) = (0, Vec::new());
        loop {
            let elapsed = began.elapsed().min(offer.span);
            #[expect(clippy::cast_sign_loss, reason = "time does not run backwards")]
            let due = (rate * elapsed.as_secs_f64()) as u32;
            if due > sent {
                let mut options = TestRunOptions::new();
                options.data_in = Some(frame);
                options.repeat = due - sent;
                program.test_run(options).context("a test run")?;
                batches.push((start.elapsed().as_secs_f64(), due - sent));
                sent = due;
            }
            if elapsed == offer.span {
                return Ok(batches);
            }
            thread::sleep(Duration::from_micros(500));
        }
    };
    let one = &one;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cpus).map(|cpu| scope.spawn(move || one(cpu))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, Result<Vec<Batch>>>| {
            thread.join().map_err(|_| anyhow!("a thread panicked"))?
        };
        Ok(threads.into_iter().map(join).collect::<Result<Vec<_>>>()?.concat())
    })
}

/// Frames passed and dropped so far.
fn counted(generation: &Generation) -> Result<(f64, f64)> {
    let counters: PerCpuArray<_, Counter> = Map::PerCpuArray(generation.map("PORT_COUNTERS")?).try_into()?;
    let of = |verdict: Verdict| -> Result<f64> {
        let frames: u64 = counters
            .get(&(verdict as u32), 0)?
            .iter()
            .map(|counter| counter.packets)
            .sum();
        Ok(f64::from(u32::try_from(frames)?))
    };
    Ok((of(Verdict::Pass)?, of(Verdict::Drop)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_limiter_gives_the_burst_and_the_rate_and_loses_what_pauses_earn_beyond_the_burst() {
        // Twice the rate for a second, a hundred times a second, from two senders whose batches are not in order.
        let mut batches: Vec<Batch> = (1..=100).map(|step| (f64::from(step) / 100.0, 200)).collect();
        batches.extend(batches.clone());
        let steady = permitted(&mut batches);
        // The bucket is full when the first batch comes, so the hundredth of a second before it earns nothing.
        assert!((steady - (RATE * 0.99 + BURST)).abs() < 1.0, "{steady}");
        // All of it after ten idle seconds: no more than the burst.
        assert!((permitted(&mut [(10.0, 40_000)]) - BURST).abs() < 1e-9);
        assert!((permitted(&mut [(0.5, 100), (1.0, 100)]) - 200.0).abs() < 1e-9);
    }
}
