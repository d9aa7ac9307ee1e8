//! Counter slots that are stable by name.
//!
//! A counter belongs to a name, not to a position in a policy: the maps `NAMES_*` in the kernel say which slot a
//! name has, so counters go on through a swap and through a restart of the controller. A name that a policy no
//! longer uses keeps its slot, and its count, until the room is needed: then slots whose names neither the new nor
//! the running generation uses are handed out again, with their counters set to zero.

use std::collections::{BTreeSet, HashMap};

use enforcer_common::abi::{NAME_MAX, Name};

/// Why no slots could be given.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// More names than slots.
    #[error(
        "{needed} names of {what} need a counter slot (with those that the running policy still uses), but there are {capacity}: raise `{setting}` under [tables] in enforcer.toml, then `enforcer detach` and `enforcer run`, for the counters have to be made anew"
    )]
    Full {
        /// What is counted: zones, rules, ports.
        what: &'static str,
        /// The setting that limits it.
        setting: &'static str,
        /// Slots needed.
        needed: usize,
        /// Slots there are.
        capacity: usize,
    },
    /// A name that does not fit.
    #[error("the name `{0}` has more than {NAME_MAX} octets, or octets that are not ASCII")]
    Name(String),
}

/// What to do to the slots so that each name has one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// The slot of each name, in the order of the names that were asked for.
    pub slots: Vec<u32>,
    /// Slots to write: the new name.
    pub taken: Vec<(u32, String)>,
    /// Those of `taken` that had another name, so that their counters have to be set to zero.
    pub recycled: Vec<u32>,
}

/// Assigns a slot to each of `names`.
///
/// `current` is what the slots hold now (an empty string in a free one), `running` the names that the running
/// generation uses. `what` and `setting` are for the message.
pub fn assign(
    current: &[String],
    names: &[&str],
    running: &BTreeSet<&str>,
    what: &'static str,
    setting: &'static str,
) -> Result<Assignment, SlotError> {
    if let Some(name) = names.iter().find(|name| !fits(name)) {
        return Err(SlotError::Name((*name).to_owned()));
    }
    let held: HashMap<&str, u32> = (0..)
        .zip(current)
        .filter(|(_, name)| !name.is_empty())
        .map(|(slot, name)| (name.as_str(), slot))
        .collect();
    let wanted: BTreeSet<&str> = names.iter().copied().collect();
    let free = (0..)
        .zip(current)
        .filter(|(_, name)| name.is_empty())
        .map(|(slot, _)| slot);
    let idle = (0..).zip(current).filter_map(|(slot, name)| {
        let name = name.as_str();
        let idle = !name.is_empty() && !wanted.contains(name) && !running.contains(name);
        idle.then_some(slot)
    });
    let mut available = free.chain(idle);

    let mut assignment = Assignment::default();
    let mut fresh: HashMap<&str, u32> = HashMap::new();
    for name in names {
        if let Some(slot) = held.get(name).or_else(|| fresh.get(name)) {
            assignment.slots.push(*slot);
            continue;
        }
        let slot = available.next().ok_or_else(|| SlotError::Full {
            what,
            setting,
            needed: wanted.union(running).count(),
            capacity: current.len(),
        })?;
        if !current[slot as usize].is_empty() {
            assignment.recycled.push(slot);
        }
        assignment.taken.push((slot, (*name).to_owned()));
        fresh.insert(name, slot);
        assignment.slots.push(slot);
    }
    Ok(assignment)
}

fn fits(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_MAX && name.is_ascii()
}

/// The name as the kernel map holds it. Cut at [`NAME_MAX`] octets.
pub fn encode(name: &str) -> Name {
    let mut bytes = [0; NAME_MAX + 1];
    let length = name.len().min(NAME_MAX);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    Name(bytes)
}

/// The name that a kernel map holds; empty in a free slot.
pub fn decode(name: &Name) -> String {
    let end = name.0.iter().position(|&byte| byte == 0).unwrap_or(name.0.len());
    String::from_utf8_lossy(&name.0[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn current(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn assigned(held: &[&str], names: &[&str], running: &[&str]) -> Result<Assignment, SlotError> {
        let running = running.iter().copied().collect();
        assign(&current(held), names, &running, "rules", "rule_slots")
    }

    #[test]
    fn a_fresh_table_counts_up_in_order() {
        let got = assigned(&["", "", ""], &["unknown", "self"], &[]).unwrap();
        assert_eq!(got.slots, [0, 1]);
        assert_eq!(got.taken, [(0, "unknown".to_owned()), (1, "self".to_owned())]);
        assert!(got.recycled.is_empty());
    }

    /// Pitfall 13: an update reset the counters.
    #[test]
    fn a_name_keeps_its_slot_when_the_order_changes() {
        let got = assigned(&["a", "b", "c"], &["c", "a"], &[]).unwrap();
        assert_eq!(got.slots, [2, 0]);
        assert!(got.taken.is_empty());
    }

    #[test]
    fn free_slots_go_before_idle_ones() {
        let got = assigned(&["gone", "a", ""], &["a", "new"], &["a"]).unwrap();
        assert_eq!(got.slots, [1, 2]);
        assert!(got.recycled.is_empty());
    }

    #[test]
    fn a_slot_that_nobody_uses_is_recycled_and_zeroed() {
        let got = assigned(&["gone", "a"], &["a", "new"], &["a"]).unwrap();
        assert_eq!(got.slots, [1, 0]);
        assert_eq!(got.taken, [(0, "new".to_owned())]);
        assert_eq!(got.recycled, [0]);
    }

    #[test]
    fn a_slot_that_the_running_generation_uses_is_not_recycled() {
        let error = assigned(&["old", "a"], &["a", "new"], &["a", "old"]).unwrap_err();
        let SlotError::Full { needed, capacity, .. } = error else {
            panic!("{error}")
        };
        assert_eq!((needed, capacity), (3, 2));
    }

    #[test]
    fn one_name_twice_has_one_slot() {
        let got = assigned(&["", ""], &["a", "a"], &[]).unwrap();
        assert_eq!(got.slots, [0, 0]);
        assert_eq!(got.taken.len(), 1);
    }

    #[test]
    fn names_survive_the_way_to_the_kernel_and_back() {
        let longest = "x".repeat(NAME_MAX);
        for name in ["infusion-pumps", "", longest.as_str()] {
            assert_eq!(decode(&encode(name)), name);
        }
        let too_long = "x".repeat(NAME_MAX + 1);
        assert!(matches!(assigned(&[""], &[&too_long], &[]), Err(SlotError::Name(_))));
    }
}
