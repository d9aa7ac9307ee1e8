use std::time::{Duration, SystemTime};

use enforcer_common::abi::{self, DEADLINES, Endpoint, PROTOCOL_PORTS, endpoint_flags, rule_flags};

use crate::policy::{TableSet, compile, compile_at, load_texts};

fn tables(text: &str) -> TableSet {
    let policy = load_texts([("policy.yaml".into(), text.to_owned())]).unwrap_or_else(|findings| panic!("{findings}"));
    compile(&policy).unwrap_or_else(|findings| panic!("{findings}"))
}

/// The endpoints that a word finds in their names: a device, or a prefix.
fn named<'t>(tables: &'t TableSet, word: &str) -> Vec<&'t Endpoint> {
    let names = tables.names.endpoints.iter().zip(&tables.endpoints);
    let is = |name: &crate::policy::tables::EndpointName| {
        let prefix = name.prefix.filter(|_| name.device.is_none());
        name.device.as_deref() == Some(word) || prefix.is_some_and(|prefix| prefix.to_string() == word)
    };
    names
        .filter(|(name, _)| is(name))
        .map(|(_, endpoint)| endpoint)
        .collect()
}

/// The record for a pair of identities and a TCP port, as the tables have it.
fn rule_of(tables: &TableSet, sender: u32, receiver: u32, port: u16) -> u32 {
    let block = tables.rows[(sender * tables.row_blocks + (receiver >> 8)) as usize];
    let profile = tables.profiles[block as usize].0[(receiver & 0xff) as usize];
    let entry = tables.protocols[6];
    let class = if entry & PROTOCOL_PORTS == 0 {
        entry
    } else {
        let ports = (entry & !PROTOCOL_PORTS) + u32::from(port >> 8);
        u32::from(tables.services[ports as usize].0[usize::from(port & 0xff)])
    };
    let column = tables.columns[(profile * tables.column_blocks + (class >> 8)) as usize];
    tables.cells[column as usize].0[(class & 0xff) as usize]
}

const SHIELDED: &str = "
zones:
  pumps: {vlan: 110, subnets: [10.1.1.0/24, \"fd00:1::/64\"], gateway: 10.1.1.1, tcp: strict, least_mss: 536}
  rooms: {vlan: 120, subnets: 10.1.2.0/24, limits: {toward: {concurrent: 20}}}
devices:
  pump-1: {zone: pumps, address: 10.1.1.2, least_mss: 0}
  room-1: {zone: rooms, address: 10.1.2.2, least_mss: 1200}
rules:
  watched: {from: rooms, to: pumps, services: tcp/80, action: allow, mode: monitor, limit: {concurrent: 3}}
  held: {from: rooms, to: pumps, services: tcp/81, action: allow, mode: enforce}
";

#[test]
fn what_zones_and_devices_say_stands_in_their_endpoints() {
    let tables = tables(SHIELDED);
    let strict = |word: &str| {
        let endpoints = named(&tables, word);
        assert_eq!(endpoints.len(), 1, "{word}");
        (
            endpoints[0].flags & endpoint_flags::STRICT_TCP != 0,
            endpoints[0].least_mss,
        )
    };
    assert_eq!(strict("10.1.1.0/24"), (true, 536));
    assert_eq!(strict("fd00:1::/64"), (true, 536));
    assert_eq!(strict("pump-1"), (true, 0));
    assert_eq!(strict("10.1.2.0/24"), (false, 0));
    assert_eq!(strict("room-1"), (false, 1200));
    assert_eq!(strict("10.1.1.1/32"), (false, 0));
    let pumps = tables.names.zones.iter().position(|name| name == "pumps");
    // Link-local stations are strict too; groups have no segments to be too small.
    let endpoints = tables.endpoints.iter().zip(&tables.names.endpoints);
    let linked =
        endpoints.filter(|(endpoint, name)| Some(usize::from(endpoint.zone)) == pumps && name.prefix.is_none());
    let mut linked: Vec<_> = linked
        .filter(|(_, name)| name.device.is_none())
        .map(|(endpoint, _)| (endpoint.flags, endpoint.least_mss))
        .collect();
    linked.sort_unstable();
    assert_eq!(
        linked,
        [(endpoint_flags::STRICT_TCP, 0), (endpoint_flags::STRICT_TCP, 536)]
    );
}

#[test]
fn flows_at_the_same_time_and_monitored_rules() {
    let tables = tables(SHIELDED);
    let rule = |name: &str| {
        let number = tables.names.rules.iter().position(|rule| rule.name == name);
        let rule = tables.rules[number.expect("it is there")];
        let concurrent = tables.budgets[rule.budget as usize].concurrent;
        (rule.flags & rule_flags::MONITOR != 0, concurrent)
    };
    assert_eq!(rule("watched"), (true, 3));
    assert_eq!(rule("held"), (false, 0));
    let toward = |word| tables.budgets[usize::from(named(&tables, word)[0].toward_budget)].concurrent;
    assert_eq!((toward("room-1"), toward("10.1.2.0/24"), toward("pump-1")), (20, 20, 0));
}

const LEASES: &str = "
zones:
  pumps: {vlan: 110, subnets: [10.1.1.0/24, 10.1.3.0/24, \"fd00:1::/64\"], gateway: 10.1.1.1, realm: west}
  rooms: {vlan: 120, subnets: 10.1.2.0/24, realm: west}
devices:
  pump-1: {zone: pumps, mac: \"00:1e:3d:00:01:01\", dhcp: true, limits: {toward: {concurrent: 7}}}
  pump-2: {zone: pumps, mac: \"00:1e:3d:00:01:02\", dhcp: true, address: [10.1.1.2, \"fd00:1::2\"]}
  pump-3: {zone: pumps, address: 10.1.1.3}
rules:
  around: {from: 10.1.0.0/16, to: rooms, services: tcp/80, action: allow}
  further: {from: 10.0.0.0/8, to: rooms, services: tcp/81, action: allow}
  one: {from: pump-1, to: rooms, services: tcp/82, action: allow}
  fixed: {from: 10.1.1.3, to: rooms, services: tcp/83, action: allow}
";

#[test]
fn devices_with_leases_have_an_endpoint_whatever_their_address() {
    let tables = tables(LEASES);
    let names: Vec<_> = tables.dynamic.iter().map(|device| &*device.name).collect();
    assert_eq!(names, ["pump-1", "pump-2"]);
    let first = &tables.dynamic[0];
    assert_eq!(first.mac, [0x00, 0x1e, 0x3d, 0, 1, 1]);
    assert_eq!(tables.names.realms[usize::from(first.realm)], "west");
    let subnets: Vec<_> = first.subnets.iter().map(ToString::to_string).collect();
    assert_eq!(subnets, ["10.1.1.0/24", "10.1.3.0/24"]);
    let endpoint = tables.endpoints[first.endpoint as usize];
    assert_eq!((endpoint.flags, endpoint.mac), (endpoint_flags::MAC, first.mac));
    assert_eq!(tables.budgets[usize::from(endpoint.toward_budget)].concurrent, 7);
    // A fixed IPv4 address is under the same prefixes as a lease.
    let beside = tables.dynamic[1].endpoint as usize;
    assert_eq!(tables.names.endpoints[beside].device.as_deref(), Some("pump-2"));
    let dynamic = |word: &str| {
        let endpoints = named(&tables, word);
        let flags = endpoints
            .iter()
            .map(|endpoint| endpoint.flags & endpoint_flags::DYNAMIC != 0);
        flags.collect::<Vec<_>>()
    };
    assert_eq!(dynamic("10.1.1.0/24"), [true]);
    assert_eq!(dynamic("10.1.3.0/24"), [true]);
    for word in ["fd00:1::/64", "10.1.2.0/24", "10.1.1.1/32", "10.1.0.0/16", "pump-3"] {
        assert_eq!(dynamic(word), [false], "{word}");
    }
}

/// The rule from a device to a room, by port, as the tables have it.
#[test]
fn rules_match_leases_by_device_zone_and_the_prefixes_around_all_of_them() {
    let tables = tables(LEASES);
    let rule = |sender: u32, port: u16| {
        let receiver = named(&tables, "10.1.2.0/24")[0].destination;
        let record = rule_of(&tables, tables.endpoints[sender as usize].source, receiver, port);
        tables.names.rules[record as usize].name.as_str()
    };
    let [first, second] = [0, 1].map(|device: usize| tables.dynamic[device].endpoint);
    assert_eq!(
        [80, 81, 82, 83].map(|port| rule(first, port)),
        ["around", "further", "one", "default-deny"]
    );
    assert_eq!(
        [80, 81, 82, 83].map(|port| rule(second, port)),
        ["around", "further", "default-deny", "default-deny"]
    );
}

const ENDING: &str = "
zones:
  a: {vlan: 1, subnets: 10.1.0.0/16}
  b: {vlan: 2, subnets: 10.2.0.0/16}
rules:
  early: {from: a, to: b, services: tcp/80, action: deny, priority: 9, expires: 2027-01-01T00:00:00Z}
  earlier: {from: a, to: b, services: any, action: allow, priority: 8, expires: 2026-12-31T23:00:00+01:00}
  late: {from: a, to: b, services: any, action: allow, priority: 7, expires: 2028-01-01T00:00:00Z}
  standing: {from: a, to: b, services: tcp, action: deny, priority: 6}
  never-reached: {from: a, to: b, services: tcp/80, action: allow, priority: 5}
";

/// The chain of rules from `a` to `b` on a TCP port.
fn chain(tables: &TableSet, port: u16) -> Vec<&str> {
    let end = |word| named(tables, word)[0];
    let mut record = rule_of(tables, end("10.1.0.0/16").source, end("10.2.0.0/16").destination, port);
    let mut chain = Vec::new();
    let mut before = 0;
    loop {
        chain.push(tables.names.rules[record as usize].name.as_str());
        let abi::Rule {
            deadline, otherwise, ..
        } = tables.rules[record as usize];
        if deadline == 0 {
            return chain;
        }
        assert!(before < deadline, "the deadlines of {chain:?} do not grow");
        (before, record) = (deadline, otherwise);
    }
}

#[test]
fn behind_a_rule_that_ends_stands_the_next_one_that_lasts_longer() {
    let tables = tables(ENDING);
    assert_eq!(chain(&tables, 80), ["early", "late", "standing"]);
    assert_eq!(chain(&tables, 81), ["earlier", "late", "standing"]);
    let record = tables.names.rules.iter().position(|rule| rule.name == "early");
    let deadline = tables.rules[record.expect("it is there")].deadline;
    assert_eq!(deadline, 1_798_761_600 * 1_000_000_000);
}

#[test]
fn rules_that_have_ended_are_as_if_absent() {
    let policy =
        load_texts([("policy.yaml".into(), ENDING.to_owned())]).unwrap_or_else(|findings| panic!("{findings}"));
    let at = |seconds| {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        compile_at(&policy, now).unwrap_or_else(|findings| panic!("{findings}"))
    };
    let tables = at(1_798_761_600);
    assert_eq!(chain(&tables, 80), ["late", "standing"]);
    assert_eq!(chain(&at(1_798_761_599), 80), ["early", "late", "standing"]);
    assert_eq!(chain(&at(4_000_000_000), 80), ["standing"]);
}

#[test]
fn more_ends_than_the_data_path_follows_are_an_error() {
    let rules = |count: usize| {
        let zones = "zones:\n  a: {vlan: 1, subnets: 10.1.0.0/16}\nrules:\n".to_owned();
        (0..count).fold(zones, |text, number| {
            format!(
                "{text}  r{number}: {{from: a, to: a, services: tcp/80, action: allow, priority: -{number}, expires: 203{number}-01-01T00:00:00Z}}\n"
            )
        })
    };
    let compiled = |count| {
        let policy = load_texts([("policy.yaml".into(), rules(count))]).unwrap_or_else(|findings| panic!("{findings}"));
        compile(&policy)
    };
    assert!(compiled(DEADLINES).is_ok());
    let findings = compiled(DEADLINES + 1).expect_err("too many");
    assert_eq!(findings.list.len(), 1);
    assert_eq!(findings.list[0].related.len(), DEADLINES, "{findings}");
    assert!(findings.to_string().contains("policy.yaml:4:"), "{findings}");
}

const PROMISES: &str = "
zones:
  guests: {vlan: 1, subnets: [10.1.0.0/16, \"fd00:1::/64\"]}
  pumps: {vlan: 2, subnets: [10.2.0.0/16, \"fd00:2::/64\"]}
  other: {vlan: 3, subnets: 10.3.0.0/16, realm: apart}
devices:
  pump-1: {zone: pumps, address: 10.2.0.1}
rules:
  web: {from: any, to: pump-1, services: tcp/80-443, action: allow, expires: 2030-01-01T00:00:00Z}
  not-guests: {from: 10.1.0.0/17, to: pumps, services: any, action: deny, priority: 1}
  inside: {from: pumps, to: pumps, services: udp, action: allow}
";

/// What is wrong with the policy and these promises.
fn broken(promises: &str) -> Vec<String> {
    let text = format!("{PROMISES}{promises}");
    let policy = load_texts([("policy.yaml".into(), text)]).unwrap_or_else(|findings| panic!("{findings}"));
    match compile(&policy) {
        Ok(_) => Vec::new(),
        Err(findings) => findings.list.into_iter().map(|finding| finding.message).collect(),
    }
}

#[test]
fn a_never_is_proven_over_every_cell() {
    let never = |body: &str| broken(&format!("never:\n  it: {{{body}}}\n"));
    assert_eq!(
        never("from: guests, to: pumps"),
        ["`it` can happen: tcp/80 from 10.1.128.0 (guests) to 10.2.0.1 (pump-1)"]
    );
    assert_eq!(
        never("from: guests, to: pumps, services: tcp/300-500"),
        ["`it` can happen: tcp/300 from 10.1.128.0 (guests) to 10.2.0.1 (pump-1)"]
    );
    // One address, cut out by the promise alone.
    assert_eq!(
        never("from: 10.1.200.9, to: pump-1"),
        ["`it` can happen: tcp/80 from 10.1.200.9 (guests) to 10.2.0.1 (pump-1)"]
    );
    let holds: [&str; 6] = [
        "from: 10.1.0.0/17, to: pumps",
        "from: guests, to: pumps, services: [tcp/444-65535, udp]",
        "from: guests, to: 10.2.0.2",
        "from: \"fd00:1::/64\", to: pumps",
        "from: pumps, to: guests",
        "from: other, to: pumps",
    ];
    for body in holds {
        assert_eq!(never(body), Vec::<String>::new(), "{body}");
    }
}

#[test]
fn silence_that_nobody_could_notice_is_refused() {
    let complaint = |body: &str| {
        let text = format!("{PROMISES}must_flow:\n  it: {{from: pumps, {body}}}\n");
        load_texts([("policy.yaml".into(), text)]).map_or_else(|findings| findings.to_string(), |_| String::new())
    };
    let heard = complaint("to: pumps, services: [udp/5, icmp/echo, icmpv6/echo], silence: 2s");
    assert_eq!(heard, "");
    for (body, expected) in [
        (
            "to: 239.255.255.250/32, services: udp/3702, silence: 2s",
            "the silence of frames to a group",
        ),
        ("to: pumps, services: icmp/11, silence: 2s", "ICMP other than echo"),
        ("to: pumps, services: udp/5, silence: 500ms", "too short to be noticed"),
        ("to: pumps, services: udp/5, silence: 2", "not a length of time"),
    ] {
        let found = complaint(body);
        assert!(found.contains(expected), "{body}: {found}");
    }
}

#[test]
fn what_must_flow_is_permitted_for_good() {
    let flow = |body: &str| broken(&format!("must_flow:\n  it: {{{body}}}\n"));
    assert_eq!(flow("from: pumps, to: pumps, services: udp/5"), Vec::<String>::new());
    assert_eq!(
        flow("from: pumps, to: pumps, services: [udp/5, tcp/5]"),
        ["`it` does not flow: tcp/5 from 10.2.0.2 (pumps) to 10.2.0.2 (pumps) is refused"]
    );
    // The rule that permits it ends.
    assert_eq!(
        flow("from: 10.1.128.0/17, to: pump-1, services: tcp/80"),
        ["`it` does not flow: tcp/80 from 10.1.128.1 (guests) to 10.2.0.1 (pump-1) is refused"]
    );
    assert_eq!(
        flow("from: 10.1.0.0/18, to: pump-1, services: tcp/80"),
        ["`it` does not flow: tcp/80 from 10.1.0.1 (guests) to 10.2.0.1 (pump-1) is refused"]
    );
    assert_eq!(
        flow("from: other, to: pumps, services: udp/5"),
        ["`it` can never flow: its ends cannot meet"]
    );
}
