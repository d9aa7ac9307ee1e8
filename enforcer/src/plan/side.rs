//! One of the two policies: its tables, and an engine that decides examples under it.

use std::collections::HashMap;
use std::net::IpAddr;

use enforcer_common::abi::{BindingKey, Endpoint, Lan, NO_LAN, PROTOCOL_PORTS, Rule, UNKNOWN_ENDPOINT, endpoint_flags};
use enforcer_common::classify;
use enforcer_common::pipeline::Decision;
use enforcer_common::tables::Tables as _;

use crate::engine::Engine;
use crate::kernel::PortSetup;
use crate::kernel::ports;
use crate::offline::build;
use crate::policy::probe::Probe;
use crate::policy::valid::{ValidPolicy, VlanId};
use crate::policy::{TableSet, tables::EndpointName};
pub(super) use crate::words::of_address as words;

/// The interface by which stations send.
const STATIONS: u32 = 1;
/// The interface by which senders come that live on no VLAN: the gateway, and strangers.
const UPLINK: u32 = 2;

/// A policy, its tables and its engine.
pub(super) struct Side<'p> {
    pub(super) policy: &'p ValidPolicy,
    pub(super) engine: Engine,
    lans: HashMap<VlanId, u16>,
    /// By name: a VLAN of the address space.
    realms: HashMap<&'p str, u16>,
}

impl<'p> Side<'p> {
    pub(super) fn new(policy: &'p ValidPolicy, tables: TableSet) -> Self {
        Self::behind(policy, tables, false)
    }

    /// The same, where the ports are in monitor mode or not.
    pub(super) fn behind(policy: &'p ValidPolicy, tables: TableSet, monitor: bool) -> Self {
        let port = |name: &str, ifindex| PortSetup {
            monitor,
            ..PortSetup::new(name, ifindex)
        };
        let uplink = PortSetup {
            uplink: true,
            ..port("uplink", UPLINK)
        };
        let ports = [port("stations", STATIONS).entry(0), uplink.entry(1)];
        let numbered = || tables.names.lans.iter().zip(0..).skip(1);
        let lans = numbered().filter_map(|(name, lan)| Some((name.vlan?, lan))).collect();
        let realm = |lan: u16| policy.realms[usize::from(tables.lans[usize::from(lan)].realm)].as_str();
        let realms = numbered().map(|(_, lan)| (realm(lan), lan)).collect();
        let mut engine = Engine::new(tables, ports::table(&ports).unwrap_or_default());
        // Every example is decided alone.
        engine.track_flows(false);
        Self {
            policy,
            engine,
            lans,
            realms,
        }
    }

    pub(super) fn tables(&self) -> &TableSet {
        self.engine.tables()
    }

    /// The VLAN of these tags.
    pub(super) fn lan_of(&self, vlan: VlanId) -> Option<u16> {
        self.lans.get(&vlan).copied()
    }

    /// A VLAN whose address space has this name.
    pub(super) fn lan_in(&self, realm: &str) -> Option<u16> {
        self.realms.get(realm).copied()
    }

    pub(super) fn lan(&self, lan: u16) -> &Lan {
        &self.tables().lans[usize::from(lan)]
    }

    /// The tags of a VLAN.
    pub(super) fn tags(&self, lan: u16) -> Option<VlanId> {
        self.tables().names.lans[usize::from(lan)].vlan
    }

    pub(super) fn realm_of(&self, lan: u16) -> &'p str {
        &self.policy.realms[usize::from(self.lan(lan).realm)]
    }

    pub(super) fn endpoint(&self, number: u32) -> &Endpoint {
        &self.tables().endpoints[number as usize]
    }

    pub(super) fn name(&self, number: u32) -> &EndpointName {
        &self.tables().names.endpoints[number as usize]
    }

    /// The endpoint behind an address, seen from a VLAN.
    pub(super) fn look_up(&self, lan: u16, address: IpAddr) -> u32 {
        let (family, words) = words(address);
        let lan = self.lan(lan);
        let found = classify::endpoint_id(&self.engine, lan, family, &words).unwrap_or(UNKNOWN_ENDPOINT);
        if self.endpoint(found).flags & endpoint_flags::DYNAMIC == 0 {
            return found;
        }
        match self.engine.bound(lan.realm, family, &words, 0) {
            UNKNOWN_ENDPOINT => found,
            bound => bound,
        }
    }

    /// Gives an address to the device of a name, where that gets its address by DHCP and may have this one.
    pub(super) fn lease(&mut self, device: &str, realm: &str, address: IpAddr) {
        let devices = &self.engine.tables().dynamic;
        let fits = |number: &usize| {
            let device = &devices[*number];
            self.policy.realms[usize::from(device.realm)] == realm
                && device.subnets.iter().any(|subnet| subnet.contains(address))
        };
        let number = devices.binary_search_by(|known| known.name.as_str().cmp(device));
        let Some(number) = number.ok().filter(fits) else {
            return;
        };
        let (family, address) = words(address);
        let key = BindingKey {
            address,
            realm: devices[number].realm,
            family,
            reserved: 0,
        };
        self.engine.bind(key, number as u32, u64::MAX);
    }

    /// The block that has the profiles of a sender's and 256 receivers' identities.
    pub(super) fn profile_block(&self, source: u32, destination: u32) -> u32 {
        let tables = self.tables();
        tables.rows[(source * tables.row_blocks + (destination >> 8)) as usize]
    }

    pub(super) fn profile(&self, source: u32, destination: u32) -> u32 {
        let block = self.profile_block(source, destination);
        self.tables().profiles[block as usize].0[(destination & 0xff) as usize]
    }

    /// The record that decides about a profile and a service class.
    pub(super) fn record(&self, profile: u32, class: u32) -> u32 {
        let tables = self.tables();
        let column = tables.columns[(profile * tables.column_blocks + (class >> 8)) as usize];
        tables.cells[column as usize].0[(class & 0xff) as usize]
    }

    pub(super) fn rule(&self, record: u32) -> &Rule {
        &self.tables().rules[record as usize]
    }

    /// The class of a service; `port` matters only where a rule names ports of the protocol.
    pub(super) fn class(&self, protocol: u8, port: u16) -> u32 {
        let tables = self.tables();
        let entry = tables.protocols[usize::from(protocol)];
        if entry & PROTOCOL_PORTS == 0 {
            return entry;
        }
        let block = (entry & !PROTOCOL_PORTS) + u32::from(port >> 8);
        u32::from(tables.services[block as usize].0[usize::from(port & 0xff)])
    }

    pub(super) fn has_ports(&self, protocol: u8) -> bool {
        self.tables().protocols[usize::from(protocol)] & PROTOCOL_PORTS != 0
    }

    /// What becomes of a frame that comes alone.
    pub(super) fn decide(&mut self, probe: &Probe, homeless: bool, now: u64) -> Decision {
        self.engine.forget();
        let interface = if homeless { UPLINK } else { STATIONS };
        self.engine.decide(&build::octets(probe), interface, now).0
    }

    /// Whether an address lives on a VLAN.
    pub(super) fn is_home(&self, endpoint: u32) -> bool {
        self.endpoint(endpoint).lan != NO_LAN
    }
}
