//! The plan of a lab, and the lab built to it.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};

use crate::packet::{Mac, mac_text};

use super::router::{Router, Routes};
use super::switch::{AccessPort, Switch};
use super::sys::open_tap;
use super::{Gateway, Namespace, PacketSocket};

/// A device: a namespace with one interface, `eth0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// What the lab calls it.
    pub name: String,
    /// The VLAN of its access port.
    pub vlan: u16,
    /// Its hardware address.
    pub mac: Mac,
    /// Its address.
    pub address: Ipv4Addr,
    /// Length of the prefix that its VLAN uses.
    pub prefix: u8,
    /// The gateway's address in its VLAN: the first one of the subnet, if the plan says nothing else.
    pub gateway: Ipv4Addr,
}

/// The devices of a lab to build.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    devices: Vec<Device>,
}

impl Plan {
    /// An empty plan.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a device. `address` is written with the prefix length, `10.10.110.21/24`.
    ///
    /// # Panics
    /// When the address is malformed: plans are literals.
    #[must_use]
    pub fn device(mut self, name: &str, vlan: u16, mac: Mac, address: &str) -> Self {
        let parsed = address
            .split_once('/')
            .and_then(|(address, prefix)| Some((address.parse().ok()?, prefix.parse().ok()?)));
        let (address, prefix) = parsed.unwrap_or_else(|| panic!("not an address with a prefix length: {address}"));
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        let gateway = Ipv4Addr::from((u32::from(address) & mask) + 1);
        self.devices.push(Device {
            name: name.to_owned(),
            vlan,
            mac,
            address,
            prefix,
            gateway,
        });
        self
    }

    /// Gives the device that was added last another gateway address than the first one of its subnet.
    ///
    /// # Panics
    /// When no device was added.
    #[must_use]
    pub fn behind(mut self, gateway: Ipv4Addr) -> Self {
        self.devices.last_mut().expect("device() comes before behind()").gateway = gateway;
        self
    }

    /// The devices.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// Builds it. When this returns, devices reach each other, if nothing stops them.
    pub fn build(self) -> Result<Lab> {
        Lab::build(self.devices)
    }
}

/// A running lab. All of it is gone when it is dropped.
#[derive(Debug)]
pub struct Lab {
    // The threads stop first.
    #[expect(dead_code, reason = "held for its drop")]
    router: Router,
    #[expect(dead_code, reason = "held for its drop")]
    switch: Switch,
    gateway: Gateway,
    devices: Vec<(Device, Namespace)>,
}

impl Lab {
    /// The gateway's side of the trunk: the interface for the enforcer.
    pub const TRUNK: &'static str = "trunk";

    fn build(plan: Vec<Device>) -> Result<Self> {
        let gateway = Gateway::build(&[Self::TRUNK])?;
        let mut ports = Vec::new();
        let mut devices = Vec::new();
        let mut known = Routes::default();
        for device in plan {
            let (namespace, port) = plug_in(&device).with_context(|| format!("device {}", device.name))?;
            let own = known.own.entry(device.vlan).or_default();
            if !own.contains(&device.gateway) {
                own.push(device.gateway);
            }
            known.hosts.insert(device.address, (device.vlan, device.mac));
            ports.push(port);
            devices.push((device, namespace));
        }
        let switch = Switch::start(ports, gateway.in_front_of(Self::TRUNK)?)?;
        let router = Router::start(gateway.behind(Self::TRUNK)?, known)?;
        Ok(Self {
            router,
            switch,
            gateway,
            devices,
        })
    }

    /// The namespace with the trunk, for the enforcer.
    pub fn gateway(&self) -> &Namespace {
        self.gateway.inside()
    }

    /// The namespace of a device.
    ///
    /// # Panics
    /// When the plan has no such device.
    pub fn inside(&self, name: &str) -> &Namespace {
        &self.find(name).1
    }

    /// A device of the plan.
    ///
    /// # Panics
    /// When the plan has no such device.
    pub fn device(&self, name: &str) -> &Device {
        &self.find(name).0
    }

    fn find(&self, name: &str) -> &(Device, Namespace) {
        let found = self.devices.iter().find(|(device, _)| device.name == name);
        found.unwrap_or_else(|| panic!("the lab has no device {name}"))
    }

    /// A socket that sends frames, tags included, up the trunk towards the gateway, and receives what the gateway
    /// sends.
    pub fn in_front_of_the_gateway(&self) -> Result<PacketSocket> {
        self.gateway.in_front_of(Self::TRUNK)
    }

    /// A socket that receives what the enforcer passes.
    pub fn behind_the_gateway(&self) -> Result<PacketSocket> {
        self.gateway.behind(Self::TRUNK)
    }
}

/// A device's namespace, and its port at the switch.
fn plug_in(device: &Device) -> Result<(Namespace, AccessPort)> {
    let namespace = Namespace::new(&device.name)?;
    let cable = namespace
        .enter(|| open_tap("eth0"))
        .context("cannot make a TAP interface")?;
    namespace.ip(&format!(
        "link set eth0 address {}\naddr add {}/{} dev eth0\nlink set eth0 up\nroute add default via {}",
        mac_text(device.mac),
        device.address,
        device.prefix,
        device.gateway,
    ))?;
    Ok((
        namespace,
        AccessPort {
            cable,
            vlan: device.vlan,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_has_the_first_address_of_the_subnet() {
        let plan =
            Plan::new()
                .device("pump", 110, [2; 6], "10.10.110.21/24")
                .device("guest", 190, [3; 6], "10.90.7.9/16");
        let gateways: Vec<String> = plan.devices.iter().map(|device| device.gateway.to_string()).collect();
        assert_eq!(gateways, ["10.10.110.1", "10.90.0.1"]);
    }
}
