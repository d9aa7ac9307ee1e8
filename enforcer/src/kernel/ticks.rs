//! How long a tick of the kernel is: `bpf_jiffies64` costs nothing, but counts in units that only the kernel's
//! build knows.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};

use super::error::Error;

/// The rates that Linux can be built with.
const RATES: [u32; 4] = [100, 250, 300, 1000];
/// Long enough to tell 250 from 300 Hz: 30 ticks against 36, each within one.
const SPAN: Duration = Duration::from_millis(120);
/// A reading that took longer is not used.
const PRECISION: Duration = Duration::from_micros(500);
/// Tries on a busy machine.
const TRIES: u32 = 10;

static TICK_NANOS: OnceLock<u64> = OnceLock::new();

/// Nanoseconds a tick, measured once in the life of the process by the program `jiffies` of the object.
pub(super) fn tick_nanos(object: &[u8]) -> Result<u64, Error> {
    if let Some(nanos) = TICK_NANOS.get() {
        return Ok(*nanos);
    }
    let mut ebpf = EbpfLoader::new()
        .load(object)
        .map_err(|error| Error::aya("opening the kernel program", &error))?;
    let program = jiffies(&mut ebpf)?;
    for _ in 0..TRIES {
        if let Some(rate) = snap(measure(program)?) {
            return Ok(*TICK_NANOS.get_or_init(|| u64::from(1_000_000_000 / rate)));
        }
    }
    Err(Error::Object(
        "the kernel's tick rate is none of 100, 250, 300 and 1000 Hz".into(),
    ))
}

/// Ticks a second.
fn measure(program: &Xdp) -> Result<f64, Error> {
    let (first, start) = sample(program)?;
    std::thread::sleep(SPAN);
    let (last, end) = sample(program)?;
    Ok(f64::from(last.wrapping_sub(first)) / (end - start).as_secs_f64())
}

/// The tick counter, and when it was read. Read again when something else ran in between.
fn sample(program: &Xdp) -> Result<(u32, Instant), Error> {
    let mut tries = 0;
    loop {
        let before = Instant::now();
        let count = ticks(program)?;
        tries += 1;
        if before.elapsed() < PRECISION || tries == TRIES {
            return Ok((count, before));
        }
    }
}

fn jiffies(ebpf: &mut Ebpf) -> Result<&mut Xdp, Error> {
    let program: &mut Xdp = ebpf
        .program_mut("jiffies")
        .ok_or_else(|| Error::Object("it has no program `jiffies`".into()))?
        .try_into()
        .map_err(|error| Error::aya("program `jiffies`", &error))?;
    program
        .load()
        .map_err(|error| Error::aya("loading the program `jiffies`", &error))?;
    Ok(program)
}

fn ticks(program: &Xdp) -> Result<u32, Error> {
    let frame = [0; 64];
    let result = program
        .test_run(TestRunOptions {
            data_in: Some(&frame),
            ..TestRunOptions::new()
        })
        .map_err(|error| Error::aya("running the program `jiffies`", &error))?;
    Ok(result.return_value)
}

/// The rate next to the measured one, unless that is more than 8.5 % away.
fn snap(measured: f64) -> Option<u32> {
    RATES
        .into_iter()
        .find(|&rate| (measured / f64::from(rate) - 1.0).abs() < 0.085)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_snaps_to_the_rate_that_it_can_only_be() {
        // One tick more or less in SPAN.
        for (measured, rate) in [(91.8, 100), (241.7, 250), (258.3, 250), (291.7, 300), (1008.0, 1000)] {
            assert_eq!(snap(measured), Some(rate), "{measured}");
        }
        for measured in [80.0, 273.0, 500.0] {
            assert_eq!(snap(measured), None, "{measured}");
        }
    }
}
