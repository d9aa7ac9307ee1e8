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

use crate::shared::Shared;

/// The version of this interface, part of the names under which maps and links are pinned.
pub const ABI_VERSION: u32 = 1;

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
    /// Nanoseconds between two events of one (reason, source zone, destination zone), in the long run; 0 for none at all.
    pub event_interval: u32,
    /// Idle seconds after which a flow is forgotten, by [`FlowState`].
    pub idle_seconds: [u32; 8],
}

/// Bits of [`Settings::flags`].
pub mod settings_flags {
    /// Keep flows; without it the policy decides every frame alone.
    pub const FLOWS: u32 = 1;
    /// Every decision becomes an event, without a limit: for tests and `explain --live`.
    pub const TRACE: u32 = 2;
}

/// A port of the gateway.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// The interface; 0 in an empty slot.
    pub ifindex: u32,
    /// Number of the port in the counters.
    pub slot: u16,
    /// `port_flags`.
    pub flags: u16,
    /// Bits of `control`: link-local control protocols that pass.
    pub control: u16,
    /// The VLAN of untagged frames; 0 refuses them.
    pub native_vlan: u16,
    /// Inline mode: 1 plus this port's key in the device map, where the paired port stands; 0 passes frames to the
    /// gateway's stack.
    pub peer: u32,
    /// Outer VLAN ids that are allowed, bit `vid & 63` of word `vid >> 6`.
    pub vlans: [u64; 64],
}

/// Inline mode: whose frames leave by an entry of the device map. Each port has an entry, and so a key, of its own.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerSource {
    /// Number that the kernel gave to the device map; 0 in an unused entry.
    pub map: u32,
    /// Number of the port in the counters.
    pub slot: u32,
}

/// Bits of [`Port::flags`].
pub mod port_flags {
    /// Nothing is dropped on this port: what would be is counted as `would-drop`.
    pub const MONITOR: u16 = 1;
    /// The side of an inline pair that leads to the routers: source addresses of every VLAN come by it.
    pub const UPLINK: u16 = 2;
}

/// Bits of [`Port::control`].
pub mod control {
    /// LLDP, EtherType 0x88cc.
    pub const LLDP: u16 = 1;
    /// Spanning tree: LLC to 01:80:c2:00:00:00 or the per-VLAN address 01:00:0c:cc:cc:cd.
    pub const STP: u16 = 2;
    /// LACP and the other slow protocols, EtherType 0x8809.
    pub const LACP: u16 = 4;
    /// EAPOL (802.1X), EtherType 0x888e.
    pub const EAPOL: u16 = 8;
}

/// VLAN ids of one tag position. An entry is 0 (undeclared), a LAN id, or with [`VLAN_INNER`] the number of the
/// table for the inner tag.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanTable(pub [u16; 4096]);

/// Marks an entry of a [`VlanTable`] that leads to the table of the inner tag.
pub const VLAN_INNER: u16 = 1 << 15;

/// A VLAN (one tag or two) that a zone declares.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lan {
    /// The zone of the VLAN; [`UNKNOWN_ZONE`] when several zones share it.
    pub zone: u16,
    /// Number of the address space.
    pub realm: u16,
    /// `mode` of frames whose source zone is not verified: [`mode::ENFORCE`] when any zone of the VLAN enforces, else
    /// [`mode::MONITOR`].
    pub mode: u32,
    /// A `guard_mode` for each guard of `guard`.
    pub guards: u32,
    /// Trie node where IPv4 look-ups start. Each LAN has its own, with its link-scoped addresses (unspecified,
    /// link-local, broadcast, multicast) laid over those of the realm.
    pub root4: u32,
    /// Trie node where IPv6 look-ups start.
    pub root6: u32,
    /// Index into `budgets` for frames to groups, of all senders together; 0 without a limit.
    pub group_budget: u32,
    /// Hardware addresses of the declared IPv6 routers; zero in unused places.
    pub routers: [[u8; 6]; 4],
}

/// Guards, by the position of their two bits in [`Lan::guards`].
pub mod guard {
    /// Source addresses belong to the VLAN and to the declared hardware address.
    pub const SOURCE: u32 = 0;
    /// ARP senders are who they say.
    pub const ARP: u32 = 2;
    /// Neighbour discovery senders are who they say.
    pub const NEIGHBOUR: u32 = 4;
    /// DHCP server messages come from declared servers.
    pub const DHCP: u32 = 6;
    /// Router advertisements and redirects come from declared routers.
    pub const ROUTER: u32 = 8;
}

/// What a guard does with a frame that it finds wrong.
pub mod guard_mode {
    /// It does not look.
    pub const OFF: u32 = 0;
    /// The frame goes on to the rules; if they permit it, it is counted as `would-drop`.
    pub const MONITOR: u32 = 1;
    /// The frame is refused.
    pub const ENFORCE: u32 = 2;
    /// The bits of one guard.
    pub const MASK: u32 = 3;
}

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
    /// The VLAN where it lives; [`NO_LAN`] for the gateway itself and for unknown addresses.
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
}

/// Bits of [`Endpoint::flags`].
pub mod endpoint_flags {
    /// The device declares its hardware address.
    pub const MAC: u16 = 1;
    /// It may send what DHCP servers and relays send.
    pub const DHCP_SERVER: u16 = 2;
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
    /// Number of the rule in the counters, stable over generations.
    pub slot: u32,
    /// `rule_flags`.
    pub flags: u32,
    /// Index into `budgets` for what initiators send by this rule; 0 without a limit.
    pub budget: u32,
    /// Whom the budget is for: one of `scope`.
    pub scope: u32,
}

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
}

/// The two ends of a flow, the lower one first, so that both directions share one entry.
///
/// Ends are compared by address, then by port. ICMP echo puts its identifier in the port of the end that asks, and its
/// complement in the other one; protocols without ports have 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// Address of the lower end.
    pub low: Address,
    /// Address of the higher end.
    pub high: Address,
    /// Port of the lower end.
    pub low_port: u16,
    /// Port of the higher end.
    pub high_port: u16,
    /// Address space.
    pub realm: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// 4 or 6.
    pub family: u8,
}

impl FlowKey {
    /// All zero: the key of no flow.
    pub const EMPTY: Self = Self {
        low: [0; 4],
        high: [0; 4],
        low_port: 0,
        high_port: 0,
        realm: 0,
        protocol: 0,
        family: 0,
    };
}

/// A permitted flow, both directions.
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// Frames from the initiator, and to it.
    pub packets: [Shared<u64>; 2],
    /// Octets of the frames from the initiator, and to it.
    pub bytes: [Shared<u64>; 2],
    /// When the first frame came, in nanoseconds of the tick clock.
    pub created: u64,
    /// When the last frame came.
    pub seen: Shared<u64>,
    /// The rule that permitted it, in the numbering of `generation`.
    pub rule: Shared<u32>,
    /// The generation that decided it last.
    pub generation: Shared<u32>,
    /// A [`FlowState`].
    pub state: Shared<u8>,
    /// 1 when the initiator is the lower end.
    pub initiator_low: u8,
    /// In monitor mode, the [`DropReason`](crate::verdict::DropReason) that enforce mode would give; 0 when permitted.
    pub refusal: Shared<u8>,
    /// Padding, in parts that are aligned: the verifier refuses copies across them on the stack.
    pub reserved: u8,
    /// More padding.
    pub spare: u32,
}

/// Where a flow is in its life. The codes index [`Settings::idle_seconds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FlowState {
    /// UDP, ICMP echo or another protocol without an answer yet.
    Unanswered = 0,
    /// The same, with an answer.
    Answered = 1,
    /// TCP: SYN of the initiator.
    SynSent = 2,
    /// TCP: SYN and ACK of the responder.
    SynReceived = 3,
    /// TCP: data flows.
    Established = 4,
    /// TCP: one or both ends sent FIN.
    Closing = 5,
    /// TCP: reset.
    Reset = 6,
    /// TCP: picked up in the middle, without an answer yet.
    PickedUp = 7,
}

impl FlowState {
    /// All of them, in order of their codes.
    pub const ALL: [Self; 8] = [
        Self::Unanswered,
        Self::Answered,
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::Closing,
        Self::Reset,
        Self::PickedUp,
    ];

    /// Idle seconds after which a flow in this state is forgotten, unless configured otherwise.
    ///
    /// TCP: an HL7 interface may be silent over a long weekend, so established flows keep five days, as Linux
    /// conntrack does (RFC 5382 asks for two hours and four minutes at least). UDP: RFC 4787 asks for two minutes at least.
    pub const fn default_idle_seconds(self) -> u32 {
        match self {
            Self::Unanswered | Self::SynSent => 30,
            Self::SynReceived | Self::PickedUp => 60,
            Self::Answered => 180,
            Self::Established => 5 * 24 * 3600,
            Self::Closing => 120,
            Self::Reset => 10,
        }
    }

    /// What the command line prints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unanswered => "unanswered",
            Self::Answered => "answered",
            Self::SynSent => "syn-sent",
            Self::SynReceived => "syn-received",
            Self::Established => "established",
            Self::Closing => "closing",
            Self::Reset => "reset",
            Self::PickedUp => "picked-up",
        }
    }
}

/// What the fragments of one packet have in common (RFC 791, RFC 8200).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FragmentKey {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Identification field.
    pub id: u32,
    /// Address space.
    pub realm: u16,
    /// IP protocol number of IPv4; 0 in IPv6, where only the first fragment's next header counts (RFC 8200, section 4.5).
    pub protocol: u8,
    /// 4 or 6.
    pub family: u8,
}

/// What a first fragment settled for those that follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentRecord {
    /// When it came, in nanoseconds of the tick clock.
    pub seen: u64,
    /// The rule that decided, in the numbering of `generation`.
    pub rule: u32,
    /// The generation that decided.
    pub generation: u32,
    /// Octets of payload in the first fragment: no later one may reach into them.
    pub length: u16,
    /// Source port, as in [`Event::source_port`].
    pub source_port: u16,
    /// Destination port, as in [`Event::destination_port`].
    pub destination_port: u16,
    /// In monitor mode, the [`DropReason`](crate::verdict::DropReason) of enforce mode; 0 when permitted.
    pub refusal: u8,
    /// 1 when the packet answers in a flow that the other end opened.
    pub answers: u8,
    /// IP protocol number of the first fragment.
    pub protocol: u32,
    /// Padding.
    pub reserved: u32,
}

/// Seconds that a first fragment is remembered: Linux gives up reassembly after 30.
pub const FRAGMENT_SECONDS: u64 = 30;

/// How fast something may come: [`ratelimit`](crate::ratelimit) explains the arithmetic.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Nanoseconds that a unit costs (a frame, 1024 octets, a new flow); 0 without a limit.
    pub cost: u64,
    /// Nanoseconds that the bucket may run ahead: `(burst - 1) * cost`.
    pub tolerance: u64,
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
}

/// Whose bucket it is. Nothing in it depends on the generation, so buckets outlive a swap.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BucketKey {
    /// The address that the budget is for; zero when it is for no single one.
    pub owner: Address,
    /// The other address of a pair; zero otherwise.
    pub peer: Address,
    /// Counter slot of the rule; `outer << 16 | inner` VLAN of a group budget.
    pub subject: u32,
    /// Address space.
    pub realm: u16,
    /// A `bucket_kind`.
    pub kind: u8,
    /// 4, 6, or 0 without addresses.
    pub family: u8,
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
}

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
    /// Flows entered.
    FlowInserted = 3,
    /// Flows removed by the kernel program: closed, expired or denied by a newer policy.
    FlowRemoved = 4,
    /// Flows, first fragments and buckets that could not be entered.
    FlowInsertFailed = 5,
}

impl Stat {
    /// Number of counts.
    pub const COUNT: u32 = 6;
}

/// One decision, sent up the ring buffer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// `bpf_ktime_get_boot_ns`: nanoseconds since boot, suspended time included.
    pub boot_nanos: u64,
    /// Generation of the program that decided; the ids below are in its numbering.
    pub generation: u32,
    /// Rule id, or [`NO_RULE`].
    pub rule: u32,
    /// Endpoint id of the source; [`UNKNOWN_ENDPOINT`] also when the frame did not get that far.
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
    /// LAN id, or [`NO_LAN`].
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
}

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
    Settings: 64 = 8 4 4 4 4 4 4 32;
    Port: 528 = 4 2 2 2 2 4 512;
    PeerSource: 8 = 4 4;
    VlanTable: 8192 = 8192;
    Lan: 48 = 2 2 4 4 4 4 4 24;
    TrieNode: 1024 = 1024;
    Host: 24 = 16 4 4;
    Endpoint: 28 = 4 4 2 2 2 6 4 2 2;
    Zone: 4 = 4;
    ProfileBlock: 1024 = 1024;
    ServiceBlock: 512 = 512;
    CellBlock: 1024 = 1024;
    Rule: 16 = 4 4 4 4;
    FlowKey: 40 = 16 16 2 2 2 1 1;
    FragmentKey: 40 = 16 16 4 2 1 1;
    FragmentRecord: 32 = 8 4 4 2 2 2 1 1 4 4;
    Rate: 16 = 8 8;
    Budget: 48 = 16 16 16;
    BucketKey: 40 = 16 16 4 2 1 1;
    Counter: 16 = 8 8;
    Event: 96 = 8 4 4 4 4 4 4 16 16 2 2 2 2 2 2 6 6 1 1 1 1 1 1 2;
    Name: 64 = 64;
    Meta: 48 = 4 4 8 32;
}

const _: () = assert!(size_of::<Bucket>() == 24, "Bucket changed its size");
const _: () = assert!(size_of::<Flow>() == 64, "Flow changed its size");
const _: () = assert!(
    16 + 16 + 8 + 8 + 4 + 4 + 1 + 1 + 1 + 1 + 4 == size_of::<Flow>(),
    "Flow has hidden padding"
);
