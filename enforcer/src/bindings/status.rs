//! Devices and their addresses, as `enforcer devices` tells them.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::{Bindings, now};
use crate::state::rfc3339_seconds;
use crate::words;

/// A device of the policy in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceStatus {
    /// Its name.
    pub name: String,
    /// Its zone.
    pub zone: String,
    /// Its hardware address, `00:1e:3d:00:01:01`; `None` when the policy does not have it.
    pub mac: Option<String>,
    /// The addresses that the policy gives it.
    pub declared: Vec<IpAddr>,
    /// Whether it gets its IPv4 address by DHCP.
    pub dhcp: bool,
    /// What it has got.
    pub learnt: Option<LearntAddress>,
}

/// An address by DHCP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LearntAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// When the lease ends, RFC 3339; `None` for never.
    pub until: Option<String>,
}

impl Bindings {
    /// Who has which address by DHCP now: device, realm and address.
    pub fn leases(&self) -> Vec<(String, String, Ipv4Addr)> {
        let inner = self.inner();
        let entries = inner.book.iter();
        entries
            .map(|(device, held)| (device.to_owned(), held.realm.clone(), held.address))
            .collect()
    }

    /// The devices of the policy in force, by name.
    pub fn devices(&self) -> Vec<DeviceStatus> {
        let moment = now().ok();
        let inner = self.inner();
        let learnt = |name: &str| {
            let held = inner.book.get(name)?;
            let end = moment.and_then(|moment| moment.unix_seconds(held.expires));
            let end = end.and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
            Some(LearntAddress {
                address: held.address,
                until: end.map(rfc3339_seconds),
            })
        };
        let devices = inner.inventory.devices().iter();
        devices
            .map(|device| DeviceStatus {
                name: device.name.clone(),
                zone: device.zone.clone(),
                mac: device.mac.map(words::mac),
                declared: device.addresses.clone(),
                dhcp: device.dynamic,
                learnt: learnt(&device.name),
            })
            .collect()
    }
}
