//! Counters, events, and the names that explain them.

use super::Address;

/// A sum of frames, one copy a CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Frames.
    pub packets: u64,
    /// Octets on the wire.
    pub bytes: u64,
}

/// Counts of single things, one `u64` a CPU: the indices of the map `stats`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stat {
    /// Events lost because the ring was full.
    EventLost = 0,
    /// Events held back by the limit a (reason, pair).
    EventSuppressed = 1,
    /// Events sent.
    EventSent = 2,
    /// Frames that management access to the gateway let pass.
    Failsafe = 3,
    /// DHCP messages that the controller could not be told of, because the ring was full.
    DhcpLost = 4,
    /// DHCP messages sent to the controller.
    DhcpSent = 5,
}

impl Stat {
    /// Number of counts.
    pub const COUNT: u32 = 6;
}

/// The tables that the kernel program enters things into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum StateTable {
    /// Flows that have been answered.
    Flows = 0,
    /// Flows that have not.
    HalfOpen = 1,
    /// First fragments.
    Fragments = 2,
    /// Buckets of limits.
    Buckets = 3,
}

impl StateTable {
    /// All of them, in order of their codes.
    pub const ALL: [Self; 4] = [Self::Flows, Self::HalfOpen, Self::Fragments, Self::Buckets];

    /// Name of the map, in lower case also the metric label.
    pub const fn map(self) -> &'static str {
        match self {
            Self::Flows => "FLOWS",
            Self::HalfOpen => "HALF_OPEN",
            Self::Fragments => "FRAGMENTS",
            Self::Buckets => "BUCKETS",
        }
    }
}

/// What happened to a [`StateTable`], one `u64` a CPU: the map `table_counters` has [`TABLE_COUNTERS`] of them for each table.
pub mod table_counter {
    /// Plus an errno under 62: entries that could not be made, by reason.
    pub const FAILED: u32 = 0;
    /// Errors with a greater number are counted here.
    pub const FAILED_OTHERWISE: u32 = 61;
    /// Entries made.
    pub const INSERTED: u32 = 62;
    /// Entries removed by the kernel program: closed, replaced, expired, or refused by a newer policy.
    pub const REMOVED: u32 = 63;
}

/// Counters a table in `table_counters`.
pub const TABLE_COUNTERS: u32 = 64;

/// One decision, sent up the ring buffer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// `bpf_ktime_get_boot_ns`: nanoseconds since boot, suspended time included.
    pub boot_nanos: u64,
    /// Generation of the program that decided; the ids below are in its numbering.
    pub generation: u32,
    /// Rule id, or [`NO_RULE`](super::NO_RULE).
    pub rule: u32,
    /// Endpoint id of the source; [`UNKNOWN_ENDPOINT`](super::UNKNOWN_ENDPOINT) also when the frame did not get that far.
    pub source: u32,
    /// Endpoint id of the destination.
    pub destination: u32,
    /// Interface that the frame came in by.
    pub ifindex: u32,
    /// Length of the frame in octets.
    pub length: u32,
    /// Source address.
    pub source_address: Address,
    /// Destination address.
    pub destination_address: Address,
    /// Source port, or the ICMP identifier.
    pub source_port: u16,
    /// Destination port, or ICMP type and code (`type << 8 | code`).
    pub destination_port: u16,
    /// Outer VLAN id, 0 without a tag.
    pub outer_vlan: u16,
    /// Inner VLAN id, 0 without a second tag.
    pub inner_vlan: u16,
    /// EtherType behind the tags.
    pub ethertype: u16,
    /// LAN id, or [`NO_LAN`](super::NO_LAN).
    pub lan: u16,
    /// Source hardware address.
    pub source_mac: [u8; 6],
    /// Destination hardware address.
    pub destination_mac: [u8; 6],
    /// A [`Verdict`](crate::verdict::Verdict).
    pub verdict: u8,
    /// A [`DropReason`](crate::verdict::DropReason).
    pub reason: u8,
    /// A [`Stage`](crate::verdict::Stage).
    pub stage: u8,
    /// 4, 6, or 0 for other than IP.
    pub family: u8,
    /// IP protocol number.
    pub protocol: u8,
    /// TCP flags.
    pub tcp_flags: u8,
    /// Padding.
    pub reserved: [u8; 2],
}

/// Entries of `event_limits`: each a bucket of [`ratelimit`](crate::ratelimit), picked by a hash of reason and pair.
pub const EVENT_BUCKETS: u32 = 4096;
/// Events of one (reason, pair) that may come at once after a pause.
pub const EVENT_BURST: u64 = 8;

/// The longest name of a zone, device, service or rule, in octets.
pub const NAME_MAX: usize = 63;

/// The name behind a counter slot, kept beside the counters in the kernel so that both live and die together.
/// ASCII, padded with zero octets; all zero in a free slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name(pub [u8; NAME_MAX + 1]);

/// What the running enforcement is, kept in the kernel beside the links.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The newest generation that was attached; 0 before the first.
    pub generation: u32,
    /// Padding.
    pub reserved: u32,
    /// Unix time of its attachment, seconds.
    pub attached_at: u64,
    /// SHA-256 of the policy that it was compiled from.
    pub policy_hash: [u8; 32],
    /// What [`Settings::bucket_secret`](super::Settings::bucket_secret) is made of; 0 before it is chosen. As long as the
    /// buckets are there, it stays: under another, none of them would be found again.
    pub bucket_seed: u64,
}
