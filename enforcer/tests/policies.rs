//! The shipped policies, the examples of the documentation, and the limits.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use enforcer::diagnostics::Diagnostics;
use enforcer::offline::{Rig, suite};
use enforcer::policy::probe::leases;
use enforcer::policy::{ValidPolicy, check, compile, limits, load as load_files, load_texts};

/// When the tests of policies run: 2026-11-23 21:00 UTC, in nanoseconds.
const NOW: u64 = 1_795_467_600_000_000_000;

const REFERENCE: &str = include_str!("../../docs/policy.md");

#[test]
fn the_reference_hospital_compiles() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../policies"));
    let summary =
        check(&[folder], None, UNIX_EPOCH + Duration::from_nanos(NOW)).unwrap_or_else(|findings| panic!("{findings}"));
    assert!(summary.policy.zones.len() >= 12, "the hospital shrank");
    assert!(summary.lints.list.is_empty(), "{}", summary.lints);
    let shown = summary.to_string();
    assert!(shown.starts_with("policy is good: 6 files, "), "{shown}");
}

/// The fenced blocks of a page: what follows the fence, and the text.
fn blocks(page: &'static str) -> Vec<(&'static str, &'static str)> {
    let parts: Vec<_> = page.split("```").collect();
    assert!(parts.len() % 2 == 1, "a fence is open");
    let fenced = parts.iter().skip(1).step_by(2);
    fenced
        .map(|block| block.split_once('\n').expect("a fence has lines"))
        .collect()
}

fn load(text: &str) -> Result<ValidPolicy, Diagnostics> {
    load_texts([("policy.yaml".into(), text.to_owned())])
}

#[test]
fn the_examples_of_the_reference_are_good() {
    let examples: Vec<_> = blocks(REFERENCE)
        .into_iter()
        .filter(|(kind, _)| *kind == "yaml")
        .collect();
    assert!(examples.len() >= 6, "examples are missing");
    let mut tests = 0;
    for (_, text) in examples {
        let policy = load(text).unwrap_or_else(|findings| panic!("{text}\n{findings}"));
        let mut rig = Rig::new(policy, 0).unwrap_or_else(|findings| panic!("{text}\n{findings}"));
        let report = suite::run(&mut rig, NOW);
        assert_eq!(report.failed(), 0, "{:#?}", report.results);
        tests += report.results.len();
    }
    assert!(tests >= 4, "the examples of tests are missing");
}

#[test]
fn the_examples_of_the_operator_s_guide_are_good() {
    let blocks = blocks(include_str!("../../docs/operations.md"));
    let examples: Vec<_> = blocks.into_iter().filter(|(kind, _)| *kind == "yaml").collect();
    assert!(examples.len() >= 2, "examples are missing");
    for (_, text) in examples {
        let policy = load(text).unwrap_or_else(|findings| panic!("{text}\n{findings}"));
        compile(&policy).unwrap_or_else(|findings| panic!("{text}\n{findings}"));
    }
}

/// It has rules only: with the zones and services of the first example of the reference, it is a policy.
#[test]
fn the_example_of_the_readme_is_good() {
    let readme = include_str!("../../README.md");
    let example = readme
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let example = example.expect("the README has an example");
    let (_, first) = blocks(REFERENCE)
        .into_iter()
        .find(|(kind, _)| *kind == "yaml")
        .expect("an example");
    let zones = first.split("rules:\n").next().unwrap_or_default();
    let texts = [("zones.yaml", zones), ("rules.yaml", example)];
    let texts = texts.map(|(path, text)| (PathBuf::from(path), text.to_owned()));
    let policy = load_texts(texts).unwrap_or_else(|findings| panic!("{findings}"));
    compile(&policy).unwrap_or_else(|findings| panic!("{findings}"));
    assert_eq!(policy.rules.len(), 1);
}

/// In tests, nobody leases addresses: each device that would ask for one has one that is nobody else's.
#[test]
fn devices_with_leased_addresses_have_one_in_tests() {
    let text = "
zones:
  pumps: {vlan: 110, subnets: [10.10.110.0/29], gateway: 10.10.110.6}
devices:
  pump-01: {zone: pumps, address: 10.10.110.5}
  pump-02: {zone: pumps, mac: \"02:00:00:00:01:02\", dhcp: true}
  pump-03: {zone: pumps, mac: \"02:00:00:00:01:03\", dhcp: true}
tests:
  - name: from one to the other
    send: {src: pump-02, dst: pump-03, service: tcp/443}
    expect: {reason: default-deny}
";
    let policy = load(text).unwrap_or_else(|findings| panic!("{findings}"));
    let leases = leases(&policy);
    let leases: Vec<_> = leases
        .iter()
        .map(|(device, address)| (device.name.as_str(), address.to_string()))
        .collect();
    assert_eq!(
        leases,
        [
            ("pump-02", "10.10.110.4".to_owned()),
            ("pump-03", "10.10.110.3".to_owned())
        ]
    );
    let probe = &policy.cases[0].steps[0].probe;
    assert_eq!(probe.source.to_string(), "10.10.110.4");
    assert_eq!(probe.destination.to_string(), "10.10.110.3");
    assert_eq!(probe.source_mac, [2, 0, 0, 0, 1, 2]);
}

#[test]
fn a_device_for_which_no_address_is_free_is_named() {
    let text = "
zones:
  pumps: {vlan: 110, subnets: [10.10.110.0/30], gateway: 10.10.110.1}
devices:
  pump-01: {zone: pumps, address: 10.10.110.2}
  pump-02: {zone: pumps, mac: \"02:00:00:00:01:02\", dhcp: true}
tests:
  - name: nobody knows its address
    send: {src: pump-02, dst: pump-01, service: tcp/443}
    expect: {reason: default-deny}
";
    let findings = load(text).expect_err("no address is free");
    assert_eq!(
        findings.list[0].message,
        "`pump-02` gets its address by DHCP, and the first IPv4 subnet of zone `pumps` has none free for it"
    );
}

#[test]
fn devices_with_leased_addresses_and_rules_that_expire_can_be_tested() {
    let text = "
zones:
  pumps: {vlan: 110, subnets: [10.10.110.0/29], gateway: 10.10.110.6, mode: enforce}
  servers: {vlan: 205, subnets: [10.20.5.0/24], mode: enforce}
devices:
  pump-01: {zone: pumps, address: 10.10.110.5}
  pump-02: {zone: pumps, mac: \"02:00:00:00:01:02\", dhcp: true}
  pump-03: {zone: pumps, mac: \"02:00:00:00:01:03\", dhcp: true}
rules:
  one-pump: {from: pump-02, to: servers, services: tcp/443, action: allow}
  for-a-day: {from: pumps, to: servers, services: tcp/22, action: allow, expires: 2026-11-24T21:00:00Z}
tests:
  - name: its own rule
    steps:
      - send: {src: pump-02, dst: 10.20.5.10, service: tcp/443}
        expect: {verdict: allow, rule: one-pump}
      - reply: {}
        expect: {verdict: allow, stage: flow}
  - name: another device
    send: {src: pump-03, dst: 10.20.5.10, service: tcp/443}
    expect: {verdict: drop, rule: default-deny}
  - name: toward it
    send: {src: 10.20.5.10, dst: pump-02, service: tcp/443}
    expect: {verdict: drop, rule: default-deny}
  - name: another with its address
    send: {src: 10.10.110.4, dst: 10.20.5.10, service: tcp/443, mac: \"02:00:00:00:01:03\"}
    expect: {verdict: drop, reason: source-mac-mismatch}
  - name: until tomorrow
    steps:
      - send: {src: pump-01, dst: 10.20.5.10, service: tcp/22}
        expect: {verdict: allow, rule: for-a-day}
      - send: {src: pump-01, dst: 10.20.5.10, service: tcp/22}
        after: 25h
        expect: {verdict: drop, rule: default-deny}
";
    let policy = load(text).unwrap_or_else(|findings| panic!("{findings}"));
    let mut rig = Rig::new(policy, 0).unwrap_or_else(|findings| panic!("{findings}"));
    let report = suite::run(&mut rig, NOW);
    assert_eq!(report.failed(), 0, "{:#?}", report.results);
}

/// A rule that ends and has another behind it stands in the tables under more numbers than one.
#[test]
fn a_rule_that_ends_before_another_one_is_reached() {
    let text = "
zones:
  pumps: {vlan: 110, subnets: [10.10.110.0/24], mode: enforce}
rules:
  for-a-day: {from: pumps, to: pumps, services: tcp/22, action: allow, priority: 1, expires: 2026-11-24T21:00:00Z}
  behind: {from: pumps, to: pumps, services: tcp/22, action: deny}
tests:
  - name: while it lasts
    send: {src: 10.10.110.2, dst: 10.10.110.3, service: tcp/22}
    expect: {verdict: allow, rule: for-a-day}
";
    let policy = load(text).unwrap_or_else(|findings| panic!("{findings}"));
    let mut rig = Rig::new(policy, 0).unwrap_or_else(|findings| panic!("{findings}"));
    let report = suite::run(&mut rig, NOW);
    assert_eq!(report.failed(), 0, "{:#?}", report.results);
    let unreached: Vec<_> = report.unreached.iter().map(|rule| &*rule.name).collect();
    assert_eq!(unreached, ["behind"]);
}

#[test]
fn the_reference_hospital_keeps_its_promises() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../policies"));
    let policy = load_files(&[folder]).unwrap_or_else(|findings| panic!("{findings}"));
    let mut rig = Rig::new(policy, 0).unwrap_or_else(|findings| panic!("{findings}"));
    let report = suite::run(&mut rig, NOW);
    assert!(report.results.len() >= 50, "tests are missing");
    assert_eq!(report.failed(), 0, "{:#?}", report.results);
    let unreached: Vec<_> = report.unreached.iter().map(|rule| &rule.name).collect();
    assert!(unreached.is_empty(), "no test reaches {unreached:?}");
}

#[test]
fn the_bad_example_of_the_reference_shows_what_users_see() {
    let blocks = blocks(REFERENCE);
    let bad = blocks
        .iter()
        .position(|(kind, _)| *kind == "yaml bad")
        .expect("there is one");
    let findings = load(blocks[bad].1).expect_err("it is bad");
    assert_eq!(findings.to_string(), blocks[bad + 1].1);
}

#[test]
fn the_reference_names_every_limit() {
    let rows = [
        ("files", limits::FILES),
        ("zones", limits::ZONES),
        ("VLANs", limits::LANS),
        ("rules", limits::RULES),
        (
            "endpoints: devices, subnets, and prefixes of rules inside of them",
            limits::ENDPOINTS,
        ),
        ("address trie nodes", limits::TRIE_NODES),
        ("single addresses", limits::HOSTS),
        ("different limits of traffic", limits::BUDGETS),
        (
            "service classes: groups of ports that no rule tells apart",
            limits::CLASSES,
        ),
        ("rows of identities", limits::ROWS),
        ("profile blocks", limits::PROFILE_BLOCKS),
        ("columns of services", limits::COLUMNS),
        ("cell blocks", limits::CELL_BLOCKS),
    ];
    for (what, limit) in rows {
        let row = format!("| {what} | {limit} |");
        assert!(REFERENCE.contains(&row), "docs/policy.md lacks: {row}");
    }
}

/// Pitfall 9: a table that overflowed was nobody's concern. What does not fit is refused before anything is swapped.
#[test]
fn a_policy_that_is_too_big_names_the_limit() {
    let mut text = "zones:\n".to_owned();
    for zone in 0..limits::LANS {
        let (outer, inner) = (1 + zone / 100, 1 + zone % 100);
        let (high, low) = (zone / 256, zone % 256);
        let _ = writeln!(
            text,
            "  zone-{zone}: {{vlan: \"{outer}.{inner}\", subnets: 10.{high}.{low}.0/24}}"
        );
    }
    let policy = load(&text).unwrap_or_else(|findings| panic!("{findings}"));
    let findings = compile(&policy).expect_err("too many zones");
    let message = &findings.list[0].message;
    assert_eq!(
        message,
        "the policy needs 4098 zones, more than the limit of 4096 zones"
    );
    assert_eq!(findings.list[0].help, "use fewer, larger zones");
}
