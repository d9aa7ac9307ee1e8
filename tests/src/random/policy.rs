//! Policies: few zones that crowd into few ranges, so that prefixes nest, touch and repeat.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::aims::{boundary, contains};
use super::limits::{limit, limits, pace};
use super::{ROUTER_MAC, Random};
use crate::packet::SOURCE_MAC;

/// VLANs, of which none is used both with and without an inner tag.
const VLANS: [&str; 10] = [
    "1", "100", "100", "101", "102", "4094", "200.10", "200.11", "201.10", "201.4094",
];

/// Subnets that nest, touch, and end in odd places.
const SUBNETS: [&str; 26] = [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.1.0/24",
    "10.1.1.128/25",
    "10.1.1.64/26",
    "10.1.2.0/31",
    "10.1.2.2/32",
    "10.2.0.0/23",
    "10.3.0.0/17",
    "172.16.0.0/12",
    "192.168.7.0/24",
    "198.51.100.0/24",
    "128.0.0.0/1",
    "0.0.0.0/0",
    "fd00:1::/48",
    "fd00:1::/64",
    "fd00:1:0:0:8000::/65",
    "fd00:2::/64",
    "fd00:2::7/128",
    "fd00:3::/127",
    "fd00:3::4/126",
    "fc00::/7",
    "2001:db8::/32",
    "2001:db8:0:8000::/49",
    "fe00::/7",
    "::/0",
];

/// Prefixes for rules, beside those of the zones.
const PREFIXES: [&str; 18] = [
    "224.0.0.0/4",
    "239.255.255.250/32",
    "224.0.0.0/24",
    "255.255.255.255/32",
    "0.0.0.0/32",
    "169.254.0.0/16",
    "169.254.1.0/24",
    "240.0.0.0/4",
    "192.0.2.0/24",
    "128.0.0.0/2",
    "ff00::/8",
    "ff02::/16",
    "ff02::fb/128",
    "fe80::/10",
    "fe80::5/128",
    "::/128",
    "2001:db8::/33",
    "f000::/4",
];

/// Single services, at the ends of ranges and inside.
const SERVICES: [&str; 32] = [
    "any",
    "tcp",
    "udp",
    "icmp",
    "icmpv6",
    "gre",
    "esp",
    "proto/253",
    "proto/0",
    "tcp/443",
    "tcp/443",
    "tcp/440-445",
    "tcp/0",
    "tcp/1-1023",
    "tcp/255-256",
    "tcp/1024-65535",
    "tcp/65535",
    "tcp/2575",
    "udp/53",
    "udp/53-67",
    "udp/67-68",
    "udp/47808",
    "udp/49152-65535",
    "udp/0-65535",
    "icmp/echo",
    "icmp/echo",
    "icmp/echo-reply",
    "icmp/port-unreachable",
    "icmp/destination-unreachable",
    "icmpv6/echo",
    "icmpv6/packet-too-big",
    "icmpv6/redirect",
];

/// The smallest MSS: none, at the ends of what is allowed, and at and beside the defaults of both families.
const FLOORS: [u16; 8] = [0, 64, 536, 536, 537, 1220, 1221, 9000];

/// When rules end: never yet, among the frames of a sequence that starts at [`BEGIN`](super::BEGIN), and long after.
const ENDS: [&str; 8] = [
    "2025-12-31T00:00:00Z",
    "2026-01-01T00:00:01Z",
    "2026-01-01T00:00:20Z",
    "2026-01-01T00:10:00Z",
    "2026-01-03T00:00:00Z",
    "2026-01-10T00:00:00Z",
    "2026-01-20T00:00:00Z",
    "2400-01-01T00:00:00Z",
];

struct Zone {
    name: String,
    vlan: &'static str,
    realm: &'static str,
    subnets: Vec<IpNetwork>,
}

/// A policy in the language that users write.
pub fn text(random: &mut Random) -> String {
    let zones = zones(random);
    let mut taken = HashSet::new();
    // Flows are counted by rules that stay the same.
    let counted = random.percent(35);
    let broadcasts = VLANS.map(|_| {
        if random.percent(25) {
            format!(", broadcast: {{{}}}", pace(random))
        } else {
            String::new()
        }
    });
    let mut text = String::from("zones:\n");
    let mut rules = String::from("rules:\n");
    for zone in &zones {
        let mut gateways = Vec::new();
        if random.percent(50) {
            gateways.extend(station(random, &zones, zone, &mut taken));
        }
        if random.percent(20) {
            let usual: [IpAddr; 2] = [[169, 254, 0, 1].into(), [0xfe80, 0, 0, 0, 0, 0, 0, 1].into()];
            gateways.push(random.pick(&usual));
        }
        let mode = random.pick(&["enforce", "enforce", "monitor"]);
        let Zone { name, vlan, realm, .. } = zone;
        let number = VLANS.iter().position(|other| other == vlan).unwrap_or_default();
        let broadcast = &broadcasts[number];
        let subnets = list(&zone.subnets);
        let gateway = if gateways.is_empty() {
            String::new()
        } else {
            format!(", gateway: {}", list(&gateways))
        };
        let _ = writeln!(
            text,
            "  {name}: {{vlan: \"{vlan}\", realm: {realm}, subnets: {subnets}{gateway}, mode: {mode}{}}}",
            guards(random) + &tcp(random) + &limits(random, counted) + broadcast
        );
    }
    let mut devices = Vec::new();
    let mut declared = String::new();
    for number in 0..random.below(6) {
        let zone = &zones[random.below(zones.len())];
        let addresses: Vec<_> = (0..=random.below(2))
            .filter_map(|_| station(random, &zones, zone, &mut taken))
            .collect();
        if addresses.is_empty() {
            continue;
        }
        let leased = random.percent(35) && zone.subnets.iter().any(IpNetwork::is_ipv4);
        let mac = if leased || random.percent(50) {
            format!("mac: \"02:00:00:00:01:{number:02x}\", ")
        } else {
            String::new()
        };
        let duties = if random.percent(15) { "roles: dhcp-server, " } else { "" };
        let dhcp = if leased { DHCP } else { "" };
        let _ = writeln!(
            declared,
            "  device-{number}: {{zone: {}, {mac}{dhcp}{duties}address: {}{}}}",
            zone.name,
            list(&addresses),
            least_mss(random) + &limits(random, counted)
        );
        devices.push(format!("device-{number}"));
    }
    if !devices.is_empty() {
        let _ = write!(text, "devices:\n{declared}");
    }
    let mut names: Vec<_> = zones.iter().map(|zone| zone.name.clone()).collect();
    names.extend(["any", "any", "self", "unknown"].map(str::to_owned));
    names.extend(devices.iter().flat_map(|name| [name.clone(), name.clone()]));
    let subnets: Vec<_> = zones.iter().flat_map(|zone| zone.subnets.clone()).collect();
    let count = 1 + random.below(14);
    for number in 0..count {
        rules.push_str(&rule(random, number, &names, &subnets, counted));
    }
    text += &rules;
    // A rule's prefix holds all of a zone's leases or none: where it does not, devices have what they declare.
    if text.contains(DHCP) && super::load(&text).is_err() {
        text = text.replace(DHCP, "");
    }
    text
}

/// A device that gets its address by DHCP.
const DHCP: &str = "dhcp: true, ";

/// What a zone says about TCP: mostly nothing.
fn tcp(random: &mut Random) -> String {
    let strict = random.pick(&["", "", "", ", tcp: loose", ", tcp: strict", ", tcp: strict"]);
    strict.to_owned() + &least_mss(random)
}

fn least_mss(random: &mut Random) -> String {
    match random.below(4) {
        0 => format!(", least_mss: {}", random.pick(&FLOORS)),
        _ => String::new(),
    }
}

/// What a zone says about the guards of its VLAN: mostly nothing.
fn guards(random: &mut Random) -> String {
    let mut text = String::new();
    if random.percent(25) {
        let routers = random
            .pick(&[ROUTER_MAC, SOURCE_MAC])
            .map(|octet| format!("{octet:02x}"));
        let _ = write!(text, ", routers: \"{}\"", routers.join(":"));
    }
    if random.percent(30) {
        let guards = ["source", "arp", "neighbour", "dhcp", "router"]
            .iter()
            .filter_map(|guard| {
                let mode = random.pick(&["", "off", "monitor", "enforce"]);
                (!mode.is_empty()).then(|| format!("{guard}: {mode}"))
            });
        let guards: Vec<_> = guards.collect();
        let _ = write!(text, ", guards: {{{}}}", guards.join(", "));
    }
    text
}

fn zones(random: &mut Random) -> Vec<Zone> {
    let realms: Vec<_> = VLANS.iter().map(|_| random.percent(25)).collect();
    let mut left = [SUBNETS.to_vec(), SUBNETS.to_vec()];
    let shared = random.percent(40);
    let mut vlans: Vec<_> = (0..VLANS.len()).collect();
    let count = 1 + random.below(6);
    let zone = |number| {
        let index = random.below(vlans.len());
        let vlan = vlans[index];
        if !shared {
            vlans.swap_remove(index);
        }
        // The VLAN that stands twice in the list has one realm.
        let vlan = VLANS.iter().position(|other| *other == VLANS[vlan]).unwrap_or(vlan);
        let annex = realms[vlan];
        let pool = &mut left[usize::from(annex)];
        let subnets = (0..=random.below(4)).filter_map(|_| random.take(pool));
        let subnets = subnets.filter_map(|subnet| subnet.parse().ok()).collect();
        Zone {
            name: format!("zone-{number}"),
            vlan: VLANS[vlan],
            realm: if annex { "annex" } else { "default" },
            subnets,
        }
    };
    (0..count).map(zone).collect()
}

/// An address that belongs to a zone and to nobody else.
fn station(random: &mut Random, zones: &[Zone], zone: &Zone, taken: &mut HashSet<(&str, IpAddr)>) -> Option<IpAddr> {
    for _ in 0..8 {
        let subnet = random.pick(&zone.subnets);
        let address = boundary(random, subnet);
        let around = zones.iter().filter(|other| other.realm == zone.realm);
        let around = around.flat_map(|other| other.subnets.iter().map(move |subnet| (subnet, &other.name)));
        let around = around.filter(|(subnet, _)| contains(**subnet, address));
        let owner = around.max_by_key(|(subnet, _)| subnet.prefix()).map(|(_, name)| name);
        if owner == Some(&zone.name) && is_unicast(address) && taken.insert((zone.realm, address)) {
            return Some(address);
        }
    }
    None
}

fn is_unicast(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(four) => four.is_broadcast() || four.is_link_local(),
        IpAddr::V6(six) => six.is_unicast_link_local() || six.to_ipv4_mapped().is_some(),
    };
    !(address.is_multicast() || address.is_loopback() || address.is_unspecified() || link_local)
}

fn rule(random: &mut Random, number: usize, names: &[String], subnets: &[IpNetwork], counted: bool) -> String {
    let side = |random: &mut Random| {
        let selectors: Vec<_> = (0..=random.below(2))
            .map(|_| selector(random, names, subnets))
            .collect();
        list(&selectors)
    };
    let (from, to) = (side(random), side(random));
    let services: Vec<_> = (0..=random.below(3)).map(|_| random.pick(&SERVICES)).collect();
    let allow = random.percent(70);
    let log = if allow && random.percent(20) { ", log: new" } else { "" };
    let priority = random.pick(&["", "", "", ", priority: 1", ", priority: -5", ", priority: 2147483647"]);
    let action = if allow { "allow" } else { "deny" };
    let services = list(&services);
    let mode = if random.percent(if allow { 5 } else { 30 }) {
        ", mode: monitor"
    } else {
        ""
    };
    let end = if !counted && random.percent(25) {
        format!(", expires: {}", random.pick(&ENDS))
    } else {
        String::new()
    };
    let limit = match random.below(100) {
        0..22 if allow => {
            let scope = random.pick(&["", "", ", scope: rule", ", scope: source", ", scope: pair"]);
            format!(", limit: {{{}{scope}}}", limit(random, counted))
        }
        _ => String::new(),
    };
    let class = if allow && random.percent(8) {
        ", class: alarm"
    } else {
        ""
    };
    // Names sort otherwise than they come.
    let name = (number * 7) % 10;
    format!(
        "  rule-{name}-{number}: {{from: {from}, to: {to}, services: {services}, action: {action}{priority}{log}{mode}{end}{limit}{class}}}\n"
    )
}

fn selector(random: &mut Random, names: &[String], subnets: &[IpNetwork]) -> String {
    match random.below(10) {
        0 => random.pick(&PREFIXES).to_owned(),
        1 if !subnets.is_empty() => random.pick(subnets).to_string(),
        2 if !subnets.is_empty() => {
            let subnet = random.pick(subnets);
            boundary(random, subnet).to_string()
        }
        _ => random.pick(names),
    }
}

fn list<T: ToString>(items: &[T]) -> String {
    let items: Vec<_> = items.iter().map(|item| format!("\"{}\"", item.to_string())).collect();
    format!("[{}]", items.join(", "))
}
