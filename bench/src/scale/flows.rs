//! Cost against the number of flows that frames belong to.

use anyhow::Result;
use aya::programs::{TestRun as _, TestRunOptions};
use enforcer::kernel::Sizes;
use enforcer_tests::packet::packet;

use super::{BASE, load, memory, rounds};
use crate::frames::thread_nanos;
use crate::reference::{Frames, Reference};
use crate::results::{Case, Outcome};
use crate::stats::Spread;

/// Cost against the number of flows that frames belong to, in turn.
pub(super) fn flows(quick: bool, outcome: &mut Outcome) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
