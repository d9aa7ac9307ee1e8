//! The devices of a policy, and which of them may get which address by DHCP.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;

use super::Ignored;
use crate::policy::{TableSet, ValidPolicy};

/// A device of the policy.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// The name of its zone.
    pub zone: String,
    /// Its hardware address, if the policy has it.
    pub mac: Option<[u8; 6]>,
    /// The addresses that the policy gives it.
    pub addresses: Vec<IpAddr>,
    /// It gets its IPv4 address by DHCP.
    pub dynamic: bool,
    /// The name of its address space.
    pub realm: String,
}

/// The devices of a policy.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// By name.
    devices: Vec<Device>,
    /// Those with DHCP by hardware address: one in each realm at most.
    macs: HashMap<[u8; 6], Vec<usize>>,
    /// Realm, subnet and zone.
    subnets: Vec<(String, IpNetwork, String)>,
    /// Addresses that are a declared device's, or the gateway's, by realm.
    declared: HashSet<(String, IpAddr)>,
}

impl Inventory {
    /// The devices of a policy and of the tables that it compiled to.
    pub fn new(policy: &ValidPolicy, tables: &TableSet) -> Self {
        let dynamic: HashMap<&str, [u8; 6]> = tables.dynamic.iter().map(|d| (d.name.as_str(), d.mac)).collect();
        let mut inventory = Self::default();
        for zone in &policy.zones {
            let realm = &policy.realms[zone.realm];
            let subnets = zone.subnets.iter();
            inventory
                .subnets
                .extend(subnets.map(|subnet| (realm.clone(), *subnet, zone.name.clone())));
            let gateways = zone.gateways.iter();
            inventory
                .declared
                .extend(gateways.map(|address| (realm.clone(), *address)));
        }
        for device in &policy.devices {
            let zone = &policy.zones[device.zone];
            let device = Device {
                name: device.name.clone(),
                zone: zone.name.clone(),
                mac: device.mac,
                addresses: device.addresses.clone(),
                dynamic: dynamic.contains_key(device.name.as_str()),
                realm: policy.realms[zone.realm].clone(),
            };
            inventory.add(device);
        }
        inventory
    }

    fn add(&mut self, device: Device) {
        let addresses = device.addresses.iter();
        self.declared
            .extend(addresses.map(|address| (device.realm.clone(), *address)));
        if let (true, Some(mac)) = (device.dynamic, device.mac) {
            self.macs.entry(mac).or_default().push(self.devices.len());
        }
        self.devices.push(device);
    }

    /// All devices, by name.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// The device that an address is for which a server gives to a hardware address. `realm` is that of the VLAN where the
    /// message was seen, which need not be the device's: a relay stands in between.
    ///
    /// # Errors
    /// Why it is nobody's.
    pub fn owner(&self, mac: [u8; 6], address: Ipv4Addr, realm: Option<&str>) -> Result<&Device, Ignored> {
        let known = self.macs.get(&mac).ok_or(Ignored::UnknownDevice)?;
        let mut reason = Ignored::OutsideZone;
        let mut fitting = Vec::new();
        for device in known.iter().map(|&number| &self.devices[number]) {
            match self.check(device, address) {
                Ok(()) => fitting.push(device),
                Err(why) => reason = why,
            }
        }
        match fitting[..] {
            [] => Err(reason),
            [device] => Ok(device),
            _ => {
                let meant = fitting.into_iter().find(|device| Some(device.realm.as_str()) == realm);
                meant.ok_or(Ignored::AmbiguousDevice)
            }
        }
    }

    /// Whether the policy still lets a device have an address.
    pub fn permits(&self, device: &str, realm: &str, address: Ipv4Addr) -> bool {
        let found = self.devices.binary_search_by(|known| known.name.as_str().cmp(device));
        found.is_ok_and(|number| {
            let device = &self.devices[number];
            device.dynamic && device.realm == realm && self.check(device, address).is_ok()
        })
    }

    fn check(&self, device: &Device, address: Ipv4Addr) -> Result<(), Ignored> {
        if self.declared.contains(&(device.realm.clone(), address.into())) {
            return Err(Ignored::DeclaredAddress);
        }
        match self.zone(&device.realm, address) {
            Some(zone) if zone == device.zone => Ok(()),
            _ => Err(Ignored::OutsideZone),
        }
    }

    /// The zone of an address: that with the longest prefix around it.
    fn zone(&self, realm: &str, address: Ipv4Addr) -> Option<&str> {
        let around = self.subnets.iter();
        let around = around.filter(|(of, subnet, _)| of == realm && subnet.contains(address.into()));
        around
            .max_by_key(|(_, subnet, _)| subnet.prefix())
            .map(|(_, _, zone)| zone.as_str())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
    pub(crate) const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];

    /// Pumps in 10.0.0.0/16 with devices `a` and `b` by DHCP and one declared; monitors in 10.0.9.0/24; `tenant` has the
    /// pumps' addresses once more, and a device with the hardware address of `a`.
    pub(crate) fn inventory() -> Inventory {
        let subnet = |realm: &str, subnet: &str, zone: &str| (realm.into(), subnet.parse().unwrap(), zone.into());
        let mut inventory = Inventory {
            subnets: vec![
                subnet("default", "10.0.0.0/16", "pumps"),
                subnet("default", "10.0.9.0/24", "monitors"),
                subnet("tenant", "10.0.0.0/24", "theirs"),
            ],
            declared: HashSet::from([("default".into(), "10.0.0.1".parse().unwrap())]),
            ..Inventory::default()
        };
        for (name, zone, realm, mac, address) in [
            ("a", "pumps", "default", A, None),
            ("b", "pumps", "default", B, None),
            ("c", "pumps", "default", [2; 6], Some("10.0.0.21")),
            ("d", "theirs", "tenant", A, None),
        ] {
            inventory.add(Device {
                name: name.into(),
                zone: zone.into(),
                mac: Some(mac),
                addresses: address.into_iter().map(|address| address.parse().unwrap()).collect(),
                dynamic: address.is_none(),
                realm: realm.into(),
            });
        }
        inventory
    }

    fn owner(mac: [u8; 6], address: &str, realm: Option<&str>) -> Result<String, Ignored> {
        let inventory = inventory();
        let owner = inventory.owner(mac, address.parse().unwrap(), realm);
        owner.map(|device| device.name.clone())
    }

    #[test]
    fn a_lease_is_for_the_device_with_the_hardware_address_in_its_zone() {
        assert_eq!(owner(B, "10.0.0.30", None), Ok("b".into()));
        assert_eq!(owner([7; 6], "10.0.0.30", None), Err(Ignored::UnknownDevice));
        assert_eq!(owner(B, "10.1.0.30", None), Err(Ignored::OutsideZone));
        // Inside of the pumps' subnet, and of a smaller one that is the monitors'.
        assert_eq!(owner(B, "10.0.9.30", None), Err(Ignored::OutsideZone));
        // A device whose address is declared learns none.
        assert_eq!(owner([2; 6], "10.0.0.30", None), Err(Ignored::UnknownDevice));
    }

    #[test]
    fn a_declared_address_is_nobody_elses() {
        assert_eq!(owner(B, "10.0.0.21", None), Err(Ignored::DeclaredAddress));
        assert_eq!(owner(B, "10.0.0.1", None), Err(Ignored::DeclaredAddress));
        assert_eq!(owner(A, "10.0.0.21", None), Ok("d".into()), "declared in another realm");
    }

    #[test]
    fn a_hardware_address_in_two_realms_is_told_apart_by_address_or_by_the_vlan() {
        assert_eq!(owner(A, "10.0.1.30", Some("elsewhere")), Ok("a".into()));
        assert_eq!(owner(A, "10.0.0.30", Some("default")), Ok("a".into()));
        assert_eq!(owner(A, "10.0.0.30", Some("tenant")), Ok("d".into()));
        for realm in [Some("elsewhere"), None] {
            assert_eq!(owner(A, "10.0.0.30", realm), Err(Ignored::AmbiguousDevice));
        }
    }

    #[test]
    fn what_a_policy_permits_no_more_is_told() {
        let inventory = inventory();
        let permits = |device, realm, address: &str| inventory.permits(device, realm, address.parse().unwrap());
        assert!(permits("a", "default", "10.0.0.30"));
        assert!(!permits("a", "tenant", "10.0.0.30"));
        assert!(!permits("a", "default", "10.0.0.21"));
        assert!(!permits("c", "default", "10.0.0.30"));
        assert!(!permits("gone", "default", "10.0.0.30"));
    }
}
