//! Rules that are learnt, held to the packet engine: what was seen passes by them, and what was not does not.

use std::collections::BTreeSet;
use std::path::PathBuf;

use enforcer::learn::{End, Key, LIMIT, Observation, Proposal, Store, Wishes, propose, text, verify};
use enforcer::offline::{Rig, build, now};
use enforcer::policy::probe::{Probe, Words};
use enforcer::policy::{ValidPolicy, load_texts};
use enforcer_common::verdict::Verdict;
use proptest::prelude::*;

/// Two address spaces that overlap, a zone with leases, a device with two families, a rule that denies, and a promise.
const POLICY: &str = r#"
zones:
  pumps: {vlan: 110, subnets: [10.1.1.0/24, "fd00:1::/64"], gateway: 10.1.1.1, mode: enforce}
  servers: {vlan: 20, subnets: [10.2.0.0/16, "fd00:2::/64"], mode: enforce}
  ward: {vlan: 30, subnets: [10.3.0.0/24], mode: enforce}
  vendor: {vlan: "40.1", realm: vendor, subnets: [10.1.1.0/24], mode: enforce}
  vendor-office: {vlan: 41, realm: vendor, subnets: [10.5.0.0/24], mode: enforce}
devices:
  pump-1: {zone: pumps, address: [10.1.1.21, "fd00:1::21"]}
  server-1: {zone: servers, address: [10.2.0.1, "fd00:2::1"]}
  tablet: {zone: ward, mac: "02:00:00:00:30:01", dhcp: true}
  terminal: {zone: vendor, address: 10.1.1.50}
services:
  web: [tcp/80, tcp/443]
  ping: icmp/8/0
rules:
  pumps-resolve: {from: pumps, to: servers, services: udp/53, action: allow}
  no-telnet: {from: pumps, to: any, services: tcp/23, action: deny}
never:
  ward-by-ssh: {from: any, to: ward, services: tcp/22}
"#;

/// Who can be seen: how a frame names it, its realm and VLAN, whether it is a group, and who it is for a rule.
#[derive(Clone, Debug)]
struct Station {
    word: &'static str,
    realm: &'static str,
    vlan: &'static str,
    who: &'static str,
}

const fn station(word: &'static str, realm: &'static str, vlan: &'static str, who: &'static str) -> Station {
    Station { word, realm, vlan, who }
}

const STATIONS: [Station; 16] = [
    station("10.1.1.21", "default", "110", "pump-1"),
    station("10.1.1.22", "default", "110", "10.1.1.22"),
    station("10.1.1.23", "default", "110", "10.1.1.23"),
    station("fd00:1::21", "default", "110", "pump-1"),
    station("fd00:1::22", "default", "110", "fd00:1::22"),
    station("10.2.0.1", "default", "20", "server-1"),
    station("10.2.0.2", "default", "20", "10.2.0.2"),
    station("10.2.9.9", "default", "20", "10.2.9.9"),
    station("fd00:2::1", "default", "20", "server-1"),
    station("fd00:2::2", "default", "20", "fd00:2::2"),
    station("tablet", "default", "30", "tablet"),
    station("10.1.1.50", "vendor", "40.1", "terminal"),
    station("10.1.1.22", "vendor", "40.1", "10.1.1.22"),
    station("10.5.0.7", "vendor", "41", "10.5.0.7"),
    station("10.1.1.1", "default", "", "10.1.1.1"),
    station("239.1.1.1", "", "", "239.1.1.1"),
];
/// The last two only receive.
const SENDERS: usize = STATIONS.len() - 2;
const SERVICES: [(u8, u16, &str); 8] = [
    (6, 80, "tcp/80"),
    (6, 443, "tcp/443"),
    (6, 23, "tcp/23"),
    (6, 22, "tcp/22"),
    (17, 53, "udp/53"),
    (17, 5000, "udp/5000"),
    (1, 0x0800, "icmp/8/0"),
    (47, 0, "proto/47"),
];

/// A packet between two stations for a service, all by their numbers.
type Packet = (usize, usize, usize);

fn is_ipv6(station: &Station) -> bool {
    station.word.contains(':')
}

/// Whether there can be such a packet.
fn is_possible((from, to, service): Packet) -> bool {
    let [source, destination] = [&STATIONS[from], &STATIONS[to]];
    let is_group = destination.realm.is_empty();
    from != to
        && (is_group || source.realm == destination.realm)
        && is_ipv6(source) == is_ipv6(destination)
        && !(is_ipv6(source) && SERVICES[service].0 == 1)
        && !(is_group && SERVICES[service].0 == 6)
}

/// Whether a rule can name it for sure: one of the ends is in one realm only.
fn is_pinned((from, to, _): Packet) -> bool {
    let own = |station: &Station| {
        let shared = station.who == station.word && station.word.starts_with("10.1.1.");
        !shared && !station.realm.is_empty()
    };
    // Of the gateway's addresses, the other realm has a station.
    own(&STATIONS[from]) || own(&STATIONS[to])
}

fn key((from, to, service): Packet) -> Key {
    let end = |station: &Station| match station.word.parse() {
        Ok(address) => End::Address(address),
        Err(_) => End::Device(station.word.to_owned()),
    };
    let (protocol, port, _) = SERVICES[service];
    Key {
        realm: STATIONS[from].realm.to_owned(),
        link: STATIONS[to].realm.is_empty().then(|| STATIONS[from].vlan.to_owned()),
        from: end(&STATIONS[from]),
        to: end(&STATIONS[to]),
        protocol,
        port,
    }
}

fn seen(answered: bool) -> Observation {
    Observation {
        answered,
        turned: false,
        first: 1_700_000_000,
        last: 1_700_000_100,
        count: 3,
    }
}

fn policy(more: &str) -> ValidPolicy {
    let texts = [("policy.yaml", POLICY), ("learned.yaml", more)];
    let texts = texts.map(|(path, text)| (PathBuf::from(path), text.to_owned()));
    load_texts(texts).unwrap_or_else(|errors| panic!("{more}\n{errors}"))
}

/// Whether the engine lets the first packet of a session pass.
fn passes(rig: &mut Rig, (from, to, service): Packet) -> bool {
    let words = [
        ("src", STATIONS[from].word),
        ("dst", STATIONS[to].word),
        ("service", SERVICES[service].2),
        ("vlan", STATIONS[from].vlan),
    ];
    let words = Words::new(words.map(|(word, value)| (word, value.to_owned())).to_vec());
    let probe = Probe::from_command_line(&words, rig.policy()).expect("a frame");
    rig.forget();
    let outcome = rig.outcome(build::octets(&probe).as_slice(), now());
    outcome.verdict == Verdict::Pass
}

fn learnt(store: &Store, wishes: &Wishes) -> (Proposal, String) {
    let before = policy("");
    let proposal = propose(store, &before, wishes).expect("the policy compiles");
    let text = text(&proposal);
    verify(&before, &proposal, &text).unwrap_or_else(|unfit| panic!("{text}\n{unfit}"));
    (proposal, text)
}

/// A packet as rules tell packets apart.
fn named((from, to, service): Packet) -> (&'static str, &'static str, &'static str, usize) {
    (STATIONS[from].realm, STATIONS[from].who, STATIONS[to].who, service)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_was_seen_passes_and_its_neighbours_do_not(
        packets in prop::collection::btree_set((0..SENDERS, 0..STATIONS.len(), 0..SERVICES.len()), 1..40)
    ) {
        let packets: BTreeSet<Packet> = packets.into_iter().filter(|packet| is_possible(*packet)).collect();
        let mut store = Store::new(LIMIT);
        for packet in &packets {
            store.note(key(*packet), &seen(!STATIONS[packet.1].realm.is_empty()));
        }
        let (_, text) = learnt(&store, &Wishes::default());
        let mut before = Rig::new(policy(""), 0).expect("it compiles");
        let mut after = Rig::new(policy(&text), 0).expect("it compiles");
        let all: BTreeSet<_> = packets.iter().map(|packet| named(*packet)).collect();
        let sends = |packet: &Packet| SERVICES[packet.2].2;
        for packet in &packets {
            let is_telnet = STATIONS[packet.0].vlan == "110" && sends(packet) == "tcp/23";
            let is_promised = STATIONS[packet.1].vlan == "30" && sends(packet) == "tcp/22";
            let expected = is_pinned(*packet) && !is_telnet && !is_promised;
            prop_assert_eq!(passes(&mut after, *packet), expected, "{:?}\n{}", named(*packet), text);
        }
        for from in 0..SENDERS {
            for to in 0..STATIONS.len() {
                for service in 0..SERVICES.len() {
                    let packet = (from, to, service);
                    if is_possible(packet) && !all.contains(&named(packet)) {
                        let (was, is) = (passes(&mut before, packet), passes(&mut after, packet));
                        prop_assert_eq!(is, was, "{:?}\n{}", named(packet), text);
                    }
                }
            }
        }
    }
}

/// Addresses of all kinds, and names that the policy has and has not.
fn any_end() -> impl Strategy<Value = End> {
    let known = prop::sample::select(&STATIONS[..]).prop_map(|station| station.word);
    let odd = prop::sample::select(
        &[
            "127.0.0.1",
            "8.8.8.8",
            "::1",
            "fe80::1",
            "ff02::1",
            "0.0.0.0",
            "gone",
            "pump-1",
        ][..],
    );
    prop_oneof![known, odd].prop_map(|word| word.parse().map_or_else(|_| End::Device(word.to_owned()), End::Address))
}

fn any_key() -> impl Strategy<Value = Key> {
    let realm = prop::sample::select(&["default", "vendor", "gone"][..]);
    let link = prop::option::of(prop::sample::select(&["110", "20", "40.1", "4095", ""][..]));
    let protocol = prop_oneof![Just(6), Just(17), Just(1), Just(58), any::<u8>()];
    let ends = (any_end(), any_end());
    (realm, link, ends, protocol, any::<u16>()).prop_map(|(realm, link, (from, to), protocol, port)| Key {
        realm: realm.to_owned(),
        link: link.map(str::to_owned),
        from,
        to,
        protocol,
        port,
    })
}

proptest! {
    #[test]
    fn whatever_a_store_holds_the_rules_are_a_good_policy(
        keys in prop::collection::vec((any_key(), any::<bool>()), 0..30),
        wider in any::<[bool; 4]>(),
    ) {
        let mut store = Store::new(LIMIT);
        for (key, answered) in keys {
            store.note(key, &seen(answered));
        }
        let [from, to, wider_ports, unanswered] = wider;
        let wishes = Wishes { wider_ends: [from, to], wider_ports, unanswered, ..Wishes::default() };
        let before = policy("");
        let proposal = propose(&store, &before, &wishes).expect("the policy compiles");
        let text = text(&proposal);
        let unfit = verify(&before, &proposal, &text).err().map(|unfit| unfit.to_string());
        // Only a wider rule may break a promise.
        let broken = unfit.filter(|unfit| !((from || to) && unfit.contains("`ward-by-ssh`")));
        prop_assert!(broken.is_none(), "{}\n{}", broken.unwrap_or_default(), text);
    }
}

fn store_of(packets: &[(&str, &str, &str, bool)]) -> Store {
    let mut store = Store::new(LIMIT);
    for (from, to, service, answered) in packets {
        let number = |word: &str| STATIONS.iter().position(|station| station.word == word).unwrap();
        let service = SERVICES.iter().position(|(.., text)| text == service).unwrap();
        store.note(key((number(from), number(to), service)), &seen(*answered));
    }
    store
}

fn kinds(proposal: &Proposal) -> Vec<(&str, &str)> {
    let findings = proposal.findings.iter();
    findings
        .map(|finding| (finding.kind, finding.subject.as_str()))
        .collect()
}

#[test]
fn senders_with_the_same_receivers_share_a_rule_and_services_with_the_same_ends_too() {
    let store = store_of(&[
        ("10.1.1.21", "10.2.0.1", "tcp/443", true),
        ("10.1.1.22", "10.2.0.1", "tcp/443", true),
        ("10.1.1.21", "10.2.0.1", "tcp/80", true),
        ("10.1.1.22", "10.2.0.1", "tcp/80", true),
        ("10.1.1.21", "10.2.0.1", "icmp/8/0", true),
        ("10.1.1.21", "239.1.1.1", "udp/5000", false),
        ("10.1.1.21", "10.2.0.2", "udp/53", true),
    ]);
    let (proposal, text) = learnt(&store, &Wishes::default());
    let expected = r#"# Proposed by `enforcer learn`, for what was seen from 2023-11-14T22:13:20Z to 2023-11-14T22:15:00Z and no rule permits.
# Review each rule with who knows the devices, give it a name that says what it is for, and keep it with the policy.
rules:
  # pump-1 to 239.1.1.1, udp/5000: 3 times, 2023-11-14T22:13:20Z to 2023-11-14T22:15:00Z, never answered
  learned-pumps-to-pumps-udp-5000:
    from: pump-1
    to: 239.1.1.1
    services: udp/5000
    action: allow
    comment: "seen 3 times from 1 sender, 2023-11-14T22:13:20Z to 2023-11-14T22:15:00Z"
  # pump-1 to server-1, icmp/8/0: 3 times, 2023-11-14T22:13:20Z to 2023-11-14T22:15:00Z
  learned-pumps-to-servers-ping:
    from: pump-1
    to: server-1
    services: ping
    action: allow
    comment: "seen 3 times from 1 sender, 2023-11-14T22:13:20Z to 2023-11-14T22:15:00Z"
  # pump-1 to server-1, tcp/80: 3 times, 2023-11-14T22:13:20Z to 2023-11-14T22:15:00Z
  # pump-1 to server-1, tcp/443: 3 times, 2023-11-14T22:13:20Z to 2023-11-14T22:15:00Z
  # 10.1.1.22 to server-1, tcp/80: 3 times, 2023-11-14T22:13:20Z to 2023-11-14T22:15:00Z
  # 10.1.1.22 to server-1, tcp/443: 3 times, 2023-11-14T22:13:20Z to 2023-11-14T22:15:00Z
  learned-pumps-to-servers-web:
    from: [pump-1, 10.1.1.22]
    to: server-1
    services: web
    action: allow
    comment: "seen 12 times from 2 senders, 2023-11-14T22:13:20Z to 2023-11-14T22:15:00Z"
"#;
    assert_eq!(text, expected);
    assert_eq!((proposal.seen, proposal.permitted, proposal.proposed), (7, 1, 6));
}

#[test]
fn what_a_device_does_by_each_of_its_addresses_is_one_pair() {
    let store = store_of(&[
        ("10.1.1.21", "10.2.0.1", "tcp/443", true),
        ("fd00:1::21", "fd00:2::1", "tcp/443", false),
    ]);
    let (proposal, text) = learnt(
        &store,
        &Wishes {
            unanswered: true,
            ..Wishes::default()
        },
    );
    let [rule] = proposal.rules.as_slice() else {
        panic!("{text}")
    };
    assert_eq!(
        (rule.pairs.len(), rule.pairs[0].evidence.count, rule.pairs[0].answered),
        (1, 6, true)
    );
}

#[test]
fn addresses_that_every_vlan_has_are_permitted_on_theirs_only() {
    let key = |vlan: &str, from: &str, to: &str| Key {
        realm: "default".into(),
        link: Some(vlan.into()),
        from: End::Address(from.parse().unwrap()),
        to: End::Address(to.parse().unwrap()),
        protocol: 17,
        port: 67,
    };
    let seen_on = [
        ("110", "0.0.0.0", "255.255.255.255"),
        ("20", "fe80::2", "fe80::1"),
        ("20", "10.2.0.2", "224.0.0.9"),
    ];
    let mut store = Store::new(LIMIT);
    for (vlan, from, to) in seen_on {
        store.note(key(vlan, from, to), &seen(false));
    }
    let (_, text) = learnt(&store, &Wishes::default());
    let mut rig = Rig::new(policy(&text), 0).unwrap();
    let mut passes = |vlan: &str, from: &str, to: &str| {
        let words = [("src", from), ("dst", to), ("service", "udp/67"), ("vlan", vlan)];
        let words = Words::new(words.map(|(word, value)| (word, value.to_owned())).to_vec());
        let probe = Probe::from_command_line(&words, rig.policy()).expect("a frame");
        rig.forget();
        rig.outcome(build::octets(&probe).as_slice(), now()).verdict == Verdict::Pass
    };
    for (vlan, from, to) in seen_on {
        assert!(passes(vlan, from, to), "{vlan} {from} {to}\n{text}");
    }
    let others = [
        ("20", "0.0.0.0", "255.255.255.255"),
        ("41", "0.0.0.0", "255.255.255.255"),
        ("110", "fe80::2", "fe80::1"),
        ("20", "fe80::2", "fe80::3"),
        ("20", "10.2.9.9", "224.0.0.9"),
        ("20", "10.2.0.2", "224.0.0.10"),
    ];
    for (vlan, from, to) in others {
        assert!(!passes(vlan, from, to), "{vlan} {from} {to}\n{text}");
    }
}

#[test]
fn what_no_rule_is_proposed_for_is_a_finding() {
    let mut packets = vec![
        ("10.1.1.21", "10.2.0.1", "tcp/23", true),
        ("10.1.1.21", "tablet", "tcp/22", true),
        ("10.2.0.1", "10.2.0.2", "tcp/443", false),
        ("10.1.1.22", "10.1.1.23", "tcp/443", true),
    ];
    let findings = |store: &Store, wishes: &Wishes| {
        let (proposal, text) = learnt(store, wishes);
        assert!(proposal.rules.is_empty(), "{text}");
        kinds(&proposal)
            .into_iter()
            .map(|(kind, subject)| format!("{kind} {subject}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        findings(&store_of(&packets), &Wishes::default()),
        [
            "denied-on-purpose rule no-telnet (policy.yaml:18)",
            "promised never `ward-by-ssh`",
            "unanswered server-1 of servers",
            "ambiguous-address 10.1.1.22 of pumps",
        ]
    );
    packets = vec![("10.1.1.21", "10.2.0.1", "tcp/80", true)];
    let wishes = Wishes {
        min_count: 4,
        ..Wishes::default()
    };
    assert_eq!(findings(&store_of(&packets), &wishes), ["rare pump-1 of pumps"]);
    let mut store = Store::new(LIMIT);
    let odd = |link: Option<&str>, realm: &str, from: &str, to: &str| Key {
        realm: realm.into(),
        link: link.map(str::to_owned),
        from: from.parse().map_or_else(|_| End::Device(from.into()), End::Address),
        to: End::Address(to.parse().unwrap()),
        protocol: 17,
        port: 5000,
    };
    for key in [
        odd(None, "default", "10.1.1.21", "8.8.8.8"),
        odd(None, "default", "10.3.0.99", "10.2.0.1"),
        odd(None, "gone", "10.1.1.21", "10.2.0.1"),
        odd(Some("77"), "default", "fe80::1", "fe80::2"),
        odd(None, "default", "tablet-9", "10.2.0.1"),
        Key {
            protocol: 1,
            port: 0x0303,
            ..odd(None, "default", "10.2.0.1", "10.1.1.21")
        },
    ] {
        store.note(key, &seen(true));
    }
    assert_eq!(
        findings(&store, &Wishes::default()),
        [
            "unknown-address 8.8.8.8 of unknown",
            "leased-address 10.3.0.99 of ward",
            "not-in-policy VLAN 77",
            "not-in-policy device `tablet-9`",
            "not-in-policy realm `gone`",
            "icmp-error server-1 of servers",
        ]
    );
}

#[test]
fn a_scan_is_left_out_with_what_answered_it() {
    let mut store = store_of(&[
        ("10.1.1.21", "10.2.0.1", "tcp/443", true),
        ("10.1.1.22", "10.2.0.1", "tcp/443", true),
    ]);
    for port in 1..=200 {
        let packet = key((1, 5, 0));
        store.note(Key { port, ..packet }, &seen(port == 80));
    }
    let (proposal, text) = learnt(
        &store,
        &Wishes {
            unanswered: true,
            ..Wishes::default()
        },
    );
    assert_eq!(
        kinds(&proposal)[1..],
        [("scan", "10.1.1.22 of pumps")],
        "the first is telnet"
    );
    let finding = &proposal.findings[1];
    assert_eq!(
        finding.connections, 200,
        "199 without telnet, and what answers others too"
    );
    assert_eq!(proposal.rules.len(), 1, "{text}");
    assert_eq!(proposal.rules[0].from, ["pump-1"]);
}

#[test]
fn wider_rules_are_for_zones_and_ranges_and_keep_promises() {
    let mut store = store_of(&[
        ("10.1.1.21", "10.2.0.1", "tcp/443", true),
        ("10.1.1.22", "10.2.0.2", "tcp/443", true),
    ]);
    let leased = Key {
        from: End::Address("10.3.0.99".parse().unwrap()),
        ..key((0, 5, 1))
    };
    store.note(leased, &seen(true));
    let wider = Wishes {
        wider_ends: [true; 2],
        ..Wishes::default()
    };
    let (proposal, text) = learnt(&store, &wider);
    let ends: Vec<_> = proposal
        .rules
        .iter()
        .map(|rule| (rule.from[0].as_str(), rule.to[0].as_str()))
        .collect();
    assert_eq!(ends, [("pumps", "servers"), ("ward", "servers")], "{text}");
    let mut after = Rig::new(policy(&text), 0).unwrap();
    assert!(passes(&mut after, (2, 7, 1)), "others of the zones may as well");

    let mut store = Store::new(LIMIT);
    for port in [50_000, 50_010, 50_020, 50_030, 443] {
        store.note(Key { port, ..key((0, 5, 0)) }, &seen(true));
    }
    let (proposal, _) = learnt(
        &store,
        &Wishes {
            wider_ports: true,
            ..Wishes::default()
        },
    );
    assert_eq!(proposal.rules[0].services, ["tcp/443", "tcp/50000-50030"]);

    let store = store_of(&[("10.1.1.21", "tablet", "tcp/80", true)]);
    let mut promised = policy("never: {others: {from: 10.1.1.22, to: any, services: tcp/80}}");
    let proposal = propose(&store, &promised, &wider).unwrap();
    let unfit = verify(&promised, &proposal, &text_of(&proposal))
        .unwrap_err()
        .to_string();
    assert!(
        unfit.contains("never `others`") || unfit.contains("`others`"),
        "{unfit}"
    );
    promised = policy("");
    assert!(verify(&promised, &proposal, &text_of(&proposal)).is_ok());
}

fn text_of(proposal: &Proposal) -> String {
    text(proposal)
}
