//! What the zones of one VLAN have in common: tags, address space, guards, routers, the limit of frames to groups.

use std::collections::{BTreeMap, HashMap};

use super::{
    fields::Spanned,
    file::{PolicyFile, ZoneText},
    valid::{GuardMode, Guards, Limit, Pace, ROUTERS, VlanId, Zone},
};
use crate::diagnostics::{Diagnostic, Location};

/// Checks the VLANs, and gives the zones of each what they share.
pub(super) fn settle(file: &PolicyFile, zones: &mut [Zone], findings: &mut Vec<Diagnostic>) {
    check_tags(&file.zones, zones, findings);
    let dhcp_servers = file.devices.iter().any(|device| device.dhcp_server);
    let mut lans: BTreeMap<VlanId, Shared> = BTreeMap::new();
    for text in &file.zones {
        if let Some(vlan) = text.vlan {
            lans.entry(vlan.value).or_default().add(text, dhcp_servers);
        }
    }
    for (vlan, shared) in &lans {
        shared.check_routers(*vlan, findings);
    }
    for zone in zones {
        if let Some(shared) = zone.vlan.and_then(|vlan| lans.get(&vlan)) {
            zone.guards = shared.guards;
            zone.broadcast = shared.broadcast;
            zone.routers = shared.routers.keys().copied().collect();
        }
    }
}

/// What a VLAN gets from its zones.
#[derive(Default)]
struct Shared {
    guards: Guards,
    broadcast: Limit,
    /// With the place where each is declared first.
    routers: BTreeMap<[u8; 6], Location>,
}

impl Shared {
    fn add(&mut self, text: &ZoneText, dhcp_servers: bool) {
        let guards = defaulted(text, dhcp_servers);
        let so_far = self.guards;
        self.guards = Guards {
            source: so_far.source.max(guards.source),
            arp: so_far.arp.max(guards.arp),
            neighbour: so_far.neighbour.max(guards.neighbour),
            dhcp: so_far.dhcp.max(guards.dhcp),
            router: so_far.router.max(guards.router),
        };
        let (so_far, limit) = (self.broadcast, text.broadcast);
        self.broadcast = Limit {
            packets: stricter(so_far.packets, limit.packets),
            bits: stricter(so_far.bits, limit.bits),
            flows: stricter(so_far.flows, limit.flows),
            concurrent: None,
        };
        for router in &text.routers {
            let first = self.routers.entry(router.value).or_insert(router.at);
            *first = router.at.min(*first);
        }
    }

    fn check_routers(&self, vlan: VlanId, findings: &mut Vec<Diagnostic>) {
        let mut places: Vec<_> = self.routers.values().copied().collect();
        places.sort_unstable();
        if let Some(&at) = places.get(ROUTERS) {
            let message = format!("VLAN {vlan} has more than {ROUTERS} routers");
            findings.push(
                Diagnostic::at(at, message)
                    .related(places[0], "the first one")
                    .help("declare those only that advertise themselves"),
            );
        }
    }
}

/// The slower of two paces; of equally fast ones, that with the smaller burst.
fn stricter(a: Option<Pace>, b: Option<Pace>) -> Option<Pace> {
    let (Some(one), Some(other)) = (a, b) else {
        return a.or(b);
    };
    // 3600 is a multiple of every unit of time.
    let hourly = |pace: Pace| (u128::from(pace.units) * u128::from(3600 / pace.seconds), pace.burst);
    Some(if hourly(one) <= hourly(other) { one } else { other })
}

/// The guards of a zone: those without a word of it are on. That of DHCP alone waits for servers to be declared: without
/// them no station would get an address, while one without an advertised router still has its other routes.
fn defaulted(text: &ZoneText, dhcp_servers: bool) -> Guards {
    let guards = &text.guards;
    let dhcp = if dhcp_servers {
        GuardMode::Enforce
    } else {
        GuardMode::Off
    };
    Guards {
        source: guards.source.unwrap_or(GuardMode::Enforce),
        arp: guards.arp.unwrap_or(GuardMode::Enforce),
        neighbour: guards.neighbour.unwrap_or(GuardMode::Enforce),
        dhcp: guards.dhcp.unwrap_or(dhcp),
        router: guards.router.unwrap_or(GuardMode::Enforce),
    }
}

/// A VLAN has one address space, and either has inner tags or has none.
fn check_tags(texts: &[ZoneText], zones: &[Zone], findings: &mut Vec<Diagnostic>) {
    let mut first_of = HashMap::new();
    let mut tags_of = HashMap::new();
    for (text, zone) in texts.iter().zip(&zones[2..]) {
        let Some(Spanned { value: vlan, at }) = text.vlan else {
            continue;
        };
        let (realm, place) = *first_of.entry(vlan).or_insert((zone.realm, at));
        if realm != zone.realm {
            findings.push(
                Diagnostic::at(at, format!("VLAN {vlan} is in two realms"))
                    .related(place, "in another realm here")
                    .help("give the zones of one VLAN the same `realm`"),
            );
        }
        let (tags, place) = *tags_of.entry(vlan.outer).or_insert((vlan.inner.is_some(), at));
        if tags != vlan.inner.is_some() {
            let outer = vlan.outer;
            findings.push(
                Diagnostic::at(at, format!("VLAN {outer} is used with and without an inner tag"))
                    .related(place, "used the other way here")
                    .help("an outer tag leads either to a zone or to inner tags"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::load_texts;

    /// The guard of routers of a zone with these keys.
    fn router_guard(keys: &str) -> GuardMode {
        let text = format!("zones: {{a: {{vlan: 10, subnets: [10.0.0.0/24], mode: enforce{keys}}}}}\n");
        let policy = load_texts([("policy.yaml".into(), text)]).unwrap_or_else(|findings| panic!("{findings}"));
        let zone = policy.zones.iter().find(|zone| zone.name == "a").unwrap();
        zone.guards.router
    }

    #[test]
    fn a_zone_that_declares_no_routers_has_none() {
        assert_eq!(router_guard(""), GuardMode::Enforce);
        assert_eq!(router_guard(", routers: \"02:00:00:00:00:99\""), GuardMode::Enforce);
        assert_eq!(router_guard(", guards: {router: off}"), GuardMode::Off);
    }
}
