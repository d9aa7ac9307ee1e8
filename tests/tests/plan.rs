//! `enforcer plan` against the engine: for random pairs of policies, the plan is empty exactly if no packet differs, and covers each
//! packet that does.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use enforcer::engine::Engine;
use enforcer::kernel::PortSetup;
use enforcer::offline::build;
use enforcer::plan::{self, Change, Kind, Plan};
use enforcer::policy::probe::Probe;
use enforcer::policy::valid::{Selector, ServiceMatch, ValidPolicy, VlanId, Zone};
use enforcer::policy::{self, link_scoped};
use enforcer_common::packet::{protocol, tcp_flags};
use enforcer_common::pipeline::Decision;
use enforcer_common::verdict::Verdict;
use enforcer_tests::random::{self, BEGIN, Random, TRUNK};
use ipnetwork::IpNetwork;

const PAIRS: u64 = 120;
const PROBES: usize = 250;

/// What becomes of a packet, as a plan tells it.
fn fate(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass | Verdict::Redirect => "allowed",
        Verdict::WouldDrop => "monitored",
        Verdict::Drop => "denied",
    }
}

/// Another policy that has a line less, a rule that says the opposite, a zone in the other mode, or nothing in common.
fn other(random: &mut Random, text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let number = random.below(lines.len());
    let edit = |line: &str, swap: [(&str, &str); 2]| {
        let [(a, b), (c, d)] = swap;
        if line.contains(a) {
            line.replace(a, b)
        } else {
            line.replace(c, d)
        }
    };
    let kind = random.below(8);
    let changed = lines.iter().enumerate().filter_map(|(at, line)| match kind {
        _ if at != number => Some((*line).to_owned()),
        0 | 1 => None,
        2 => Some(edit(
            line,
            [("action: allow", "action: deny"), ("action: deny", "action: allow")],
        )),
        3 => Some(edit(
            line,
            [("mode: enforce", "mode: monitor"), ("mode: monitor", "mode: enforce")],
        )),
        4 => Some(edit(
            line,
            [("services: [\"", "services: [\"tcp/1-9999\", \""), ("", "")],
        )),
        5 => Some(edit(line, [("from: [\"", "from: [\"10.1.1.0/26\", \""), ("", "")])),
        6 => Some(edit(line, [("to: [\"", "to: [\"ff02::fb/128\", \""), ("", "")])),
        _ => Some(edit(line, [("priority: 1", "priority: 0"), (", log: new", "")])),
    });
    changed.collect::<Vec<_>>().join("\n") + "\n"
}

/// Addresses at and beside the boundaries that policies draw.
fn addresses(policies: [&ValidPolicy; 2]) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for policy in policies {
        let zones = policy.zones.iter();
        let subnets = zones.clone().flat_map(|zone| zone.subnets.iter().copied());
        let selectors = policy.rules.iter().flat_map(|rule| rule.from.iter().chain(&rule.to));
        let prefixes = selectors.filter_map(|selector| match selector {
            Selector::Prefix(prefix) => Some(*prefix),
            _ => None,
        });
        for network in subnets.chain(prefixes) {
            let next = |address: IpAddr, step: i32| -> IpAddr {
                match address {
                    IpAddr::V4(four) => std::net::Ipv4Addr::from_bits(four.to_bits().wrapping_add_signed(step)).into(),
                    IpAddr::V6(six) => {
                        std::net::Ipv6Addr::from_bits(six.to_bits().wrapping_add_signed(step.into())).into()
                    }
                }
            };
            let (first, last) = (network.network(), network.broadcast());
            found.extend([
                first,
                next(first, 1),
                next(first, 2),
                next(first, -1),
                last,
                next(last, 1),
            ]);
        }
        found.extend(policy.devices.iter().flat_map(|device| &device.addresses));
        found.extend(zones.flat_map(|zone| &zone.gateways));
    }
    found.extend(
        [
            "239.255.255.250",
            "255.255.255.255",
            "ff02::fb",
            "fe80::77",
            "192.0.2.77",
        ]
        .map(|text| text.parse::<IpAddr>().expect("an address")),
    );
    found.sort_unstable();
    found.dedup();
    found
}

fn services(policies: [&ValidPolicy; 2]) -> Vec<(u8, u16)> {
    let mut found = vec![
        (protocol::TCP, 9),
        (protocol::UDP, 9),
        (253, 0),
        (protocol::ICMP, 8 << 8),
        (protocol::ICMPV6, 128 << 8),
    ];
    for service in policies
        .iter()
        .flat_map(|policy| &policy.rules)
        .flat_map(|rule| &rule.services)
    {
        match *service {
            ServiceMatch::Ports { protocol, first, last } => {
                found.extend([first.wrapping_sub(1), first, last, last.wrapping_add(1)].map(|port| (protocol, port)));
            }
            ServiceMatch::Protocol(protocol) => found.push((protocol, 0)),
            ServiceMatch::Any => {}
        }
    }
    found
}

/// Whether packets of a family can ask for a service, as a matter of rules.
fn possible(six: bool, (number, port): (u8, u16)) -> bool {
    match number {
        protocol::ICMPV6 => six && !(133..=137).contains(&(port >> 8)),
        // ICMP, and what is a header of IPv6.
        1 | 0 | 43 | 44 | 51 | 60 | 135 | 139 => !six,
        _ => true,
    }
}

fn probe(vlan: VlanId, source: IpAddr, destination: IpAddr, service: (u8, u16), mac: Option<[u8; 6]>) -> Probe {
    Probe {
        vlan,
        source,
        destination,
        source_mac: mac.unwrap_or([2, 0, 0, 0, 0, 1]),
        destination_mac: [2, 0, 0, 0, 0, 2],
        protocol: service.0,
        source_port: 50_000,
        port: service.1,
        flags: (service.0 == protocol::TCP).then_some(tcp_flags::ACK),
        size: 0,
    }
}

/// A VLAN on which an address lives.
fn home(policy: &ValidPolicy, address: IpAddr) -> Option<VlanId> {
    let length = |zone: &Zone| {
        zone.subnets
            .iter()
            .filter(|subnet| subnet.contains(address))
            .map(IpNetwork::prefix)
            .max()
    };
    let zones = policy.zones.iter().filter_map(|zone| Some((length(zone)?, zone)));
    zones.max_by_key(|(length, _)| *length)?.1.vlan
}

fn engine(policy: &ValidPolicy, now: u64) -> Option<Engine> {
    let tables = policy::compile_at(policy, UNIX_EPOCH + Duration::from_nanos(now)).ok()?;
    let mut engine = Engine::new(tables, vec![PortSetup::new("trunk", TRUNK).entry(0)]);
    engine.track_flows(false);
    Some(engine)
}

fn zone_names(engine: &Engine, decision: &Decision) -> [String; 2] {
    let names = &engine.tables().names;
    [decision.source, decision.destination].map(|endpoint| {
        let zone = names.endpoints[endpoint as usize].zone;
        names.zones[usize::from(zone)].clone()
    })
}

/// Whether a list of services, as a plan writes it, has a service.
fn lists(services: &[String], (number, port): (u8, u16)) -> bool {
    let name = enforcer::words::protocol(number);
    services.iter().any(|service| {
        let (protocol, rest) = service.split_once('/').map_or((service.as_str(), ""), |(a, b)| (a, b));
        if *service == name {
            return true;
        }
        if service.starts_with("proto/") || protocol != name {
            return false;
        }
        let icmp = matches!(number, 1 | 58);
        let value = |text: &str, low: bool| match (icmp, text.split_once('/')) {
            (true, Some((kind, code))) => kind.parse::<u16>().unwrap_or(0) << 8 | code.parse::<u16>().unwrap_or(0),
            (true, None) => text.parse::<u16>().unwrap_or(0) << 8 | if low { 0 } else { 0xff },
            (false, _) => text.parse().unwrap_or(0),
        };
        let (first, last) = rest.split_once('-').unwrap_or((rest, rest));
        (value(first, true)..=value(last, false)).contains(&port)
    })
}

fn covers(
    change: &Change,
    zones: &[[String; 2]; 2],
    fates: [&str; 2],
    service: (u8, u16),
    destination: IpAddr,
) -> bool {
    let to = &change.to;
    let meets = if link_scoped::contains(destination) {
        to.link
    } else {
        to.stations
    };
    let named = |end: &plan::End, side: usize| {
        let [before, after] = [&zones[0][side], &zones[1][side]];
        let was = end.was.as_ref().unwrap_or(&end.zone);
        (*after == end.zone && *before == *was) || (end.was.is_none() && (*before == end.zone || *after == end.zone))
    };
    let asked = if change.services == ["any"] {
        !lists(&change.except, service)
    } else {
        lists(&change.services, service)
    };
    let word = |fate: plan::Fate| match fate {
        plan::Fate::Allowed => "allowed",
        plan::Fate::Monitored => "monitored",
        plan::Fate::Denied => "denied",
    };
    asked
        && meets
        && named(&change.from, 0)
        && named(&change.to, 1)
        && fates == [word(change.before.fate), word(change.after.fate)]
}

/// Compares random packets, and returns how many differ.
fn check(random: &mut Random, policies: [&ValidPolicy; 2], plan: &Plan, context: &str) -> usize {
    let engines = policies.map(|policy| engine(policy, BEGIN));
    let [Some(before), Some(after)] = engines else { return 0 };
    let (addresses, services) = (addresses(policies), services(policies));
    let vlans: Vec<VlanId> = policies
        .iter()
        .flat_map(|policy| &policy.zones)
        .filter_map(|zone| zone.vlan)
        .collect();
    let link: Vec<IpAddr> = addresses
        .iter()
        .copied()
        .filter(|address| link_scoped::contains(*address))
        .collect();
    let mut differ = 0;
    for _ in 0..PROBES {
        let source = random.pick(&addresses);
        let destination = if random.percent(30) {
            random.pick(&link)
        } else {
            random.pick(&addresses)
        };
        let service = random.pick(&services);
        if source.is_ipv6() != destination.is_ipv6() || !possible(source.is_ipv6(), service) {
            continue;
        }
        let devices = policies[1].devices.iter();
        let mac = devices
            .filter(|device| device.addresses.contains(&source))
            .find_map(|device| device.mac);
        let vlan = home(policies[random.below(2)], source).filter(|_| random.percent(80));
        let vlan = vlan.unwrap_or_else(|| random.pick(&vlans));
        let probe = probe(vlan, source, destination, service, mac);
        let octets = build::octets(&probe);
        let decisions = [&before, &after].map(|engine| engine.decide(&octets, TRUNK, BEGIN).0);
        let fates = decisions.map(|decision| fate(decision.verdict));
        if fates[0] == fates[1] {
            continue;
        }
        differ += 1;
        assert!(
            !plan.is_empty(),
            "{probe:?}: {fates:?}, and the plan is empty\n{context}"
        );
        // A sender that is who it says, under policies whose zones and devices say the same.
        let honest = |engine: &Engine, decision: &Decision| {
            let endpoint = engine.tables().endpoints[decision.source as usize];
            endpoint.lan == decision.lan && decision.lan != 0
        };
        let same = plan.zones.is_empty() && plan.devices.is_empty();
        if same && honest(&before, &decisions[0]) && honest(&after, &decisions[1]) && !link_scoped::contains(source) {
            let zones = [zone_names(&before, &decisions[0]), zone_names(&after, &decisions[1])];
            assert!(
                plan.changes
                    .iter()
                    .any(|change| covers(change, &zones, fates, service, destination)),
                "{probe:?} in {zones:?}: {fates:?}, which no line of the plan covers\n{plan}\n{context}"
            );
        }
    }
    differ
}

#[test]
fn the_plan_is_empty_exactly_if_no_packet_differs_and_covers_those_that_do() {
    let mut kinds = BTreeSet::new();
    let (mut differing, mut silent, mut planned) = (0, 0, 0);
    for seed in 0..PAIRS {
        let random = &mut Random::new(0x91a4_0000 + seed);
        let text = random::text(random);
        let changed = if random.percent(10) {
            random::text(random)
        } else {
            other(random, &text)
        };
        let (Ok(before), Ok(after)) = (random::load(&text), random::load(&changed)) else {
            continue;
        };
        let context = format!("seed {seed}\n{text}\n---\n{changed}");
        // Every example has been decided by both engines: a disagreement is an error.
        let plan = plan::plan(Some(&before), &after, UNIX_EPOCH + Duration::from_nanos(BEGIN));
        let plan = plan.unwrap_or_else(|errors| panic!("{errors}\n{context}"));
        planned += 1;
        kinds.extend(plan.changes.iter().map(|change| change.kind));
        let found = check(random, [&before, &after], &plan, &context);
        differing += found;
        if text != changed && plan.is_empty() {
            silent += 1;
        }
        for change in &plan.changes {
            let (old, new) = (&change.example.before, &change.example.after);
            if matches!(
                change.kind,
                Kind::Denied | Kind::Enforced | Kind::Monitored | Kind::Allowed
            ) {
                assert_ne!(old.verdict, new.verdict, "{change:?}\n{context}");
            }
        }
    }
    assert!(planned > PAIRS / 2, "{planned} pairs of policies");
    assert!(differing > 200, "{differing} packets differed");
    assert!(silent > 3, "{silent} changes of text changed nothing");
    for kind in [
        Kind::Denied,
        Kind::Enforced,
        Kind::Monitored,
        Kind::Allowed,
        Kind::Lasting,
        Kind::Logged,
    ] {
        assert!(kinds.contains(&kind), "no plan has {kind:?}");
    }
}

#[test]
fn a_policy_does_not_differ_from_itself() {
    for seed in 0..200 {
        let text = random::text(&mut Random::new(0x5e1f_0000 + seed));
        let Ok(policy) = random::load(&text) else { continue };
        let plan = plan::plan(Some(&policy), &policy, UNIX_EPOCH + Duration::from_nanos(BEGIN)).expect(&text);
        assert!(plan.is_empty(), "{plan}\n{text}");
    }
}
