//! Addresses that mean the same on every VLAN, and so belong to none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};

/// A range of link-scoped addresses.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// The addresses.
    pub network: IpNetwork,
    /// Their name.
    pub what: &'static str,
    /// Whether one station can own such an address. If not, it has no limits of an address.
    pub unicast: bool,
}

/// All link-scoped ranges. They are disjoint.
///
/// On a frame, such an address belongs to the zone of the frame's VLAN (`unknown` when several zones share it). The
/// subnets of zones never cover it, and of the prefixes in rules only those that lie inside of its range do:
/// `to: 0.0.0.0/0` means everything beyond the router, not the multicast groups of the VLAN.
pub const RANGES: [Range; 7] = [
    v4([0, 0, 0, 0], 32, "the unspecified address", false),
    v4([169, 254, 0, 0], 16, "link-local addresses", true),
    v4([224, 0, 0, 0], 4, "multicast groups", false),
    v4([255, 255, 255, 255], 32, "the broadcast address", false),
    v6(0, 128, "the unspecified address", false),
    v6(0xfe80, 10, "link-local addresses", true),
    v6(0xff00, 8, "multicast groups", false),
];

const fn v4(octets: [u8; 4], length: u8, what: &'static str, unicast: bool) -> Range {
    let [a, b, c, d] = octets;
    let Some(network) = Ipv4Network::new_checked(Ipv4Addr::new(a, b, c, d), length) else {
        panic!("a prefix is too long");
    };
    let network = IpNetwork::V4(network);
    Range { network, what, unicast }
}

const fn v6(first: u16, length: u8, what: &'static str, unicast: bool) -> Range {
    let address = Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0);
    let Some(network) = Ipv6Network::new_checked(address, length) else {
        panic!("a prefix is too long");
    };
    let network = IpNetwork::V6(network);
    Range { network, what, unicast }
}

/// The range that a network lies inside of, or equals.
pub fn range_of(network: IpNetwork) -> Option<&'static Range> {
    RANGES
        .iter()
        .find(|range| range.network.contains(network.ip()) && range.network.prefix() <= network.prefix())
}

/// Whether an address is link-scoped.
pub fn contains(address: IpAddr) -> bool {
    RANGES.iter().any(|range| range.network.contains(address))
}

/// Whether a prefix in a rule matches an address: it lies inside of the prefix, and if it is link-scoped, then so is
/// all of the prefix.
pub fn prefix_matches(prefix: IpNetwork, address: IpAddr) -> bool {
    prefix.contains(address) && (!contains(address) || range_of(prefix).is_some())
}
