//! Compiled tables against a naive reading of the policy, over random small policies.
//!
//! The oracle reads `ValidPolicy` only; the tables are asked through the engine's own look-ups. The generator draws
//! from small pools of addresses, prefixes and services that overlap on purpose, so that most rules touch each other.

mod generate;
mod oracle;

use std::collections::BTreeSet;
use std::net::IpAddr;

use enforcer::engine::Engine;
use enforcer::policy::valid::{Action, ValidPolicy, VlanId};
use enforcer::policy::{compile, load_texts};
use enforcer_common::abi::{Address, Endpoint, Lan, VLAN_INNER};
use enforcer_common::classify::{self, Service};

use generate::Random;
use oracle::Station;

/// A packet in question.
#[derive(Debug, Clone, Copy)]
struct Probe {
    vlan: VlanId,
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    port: u16,
}

#[test]
fn tables_agree_with_a_naive_reading() {
    let mut seen = BTreeSet::new();
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let text = generate::policy(&mut random);
        compare(&text, &format!("seed {seed}"), 250, &mut random, &mut seen);
    }
    let all = BTreeSet::from([
        "allow",
        "deny",
        "default",
        "priority",
        "deny beats allow",
        "name decides",
        "from any",
        "from zone",
        "from prefix",
        "from device",
        "to any",
        "to zone",
        "to prefix",
        "to device",
        "one port",
        "range",
        "any service",
        "two tags",
        "other realm",
        "link-scoped",
        "link-scoped prefix",
        "gateway",
        "link-local gateway",
        "unknown",
        "shared VLAN",
        "IPv6",
    ]);
    let missing: Vec<_> = all.difference(&seen).collect();
    assert!(missing.is_empty(), "the generator never reached: {missing:?}");
}

#[test]
fn more_than_one_block_of_everything() {
    for seed in 0..2 {
        let mut random = Random::new(1000 + seed);
        let text = generate::large(&mut random);
        let mut seen = BTreeSet::new();
        let engine = compare(&text, &format!("large, seed {seed}"), 3_000, &mut random, &mut seen);
        assert!(engine.tables().row_blocks > 1, "too few destination identities");
        assert!(engine.tables().column_blocks > 1, "too few service classes");
        assert!(seen.contains("allow") && seen.contains("deny") && seen.contains("default"));
    }
}

/// Compiles a policy and compares so many probes; returns the engine.
fn compare(text: &str, name: &str, probes: usize, random: &mut Random, seen: &mut BTreeSet<&'static str>) -> Engine {
    let policy = load_texts([("random.yaml".into(), text.to_owned())])
        .unwrap_or_else(|findings| panic!("{name}:\n{text}\n{findings}"));
    let tables = compile(&policy).unwrap_or_else(|findings| panic!("{name}: {findings}"));
    let port = enforcer_common::abi::Port {
        ifindex: 0,
        slot: 0,
        flags: 0,
        control: 0,
        native_vlan: 0,
        peer: 0,
        vlans: [0; 64],
    };
    let engine = Engine::new(tables, vec![port]);
    for _ in 0..probes {
        let probe = generate::probe(random, &policy);
        let (expected, stations) = oracle::decide(&policy, &probe, seen);
        let (found, endpoints) = look_up(&engine, &probe);
        let context = || format!("{name}\n{text}\n{probe:?}\n{stations:?}\n{endpoints:?}");
        let names = &engine.tables().names.rules;
        let expected = expected.map_or("default-deny", |rule| &*policy.rules[rule].name);
        assert_eq!(names[found as usize].name, expected, "{}", context());
        for (station, endpoint) in stations.iter().zip(&endpoints) {
            assert_same(&engine, &policy, station, endpoint, &context);
        }
    }
    engine
}

/// Zone, device, VLAN and MAC of an endpoint are those that the oracle found.
fn assert_same(
    engine: &Engine,
    policy: &ValidPolicy,
    station: &Station,
    (id, endpoint): &(u32, Endpoint),
    context: &impl Fn() -> String,
) {
    let names = &engine.tables().names;
    assert_eq!(usize::from(endpoint.zone), station.zone, "zone: {}", context());
    assert_eq!(
        names.lans[usize::from(endpoint.lan)].vlan,
        station.vlan,
        "VLAN: {}",
        context()
    );
    let device = station.device.map(|device| &policy.devices[device]);
    let name = names.endpoints[*id as usize].device.as_ref();
    assert_eq!(name, device.map(|device| &device.name), "device: {}", context());
    let mac = device.and_then(|device| device.mac);
    assert_eq!(
        (endpoint.flags & 1 == 1).then_some(endpoint.mac),
        mac,
        "MAC: {}",
        context()
    );
}

/// The rule for a probe by the tables, and both endpoints.
fn look_up(engine: &Engine, probe: &Probe) -> (u32, [(u32, Endpoint); 2]) {
    let lan = lan(engine, probe.vlan);
    let endpoint = |address| {
        let (family, address) = words(address);
        let id = classify::endpoint_id(engine, &lan, family, &address).expect("the trie is whole");
        (id, engine.tables().endpoints[id as usize])
    };
    let (source, destination) = (endpoint(probe.source), endpoint(probe.destination));
    let service = Service {
        protocol: probe.protocol,
        port: probe.port,
    };
    // At time 0, no rule has expired.
    let rule = classify::rule(engine, &source.1, &destination.1, service, 0).expect("the tables are whole");
    let flags = engine.tables().rules[rule.0 as usize].flags;
    assert_eq!(rule.1.flags, flags);
    (rule.0, [source, destination])
}

fn lan(engine: &Engine, vlan: VlanId) -> Lan {
    let tables = engine.tables();
    let outer = tables.vlans[0].0[usize::from(vlan.outer)];
    let id = match vlan.inner {
        None => outer,
        Some(inner) => {
            assert!(outer & VLAN_INNER != 0, "VLAN {vlan} has no inner table");
            tables.vlans[usize::from(outer & !VLAN_INNER)].0[usize::from(inner)]
        }
    };
    assert_ne!(id, 0, "VLAN {vlan} has no LAN");
    tables.lans[usize::from(id)]
}

fn words(address: IpAddr) -> (u8, Address) {
    match address {
        IpAddr::V4(address) => (4, [0, 0, 0, address.into()]),
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            (6, [96, 64, 32, 0].map(|shift| (bits >> shift) as u32))
        }
    }
}

/// Whether a rule permits: for coverage.
fn permits(policy: &ValidPolicy, rule: usize) -> bool {
    policy.rules[rule].action == Action::Allow
}
