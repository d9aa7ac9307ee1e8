//! Cells: the record of the rule that wins for a profile and a service class, and of those that follow when it ends.

use std::collections::HashMap;

use super::{
    blocks::Blocks,
    classes::{Classes, Closeness},
    profiles::{NEW_RANK, Profiles},
    records::Records,
};
use crate::policy::valid::{ServiceMatch, ValidPolicy};

/// The cells of all profiles.
pub(super) struct Cells {
    /// Blocks of record ids.
    pub(super) blocks: Vec<[u32; 256]>,
    /// Numbers of blocks, by profile.
    pub(super) columns: Vec<u32>,
    pub(super) services: Services,
}

/// Decides every cell.
pub(super) fn build(policy: &ValidPolicy, profiles: &Profiles, classes: &Classes, records: &mut Records) -> Cells {
    let services = Services::collect(policy, classes);
    let mut blocks = Blocks::new();
    let mut columns = Vec::new();
    let mut row = vec![0; classes.count.next_multiple_of(256)];
    for profile in &profiles.lists {
        row.fill(0);
        // From the last to the first, so that the winner is written last.
        for rank in profile.chunk_by(|_, next| next & NEW_RANK == 0).rev() {
            services.paint(&mut row, rank, records);
        }
        for &cell in &row {
            records.check(cell);
        }
        let numbers = row.chunks_exact(256).map(|chunk| match chunk.try_into() {
            Ok(block) => blocks.number(block),
            Err(_) => 0,
        });
        columns.extend(numbers);
    }
    Cells {
        blocks: blocks.list,
        columns,
        services,
    }
}

/// The classes of each rule.
pub(super) struct Services {
    /// By list of services.
    lists: Vec<Vec<(u16, Closeness)>>,
    /// By rule id: the number of its list.
    of_rule: Vec<usize>,
}

impl Services {
    fn collect(policy: &ValidPolicy, classes: &Classes) -> Self {
        let mut numbers: HashMap<&[ServiceMatch], usize> = HashMap::new();
        let mut lists = Vec::new();
        let mut of_rule = vec![0];
        for rule in &policy.rules {
            let number = *numbers.entry(&rule.services).or_insert_with(|| {
                lists.push(classes.of(&rule.services));
                lists.len() - 1
            });
            of_rule.push(number);
        }
        Self { lists, of_rule }
    }

    /// The classes of a rule, by id.
    pub(super) fn of(&self, rule: u32) -> &[(u16, Closeness)] {
        &self.lists[self.of_rule[rule as usize]]
    }

    /// Writes the winners among rules of one rank over a row, which has what decides without them.
    fn paint(&self, row: &mut [u32], rank: &[u32], records: &mut Records) {
        if let [rule] = *rank {
            let rule = rule & !NEW_RANK;
            for &(class, _) in self.of(rule) {
                let cell = &mut row[class as usize];
                *cell = records.before(rule, *cell);
            }
            return;
        }
        let mut claims = Vec::new();
        for rule in rank.iter().map(|rule| rule & !NEW_RANK) {
            claims.extend(self.of(rule).iter().map(|&(class, near)| (near, rule, class)));
        }
        // The closest is written last; among equals, the first name.
        claims.sort_unstable_by_key(|&(near, rule, _)| (near, std::cmp::Reverse(rule)));
        for (_, rule, class) in claims {
            let cell = &mut row[class as usize];
            *cell = records.before(rule, *cell);
        }
    }
}
