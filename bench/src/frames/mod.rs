//! What a frame costs: `BPF_PROG_TEST_RUN`.
//!
//! The kernel runs each program on one frame a million times a round, and the programs take many short turns in it, so that a
//! machine that slows down does so for all of them. The caches are warm and the branches foreseen, for the references as for the enforcer:
//! what counts is the ratio.

mod bpfilter;
mod cases;
mod counter;
mod gate;
mod measure;
mod peers;
mod programs;
mod report;

use std::path::Path;

use anyhow::Result;

use crate::results::Outcome;
pub(crate) use counter::Instructions;
pub(crate) use gate::gate;
pub(crate) use measure::thread_nanos;

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: u32,
    /// Frames a round.
    pub(crate) repeat: u32,
    /// Turns that a case has in a round: short ones, so that what is compared runs within moments of each other.
    pub(crate) turns: u32,
}

impl Effort {
    pub(crate) const FULL: Self = Self {
        rounds: 11,
        repeat: 1_000_000,
        turns: 25,
    };
    pub(crate) const QUICK: Self = Self {
        rounds: 3,
        repeat: 100_000,
        turns: 5,
    };
}

/// What to run beside the shipped program, and what of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Choice<'a> {
    /// The policies are a tenth of their size.
    pub(crate) quick: bool,
    /// Another build of the kernel program.
    pub(crate) other: Option<&'a Path>,
    /// Where bpfilter was unpacked.
    pub(crate) bpfilter: Option<&'a Path>,
    /// Of the enforcer's cases only those with this in their names.
    pub(crate) only: Option<&'a str>,
}

/// Measures the cases.
pub(crate) fn run(effort: Effort, choice: Choice<'_>) -> Result<Outcome> {
    let mut outcome = Outcome {
        how: format!(
            "{} rounds of {} frames a case, in {} turns whose median counts, cases in turn; nanoseconds are processor time of the \
             measuring thread",
            effort.rounds, effort.repeat, effort.turns
        ),
        ..Outcome::default()
    };
    let mut programs = programs::Programs::load(choice.quick, choice.other)?;
    programs.peers(choice.bpfilter, &mut outcome);
    let mut cases = programs.cases()?;
    cases.retain(|case| case.is_reference() || choice.only.is_none_or(|text| case.name.contains(text)));
    let counter = Instructions::open();
    if let Err(reason) = &counter {
        outcome.skip("kernel instructions a frame", reason);
    }
    let all = measure::measure(&cases, effort, counter.ok())?;
    report::report(&all, &mut outcome);
    Ok(outcome)
}
