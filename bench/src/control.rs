//! Reloads while frames come as fast as they can, and what events cost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use aya::maps::{Map, RingBuf};
use aya::programs::{TestRun as _, TestRunOptions};
use enforcer::kernel::{Generation, LoadOptions, PortSetup};
use enforcer_common::abi::{Event, settings_flags};
use enforcer_tests::lab::{Config, Enforcer, Offload, set_offload};
use enforcer_tests::packet::packet;

use crate::frames::thread_nanos;
use crate::policy::Size;
use crate::reference::Frames;
use crate::results::{Aim, Case, Outcome};
use crate::stats::Spread;
use crate::throughput::{END, SENDER, Way};

/// Ports of frames that the policy refuses and permits.
const DENIED: u16 = 9;
const PERMITTED: u16 = 24_105;
/// Where the destination port stands in a frame without tag.
const PORT_OFFSET: u32 = 36;
const POLICY: &str = "/run/policy.yaml";

pub(crate) fn run(quick: bool) -> Result<Outcome> {
    let mut outcome = Outcome {
        how: "live frames through an inline pair, every other one refused by the policy, while the controller reloads policies of \
              1,000 rules; events by test runs"
            .into(),
        ..Outcome::default()
    };
    reloads(quick, &mut outcome)?;
    events(quick, &mut outcome)?;
    Ok(outcome)
}

/// What one run under load gave.
struct Load {
    entered: f64,
    wrong: f64,
    lost: f64,
    undecided: f64,
    gap_ms: f64,
    rate: f64,
    reloads: f64,
}

fn reloads(quick: bool, outcome: &mut Outcome) -> Result<()> {
    let way = Way::build("watch")?;
    way.set_offloads()?;
    way.traffic().unwanted(PORT_OFFSET, DENIED)?;
    let variant = |number: usize| Size {
        services: 100 - number % 2,
        ..Size::MEDIUM
    };
    let write = |number: usize| {
        let text = variant(number).text();
        way.gateway.enter(|| {
            std::fs::write(format!("{POLICY}.next"), text)
                .and_then(|()| std::fs::rename(format!("{POLICY}.next"), POLICY))
        })
    };
    write(0)?;
    let mut config = Config::new(&["p0", "p1"], POLICY);
    config.port_settings = "vlans = [4001]\nnative_vlan = 4001".into();
    config.own_settings = [("p0", "pair = 'p1'"), ("p1", "uplink = true")]
        .map(|(port, line)| (port.to_owned(), line.to_owned()))
        .into();
    let enforcer = Enforcer::start(&way.gateway, &config)?;
    let time = Duration::from_secs(if quick { 1 } else { 6 });
    let quiet = under_load(&way, &enforcer, time, || Ok(0))?;
    let busy = under_load(&way, &enforcer, time, || {
        let end = Instant::now() + time.mul_f64(0.9);
        let mut count = 0;
        while Instant::now() < end {
            count += 1;
            write(count)?;
            enforcer.reload()?;
        }
        Ok(count)
    })?;
    for (name, load) in [("without reloads", &quiet), ("with reloads", &busy)] {
        outcome.cases.push(
            Case::new("under full load", name, "frames/s", &[load.rate])
                .figure("reloads", load.reloads)
                .figure("frames", load.entered)
                .figure("without a verdict", load.undecided)
                .figure("wrongly passed", load.wrong)
                .figure("permitted and lost", load.lost)
                .figure("longest gap, ms", load.gap_ms),
        );
    }
    let bad = busy.wrong + busy.lost + busy.undecided;
    outcome.aims.push(Aim::at_most(
        "frames lost or wrongly decided by reloads under full load",
        0.0,
        "",
        Spread::of(&[bad]),
    ));
    outcome.notes.push(
        "The longest gap between two frames at the end of the way also holds pauses of the generator, which shares its CPU with others: \
         compare it with the one without reloads."
            .into(),
    );
    Ok(())
}

/// Frames for a while, and something meanwhile.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn under_load(
    way: &Way,
    enforcer: &Enforcer<'_>,
    time: Duration,
    meanwhile: impl FnOnce() -> Result<usize>,
) -> Result<Load> {
    let frame = |port| {
        let frame = packet().macs(SENDER, END).ip("172.16.0.21", "172.17.0.10");
        frame.udp(30_000, port).payload([0; 22]).build().bytes
    };
    let frames = Frames {
        templates: vec![frame(PERMITTED), frame(DENIED)],
        ..Frames::default()
    };
    let frames = frames.patch(34, 30_000, 0, 1023);
    let verdicts = || -> Result<[f64; 3]> {
        let metrics = enforcer.metrics()?;
        let of = |verdict| metrics.sum(Enforcer::PORT_FRAMES, &[("port", "p0"), ("verdict", verdict)]);
        let losses = metrics.sum("enforcer_redirect_losses_total", &[("port", "p0")]);
        Ok([of("redirect"), of("drop"), losses])
    };
    let before = verdicts()?;
    way.traffic().take_seen()?;
    let (flowed, reloads) = thread::scope(|scope| {
        let traffic = scope.spawn(|| way.run(&frames, 1, time));
        let reloads = meanwhile();
        let flowed = traffic.join().map_err(|_| anyhow!("the generator panicked"));
        Ok::<_, anyhow::Error>((flowed??, reloads?))
    })?;
    let after = verdicts()?;
    let [redirected, dropped, losses] = [0, 1, 2].map(|number| after[number] - before[number]);
    let (seen, wrong, gap) = way.traffic().take_seen()?;
    Ok(Load {
        entered: flowed.entered as f64,
        wrong: wrong as f64,
        lost: (redirected - losses - seen as f64).abs(),
        undecided: (flowed.entered as f64 - redirected - dropped).abs(),
        gap_ms: gap as f64 / 1e6,
        rate: flowed.rate_in(),
        reloads: f64::from(u32::try_from(reloads)?),
    })
}

impl Way {
    /// Tags that travel beside a frame are what the controller refuses to run with.
    fn set_offloads(&self) -> Result<()> {
        self.outside(|interface| set_offload(interface, Offload::TransmitVlan, false))
            .context("cannot switch off txvlan")
    }
}

/// What a refused frame costs with events off, as rarely as by default, and for every frame.
fn events(quick: bool, outcome: &mut Outcome) -> Result<()> {
    eprintln!("bench: control: events");
    let tables = Size::MEDIUM.tables()?;
    let ports = [PortSetup::new("bench", 1)];
    let load = |flags, event_rate| {
        Generation::load(&LoadOptions {
            flags: settings_flags::FLOWS | flags,
            event_rate,
            ..LoadOptions::new(&tables, &ports)
        })
    };
    let cases = [
        ("events off", load(0, 0)?),
        ("events as by default, 20 a second of a kind", load(0, 20)?),
        (
            "an event for every frame, read meanwhile",
            load(settings_flags::TRACE, 20)?,
        ),
    ];
    let frame = packet()
        .vlan(4001)
        .ip("172.16.0.21", "172.17.0.10")
        .udp(40_000, DENIED)
        .payload([0; 32])
        .build();
    let repeat = if quick { 100_000 } else { 500_000 };
    let (mut costs, mut rates) = (vec![Vec::new(); cases.len()], Vec::new());
    for _ in 0..if quick { 3 } else { 7 } {
        for ((_, generation), costs) in cases.iter().zip(&mut costs) {
            let stop = AtomicBool::new(false);
            let started = Instant::now();
            let (nanos, read) = thread::scope(|scope| {
                let reader = scope.spawn(|| drain(generation, &stop));
                let mut options = TestRunOptions::new();
                options.data_in = Some(&frame);
                options.repeat = repeat;
                let began = thread_nanos();
                let outcome = generation
                    .program()
                    .map_err(anyhow::Error::from)
                    .and_then(|program| Ok(program.test_run(options)?));
                let nanos = thread_nanos() - began;
                stop.store(true, Ordering::Relaxed);
                let read = reader.join().map_err(|_| anyhow!("the reader panicked"))??;
                outcome.map(|_| (nanos, read))
            })?;
            costs.push(nanos / f64::from(repeat));
            if read > u64::from(repeat) / 100 {
                rates.push(f64::from(u32::try_from(read)?) / started.elapsed().as_secs_f64());
            }
        }
    }
    for ((name, _), of_case) in cases.iter().zip(&costs) {
        let ratio = Spread::of_rounds(of_case.len(), |round| of_case[round] / costs[0][round]);
        outcome
            .cases
            .push(Case::new("a refused frame", name, "ns", of_case).ratio("events off", ratio));
    }
    outcome
        .cases
        .push(Case::new("events read and decoded", "one reader", "events/s", &rates));
    Ok(())
}

/// Reads events until told to stop; how many.
fn drain(generation: &Generation, stop: &AtomicBool) -> Result<u64> {
    let mut ring = RingBuf::try_from(Map::RingBuf(generation.map("EVENTS")?))?;
    let mut count = 0;
    loop {
        let last = stop.load(Ordering::Relaxed);
        while let Some(record) = ring.next() {
            Event::decode(&record).context("a record of the ring is no event")?;
            count += 1;
        }
        if last {
            return Ok(count);
        }
        thread::sleep(Duration::from_micros(50));
    }
}
