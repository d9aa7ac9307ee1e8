use std::time::{Duration, SystemTime};

use crate::config::{self, Config};
use crate::diagnostics::Diagnostic;
use crate::policy::{LINTS, compile_with_lints, load_texts};

/// 2026-11-23 21:00 UTC, in seconds of Unix time.
const NOW: u64 = 1_795_467_600;

const ZONES: &str = "
zones:
  a: {vlan: 1, subnets: [10.1.0.0/16, \"fd00:1::/64\"], gateway: 10.1.0.1}
  b: {vlan: 2, subnets: 10.2.0.0/16, gateway: 10.2.0.1, mode: enforce}
  c: {vlan: 3, subnets: 10.3.0.0/16, realm: apart}
devices:
  b-1: {zone: b, mac: \"02:00:00:00:02:01\", address: 10.2.0.21}
";

fn code(finding: &Diagnostic) -> &'static str {
    finding.lint.map(|lint| lint.code).unwrap_or_default()
}

/// The lints about a policy: code, and the word that the message quotes first.
fn lints(text: &str, config: Option<&Config>) -> Vec<(&'static str, String)> {
    let policy = load_texts([("policy.yaml".into(), text.to_owned())]).unwrap_or_else(|findings| panic!("{findings}"));
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let (_, lints) = compile_with_lints(&policy, config, now).unwrap_or_else(|findings| panic!("{findings}"));
    for lint in &lints.list {
        assert!(!lint.help.is_empty(), "{lint:?} has no cure");
        assert!(
            LINTS.iter().any(|known| known.code == code(lint)),
            "{lint:?} is not listed"
        );
        assert!(lint.at.is_some() || code(lint) == "lock-out", "{lint:?} has no place");
    }
    let word = |message: &str| message.split('`').nth(1).unwrap_or_default().to_owned();
    lints
        .list
        .iter()
        .map(|lint| (code(lint), word(&lint.message)))
        .collect()
}

/// The lints about these rules between the zones.
fn rules(rules: &str) -> Vec<(&'static str, String)> {
    lints(&format!("{ZONES}rules:\n{rules}"), None)
}

fn one(code: &'static str, word: &str) -> Vec<(&'static str, String)> {
    vec![(code, word.to_owned())]
}

#[test]
fn a_rule_that_others_go_before_is_shadowed() {
    let found = rules(
        "  half: {from: a, to: 10.2.0.0/17, services: tcp/80, action: deny, priority: 1}
  other-half: {from: a, to: 10.2.128.0/17, services: tcp/80, action: deny, priority: 1}
  hidden: {from: a, to: b, services: tcp/80, action: allow}
  partly-hidden: {from: a, to: b, services: tcp/80-81, action: allow}
",
    );
    assert_eq!(found, one("shadowed-rule", "hidden"));
}

#[test]
fn a_rule_whose_ends_are_in_different_realms_can_never_match() {
    let found = rules(
        "  apart: {from: a, to: c, services: tcp, action: allow}
  families: {from: \"fd00:1::/64\", to: b, services: tcp, action: allow}
  inside: {from: c, to: c, services: tcp, action: allow}
",
    );
    let expected = ["apart", "families"].map(|name| ("unmatchable-rule", name.to_owned()));
    assert_eq!(found, expected);
}

#[test]
fn a_rule_behind_one_for_everything_is_shadowed_though_the_tables_leave_it_out() {
    let found = rules(
        "  all: {from: a, to: b, services: any, action: deny}
  behind: {from: a, to: b, services: tcp/80, action: allow, priority: -1}
",
    );
    assert_eq!(found, one("shadowed-rule", "behind"));
}

#[test]
fn a_rule_that_changes_no_verdict_is_redundant() {
    let found = rules(
        "  wide: {from: a, to: b, services: tcp/1-1000, action: allow}
  narrow: {from: a, to: b-1, services: tcp/80, action: allow}
",
    );
    assert_eq!(found, one("redundant-rule", "narrow"));
}

#[test]
fn of_two_rules_that_say_the_same_one_never_decides() {
    let found = rules(
        "  z-first: {from: a, to: b, services: tcp/80, action: allow}
  a-later: {from: a, to: b, services: tcp/80, action: allow}
",
    );
    assert_eq!(found, one("shadowed-rule", "z-first"));
}

#[test]
fn two_rules_together_can_make_a_third_redundant() {
    let found = rules(
        "  low: {from: a, to: b, services: tcp/80-90, action: allow}
  high: {from: a, to: b, services: tcp/91-100, action: allow}
  both: {from: a, to: b, services: tcp/85-95, action: allow, priority: 1}
",
    );
    assert_eq!(found, one("redundant-rule", "both"));
}

#[test]
fn a_rule_for_everything_is_redundant_before_a_wider_one() {
    let found = rules(
        "  wide: {from: [a, c], to: [b, c], services: any, action: allow}
  narrow: {from: a, to: b-1, services: any, action: allow, priority: 5}
",
    );
    assert_eq!(found, one("redundant-rule", "narrow"));
}

#[test]
fn rules_that_do_something_else_are_not_redundant() {
    let wide = "  wide: {from: a, to: b, services: tcp/1-1000, action: allow}\n";
    let narrow = [
        "action: allow, log: new",
        "action: allow, limit: {packets: 10/s}",
        "action: allow, class: alarm",
        "action: allow, mode: monitor",
        "action: deny",
    ];
    for deed in narrow {
        let rule = format!("  narrow: {{from: a, to: b, services: tcp/80, {deed}}}\n");
        assert_eq!(rules(&format!("{wide}{rule}")), [], "{deed}");
    }
    // The default refuses too, under another name, by which it is counted.
    let alone = "  alone: {from: a, to: b, services: tcp/80, action: deny}\n";
    assert_eq!(rules(alone), []);
    // Two that hide a third rule from one another.
    let between = "  first: {from: a, to: b, services: tcp/80, action: allow, priority: 2}
  between: {from: a, to: b, services: tcp, action: deny, priority: 1}
  last: {from: a, to: b, services: [tcp/80, udp/80], action: allow}
";
    assert_eq!(rules(between), []);
}

#[test]
fn a_rule_is_not_redundant_before_one_that_ends_sooner() {
    let pair = |lasting: &str, ending: &str| {
        rules(&format!(
            "  lasting: {{from: a, to: b, services: tcp/80, action: allow{lasting}}}
  ending: {{from: a, to: b-1, services: tcp/80, action: allow{ending}}}
"
        ))
    };
    assert_eq!(
        pair("", ", expires: 2028-01-01T00:00:00Z"),
        one("redundant-rule", "ending")
    );
    assert_eq!(pair(", expires: 2028-01-01T00:00:00Z", ""), []);
    assert_eq!(
        pair(", expires: 2028-01-01T00:00:00Z", ", expires: 2029-01-01T00:00:00Z"),
        []
    );
}

#[test]
fn rules_that_have_ended_or_soon_will() {
    let found = rules(
        "  over: {from: a, to: b, services: udp/1, action: allow, expires: 2001-01-01T00:00:00Z}
  soon: {from: a, to: b, services: udp/2, action: allow, expires: 2026-12-01T00:00:00Z}
  later: {from: a, to: b, services: udp/3, action: allow, expires: 2027-01-01T00:00:00Z}
",
    );
    let expected = [("expired-rule", "over"), ("expires-soon", "soon")];
    assert_eq!(found, expected.map(|(code, name)| (code, name.to_owned())));
}

#[test]
fn everything_from_anybody_to_anybody() {
    let found = rules("  all: {from: any, to: any, services: any, action: allow}\n");
    assert_eq!(found, one("any-to-any", "all"));
}

#[test]
fn any_that_takes_the_gateway_in() {
    let found = rules("  web: {from: a, to: any, services: tcp/80, action: allow}\n");
    assert_eq!(found, one("gateway-in-any", "web"));
    let meant = [
        "  web: {from: a, to: [any, self], services: tcp/80, action: allow}\n",
        "  ping: {from: a, to: any, services: icmp/echo, action: allow}\n",
        "  web: {from: a, to: any, services: tcp/80, action: allow}
  not-here: {from: any, to: self, services: tcp, action: deny}\n",
        "  none: {from: a, to: any, services: tcp/80, action: deny}\n",
    ];
    for text in meant {
        assert_eq!(rules(text), [], "{text}");
    }
}

#[test]
fn what_nothing_names() {
    let text = format!("{ZONES}groups:\n  lonely: [a]\nservices:\n  odd: tcp/7\n");
    let expected = ["lonely", "odd"].map(|name| ("unused", name.to_owned()));
    assert_eq!(lints(&text, None), expected);
}

#[test]
fn subnets_inside_of_others() {
    let zones = |inner: &str| {
        format!(
            "zones:
  outer: {{vlan: 1, subnets: [10.1.0.0/16, \"fd00:1::/48\"]}}
  inner: {{vlan: 2, subnets: {inner}}}
  world: {{vlan: 3, subnets: [0.0.0.0/0, \"::/0\"]}}
"
        )
    };
    let nested = one("nested-subnet", "inner");
    assert_eq!(lints(&zones("10.1.7.0/24"), None), nested);
    assert_eq!(lints(&zones("\"fd00:1:0:7::/64\""), None), nested);
    assert_eq!(lints(&zones("[10.2.0.0/16, 10.2.3.0/24]"), None), nested);
    assert_eq!(lints(&zones("10.2.0.0/16"), None), []);
    assert_eq!(lints(&zones("10.1.7.0/24, realm: other"), None), []);
}

#[test]
fn leases_that_would_be_of_another_zone() {
    let text = "
zones:
  outer: {vlan: 1, subnets: 10.1.0.0/16}
  inner: {vlan: 2, subnets: 10.1.7.0/24}
devices:
  pump: {zone: outer, mac: \"02:00:00:00:00:01\", dhcp: true}
";
    assert_eq!(lints(text, None), one("nested-subnet", "inner"));
    let policy = load_texts([("policy.yaml".into(), text.to_owned())]).expect("it is good");
    let (_, lints) = compile_with_lints(&policy, None, SystemTime::UNIX_EPOCH).expect("it compiles");
    assert!(lints.to_string().contains("lease nothing of 10.1.7.0/24"), "{lints}");
}

fn configured(rest: &str) -> Config {
    let text = format!("policy = [\"policy\"]\n{rest}");
    config::parse("enforcer.toml".as_ref(), text.into()).unwrap_or_else(|findings| panic!("{findings}"))
}

const ACCESS: &str =
    "[[management]]\nfrom = [\"192.0.2.0/24\"]\nto = [\"192.0.2.1\"]\nvlan = 190\nservices = [\"tcp/22\"]\n";

/// The controller lets the VLANs of management in by itself: `tests/tests/lab_lockout.rs`.
#[test]
fn management_access_needs_no_zone_on_its_vlan() {
    let config = configured(&format!("{ACCESS}[[port]]\ninterface = \"eth0\"\n"));
    assert_eq!(lints(ZONES, Some(&config)), []);
}

#[test]
fn without_management_access_a_rule_has_to_let_operators_in() {
    let config = configured("[[port]]\ninterface = \"eth0\"\n");
    assert_eq!(lints(ZONES, Some(&config)), one("lock-out", "self"));
    let with = |rule: &str| lints(&format!("{ZONES}rules:\n  it: {{{rule}}}\n"), Some(&config));
    assert_eq!(with("from: a, to: self, services: tcp/22, action: allow"), []);
    assert_eq!(
        with("from: a, to: self, services: udp/22, action: allow"),
        one("lock-out", "self")
    );
    let monitored = ZONES.replace("mode: enforce", "mode: monitor");
    assert_eq!(lints(&monitored, Some(&config)), []);
}

#[test]
fn the_reference_names_every_lint() {
    let reference = include_str!("../../../../docs/policy.md");
    for lint in LINTS {
        let row = format!("| `{}` |", lint.code);
        assert!(reference.contains(&row), "docs/policy.md lacks {row}");
    }
}

const ARCHIVE: &str = "
classes:
  archive: {offers: [dicom, icmp/echo]}
services:
  dicom: [tcp/104, tcp/11112]
zones:
  a: {vlan: 1, subnets: 10.1.0.0/16}
  b: {vlan: 2, subnets: 10.2.0.0/16, class: archive}
devices:
  b-1: {zone: b, address: 10.2.0.21, offers: tcp/443}
rules:
";

#[test]
fn a_service_that_nobody_offers_is_told() {
    let found = |rule: &str| lints(&format!("{ARCHIVE}  it: {{from: a, {rule}, action: allow}}\n"), None);
    for rule in [
        "to: b, services: dicom",
        "to: b, services: tcp/443",
        "to: b-1, services: tcp",
        "to: [b, 10.2.0.0/24], services: tcp/23",
        "to: a, services: tcp/23",
    ] {
        assert_eq!(found(rule), [], "{rule}");
    }
    for rule in [
        "to: b, services: [dicom, tcp/23]",
        "to: b-1, services: dicom",
        "to: b, services: icmpv6",
    ] {
        assert_eq!(found(rule), one("not-offered", "it"), "{rule}");
    }
}

#[test]
fn a_rule_without_services_permits_what_its_receivers_offer() {
    let load = |rule: &str| {
        let text = format!("{ARCHIVE}  it: {{from: a, {rule}, action: allow}}\n");
        load_texts([("policy.yaml".into(), text)])
    };
    let services = |rule: &str| {
        let policy = load(rule).unwrap_or_else(|findings| panic!("{findings}"));
        let services = policy.rules[0].services.iter();
        services.map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(services("to: b"), ["icmp/8", "tcp/104", "tcp/11112"]);
    assert_eq!(services("to: b-1"), ["tcp/443"]);
    assert_eq!(services("to: b, services: tcp/1"), ["tcp/1"]);
    assert_eq!(services("to: b-1, template: ntp"), ["udp/123"]);
    for (rule, expected) in [
        ("to: a", "a rule needs `services`"),
        ("to: [a, b]", "a rule needs `services`"),
        ("to: any", "a rule needs `services`"),
        ("to: [b, b-1]", "offers different ones"),
    ] {
        let complaint = load(rule).expect_err(rule).to_string();
        assert!(complaint.contains(expected), "{rule}: {complaint}");
    }
}
