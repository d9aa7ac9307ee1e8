//! What a plan says, in the words of policies. That it is exact is shown by `tests/tests/plan.rs`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Attribute, Fate, Kind, Plan, plan};
use crate::policy::{ValidPolicy, load_texts};

const ZONES: &str = "
  pumps: {vlan: 110, subnets: [10.1.0.0/24, \"fd00:1::/64\"], mode: enforce}
  servers: {vlan: 120, subnets: [10.2.0.0/24, \"fd00:2::/64\"], mode: enforce}
";
const DEVICES: &str = "
  pump-1: {zone: pumps, mac: \"02:00:00:00:01:01\", address: [10.1.0.11, \"fd00:1::11\"]}
  pump-2: {zone: pumps, mac: \"02:00:00:00:01:02\", address: [10.1.0.12, \"fd00:1::12\"]}
  server-1: {zone: servers, address: [10.2.0.11, \"fd00:2::11\"]}
";

/// The first second of 2027.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_hours(499_656)
}

fn load(zones: &str, devices: &str, rules: &str) -> ValidPolicy {
    let text = format!("zones:{zones}\ndevices:{devices}\nrules:\n{rules}\n");
    load_texts([("policy.yaml".into(), text)]).expect("a good policy")
}

fn between(before: &ValidPolicy, after: &ValidPolicy) -> Plan {
    plan(Some(before), after, now()).expect("both compile, and the engines agree")
}

/// The plan between two lists of rules.
fn of_rules(before: &str, after: &str) -> Plan {
    between(&load(ZONES, DEVICES, before), &load(ZONES, DEVICES, after))
}

/// Kind, both ends as text, and services of each change.
fn told(plan: &Plan) -> Vec<String> {
    let text = plan.to_string();
    let signs = ["+ ", "- ", "~ "];
    let lines = text
        .lines()
        .filter(|line| signs.iter().any(|sign| line.starts_with(sign)));
    lines.map(str::to_owned).collect()
}

#[test]
fn one_line_for_a_zone_in_both_families() {
    let plan = of_rules(
        "",
        "  a: {from: pumps, to: servers, services: [tcp/443, tcp/444], action: allow}",
    );
    assert_eq!(
        told(&plan),
        ["+ allowed: pumps (4 endpoints) to servers (3 endpoints), tcp/443-444"]
    );
    let change = &plan.changes[0];
    assert_eq!((change.kind, change.from.endpoints), (Kind::Allowed, 4));
    assert_eq!(change.example.after.rule.as_deref(), Some("a"));
    assert_eq!(
        (change.example.before.verdict, change.example.after.verdict),
        ("drop", "pass")
    );
}

#[test]
fn devices_that_differ_from_their_zone_are_named() {
    let both = "  a: {from: pumps, to: servers, services: tcp/443, action: allow}\n";
    let one = "  b: {from: pump-1, to: server-1, services: tcp/22, action: allow}\n";
    assert_eq!(
        told(&of_rules(both, &format!("{both}{one}"))),
        ["+ allowed: pump-1 of pumps to server-1 of servers, tcp/22"]
    );
    let not = "  c: {from: pump-2, to: any, services: any, action: deny}\n";
    let plan = of_rules("", &format!("{both}{not}"));
    assert_eq!(
        told(&plan),
        ["+ allowed: pumps but pump-2 to servers (3 endpoints), tcp/443"]
    );
}

#[test]
fn rules_that_change_nothing_are_not_told() {
    let broad = "  a: {from: pumps, to: servers, services: any, action: allow}\n";
    let inside = "  b: {from: pump-1, to: servers, services: tcp/22, action: allow, comment: known}\n";
    assert!(of_rules(broad, &format!("{broad}{inside}")).is_empty());
    let renamed = broad.replace("  a:", "  z:");
    let plan = of_rules(broad, &renamed);
    assert!(plan.is_empty());
    assert_eq!(plan.to_string(), "no differences\n");
}

#[test]
fn limits_alarms_logs_and_ends_are_differences() {
    let rule = |more: &str| format!("  a: {{from: pumps, to: servers, services: tcp/443, action: allow{more}}}");
    let kinds = |before: &str, after: &str| {
        let plan = of_rules(&rule(before), &rule(after));
        plan.changes.iter().map(|change| change.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds("", ", limit: {rate: 200pps, burst: 50}"), [Kind::Limited]);
    assert_eq!(kinds("", ", class: alarm"), [Kind::Limited]);
    assert_eq!(kinds("", ", log: new"), [Kind::Logged]);
    assert_eq!(kinds("", ", expires: 2027-02-01T00:00:00Z"), [Kind::Lasting]);
    assert_eq!(kinds("", ", expires: 2026-12-31T00:00:00Z"), [Kind::Denied]);
    assert_eq!(kinds(", expires: 2026-12-31T00:00:00Z", ""), [Kind::Allowed]);
    let limited = of_rules(&rule(""), &rule(", limit: {rate: 200pps, burst: 50, scope: source}"));
    let limit = limited.changes[0].after.limit.as_deref();
    assert_eq!(limit, Some("200 packets/s (burst 50), each source"));
    let ending = of_rules(&rule(""), &rule(", expires: 2027-02-01T00:00:00Z"));
    let after = &ending.changes[0].after;
    assert_eq!(after.until.as_deref(), Some("2027-02-01T00:00:00Z"));
    assert_eq!(after.then[0].fate, Fate::Denied);
}

#[test]
fn a_zone_that_begins_to_enforce_is_told_with_what_it_will_drop() {
    let rule = "  a: {from: pumps, to: servers, services: tcp/443, action: allow}";
    let before = load(&ZONES.replace("mode: enforce", "mode: monitor"), DEVICES, rule);
    let half = ZONES.replacen("mode: enforce", "mode: monitor", 1);
    let plan = between(&before, &load(&half, DEVICES, rule));
    let attribute = |key, before: &str, after: &str| Attribute {
        name: "servers".into(),
        key,
        before: before.into(),
        after: after.into(),
    };
    assert_eq!(plan.zones.changed, [attribute("mode", "monitor", "enforce")]);
    assert!(plan.changes.iter().all(|change| change.kind == Kind::Enforced));
    let lines = told(&plan);
    let expected = "- enforced: pumps (4 endpoints) to servers (3 endpoints), any service but tcp/443";
    assert!(lines.iter().any(|line| line == expected), "{lines:#?}");
}

#[test]
fn a_promise_that_is_watched_otherwise_is_a_difference() {
    let rule = "  a: {from: pumps, to: servers, services: tcp/443, action: allow}";
    let with = |more: &str| {
        let promise = format!("{rule}\nmust_flow:\n  status: {{from: pumps, to: server-1, services: tcp/443{more}}}");
        load(ZONES, DEVICES, &promise)
    };
    let plan = between(&with(", silence: 10s"), &with(", silence: 2min"));
    assert!(!plan.is_empty());
    let said = plan.to_string();
    assert!(
        said.contains("~ watched promise status: silence was 10s, becomes 120s"),
        "{said}"
    );
    assert!(
        said.contains("no packet meets with anything else; watched promises: 1 changed"),
        "{said}"
    );
    let plan = between(&with(""), &with(", silence: 10s"));
    assert_eq!(plan.watched.added, ["status"]);
    // What is only proven changes nothing that runs.
    assert!(between(&load(ZONES, DEVICES, rule), &with("")).is_empty());
}

#[test]
fn a_zone_moves_to_another_vlan_without_a_line_for_its_packets() {
    let rule = "  a: {from: pumps, to: servers, services: tcp/443, action: allow}";
    let moved = ZONES.replace("vlan: 110", "vlan: 111");
    let plan = between(&load(ZONES, DEVICES, rule), &load(&moved, DEVICES, rule));
    assert_eq!(plan.changes, []);
    let changed = &plan.zones.changed;
    assert_eq!((changed.len(), changed[0].key), (1, "vlan"));
}

#[test]
fn zones_and_devices_come_and_go() {
    let rule = "  a: {from: pumps, to: servers, services: tcp/443, action: allow}";
    let more = format!("{ZONES}  guests: {{vlan: 130, subnets: 10.3.0.0/24, mode: enforce}}\n");
    let fewer = DEVICES.replace("  pump-2:", "  pump-3:");
    let plan = between(&load(ZONES, DEVICES, rule), &load(&more, &fewer, rule));
    assert_eq!(
        (plan.zones.added.as_slice(), plan.zones.removed.len()),
        (["guests".to_owned()].as_slice(), 0)
    );
    assert_eq!(plan.devices.added, ["pump-3"]);
    assert_eq!(plan.devices.removed, ["pump-2"]);
    assert_eq!(plan.changes, [], "guests were refused before, and are now");
}

#[test]
fn a_device_with_a_leased_address_is_a_device_like_others() {
    let devices = format!("{DEVICES}  pump-9: {{zone: pumps, mac: \"02:00:00:00:01:09\", dhcp: true}}\n");
    let rule = "  a: {from: pump-9, to: servers, services: tcp/443, action: allow}";
    let plan = between(&load(ZONES, &devices, ""), &load(ZONES, &devices, rule));
    assert_eq!(
        told(&plan),
        ["+ allowed: pump-9 of pumps to servers (2 endpoints), tcp/443"]
    );
    let example = &plan.changes[0].example;
    assert_eq!(example.source.device.as_deref(), Some("pump-9"));
}

#[test]
fn against_nothing_all_is_new() {
    let rule = "  a: {from: pumps, to: servers, services: tcp/443, action: allow}";
    let after = load(ZONES, DEVICES, rule);
    let plan = plan(None, &after, now()).expect("it compiles");
    assert_eq!(plan.zones.added, ["pumps", "servers"]);
    assert_eq!(plan.devices.added.len(), 3);
    assert_eq!(
        told(&plan).last().map(String::as_str),
        Some("+ allowed: pumps (4 endpoints) to servers (3 endpoints), tcp/443")
    );
}

#[test]
fn a_policy_that_breaks_its_promise_has_no_plan_and_one_in_force_may() {
    let promise =
        "  a: {from: pumps, to: servers, services: tcp/443, action: allow}\nnever:\n  n: {from: pumps, to: servers}";
    let good = load(ZONES, DEVICES, "");
    let broken = load(ZONES, DEVICES, promise);
    assert!(plan(Some(&good), &broken, now()).is_err());
    assert!(plan(Some(&broken), &good, now()).is_ok());
}

#[test]
fn multicast_of_a_zone_is_told_when_its_stations_are_not_concerned() {
    let rule = "  a: {from: pumps, to: 239.255.255.250/32, services: udp/3702, action: allow}";
    let line =
        "+ allowed: pumps (3 endpoints) to 239.255.255.250/32 of pumps (groups and link-local addresses), udp/3702";
    assert_eq!(told(&of_rules("", rule)), [line]);
}

mod flows;
