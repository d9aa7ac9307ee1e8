//! The tick clock of the kernel program: `bpf_jiffies64` costs nothing, but counts in units that only the kernel's
//! build knows, from a point in time that only the kernel knows.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use rustix::time::{ClockId, clock_gettime};

use super::error::Error;

/// The rates that Linux can be built with.
const RATES: [u32; 4] = [100, 250, 300, 1000];
/// Long enough to tell 250 from 300 Hz: 30 ticks against 36, each within one.
const SPAN: Duration = Duration::from_millis(120);
/// A reading that took longer is not used.
const PRECISION: Duration = Duration::from_micros(500);
/// Tries on a busy machine.
const TRIES: u32 = 10;

static CLOCK: OnceLock<TickClock> = OnceLock::new();

/// The clock that the kernel program decides by: ticks since about the boot, times their length. It runs with
/// `CLOCK_MONOTONIC`, so it is read once and computed afterwards, exact to a tick.
#[derive(Clone, Copy, Debug)]
pub struct TickClock {
    /// Nanoseconds a tick.
    pub tick_nanos: u64,
    /// What to add, wrapping, to `CLOCK_MONOTONIC` in nanoseconds.
    offset: u64,
}

impl TickClock {
    /// The clock of this kernel, measured once in the life of the process by the program `jiffies` of the object.
    pub fn measure(object: &[u8]) -> Result<Self, Error> {
        if let Some(clock) = CLOCK.get() {
            return Ok(*clock);
        }
        let mut ebpf = EbpfLoader::new()
            .load(object)
            .map_err(|error| Error::aya("opening the kernel program", &error))?;
        let program = jiffies(&mut ebpf)?;
        for _ in 0..TRIES {
            let (first, start) = sample(program)?;
            std::thread::sleep(SPAN);
            let (last, end) = sample(program)?;
            let measured = f64::from((last - first) as u32) / end.saturating_sub(start).as_secs_f64();
            if let Some(rate) = snap(measured) {
                let tick_nanos = u64::from(1_000_000_000 / rate);
                let offset = (last * tick_nanos).wrapping_sub(end.as_nanos() as u64);
                return Ok(*CLOCK.get_or_init(|| Self { tick_nanos, offset }));
            }
        }
        Err(Error::Object(
            "the kernel's tick rate is none of 100, 250, 300 and 1000 Hz".into(),
        ))
    }

    /// The time now, in nanoseconds of this clock.
    pub fn now(&self) -> u64 {
        (monotonic().as_nanos() as u64).wrapping_add(self.offset)
    }

    /// A time of the wall clock (nanoseconds since 1970) in nanoseconds of this clock, as far as the wall clock is right
    /// now. 0 stays 0, which means never; what is past becomes 1.
    pub fn of_unix(&self, unix_nanos: u64) -> u64 {
        if unix_nanos == 0 {
            return 0;
        }
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos() as u64);
        let ahead = i128::from(unix_nanos) - i128::from(wall);
        u64::try_from(i128::from(self.now()) + ahead).unwrap_or(1).max(1)
    }
}

fn monotonic() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec.cast_unsigned() as u32)
}

/// The tick counter, and when it was read. Read again when something else ran in between.
fn sample(program: &Xdp) -> Result<(u64, Duration), Error> {
    let mut tries = 0;
    loop {
        let before = monotonic();
        let count = ticks(program)?;
        tries += 1;
        if monotonic().saturating_sub(before) < PRECISION || tries == TRIES {
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

fn ticks(program: &Xdp) -> Result<u64, Error> {
    let (frame, mut answer) = ([0; 64], [0; 64]);
    program
        .test_run(TestRunOptions {
            data_in: Some(&frame),
            data_out: Some(&mut answer),
            ..TestRunOptions::new()
        })
        .map_err(|error| Error::aya("running the program `jiffies`", &error))?;
    let [count, ..] = answer.as_chunks().0 else {
        return Err(Error::Object("the program `jiffies` gave no answer".into()));
    };
    Ok(u64::from_ne_bytes(*count))
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
    fn times_of_the_wall_clock_are_as_far_away_on_the_tick_clock() {
        let clock = TickClock {
            tick_nanos: 4_000_000,
            offset: 1_000_000_000_000_000,
        };
        let hour = Duration::from_hours(1).as_nanos() as u64;
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_nanos() as u64;
        let ahead = clock.of_unix(wall + hour) - clock.now();
        assert!(ahead.abs_diff(hour) < 1_000_000_000, "{ahead}");
        assert_eq!(clock.of_unix(0), 0);
        assert!(clock.of_unix(wall - hour) < clock.now());
        assert_eq!(clock.of_unix(1), 1);
    }

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
