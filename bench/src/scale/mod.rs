//! Against the size of the policy and the tables: cost, compile time, load time, memory; and the controller's.

mod flows;
mod force;

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Instant;

use anyhow::{Context as _, Result};
use aya::programs::{TestRun as _, TestRunOptions};
use enforcer::kernel::{DIRECT_TABLES, Generation, LoadOptions, PortSetup, Sizes};
use enforcer::policy::TableSet;
use enforcer_tests::packet::tcp_flags::{ACK, PSH, SYN};
use enforcer_tests::packet::{Frame, packet};

use crate::frames::thread_nanos;
use crate::policy::Size;
use crate::results::{Case, Outcome};
use crate::stats::Spread;

/// What the sizes are varied around.
const BASE: Size = Size {
    rules: 1_000,
    devices: 1_000,
    zones: 50,
    services: 100,
};

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
    flows::flows(quick, &mut outcome)?;
    let largest = if quick { BASE } else { Size::LARGE };
    force::swaps(largest, quick, &mut outcome)?;
    force::controller(largest, &mut outcome)?;
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
            kib: memory(&generation, &[&DIRECT_TABLES[..], &["DYNAMIC"]].concat())?,
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
}
