//! The validated policy: what the text says, with every reference resolved and every number checked.
//!
//! It stays close to the language on purpose. The compiler turns it into tables, and test oracles read it naively.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use ipnetwork::IpNetwork;

use super::cases::Case;
pub use crate::diagnostics::{Location, Sources};
use crate::words;

/// Number of the built-in zone `unknown`: addresses that no zone declares.
pub const UNKNOWN: usize = 0;
/// Number of the built-in zone `self`: the gateway's own addresses.
pub const SELF: usize = 1;

/// A whole policy, merged from all its files.
#[derive(Debug, Clone)]
pub struct ValidPolicy {
    /// `unknown`, `self`, then the declared zones by name.
    pub zones: Vec<Zone>,
    /// By name.
    pub devices: Vec<Device>,
    /// Those that the text declares, by name. What they say has been filled in where it holds.
    pub classes: Vec<Class>,
    /// By name.
    pub services: Vec<Service>,
    /// By name.
    pub rules: Vec<Rule>,
    /// What no rule may permit, by name.
    pub never: Vec<Never>,
    /// What the rules have to permit, by name.
    pub must_flow: Vec<MustFlow>,
    /// What is declared and named by nothing, by place.
    pub unused: Vec<Unused>,
    /// The policy's own tests, in the order of files and lines.
    pub cases: Vec<Case>,
    /// Names of the address spaces; `default` is always there.
    pub realms: Vec<String>,
    /// The texts, for messages that point into them.
    pub sources: Arc<Sources>,
    /// SHA-256 over the contents of the files, whatever their names and order: the SHA-256 of each file, sorted,
    /// hashed once more.
    pub hash: [u8; 32],
}

/// The VLAN tags of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VlanId {
    /// The outer (or only) tag, 1 to 4094.
    pub outer: u16,
    /// The inner tag of a double-tagged frame, 1 to 4094.
    pub inner: Option<u16>,
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.inner {
            Some(inner) => write!(f, "{}.{inner}", self.outer),
            None => write!(f, "{}", self.outer),
        }
    }
}

/// What happens to frames that the policy would drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// They pass, and are counted as `would-drop`.
    #[default]
    Monitor,
    /// They are dropped.
    Enforce,
}

/// What becomes of the frames of a zone while no policy is in force at all: after a boot without a valid one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnNoPolicy {
    /// They pass.
    #[default]
    Pass,
    /// They are dropped.
    Drop,
}

/// Routers that a VLAN can have.
pub const ROUTERS: usize = 4;

/// What a guard does with a frame that it finds wrong, the strictest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum GuardMode {
    /// It does not look.
    #[default]
    Off,
    /// If the rules permit the frame, it is counted as `would-drop`, and passes.
    Monitor,
    /// The frame is refused.
    Enforce,
}

/// The guards of a VLAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Guards {
    /// Source addresses belong to the VLAN and to the declared hardware address.
    pub source: GuardMode,
    /// ARP senders are who they say.
    pub arp: GuardMode,
    /// Neighbour discovery senders are who they say.
    pub neighbour: GuardMode,
    /// DHCP server messages come from devices with that role.
    pub dhcp: GuardMode,
    /// Router advertisements and redirects come from declared routers.
    pub router: GuardMode,
}

/// Bits of the longest Ethernet frame without a tag: 1514 octets.
pub const FULL_FRAME_BITS: u64 = 1514 * 8;

/// How fast something may come: so many units in so many seconds, and so many at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pace {
    /// Frames, bits or new flows. Never 0.
    pub units: u64,
    /// 1, 60 or 3600.
    pub seconds: u64,
    /// Units that may come at once: at least 1, of bits at least [`FULL_FRAME_BITS`].
    pub burst: u64,
}

/// What holds together; `None` is without. The default limits nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Limit {
    /// Of frames.
    pub packets: Option<Pace>,
    /// Of the bits of frames, from the Ethernet header on. A frame may come when the bucket has room for one of
    /// [`FULL_FRAME_BITS`].
    pub bits: Option<Pace>,
    /// Of new flows.
    pub flows: Option<Pace>,
    /// Flows at the same time: at least 1.
    pub concurrent: Option<u32>,
}

/// Limits of each address by itself. Not of groups, nor of the broadcast and the unspecified address: they are nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// What it sends.
    pub from: Limit,
    /// What is sent toward it.
    pub toward: Limit,
}

/// Who shares the limit of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Scope {
    /// All initiators together.
    #[default]
    Rule,
    /// Each source address has its own.
    Source,
    /// Each pair of addresses has its own.
    Pair,
}

/// A zone.
#[derive(Debug, Clone)]
pub struct Zone {
    /// Unique among zones and devices.
    pub name: String,
    /// What its stations offer; `None` if it does not say.
    pub offers: Option<Vec<ServiceMatch>>,
    /// Its VLAN; `None` only for the built-in zones.
    pub vlan: Option<VlanId>,
    /// Number of its address space in [`ValidPolicy::realms`].
    pub realm: usize,
    /// Its address ranges: an address belongs to the zone with the longest prefix around it. Never link-scoped.
    pub subnets: Vec<IpNetwork>,
    /// Addresses of the gateway on this VLAN: they belong to the zone `self`.
    pub gateways: Vec<IpAddr>,
    /// `None` only for the built-in zones: there the other zone of a pair decides.
    pub mode: Option<Mode>,
    /// The guards of its VLAN, defaults filled in: the same for all zones of the VLAN. Off for the built-in zones.
    pub guards: Guards,
    /// Hardware addresses of the IPv6 routers of its VLAN, sorted, at most [`ROUTERS`]: the same for all zones of the VLAN.
    pub routers: Vec<[u8; 6]>,
    /// Limits of each of its addresses, where the device does not have its own; those of its class filled in.
    pub limits: Limits,
    /// Limit of frames to groups of stations on its VLAN, of all senders together: the same for all zones of the VLAN.
    /// It never has `concurrent`.
    pub broadcast: Limit,
    /// TCP sessions to or from its addresses, link-local ones among them, begin with a SYN. A pair is strict when either
    /// end is. False for the built-in zones.
    pub strict_tcp: bool,
    /// The smallest MSS that a SYN toward its addresses may announce, where the device does not have its own; the class's
    /// filled in. 0 for any. Like `limits`, it does not hold for groups and the unspecified address.
    pub least_mss: u16,
    /// What becomes of its frames while no policy is in force; the class's filled in for zones that enforce. `Pass` for the
    /// built-in zones.
    pub on_no_policy: OnNoPolicy,
    /// The name of its class, declared or built in.
    pub class: Option<String>,
    /// Where the name stands; `None` for built-in zones.
    pub at: Option<Location>,
}

/// A device.
#[derive(Debug, Clone)]
pub struct Device {
    /// What it offers; `None` if nothing says so.
    pub offers: Option<Vec<ServiceMatch>>,
    /// Unique among zones and devices.
    pub name: String,
    /// Number of its zone; each address resolves to this zone by longest prefix.
    pub zone: usize,
    /// Its hardware address.
    pub mac: Option<[u8; 6]>,
    /// Those that it has for good: unique in the realm, never link-scoped. At least one, unless it is `dynamic`.
    pub addresses: Vec<IpAddr>,
    /// It gets an IPv4 address by DHCP too, and has a `mac`. While a lease runs, its address (of the zone's subnets, and
    /// nobody's `addresses` or `gateways`) is the device's. No selector [`Prefix`](Selector::Prefix) of a rule holds a part
    /// only of the zone's IPv4 addresses, except single ones that are declared: so a prefix matches each lease or none.
    pub dynamic: bool,
    /// It is a DHCP server or relay.
    pub dhcp_server: bool,
    /// Limits of each of its addresses, those of its class and its zone filled in.
    pub limits: Limits,
    /// The smallest MSS that a SYN toward it may announce, those of its class and its zone filled in. 0 for any.
    pub least_mss: u16,
    /// The name of its class, declared or built in.
    pub class: Option<String>,
    /// Where the name stands.
    pub at: Location,
}

/// A class of devices that the text declares.
#[derive(Debug, Clone)]
pub struct Class {
    /// Unique among classes; in place of a built-in one of the same name.
    pub name: String,
    /// Where the name stands.
    pub at: Location,
}

/// A named service.
#[derive(Debug, Clone)]
pub struct Service {
    /// Unique among services.
    pub name: String,
    /// What it stands for: a packet that matches one of them is of this service.
    pub matches: Vec<ServiceMatch>,
    /// Where the name stands.
    pub at: Location,
}

/// A set of packets by protocol and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceMatch {
    /// Every packet.
    Any,
    /// Every packet of an IP protocol, with or without ports.
    Protocol(u8),
    /// Destination ports from first to last of TCP (6) or UDP (17); for ICMP (1) and `ICMPv6` (58) type and code as
    /// `type << 8 | code`. `first <= last`.
    Ports {
        /// IP protocol number: 1, 6, 17 or 58.
        protocol: u8,
        /// First port.
        first: u16,
        /// Last port.
        last: u16,
    },
}

impl ServiceMatch {
    /// Whether a packet is of it: `port` is that of the destination; of ICMP, type and code.
    pub fn covers(self, protocol: u8, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::Protocol(number) => number == protocol,
            Self::Ports {
                protocol: number,
                first,
                last,
            } => number == protocol && (first..=last).contains(&port),
        }
    }

    /// Whether a packet can be of both.
    pub fn meets(self, other: Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::Protocol(one), Self::Protocol(two) | Self::Ports { protocol: two, .. })
            | (Self::Ports { protocol: two, .. }, Self::Protocol(one)) => one == two,
            (
                Self::Ports {
                    protocol: one,
                    first,
                    last,
                },
                Self::Ports {
                    protocol: two,
                    first: from,
                    last: to,
                },
            ) => one == two && first <= to && from <= last,
        }
    }
}

/// As a policy would write it.
impl fmt::Display for ServiceMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Any => f.write_str("any"),
            Self::Protocol(protocol) => f.write_str(&words::protocol(protocol)),
            Self::Ports { protocol, first, last } if words::has_ports(protocol) && first < last => {
                write!(f, "{}-{last}", words::service(protocol, first))
            }
            Self::Ports { protocol, first, last } if last.checked_sub(first) == Some(0xff) && first % 0x100 == 0 => {
                write!(f, "{}/{}", words::protocol(protocol), first >> 8)
            }
            Self::Ports { protocol, first, .. } => f.write_str(&words::service(protocol, first)),
        }
    }
}

/// One side of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// Every address, declared or not.
    Any,
    /// The addresses of a zone, by number; `self` and `unknown` are zones too.
    Zone(usize),
    /// The addresses of a device, by number.
    Device(usize),
    /// The addresses under a prefix, in every realm. A prefix does not reach into a link-scoped range that is longer
    /// than itself: see [`super::link_scoped`].
    Prefix(IpNetwork),
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Permit the flow.
    Allow,
    /// Refuse the packet.
    Deny,
}

/// A rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Unique among rules.
    pub name: String,
    /// Any of these sends. Never empty.
    pub from: Vec<Selector>,
    /// Any of these receives. Never empty.
    pub to: Vec<Selector>,
    /// Any of these is asked for. Never empty.
    pub services: Vec<ServiceMatch>,
    /// What happens then.
    pub action: Action,
    /// Higher goes first.
    pub priority: i32,
    /// When it ends, in nanoseconds of Unix time: from then on it is as if it were not there.
    pub expires: Option<u64>,
    /// What the rule or its limit refuses is counted as `would-drop`, and passes, whatever the modes of the zones.
    pub monitor: bool,
    /// Log the first frame of each permitted flow.
    pub log_new: bool,
    /// Limit of what initiators send by this rule.
    pub limit: Limit,
    /// Who shares the limit.
    pub scope: Scope,
    /// Alarm traffic: charged to the rule's own limit only, not to those of addresses.
    pub alarm: bool,
    /// Where the name stands.
    pub at: Location,
}

/// Packets from any of some to any of others.
#[derive(Debug, Clone)]
pub struct Never {
    /// Unique among its kind.
    pub name: String,
    /// Never empty.
    pub from: Vec<Selector>,
    /// Never empty.
    pub to: Vec<Selector>,
    /// Never empty.
    pub services: Vec<ServiceMatch>,
    /// Where the name stands.
    pub at: Location,
}

/// Packets that the rules have to permit, all of them and for good.
#[derive(Debug, Clone)]
pub struct MustFlow {
    /// Which ones.
    pub kept: Never,
    /// For how long they may fail to come while a controller watches; `None` for as long as they like.
    pub silence: Option<Duration>,
}

/// Something that is declared and that nothing names.
#[derive(Debug, Clone)]
pub struct Unused {
    /// `service`, `group`, `class`, `template` or `device`.
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// Where the name stands.
    pub at: Location,
}
