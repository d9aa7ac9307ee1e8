//! The read-only globals of a program instance.

/// Read-only globals of one program instance. The verifier sees them as constants and removes what they rule out.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Nanoseconds a tick of `bpf_jiffies64`, calibrated at load.
    pub tick_nanos: u64,
    /// Number of this policy generation, from 1.
    pub generation: u32,
    /// `ports` has `port_mask + 1` entries.
    pub port_mask: u32,
    /// Blocks a row of `rows`: the number of destination identities over 256, rounded up.
    pub row_blocks: u32,
    /// Blocks a row of `columns`: the number of service classes over 256, rounded up.
    pub column_blocks: u32,
    /// `settings_flags`.
    pub flags: u32,
    /// Entries of `accesses`: management access to the gateway itself.
    pub accesses: u32,
    /// The table of buckets has `bucket_mask + 1` sets, a power of two.
    pub bucket_mask: u32,
    /// Nanoseconds between two events of one (reason, source zone, destination zone), in the long run; 0 for none at all.
    pub event_interval: u32,
    /// Idle seconds after which a flow is forgotten, by [`FlowState`](super::FlowState).
    pub idle_seconds: [u32; 8],
    /// The secret of [`buckets::mark`](crate::buckets::mark), the same for all generations that share the buckets.
    pub bucket_secret: [u32; 12],
}

/// Stands, with the code of a [`DirectTable`], in the instructions of the object that put a mask over an index into that
/// table. The loader writes the mask there: the table's entries, a power of two, less 1.
pub const MASK_PLACEHOLDER: u32 = 0x5afe_0100;

/// The policy tables that lie in one map entry each, so that the kernel program reads them without a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DirectTable {
    /// `ports`.
    Ports = 0,
    /// `vlans`.
    Vlans = 1,
    /// `lans`.
    Lans = 2,
    /// `trie`.
    Trie = 3,
    /// `hosts`.
    Hosts = 4,
    /// `endpoints`.
    Endpoints = 5,
    /// `rows`.
    Rows = 6,
    /// `profiles`.
    Profiles = 7,
    /// `protocols`.
    Protocols = 8,
    /// `services`.
    Services = 9,
    /// `columns`.
    Columns = 10,
    /// `cells`.
    Cells = 11,
    /// `rules`.
    Rules = 12,
    /// `zones`.
    Zones = 13,
    /// `budgets`.
    Budgets = 14,
    /// `accesses`.
    Accesses = 15,
}

/// Bits of [`Settings::flags`].
pub mod settings_flags {
    /// Keep flows; without it the policy decides every frame alone.
    pub const FLOWS: u32 = 1;
    /// Every decision becomes an event, without a limit: for tests and `explain --live`.
    pub const TRACE: u32 = 2;
}
