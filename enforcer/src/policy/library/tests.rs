use super::*;
use crate::policy::file::ServiceReference;
use crate::policy::{
    load_texts,
    valid::{Action, Limit, Limits, OnNoPolicy, Pace, Scope, Selector, ServiceMatch, ValidPolicy},
};

#[test]
fn the_library_is_good() {
    for text in [CLASSES, TEMPLATES] {
        let (file, findings) = read(text);
        assert!(findings.is_empty(), "{findings:?}");
        assert!(file.classes.len() + file.templates.len() >= 13, "some are missing");
        // Places in a built-in text mean nothing in the policy's, so no service there may be looked up.
        for template in &file.templates {
            let services = template.deed.services.iter().flatten();
            let named = services.filter(|service| matches!(service.value, ServiceReference::Name(_)));
            assert_eq!(named.count(), 0, "{} names a service", template.name.value);
        }
    }
}

/// Slices arrive in bursts at line rate: a limit of packets or bits would break studies.
#[test]
fn imaging_is_never_limited_like_telemetry() {
    let classes = Catalogue::classes(&[]);
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
  a: {vlan: 1, subnets: 10.1.0.0/16, class: of-zone, mode: enforce}
  b: {vlan: 2, subnets: 10.2.0.0/16, class: of-zone, limits: {from: {flows: 4/s}}, least_mss: 200, on_no_policy: pass}
  c: {vlan: 3, subnets: 10.3.0.0/16}
  d: {vlan: 4, subnets: 10.4.0.0/16, class: of-zone}
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
            (none, none, 0, OnNoPolicy::Pass),
            // It monitors, so a class does not make it drop.
            (flows(1), flows(2), 100, OnNoPolicy::Pass),
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

#[test]
fn templates_fill_in_what_a_rule_leaves_open() {
    let policy = policy(
        "
zones:
  a: {vlan: 1, subnets: 10.1.0.0/16}
services:
  web: [tcp/80, secure-web]
  secure-web: tcp/443
templates:
  visit: {services: web, action: allow, log: new, limit: {rate: 10pps}}
  monitor-to-central: {services: udp/1, action: allow}
rules:
  built-in: {from: a, to: a, template: dicom-to-archive}
  declared: {from: a, to: a, template: visit, limit: {rate: 20pps, scope: source}}
  narrowed: {from: a, to: a, template: dicom-to-archive, services: tcp/104}
  refused: {from: a, to: a, template: visit, action: deny}
  replaced: {from: a, to: a, template: monitor-to-central}
",
    );
    let rule = |name: &str| policy.rules.iter().find(|rule| rule.name == name).expect("it is there");
    let port = |protocol, port| ServiceMatch::Ports {
        protocol,
        first: port,
        last: port,
    };
    assert!(rule("built-in").services.contains(&port(6, 11112)));
    assert_eq!(rule("built-in").action, Action::Allow);
    assert_eq!(rule("declared").services, [port(6, 80), port(6, 443)]);
    assert_eq!(
        (rule("declared").log_new, rule("declared").scope),
        (true, Scope::Source)
    );
    assert_eq!(rule("declared").limit.packets.map(|pace| pace.units), Some(20));
    assert_eq!(rule("narrowed").services, [port(6, 104)]);
    let refused = rule("refused");
    assert_eq!(
        (refused.action, refused.log_new, refused.limit),
        (Action::Deny, false, Limit::default())
    );
    assert_eq!(
        (&*rule("replaced").services, rule("replaced").alarm),
        (&[port(17, 1)][..], false)
    );
}

#[test]
fn groups_hold_groups() {
    let policy = policy(
        "
zones:
  a: {vlan: 1, subnets: 10.1.0.0/16}
  b: {vlan: 2, subnets: 10.2.0.0/16}
devices:
  b-1: {zone: b, address: 10.2.0.1}
groups:
  outer: {members: [inner, a, 192.0.2.0/24], owner: network team}
  inner: [b-1, a]
rules:
  one: {from: outer, to: [b, outer], services: any, action: allow}
",
    );
    let prefix = Selector::Prefix("192.0.2.0/24".parse().expect("a prefix"));
    assert_eq!(policy.rules[0].from, [Selector::Zone(2), Selector::Device(0), prefix]);
    assert_eq!(
        policy.rules[0].to,
        [Selector::Zone(2), Selector::Zone(3), Selector::Device(0), prefix]
    );
}
