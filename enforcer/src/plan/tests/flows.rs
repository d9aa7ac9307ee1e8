//! What becomes of flows that are open. On a running enforcer: `tests/tests/controller_plan.rs`.

use super::{DEVICES, ZONES, load, now};
use crate::flows::{FlowEnd, FlowRecord, Traffic};
use crate::plan::{Comparison, Flows};
use crate::policy::ValidPolicy;

const HTTPS: &str = "  a: {from: pumps, to: servers, services: tcp/443, action: allow}\n";
const ENFORCING: (&str, bool) = ("trunk0", false);
const MONITORING: (&str, bool) = ("trunk1", true);

/// A session of pump-1 with server-1, with as many octets.
fn flow(service: &str, octets: u64) -> FlowRecord {
    let end = |zone: &str, address: &str, port| FlowEnd {
        zone: Some(zone.into()),
        device: None,
        address: address.parse().ok(),
        port: Some(port),
    };
    FlowRecord {
        schema_version: 1,
        established: true,
        state: "established".into(),
        realm: Some("default".into()),
        link: None,
        initiator: end("pumps", "10.1.0.11", 40_000),
        responder: end("servers", "10.2.0.11", 443),
        service: service.into(),
        rule: Some("a".into()),
        rule_at: None,
        would_drop: None,
        generation: 1,
        age_seconds: 60,
        idle_seconds: 10,
        sent: Traffic { packets: 3, octets },
        received: Traffic::default(),
    }
}

fn to(address: &str, flow: FlowRecord) -> FlowRecord {
    let responder = FlowEnd {
        address: address.parse().ok(),
        ..flow.responder
    };
    FlowRecord { responder, ..flow }
}

fn from(address: &str, flow: FlowRecord) -> FlowRecord {
    let initiator = FlowEnd {
        address: address.parse().ok(),
        ..flow.initiator
    };
    FlowRecord { initiator, ..flow }
}

fn sifted(policies: [&ValidPolicy; 2], ports: &[(&str, bool)], flows: Vec<FlowRecord>) -> Flows {
    let mut comparison = Comparison::new(policies[0], policies[1], now()).expect("both compile");
    comparison.plan().expect("the engines agree");
    let ports: Vec<_> = ports
        .iter()
        .map(|(name, monitor)| ((*name).to_owned(), *monitor))
        .collect();
    let mut sieve = comparison.sieve(&ports);
    for flow in flows {
        sieve.take(flow);
    }
    sieve.end()
}

/// What a change of the rules does.
fn of_rules(before: &str, after: &str, flows: Vec<FlowRecord>) -> Flows {
    let policies = [before, after].map(|rules| load(ZONES, DEVICES, rules));
    sifted([&policies[0], &policies[1]], &[ENFORCING], flows)
}

#[test]
fn flows_that_the_policy_after_denies_are_cut_and_told_in_groups() {
    let both = HTTPS.replace("tcp/443", "[tcp/443, tcp/22, icmp/echo]");
    let seen_last = FlowRecord {
        idle_seconds: 2,
        ..flow("tcp/22", 700)
    };
    let flows = vec![
        flow("tcp/443", 9000),
        flow("tcp/22", 100),
        seen_last,
        flow("icmp/8/0", 5),
    ];
    let flows = of_rules(&both, HTTPS, flows);
    assert_eq!((flows.kept, flows.refused_already, flows.limited.len()), (4, 0, 0));
    let [group] = flows.cut.as_slice() else {
        panic!("{flows:#?}")
    };
    assert_eq!(
        (group.flows, group.established, group.octets, group.packets),
        (3, 3, 805, 9)
    );
    assert_eq!(group.services.iter().collect::<Vec<_>>(), ["icmp/8/0", "tcp/22"]);
    assert_eq!(group.last_seen, "2026-12-31T23:59:58Z");
    assert_eq!(group.example.octets(), 700);
    assert_eq!(
        (group.after.verdict, group.after.reason),
        ("drop", Some("default-deny"))
    );
}

#[test]
fn flows_that_both_policies_permit_or_neither_does_are_not_told() {
    let flows = of_rules(HTTPS, HTTPS, vec![flow("tcp/443", 1), flow("tcp/22", 1)]);
    assert_eq!((flows.cut.len(), flows.limited.len(), flows.refused_already), (0, 0, 1));
}

#[test]
fn flows_under_a_new_limit_are_told_with_it() {
    let limited = HTTPS.replace("action: allow", "action: allow, limit: {rate: 200pps, burst: 50}");
    let sessions = || vec![flow("tcp/443", 1), flow("tcp/443", 2)];
    let flows = of_rules(HTTPS, &limited, sessions());
    assert_eq!(flows.cut, []);
    let group = &flows.limited[0];
    assert_eq!(
        (group.flows, group.limit.as_deref()),
        (2, Some("200 packets/s (burst 50)"))
    );
    assert_eq!(of_rules(&limited, &limited, sessions()).limited, []);
    assert_eq!(
        of_rules(&limited, HTTPS, sessions()).limited,
        [],
        "a limit that goes cuts nothing"
    );
}

#[test]
fn a_zone_that_begins_to_enforce_cuts_what_it_let_pass() {
    let monitoring = ZONES.replace("mode: enforce", "mode: monitor");
    let policies = [load(&monitoring, DEVICES, HTTPS), load(ZONES, DEVICES, HTTPS)];
    let policies = [&policies[0], &policies[1]];
    let sessions = || vec![flow("tcp/23", 1), flow("tcp/443", 1)];
    assert_eq!(sifted(policies, &[ENFORCING], sessions()).cut[0].flows, 1);
    let flows = sifted(policies, &[ENFORCING, MONITORING], sessions());
    assert_eq!((flows.cut.len(), flows.monitoring_ports.len()), (1, 1));
    let flows = sifted(policies, &[MONITORING], sessions());
    assert_eq!(flows.cut, [], "where all ports monitor, nothing is dropped");
}

#[test]
fn flows_of_zones_that_go_are_cut_and_those_of_zones_that_move_are_not() {
    let before = load(ZONES, DEVICES, HTTPS);
    let moved = load(&ZONES.replace("vlan: 110", "vlan: 111"), DEVICES, HTTPS);
    assert_eq!(
        sifted([&before, &moved], &[ENFORCING], vec![flow("tcp/443", 1)]).cut,
        []
    );
    let elsewhere = ZONES.replace("10.1.0.0/24", "10.9.0.0/24");
    let elsewhere = load(&elsewhere, &DEVICES.replace("10.1.0.", "10.9.0."), HTTPS);
    assert_eq!(
        sifted([&before, &elsewhere], &[ENFORCING], vec![flow("tcp/443", 1)])
            .cut
            .len(),
        1
    );
    let realm = ZONES.replace("mode: enforce}", "mode: enforce, realm: other}");
    let other = load(&realm, DEVICES, HTTPS);
    let flows = sifted([&before, &other], &[ENFORCING], vec![flow("tcp/443", 1)]);
    assert_eq!(flows.cut[0].after.reason, Some("vlan-undeclared"));
}

#[test]
fn strangers_come_from_where_the_routers_are() {
    let rule = "  a: {from: 192.0.2.0/24, to: servers, services: tcp/443, action: allow}\n";
    let session = || vec![from("192.0.2.7", flow("tcp/443", 1))];
    assert_eq!(of_rules(rule, rule, session()).cut, []);
    assert_eq!(of_rules(rule, rule, session()).refused_already, 0);
    assert_eq!(of_rules(rule, "", session()).cut.len(), 1);
}

#[test]
fn a_device_is_known_by_the_address_that_it_leases() {
    let devices = format!("{DEVICES}  pump-9: {{zone: pumps, mac: \"02:00:00:00:01:09\", dhcp: true}}\n");
    let rule = "  a: {from: pump-9, to: servers, services: tcp/443, action: allow}\n";
    let policy = load(ZONES, &devices, rule);
    let leased = |device: Option<&str>| {
        let flow = from("10.1.0.77", flow("tcp/443", 1));
        let initiator = FlowEnd {
            device: device.map(str::to_owned),
            ..flow.initiator
        };
        vec![FlowRecord { initiator, ..flow }]
    };
    let flows = |device| sifted([&policy, &policy], &[ENFORCING], leased(device));
    assert_eq!(flows(Some("pump-9")).refused_already, 0);
    assert_eq!(flows(None).refused_already, 1);
    let without = load(ZONES, &devices, "");
    assert_eq!(
        sifted([&policy, &without], &[ENFORCING], leased(Some("pump-9")))
            .cut
            .len(),
        1
    );
}

#[test]
fn groups_of_a_link_are_judged_on_their_vlan() {
    let rule = "  a: {from: pumps, to: 239.255.255.250/32, services: udp/3702, action: allow}\n";
    let discovery = || {
        let flow = to("239.255.255.250", flow("udp/3702", 1));
        let link = Some("110".to_owned());
        vec![FlowRecord { link, ..flow }]
    };
    assert_eq!(
        of_rules(rule, rule, discovery()),
        Flows {
            kept: 1,
            ..Flows::default()
        }
    );
    assert_eq!(of_rules(rule, "", discovery()).cut.len(), 1);
}

#[test]
fn all_that_a_person_needs_to_know_of_a_cut_flow_is_told() {
    let policies = [load(ZONES, DEVICES, HTTPS), load(ZONES, DEVICES, "")];
    let mut comparison = Comparison::new(&policies[0], &policies[1], now()).expect("both compile");
    let mut plan = comparison.plan().expect("the engines agree");
    plan.flows = Some(sifted(
        [&policies[0], &policies[1]],
        &[ENFORCING],
        vec![flow("tcp/443", 9000)],
    ));
    let text = plan.to_string();
    let expected = "\
- cut: 1 flow of pumps to servers, tcp/443
    by a until now, 1 answered, 3 frames, 9.0k octets, last seen 2026-12-31T23:59:50Z
    such as 10.1.0.11:40000 to 10.2.0.11:443: drop (default-deny)
1 denied; of 1 flows: 1 cut, 0 under another limit
";
    assert!(text.ends_with(expected), "{text}");
}
