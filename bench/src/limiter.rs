//! What limits let through: offered against passed.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use enforcer::kernel::{Generation, LoadOptions, PortSetup};
use enforcer::policy::TableSet;
use enforcer_tests::offer::{self, Limit, Offer, Tally};
use enforcer_tests::packet::packet;

use crate::policy::compiled;
use crate::results::{Case, Outcome};

/// Frames a second that both limits permit, the one in packets and the one in bits.
const RATE: f64 = 20_000.0;
/// A quarter of a second's worth may come at once, unless a policy says otherwise.
const BURST: f64 = RATE / 4.0;
/// Octets of the frame; in bits a frame costs eight times that.
const OCTETS: usize = 100;

const POLICY: &str = "
zones:
  here: {vlan: 10, subnets: 10.0.1.0/24, mode: enforce}
  there: {vlan: 20, subnets: 10.0.2.0/24, mode: enforce}
rules:
  packets: {from: here, to: there, services: udp/1, action: allow, limit: {packets: 20000/s}}
  bits: {from: here, to: there, services: udp/2, action: allow, limit: {bits: 16M/s}}
";

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
    let _running = offer::keep_running(&generation)?;
    let frame = packet().vlan(10).ip("10.0.1.5", "10.0.2.5").udp(1, port);
    let frame = frame.payload([0; OCTETS - 46]).build();
    let limit = Limit {
        rate: RATE,
        burst: BURST,
    };
    let batches = offer::run(&generation, &frame, cpus, limit, offer, Instant::now())?;
    let Tally { passed, dropped } = Tally::of(&generation)?;
    let (least, most) = offer::permitted(&batches, limit);
    let expected = passed.clamp(least, most);
    let gaps = if offer.spans > 1 { ", with idle gaps" } else { "" };
    let name = format!(
        "{} times{gaps}, {cpus} CPU{}",
        offer.times,
        if cpus == 1 { "" } else { "s" }
    );
    let percent = passed / expected * 100.0;
    Ok(Case::new(&format!("limit in {kind}"), &name, "%", &[percent])
        .figure("offered", passed + dropped)
        .figure("passed", passed)
        .figure("expected", expected))
}
