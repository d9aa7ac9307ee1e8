//! Where frames come from and go to.

use std::net::IpAddr;

use enforcer::kernel::PortSetup;
use enforcer::policy::valid::{Guards, Limit, Mode, SELF, UNKNOWN, ValidPolicy, VlanId};
use enforcer_common::verdict::DropReason;
use ipnetwork::IpNetwork;

use super::{Beside, Ip};
use crate::packet::Mac;

/// A VLAN that zones declare.
pub struct Place<'p> {
    policy: &'p ValidPolicy,
    beside: &'p Beside,
    now: u64,
    /// By the side of a pair that leads to the routers: senders of every VLAN come by it.
    uplink: bool,
    vlan: VlanId,
    /// Numbers of the zones that live there, at least one.
    zones: Vec<usize>,
}

/// Who has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resident {
    pub(super) address: IpAddr,
    pub(super) zone: usize,
    pub(super) device: Option<usize>,
    /// Where it lives; nowhere, for unknown addresses and the gateway's own.
    pub(super) vlan: Option<VlanId>,
}

impl<'p> Place<'p> {
    /// The VLAN of a frame with these tags (VLAN id in the low twelve bits), if the port lets it in and a zone
    /// declares it.
    pub(super) fn of(
        policy: &'p ValidPolicy,
        beside: &'p Beside,
        port: &PortSetup,
        tags: &[u16],
        now: u64,
    ) -> Result<Self, DropReason> {
        let outer = outer_vlan(port, tags)?;
        let inner = tags.get(1).map(|tag| tag & 0xfff);
        let vlan = VlanId { outer, inner };
        let zones = policy.zones.iter().enumerate();
        let zones = zones.filter(|(_, zone)| zone.vlan == Some(vlan));
        let zones: Vec<_> = zones.map(|(number, _)| number).collect();
        if zones.is_empty() {
            return Err(DropReason::VlanUndeclared);
        }
        Ok(Self {
            policy,
            beside,
            now,
            uplink: port.uplink,
            vlan,
            zones,
        })
    }

    /// The only zone of the VLAN, or nobody's.
    pub(super) fn zone(&self) -> usize {
        match self.zones[..] {
            [zone] => zone,
            _ => UNKNOWN,
        }
    }

    /// Whether any zone of the VLAN is in enforce mode.
    pub(super) fn enforces(&self) -> bool {
        let mut modes = self.zones.iter().map(|&zone| self.policy.zones[zone].mode);
        modes.any(|mode| mode == Some(Mode::Enforce))
    }

    /// Where the addresses of a packet mean what they mean.
    pub(super) fn space(&self, ip: &Ip) -> Space {
        let here = self.only_here(ip.source).or(self.only_here(ip.destination));
        (self.realm(), here)
    }

    /// The VLAN, for an address that every VLAN has.
    pub(super) fn only_here(&self, address: IpAddr) -> Option<VlanId> {
        let only_here = match address {
            IpAddr::V4(four) => four.is_unspecified() || four.is_link_local(),
            IpAddr::V6(six) => six.is_unspecified() || six.is_unicast_link_local(),
        };
        only_here.then_some(self.vlan)
    }

    /// The tags.
    pub(super) fn vlan(&self) -> VlanId {
        self.vlan
    }

    /// The limit of frames to groups, which its zones have in common.
    pub(super) fn broadcast(&self) -> Limit {
        self.policy.zones[self.zones[0]].broadcast
    }

    /// The number of the address space.
    pub(super) fn realm(&self) -> usize {
        self.policy.zones[self.zones[0]].realm
    }

    /// Who has an address, as seen from here.
    pub(super) fn resident(&self, address: IpAddr) -> Resident {
        let policy = self.policy;
        let resident = |zone, device, vlan| Resident {
            address,
            zone,
            device,
            vlan,
        };
        if is_link_scoped(address) {
            let mut gateways = self.zones.iter().flat_map(|&zone| &policy.zones[zone].gateways);
            return if gateways.any(|&gateway| gateway == address) {
                resident(SELF, None, None)
            } else {
                resident(self.zone(), None, Some(self.vlan))
            };
        }
        let realm = self.realm();
        let devices = policy.devices.iter().enumerate();
        let mut devices = devices.filter(|(_, device)| policy.zones[device.zone].realm == realm);
        if let Some((number, device)) = devices.find(|(_, device)| device.addresses.contains(&address)) {
            return resident(device.zone, Some(number), policy.zones[device.zone].vlan);
        }
        let mut zones = policy.zones.iter().filter(|zone| zone.realm == realm);
        if zones.any(|zone| zone.gateways.contains(&address)) {
            return resident(SELF, None, None);
        }
        if let Some(number) = self.beside.holder(realm, address, self.now) {
            let zone = policy.devices[number].zone;
            return resident(zone, Some(number), policy.zones[zone].vlan);
        }
        match owner(policy, realm, address) {
            Some(zone) => resident(zone, None, policy.zones[zone].vlan),
            None => resident(UNKNOWN, None, None),
        }
    }

    /// Whether an address lives here, or a router may bring frames from it.
    pub(super) fn is_home_of(&self, address: IpAddr) -> bool {
        self.uplink || self.resident(address).vlan == Some(self.vlan)
    }

    /// Whether a router stands before an address: then its frames have the router's hardware address.
    pub(super) fn is_behind_router(&self, address: IpAddr) -> bool {
        self.uplink && self.resident(address).vlan != Some(self.vlan)
    }

    /// Whether errors about what `from` has sent to an address come from here. The way to its gateway is its own VLAN.
    pub(super) fn is_way_to(&self, address: IpAddr, from: IpAddr) -> bool {
        let resident = self.resident(address);
        let own = || self.resident(from).vlan == Some(self.vlan);
        let is_way = match resident.vlan {
            _ if resident.zone == SELF => own(),
            Some(vlan) => vlan == self.vlan,
            None => true,
        };
        self.uplink || is_way
    }

    /// Whether what is sent to an address stays on this VLAN, or ends at the gateway.
    pub(super) fn is_link_of(&self, address: IpAddr) -> bool {
        let resident = self.resident(address);
        resident.vlan == Some(self.vlan) || resident.zone == SELF
    }

    /// The hardware address that the device of an address declares.
    fn declared_mac(&self, address: IpAddr) -> Option<Mac> {
        let device = self.resident(address).device?;
        self.policy.devices[device].mac
    }

    pub(super) fn declares_mac(&self, address: IpAddr) -> bool {
        self.declared_mac(address).is_some()
    }

    pub(super) fn allows_mac(&self, address: IpAddr, mac: Mac) -> bool {
        self.declared_mac(address).is_none_or(|declared| declared == mac)
    }

    /// The guards of the VLAN, which its zones have in common.
    pub(super) fn guards(&self) -> Guards {
        self.policy.zones[self.zones[0]].guards
    }

    /// Whether a hardware address is that of a router here.
    pub(super) fn is_router(&self, mac: Mac) -> bool {
        self.policy.zones[self.zones[0]].routers.contains(&mac)
    }

    /// Whether an address is that of a device with the role.
    pub(super) fn is_dhcp_server(&self, address: IpAddr) -> bool {
        let device = self.resident(address).device;
        device.is_some_and(|device| self.policy.devices[device].dhcp_server)
    }
}

/// The VLAN of the outer tag, or of the port, if the port lets it in.
pub(super) fn outer_vlan(port: &PortSetup, tags: &[u16]) -> Result<u16, DropReason> {
    // VLAN 0 in a tag is a priority without a VLAN.
    let outer = match tags.first().map(|tag| tag & 0xfff) {
        Some(id) if id != 0 => id,
        _ => port.native_vlan,
    };
    if port.vlans.contains(outer) {
        Ok(outer)
    } else {
        Err(DropReason::VlanNotAllowed)
    }
}

/// The zone with the longest subnet around an address.
pub fn owner(policy: &ValidPolicy, realm: usize, address: IpAddr) -> Option<usize> {
    let mut best: Option<(u8, usize)> = None;
    for (number, zone) in policy.zones.iter().enumerate() {
        if zone.realm != realm {
            continue;
        }
        for subnet in zone.subnets.iter().filter(|subnet| holds(**subnet, address)) {
            if best.is_none_or(|(length, _)| subnet.prefix() > length) {
                best = Some((subnet.prefix(), number));
            }
        }
    }
    best.map(|(_, zone)| zone)
}

/// Whether a prefix holds an address, bit by bit.
pub(super) fn holds(prefix: IpNetwork, address: IpAddr) -> bool {
    let (network, address, width) = match (prefix.ip(), address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (u128::from(network.to_bits()), u128::from(address.to_bits()), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits(), address.to_bits(), 128),
        _ => return false,
    };
    let length = u32::from(prefix.prefix());
    (0..length).all(|bit| (network ^ address) >> (width - 1 - bit) & 1 == 0)
}

/// An address space; for addresses that every VLAN has, the VLAN's part of it.
pub(super) type Space = (usize, Option<VlanId>);

/// An address that means the same on every VLAN: unspecified, link-local, multicast, broadcast.
pub(super) fn is_link_scoped(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => four.is_unspecified() || four.is_link_local() || four.is_multicast() || four.is_broadcast(),
        IpAddr::V6(six) => six.is_unspecified() || six.is_unicast_link_local() || six.is_multicast(),
    }
}

/// To several receivers at once.
pub(super) fn is_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => four.is_multicast() || four.is_broadcast(),
        IpAddr::V6(six) => six.is_multicast(),
    }
}
