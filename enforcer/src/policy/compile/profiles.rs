//! Profiles: the rules that apply to a pair of identities, in the order of precedence.
//!
//! Most pairs of identities have no rule at all, and most of the others have the same rules as a pair of more general
//! identities (a device that one rule names has all the rules of its zone too). So the row of a sender starts as that of
//! the identity that it is like, and only the receivers of rules that differ are looked at again; and a receiver that
//! differs from the one that it is like in rules that do not name the sender has that one's profile.

use std::{cmp::Reverse, collections::HashMap};

use super::{
    blocks::Blocks,
    identity::{Assigned, Closeness, Identities, RuleSet},
    records::is_over,
};
use crate::policy::valid::{Action, Rule, ServiceMatch, ValidPolicy};

/// Marks the first of the entries in a profile that only the service, and then the name, ranks.
pub(super) const NEW_RANK: u32 = 1 << 31;

/// The rules of a pair, first the one that wins; [`NEW_RANK`] is set where rank changes.
pub(super) type Profile = Vec<u32>;

/// The profiles of all pairs.
pub(super) struct Profiles {
    /// By profile; the first is empty.
    pub(super) lists: Vec<Profile>,
    /// Blocks of profiles.
    pub(super) blocks: Vec<[u32; 256]>,
    /// Numbers of blocks, by source identity.
    pub(super) rows: Vec<u32>,
}

/// Finds the profiles of all pairs of identities.
pub(super) fn build(policy: &ValidPolicy, identities: &Assigned, now: u64) -> Profiles {
    let mut builder = Builder::new(policy, identities, now);
    let row_blocks = identities.destinations.sets.len().div_ceil(256);
    let mut rows: Vec<u32> = Vec::with_capacity(row_blocks * identities.sources.sets.len());
    for (number, rules) in identities.sources.sets.iter().enumerate() {
        let like = identities.sources.like[number] as usize;
        let (mut row, changed) = if like == number {
            (vec![0; row_blocks], rules.iter().map(|&(rule, _)| rule).collect())
        } else {
            let row = rows[like * row_blocks..(like + 1) * row_blocks].to_vec();
            (row, difference(rules, &identities.sources.sets[like]))
        };
        builder.patch(&mut row, rules, &changed);
        rows.extend(row);
    }
    Profiles {
        lists: builder.lists,
        blocks: builder.blocks.list,
        rows,
    }
}

/// The rules that are in one set only, or that name their address more closely in one of them. Both are sorted.
fn difference(mut a: &[(u32, Closeness)], mut b: &[(u32, Closeness)]) -> Vec<u32> {
    let mut rules = Vec::new();
    while let (Some(first_a), Some(first_b)) = (a.first(), b.first()) {
        if first_a != first_b {
            rules.push(first_a.0.min(first_b.0));
        }
        a = &a[usize::from(first_a.0 <= first_b.0)..];
        b = &b[usize::from(first_b.0 <= first_a.0)..];
    }
    rules.extend(a.iter().chain(b).map(|&(rule, _)| rule));
    rules
}

struct Builder<'p> {
    rules: &'p [Rule],
    now: u64,
    receivers: &'p Identities,
    /// By destination identity: the rules by which it differs from the one that it is like.
    own: Vec<Vec<u32>>,
    /// By rule id: the destination identities that it names.
    receivers_of: Vec<Vec<u32>>,
    lists: Vec<Profile>,
    numbers: HashMap<Profile, u32>,
    blocks: Blocks,
}

impl<'p> Builder<'p> {
    fn new(policy: &'p ValidPolicy, identities: &'p Assigned, now: u64) -> Self {
        let receivers = &identities.destinations;
        let mut receivers_of = vec![Vec::new(); policy.rules.len() + 1];
        let mut own = Vec::with_capacity(receivers.sets.len());
        for (number, rules) in receivers.sets.iter().enumerate() {
            for &(rule, _) in rules {
                receivers_of[rule as usize].push(number as u32);
            }
            own.push(difference(rules, &receivers.sets[receivers.like[number] as usize]));
        }
        Self {
            rules: &policy.rules,
            now,
            receivers,
            own,
            receivers_of,
            lists: vec![Profile::new()],
            numbers: HashMap::from([(Profile::new(), 0)]),
            blocks: Blocks::new(),
        }
    }

    /// Corrects a row for a sender with these rules, where it differs in some of them from the row's former owner.
    fn patch(&mut self, row: &mut [u32], rules: &RuleSet, changed: &[u32]) {
        let affected = changed.iter().flat_map(|&rule| &self.receivers_of[rule as usize]);
        let mut affected: Vec<u32> = affected.copied().collect();
        affected.sort_unstable();
        affected.dedup();
        let mut named = vec![false; self.receivers_of.len()];
        for &(rule, _) in rules {
            named[rule as usize] = true;
        }
        for same_block in affected.chunk_by(|a, b| a >> 8 == b >> 8) {
            let at = (same_block[0] >> 8) as usize;
            let mut block = self.blocks.list[row[at] as usize];
            for &receiver in same_block {
                // A receiver comes after the one that it is like, whose profile is settled by now.
                let like = self.receivers.like[receiver as usize];
                let differs = self.own[receiver as usize].iter().any(|&rule| named[rule as usize]);
                block[(receiver & 0xff) as usize] = if differs || like == receiver {
                    self.profile(rules, receiver)
                } else if (like >> 8) as usize == at {
                    block[(like & 0xff) as usize]
                } else {
                    self.blocks.list[row[(like >> 8) as usize] as usize][(like & 0xff) as usize]
                };
            }
            row[at] = self.blocks.number(&block);
        }
    }

    fn profile(&mut self, from: &RuleSet, receiver: u32) -> u32 {
        let both = intersection(from, &self.receivers.sets[receiver as usize]);
        let list = ranked(self.rules, self.now, both, true);
        if let Some(&number) = self.numbers.get(&list) {
            return number;
        }
        let number = self.lists.len() as u32;
        self.lists.push(list.clone());
        self.numbers.insert(list, number);
        number
    }
}

/// The rules that name both ends, the first one that wins before the others, with what can never win.
pub(super) fn complete(rules: &[Rule], from: &RuleSet, to: &RuleSet, now: u64) -> Profile {
    ranked(rules, now, intersection(from, to), false)
}

/// Whether a rule is for every service and does not end: what stands behind it can never win.
pub(super) fn is_last(rule: &Rule) -> bool {
    rule.expires.is_none() && rule.services.contains(&ServiceMatch::Any)
}

/// Sorts rules by all of the precedence that does not depend on the service, without those that have ended; with `cut`, without those
/// that can never win.
fn ranked(rules: &[Rule], now: u64, mut both: Vec<(u32, Closeness, Closeness)>, cut: bool) -> Profile {
    let rule = |id: u32| &rules[id as usize - 1];
    let rank = |&(id, from, to): &(u32, Closeness, Closeness)| {
        let Rule { priority, action, .. } = rule(id);
        (Reverse(*priority), *action == Action::Allow, Reverse(from), Reverse(to))
    };
    both.retain(|&(id, ..)| !is_over(rule(id), now));
    // Rules are numbered by name, so the numbers order what agrees in all else.
    both.sort_unstable_by_key(|entry| (rank(entry), entry.0));
    let mut list = Profile::with_capacity(both.len());
    for same in both.chunk_by(|a, b| rank(a) == rank(b)) {
        list.extend(same.iter().map(|&(id, ..)| id));
        let first = list.len() - same.len();
        list[first] |= NEW_RANK;
        if cut && same.iter().any(|&(id, ..)| is_last(rule(id))) {
            break;
        }
    }
    list
}

/// The rules that name both ends, with how closely they name each.
fn intersection(from: &RuleSet, to: &RuleSet) -> Vec<(u32, Closeness, Closeness)> {
    let find = |set: &RuleSet, rule: u32| {
        let found = set.binary_search_by_key(&rule, |&(rule, _)| rule).ok();
        found.map(|at| set[at].1)
    };
    if from.len() <= to.len() {
        let pairs = from.iter().map(|&(rule, near)| Some((rule, near, find(to, rule)?)));
        pairs.flatten().collect()
    } else {
        let pairs = to.iter().map(|&(rule, near)| Some((rule, find(from, rule)?, near)));
        pairs.flatten().collect()
    }
}
