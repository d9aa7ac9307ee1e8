//! Against the size of the policy and the tables: cost, compile time, load time, memory; and the controller's.

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aya::programs::{TestRun as _, TestRunOptions};
use enforcer::kernel::{Generation, LoadOptions, PortSetup, Sizes, netdev, sys};
use enforcer::policy::TableSet;
use enforcer_tests::lab::crossing::Crossing;
use enforcer_tests::lab::{Enforcer, Namespace};
use enforcer_tests::packet::tcp_flags::{ACK, PSH, SYN};
use enforcer_tests::packet::{Frame, packet};

use crate::frames::thread_nanos;
use crate::policy::Size;
use crate::reference::{Frames, Reference};
use crate::results::{Aim, Case, Outcome};
use crate::stats::Spread;

/// What the sizes are varied around.
const BASE: Size = Size {
    rules: 1_000,
    devices: 1_000,
    zones: 50,
    services: 100,
};

/// Tables of a generation.
const PRIVATE: [&str; 17] = [
    "PORTS",
    "ACCESSES",
    "DYNAMIC",
    "VLANS",
    "LANS",
    "TRIE",
    "HOSTS",
    "ENDPOINTS",
    "ZONES",
    "ROWS",
    "PROFILES",
    "PROTOCOLS",
    "SERVICES",
    "COLUMNS",
    "CELLS",
    "RULES",
    "BUDGETS",
];

/// One size of policy, in the kernel.
struct Sized {
    name: String,
    generation: Generation,
    compile: f64,
    load: f64,
    kib: f64,
    denied: Vec<f64>,
    established: Vec<f64>,
}

/// Measures all of it.
pub(crate) fn run(quick: bool) -> Result<Outcome> {
    let mut outcome = Outcome {
        how: format!(
            "cost by test runs as under frames, {} rounds, sizes in turn; around {} rules, {} devices, {} zones, {} services",
            rounds(quick),
            BASE.rules,
            BASE.devices,
            BASE.zones,
            BASE.services
        ),
        ..Outcome::default()
    };
    let counts: &[usize] = if quick { &[10, 1_000] } else { &[10, 100, 1_000, 10_000] };
    let devices: &[usize] = if quick {
        &[10, 1_000]
    } else {
        &[10, 100, 1_000, 10_000, 100_000]
    };
    let zones: &[usize] = if quick { &[2, 50] } else { &[2, 20, 100, 500] };
    let services: &[usize] = if quick { &[1, 100] } else { &[1, 10, 100, 1_000] };
    dimension("rules", counts, quick, |rules| Size { rules, ..BASE }, &mut outcome)?;
    dimension(
        "devices",
        devices,
        quick,
        |devices| Size { devices, ..BASE },
        &mut outcome,
    )?;
    dimension("zones", zones, quick, |zones| Size { zones, ..BASE }, &mut outcome)?;
    dimension(
        "services",
        services,
        quick,
        |services| Size { services, ..BASE },
        &mut outcome,
    )?;
    flows(quick, &mut outcome)?;
    let largest = if quick { BASE } else { Size::LARGE };
    swaps(largest, quick, &mut outcome)?;
    controller(largest, &mut outcome)?;
    Ok(outcome)
}

fn rounds(quick: bool) -> usize {
    if quick { 3 } else { 7 }
}

/// One dimension of the policy's size.
fn dimension(
    what: &str,
    counts: &[usize],
    quick: bool,
    size: impl Fn(usize) -> Size,
    outcome: &mut Outcome,
) -> Result<()> {
    eprintln!("bench: scale: {what}");
    let mut all = Vec::new();
    for &count in counts {
        all.push(Sized::load(format!("{count} {what}"), size(count)).with_context(|| format!("{count} {what}"))?);
    }
    let repeat = if quick { 50_000 } else { 300_000 };
    let denied = packet()
        .vlan(4001)
        .ip("172.16.0.21", "172.17.0.10")
        .udp(40_000, 9)
        .payload([0; 32])
        .build();
    let [handshake @ .., data] = &connection();
    for sized in &all {
        for frame in handshake {
            cost(&sized.generation, frame, 1)?;
        }
        cost(&sized.generation, data, repeat / 10)?;
    }
    for _ in 0..rounds(quick) {
        for sized in &mut all {
            sized.denied.push(cost(&sized.generation, &denied, repeat)?);
            sized.established.push(cost(&sized.generation, data, repeat)?);
        }
    }
    let Some((first, _)) = all.split_first() else {
        return Ok(());
    };
    for sized in &all {
        let ratio = |one: &[f64], other: &[f64]| Spread::of_rounds(one.len(), |round| one[round] / other[round]);
        let name = format!("the smallest, {}", first.name);
        let group = |kind: &str| format!("{kind} against {what}");
        outcome.cases.push(
            Case::new(&group("denied new flow"), &sized.name, "ns", &sized.denied)
                .ratio(&name, ratio(&sized.denied, &first.denied))
                .figure("compile, ms", sized.compile * 1e3)
                .figure("load, ms", sized.load * 1e3)
                .figure("tables, KiB", sized.kib),
        );
        outcome.cases.push(
            Case::new(&group("established TCP"), &sized.name, "ns", &sized.established)
                .ratio(&name, ratio(&sized.established, &first.established)),
        );
    }
    Ok(())
}

/// A handshake, then a segment.
fn connection() -> [Frame; 5] {
    let out = |flags| {
        let frame = packet().vlan(4001).ip("172.16.0.21", "172.17.0.10");
        frame.tcp(40_000, 443, flags).payload([0; 16]).build()
    };
    let back = |flags| {
        let frame = packet().vlan(4002).ip("172.17.0.10", "172.16.0.21");
        frame.tcp(443, 40_000, flags).payload([0; 16]).build()
    };
    [out(SYN), back(SYN | ACK), out(ACK), back(ACK), out(ACK | PSH)]
}

impl Sized {
    fn load(name: String, size: Size) -> Result<Self> {
        let text = size.text();
        let started = Instant::now();
        let tables = crate::policy::compiled(text)?;
        let compile = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let generation = load(&tables, &Sizes::default())?;
        Ok(Self {
            name,
            load: started.elapsed().as_secs_f64(),
            kib: memory(&generation, &PRIVATE)?,
            generation,
            compile,
            denied: Vec::new(),
            established: Vec::new(),
        })
    }
}

fn load(tables: &TableSet, sizes: &Sizes) -> Result<Generation> {
    let ports = [PortSetup::new("bench", 1)];
    Ok(Generation::load(&LoadOptions {
        sizes: *sizes,
        ..LoadOptions::new(tables, &ports)
    })?)
}

/// Nanoseconds a frame, of this thread's processor time.
fn cost(generation: &Generation, frame: &[u8], repeat: u32) -> Result<f64> {
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    options.repeat = repeat;
    let started = thread_nanos();
    generation.program()?.test_run(options)?;
    Ok((thread_nanos() - started) / f64::from(repeat))
}

/// Memory of maps, in KiB, as the kernel tells it.
fn memory(generation: &Generation, maps: &[&str]) -> Result<f64> {
    let mut sum = 0;
    for name in maps {
        let map = generation.map(name)?;
        let told = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd()))?;
        sum += field(&told, "memlock").with_context(|| format!("the kernel does not tell the memory of {name}"))?;
    }
    Ok(f64::from(u32::try_from(sum / 1024)?))
}

/// A number of a file with lines `name: number`.
fn field(text: &str, name: &str) -> Option<u64> {
    let (_, value) = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| *key == name)?;
    value.split_whitespace().next()?.parse().ok()
}

/// Cost against the number of flows that frames belong to, in turn.
fn flows(quick: bool, outcome: &mut Outcome) -> Result<()> {
    eprintln!("bench: scale: flows");
    let tables = BASE.tables()?;
    let sizes = Sizes {
        flows: 1 << 21,
        half_open: 1 << 21,
        ..Sizes::default()
    };
    let generation = load(&tables, &sizes)?;
    let reference = Reference::load(&["vary", "done"])?;
    let vary = reference.program("vary")?;
    let run = |frames: &Frames, repeat: u32| -> Result<f64> {
        reference.stream(frames)?;
        let mut options = TestRunOptions::new();
        options.data_in = Some(&frames.templates[0]);
        options.repeat = repeat;
        let started = thread_nanos();
        vary.test_run(options)?;
        Ok((thread_nanos() - started) / f64::from(repeat))
    };
    let exponents: &[u32] = if quick { &[0, 10] } else { &[0, 10, 17, 20] };
    let mut all: Vec<(u32, Vec<f64>, Vec<f64>)> = Vec::new();
    for &exponent in exponents {
        reference.next(generation.program()?)?;
        let [out, back] = udp_flows(exponent);
        // Twice around, so that all flows are there; then the answers.
        run(&out, 2 << exponent)?;
        run(&back, 2 << exponent)?;
        all.push((exponent, Vec::new(), Vec::new()));
    }
    for _ in 0..rounds(quick) {
        for (exponent, with, without) in &mut all {
            let [out, _] = udp_flows(*exponent);
            reference.next(generation.program()?)?;
            with.push(run(&out, 500_000)?);
            reference.next(reference.program("done")?)?;
            without.push(run(&out, 500_000)?);
        }
    }
    for (exponent, with, without) in &all {
        let above: Vec<_> = with.iter().zip(without).map(|(with, without)| with - without).collect();
        let first: Vec<_> = all[0]
            .1
            .iter()
            .zip(&all[0].2)
            .map(|(with, without)| with - without)
            .collect();
        let ratio = Spread::of_rounds(above.len(), |round| above[round] / first[round]);
        let name = format!("{} flows", 1_u64 << exponent);
        outcome.cases.push(
            Case::new("UDP flow above the floor, against flows in turn", &name, "ns", &above).ratio("one flow", ratio),
        );
    }
    let kib = memory(&generation, &["FLOWS"])? / 1024.0;
    outcome.notes.push(format!(
        "The table of flows takes {kib:.0} MiB for {} flows.",
        sizes.flows
    ));
    Ok(())
}

/// `2^exponent` flows: 16 bits of the initiator's port, 4 of its address; out and back.
fn udp_flows(exponent: u32) -> [Frames; 2] {
    let ports = ((1_u32 << exponent.min(16)) - 1) as u16;
    let hosts = ((1_u32 << exponent.saturating_sub(16)) - 1) as u16;
    let out = packet()
        .vlan(4001)
        .ip("172.16.0.48", "172.17.0.10")
        .udp(0, 24_105)
        .payload([0; 32])
        .build();
    let back = packet()
        .vlan(4002)
        .ip("172.17.0.10", "172.16.0.48")
        .udp(24_105, 0)
        .payload([0; 32])
        .build();
    [
        Frames::one(&out)
            .patch(out.transport, 0, 0, ports)
            .patch(out.network + 14, 0x0030, 16, hosts),
        Frames::one(&back)
            .patch(back.transport + 2, 0, 0, ports)
            .patch(back.network + 18, 0x0030, 16, hosts),
    ]
}

/// What it takes to bring a policy into force, without the controller.
fn swaps(size: Size, quick: bool, outcome: &mut Outcome) -> Result<()> {
    eprintln!(
        "bench: scale: swaps of {} rules and {} devices",
        size.rules, size.devices
    );
    let namespace = Namespace::new("swap")?;
    namespace.ip("link add p0 type veth peer name g0\nlink set p0 up")?;
    let text = size.text();
    let (mut compile, mut swap, mut replace) = (Vec::new(), Vec::new(), Vec::new());
    let mut before: Option<Generation> = None;
    let mut link = None;
    for _ in 0..rounds(quick) {
        let started = Instant::now();
        let tables = crate::policy::compiled(text.clone())?;
        compile.push(started.elapsed().as_secs_f64());
        let started = Instant::now();
        let next = load(&tables, &Sizes::default())?;
        let new = next.program_fd()?;
        let replacing = Instant::now();
        match (&link, &before) {
            (Some(link), Some(before)) => {
                let link: &std::os::fd::OwnedFd = link;
                sys::link_update(link.as_fd(), new.as_fd(), before.program_fd()?.as_fd())?;
                swap.push(started.elapsed().as_secs_f64());
                replace.push(replacing.elapsed().as_secs_f64() * 1e3);
            }
            _ => {
                link = Some(namespace.enter(|| -> Result<_> {
                    let index = netdev::by_name("p0")?.context("no interface p0")?.index;
                    Ok(sys::link_create(new.as_fd(), index, 1 << 2)?)
                })?);
            }
        }
        before = Some(next);
    }
    let named = format!("{} rules and {} devices", size.rules, size.devices);
    let group = "a policy comes into force";
    outcome.cases.extend([
        Case::new(group, &format!("read and compile {named}"), "s", &compile),
        Case::new(group, "load beside the running one, read back, swap", "s", &swap),
        Case::new("the swap itself", "replace the program of a link", "ms", &replace),
    ]);
    outcome.aims.extend([
        Aim::at_most(&format!("read and compile {named}"), 2.0, "s", Spread::of(&compile)),
        Aim::at_most("swap after it", 1.0, "s", Spread::of(&swap)),
    ]);
    Ok(())
}

/// The controller itself with a policy: start, memory, scrape.
fn controller(largest: Size, outcome: &mut Outcome) -> Result<()> {
    for size in [Size::SMALL, largest] {
        let name = format!("{} rules and {} devices", size.rules, size.devices);
        eprintln!("bench: scale: controller, {name}");
        let crossing = Crossing::build()?;
        crossing.set_policy(&size.text())?;
        let started = Instant::now();
        let mut enforcer = Enforcer::start(crossing.gateway.inside(), &Crossing::config())?;
        let start = started.elapsed().as_secs_f64();
        let process = enforcer.process().id();
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let kib = |name| field(&status, name).map_or(0.0, |kib| f64::from(kib as u32));
        let mut scrapes = Vec::new();
        let mut octets = 0;
        for _ in 0..7 {
            let started = Instant::now();
            octets = enforcer.get("/metrics")?.body.len();
            scrapes.push(started.elapsed().as_secs_f64() * 1e3);
            std::thread::sleep(Duration::from_millis(20));
        }
        let started = Instant::now();
        enforcer.reload()?;
        outcome.cases.push(
            Case::new("controller, scrape", &name, "ms", &scrapes)
                .figure("page, KiB", f64::from(octets as u32) / 1024.0)
                .figure("start, s", start)
                .figure("reload, s", started.elapsed().as_secs_f64())
                .figure("resident, MiB", kib("VmRSS") / 1024.0)
                .figure("resident at most, MiB", kib("VmHWM") / 1024.0),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_names() {
        let text = "pos:\t0\nmemlock:\t4096\nmemlocked:\t1\nVmRSS:\t  1234 kB\n";
        assert_eq!(field(text, "memlock"), Some(4096));
        assert_eq!(field(text, "VmRSS"), Some(1234));
        assert_eq!(field(text, "lock"), None);
    }

    #[test]
    fn as_many_flows_as_asked_for() {
        let masks = |exponent| {
            udp_flows(exponent)[0]
                .patches
                .iter()
                .map(|patch| patch.mask)
                .collect::<Vec<_>>()
        };
        assert_eq!(masks(0), [0, 0]);
        assert_eq!(masks(10), [1023, 0]);
        assert_eq!(masks(20), [0xffff, 15]);
    }
}
