//! What a policy says of what was seen.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::SystemTime;

use enforcer_common::abi::{DEFAULT_RULE, Endpoint, Lan, endpoint_flags, rule_flags};
use enforcer_common::classify::{self, Service};
use ipnetwork::IpNetwork;

use super::store::{End, Key};
use crate::diagnostics::Diagnostics;
use crate::engine::Engine;
use crate::kernel::PortSetup;
use crate::policy::valid::{Never, SELF, Selector, UNKNOWN, ValidPolicy};
use crate::policy::{self, link_scoped, nanos};
use crate::words;

/// A policy, and its tables to look things up in.
pub(super) struct Judge<'p> {
    policy: &'p ValidPolicy,
    engine: Engine,
    /// VLANs as policies write them.
    lans: HashMap<String, Lan>,
    now: u64,
}

/// An end of a connection as the policy knows it.
#[derive(Clone, Debug)]
pub(super) struct Place<'p> {
    endpoint: Endpoint,
    /// Number of its zone.
    zone: usize,
    /// The device.
    pub(super) device: Option<&'p str>,
    /// Its address; `None` for a device that gets one by DHCP.
    pub(super) address: Option<IpAddr>,
    /// Number of its address space.
    realm: u16,
}

/// What the policy says of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// A rule permits it.
    Permitted,
    /// No rule says anything.
    Unsaid,
    /// A rule of this name and place denies it.
    Denied(String),
}

/// How a rule names an end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// A zone or a device.
    Name(String),
    /// An address, which is nobody's else.
    Address(IpAddr),
}

/// Why no rule can name an end without more in the policy.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Nameless {
    /// No zone declares it.
    Unknown,
    /// An address of a zone with leases: tomorrow it is somebody else's.
    Leased,
    /// Several address spaces have it.
    Ambiguous,
}

impl<'p> Judge<'p> {
    /// Compiles a policy, as it is now.
    pub(super) fn new(policy: &'p ValidPolicy) -> Result<Self, Diagnostics> {
        let now = SystemTime::now();
        let tables = policy::compile_at(policy, now)?;
        let vlans = tables.names.lans.iter().map(|lan| lan.vlan);
        let lans = vlans.zip(&tables.lans);
        Ok(Self {
            policy,
            lans: lans.filter_map(|(vlan, lan)| Some((vlan?.to_string(), *lan))).collect(),
            engine: Engine::new(tables, vec![PortSetup::new("learn", 0).entry(0)]),
            now: nanos(now),
        })
    }

    /// Where the ends of an observation are.
    ///
    /// # Errors
    /// What the policy does not have.
    pub(super) fn places(&self, key: &Key) -> Result<[Place<'p>; 2], String> {
        Ok([self.place(key, &key.from)?, self.place(key, &key.to)?])
    }

    fn place(&self, key: &Key, end: &End) -> Result<Place<'p>, String> {
        let lan = match &key.link {
            Some(vlan) => *self.lans.get(vlan).ok_or_else(|| format!("VLAN {vlan}"))?,
            None => self
                .lan_in(&key.realm)
                .ok_or_else(|| format!("realm `{}`", key.realm))?,
        };
        match end {
            End::Address(address) => Ok(self.at(&lan, *address)),
            End::Device(name) => self.leased(name).ok_or_else(|| format!("device `{name}`")),
        }
    }

    /// A VLAN of an address space.
    fn lan_in(&self, realm: &str) -> Option<Lan> {
        let realm = self.policy.realms.iter().position(|known| known == realm)?;
        let mut lans = self.engine.tables().lans.iter().skip(1);
        lans.find(|lan| usize::from(lan.realm) == realm).copied()
    }

    fn at(&self, lan: &Lan, address: IpAddr) -> Place<'p> {
        let tables = self.engine.tables();
        let (family, words) = words::of_address(address);
        let number = classify::endpoint_id(&self.engine, lan, family, &words).unwrap_or_default() as usize;
        let name = &tables.names.endpoints[number];
        let device = name.device.as_deref().and_then(|device| self.device(device));
        Place {
            endpoint: tables.endpoints[number],
            zone: usize::from(name.zone),
            device: device.map(|device| self.policy.devices[device].name.as_str()),
            address: Some(address),
            realm: lan.realm,
        }
    }

    /// A device that gets its address by DHCP; or one that got it so, and has an address of its own now.
    fn leased(&self, name: &str) -> Option<Place<'p>> {
        let device = &self.policy.devices[self.device(name)?];
        let tables = self.engine.tables();
        let realm = self.policy.zones[device.zone].realm;
        if let Some(dynamic) = tables.dynamic_device(name) {
            return Some(Place {
                endpoint: tables.endpoints[dynamic.endpoint as usize],
                zone: device.zone,
                device: Some(&device.name),
                address: None,
                realm: realm as u16,
            });
        }
        let lan = self.lan_in(&self.policy.realms[realm])?;
        Some(self.at(&lan, *device.addresses.first()?))
    }

    fn device(&self, name: &str) -> Option<usize> {
        let devices = &self.policy.devices;
        devices.binary_search_by(|known| known.name.as_str().cmp(name)).ok()
    }

    /// What the rules say of a connection, whatever the modes.
    pub(super) fn ruling(&self, [from, to]: &[Place<'_>; 2], protocol: u8, port: u16) -> Ruling {
        let service = Service { protocol, port };
        let found = classify::rule(&self.engine, &from.endpoint, &to.endpoint, service, self.now);
        match found {
            Some((_, rule)) if rule.flags & rule_flags::ALLOW != 0 => Ruling::Permitted,
            Some((DEFAULT_RULE, _)) | None => Ruling::Unsaid,
            Some((number, _)) => {
                let rule = &self.engine.tables().names.rules[number as usize];
                Ruling::Denied(format!("{} ({})", rule.name, rule.place))
            }
        }
    }

    /// The promise that no rule may permit this connection.
    pub(super) fn promise(&self, [from, to]: &[Place<'_>; 2], protocol: u8, port: u16) -> Option<&'p str> {
        let holds = |never: &&Never| {
            never.from.iter().any(|one| self.is_in(from, *one))
                && never.to.iter().any(|one| self.is_in(to, *one))
                && never.services.iter().any(|one| one.covers(protocol, port))
        };
        self.policy.never.iter().find(holds).map(|never| never.name.as_str())
    }

    fn is_in(&self, place: &Place<'_>, selector: Selector) -> bool {
        match selector {
            Selector::Any => true,
            Selector::Zone(zone) => place.zone == zone,
            Selector::Device(device) => place.device == Some(self.policy.devices[device].name.as_str()),
            Selector::Prefix(prefix) => match place.address {
                Some(address) => link_scoped::prefix_matches(prefix, address),
                // A prefix holds all that such a device may be leased, or nothing.
                None => self
                    .first_subnet(place.zone)
                    .is_some_and(|address| prefix.contains(address)),
            },
        }
    }

    fn first_subnet(&self, zone: usize) -> Option<IpAddr> {
        let mut subnets = self.policy.zones[zone].subnets.iter();
        subnets.find(|subnet| subnet.is_ipv4()).map(IpNetwork::network)
    }

    /// The name of the zone of an end.
    pub(super) fn zone(&self, place: &Place<'_>) -> &'p str {
        &self.policy.zones[place.zone].name
    }

    /// How a rule names both ends, so that it holds for nobody else; those in `wider` by their zones.
    ///
    /// A source address that every VLAN has is named by the zone of its VLAN, because it is whoever uses it there.
    ///
    /// # Errors
    /// Which end has no name, and why.
    pub(super) fn subjects(
        &self,
        [from, to]: &[Place<'_>; 2],
        wider: [bool; 2],
    ) -> Result<[Subject; 2], (usize, Nameless)> {
        let by_zone = |place: &Place<'_>| {
            let name = || Subject::Name(self.zone(place).to_owned());
            (place.zone != UNKNOWN && place.zone != SELF).then(name)
        };
        let source = if from.is_link_scoped() {
            by_zone(from).ok_or(Nameless::Unknown)
        } else {
            wider[0]
                .then(|| by_zone(from))
                .flatten()
                .map_or_else(|| Self::subject(from), Ok)
        };
        let source = source.map_err(|why| (0, why))?;
        let zone = by_zone(to).filter(|_| wider[1] && !to.is_link_scoped());
        let destination = zone.map_or_else(|| Self::subject(to), Ok).map_err(|why| (1, why))?;
        if self.is_pinned(&source, from) || self.is_pinned(&destination, to) {
            Ok([source, destination])
        } else {
            Err((0, Nameless::Ambiguous))
        }
    }

    fn subject(place: &Place<'_>) -> Result<Subject, Nameless> {
        if let Some(device) = place.device {
            return Ok(Subject::Name(device.to_owned()));
        }
        let address = place.address.ok_or(Nameless::Unknown)?;
        if link_scoped::contains(address) || place.zone == SELF {
            return Ok(Subject::Address(address));
        }
        if place.zone == UNKNOWN {
            return Err(Nameless::Unknown);
        }
        if place.endpoint.flags & endpoint_flags::DYNAMIC != 0 {
            return Err(Nameless::Leased);
        }
        Ok(Subject::Address(address))
    }

    /// Whether what names an end names it in one address space only. Traffic does not cross from one to another, so one end is
    /// enough.
    fn is_pinned(&self, subject: &Subject, place: &Place<'_>) -> bool {
        let Subject::Address(address) = subject else {
            return true;
        };
        if self.policy.realms.len() == 1 {
            return true;
        }
        let others = (0_u16..).zip(&self.policy.realms);
        let mut others = others.filter(|(number, _)| *number != place.realm);
        !link_scoped::contains(*address)
            && others.all(|(_, realm)| {
                let lan = self.lan_in(realm);
                lan.is_none_or(|lan| self.at(&lan, *address).zone == UNKNOWN)
            })
    }
}

impl Place<'_> {
    /// Whether every VLAN has its address.
    fn is_link_scoped(&self) -> bool {
        self.device.is_none() && self.address.is_some_and(link_scoped::contains)
    }
}
