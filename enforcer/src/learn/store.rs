//! The observations, in memory; [`mod@file`] has them on disk.
//!
//! A store never grows over its limit. A full one keeps what it has, because a job that runs once a month is not seen again
//! soon, and counts what it leaves out. Connections that nobody answered, of which a scan makes thousands, get at most half
//! of the places, and few from one source; they make room for answered ones, and when they have not been seen for long, for
//! each other.

mod file;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

pub use file::Loaded;
use serde::{Deserialize, Serialize};

/// Observations that a store keeps, unless it is told otherwise.
pub const LIMIT: usize = 65_536;

/// Unanswered ones that it keeps from one source.
pub const UNANSWERED_A_SOURCE: usize = 256;

/// VLANs and reasons of which it keeps refusals.
const REFUSALS: usize = 4096;

/// Seconds after which an unanswered connection that was not seen again makes room for another: longer than a month.
const STALE: u64 = 40 * 24 * 3600;

/// An end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// A device that had its address by DHCP, by name.
    Device(String),
    /// Any other station.
    Address(IpAddr),
}

/// What makes two connections the same observation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The address space, by name.
    pub realm: String,
    /// The VLAN, `110` or `2000.110`, when one of the ends has an address that every VLAN has; else `None`.
    pub link: Option<String>,
    /// Who opened it.
    pub from: End,
    /// Toward whom.
    pub to: End,
    /// IP protocol number of what was asked for.
    pub protocol: u8,
    /// Its port; `type << 8 | code` of ICMP; 0 of protocols without ports.
    pub port: u16,
}

/// What is known of the connections of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Whether any of them was answered.
    pub answered: bool,
    /// Each of them was first seen in the middle, it seems, by an answer, and is told the other way round than it was seen.
    pub turned: bool,
    /// Unix seconds of the first.
    pub first: u64,
    /// Unix seconds of the last frame.
    pub last: u64,
    /// How many there were; of what forms no flow, events, of which not each is sent.
    pub count: u64,
}

/// Something else than rules that would refuse frames.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Refusal {
    /// The VLAN that they came by, `110` or `2000.110`; empty for frames without a tag.
    pub vlan: String,
    /// The name of the `DropReason`.
    pub reason: String,
}

/// How often that was, and the last example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Unix seconds of the first.
    pub first: u64,
    /// Unix seconds of the last.
    pub last: u64,
    /// How many events.
    pub count: u64,
    /// The last one, for people.
    pub example: String,
}

/// Up to where the tables of flows have been read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The kernel's id of this boot.
    pub boot: String,
    /// A time on the tick clock: flows that began by then are counted.
    pub ticks: u64,
}

/// The observations, bounded.
#[derive(Debug)]
pub struct Store {
    answered: BTreeMap<Key, Observation>,
    unanswered: BTreeMap<Key, Observation>,
    /// Keys of `unanswered` in the order in which they came; those that have been answered since are passed over.
    arrivals: VecDeque<Key>,
    by_source: BTreeMap<(String, End), usize>,
    refusals: BTreeMap<Refusal, Refused>,
    limit: usize,
    left_out: u64,
    mark: Mark,
}

impl Store {
    /// An empty one, for so many observations.
    pub fn new(limit: usize) -> Self {
        Self {
            answered: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            arrivals: VecDeque::new(),
            by_source: BTreeMap::new(),
            refusals: BTreeMap::new(),
            limit,
            left_out: 0,
            mark: Mark::default(),
        }
    }

    /// The observations, those that were answered first, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Observation)> {
        self.answered.iter().chain(&self.unanswered)
    }

    /// What else would refuse frames.
    pub fn refusals(&self) -> impl Iterator<Item = (&Refusal, &Refused)> {
        self.refusals.iter()
    }

    /// How many observations there are.
    pub fn len(&self) -> usize {
        self.places().into_iter().sum()
    }

    /// How many of them were answered, and how many were not.
    pub fn places(&self) -> [usize; 2] {
        [self.answered.len(), self.unanswered.len()]
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often something was left out for want of a place.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Counts what found no place before it came here.
    pub fn leave_out(&mut self, more: u64) {
        self.left_out = self.left_out.saturating_add(more);
    }

    /// Up to where flows are counted.
    pub fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Moves that on.
    pub fn set_mark(&mut self, mark: Mark) {
        self.mark = mark;
    }

    /// Adds what was seen. Returns whether it is news: a new observation, or the first answer of one.
    pub fn note(&mut self, key: Key, seen: &Observation) -> bool {
        if let Some(known) = self.answered.get_mut(&key) {
            known.add(seen);
            return false;
        }
        if let Some(known) = self.unanswered.get_mut(&key) {
            known.add(seen);
            if seen.answered {
                self.promote(key);
            }
            return seen.answered;
        }
        let kept = if seen.answered {
            self.make_room()
        } else {
            self.has_room_for_unanswered(&key, seen.last)
        };
        if !kept {
            self.leave_out(1);
            return false;
        }
        // Who was there was there once at least, even if its beginning was counted before and has been given up since.
        let first = Observation {
            count: seen.count.max(1),
            ..seen.clone()
        };
        if seen.answered {
            self.answered.insert(key, first);
        } else {
            *self.by_source.entry(source(&key)).or_default() += 1;
            self.arrivals.push_back(key.clone());
            self.unanswered.insert(key, first);
        }
        true
    }

    /// Adds a refusal that is no matter of rules. Returns whether it is of a new kind.
    pub fn note_refusal(&mut self, refusal: Refusal, seen: &Refused) -> bool {
        if let Some(known) = self.refusals.get_mut(&refusal) {
            known.first = known.first.min(seen.first);
            if known.last <= seen.last {
                known.last = seen.last;
                known.example.clone_from(&seen.example);
            }
            known.count = known.count.saturating_add(seen.count);
            return false;
        }
        if self.refusals.len() == REFUSALS {
            self.leave_out(1);
            return false;
        }
        self.refusals.insert(refusal, seen.clone());
        true
    }

    /// A place for one that was answered: an unanswered one goes, if need be.
    fn make_room(&mut self) -> bool {
        self.len() < self.limit || self.give_up_oldest(u64::MAX)
    }

    fn has_room_for_unanswered(&mut self, key: &Key, now: u64) -> bool {
        if self.by_source.get(&source(key)).copied().unwrap_or(0) >= UNANSWERED_A_SOURCE {
            return false;
        }
        let has_room = self.len() < self.limit && self.unanswered.len() < self.limit / 2;
        has_room || self.give_up_oldest(now.saturating_sub(STALE))
    }

    /// Gives up the unanswered one that came first, if it was seen last before a time.
    fn give_up_oldest(&mut self, before: u64) -> bool {
        while let Some(oldest) = self.arrivals.front() {
            match self.unanswered.get(oldest) {
                Some(known) if known.last >= before => return false,
                Some(_) => {
                    self.take_unanswered();
                    self.leave_out(1);
                    return true;
                }
                None => self.arrivals.pop_front(),
            };
        }
        false
    }

    /// Removes the unanswered one at the front of the arrivals.
    fn take_unanswered(&mut self) {
        if let Some(key) = self.arrivals.pop_front() {
            self.unanswered.remove(&key);
            self.forget_source(&key);
        }
    }

    /// An unanswered one has its first answer.
    fn promote(&mut self, key: Key) {
        if let Some(known) = self.unanswered.remove(&key) {
            self.forget_source(&key);
            self.answered.insert(key, known);
        }
    }

    fn forget_source(&mut self, key: &Key) {
        let source = source(key);
        if let Some(count) = self.by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
    }
}

fn source(key: &Key) -> (String, End) {
    (key.realm.clone(), key.from.clone())
}

impl Observation {
    /// Adds more of the same.
    pub(super) fn add(&mut self, seen: &Self) {
        self.answered |= seen.answered;
        self.turned &= seen.turned;
        self.first = self.first.min(seen.first);
        self.last = self.last.max(seen.last);
        self.count = self.count.saturating_add(seen.count);
    }
}

#[cfg(test)]
mod tests;
