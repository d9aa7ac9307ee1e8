//! Everything that the kernel program and the controller both see: keys, values and records of the maps.
//!
//! One definition serves both builds. Integers are in host order unless a field says otherwise; addresses are
//! [`Address`]es. Every type is `repr(C)` with its padding spelled out, because the kernel compares and hashes
//! keys byte by byte, and the verifier refuses to copy bytes that were never written.
//!
//! The policy tables (private to one generation, never written by the kernel program), in the order of a look-up:
//!
//! ```text
//! ifindex            -> ports[ifindex & settings.port_mask]                     Port
//! outer, inner VLAN  -> vlans[table][vid]                                       lan id, or a table for the inner tag
//! lan id             -> lans[lan]                                               Lan: zone, realm, trie roots
//! address            -> trie[node][byte], 4 or 16 steps                         endpoint id, or hosts[host]
//! endpoint id        -> endpoints[endpoint]                                     Endpoint: zone, identities, MAC
//! source, dest. id   -> rows[source * settings.row_blocks + (dest >> 8)]        block of profiles
//!                    -> profiles[block][dest & 255]                             profile
//! protocol, port     -> protocols[protocol], services[node + (port >> 8)][port & 255]   service class
//! profile, class     -> columns[profile * settings.column_blocks + (class >> 8)]        block of cells
//!                    -> cells[block][class & 255]                               rule id
//! rule id            -> rules[rule]                                             Rule: action, log, counter slot
//! ```
//!
//! Blocks and nodes that are equal are stored once. Every index that a table holds is inside of the table that
//! it points to: the compiler guarantees it, and the engine answers [`DropReason::TableMiss`] if not.
//!
//! [`DropReason::TableMiss`]: crate::verdict::DropReason::TableMiss

mod bindings;
mod budgets;
mod flows;
mod places;
mod policy;
mod reports;
mod settings;

pub use bindings::*;
pub use budgets::*;
pub use flows::*;
pub use places::*;
pub use policy::*;
pub use reports::*;
pub use settings::*;

/// The version of this interface, part of the names under which maps and links are pinned.
pub const ABI_VERSION: u32 = 4;

/// An address of either family: IPv6 as four words, most significant first; IPv4 as `[0, 0, 0, address]`.
/// The family stands beside it wherever both can occur.
pub type Address = [u32; 4];

/// Room for drop reasons in [`Stat`] indices.
pub const REASONS: usize = 64;

/// An index that means "no rule was involved".
pub const NO_RULE: u32 = u32::MAX;
/// The rule that stands for "nothing matched".
pub const DEFAULT_RULE: u32 = 0;
/// The endpoint of addresses that nothing declares.
pub const UNKNOWN_ENDPOINT: u32 = 0;
/// The zone of [`UNKNOWN_ENDPOINT`].
pub const UNKNOWN_ZONE: u16 = 0;
/// The zone of the gateway's own addresses.
pub const SELF_ZONE: u16 = 1;
/// No LAN: the VLAN of endpoints that live on none.
pub const NO_LAN: u16 = 0;
/// Where the gateway's own addresses are at home, as [`home`](crate::classify::home) has it: on every LAN that it is the gateway of.
pub const OWN_LAN: u16 = u16::MAX;

/// Asserts at compile time that a type has the size that both sides were designed for, and no hidden padding.
macro_rules! layout {
    ($($type:ty: $size:literal = $($field:literal)+;)+) => {
        $(const _: () = {
            assert!(size_of::<$type>() == $size, concat!(stringify!($type), " changed its size"));
            assert!(0 $(+ $field)+ == $size, concat!(stringify!($type), " has hidden padding"));
        };)+
        #[cfg(feature = "user")]
        mod pod {
            #[allow(clippy::wildcard_imports, reason = "the list of types is the macro's argument")]
            use super::*;
            $(
                // SAFETY: `repr(C)`, no padding (asserted above), and every bit pattern is a value.
                unsafe impl aya::Pod for $type {}
            )+
        }
    };
}

layout! {
    Settings: 120 = 8 4 4 4 4 4 4 4 4 32 48;
    Port: 528 = 4 2 2 2 2 4 512;
    PeerSource: 8 = 4 4;
    VlanTable: 8192 = 8192;
    Access: 64 = 16 16 16 2 2 2 2 4 1 1 2;
    Lan: 52 = 2 2 4 4 4 4 4 4 24;
    TrieNode: 1024 = 1024;
    Host: 24 = 16 4 4;
    Endpoint: 32 = 4 4 2 2 2 6 4 2 2 2 2;
    Zone: 4 = 4;
    ProfileBlock: 1024 = 1024;
    ServiceBlock: 512 = 512;
    CellBlock: 1024 = 1024;
    Rule: 32 = 8 4 4 4 4 4 4;
    FlowKey: 44 = 16 16 4 2 2 2 1 1;
    FragmentKey: 44 = 16 16 4 4 2 1 1;
    FragmentRecord: 32 = 8 4 4 2 2 2 1 1 4 4;
    Rate: 24 = 8 8 8;
    Budget: 80 = 24 24 24 4 4;
    BucketKey: 48 = 16 16 8 8;
    Counter: 16 = 8 8;
    BindingKey: 20 = 16 2 1 1;
    Binding: 16 = 8 4 4;
    DhcpMessage: 1048 = 8 4 4 4 4 1024;
    Event: 96 = 8 4 4 4 4 4 4 16 16 2 2 2 2 2 2 6 6 1 1 1 1 1 1 2;
    Name: 64 = 64;
    Meta: 56 = 4 4 8 32 8;
}

const _: () = assert!(size_of::<Bucket>() == 40, "Bucket changed its size");
const _: () = assert!(
    size_of::<BucketSet>() == 4 * (8 + 40),
    "BucketSet changed its size, or has hidden padding"
);
const _: () = assert!(size_of::<Flow>() == 64, "Flow changed its size");
const _: () = assert!(
    16 + 16 + 8 + 8 + 4 + 4 + 1 + 1 + 1 + 1 + 4 == size_of::<Flow>(),
    "Flow has hidden padding"
);
