//! Rules that end: the records of rules, and which of them stands in for which.
//!
//! A rule has one record, with its own number, as long as nothing stands behind it when it ends. Where another rule does, that
//! pair has a record of its own: same rule, but `otherwise` leads to the other one's record.

use std::collections::{BTreeSet, HashMap};

use enforcer_common::abi::{self, DEADLINES, DEFAULT_RULE};

use crate::policy::valid::{Rule, ValidPolicy};

/// The records of a policy's rules.
pub(super) struct Records {
    /// By record id. The first are the default and the rules, by number.
    pub(super) list: Vec<abi::Rule>,
    /// By record id: the number of the rule.
    pub(super) rule_of: Vec<u32>,
    numbers: HashMap<(u32, u32), u32>,
    /// The rules of chains that are too long.
    pub(super) too_long: BTreeSet<Vec<u32>>,
}

/// Whether a rule has ended at `now`, in nanoseconds of Unix time.
pub(super) fn is_over(rule: &Rule, now: u64) -> bool {
    rule.expires.is_some_and(|expires| expires <= now)
}

impl Records {
    /// The records of the default and of the rules, none of them followed by another.
    pub(super) fn new(rules: Vec<abi::Rule>) -> Self {
        Self {
            rule_of: (0..rules.len() as u32).collect(),
            list: rules,
            numbers: HashMap::new(),
            too_long: BTreeSet::new(),
        }
    }

    /// The record for a rule that goes before what `behind` decides.
    pub(super) fn before(&mut self, rule: u32, behind: u32) -> u32 {
        let own = self.list[rule as usize];
        if own.deadline == 0 {
            return rule;
        }
        // What ends no later can never follow.
        let mut otherwise = behind;
        while (1..=own.deadline).contains(&self.list[otherwise as usize].deadline) {
            otherwise = self.list[otherwise as usize].otherwise;
        }
        if otherwise == DEFAULT_RULE {
            return rule;
        }
        if let Some(&known) = self.numbers.get(&(rule, otherwise)) {
            return known;
        }
        let record = self.list.len() as u32;
        self.list.push(abi::Rule { otherwise, ..own });
        self.rule_of.push(rule);
        self.numbers.insert((rule, otherwise), record);
        record
    }

    /// Remembers a cell whose rules end one after the other more often than the data path follows.
    pub(super) fn check(&mut self, cell: u32) {
        let mut ending = Vec::new();
        let mut record = cell;
        while self.list[record as usize].deadline != 0 {
            ending.push(self.rule_of[record as usize]);
            record = self.list[record as usize].otherwise;
        }
        if ending.len() > DEADLINES {
            self.too_long.insert(ending);
        }
    }

    /// The first of the chains that are too long, as places of rules in the policy.
    pub(super) fn excess<'p>(&self, policy: &'p ValidPolicy) -> Option<Vec<&'p Rule>> {
        let chain = self.too_long.first()?.iter();
        Some(chain.map(|&rule| &policy.rules[rule as usize - 1]).collect())
    }
}
