//! Which outcomes the frames of a run came to, and whether any is missing.

use std::collections::{BTreeMap, BTreeSet};

use enforcer_common::verdict::{DropReason, Stage, Verdict};

/// The reason that no frame reaches: a defect of the policy compiler.
const UNREACHABLE: DropReason = DropReason::TableMiss;

/// Which outcomes came up.
#[derive(Default)]
pub(crate) struct Coverage {
    verdicts: BTreeMap<&'static str, usize>,
    reasons: BTreeMap<&'static str, usize>,
    stages: BTreeMap<&'static str, usize>,
}

impl Coverage {
    pub(crate) fn extend(&mut self, outcomes: impl IntoIterator<Item = (Verdict, DropReason, Stage)>) {
        for (verdict, reason, stage) in outcomes {
            *self.verdicts.entry(verdict.name()).or_default() += 1;
            *self.reasons.entry(reason.name()).or_default() += 1;
            *self.stages.entry(stage.name()).or_default() += 1;
        }
    }

    /// Fails when an outcome is missing that frames can bring about.
    pub(crate) fn assert_complete(&self) {
        println!("{:?}\n{:?}\n{:?}", self.verdicts, self.stages, self.reasons);
        // The kernel runs no program on less than an Ethernet header.
        let reasons = DropReason::ALL.iter().filter(|&&reason| reason != UNREACHABLE);
        let missing: BTreeSet<_> = reasons
            .map(|reason| reason.name())
            .filter(|name| !self.reasons.contains_key(name))
            .chain(
                Verdict::ALL
                    .iter()
                    .map(|one| one.name())
                    .filter(|name| !self.verdicts.contains_key(name)),
            )
            .chain(
                Stage::ALL
                    .iter()
                    .map(|one| one.name())
                    .filter(|name| !self.stages.contains_key(name)),
            )
            .collect();
        assert!(missing.is_empty(), "no frame came to {missing:?}");
    }
}
