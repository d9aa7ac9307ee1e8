//! Limits, and the buckets that keep them.

use super::Address;
use crate::shared::Shared;

/// How fast something may come: [`ratelimit`](crate::ratelimit) explains the arithmetic.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Nanoseconds that a unit costs (a frame, 1024 octets, a new flow); 0 without a limit.
    pub cost: u64,
    /// Nanoseconds that the bucket may run ahead: `(burst - 1) * cost`.
    pub tolerance: u64,
    /// Nanoseconds ahead that only a bucket of another rate can be. Made by [`Rate::of_units`] and [`Rate::of_octets`].
    pub longest: u64,
}

/// Limits that count together: a frame that exceeds one is charged to none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Frames.
    pub packets: Rate,
    /// Octets of the frames, 1024 a unit.
    pub octets: Rate,
    /// Flows opened.
    pub flows: Rate,
    /// Flows at the same time; 0 without a limit.
    pub concurrent: u32,
    /// Padding.
    pub reserved: u32,
}

/// Whose bucket it is. Nothing in it depends on the generation, so buckets outlive a swap.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BucketKey {
    /// The address that the budget is for; zero when it is for no single one.
    pub owner: Address,
    /// The other address of a pair; zero otherwise.
    pub peer: Address,
    /// Counter slot of the rule, and in the lower half, `outer << 16 | inner` VLAN of a group budget; with addresses as in
    /// [`FlowKey::link`](super::FlowKey::link).
    pub subject: u64,
    /// `realm << 16 | kind << 8 | family`: the address space, a `bucket_kind`, and 4, 6, or 0 without addresses.
    pub space: u64,
}

impl BucketKey {
    /// [`BucketKey::space`] of its parts. Whole words, because the compiler writes neighbouring fields at once, and the
    /// verifier wants that at whole words of the stack.
    #[inline(always)]
    #[must_use]
    pub const fn space(realm: u16, kind: u8, family: u8) -> u64 {
        (realm as u64) << 16 | (kind as u64) << 8 | family as u64
    }
}

/// Kinds of buckets.
pub mod bucket_kind {
    /// A rule's.
    pub const RULE: u8 = 1;
    /// What an address sends.
    pub const FROM: u8 = 2;
    /// What is sent toward an address.
    pub const TOWARD: u8 = 3;
    /// What is sent to groups in a VLAN.
    pub const GROUP: u8 = 4;
}

/// The theoretical arrival times of one budget.
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub struct Bucket {
    /// Of the next frame.
    pub packets: Shared<u64>,
    /// Of the next octets.
    pub octets: Shared<u64>,
    /// Of the next new flow.
    pub flows: Shared<u64>,
    /// The window that `active` was counted in last.
    pub window: Shared<u64>,
    /// Flows with a frame in that window, and in the one before it: even windows first.
    pub active: [Shared<u32>; 2],
}

/// Whose bucket it is, in short: a hash of its [`BucketKey`], as [`buckets::mark`](crate::buckets::mark) makes it.
pub mod mark {
    /// Of a slot that is free. What an array map begins with.
    pub const FREE: u64 = 0;
    /// Set in that of a bucket, and not in that of a slot where a CPU is making one.
    pub const KEYED: u64 = 1 << 63;
}

/// Room for a bucket.
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub struct Slot {
    /// Whose bucket it is, or one of [`mark`].
    pub mark: Shared<u64>,
    /// The bucket.
    pub bucket: Bucket,
}

/// Slots of a set, a power of two.
pub const WAYS: usize = 4;

/// The slots that a bucket may be in. [`buckets`](crate::buckets) explains the table.
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub struct BucketSet {
    /// In no order.
    pub slots: [Slot; WAYS],
}
