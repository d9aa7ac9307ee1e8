//! Who speaks for whom: ARP, neighbour discovery, DHCP servers, IPv6 routers.

use enforcer_common::verdict::{DropReason, Stage, Verdict};

use super::{Case, Expected, allowed, case, default_denied, dropped, passes_at, sequence};
use crate::packet::{BROADCAST, Builder, Mac, SOURCE_MAC, arp, packet};

const PUMP_1: Mac = [0x00, 0x1e, 0x3d, 0x00, 0x01, 0x01];
const ROUTER: Mac = [0x02, 0, 0, 0, 0, 0x99];

pub(super) fn cases() -> Vec<Case> {
    [address_resolution(), neighbours(), routers(), dhcp(), watched()].concat()
}

fn announce(mac: Mac, sender: &str) -> Builder {
    packet()
        .vlan(110)
        .from_mac(mac)
        .to_mac(BROADCAST)
        .arp(arp::REQUEST, (mac, sender), ([0; 6], sender))
}

fn address_resolution() -> Vec<Case> {
    let spoof = dropped(Stage::Link, DropReason::ArpSpoof);
    let fine = passes_at(Stage::Link);
    let forged = |mac: Mac, claimed: Mac, sender: &str| {
        packet()
            .vlan(110)
            .from_mac(mac)
            .arp(arp::REPLY, (claimed, sender), (SOURCE_MAC, "10.10.110.30"))
            .build()
    };
    vec![
        case(
            "gratuitous ARP of the device itself",
            announce(PUMP_1, "10.10.110.21").build(),
            fine,
        ),
        case(
            "gratuitous ARP for a device of somebody else",
            announce(SOURCE_MAC, "10.10.110.21").build(),
            spoof,
        ),
        case(
            "gratuitous ARP for the gateway",
            announce(SOURCE_MAC, "10.10.110.1").build(),
            spoof,
        ),
        case(
            "ARP for an address of another VLAN",
            announce(SOURCE_MAC, "10.20.5.10").build(),
            spoof,
        ),
        case(
            "ARP for an address that nobody declares",
            announce(SOURCE_MAC, "192.0.2.7").build(),
            spoof,
        ),
        sequence(
            "ARP for addresses that are nobody's",
            ["224.0.0.1", "255.255.255.255", "127.0.0.1"].map(|nobody| (announce(SOURCE_MAC, nobody).build(), spoof)),
        ),
        case(
            "an ARP probe",
            packet().vlan(110).arp_request("0.0.0.0", "10.10.110.31").build(),
            fine,
        ),
        case(
            "another MAC inside than outside",
            forged(SOURCE_MAC, PUMP_1, "10.10.110.21"),
            spoof,
        ),
        case(
            "another MAC outside than inside",
            forged(PUMP_1, SOURCE_MAC, "10.10.110.31"),
            spoof,
        ),
        case(
            "an ARP reply of an undeclared device",
            forged(SOURCE_MAC, SOURCE_MAC, "10.10.110.31"),
            fine,
        ),
    ]
}

/// Neighbour solicitation (135) or advertisement (136) with a target and maybe more.
fn discovery(kind: u8, mac: Mac, source: &str, target: &str, options: &[u8]) -> Builder {
    let target: std::net::Ipv6Addr = target.parse().expect("an IPv6 address");
    let message = [&target.octets()[..], options].concat();
    packet()
        .vlan(110)
        .from_mac(mac)
        .ip(source, "ff02::1")
        .ttl(255)
        .icmp(kind, 0)
        .payload(message)
}

fn option(kind: u8, mac: Mac) -> Vec<u8> {
    [&[kind, 1][..], &mac].concat()
}

fn neighbours() -> Vec<Case> {
    let spoof = dropped(Stage::Link, DropReason::NeighbourSpoof);
    let fine = passes_at(Stage::Link);
    let device = "fd00:10:110::21";
    let advertise = |mac, target: &str, options: &[u8]| discovery(136, mac, "fe80::21", target, options).build();
    let ask = |mac, source: &str, target: &str, options: &[u8]| discovery(135, mac, source, target, options).build();
    let solicit = |mac, source, options| ask(mac, source, "fd00:10:110::1", options);
    let two = [option(2, PUMP_1), option(2, SOURCE_MAC)].concat();
    vec![
        case(
            "an advertisement of the device itself",
            advertise(PUMP_1, device, &option(2, PUMP_1)),
            fine,
        ),
        case(
            "an advertisement without an option",
            advertise(PUMP_1, device, &[]),
            fine,
        ),
        case(
            "an advertisement for somebody else's device",
            advertise(SOURCE_MAC, device, &option(2, SOURCE_MAC)),
            spoof,
        ),
        case(
            "another MAC in the option",
            advertise(PUMP_1, device, &option(2, SOURCE_MAC)),
            spoof,
        ),
        case("a second option", advertise(PUMP_1, device, &two), spoof),
        case(
            "an advertisement for the gateway",
            advertise(SOURCE_MAC, "fd00:10:110::1", &option(2, SOURCE_MAC)),
            spoof,
        ),
        case(
            "an advertisement for its link-local address",
            advertise(SOURCE_MAC, "fe80::1", &option(2, SOURCE_MAC)),
            spoof,
        ),
        case(
            "an advertisement for another VLAN",
            advertise(SOURCE_MAC, "fd00:20:5::10", &option(2, SOURCE_MAC)),
            spoof,
        ),
        case(
            "an advertisement of an undeclared device",
            advertise(SOURCE_MAC, "fd00:10:110::77", &option(2, SOURCE_MAC)),
            fine,
        ),
        case("a solicitation", solicit(PUMP_1, device, &option(1, PUMP_1)), fine),
        case(
            "a solicitation in somebody else's name",
            solicit(SOURCE_MAC, device, &option(1, SOURCE_MAC)),
            spoof,
        ),
        case(
            "duplicate address detection",
            ask(SOURCE_MAC, "::", "fd00:10:110::31", &[]),
            fine,
        ),
    ]
}

fn routers() -> Vec<Case> {
    let rogue = |stage| dropped(stage, DropReason::RouterAdvertisement);
    let advertise = |vlan, mac| {
        packet()
            .vlan(vlan)
            .from_mac(mac)
            .ip("fe80::9", "ff02::1")
            .ttl(255)
            .icmp(134, 0)
            .payload([0; 8])
    };
    let redirect = |mac| {
        packet()
            .vlan(110)
            .from_mac(mac)
            .ip("fe80::9", "fe80::21")
            .ttl(255)
            .icmp(137, 0)
            .payload([0; 32])
    };
    vec![
        case(
            "a router advertisement of the declared router",
            advertise(110, ROUTER).build(),
            passes_at(Stage::Link),
        ),
        case(
            "a router advertisement of somebody else",
            advertise(110, SOURCE_MAC).build(),
            rogue(Stage::Link),
        ),
        case(
            "nobody's address is no router",
            advertise(110, [0; 6]).build(),
            rogue(Stage::Link),
        ),
        case(
            "a VLAN that declares no router has none",
            advertise(205, SOURCE_MAC).build(),
            rogue(Stage::Link),
        ),
        case(
            "a redirect of somebody else",
            redirect(SOURCE_MAC).build(),
            rogue(Stage::Source),
        ),
        case(
            "a redirect of the router is a matter of rules",
            redirect(ROUTER).build(),
            default_denied(),
        ),
    ]
}

fn dhcp() -> Vec<Case> {
    let rogue = dropped(Stage::Source, DropReason::DhcpServer);
    let offer = |source: &str| {
        packet()
            .vlan(110)
            .to_mac(BROADCAST)
            .ip(source, "255.255.255.255")
            .udp(67, 68)
    };
    let reply6 = |mac: Mac| packet().vlan(110).from_mac(mac).ip("fe80::5", "fe80::21").udp(547, 546);
    vec![
        case(
            "an offer of the declared server",
            offer("10.10.110.22").payload([2; 240]).build(),
            default_denied(),
        ),
        case(
            "an offer of somebody else",
            offer("10.10.110.33").payload([2; 240]).build(),
            rogue,
        ),
        case(
            "a DHCPv6 reply of somebody else",
            reply6(SOURCE_MAC).payload([7; 20]).build(),
            rogue,
        ),
        case(
            "a DHCPv6 reply of the router",
            reply6(ROUTER).payload([7; 20]).build(),
            default_denied(),
        ),
    ]
}

/// A guard in monitor mode counts, and the rules still decide.
fn watched() -> Vec<Case> {
    let tagged = || packet().service_vlan(2000).vlan(130);
    let from_elsewhere = tagged().ip("10.10.110.55", "10.20.5.10");
    let arp = tagged().arp(arp::REQUEST, (SOURCE_MAC, "10.20.5.10"), ([0; 6], "10.10.130.1"));
    let would = |expected: Expected, reason| Expected {
        verdict: Verdict::WouldDrop,
        reason,
        ..expected
    };
    vec![
        case(
            "a spoofed source that a rule permits",
            from_elsewhere.clone().tcp(7001, 443, 2).build(),
            would(allowed("pumps-to-servers"), DropReason::SourceNotInVlan),
        ),
        case(
            "a spoofed source that no rule permits",
            from_elsewhere.tcp(7002, 22, 2).build(),
            default_denied(),
        ),
        case(
            "a spoofed ARP sender",
            arp.build(),
            would(passes_at(Stage::Link), DropReason::ArpSpoof),
        ),
    ]
}
