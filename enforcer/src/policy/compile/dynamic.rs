//! Devices that get their addresses by DHCP: each has an endpoint of its own, whatever its address.

use ipnetwork::IpNetwork;

use super::{
    Lans,
    space::{Builder, Facts, SetId},
};
use crate::policy::{
    link_scoped,
    tables::DynamicDevice,
    valid::{Device, ValidPolicy},
};

/// The devices with leased addresses, by name, with their endpoints.
pub(super) fn devices(builder: &mut Builder<'_>, lans: &Lans, prefixes: &[IpNetwork]) -> Vec<DynamicDevice> {
    let policy: &ValidPolicy = builder.policy;
    let devices = policy.devices.iter().enumerate();
    let devices = devices.filter(|(_, device)| device.dynamic);
    let device = |(number, device): (usize, &Device)| {
        let zone = &policy.zones[device.zone];
        let subnets: Vec<_> = zone.subnets.iter().copied().filter(IpNetwork::is_ipv4).collect();
        let facts = Facts {
            zone: device.zone as u16,
            device: Some(number as u32),
            set: around(builder, &subnets, prefixes),
            lan: lans.of(zone.vlan),
            shared: false,
        };
        DynamicDevice {
            name: device.name.clone(),
            mac: device.mac.unwrap_or_default(),
            realm: zone.realm as u16,
            subnets,
            endpoint: builder.endpoint(facts, None),
        }
    };
    devices.map(device).collect()
}

/// The rule prefixes that hold every lease: those around all IPv4 subnets of the zone. Validation has seen to it that the
/// others hold none.
fn around(builder: &mut Builder<'_>, subnets: &[IpNetwork], prefixes: &[IpNetwork]) -> SetId {
    let covers = |prefix: &IpNetwork| {
        let inside = |subnet: &IpNetwork| prefix.contains(subnet.network()) && prefix.prefix() <= subnet.prefix();
        prefix.is_ipv4() && link_scoped::range_of(*prefix).is_none() && subnets.iter().all(inside)
    };
    let around = prefixes.iter().enumerate().filter(|(_, prefix)| covers(prefix));
    let mut around: Vec<_> = around
        .map(|(number, prefix)| (prefix.prefix(), number as u32))
        .collect();
    // All of them hold the same addresses, so each lies inside of the one before.
    around.sort_unstable();
    around.into_iter().fold(0, |set, (_, number)| builder.set(set, number))
}
