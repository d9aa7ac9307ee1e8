//! Rounds over all cases, one after the other.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aya::programs::{TestRun as _, TestRunOptions};
use rustix::time::{ClockId, clock_gettime};

use crate::cases::Case;
use crate::counter::Instructions;

/// What a case cost, a value a round.
pub(crate) struct Series {
    pub(crate) name: String,
    /// Nanoseconds a frame.
    pub(crate) nanos: Vec<f64>,
    /// Kernel instructions a frame; empty without the counter.
    pub(crate) instructions: Vec<f64>,
}

/// Measures all cases; an error when a program gives another answer than it should.
pub(crate) fn measure(
    cases: &[Case<'_>],
    rounds: u32,
    repeat: u32,
    mut counter: Option<Instructions>,
) -> Result<Vec<Series>> {
    let mut all: Vec<_> = cases.iter().map(Series::new).collect();
    for case in cases {
        // Warms the caches, and lets flows begin.
        case.run(repeat / 10)?;
    }
    for _ in 0..rounds {
        for (case, series) in cases.iter().zip(&mut all) {
            series.round(case, repeat, counter.as_mut())?;
        }
    }
    Ok(all)
}

impl Series {
    fn new(case: &Case<'_>) -> Self {
        Self {
            name: case.name.clone(),
            nanos: Vec::new(),
            instructions: Vec::new(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a count far below 2^53")]
    fn round(&mut self, case: &Case<'_>, repeat: u32, counter: Option<&mut Instructions>) -> Result<()> {
        let nanos = if let Some(counter) = counter {
            let (nanos, count) = counter.count(|| case.run(repeat))?;
            self.instructions.push(count as f64 / f64::from(repeat));
            nanos
        } else {
            case.run(repeat)?
        };
        self.nanos.push(nanos / f64::from(repeat));
        Ok(())
    }
}

impl Case<'_> {
    /// Runs the program on its frame so many times. Nanoseconds of this thread's processor time: what others do meanwhile
    /// does not count. The kernel's own answer is cut to whole nanoseconds a frame.
    fn run(&self, repeat: u32) -> Result<f64> {
        let options = TestRunOptions {
            data_in: Some(&self.frame),
            repeat,
            ..TestRunOptions::new()
        };
        let started = thread_nanos();
        let outcome = self.program.test_run(options);
        let nanos = thread_nanos() - started;
        let outcome = outcome.with_context(|| format!("{}: the kernel does not run it", self.name))?;
        ensure!(
            outcome.return_value == self.answer,
            "{}: the program answered {}, and not {}: programs and policies do not fit this benchmark",
            self.name,
            outcome.return_value,
            self.answer
        );
        Ok(nanos)
    }
}

/// Processor time of this thread, in nanoseconds.
fn thread_nanos() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).map_or(0.0, |time| time.as_secs_f64() * 1e9)
}
