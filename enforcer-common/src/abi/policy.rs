//! Addresses to endpoints, endpoints and services to rules.

use super::Address;

/// A node of the address trie: one entry a byte value.
///
/// An entry is an endpoint id, or with [`TRIE_NODE`] the next node, or with [`TRIE_HOST`] an index into `hosts`.
/// The next byte of the address picks the entry; the most specific prefix of an address has been pushed into the
/// entry where its walk ends, so a walk never goes back.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrieNode(pub [u32; 256]);

/// Marks an entry of a [`TrieNode`] that is another node.
pub const TRIE_NODE: u32 = 1 << 31;
/// Marks an entry of a [`TrieNode`] that is a [`Host`]; only in entries without [`TRIE_NODE`].
pub const TRIE_HOST: u32 = 1 << 30;

/// A single address under a trie entry, stored whole instead of as a chain of nodes with one way each.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The address.
    pub address: Address,
    /// Its endpoint.
    pub endpoint: u32,
    /// The endpoint of every other address that ends here.
    pub otherwise: u32,
}

/// A declared device, or a declared prefix.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// Row of `rows` when it sends: endpoints that no rule's `from` can tell apart share one.
    pub source: u32,
    /// Column of `rows` when it receives: endpoints that no rule's `to` can tell apart share one.
    pub destination: u32,
    /// Index into `zones`.
    pub zone: u16,
    /// The VLAN where it lives; [`NO_LAN`](super::NO_LAN) for the gateway itself and for unknown addresses.
    pub lan: u16,
    /// `endpoint_flags`.
    pub flags: u16,
    /// Its hardware address, when [`endpoint_flags::MAC`] is set.
    pub mac: [u8; 6],
    /// `mode` of its zone.
    pub mode: u32,
    /// Index into `budgets` for what each of its addresses sends; 0 without a limit.
    pub from_budget: u16,
    /// Index into `budgets` for what is sent toward each of its addresses; 0 without a limit.
    pub toward_budget: u16,
    /// The smallest MSS that a TCP SYN toward it may announce; 0 for any.
    pub least_mss: u16,
    /// Padding.
    pub reserved: u16,
}

/// Bits of [`Endpoint::flags`].
pub mod endpoint_flags {
    /// The device declares its hardware address.
    pub const MAC: u16 = 1;
    /// It may send what DHCP servers and relays send.
    pub const DHCP_SERVER: u16 = 2;
    /// TCP sessions begin with a SYN: none is picked up in the middle.
    pub const STRICT_TCP: u16 = 4;
    /// Addresses here may belong to devices that got them by DHCP: `bindings` knows.
    pub const DYNAMIC: u16 = 8;
}

/// A zone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// Number of the zone in the counters, stable over generations.
    pub slot: u32,
}

/// Modes of zones, as bits, so that those of two zones can be put together. The built-in zones `unknown` and `self`
/// have neither bit: the other zone of the pair decides.
pub mod mode {
    /// What would be dropped is counted and passes, unless the other zone is in enforce mode.
    pub const MONITOR: u32 = 1;
    /// What would be dropped is dropped.
    pub const ENFORCE: u32 = 2;
}

/// The profile of pairs that no rule names: [`DEFAULT_RULE`](super::DEFAULT_RULE) decides, whatever the service.
pub const NO_RULES: u32 = 0;

/// A block of 256 profiles, one a destination identity.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProfileBlock(pub [u32; 256]);

/// 256 ports (or ICMP type and code, `type << 8 | code`) of one protocol, each a service class.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceBlock(pub [u16; 256]);

/// A block of 256 rule ids, one a service class.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CellBlock(pub [u32; 256]);

/// Marks an entry of `protocols` that is the first of 256 [`ServiceBlock`]s instead of a service class.
pub const PROTOCOL_PORTS: u32 = 1 << 31;

/// What a rule does with the frames that it matches.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// When it ends, in nanoseconds of the tick clock; 0 for never. From then on `otherwise` stands in its place.
    pub deadline: u64,
    /// Number of the rule in the counters, stable over generations.
    pub slot: u32,
    /// `rule_flags`.
    pub flags: u32,
    /// Index into `budgets` for what initiators send by this rule; 0 without a limit.
    pub budget: u32,
    /// Whom the budget is for: one of `scope`.
    pub scope: u32,
    /// The record that decides when this one has ended. It ends later, or never. At most [`DEADLINES`] follow each other.
    pub otherwise: u32,
    /// Padding.
    pub reserved: u32,
}

/// Records with a deadline that the engine follows, one after the other.
pub const DEADLINES: usize = 4;

/// Whom a rule's budget is for.
pub mod scope {
    /// All senders together.
    pub const RULE: u32 = 0;
    /// Each source address.
    pub const SOURCE: u32 = 1;
    /// Each pair of addresses.
    pub const PAIR: u32 = 2;
}

/// Bits of [`Rule::flags`].
pub mod rule_flags {
    /// Permits; without it the rule denies.
    pub const ALLOW: u32 = 1;
    /// The first frame of each permitted flow becomes an event.
    pub const LOG: u32 = 2;
    /// Alarm traffic: charged to the rule's own budget, never to one that other traffic shares.
    pub const ALARM: u32 = 4;
    /// What this rule or its limit refuses is counted as `would-drop`, and passes.
    pub const MONITOR: u32 = 8;
}
