//! The tests of a policy: each against an enforcer that has seen no frame before.

use std::collections::BTreeSet;
use std::time::Duration;

use enforcer_common::abi::NO_RULE;
use enforcer_common::verdict::Verdict;

use super::{Outcome, Rig, build};
use crate::policy::cases::{Case, Expect, Expected, Step};
use crate::policy::valid::{Location, Rule};

/// What came of the tests.
#[derive(Debug)]
pub struct Report<'p> {
    /// One for each test, in the order of the policy.
    pub results: Vec<Verdicts<'p>>,
    /// Rules that decided no frame of any test.
    pub unreached: Vec<&'p Rule>,
}

/// What came of a test.
#[derive(Debug)]
pub struct Verdicts<'p> {
    /// The test.
    pub case: &'p Case,
    /// What was not as expected; empty when the test passed.
    pub failures: Vec<Failure>,
}

/// A step that went otherwise.
#[derive(Debug)]
pub struct Failure {
    /// Its number, from 1.
    pub step: usize,
    /// Where it stands.
    pub at: Location,
    /// What the test wants: `allow by rule pumps-to-gateway`.
    pub expected: String,
    /// What became of the frame.
    pub outcome: String,
}

impl Report<'_> {
    /// Tests that failed.
    pub fn failed(&self) -> usize {
        self.results.iter().filter(|result| !result.failures.is_empty()).count()
    }
}

/// Runs the tests of the policy in force, each from the time `start` on, in nanoseconds of Unix time.
pub fn run(rig: &mut Rig, start: u64) -> Report<'_> {
    let mut reached = BTreeSet::new();
    let mut failures = Vec::with_capacity(rig.policy().cases.len());
    for number in 0..rig.policy().cases.len() {
        rig.forget();
        failures.push(run_case(rig, &rig.policy().cases[number], start, &mut reached));
    }
    let policy = rig.policy();
    let results = policy.cases.iter().zip(failures);
    // A rule that ends has a record of its own for each rule that stands behind it: all of them have its name.
    let names = &rig.tables().names.rules;
    let reached: BTreeSet<&str> = reached
        .into_iter()
        .filter_map(|record| names.get(record as usize).map(|rule| rule.name.as_str()))
        .collect();
    Report {
        results: results.map(|(case, failures)| Verdicts { case, failures }).collect(),
        unreached: policy
            .rules
            .iter()
            .filter(|rule| !reached.contains(rule.name.as_str()))
            .collect(),
    }
}

fn run_case(rig: &Rig, case: &Case, start: u64, reached: &mut BTreeSet<u32>) -> Vec<Failure> {
    let mut now = start;
    let mut failures = Vec::new();
    for (index, step) in case.steps.iter().enumerate() {
        now += nanos(step.after);
        let outcome = run_step(rig, step, now, reached);
        if !fits(&step.expect, &outcome) {
            failures.push(Failure {
                step: index + 1,
                at: step.at,
                expected: step.expect.to_string(),
                outcome: outcome.to_string(),
            });
        }
    }
    failures
}

/// What became of the last of the step's frames.
fn run_step<'r>(rig: &'r Rig, step: &Step, now: u64, reached: &mut BTreeSet<u32>) -> Outcome<'r> {
    let frame = build::octets(&step.probe);
    for _ in 1..step.repeat {
        let (decision, _) = rig.decide(frame.as_slice(), now);
        reached.insert(decision.rule);
    }
    let (decision, packet) = rig.decide(frame.as_slice(), now);
    if decision.rule != NO_RULE {
        reached.insert(decision.rule);
    }
    Outcome::new(&decision, &packet, rig.tables())
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn fits(expect: &Expect, outcome: &Outcome<'_>) -> bool {
    let verdict = expect.verdict.is_none_or(|expected| match expected {
        Expected::Allow => outcome.is_permitted(),
        Expected::Deny => !outcome.is_permitted(),
        Expected::Drop => outcome.verdict == Verdict::Drop,
        Expected::WouldDrop => outcome.verdict == Verdict::WouldDrop,
    });
    let rule = expect.rule.as_deref();
    verdict
        && rule.is_none_or(|rule| outcome.rule.is_some_and(|found| found.name == rule))
        && expect.reason.is_none_or(|reason| outcome.reason == reason)
        && expect.stage.is_none_or(|stage| outcome.stage == stage)
}
