//! What can be saved of a policy that is not valid: its zones, and whether their frames pass while no policy is in force.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnetwork::IpNetwork;

use super::{
    file::{PolicyFile, ZoneText},
    files::{self, Texts},
    grammar,
    library::Catalogue,
    link_scoped,
    valid::{GuardMode, Guards, Limits, Mode, OnNoPolicy, ValidPolicy, VlanId, Zone},
    validate, yaml,
};
use crate::diagnostics::Diagnostic;

/// The zones that files and folders declare, as far as they can be read, as a policy for the time without one: a zone with
/// `on_no_policy: pass` monitors, one with `drop` enforces, and there is no rule, no device and no limit.
///
/// Of zones that contradict each other the first one counts. A zone without a readable VLAN is left out. Always compiles, unless
/// there are more zones than [`limits`](super::limits) allow.
pub fn salvage(paths: &[PathBuf]) -> ValidPolicy {
    let mut findings = Vec::new();
    let texts = files::read(paths, &mut findings);
    zones_of(texts, &findings)
}

/// The same of texts that are no files.
pub fn salvage_texts(texts: impl IntoIterator<Item = (PathBuf, String)>) -> ValidPolicy {
    zones_of(Texts::new(texts), &[])
}

fn zones_of(texts: Texts, unreadable: &[Diagnostic]) -> ValidPolicy {
    let sources = Arc::new(texts.sources);
    let broken: HashSet<u32> = unreadable
        .iter()
        .filter_map(|finding| finding.at)
        .map(|at| at.file)
        .collect();
    let mut file = PolicyFile::default();
    for number in (0..sources.len() as u32).filter(|number| !broken.contains(number)) {
        if let Ok(Some(root)) = yaml::parse(&sources, number, &mut Vec::new()) {
            file.add(&root, &mut Vec::new());
        }
    }
    let mut taken = Taken::default();
    file.zones.sort_by_key(|zone| zone.name.at);
    file.zones.retain_mut(|zone| taken.take(zone));
    file.zones.sort_by(|a, b| a.name.value.cmp(&b.name.value));
    let mut realms = vec!["default".to_owned()];
    let classes = Catalogue::classes(&file.classes);
    let mut zones = validate::zones(&file.zones, &classes, &mut realms);
    without_rules(&mut zones);
    ValidPolicy {
        zones,
        devices: Vec::new(),
        classes: Vec::new(),
        services: Vec::new(),
        rules: Vec::new(),
        never: Vec::new(),
        must_flow: Vec::new(),
        unused: Vec::new(),
        cases: Vec::new(),
        realms,
        sources,
        hash: [0; 32],
    }
}

/// What has been said by earlier zones.
#[derive(Default)]
struct Taken {
    names: HashSet<String>,
    /// The realm of each VLAN.
    realms: HashMap<VlanId, Option<String>>,
    /// Whether an outer tag leads to inner ones.
    inner: HashMap<u16, bool>,
    subnets: HashSet<(Option<String>, IpNetwork)>,
    gateways: HashSet<(Option<String>, IpAddr)>,
}

impl Taken {
    /// Whether a zone can be kept; what earlier ones have is taken from it.
    fn take(&mut self, zone: &mut ZoneText) -> bool {
        let realm = zone.realm.as_ref().map(|realm| realm.value.clone());
        let realm = realm.filter(|realm| realm != "default");
        let Some(vlan) = zone.vlan.as_ref().map(|vlan| vlan.value) else {
            return false;
        };
        let fits = grammar::new_name(&zone.name.value).is_ok()
            && !self.names.contains(&zone.name.value)
            && self.realms.get(&vlan).is_none_or(|known| *known == realm)
            && (self.inner.get(&vlan.outer)).is_none_or(|inner| *inner == vlan.inner.is_some());
        if !fits {
            return false;
        }
        self.names.insert(zone.name.value.clone());
        self.realms.insert(vlan, realm.clone());
        self.inner.insert(vlan.outer, vlan.inner.is_some());
        zone.subnets
            .retain(|subnet| self.subnets.insert((realm.clone(), subnet.value)));
        zone.gateways.retain(|gateway| {
            // A link-local address may serve on any number of VLANs.
            link_scoped::contains(gateway.value) || self.gateways.insert((realm.clone(), gateway.value))
        });
        true
    }
}

/// Leaves of the zones what holds while no policy is in force.
fn without_rules(zones: &mut [Zone]) {
    let drops = |zone: &Zone| zone.on_no_policy == OnNoPolicy::Drop;
    let guarded: BTreeSet<_> = zones
        .iter()
        .filter(|zone| drops(zone))
        .filter_map(|zone| zone.vlan)
        .collect();
    for zone in zones.iter_mut().filter(|zone| zone.vlan.is_some()) {
        zone.mode = Some(if drops(zone) { Mode::Enforce } else { Mode::Monitor });
        // Else a station of a zone that drops would take an address of a zone that passes.
        let guards = if zone.vlan.is_some_and(|vlan| guarded.contains(&vlan)) {
            GuardMode::Enforce
        } else {
            GuardMode::Off
        };
        zone.guards = Guards {
            source: guards,
            arp: guards,
            neighbour: guards,
            dhcp: guards,
            router: guards,
        };
        zone.limits = Limits::default();
        zone.strict_tcp = false;
        zone.least_mss = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::compile;

    fn saved(text: &str) -> Vec<(String, Option<VlanId>, usize, Option<Mode>)> {
        let policy = salvage_texts([("policy.yaml".into(), text.to_owned())]);
        compile(&policy).expect("what was saved compiles");
        let zones = policy.zones[2..].iter();
        zones
            .map(|zone| (zone.name.clone(), zone.vlan, zone.subnets.len(), zone.mode))
            .collect()
    }

    fn vlan(outer: u16) -> VlanId {
        VlanId { outer, inner: None }
    }

    #[test]
    fn zones_are_saved_from_files_with_errors_elsewhere() {
        let text = "zones:\n  pumps: {vlan: 110, subnets: [10.1.0.0/16, nonsense], mode: enforce, tyop: 1}\n  \
                    guests: {vlan: 190, subnets: [10.2.0.0/16], mode: enforce, class: guest}\n  \
                    nowhere: {subnets: [10.3.0.0/16], on_no_policy: drop}\n\
                    rules:\n  r: {from: nobody, to: pumps, services: [tcp/1], action: allow}\n";
        assert_eq!(
            saved(text),
            [
                ("guests".to_owned(), Some(vlan(190)), 1, Some(Mode::Enforce)),
                ("pumps".to_owned(), Some(vlan(110)), 1, Some(Mode::Monitor)),
            ]
        );
    }

    #[test]
    fn of_zones_that_contradict_each_other_the_first_counts() {
        let text = "zones:\n  a: {vlan: 1, subnets: [10.1.0.0/16], on_no_policy: drop}\n  \
                    b: {vlan: 2, subnets: [10.1.0.0/16]}\n  \
                    c: {vlan: 1, subnets: [10.3.0.0/16], realm: other}\n  \
                    d: {vlan: '1.5', subnets: [10.4.0.0/16]}\n";
        assert_eq!(
            saved(text),
            [
                ("a".to_owned(), Some(vlan(1)), 1, Some(Mode::Enforce)),
                ("b".to_owned(), Some(vlan(2)), 0, Some(Mode::Monitor)),
            ]
        );
    }

    #[test]
    fn nothing_is_saved_where_nothing_can_be_read() {
        for text in ["", "{", "zones: 7\n", "rules: {}\n"] {
            assert_eq!(saved(text), [], "{text:?}");
        }
    }
}
