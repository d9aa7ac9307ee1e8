//! The ends of a frame: who they are, where they live, which hardware address they have.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use enforcer_common::packet::protocol;
use ipnetwork::IpNetwork;

use super::Wrong;
use crate::diagnostics::quote;
use crate::policy::{
    fields::{Complaint, nearest},
    grammar, link_scoped,
    valid::{Device, ValidPolicy, VlanId, Zone},
};

/// One end of a frame, as it is written.
pub(super) enum End<'p> {
    Address(IpAddr),
    Device(&'p Device),
}

impl End<'_> {
    /// The addresses of the end that stands under `key`; at least one.
    pub(super) fn addresses(&self, key: &'static str, policy: &ValidPolicy) -> Result<Vec<IpAddr>, Wrong> {
        let device = match self {
            Self::Address(address) => return Ok(vec![*address]),
            Self::Device(device) => device,
        };
        let own = leases(policy)
            .into_iter()
            .filter(|(owner, _)| owner.name == device.name);
        let own = own.map(|(_, address)| address.into());
        let all: Vec<_> = device.addresses.iter().copied().chain(own).collect();
        if all.is_empty() {
            let zone = quote(&policy.zones[device.zone].name);
            let message = format!(
                "{} gets its address by DHCP, and the first IPv4 subnet of zone {zone} has none free for it",
                quote(&device.name)
            );
            return Err((
                key,
                Complaint::new(message, "write an address instead, or give the zone a larger subnet"),
            ));
        }
        Ok(all)
    }
}

/// The addresses that devices with `dhcp: true` have in tests and explanations, where nobody leases any: for each, a free
/// one of its zone's first IPv4 subnet, from the end.
pub fn leases(policy: &ValidPolicy) -> Vec<(&Device, Ipv4Addr)> {
    let dynamic: Vec<_> = policy.devices.iter().filter(|device| device.dynamic).collect();
    if dynamic.is_empty() {
        return Vec::new();
    }
    let devices = policy.devices.iter().flat_map(|device| &device.addresses);
    let declared: HashSet<_> = devices
        .chain(policy.zones.iter().flat_map(|zone| &zone.gateways))
        .collect();
    let mut free: HashMap<usize, _> = HashMap::new();
    let lease = |device: &'_ Device| {
        let addresses = free.entry(device.zone).or_insert_with(|| {
            let subnets = policy.zones[device.zone].subnets.iter();
            let mut subnets = subnets.filter_map(|subnet| match subnet {
                IpNetwork::V4(subnet) => Some(u32::from(subnet.network()) + 1..u32::from(subnet.broadcast())),
                IpNetwork::V6(_) => None,
            });
            subnets.next().unwrap_or_default().rev().map(Ipv4Addr::from)
        });
        addresses.find(|address| !declared.contains(&IpAddr::V4(*address)))
    };
    let leases: Vec<_> = dynamic.iter().copied().map(lease).collect();
    let leases = dynamic.into_iter().zip(leases);
    leases
        .filter_map(|(device, address)| Some((device, address?)))
        .collect()
}

/// An address, or the name of a device.
pub(super) fn end<'p>(text: &str, policy: &'p ValidPolicy) -> Result<End<'p>, Complaint> {
    if text.contains(['.', ':', '/']) {
        return grammar::address(text).map(End::Address);
    }
    if let Some(device) = policy.devices.iter().find(|device| device.name == text) {
        return Ok(End::Device(device));
    }
    let message = format!("{} is neither an address nor a device", quote(text));
    let help = if policy.zones.iter().any(|zone| zone.name == text) {
        "it is a zone: name one of its addresses".to_owned()
    } else {
        match nearest(text, policy.devices.iter().map(|device| device.name.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write such as 10.10.110.21, or the name of a device".to_owned(),
        }
    };
    Err(Complaint::new(message, help))
}

/// Addresses of one family: the first that both ends have, and that the protocol belongs to.
pub(super) fn pair(from: &[IpAddr], to: &[IpAddr], protocol: u8) -> Result<(IpAddr, IpAddr), Wrong> {
    let fits = |address: &&IpAddr| match protocol {
        protocol::ICMP => address.is_ipv4(),
        protocol::ICMPV6 => address.is_ipv6(),
        _ => true,
    };
    for &source in from.iter().filter(fits) {
        let mut addresses = to.iter().filter(fits);
        if let Some(&destination) = addresses.find(|address| address.is_ipv4() == source.is_ipv4()) {
            return Ok((source, destination));
        }
    }
    let message = "source and destination have no address of the same family that goes with the service";
    let help = "take two IPv4 or two IPv6 addresses, `icmp` with IPv4, and `icmpv6` with IPv6";
    Err(("dst", Complaint::new(message, help)))
}

/// The VLAN where an end lives.
pub(super) fn home(end: &End<'_>, address: IpAddr, policy: &ValidPolicy) -> Option<VlanId> {
    match end {
        End::Device(device) => policy.zones[device.zone].vlan,
        End::Address(_) => zone_of(address, policy)?.vlan,
    }
}

/// The zone of an address by its longest prefix; `None` when it has none, or several in different address spaces.
fn zone_of(address: IpAddr, policy: &ValidPolicy) -> Option<&Zone> {
    let length = |zone: &Zone| {
        let subnets = zone.subnets.iter().filter(|subnet| subnet.contains(address));
        subnets.map(IpNetwork::prefix).max()
    };
    let found = || policy.zones.iter().filter_map(|zone| Some((length(zone)?, zone)));
    let (_, best) = found().max_by_key(|(length, _)| *length)?;
    found().all(|(_, zone)| zone.realm == best.realm).then_some(best)
}

pub(super) fn homeless(key: &'static str, address: IpAddr) -> Wrong {
    let message = if link_scoped::contains(address) {
        format!("{address} is an address of every VLAN")
    } else {
        format!("the policy does not say on which VLAN {address} lives")
    };
    (key, Complaint::new(message, "say which: `vlan`, for example 110"))
}

/// The hardware address of the device that has an address on a VLAN.
pub(super) fn mac_of(address: IpAddr, vlan: VlanId, policy: &ValidPolicy) -> Option<[u8; 6]> {
    let here = |device: &&Device| policy.zones[device.zone].vlan == Some(vlan);
    let declared = policy.devices.iter().filter(here);
    if let Some(device) = declared.into_iter().find(|device| device.addresses.contains(&address)) {
        return device.mac;
    }
    let mut leased = leases(policy).into_iter().filter(|(device, _)| here(device));
    leased.find(|(_, leased)| address == *leased)?.0.mac
}

/// Where frames to groups go on Ethernet (RFC 1112, RFC 2464).
pub(super) fn group_mac(address: IpAddr) -> Option<[u8; 6]> {
    match address {
        IpAddr::V4(address) if address.is_broadcast() => Some([0xff; 6]),
        IpAddr::V4(address) if address.is_multicast() => {
            let [_, b, c, d] = address.octets();
            Some([0x01, 0x00, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V6(address) if address.is_multicast() => {
            let [.., a, b, c, d] = address.octets();
            Some([0x33, 0x33, a, b, c, d])
        }
        _ => None,
    }
}
