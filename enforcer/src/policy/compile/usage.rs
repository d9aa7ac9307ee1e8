//! What each rule decides, over every cell of the tables: what the lints about rules are found by.
//!
//! In a cell, the rules that match stand one behind the other. Those at the front that do the same make a run: the cell keeps its
//! verdict as long as one of the run stays.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::iter;

use enforcer_common::packet::protocol;

use super::{
    profiles::{self, NEW_RANK, Profile},
    proofs::{Example, Ground},
};
use crate::diagnostics::Location;
use crate::policy::valid::{Limit, Never, Rule, SELF, Selector, ServiceMatch};

/// What the rules do, by their numbers: from 1, in the order of the policy. Rules that have ended do nothing.
#[derive(Debug, Default)]
pub(in crate::policy) struct Usage {
    /// Those that match some packet.
    pub(in crate::policy) matching: BTreeSet<u32>,
    /// Those that decide about some packet, at some time.
    pub(in crate::policy) deciding: BTreeSet<u32>,
    /// Of the deciding ones, those without which, all of them together, no verdict would be another; and one that does the same.
    pub(in crate::policy) redundant: BTreeMap<u32, u32>,
    /// Those that allow a packet toward the gateway that is no ICMP message.
    pub(in crate::policy) toward_gateway: BTreeSet<u32>,
    /// Somebody may open a TCP session to the gateway.
    pub(in crate::policy) gateway_has_sessions: bool,
}

/// Looks at every cell that a packet can meet.
pub(super) fn find(ground: &Ground<'_>, now: u64) -> Usage {
    let rules = &ground.policy.rules;
    let examples = ground.examples(&[ServiceMatch::Any]);
    let mut study = Study::new(ground, &examples);
    let mut seen = HashSet::new();
    let is_last = |entry: &u32| profiles::is_last(&rules[(entry & !NEW_RANK) as usize - 1]);
    ground.pairs(&traffic(Selector::Any), false, |from, to, profile| {
        let list = &ground.lists[profile as usize];
        if !list.iter().any(is_last) {
            if seen.insert(profile) {
                study.list(list);
            }
            return;
        }
        let end = |endpoint: u32| ground.tables.endpoints[endpoint as usize];
        let (from, to) = (end(from.endpoint).source, end(to.endpoint).destination);
        let from = &ground.identities.sources.sets[from as usize];
        let to = &ground.identities.destinations.sets[to as usize];
        let list = profiles::complete(rules, from, to, now);
        if !study.complete.contains(&list) {
            study.list(&list);
            study.complete.insert(list);
        }
    });
    let mut usage = study.settle();
    toward_gateway(ground, &examples, &mut usage);
    usage
}

/// All packets toward an end.
fn traffic(to: Selector) -> Never {
    Never {
        name: String::new(),
        from: vec![Selector::Any],
        to: vec![to],
        services: vec![ServiceMatch::Any],
        at: Location {
            file: 0,
            start: 0,
            end: 0,
        },
    }
}

fn toward_gateway(ground: &Ground<'_>, examples: &[Example], usage: &mut Usage) {
    let mut seen = HashSet::new();
    ground.pairs(&traffic(Selector::Zone(SELF)), false, |_, _, profile| {
        if !seen.insert(profile) {
            return;
        }
        for example in examples {
            if matches!(example.protocol, protocol::ICMP | protocol::ICMPV6) {
                continue;
            }
            let records = ground.chain(profile, example.class);
            for record in records.filter(|record| ground.allows(*record)) {
                usage.toward_gateway.insert(ground.rule_of[record as usize]);
                usage.gateway_has_sessions |= example.protocol == protocol::TCP;
            }
        }
    });
}

/// Cells, as they are looked at.
struct Study<'g> {
    ground: &'g Ground<'g>,
    /// Service classes that packets have.
    classes: Vec<u32>,
    /// Lists of rules that were looked at, with what can never win.
    complete: HashSet<Profile>,
    /// By class: the rules that match, the one that wins first.
    cells: Vec<Vec<u32>>,
    /// One of each has to stay.
    runs: HashSet<Vec<u32>>,
    usage: Usage,
}

impl<'g> Study<'g> {
    fn new(ground: &'g Ground<'g>, examples: &[Example]) -> Self {
        let classes: Vec<_> = examples.iter().map(|example| example.class).collect();
        let count = classes.iter().max().map_or(0, |class| *class as usize + 1);
        Self {
            ground,
            classes,
            complete: HashSet::new(),
            cells: vec![Vec::new(); count],
            runs: HashSet::new(),
            usage: Usage::default(),
        }
    }

    fn rule(&self, number: u32) -> &'g Rule {
        &self.ground.policy.rules[number as usize - 1]
    }

    /// The cells of the pairs that have these rules.
    fn list(&mut self, list: &[u32]) {
        self.cells.iter_mut().for_each(Vec::clear);
        for rank in list.chunk_by(|_, next| next & NEW_RANK == 0) {
            let mut claims = Vec::new();
            for rule in rank.iter().map(|rule| rule & !NEW_RANK) {
                let classes = self.ground.services.of(rule).iter();
                claims.extend(classes.map(|&(class, near)| (Reverse(near), rule, class)));
            }
            claims.sort_unstable();
            for (_, rule, class) in claims {
                if let Some(cell) = self.cells.get_mut(usize::from(class)) {
                    cell.push(rule);
                }
            }
        }
        for class in self.classes.clone() {
            let cell = std::mem::take(&mut self.cells[class as usize]);
            self.cell(&cell);
            self.cells[class as usize] = cell;
        }
    }

    /// A cell, at each time from which on one of its rules has ended.
    fn cell(&mut self, rules: &[u32]) {
        self.usage.matching.extend(rules);
        let ends: BTreeSet<u64> = rules.iter().filter_map(|rule| self.rule(*rule).expires).collect();
        for time in iter::once(0).chain(ends) {
            let there = |rule: &&u32| self.rule(**rule).expires.is_none_or(|end| end > time);
            let mut there = rules.iter().filter(there);
            let Some(first) = there.next() else { break };
            let deed = self.rule(*first);
            let same = there.take_while(|rule| do_the_same(deed, self.rule(**rule)));
            let run: Vec<u32> = iter::once(first).chain(same).copied().collect();
            self.usage.deciding.insert(*first);
            self.runs.insert(run);
        }
    }

    /// Takes one rule after the other away, the last one in the text first, as long as one of each run stays.
    fn settle(mut self) -> Usage {
        let mut runs_of: BTreeMap<u32, Vec<&Vec<u32>>> = BTreeMap::new();
        for run in &self.runs {
            for rule in run {
                runs_of.entry(*rule).or_default().push(run);
            }
        }
        let mut stay = self.usage.deciding.clone();
        let mut order: Vec<u32> = stay.iter().copied().collect();
        order.sort_by_key(|rule| Reverse(self.rule(*rule).at));
        for rule in order {
            let runs = runs_of.get(&rule).map(Vec::as_slice).unwrap_or_default();
            let other = |run: &&Vec<u32>| run.iter().copied().find(|other| *other != rule && stay.contains(other));
            let others: Option<Vec<u32>> = runs.iter().map(other).collect();
            if let Some(one) = others.as_deref().and_then(<[u32]>::first).copied() {
                stay.remove(&rule);
                self.usage.redundant.insert(rule, one);
            }
        }
        self.usage
    }
}

/// Whether a packet meets with the same from both rules. Two limits are two, even if they are alike.
fn do_the_same(a: &Rule, b: &Rule) -> bool {
    let none = Limit::default();
    let deed = |rule: &Rule| (rule.action, rule.monitor, rule.log_new, rule.alarm);
    deed(a) == deed(b) && a.limit == none && b.limit == none
}
