//! Who owns which address: prefixes → endpoints → the tries of each VLAN.

use std::collections::{BTreeMap, HashMap};

use enforcer_common::abi::{Endpoint, Lan, NO_LAN, SELF_ZONE, UNKNOWN_ZONE, endpoint_flags, mode};
use ipnetwork::IpNetwork;

use super::{
    Lans,
    budgets::Budgets,
    dynamic, guard_bits, mode_bits, no_lan,
    places::{self, Place},
    trie::{self, Family, Leaf, Prefix, Trie},
};
use crate::policy::{
    link_scoped,
    tables::{DynamicDevice, EndpointName},
    valid::{Device, Limits, Mode, ValidPolicy},
};

/// The number of a set of rule prefixes around an address.
pub(super) type SetId = u32;

/// What all rules can know about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Facts {
    pub(super) zone: u16,
    pub(super) device: Option<u32>,
    /// The rule prefixes that match it.
    pub(super) set: SetId,
    pub(super) lan: u16,
    /// No station's own: a group, the broadcast or the unspecified address. It has no limits.
    pub(super) shared: bool,
}

const UNKNOWN: Facts = Facts {
    zone: UNKNOWN_ZONE,
    device: None,
    set: 0,
    lan: NO_LAN,
    shared: false,
};

/// Endpoints, and the tries that lead to them.
pub(super) struct Space {
    /// Identities are not filled in yet.
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) names: Vec<EndpointName>,
    /// By endpoint.
    pub(super) facts: Vec<Facts>,
    /// By set: the set of all its prefixes but the longest, and that one's number. Set 0 is empty.
    pub(super) sets: Vec<(SetId, u32)>,
    pub(super) lans: Vec<Lan>,
    pub(super) trie: trie::Tables,
    pub(super) dynamic: Vec<DynamicDevice>,
    /// Where frames meet the endpoints.
    pub(super) places: Vec<Place>,
}

/// What a declaration says about the addresses of a prefix. At equal prefixes the later kinds prevail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// Link-scoped addresses of the VLAN.
    Link {
        zone: u16,
        lan: u16,
        shared: bool,
    },
    Subnet {
        zone: u16,
        lan: u16,
    },
    RulePrefix(u32),
    Gateway,
    Device {
        device: u32,
        zone: u16,
        lan: u16,
    },
}

type Claims = BTreeMap<Family, Vec<(Prefix, Claim)>>;

/// Builds the endpoints and tries of a policy with the given prefixes in its rules.
pub(super) fn build(policy: &ValidPolicy, lans: &Lans, prefixes: &[IpNetwork], budgets: &mut Budgets) -> Space {
    let mut builder = Builder::new(policy, budgets);
    let spaces: Vec<_> = (0..policy.realms.len())
        .map(|realm| builder.realm(realm, lans, prefixes))
        .collect();
    let mut table = vec![no_lan()];
    for (lan, &realm) in lans.realms.iter().enumerate().skip(1) {
        table.push(builder.lan(lan as u16, realm, &spaces[realm], lans, prefixes));
    }
    let dynamic = dynamic::devices(&mut builder, lans, prefixes);
    let leases = dynamic.iter();
    let leases = leases.filter_map(|device| places::of_lease(device.endpoint, device.realm, &device.subnets));
    builder.places.extend(leases);
    Space {
        dynamic,
        places: builder.places,
        endpoints: builder.endpoints,
        names: builder.names,
        facts: builder.facts,
        sets: builder.sets,
        lans: table,
        trie: builder.trie.finish(),
    }
}

pub(super) struct Builder<'p> {
    pub(super) policy: &'p ValidPolicy,
    /// By zone: whether it has devices with leased addresses.
    leases: Vec<bool>,
    budgets: &'p mut Budgets,
    trie: Trie,
    endpoints: Vec<Endpoint>,
    names: Vec<EndpointName>,
    facts: Vec<Facts>,
    places: Vec<Place>,
    /// A device has one endpoint for all its addresses under the same rule prefixes; others have one a prefix.
    numbers: HashMap<(Facts, Option<IpNetwork>), u32>,
    sets: Vec<(SetId, u32)>,
    set_numbers: HashMap<(SetId, u32), SetId>,
}

impl<'p> Builder<'p> {
    fn new(policy: &'p ValidPolicy, budgets: &'p mut Budgets) -> Self {
        let mut leases = vec![false; policy.zones.len()];
        for device in policy.devices.iter().filter(|device| device.dynamic) {
            leases[device.zone] = true;
        }
        let mut builder = Self {
            policy,
            leases,
            budgets,
            trie: Trie::new(),
            endpoints: Vec::new(),
            names: Vec::new(),
            facts: Vec::new(),
            places: Vec::new(),
            numbers: HashMap::new(),
            sets: vec![(0, u32::MAX)],
            set_numbers: HashMap::new(),
        };
        builder.endpoint(UNKNOWN, None);
        builder
    }

    /// The roots of an address space, IPv4 and IPv6, without its link-scoped addresses.
    fn realm(&mut self, realm: usize, lans: &Lans, prefixes: &[IpNetwork]) -> [trie::Root; 2] {
        let mut claims = Claims::new();
        for (number, zone) in self
            .policy
            .zones
            .iter()
            .enumerate()
            .filter(|(_, zone)| zone.realm == realm)
        {
            let (zone_number, lan) = (number as u16, lans.of(zone.vlan));
            for &subnet in &zone.subnets {
                claim(&mut claims, subnet, Claim::Subnet { zone: zone_number, lan });
            }
            for &gateway in zone.gateways.iter().filter(|gateway| !link_scoped::contains(**gateway)) {
                claim(&mut claims, gateway.into(), Claim::Gateway);
            }
        }
        for (number, device) in self.policy.devices.iter().enumerate() {
            let zone = &self.policy.zones[device.zone];
            if zone.realm != realm {
                continue;
            }
            let lan = lans.of(zone.vlan);
            let claimed = Claim::Device {
                device: number as u32,
                zone: device.zone as u16,
                lan,
            };
            for &address in &device.addresses {
                claim(&mut claims, address.into(), claimed);
            }
        }
        for (number, &prefix) in prefixes.iter().enumerate() {
            if link_scoped::range_of(prefix).is_none() {
                claim(&mut claims, prefix, Claim::RulePrefix(number as u32));
            }
        }
        [Family::V4, Family::V6].map(|family| {
            let leaves = self.leaves(family, claims.remove(&family).unwrap_or_default());
            self.places.extend(places::of_realm(family, &leaves, realm as u16));
            self.trie.root(family, leaves)
        })
    }

    /// A VLAN: the roots of its realm with its link-scoped addresses laid over them.
    fn lan(&mut self, lan: u16, realm: usize, roots: &[trie::Root; 2], lans: &Lans, prefixes: &[IpNetwork]) -> Lan {
        let zone = lans.zone(lan);
        // The zones of a VLAN agree in these.
        let shared = &self.policy.zones[lans.names[lan as usize].zones[0] as usize];
        let mut claims = Claims::new();
        for range in &link_scoped::RANGES {
            let shared = !range.unicast;
            claim(&mut claims, range.network, Claim::Link { zone, lan, shared });
        }
        for (number, &prefix) in prefixes.iter().enumerate() {
            if link_scoped::range_of(prefix).is_some() {
                claim(&mut claims, prefix, Claim::RulePrefix(number as u32));
            }
        }
        for &zone in &lans.names[lan as usize].zones {
            let gateways = self.policy.zones[zone as usize].gateways.iter();
            for &gateway in gateways.filter(|gateway| link_scoped::contains(**gateway)) {
                claim(&mut claims, gateway.into(), Claim::Gateway);
            }
        }
        let [v4, v6] = [Family::V4, Family::V6].map(|family| {
            let over = self.leaves(family, claims.remove(&family).unwrap_or_default());
            self.places.extend(places::of_lan(family, &over, realm as u16, lan));
            self.trie.overlay(&roots[family as usize], &over)
        });
        Lan {
            zone,
            realm: realm as u16,
            vlan: lans.names[lan as usize].vlan.map_or(0, |vlan| {
                u32::from(vlan.outer) << 16 | u32::from(vlan.inner.unwrap_or(0))
            }),
            mode: self.lan_mode(lans, lan),
            guards: guard_bits(shared.guards),
            root4: v4,
            root6: v6,
            group_budget: self.budgets.number(&shared.broadcast),
            routers: std::array::from_fn(|place| shared.routers.get(place).copied().unwrap_or_default()),
        }
    }

    /// A VLAN is in enforce mode when any of its zones is.
    fn lan_mode(&self, lans: &Lans, lan: u16) -> u32 {
        let zones = &lans.names[lan as usize].zones;
        let enforces = |&zone: &u16| self.policy.zones[zone as usize].mode == Some(Mode::Enforce);
        if zones.iter().any(enforces) {
            mode::ENFORCE
        } else {
            mode::MONITOR
        }
    }

    /// Sorts the claims and gives each prefix its endpoint: that of the prefix around it, changed by its own claims.
    fn leaves(&mut self, family: Family, mut claims: Vec<(Prefix, Claim)>) -> Vec<Leaf> {
        claims.sort_unstable();
        let mut leaves: Vec<Leaf> = Vec::new();
        let mut around: Vec<(Prefix, Facts)> = Vec::new();
        for same in claims.chunk_by(|(a, _), (b, _)| a == b) {
            let prefix = same[0].0;
            while around.last().is_some_and(|(outer, _)| !outer.covers(prefix)) {
                around.pop();
            }
            let mut facts = around.last().map_or(UNKNOWN, |&(_, facts)| facts);
            for &(_, claim) in same {
                facts = self.apply(facts, claim);
            }
            around.push((prefix, facts));
            let endpoint = self.endpoint(facts, Some(network(family, prefix)));
            leaves.push(Leaf { prefix, endpoint });
        }
        leaves
    }

    fn apply(&mut self, facts: Facts, claim: Claim) -> Facts {
        match claim {
            Claim::Link { zone, lan, shared } => Facts {
                zone,
                lan,
                shared,
                ..UNKNOWN
            },
            Claim::Subnet { zone, lan } => Facts {
                zone,
                lan,
                device: None,
                ..facts
            },
            Claim::Gateway => Facts {
                zone: SELF_ZONE,
                lan: NO_LAN,
                device: None,
                ..facts
            },
            Claim::Device { device, zone, lan } => Facts {
                zone,
                lan,
                device: Some(device),
                ..facts
            },
            Claim::RulePrefix(prefix) => Facts {
                set: self.set(facts.set, prefix),
                ..facts
            },
        }
    }

    pub(super) fn set(&mut self, parent: SetId, prefix: u32) -> SetId {
        let next = self.sets.len() as u32;
        let number = *self.set_numbers.entry((parent, prefix)).or_insert(next);
        if number == next {
            self.sets.push((parent, prefix));
        }
        number
    }

    /// The number of an endpoint, new or known. Without a prefix its address is not known before a frame comes.
    pub(super) fn endpoint(&mut self, facts: Facts, prefix: Option<IpNetwork>) -> u32 {
        let link = prefix
            .is_some_and(|prefix| link_scoped::RANGES.iter().any(|range| range.network == prefix) && facts.set == 0);
        let prefix = prefix.filter(|_| !link);
        let key = (facts, prefix.filter(|_| facts.device.is_none()));
        let next = self.endpoints.len() as u32;
        let number = *self.numbers.entry(key).or_insert(next);
        if number < next {
            return number;
        }
        let device = facts.device.map(|device| &self.policy.devices[device as usize]);
        let mac = device.and_then(|device| device.mac);
        let zone = &self.policy.zones[facts.zone as usize];
        let (limits, least_mss) = match device {
            _ if facts.shared => (Limits::default(), 0),
            Some(device) => (device.limits, device.least_mss),
            None => (zone.limits, zone.least_mss),
        };
        let strict = if zone.strict_tcp { endpoint_flags::STRICT_TCP } else { 0 };
        let leased = device.is_none() && prefix.is_some_and(|prefix| self.leased(facts.zone, prefix));
        let leased = if leased { endpoint_flags::DYNAMIC } else { 0 };
        self.endpoints.push(Endpoint {
            source: 0,
            destination: 0,
            zone: facts.zone,
            lan: facts.lan,
            flags: device.map_or(0, device_flags) | strict | leased,
            mac: mac.unwrap_or_default(),
            mode: mode_bits(zone.mode),
            from_budget: self.budgets.number(&limits.from) as u16,
            toward_budget: self.budgets.number(&limits.toward) as u16,
            least_mss,
            ..Endpoint::default()
        });
        let device = device.map(|device| device.name.clone());
        self.names.push(EndpointName {
            zone: facts.zone,
            device,
            prefix,
        });
        self.facts.push(facts);
        number
    }
}

impl Builder<'_> {
    /// Whether addresses of a prefix in a zone may be leased to devices.
    fn leased(&self, zone: u16, prefix: IpNetwork) -> bool {
        self.leases[zone as usize] && prefix.is_ipv4() && link_scoped::range_of(prefix).is_none()
    }
}

fn device_flags(device: &Device) -> u16 {
    let mac = device.mac.map_or(0, |_| endpoint_flags::MAC);
    let server = if device.dhcp_server {
        endpoint_flags::DHCP_SERVER
    } else {
        0
    };
    mac | server
}

fn claim(claims: &mut Claims, network: IpNetwork, claim: Claim) {
    let (family, prefix) = Prefix::of(network);
    claims.entry(family).or_default().push((prefix, claim));
}

/// The network that a prefix stands for.
fn network(family: Family, prefix: Prefix) -> IpNetwork {
    let address = match family {
        Family::V4 => std::net::Ipv4Addr::from((prefix.start >> 96) as u32).into(),
        Family::V6 => std::net::Ipv6Addr::from(prefix.start).into(),
    };
    IpNetwork::new(address, prefix.length).unwrap_or_else(|_| IpNetwork::from(address))
}
