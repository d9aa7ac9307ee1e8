//! Who owns which address: two owners of one address are an error, wherever they are declared.

use std::{
    collections::{BTreeSet, HashMap},
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
        lengths: BTreeSet::new(),
    };
    for (text, number) in zone_texts.iter().zip(2..) {
        for subnet in &text.subnets {
            owners.claim(number, subnet, findings);
        }
    }
    let mut stations: HashMap<(usize, IpAddr), Location> = HashMap::new();
    for (text, number) in zone_texts.iter().zip(2..) {
        for gateway in &text.gateways {
            // The same link-local address may serve every VLAN: it is the gateway's wherever it is.
            if !link_scoped::contains(gateway.value) {
                owners.station("gateway", number, gateway, &mut stations, findings);
            }
        }
    }
    let mut macs = HashMap::new();
    for (text, device) in device_texts.iter().zip(devices) {
        if device.zone == UNKNOWN {
            continue;
        }
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

struct Owners<'v> {
    zones: &'v [Zone],
    realms: &'v [String],
    /// By realm and prefix: the zone, and where it says so.
    subnets: HashMap<(usize, IpNetwork), (usize, Location)>,
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
            let other = quote(&self.zones[other].name);
            Diagnostic::at(subnet.at, format!("two zones claim {network}"))
                .related(place, format!("zone {other} claims it here"))
                .help("give it to one zone, or, where VLANs reuse addresses, put the zones in different realms")
        };
        findings.push(finding);
    }

    /// The zone of an address: the one with the longest prefix around it.
    fn owner(&self, realm: usize, address: IpAddr) -> Option<(usize, Location)> {
        let longest_first = self.lengths.iter().rev();
        let mut around = longest_first.filter_map(|&length| network(address, length));
        around.find_map(|network| self.subnets.get(&(realm, network)).copied())
    }

    /// Checks the address of a device or of the gateway: inside of its zone, and nobody else's.
    fn station(
        &self,
        what: &str,
        zone: usize,
        address: &Spanned<IpAddr>,
        stations: &mut HashMap<(usize, IpAddr), Location>,
        findings: &mut Vec<Diagnostic>,
    ) {
        let Zone { realm, name, .. } = &self.zones[zone];
        let (value, name) = (address.value, quote(name));
        if let Some(first) = stations.insert((*realm, value), address.at) {
            let realm = if self.realms.len() > 1 {
                format!(" in realm {}", quote(&self.realms[*realm]))
            } else {
                String::new()
            };
            findings.push(
                Diagnostic::at(address.at, format!("the address {value} is taken{realm}"))
                    .related(first, "taken here")
                    .help("an address belongs to one device, or to the gateway"),
            );
        }
        if self.zones[zone].subnets.is_empty() {
            return;
        }
        match self.owner(*realm, value) {
            Some((owner, _)) if owner == zone => {}
            Some((owner, place)) => {
                let owner = quote(&self.zones[owner].name);
                findings.push(
                    Diagnostic::at(
                        address.at,
                        format!("the {what} of zone {name} has an address of zone {owner}"),
                    )
                    .related(place, format!("{owner} claims it here"))
                    .help("correct the address, or the zone"),
                );
            }
            None => findings.push(
                Diagnostic::at(address.at, format!("no subnet of zone {name} holds {value}")).help(format!(
                    "correct the address, or add its range to the subnets of {name}"
                )),
            ),
        }
    }
}

/// The network of a length around an address; `None` when the length is another family's.
pub(super) fn network(address: IpAddr, length: u8) -> Option<IpNetwork> {
    let network = IpNetwork::new(address, length).ok()?;
    IpNetwork::new(network.network(), length).ok()
}
