//! What frames aim at: addresses, services and VLANs at and beside the boundaries that a policy draws.

use std::net::IpAddr;

use enforcer::policy::valid::{Selector, ServiceMatch, ValidPolicy, VlanId};
use ipnetwork::IpNetwork;

use super::{ROUTER_MAC, Random};
use crate::oracle::{Beside, Management, owner};
use crate::packet::{Mac, SOURCE_MAC, protocol};

/// Addresses that are special wherever they occur.
const SPECIAL: [&str; 30] = [
    "0.0.0.0",
    "0.0.0.1",
    "127.0.0.1",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.254.0.1",
    "169.254.1.7",
    "169.255.0.0",
    "192.0.2.1",
    "223.255.255.255",
    "224.0.0.1",
    "239.255.255.250",
    "239.255.255.255",
    "240.0.0.0",
    "255.255.255.254",
    "255.255.255.255",
    "::",
    "::1",
    "::2",
    "::ffff:10.1.1.1",
    "2001:db8::1",
    "fe7f:ffff::1",
    "fe80::1",
    "fe80::5",
    "febf:ffff::1",
    "fec0::1",
    "feff::1",
    "ff02::1",
    "ff02::fb",
];

/// What a policy invites to try.
pub(super) struct Aims<'p> {
    policy: &'p ValidPolicy,
    /// Boundaries of both families, and their neighbours.
    addresses: Vec<IpAddr>,
    services: Vec<(u8, u16)>,
    vlans: Vec<VlanId>,
    beside: &'p Beside,
}

impl<'p> Aims<'p> {
    pub(super) fn new(policy: &'p ValidPolicy, beside: &'p Beside) -> Self {
        let mut addresses: Vec<IpAddr> = SPECIAL.iter().filter_map(|text| text.parse().ok()).collect();
        let selectors = policy.rules.iter().flat_map(|rule| rule.from.iter().chain(&rule.to));
        let prefixes = selectors.filter_map(|selector| match selector {
            Selector::Prefix(prefix) => Some(*prefix),
            _ => None,
        });
        let subnets = policy.zones.iter().flat_map(|zone| zone.subnets.iter().copied());
        for range in prefixes.chain(subnets) {
            let ends = [range.network(), range.broadcast()];
            addresses.extend(ends.iter().flat_map(|&end| around(end)));
        }
        let devices = policy.devices.iter().flat_map(|device| &device.addresses);
        let gateways = policy.zones.iter().flat_map(|zone| &zone.gateways);
        addresses.extend(devices.chain(gateways).flat_map(|&address| around(address)));
        // Often, or they would seldom be met.
        for _ in 0..8 {
            addresses.extend(beside.leases.iter().map(|lease| IpAddr::V4(lease.address)));
        }
        Self {
            policy,
            beside,
            addresses,
            services: services(policy),
            vlans: policy.zones.iter().filter_map(|zone| zone.vlan).collect(),
        }
    }

    /// A VLAN that some zone declares, or seldom another.
    pub(super) fn vlan(&self, random: &mut Random) -> VlanId {
        if random.percent(92) {
            return random.pick(&self.vlans);
        }
        let outer = random.pick(&[1, 100, 101, 102, 103, 200, 201, 4094, 4095]);
        let inner = random.percent(40).then(|| random.pick(&[0, 1, 10, 11, 100, 4094]));
        VlanId { outer, inner }
    }

    /// An address of any kind, often of a device, of the wanted family.
    pub(super) fn address(&self, random: &mut Random, six: bool) -> IpAddr {
        loop {
            let address = match random.below(10) {
                0..3 if !self.policy.devices.is_empty() => {
                    let device = random.pick(&self.policy.devices);
                    if device.addresses.is_empty() {
                        // It gets one by DHCP.
                        continue;
                    }
                    random.pick(&device.addresses)
                }
                3..6 => {
                    let zone = random.pick(&self.policy.zones);
                    if zone.subnets.is_empty() {
                        continue;
                    }
                    let subnet = random.pick(&zone.subnets);
                    boundary(random, subnet)
                }
                _ => random.pick(&self.addresses),
            };
            if address.is_ipv6() == six {
                return address;
            }
            if random.percent(5) {
                return if six {
                    [0xfd00, 9, 0, 0, 0, 0, 0, 9].into()
                } else {
                    [10, 9, 9, 9].into()
                };
            }
        }
    }

    /// An address that may send from a VLAN, if a few tries find one; else any.
    pub(super) fn source(&self, random: &mut Random, vlan: VlanId, six: bool) -> IpAddr {
        for _ in 0..12 {
            let address = self.address(random, six);
            if self.vlan_of(vlan, address) == Some(vlan) {
                return address;
            }
        }
        self.address(random, six)
    }

    /// The VLAN behind an address, in the realm of another VLAN.
    pub(super) fn vlan_of(&self, from: VlanId, address: IpAddr) -> Option<VlanId> {
        let realm = self.policy.zones.iter().find(|zone| zone.vlan == Some(from))?.realm;
        self.policy.zones[owner(self.policy, realm, address)?].vlan
    }

    /// The hardware address that a sender of this address has, or should have.
    pub(super) fn mac(&self, random: &mut Random, address: IpAddr) -> Mac {
        let devices = self.policy.devices.iter();
        let mut owners = devices.filter(|device| device.addresses.contains(&address));
        let lease = self.beside.leases.iter().find(|lease| address == lease.address);
        let holder = lease.and_then(|lease| self.policy.devices[lease.device].mac);
        match owners.find_map(|device| device.mac).or(holder) {
            Some(mac) if random.percent(92) => mac,
            _ if random.percent(6) => ROUTER_MAC,
            _ => SOURCE_MAC,
        }
    }

    /// Management access that there is.
    pub(super) fn management(&self, random: &mut Random) -> Option<Management> {
        (!self.beside.management.is_empty()).then(|| random.pick(&self.beside.management))
    }

    /// A protocol with a port, or with type and code.
    pub(super) fn service(&self, random: &mut Random) -> (u8, u16) {
        random.pick(&self.services)
    }
}

/// An address and its neighbours.
fn around(address: IpAddr) -> Vec<IpAddr> {
    match address {
        IpAddr::V4(four) => [-1_i32, 0, 0, 1]
            .map(|step| four.to_bits().wrapping_add_signed(step).to_be_bytes().into())
            .to_vec(),
        IpAddr::V6(six) => [-1_i128, 0, 0, 1]
            .map(|step| six.to_bits().wrapping_add_signed(step).to_be_bytes().into())
            .to_vec(),
    }
}

/// The first, the last or some address of a range.
pub(super) fn boundary(random: &mut Random, range: IpNetwork) -> IpAddr {
    let (first, last) = (range.network(), range.broadcast());
    match (random.below(5), first, last) {
        (0, ..) => first,
        (1, ..) => last,
        (_, IpAddr::V4(first), IpAddr::V4(last)) => {
            let span = last.to_bits() - first.to_bits();
            // Small numbers, so that the same address comes again.
            let step = if random.percent(70) {
                random.bits() % 8
            } else {
                random.bits()
            };
            (first.to_bits() + (step as u32).min(span)).to_be_bytes().into()
        }
        (_, IpAddr::V6(first), IpAddr::V6(last)) => {
            let span = last.to_bits() - first.to_bits();
            let step = if random.percent(70) {
                u128::from(random.bits() % 8)
            } else {
                u128::from(random.bits()) << 64 | u128::from(random.bits())
            };
            (first.to_bits() + step.min(span)).to_be_bytes().into()
        }
        _ => first,
    }
}

/// Whether a range holds an address.
pub(super) fn contains(range: IpNetwork, address: IpAddr) -> bool {
    range.network() <= address && address <= range.broadcast() && range.is_ipv6() == address.is_ipv6()
}

/// Services that rules name, their neighbours, and a few that nobody names.
fn services(policy: &ValidPolicy) -> Vec<(u8, u16)> {
    let mut services = vec![
        (protocol::TCP, 443),
        (protocol::TCP, 9),
        (protocol::UDP, 53),
        (protocol::UDP, 9),
        (protocol::GRE, 0),
        (protocol::ESP, 0),
        (253, 0),
        (protocol::ICMP, 8 << 8),
        (protocol::ICMP, 0),
        (protocol::ICMP, 3 << 8 | 3),
        (protocol::ICMP, 13 << 8),
        (protocol::ICMPV6, 128 << 8),
        (protocol::ICMPV6, 129 << 8),
        (protocol::ICMPV6, 2 << 8),
    ];
    for service in policy.rules.iter().flat_map(|rule| &rule.services) {
        match *service {
            ServiceMatch::Any => {}
            ServiceMatch::Protocol(protocol @ (protocol::TCP | protocol::UDP | protocol::ICMP | protocol::ICMPV6)) => {
                services.extend([(protocol, 7), (protocol, 40_000)]);
            }
            // In IPv6, 0 is the hop-by-hop header, and others are extensions too.
            ServiceMatch::Protocol(number) => services.push((number, 0)),
            ServiceMatch::Ports { protocol, first, last } => {
                let ports = [first.wrapping_sub(1), first, first, last, last, last.wrapping_add(1)];
                services.extend(ports.map(|port| (protocol, port)));
            }
        }
    }
    services
}
