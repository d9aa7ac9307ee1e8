//! A naive reading of the policy: every rule is held against every packet.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::IpAddr;

use enforcer::policy::valid::{Action, Rule, SELF, Selector, ServiceMatch, UNKNOWN, ValidPolicy, VlanId};
use ipnetwork::IpNetwork;

use super::{Probe, permits};

/// Who has an address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Station {
    pub(crate) address: IpAddr,
    pub(crate) zone: usize,
    pub(crate) device: Option<usize>,
    /// Where it lives; `None` for the gateway and for unknown addresses.
    pub(crate) vlan: Option<VlanId>,
}

/// How closely a rule names an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Near {
    Any,
    Zone,
    Prefix(u8),
    Device,
}

type Rank = (Reverse<i32>, bool, Reverse<Near>, Reverse<Near>, Reverse<u8>);

/// The rule that wins, and the stations at both ends.
pub(crate) fn decide(
    policy: &ValidPolicy,
    probe: &Probe,
    seen: &mut BTreeSet<&'static str>,
) -> (Option<usize>, [Station; 2]) {
    let ends = [probe.source, probe.destination].map(|address| station(policy, probe.vlan, address));
    let ranked = policy.rules.iter().enumerate();
    let ranked = ranked.filter_map(|(number, rule)| Some((rank(rule, probe, &ends)?, &rule.name, number)));
    let mut ranked: Vec<(Rank, &String, usize)> = ranked.collect();
    ranked.sort();
    note_stations(policy, probe, &ends, seen);
    note_rules(policy, &ranked, seen);
    (ranked.first().map(|winner| winner.2), ends)
}

fn station(policy: &ValidPolicy, vlan: VlanId, address: IpAddr) -> Station {
    let here = || {
        policy
            .zones
            .iter()
            .enumerate()
            .filter(|(_, zone)| zone.vlan == Some(vlan))
    };
    let nobody = Station {
        address,
        zone: UNKNOWN,
        device: None,
        vlan: None,
    };
    if link_scoped(address) {
        if here().any(|(_, zone)| zone.gateways.contains(&address)) {
            return Station { zone: SELF, ..nobody };
        }
        let zones: Vec<usize> = here().map(|(number, _)| number).collect();
        let zone = if zones.len() == 1 { zones[0] } else { UNKNOWN };
        return Station {
            zone,
            vlan: Some(vlan),
            ..nobody
        };
    }
    let realm = here().next().expect("the VLAN is declared").1.realm;
    let in_realm = |zone: &usize| policy.zones[*zone].realm == realm;
    if policy
        .zones
        .iter()
        .any(|zone| zone.realm == realm && zone.gateways.contains(&address))
    {
        return Station { zone: SELF, ..nobody };
    }
    for (number, device) in policy.devices.iter().enumerate() {
        if in_realm(&device.zone) && device.addresses.contains(&address) {
            let (zone, device) = (device.zone, Some(number));
            return Station {
                zone,
                device,
                vlan: policy.zones[zone].vlan,
                address,
            };
        }
    }
    let zones = 2..policy.zones.len();
    let subnets = zones
        .filter(in_realm)
        .flat_map(|zone| policy.zones[zone].subnets.iter().map(move |net| (net, zone)));
    let around = subnets.filter(|(net, _)| net.contains(address));
    match around.max_by_key(|(net, _)| net.prefix()) {
        Some((_, zone)) => Station {
            zone,
            vlan: policy.zones[zone].vlan,
            ..nobody
        },
        None => nobody,
    }
}

/// Written out by hand, not taken from the library under test.
fn link_scoped(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_unspecified() || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_unicast_link_local() || v6.is_multicast(),
    }
}

fn prefix_matches(prefix: IpNetwork, address: IpAddr) -> bool {
    // All of the prefix is link-scoped when both of its ends are, and no range is so short that it could span others.
    let inside = link_scoped(prefix.network()) && link_scoped(prefix.broadcast()) && prefix.prefix() >= 4;
    prefix.contains(address) && (!link_scoped(address) || inside)
}

fn rank(rule: &Rule, probe: &Probe, ends: &[Station; 2]) -> Option<Rank> {
    let near = |selectors: &[Selector], station: &Station| {
        selectors
            .iter()
            .filter_map(|selector| nearness(*selector, station))
            .max()
    };
    let from = near(&rule.from, &ends[0])?;
    let to = near(&rule.to, &ends[1])?;
    let service = rule
        .services
        .iter()
        .filter_map(|service| service_nearness(*service, probe))
        .max()?;
    let allow = rule.action == Action::Allow;
    Some((
        Reverse(rule.priority),
        allow,
        Reverse(from),
        Reverse(to),
        Reverse(service),
    ))
}

fn nearness(selector: Selector, station: &Station) -> Option<Near> {
    match selector {
        Selector::Any => Some(Near::Any),
        Selector::Zone(zone) => (zone == station.zone).then_some(Near::Zone),
        Selector::Device(device) => (Some(device) == station.device).then_some(Near::Device),
        Selector::Prefix(prefix) => prefix_matches(prefix, station.address).then_some(Near::Prefix(prefix.prefix())),
    }
}

fn service_nearness(service: ServiceMatch, probe: &Probe) -> Option<u8> {
    match service {
        ServiceMatch::Any => Some(0),
        ServiceMatch::Protocol(protocol) => (protocol == probe.protocol).then_some(1),
        ServiceMatch::Ports { protocol, first, last } => {
            let inside = protocol == probe.protocol && (first..=last).contains(&probe.port);
            inside.then_some(if first == last { 2 } else { 1 })
        }
    }
}

/// What kinds of stations occurred.
fn note_stations(policy: &ValidPolicy, probe: &Probe, ends: &[Station; 2], seen: &mut BTreeSet<&'static str>) {
    let mut note = |name, reached| reached && seen.insert(name);
    for end in ends {
        note("gateway", end.zone == SELF && !link_scoped(end.address));
        note("link-local gateway", end.zone == SELF && link_scoped(end.address));
        note("link-scoped", end.zone > SELF && link_scoped(end.address));
        note("shared VLAN", end.zone == UNKNOWN && end.vlan.is_some());
        note("unknown", end.zone == UNKNOWN && end.vlan.is_none());
        note("other realm", policy.zones[end.zone].realm != 0);
        note("IPv6", end.address.is_ipv6());
        let prefixes = policy.rules.iter().flat_map(|rule| &rule.to);
        let mut prefixes = prefixes.filter_map(|selector| nearness(*selector, end));
        let prefix = prefixes.any(|near| matches!(near, Near::Prefix(_)));
        note("link-scoped prefix", prefix && link_scoped(end.address));
    }
    note("two tags", probe.vlan.inner.is_some());
}

/// By what the winner won.
fn note_rules(policy: &ValidPolicy, ranked: &[(Rank, &String, usize)], seen: &mut BTreeSet<&'static str>) {
    let Some((rank, _, winner)) = ranked.first() else {
        seen.insert("default");
        return;
    };
    seen.insert(if permits(policy, *winner) { "allow" } else { "deny" });
    let side = |near, names: [&'static str; 4]| match near {
        Near::Any => names[0],
        Near::Zone => names[1],
        Near::Prefix(_) => names[2],
        Near::Device => names[3],
    };
    seen.insert(side(rank.2.0, ["from any", "from zone", "from prefix", "from device"]));
    seen.insert(side(rank.3.0, ["to any", "to zone", "to prefix", "to device"]));
    seen.insert(["any service", "range", "one port"][usize::from(rank.4.0)]);
    for (other, ..) in &ranked[1..] {
        if other.0 != rank.0 && (other.1, other.2, other.3) < (rank.1, rank.2, rank.3) {
            seen.insert("priority");
        }
        if other.0 == rank.0 && other.1 != rank.1 {
            seen.insert("deny beats allow");
        }
        if other == rank {
            seen.insert("name decides");
        }
    }
}
