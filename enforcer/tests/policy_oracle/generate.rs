//! Random policies and packets from small, overlapping pools.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

use enforcer::policy::valid::{ServiceMatch, ValidPolicy, VlanId};
use ipnetwork::IpNetwork;

use super::Probe;

/// Splitmix64: small, and the same on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn pick<'p, T>(&mut self, pool: &'p [T]) -> &'p T {
        &pool[self.below(pool.len())]
    }
}

const VLANS: [&str; 5] = ["10", "11", "\"20.5\"", "\"20.6\"", "30"];
const SUBNETS: [&str; 14] = [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.1.0/24",
    "10.1.1.128/25",
    "10.1.64.0/18",
    "172.16.4.0/22",
    "0.0.0.0/0",
    "168.0.0.0/7",
    "fd00::/8",
    "fd00:1::/32",
    "fd00:1:2::/48",
    "fd00:1:2:3::/64",
    "::/0",
    "fd00:1:2:3::80/121",
];
const RULE_PREFIXES: [&str; 24] = [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.1.0/24",
    "10.1.1.0/26",
    "10.1.1.7/32",
    "10.1.1.7",
    "10.1.1.6/31",
    "172.16.0.0/12",
    "0.0.0.0/0",
    "224.0.0.0/3",
    "224.0.0.0/4",
    "239.0.0.0/8",
    "239.1.1.1/32",
    "255.255.255.255/32",
    "169.254.0.0/16",
    "168.0.0.0/6",
    "::/0",
    "fd00::/8",
    "fd00:1:2:3::/64",
    "fd00:1:2:3::7",
    "ff02::c/128",
    "ff00::/8",
    "fe80::/64",
    "fe00::/7",
];
const ADDRESSES: [&str; 32] = [
    "10.1.1.7",
    "10.1.1.6",
    "10.1.1.8",
    "10.1.1.130",
    "10.1.2.1",
    "10.1.64.9",
    "10.1.70.1",
    "10.200.0.1",
    "172.16.5.5",
    "172.17.0.1",
    "8.8.8.8",
    "168.1.1.1",
    "169.1.2.3",
    "169.254.0.1",
    "169.254.7.7",
    "0.0.0.0",
    "255.255.255.255",
    "255.255.255.254",
    "224.0.0.251",
    "239.1.1.1",
    "239.1.1.2",
    "240.0.0.1",
    "fd00:1:2:3::7",
    "fd00:1:2:3::8",
    "fd00:1:2:3::81",
    "fd00:1:2:4::1",
    "fd00:9::1",
    "2001:db8::1",
    "fe80::1",
    "fe80::2",
    "ff02::c",
    "::",
];
const SERVICES: [&str; 16] = [
    "tcp/80",
    "tcp/80-443",
    "tcp/443",
    "tcp/0-65535",
    "tcp",
    "udp/53",
    "udp/1024-65535",
    "udp/40000-50000",
    "icmp/echo",
    "icmp/3",
    "icmp/3/4",
    "icmpv6/packet-too-big",
    "proto/47",
    "gre",
    "any",
    "icmp",
];
const PACKETS: [(u8, u16); 18] = [
    (6, 80),
    (6, 81),
    (6, 443),
    (6, 444),
    (6, 0),
    (6, 65535),
    (17, 53),
    (17, 54),
    (17, 1024),
    (17, 45000),
    (17, 65535),
    (1, 8 << 8),
    (1, 3 << 8),
    (1, 3 << 8 | 4),
    (58, 2 << 8),
    (58, 128 << 8),
    (47, 0),
    (50, 0),
];

/// A zone on its way into a policy.
struct Draft {
    vlan: &'static str,
    realm: usize,
    subnets: Vec<&'static str>,
    gateways: Vec<&'static str>,
}

/// A small policy as text; always valid.
pub(crate) fn policy(random: &mut Random) -> String {
    let mut zones = zones(random);
    let mut taken = BTreeSet::new();
    let mut devices = String::new();
    let mut names = Vec::new();
    for &address in &ADDRESSES {
        let realm = random.below(2);
        let Some(zone) = owner(&zones, realm, address) else {
            continue;
        };
        if random.one_in(5) {
            zones[zone].gateways.push(address);
        } else if random.one_in(2) && taken.insert((zones[zone].realm, address)) {
            let name = format!("device-{}", names.len());
            let mac = random
                .one_in(2)
                .then(|| format!(", mac: 00:00:5e:00:53:{:02x}", names.len()));
            let _ = writeln!(
                devices,
                "  {name}: {{zone: zone-{zone}, address: \"{address}\"{}}}",
                mac.unwrap_or_default()
            );
            names.push(name);
        }
    }
    let mut text = "zones:\n".to_owned();
    for (number, zone) in zones.iter().enumerate() {
        let mode = random.pick(&["mode: enforce, ", "mode: monitor, ", ""]);
        let (vlan, realm) = (zone.vlan, zone.realm);
        let realm = if realm == 0 { "default" } else { "other" };
        let subnets = quoted(&zone.subnets);
        let gateways = quoted(&zone.gateways);
        let gateways = if zone.gateways.is_empty() {
            String::new()
        } else {
            format!(", gateway: [{gateways}]")
        };
        let _ = writeln!(
            text,
            "  zone-{number}: {{vlan: {vlan}, {mode}realm: {realm}, subnets: [{subnets}]{gateways}}}"
        );
        names.push(format!("zone-{number}"));
    }
    let _ = write!(text, "devices:\n{devices}rules:\n");
    for number in 0..random.below(12) {
        rule(random, number, &names, &mut text);
    }
    text
}

fn zones(random: &mut Random) -> Vec<Draft> {
    let count = 2 + random.below(4);
    let mut zones: Vec<Draft> = Vec::new();
    for _ in 0..count {
        let vlan = *random.pick(&VLANS);
        let same_vlan = zones.iter().find(|zone| zone.vlan == vlan).map(|zone| zone.realm);
        let realm = same_vlan.unwrap_or_else(|| usize::from(random.one_in(4)));
        let mut gateways = Vec::new();
        if random.one_in(2) {
            gateways.extend(["fe80::1", "169.254.0.1"]);
        }
        zones.push(Draft {
            vlan,
            realm,
            subnets: Vec::new(),
            gateways,
        });
    }
    for &subnet in &SUBNETS {
        for realm in 0..2 {
            let zone = random.below(count + 1);
            if zone < count && zones[zone].realm == realm {
                zones[zone].subnets.push(subnet);
            }
        }
    }
    // Every zone needs a subnet; these are in nobody's way.
    for (zone, spare) in zones.iter_mut().zip([
        "192.0.2.0/28",
        "192.0.2.16/28",
        "192.0.2.32/28",
        "192.0.2.48/28",
        "192.0.2.64/28",
    ]) {
        if zone.subnets.is_empty() {
            zone.subnets.push(spare);
        }
    }
    zones
}

/// The zone with the longest prefix around an address.
fn owner(zones: &[Draft], realm: usize, address: &str) -> Option<usize> {
    let address: IpAddr = address.parse().expect("the pool holds addresses");
    let scoped = match address {
        IpAddr::V4(v4) => v4.is_unspecified() || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_unicast_link_local() || v6.is_multicast(),
    };
    let zones = zones
        .iter()
        .enumerate()
        .filter(|(_, zone)| !scoped && zone.realm == realm);
    let subnets = zones.flat_map(|(number, zone)| zone.subnets.iter().map(move |subnet| (number, subnet)));
    let around = subnets.filter_map(|(number, subnet)| {
        let network: IpNetwork = subnet.parse().expect("the pool holds prefixes");
        network.contains(address).then_some((network.prefix(), number))
    });
    around.max().map(|(_, number)| number)
}

fn quoted(texts: &[&str]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| format!("\"{text}\"")).collect();
    texts.join(", ")
}

fn rule(random: &mut Random, number: usize, names: &[String], text: &mut String) {
    let mut selectors = || {
        let some: Vec<String> = (0..=random.below(3))
            .map(|_| match random.below(10) {
                0 => "any".to_owned(),
                1 => (*random.pick(&["self", "unknown"])).to_owned(),
                2..=4 => format!("\"{}\"", random.pick(&RULE_PREFIXES)),
                _ => random.pick(names).clone(),
            })
            .collect();
        some.join(", ")
    };
    let (from, to) = (selectors(), selectors());
    let services: Vec<_> = (0..=random.below(3)).map(|_| *random.pick(&SERVICES)).collect();
    let action = random.pick(&["allow", "allow", "deny"]);
    let priority = random.pick(&["", "", "", ", priority: 5", ", priority: -5"]);
    let services = services.join(", ");
    let _ = writeln!(
        text,
        "  rule-{number}: {{from: [{from}], to: [{to}], services: [{services}], action: {action}{priority}}}"
    );
}

/// A policy with hundreds of devices and ports that rules tell apart.
pub(crate) fn large(random: &mut Random) -> String {
    let mut text = "zones:\n".to_owned();
    for zone in 0..4 {
        let _ = writeln!(
            text,
            "  zone-{zone}: {{vlan: {}, subnets: [10.{zone}.0.0/16, \"fd00:{zone}::/32\"]}}",
            100 + zone
        );
    }
    text.push_str("devices:\n");
    let mut names: Vec<String> = (0..4).map(|zone| format!("zone-{zone}")).collect();
    for device in 0..900 {
        let (zone, host) = (device % 4, device / 4);
        let _ = writeln!(
            text,
            "  device-{device}: {{zone: zone-{zone}, address: [10.{zone}.{}.{}, \"fd00:{zone}:{:x}::{:x}\"]}}",
            host / 16,
            host % 16,
            host % 7,
            host + 1
        );
        names.push(format!("device-{device}"));
    }
    text.push_str("rules:\n");
    for number in 0..900 {
        let (from, to) = (random.pick(&names).clone(), random.pick(&names));
        let first = random.below(60_000);
        let service = match random.below(4) {
            0 => format!("tcp/{first}"),
            1 => format!("tcp/{first}-{}", first + random.below(5000)),
            2 => format!("udp/{first}-{}", first + random.below(500)),
            _ => "any".to_owned(),
        };
        let action = random.pick(&["allow", "allow", "deny"]);
        let priority = random.below(3);
        let _ = writeln!(
            text,
            "  rule-{number}: {{from: {from}, to: {to}, services: {service}, action: {action}, priority: {priority}}}"
        );
    }
    text
}

/// A packet that has to do with the policy more often than not.
pub(crate) fn probe(random: &mut Random, policy: &ValidPolicy) -> Probe {
    let vlans: Vec<VlanId> = policy.zones.iter().filter_map(|zone| zone.vlan).collect();
    let vlan = *random.pick(&vlans);
    let (mut protocol, mut port) = *random.pick(&PACKETS);
    let (mut source, mut destination) = (address(random, policy), address(random, policy));
    if !policy.rules.is_empty() && random.one_in(2) {
        let rule = random.pick(&policy.rules);
        let mut near = |selectors: &[_], or| station_of(random, policy, selectors).unwrap_or(or);
        (source, destination) = (near(&rule.from, source), near(&rule.to, destination));
        if let ServiceMatch::Ports {
            protocol: of,
            first,
            last,
        } = *random.pick(&rule.services)
        {
            protocol = of;
            port = first + random.below(usize::from(last - first) + 1) as u16;
        }
    }
    Probe {
        vlan,
        source,
        destination,
        protocol,
        port,
    }
}

fn address(random: &mut Random, policy: &ValidPolicy) -> IpAddr {
    if !policy.devices.is_empty() && random.one_in(2) {
        let device = random.pick(&policy.devices);
        return *random.pick(&device.addresses);
    }
    random.pick(&ADDRESSES).parse().expect("the pool holds addresses")
}

fn station_of(
    random: &mut Random,
    policy: &ValidPolicy,
    selectors: &[enforcer::policy::valid::Selector],
) -> Option<IpAddr> {
    use enforcer::policy::valid::Selector;
    match *random.pick(selectors) {
        Selector::Device(device) => Some(*random.pick(&policy.devices[device].addresses)),
        Selector::Prefix(prefix) => Some(prefix.network()),
        Selector::Zone(zone) if zone > 1 => Some(random.pick(&policy.zones[zone].subnets).network()),
        _ => None,
    }
}
