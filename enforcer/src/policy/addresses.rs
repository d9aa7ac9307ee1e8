//! Who owns which address: two owners of one address are an error, wherever they are declared.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
};

use ipnetwork::IpNetwork;

use super::{
    fields::Spanned,
    file::{DeviceText, ZoneText},
    link_scoped,
    valid::{Device, UNKNOWN, Zone},
};
use crate::diagnostics::{Diagnostic, Location, quote};

/// Checks subnets, gateway addresses, device addresses and hardware addresses.
pub(super) fn check(
    zone_texts: &[ZoneText],
    zones: &[Zone],
    device_texts: &[DeviceText],
    devices: &[Device],
    realms: &[String],
    findings: &mut Vec<Diagnostic>,
) {
    let mut owners = Owners {
        zones,
        realms,
        subnets: HashMap::new(),
        contested: HashSet::new(),
        lengths: BTreeSet::new(),
    };
    let subnets = zone_texts.iter().zip(2..);
    let subnets = subnets.flat_map(|(text, zone)| text.subnets.iter().map(move |subnet| (subnet.at, zone, subnet)));
    for (_, zone, subnet) in in_order(subnets) {
        owners.claim(zone, subnet, findings);
    }
    let mut stations: HashMap<(usize, IpAddr), Location> = HashMap::new();
    let gateways = zone_texts.iter().zip(2..);
    let gateways =
        gateways.flat_map(|(text, zone)| text.gateways.iter().map(move |address| (address.at, zone, address)));
    // A link-local address may serve as the gateway on any number of VLANs.
    let gateways = gateways.filter(|(_, _, address)| !link_scoped::contains(address.value));
    for (_, zone, address) in in_order(gateways) {
        owners.station("gateway", zone, address, &mut stations, findings);
    }
    let devices = device_texts
        .iter()
        .zip(devices)
        .map(|(text, device)| (text.name.at, text, device));
    let mut macs = HashMap::new();
    for (_, text, device) in in_order(devices.filter(|(.., device)| device.zone != UNKNOWN)) {
        for address in &text.addresses {
            owners.station("device", device.zone, address, &mut stations, findings);
        }
        if let (Some(mac), Some(vlan)) = (text.mac, zones[device.zone].vlan)
            && let Some(first) = macs.insert((vlan, mac.value), mac.at)
        {
            let message = format!("two devices of VLAN {vlan} have the same hardware address");
            findings.push(Diagnostic::at(mac.at, message).related(first, "first given here"));
        }
    }
}

/// Things in the order of their places, so that of two that clash, the later one is complained about.
fn in_order<A, B>(things: impl Iterator<Item = (Location, A, B)>) -> Vec<(Location, A, B)> {
    let mut things: Vec<_> = things.collect();
    things.sort_by_key(|thing| thing.0);
    things
}

struct Owners<'v> {
    zones: &'v [Zone],
    realms: &'v [String],
    /// By realm and prefix: the zone, and where it says so.
    subnets: HashMap<(usize, IpNetwork), (usize, Location)>,
    /// Prefixes that two zones claim: enough has been said about the addresses there.
    contested: HashSet<(usize, IpNetwork)>,
    /// Prefix lengths in use.
    lengths: BTreeSet<u8>,
}

impl Owners<'_> {
    fn claim(&mut self, zone: usize, subnet: &Spanned<IpNetwork>, findings: &mut Vec<Diagnostic>) {
        let realm = self.zones[zone].realm;
        self.lengths.insert(subnet.value.prefix());
        let first = self.subnets.get(&(realm, subnet.value)).copied();
        let Some((other, place)) = first else {
            self.subnets.insert((realm, subnet.value), (zone, subnet.at));
            return;
        };
        let network = subnet.value;
        let finding = if other == zone {
            Diagnostic::at(subnet.at, format!("{network} is given twice")).related(place, "first given here")
        } else {
            self.contested.insert((realm, network));
            let other = quote(&self.zones[other].name);
            Diagnostic::at(subnet.at, format!("two zones claim {network}"))
                .related(place, format!("zone {other} claims it here"))
                .help("give it to one zone, or, where VLANs reuse addresses, put the zones in different realms")
        };
        findings.push(finding);
    }

    /// The longest declared prefix around an address, its zone, and where the zone says so.
    fn owner(&self, realm: usize, address: IpAddr) -> Option<(IpNetwork, usize, Location)> {
        let longest_first = self.lengths.iter().rev();
        let mut around = longest_first.filter_map(|&length| network(address, length));
        around.find_map(|network| {
            let &(zone, place) = self.subnets.get(&(realm, network))?;
            Some((network, zone, place))
        })
    }

    /// Checks the address of a device or of the gateway: nobody else's, and inside of its zone.
    fn station(
        &self,
        what: &str,
        zone: usize,
        address: &Spanned<IpAddr>,
        stations: &mut HashMap<(usize, IpAddr), Location>,
        findings: &mut Vec<Diagnostic>,
    ) {
        let realm = self.zones[zone].realm;
        let value = address.value;
        if let Some(first) = stations.insert((realm, value), address.at) {
            let space = if self.realms.len() > 1 {
                format!(" in realm {}", quote(&self.realms[realm]))
            } else {
                String::new()
            };
            findings.push(
                Diagnostic::at(address.at, format!("the address {value} is taken{space}"))
                    .related(first, "taken here")
                    .help("an address belongs to one device, or to the gateway"),
            );
        }
        findings.extend(self.outside(what, zone, address));
    }

    /// The complaint about an address that lies outside of its zone. A zone that lost its subnets to other errors, and
    /// a prefix that two zones claim, give no ground for one.
    fn outside(&self, what: &str, zone: usize, address: &Spanned<IpAddr>) -> Option<Diagnostic> {
        let Zone {
            realm, name, subnets, ..
        } = &self.zones[zone];
        let (value, name) = (address.value, quote(name));
        let Some((network, owner, place)) = self.owner(*realm, value) else {
            let message = format!("no subnet of zone {name} holds {value}");
            let help = format!("correct the address, or add its range to the subnets of {name}");
            return (!subnets.is_empty()).then(|| Diagnostic::at(address.at, message).help(help));
        };
        if owner == zone || subnets.is_empty() || self.contested.contains(&(*realm, network)) {
            return None;
        }
        let owner = quote(&self.zones[owner].name);
        let message = format!("the {what} of zone {name} has an address of zone {owner}");
        let finding = Diagnostic::at(address.at, message).related(place, format!("{owner} claims it here"));
        Some(finding.help("correct the address, or the zone"))
    }
}

/// The network of a length around an address; `None` when the length is another family's.
pub(super) fn network(address: IpAddr, length: u8) -> Option<IpNetwork> {
    let network = IpNetwork::new(address, length).ok()?;
    IpNetwork::new(network.network(), length).ok()
}
