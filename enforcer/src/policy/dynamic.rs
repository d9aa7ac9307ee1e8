//! Devices that get their addresses by DHCP: whether every rule that names addresses says for sure if it is about them.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::{
    file::DeviceText,
    link_scoped,
    valid::{Device, Never, Selector, UNKNOWN, Zone},
};
use crate::diagnostics::{Diagnostic, Location, quote};

/// Something that names addresses.
pub(super) struct Naming<'n> {
    what: &'static str,
    name: &'n str,
    at: Location,
    sides: [&'n [Selector]; 2],
}

impl<'n> Naming<'n> {
    pub(super) fn of(what: &'static str, name: &'n str, at: Location, sides: [&'n [Selector]; 2]) -> Self {
        Self { what, name, at, sides }
    }
}

impl Never {
    pub(super) fn naming(&self, what: &'static str) -> Naming<'_> {
        Naming::of(what, &self.name, self.at, [&self.from, &self.to])
    }
}

/// Checks the zones of such devices, and the prefixes of rules against them.
pub(super) fn check<'n>(
    texts: &[DeviceText],
    devices: &[Device],
    zones: &[Zone],
    namings: impl Iterator<Item = Naming<'n>>,
    findings: &mut Vec<Diagnostic>,
) {
    // By zone, the first such device that is written there.
    let mut first_of: Vec<Option<(Location, &str)>> = vec![None; zones.len()];
    for (text, device) in texts.iter().zip(devices).filter(|(_, device)| device.zone != UNKNOWN) {
        let Some(at) = text.dhcp else { continue };
        let zone = &zones[device.zone];
        if !zone.subnets.is_empty() && !zone.subnets.iter().any(IpNetwork::is_ipv4) {
            let message = format!("zone {} has no IPv4 subnet to lease an address of", quote(&zone.name));
            findings.push(Diagnostic::at(at, message).help("add the subnet, or give the device fixed addresses"));
        }
        let first = first_of[device.zone].get_or_insert((at, &device.name));
        *first = (*first).min((at, &device.name));
    }
    let leasing: Vec<_> = (0..zones.len())
        .filter_map(|zone| first_of[zone].map(|first| Leasing::new(zone, first, zones, devices)))
        .collect();
    if leasing.is_empty() {
        return;
    }
    for naming in namings {
        let selectors = naming.sides.into_iter().flatten();
        let prefixes = selectors.filter_map(|selector| match selector {
            Selector::Prefix(prefix) => Some(*prefix),
            _ => None,
        });
        let mut prefixes: Vec<_> = prefixes.filter(IpNetwork::is_ipv4).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        for prefix in prefixes {
            let split = leasing.iter().filter(|zone| zone.is_split_by(prefix));
            findings.extend(split.map(|zone| zone.complaint(&naming, prefix)));
        }
    }
}

/// A zone with such devices.
struct Leasing<'p> {
    number: usize,
    zones: &'p [Zone],
    /// One of the devices.
    device: (Location, &'p str),
    /// Single addresses that are never leased.
    declared: Vec<IpAddr>,
}

impl<'p> Leasing<'p> {
    fn new(number: usize, device: (Location, &'p str), zones: &'p [Zone], devices: &'p [Device]) -> Self {
        let realm = zones[number].realm;
        let here = zones.iter().filter(|zone| zone.realm == realm);
        let gateways = here.flat_map(|zone| zone.gateways.iter().copied());
        let here = devices.iter().filter(|device| zones[device.zone].realm == realm);
        let addresses = here.flat_map(|device| device.addresses.iter().copied());
        let mut declared: Vec<_> = gateways.chain(addresses).collect();
        declared.sort_unstable();
        Self {
            number,
            zones,
            device,
            declared,
        }
    }

    /// Whether a prefix holds some of the addresses that may be leased, but not all of them.
    fn is_split_by(&self, prefix: IpNetwork) -> bool {
        if link_scoped::range_of(prefix).is_some() {
            return false;
        }
        if prefix.prefix() == 32 && self.declared.binary_search(&prefix.ip()).is_ok() {
            return false;
        }
        let subnets = || {
            let subnets = self.zones[self.number].subnets.iter();
            subnets.copied().filter(IpNetwork::is_ipv4)
        };
        let touches = subnets().any(|subnet| within(prefix, subnet) && !self.is_another_zones(prefix, subnet))
            || subnets().any(|subnet| within(subnet, prefix));
        touches && !subnets().all(|subnet| within(subnet, prefix))
    }

    /// Whether a longer subnet of another zone holds all of a prefix inside of a subnet.
    fn is_another_zones(&self, prefix: IpNetwork, subnet: IpNetwork) -> bool {
        let realm = self.zones[self.number].realm;
        let others = self.zones.iter().enumerate();
        let mut others = others.filter(|(number, zone)| *number != self.number && zone.realm == realm);
        others.any(|(_, zone)| {
            let mut nested = zone.subnets.iter().filter(|other| other.prefix() > subnet.prefix());
            nested.any(|other| within(prefix, *other))
        })
    }

    fn complaint(&self, naming: &Naming<'_>, prefix: IpNetwork) -> Diagnostic {
        let (at, device) = self.device;
        let (what, name, zone) = (naming.what, quote(naming.name), quote(&self.zones[self.number].name));
        let message =
            format!("{prefix} holds only a part of zone {zone}: {what} {name} would depend on who is leased what");
        Diagnostic::at(naming.at, message)
            .related(at, format!("{device} may have any address of the zone"))
            .help("name the zone or its devices, or a prefix around all of the zone's IPv4 subnets")
    }
}

/// Whether a network lies inside of another one, or equals it.
fn within(inner: IpNetwork, outer: IpNetwork) -> bool {
    outer.prefix() <= inner.prefix() && outer.contains(inner.network())
}
