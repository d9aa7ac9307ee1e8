//! Rounds over all cases, one after the other.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use aya::programs::{TestRun as _, TestRunOptions};

use crate::cases::Case;
use crate::counter::Instructions;

/// What a case cost, a value a round.
pub(crate) struct Series {
    pub(crate) name: &'static str,
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
            name: case.name,
            nanos: Vec::new(),
            instructions: Vec::new(),
        }
    }

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
    /// Runs the program on its frame so many times. Nanoseconds by our own clock: the kernel's answer is cut to
    /// whole nanoseconds a frame, and entering it once is nothing beside a million frames.
    fn run(&self, repeat: u32) -> Result<f64> {
        let options = TestRunOptions {
            data_in: Some(&self.frame),
            repeat,
            ..TestRunOptions::new()
        };
        let started = Instant::now();
        let outcome = self.program.test_run(options);
        let nanos = started.elapsed().as_nanos() as f64;
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
