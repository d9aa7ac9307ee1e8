//! Classes of devices: those that the policy declares, and the library of those that are built in.

use std::collections::BTreeMap;

use super::{
    fields::Spanned,
    file::{ClassText, PolicyFile, Traits},
    yaml,
};
use crate::diagnostics::{Diagnostic, Sources};

/// The built-in classes, in the language itself.
const LIBRARY: &str = include_str!("classes.yaml");

/// All classes, by name.
pub(super) struct Classes {
    traits: BTreeMap<String, Traits>,
}

impl Classes {
    /// The declared classes, and those of the built-in ones that have no declared namesake.
    pub(super) fn new(declared: &[ClassText]) -> Self {
        let (library, _) = library();
        let classes = library.iter().chain(declared);
        let traits = classes.map(|class| (class.name.value.clone(), class.traits));
        Self {
            traits: traits.collect(),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Traits> {
        self.traits.get(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.traits.keys().map(String::as_str)
    }

    /// What a zone or device says itself, and what its class says of the rest.
    pub(super) fn fill(&self, own: Traits, class: Option<&Spanned<String>>) -> Traits {
        let class = class.and_then(|class| self.get(&class.value));
        class.map_or(own, |class| own.or(*class))
    }
}

/// The built-in classes, and what is wrong with them.
fn library() -> (Vec<ClassText>, Vec<Diagnostic>) {
    let mut sources = Sources::default();
    let number = sources.add("classes.yaml".into(), LIBRARY.to_owned());
    let mut findings = Vec::new();
    let mut file = PolicyFile::default();
    if let Ok(Some(root)) = yaml::parse(&sources, number, &mut findings) {
        file.add(&root, &mut findings);
    }
    (file.classes, findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{
        load_texts,
        valid::{Limit, Limits, OnNoPolicy, Pace, ValidPolicy},
    };

    #[test]
    fn the_library_is_good() {
        let (classes, findings) = library();
        assert!(findings.is_empty(), "{findings:?}");
        assert!(classes.len() >= 13, "classes are missing");
    }

    /// Slices arrive in bursts at line rate: a limit of packets or bits would break studies.
    #[test]
    fn imaging_is_never_limited_like_telemetry() {
        let classes = Classes::new(&[]);
        for name in ["imaging", "ultrasound"] {
            let limits = classes.get(name).expect("it is there").limits.over(Limits::default());
            for limit in [limits.from, limits.toward] {
                assert_eq!((limit.packets, limit.bits), (None, None), "{name}");
            }
        }
    }

    fn policy(text: &str) -> ValidPolicy {
        load_texts([("policy.yaml".into(), text.to_owned())]).unwrap_or_else(|findings| panic!("{findings}"))
    }

    fn flows(units: u64) -> Limit {
        Limit {
            flows: Some(Pace {
                units,
                seconds: 1,
                burst: 10,
            }),
            ..Limit::default()
        }
    }

    /// The device's own word goes first, then its class, its zone, its zone's class.
    #[test]
    fn the_nearest_word_counts() {
        let policy = policy(
            "
classes:
  of-zone: {limits: {from: {flows: 1/s}, toward: {flows: 2/s}}, least_mss: 100, on_no_policy: drop}
  of-device: {limits: {toward: {flows: 3/s}}, least_mss: 0}
zones:
  a: {vlan: 1, subnets: 10.1.0.0/16, class: of-zone}
  b: {vlan: 2, subnets: 10.2.0.0/16, class: of-zone, limits: {from: {flows: 4/s}}, least_mss: 200, on_no_policy: pass}
  c: {vlan: 3, subnets: 10.3.0.0/16}
devices:
  a-1: {zone: a, address: 10.1.0.1}
  a-2: {zone: a, address: 10.1.0.2, class: of-device}
  b-1: {zone: b, address: 10.2.0.1, class: of-device, limits: {toward: none}}
  b-2: {zone: b, address: 10.2.0.2, limits: {from: {flows: 5/s}}, least_mss: 300}
",
        );
        let zones = policy.zones[2..]
            .iter()
            .map(|zone| (zone.limits.from, zone.limits.toward, zone.least_mss, zone.on_no_policy));
        let none = Limit::default();
        assert_eq!(
            zones.collect::<Vec<_>>(),
            [
                (flows(1), flows(2), 100, OnNoPolicy::Drop),
                (flows(4), flows(2), 200, OnNoPolicy::Pass),
                (none, none, 0, OnNoPolicy::Pass)
            ]
        );
        let devices = policy
            .devices
            .iter()
            .map(|device| (device.limits.from, device.limits.toward, device.least_mss));
        assert_eq!(
            devices.collect::<Vec<_>>(),
            [
                (flows(1), flows(2), 100),
                (flows(1), flows(3), 0),
                (flows(4), none, 0),
                (flows(5), flows(2), 300)
            ]
        );
    }

    #[test]
    fn a_declared_class_replaces_the_built_in_one() {
        let zones = "zones:\n  a: {vlan: 1, subnets: 10.1.0.0/16, class: infusion-pump}\n";
        assert_ne!(policy(zones).zones[2].least_mss, 0);
        let replaced = policy(&format!(
            "{zones}classes:\n  infusion-pump: {{limits: {{from: none}}}}\n"
        ));
        let zone = &replaced.zones[2];
        assert_eq!((zone.limits, zone.least_mss), (Limits::default(), 0));
        assert_eq!(replaced.classes[0].name, "infusion-pump");
    }
}
