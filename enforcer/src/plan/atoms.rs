//! Addresses that neither policy can tell apart, one of each kind: what both policies declare cuts the address space.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;

use super::side::Side;
use crate::policy::valid::{Device, Selector, ValidPolicy};
use crate::policy::{link_scoped, uncovered};

/// Addresses that no frame comes from, wherever they are declared: loopback, and IPv4 addresses in IPv6 clothes.
const NOBODY: [&str; 3] = ["127.0.0.0/8", "::1/128", "::ffff:0:0/96"];

/// An address that stands for all those that nothing tells from it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Atom {
    pub(super) address: IpAddr,
    /// The longest prefix around it that either policy declares.
    pub(super) prefix: IpNetwork,
    /// The endpoint before and after; `None` where the address space does not exist.
    pub(super) endpoints: [Option<u32>; 2],
}

/// Leased addresses, by address space: those that devices have in examples.
pub(super) type Leases = BTreeMap<String, Vec<IpAddr>>;

/// Gives every device with a leased address one, in both policies the same where both can.
pub(super) fn lease(sides: &mut [Side<'_>; 2]) -> Leases {
    let policies = [sides[0].policy, sides[1].policy];
    let mut taken: HashSet<(&str, IpAddr)> = HashSet::new();
    for policy in policies {
        for device in &policy.devices {
            let realm = policy.realms[policy.zones[device.zone].realm].as_str();
            taken.extend(device.addresses.iter().map(|address| (realm, *address)));
        }
        for zone in &policy.zones {
            let realm = policy.realms[zone.realm].as_str();
            taken.extend(zone.gateways.iter().map(|address| (realm, *address)));
        }
    }
    let mut leases = Leases::new();
    let mut free: BTreeMap<(usize, usize), Box<dyn Iterator<Item = IpAddr>>> = BTreeMap::new();
    for (number, policy) in policies.into_iter().enumerate() {
        for device in policy.devices.iter().filter(|device| device.dynamic) {
            let realm = policy.realms[policy.zones[device.zone].realm].as_str();
            if number == 1 && has_lease(&sides[1], device, realm, leases.get(realm)) {
                continue;
            }
            let addresses = free
                .entry((number, device.zone))
                .or_insert_with(|| stations(policy, device.zone));
            let Some(address) = addresses.find(|address| taken.insert((realm, *address))) else {
                continue;
            };
            for side in sides.iter_mut() {
                side.lease(&device.name, realm, address);
            }
            leases.entry(realm.to_owned()).or_default().push(address);
        }
    }
    leases
}

/// Whether one of the leases is the device's own.
fn has_lease(side: &Side<'_>, device: &Device, realm: &str, leases: Option<&Vec<IpAddr>>) -> bool {
    let Some(lan) = side.lan_in(realm) else {
        return false;
    };
    let own = |address: &IpAddr| side.name(side.look_up(lan, *address)).device.as_ref() == Some(&device.name);
    leases.is_some_and(|leases| leases.iter().any(own))
}

/// The addresses of a zone's first IPv4 subnet, from the end.
fn stations(policy: &ValidPolicy, zone: usize) -> Box<dyn Iterator<Item = IpAddr>> {
    let subnets = policy.zones[zone].subnets.iter();
    let mut subnets = subnets.filter_map(|subnet| match subnet {
        IpNetwork::V4(subnet) => Some(subnet.network().to_bits() + 1..subnet.broadcast().to_bits()),
        IpNetwork::V6(_) => None,
    });
    let addresses = subnets.next().unwrap_or_default().rev();
    Box::new(addresses.map(|bits| Ipv4Addr::from_bits(bits).into()))
}

/// The atoms of an address space, as seen from a VLAN of each policy, without link-scoped ones.
pub(super) fn of_space(sides: &[Side<'_>; 2], lans: [Option<u16>; 2], leases: &Leases) -> Vec<Atom> {
    let mut cuts: Vec<IpNetwork> = link_scoped::RANGES.iter().map(|range| range.network).collect();
    cuts.extend(NOBODY.iter().filter_map(|text| text.parse::<IpNetwork>().ok()));
    let holes = cuts.clone();
    cuts.extend(
        ["0.0.0.0/0", "::/0"]
            .iter()
            .filter_map(|text| text.parse::<IpNetwork>().ok()),
    );
    for (side, lan) in sides.iter().zip(lans) {
        let Some(lan) = lan else { continue };
        let realm = side.realm_of(lan);
        cuts.extend(declared(side.policy, realm));
        cuts.extend(
            leases
                .get(realm)
                .into_iter()
                .flatten()
                .map(|address| IpNetwork::from(*address)),
        );
    }
    let open = uncovered(cuts).into_iter();
    let open = open.filter(|(_, address)| !holes.iter().any(|hole| hole.contains(*address)));
    open.map(|(prefix, address)| atom(sides, lans, prefix, address))
        .collect()
}

/// The atoms of link-scoped addresses on a VLAN.
pub(super) fn of_link(sides: &[Side<'_>; 2], lans: [Option<u16>; 2]) -> Vec<Atom> {
    let mut cuts: Vec<IpNetwork> = link_scoped::RANGES.iter().map(|range| range.network).collect();
    for (side, lan) in sides.iter().zip(lans) {
        let Some(lan) = lan else { continue };
        cuts.extend(prefixes(side.policy).filter(|prefix| link_scoped::range_of(*prefix).is_some()));
        let zones = &side.tables().names.lans[usize::from(lan)].zones;
        let gateways = zones
            .iter()
            .flat_map(|zone| &side.policy.zones[usize::from(*zone)].gateways);
        cuts.extend(
            gateways
                .filter(|address| link_scoped::contains(**address))
                .map(|address| IpNetwork::from(*address)),
        );
    }
    let found = uncovered(cuts).into_iter();
    found
        .map(|(prefix, address)| atom(sides, lans, prefix, address))
        .collect()
}

fn atom(sides: &[Side<'_>; 2], lans: [Option<u16>; 2], prefix: IpNetwork, address: IpAddr) -> Atom {
    let endpoint = |side: usize| Some(sides[side].look_up(lans[side]?, address));
    Atom {
        address,
        prefix,
        endpoints: [endpoint(0), endpoint(1)],
    }
}

/// What a policy declares in an address space.
fn declared<'p>(policy: &'p ValidPolicy, realm: &'p str) -> impl Iterator<Item = IpNetwork> + 'p {
    let here = move |number: usize| policy.realms[number] == realm;
    let zones = policy.zones.iter().filter(move |zone| here(zone.realm));
    let own = zones.flat_map(|zone| {
        let gateways = zone.gateways.iter().map(|address| IpNetwork::from(*address));
        zone.subnets.iter().copied().chain(gateways)
    });
    let devices = policy.devices.iter();
    let devices = devices.filter(move |device| here(policy.zones[device.zone].realm));
    let addresses = devices.flat_map(|device| device.addresses.iter().map(|address| IpNetwork::from(*address)));
    own.chain(addresses)
        .chain(prefixes(policy))
        .filter(|network| link_scoped::range_of(*network).is_none())
}

/// The prefixes in rules.
fn prefixes(policy: &ValidPolicy) -> impl Iterator<Item = IpNetwork> + '_ {
    let selectors = policy.rules.iter().flat_map(|rule| rule.from.iter().chain(&rule.to));
    selectors.filter_map(|selector| match selector {
        Selector::Prefix(prefix) => Some(*prefix),
        _ => None,
    })
}
