//! Rounds over all cases, one after the other.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use rustix::time::{ClockId, clock_gettime};

use super::counter::Instructions;
use super::{Effort, cases::Case};
use crate::stats::Spread;

/// What a case cost, a value a round.
pub(crate) struct Series {
    pub(crate) group: &'static str,
    pub(crate) name: String,
    /// What the case costs without the program: the name of another case.
    pub(crate) floor: &'static str,
    /// Nanoseconds a frame.
    pub(crate) nanos: Vec<f64>,
    /// Kernel instructions a frame; empty without the counter.
    pub(crate) instructions: Vec<f64>,
}

/// Measures all cases; an error when a program gives another answer than it should.
pub(crate) fn measure(cases: &[Case<'_>], effort: Effort, mut counter: Option<Instructions>) -> Result<Vec<Series>> {
    let mut all: Vec<_> = cases.iter().map(Series::new).collect();
    for case in cases {
        // Warms the caches, and lets flows begin.
        case.prepare()?;
        case.run(effort.repeat / 10)?;
    }
    for round in 0..effort.rounds {
        eprintln!(
            "bench: frames: round {} of {}, {} cases",
            round + 1,
            effort.rounds,
            cases.len()
        );
        let mut turns = vec![Turns::default(); cases.len()];
        for _ in 0..effort.turns {
            for (case, turns) in cases.iter().zip(&mut turns) {
                case.prepare()?;
                turns.take(case, effort.repeat / effort.turns, counter.as_mut())?;
            }
        }
        for (series, turns) in all.iter_mut().zip(turns) {
            turns.end(series);
        }
    }
    Ok(all)
}

impl Series {
    fn new(case: &Case<'_>) -> Self {
        Self {
            group: case.group,
            name: case.name.clone(),
            floor: case.floor(),
            nanos: Vec::new(),
            instructions: Vec::new(),
        }
    }
}

/// What a case cost in each of its turns of a round.
#[derive(Clone, Debug, Default)]
struct Turns {
    nanos: Vec<f64>,
    instructions: Vec<f64>,
}

impl Turns {
    #[expect(clippy::cast_precision_loss, reason = "a count far below 2^53")]
    fn take(&mut self, case: &Case<'_>, repeat: u32, counter: Option<&mut Instructions>) -> Result<()> {
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

    /// The middle one stands for the round: a turn in which a neighbour of this virtual machine took the processor's other
    /// half says nothing about the program.
    fn end(self, series: &mut Series) {
        series.nanos.push(Spread::of(&self.nanos).median);
        if !self.instructions.is_empty() {
            series.instructions.push(Spread::of(&self.instructions).median);
        }
    }
}

impl Case<'_> {
    /// Lets the frames come that have to come before, once each.
    fn prepare(&self) -> Result<()> {
        for frame in &self.before {
            test_run(self.before_program.unwrap_or(self.program), frame, 1)
                .with_context(|| format!("{}: the kernel does not run what comes before", self.name))?;
        }
        Ok(())
    }

    /// Runs the program on its frame so many times. Nanoseconds of this thread's processor time: what others do meanwhile
    /// does not count. The kernel's own answer is cut to whole nanoseconds a frame.
    fn run(&self, repeat: u32) -> Result<f64> {
        if let Some((reference, frames, next)) = &self.stream {
            reference.stream(frames)?;
            reference.next(next)?;
        }
        let started = thread_nanos();
        let answer = test_run(self.program, &self.frame, repeat);
        let nanos = thread_nanos() - started;
        let answer = answer.with_context(|| format!("{}: the kernel does not run it", self.name))?;
        ensure!(
            self.answer.is_none_or(|expected| expected == answer),
            "{}: the program answered {answer}, and not {:?}: programs and policies do not fit this benchmark",
            self.name,
            self.answer
        );
        Ok(nanos)
    }
}

/// Runs a program; its last answer.
pub(crate) fn test_run(program: &Xdp, frame: &[u8], repeat: u32) -> Result<u32> {
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    options.repeat = repeat.max(1);
    Ok(program.test_run(options)?.return_value)
}

/// Processor time of this thread, in nanoseconds.
pub(crate) fn thread_nanos() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).map_or(0.0, |time| time.as_secs_f64() * 1e9)
}
