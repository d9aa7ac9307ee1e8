//! Management access and leases for a policy, and what the engine is told of them.

use std::net::{IpAddr, Ipv4Addr};

use enforcer::policy::valid::{ValidPolicy, VlanId};
use enforcer_common::abi::{Access, Address, BindingKey};
use ipnetwork::IpNetwork;

use super::aims::boundary;
use super::{BEGIN, Random};
use crate::oracle::{Beside, Lease, Management, owner};
use crate::packet::protocol;

const SECOND: u64 = 1_000_000_000;
/// When leases end: before the frames begin, among them, and never.
const ENDS: [u64; 5] = [
    BEGIN,
    BEGIN + 10 * SECOND,
    BEGIN + 600 * SECOND,
    BEGIN + 6 * 24 * 3600 * SECOND,
    u64::MAX,
];
/// Services of the gateway.
const SERVICES: [(u8, u16, u16); 5] = [
    (protocol::TCP, 443, 443),
    (protocol::TCP, 440, 1023),
    (protocol::UDP, 0, u16::MAX),
    (protocol::ICMP, 8 << 8, 8 << 8),
    (protocol::ICMPV6, 0, u16::MAX),
];

/// Some of both.
pub fn beside(policy: &ValidPolicy, random: &mut Random) -> Beside {
    let management = if random.percent(40) {
        (0..=random.below(3))
            .filter_map(|_| management(policy, random))
            .collect()
    } else {
        Vec::new()
    };
    let mut leases: Vec<Lease> = Vec::new();
    let devices = policy.devices.iter().enumerate().filter(|(_, device)| device.dynamic);
    for (number, device) in devices {
        for _ in 0..=random.below(3) {
            let lease = lease(policy, random, number);
            let taken = |lease: &Lease| {
                let same = |other: &Lease| (other.realm, other.address) == (lease.realm, lease.address);
                leases.iter().any(same)
            };
            if let Some(lease) = lease.filter(|lease| !taken(lease)) {
                debug_assert_eq!(policy.zones[device.zone].realm, lease.realm);
                leases.push(lease);
            }
        }
    }
    Beside { management, leases }
}

fn management(policy: &ValidPolicy, random: &mut Random) -> Option<Management> {
    let declared: Vec<_> = policy.zones.iter().filter(|zone| zone.vlan.is_some()).collect();
    let zone = random.pick(&declared);
    let vlan = if random.percent(80) {
        zone.vlan?
    } else {
        // One that no zone declares.
        VlanId {
            outer: 103,
            inner: None,
        }
    };
    let from = if random.percent(80) {
        random.pick(&zone.subnets)
    } else {
        "0.0.0.0/0".parse::<IpNetwork>().ok()?
    };
    let to = if zone.gateways.is_empty() {
        let subnet = random.pick(&zone.subnets);
        boundary(random, subnet)
    } else {
        random.pick(&zone.gateways)
    };
    let (protocol, first, last) = random.pick(&SERVICES);
    let fits =
        from.is_ipv4() == to.is_ipv4() && protocol != if to.is_ipv4() { protocol::ICMPV6 } else { protocol::ICMP };
    fits.then_some(Management {
        from,
        to,
        vlan,
        protocol,
        ports: (first, last),
    })
}

/// An address of the device's zone that nobody declares.
fn lease(policy: &ValidPolicy, random: &mut Random, device: usize) -> Option<Lease> {
    let zone = &policy.zones[policy.devices[device].zone];
    let subnet = random.pick(&zone.subnets);
    let address = boundary(random, subnet);
    let same_realm = |zone: usize| policy.zones[zone].realm == zone_realm(policy, device);
    let devices = policy.devices.iter().filter(|other| same_realm(other.zone));
    let mut declared = devices.flat_map(|other| other.addresses.iter());
    let zones = policy.zones.iter().filter(|other| other.realm == zone.realm);
    let mut gateways = zones.flat_map(|other| other.gateways.iter());
    let IpAddr::V4(four) = address else { return None };
    let free = owner(policy, zone.realm, address) == Some(policy.devices[device].zone)
        && !four.is_unspecified()
        && !four.is_link_local()
        && !four.is_multicast()
        && !four.is_broadcast()
        && declared.all(|&other| other != address)
        && gateways.all(|&other| other != address);
    free.then(|| Lease {
        realm: zone.realm,
        address: four,
        device,
        end: random.pick(&ENDS),
    })
}

fn zone_realm(policy: &ValidPolicy, device: usize) -> usize {
    policy.zones[policy.devices[device].zone].realm
}

/// Management access, as the engine reads it.
pub fn accesses(beside: &Beside) -> Vec<Access> {
    let entry = |entry: &Management| Access {
        prefix: words(entry.from.network()),
        mask: words(entry.from.mask()),
        gateway: words(entry.to),
        outer_vlan: entry.vlan.outer,
        inner_vlan: entry.vlan.inner.unwrap_or(0),
        first_port: entry.ports.0,
        last_port: entry.ports.1,
        protocol: entry.protocol,
        family: if entry.to.is_ipv4() { 4 } else { 6 },
        ..Access::default()
    };
    beside.management.iter().map(entry).collect()
}

/// Leases, as the engine reads them: the address, the place of the device among those with DHCP, the end.
pub fn bindings(policy: &ValidPolicy, beside: &Beside) -> Vec<(BindingKey, u32, u64)> {
    let place = |device: usize| {
        let before = policy.devices[..device].iter();
        before.filter(|device| device.dynamic).count() as u32
    };
    let binding = |lease: &Lease| {
        let key = BindingKey {
            address: words(lease.address.into()),
            realm: lease.realm as u16,
            family: 4,
            reserved: 0,
        };
        (key, place(lease.device), lease.end)
    };
    beside.leases.iter().map(binding).collect()
}

fn words(address: IpAddr) -> Address {
    let bits = match address {
        IpAddr::V4(four) => u128::from(Ipv4Addr::to_bits(four)),
        IpAddr::V6(six) => six.to_bits(),
    };
    [96, 64, 32, 0].map(|shift| (bits >> shift) as u32)
}
