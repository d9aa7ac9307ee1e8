//! The table of buckets: where the bucket of a [`BucketKey`] is, and which one makes room for another.
//!
//! A hash of the key says in which set it may be, and is kept in one of the set's four slots in place of the key: four
//! comparisons find it. Whoever knows the secret of the hash could choose addresses that share a bucket, or a set; who does
//! not, finds two that do by chance only.
//!
//! A bucket whose times are past holds nothing that a new one does not, so its slot is free for another. A set without such
//! a slot gives up the bucket that would be past first: that one begins anew when it is asked for again.
//!
//! CPUs do not wait for each other. When several make one bucket at the same moment, one of them at most does, and to the others
//! it is not there yet: their frame is not limited by it. A frame whose bucket is given up between its look-up and its charge
//! is charged to the bucket that came instead.

use crate::abi::{Bucket, BucketKey, BucketSet, Slot, WAYS, mark};
use crate::shared::opaque;

/// What a slot held before a bucket was made in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    Free,
    /// A bucket whose times were past.
    Past,
    /// A bucket that was needed.
    Needed,
}

/// The hash of a key: NH of UMAC (J. Black et al., CRYPTO 1999; RFC 4418, section 5.2.2) over its twelve words, of which
/// `secret` returns as many by their number, with one bit fixed. Two keys, whoever chooses them, have the same one with a
/// probability of 2 in 2^32 over the secrets.
#[inline(always)]
pub fn mark(key: &BucketKey, secret: impl Fn(usize) -> u32) -> u64 {
    let pair = |number: usize, one: u32, other: u32| {
        let one = one.wrapping_add(secret(2 * number));
        let other = other.wrapping_add(secret(2 * number + 1));
        u64::from(one).wrapping_mul(other.into())
    };
    let halves = |number: usize, word: u64| pair(number, word as u32, (word >> 32) as u32);
    let (owner, peer) = (&key.owner, &key.peer);
    pair(0, owner[0], owner[1])
        .wrapping_add(pair(1, owner[2], owner[3]))
        .wrapping_add(pair(2, peer[0], peer[1]))
        .wrapping_add(pair(3, peer[2], peer[3]))
        .wrapping_add(halves(4, key.subject))
        .wrapping_add(halves(5, key.space))
        | mark::KEYED
}

/// The secret words that a seed stands for (`SplitMix64`).
#[must_use]
pub fn secret(seed: u64) -> [u32; 12] {
    let mut state = seed;
    core::array::from_fn(|_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word >> 32) as u32
    })
}

/// The set for a mark, out of `last + 1`, a power of two. Neighbouring addresses have marks at equal distances, so all bits are mixed first.
#[inline(always)]
#[must_use]
pub const fn set_number(mark: u64, last: u32) -> u32 {
    ((mark ^ mark >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32 & last
}

/// The slot of the bucket with this mark.
///
/// Without a branch for each slot, because the verifier would follow all of them, through each bucket of a frame.
#[inline(always)]
pub fn find(set: &BucketSet, mark: u64) -> Option<usize> {
    // 1 if the bucket is not in this slot.
    let miss = |way: usize| {
        let differing = set.slots[way].mark.get() ^ mark;
        opaque(differing | differing.wrapping_neg()) >> 63
    };
    let first = miss(0);
    let second = first & miss(1);
    let third = second & miss(2);
    let missed = third & miss(3);
    (missed == 0).then_some((first + second + third) as usize & (WAYS - 1))
}

/// Makes the bucket with this mark, which [`find`] did not find, and says in which slot; `None` when other CPUs are at it.
#[inline(always)]
pub fn claim(set: &BucketSet, mark: u64, now: u64) -> Option<(usize, Before)> {
    let (way, ends) = first_to_end(set, now);
    let slot = &set.slots[way & (WAYS - 1)];
    let old = slot.mark.get();
    if is_taken(old) || !slot.mark.replace(old, taken_for(mark)) {
        return None;
    }
    // Of CPUs that make the same one in two slots, each that sees the other desists.
    if is_elsewhere(set, mark) {
        slot.mark.set(mark::FREE);
        return None;
    }
    slot.bucket.reset(now);
    // In one step that no CPU sees before the words above.
    slot.mark.replace(taken_for(mark), mark);
    let before = match old {
        mark::FREE => Before::Free,
        _ if ends < now => Before::Past,
        _ => Before::Needed,
    };
    Some((way, before))
}

/// What a slot bears while the bucket with this mark is made there.
const fn taken_for(mark: u64) -> u64 {
    (mark & !mark::KEYED) | 1
}

const fn is_taken(mark: u64) -> bool {
    mark != mark::FREE && mark & mark::KEYED == 0
}

/// Whether another slot than the one that was taken for this mark has the bucket, or is to have it.
#[inline(always)]
fn is_elsewhere(set: &BucketSet, mark: u64) -> bool {
    let mut bearing = 0;
    for slot in &set.slots {
        // Its own slot, which bears the mark too, is one of them.
        let differing = opaque(taken_for(slot.mark.get()) ^ taken_for(mark));
        if differing == 0 {
            bearing += 1;
        }
    }
    bearing > 1
}

/// The slot whose bucket is past first, and when.
#[inline(always)]
fn first_to_end(set: &BucketSet, now: u64) -> (usize, u64) {
    let mut first = (0, ends(&set.slots[0], now));
    for way in 1..WAYS {
        let ends = ends(&set.slots[way], now);
        if ends < first.1 {
            first = (way, ends);
        }
    }
    first
}

/// When the slot holds nothing any more.
#[inline(always)]
fn ends(slot: &Slot, now: u64) -> u64 {
    match slot.mark.get() {
        mark::FREE => 0,
        taken if is_taken(taken) => u64::MAX,
        // Made in this tick and not charged yet, perhaps for the frame at hand: the last to make room. A frame has four
        // buckets, so there is always another slot than those of its own.
        _ => match slot.bucket.ends() {
            ends if ends == now => u64::MAX - 1,
            ends => ends,
        },
    }
}

impl Bucket {
    /// As it begins: due at once.
    #[inline(always)]
    fn reset(&self, now: u64) {
        let [even, odd] = &self.active;
        self.packets.set(now);
        self.octets.set(0);
        self.flows.set(0);
        self.window.set(0);
        even.set(0);
        odd.set(0);
    }

    /// Before this moment, something may come of it. The bucket of a limit that is no more keeps its time.
    #[inline(always)]
    fn ends(&self) -> u64 {
        let later = |one: u64, other: u64| if one < other { other } else { one };
        let arrivals = later(self.packets.get(), later(self.octets.get(), self.flows.get()));
        later(arrivals, self.counts_end())
    }
}

impl BucketSet {
    /// Buckets in it.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.slots
            .iter()
            .filter(|slot| slot.mark.get() & mark::KEYED != 0)
            .count() as u64
    }
}

#[cfg(test)]
mod tests;
