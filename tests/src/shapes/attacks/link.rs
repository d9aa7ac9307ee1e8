//! On the link: who is who, who may speak to all, and what looks like a bridge's own.

use enforcer_common::verdict::{DropReason, Stage};

use super::super::{ACCESS, Case, OPEN, allowed, case, default_denied, dropped, passes_at, sequence};
use super::{PUMP, PUMP6, SERVER, SERVER6, pump};
use crate::packet::{BROADCAST, Builder, Mac, SOURCE_MAC, arp, packet, protocol};

/// The hardware address of `pump-1`: 10.10.110.21, `fd00:10:110::21`.
const PUMP_1: Mac = [0x00, 0x1e, 0x3d, 0x00, 0x01, 0x01];
/// To LLDP neighbours, which bridges do not pass on.
const NEIGHBOURS: Mac = [0x01, 0x80, 0xc2, 0, 0, 0x0e];

pub(super) fn cases() -> Vec<Case> {
    [probes(), discovery(), control(), senders(), dhcp(), link_local()].concat()
}

/// A device that asks whether its address is free (RFC 5227, RFC 4862) and hears of somebody else who asks does not take
/// it: so probes for its address keep it off the network.
fn probes() -> Vec<Case> {
    let probe = |mac: Mac, target: &str| {
        let frame = packet().vlan(110).macs(mac, BROADCAST);
        frame.arp(arp::REQUEST, (mac, "0.0.0.0"), ([0; 6], target)).build()
    };
    let solicit = |mac: Mac, target: &str| {
        let target: std::net::Ipv6Addr = target.parse().expect("an IPv6 address");
        let frame = packet().vlan(110).from_mac(mac).ip("::", "ff02::1:ff00:21").ttl(255);
        frame.icmp(135, 0).payload(target.octets()).build()
    };
    let fine = passes_at(Stage::Link);
    let arp_spoof = dropped(Stage::Link, DropReason::ArpSpoof);
    let neighbour_spoof = dropped(Stage::Link, DropReason::NeighbourSpoof);
    vec![
        sequence(
            "ARP probes for an address are its owner's",
            [
                (probe(PUMP_1, "10.10.110.21"), fine),
                (probe(SOURCE_MAC, "10.10.110.21"), arp_spoof),
                (probe(SOURCE_MAC, "10.10.110.1"), arp_spoof),
                (probe(SOURCE_MAC, SERVER), arp_spoof),
                (probe(SOURCE_MAC, "10.10.110.99"), fine),
            ],
        ),
        sequence(
            "so is the detection of duplicate addresses",
            [
                (solicit(PUMP_1, "fd00:10:110::21"), fine),
                (solicit(SOURCE_MAC, "fd00:10:110::21"), neighbour_spoof),
                (solicit(SOURCE_MAC, "fd00:10:110::1"), neighbour_spoof),
                (solicit(SOURCE_MAC, "fe80::1"), neighbour_spoof),
                (solicit(SOURCE_MAC, SERVER6), neighbour_spoof),
                (solicit(SOURCE_MAC, "fd00:10:110::99"), fine),
                (solicit(SOURCE_MAC, "fe80::99"), fine),
            ],
        ),
    ]
}

/// Messages of neighbour discovery pass without a rule, and carry whatever one puts in. A gateway would route them.
fn discovery() -> Vec<Case> {
    let advertise = |to: &str, body: &[u8]| {
        let target: std::net::Ipv6Addr = PUMP6.parse().expect("an IPv6 address");
        let body = [&target.octets()[..], body].concat();
        let frame = packet().vlan(110).ip(PUMP6, to).ttl(255).icmp(136, 0);
        frame.payload(body).build()
    };
    let router = |part: Builder| part.vlan(110).ip("fe80::9", "ff02::1").ttl(255);
    let fine = passes_at(Stage::Link);
    let rogue = |stage| dropped(stage, DropReason::RouterAdvertisement);
    vec![
        sequence(
            "neighbour discovery does not leave the link",
            [
                (advertise("ff02::1", &[]), fine),
                (advertise("fd00:10:110::21", &[]), fine),
                (advertise("fd00:10:110::1", &[]), fine),
                (advertise(SERVER6, &[]), default_denied()),
                (advertise(SERVER6, &[0x42; 400]), default_denied()),
                (advertise("2001:db8::1", &[]), default_denied()),
            ],
        ),
        sequence(
            "a router advertisement does not hide in fragments, or behind other headers",
            [
                (
                    router(packet())
                        .icmp(134, 0)
                        .fragment(1, 0, true)
                        .payload([0; 8])
                        .build(),
                    rogue(Stage::Link),
                ),
                (
                    router(packet())
                        .extension(protocol::DESTINATION_OPTIONS, &[0; 22])
                        .extension(protocol::HOP_BY_HOP, &[0; 6])
                        .icmp(134, 0)
                        .payload([0; 8])
                        .build(),
                    rogue(Stage::Link),
                ),
                // RFC 7113: all of the first fragment is options.
                (
                    router(packet())
                        .protocol(protocol::DESTINATION_OPTIONS)
                        .fragment(2, 0, true)
                        .payload([58, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
                        .build(),
                    dropped(Stage::Parse, DropReason::TinyFragment),
                ),
                (
                    router(packet())
                        .protocol(58)
                        .fragment(2, 16, false)
                        .payload([134; 16])
                        .build(),
                    dropped(Stage::Flow, DropReason::FragmentOrphan),
                ),
            ],
        ),
    ]
}

/// Link-local control protocols pass without a VLAN, an address or a rule: nothing else may look like one.
fn control() -> Vec<Case> {
    let frame = |kind: u16| packet().ethertype(kind).payload([0x42; 400]);
    let other = dropped(Stage::Link, DropReason::EtherType);
    let not_allowed = dropped(Stage::Link, DropReason::VlanNotAllowed);
    let kinds = [0x88cc, 0x8809, 0x888e];
    let to_station = kinds.map(|kind| (frame(kind).vlan(110).to_mac(PUMP_1).build(), other));
    let to_all = kinds.map(|kind| (frame(kind).vlan(110).to_mac(BROADCAST).build(), other));
    let snap = |to: Mac| {
        let datagram = packet().ip(PUMP, "10.10.110.21").udp(1, 24105).build();
        let header = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
        let body = [&header[..], &datagram[datagram.network..]].concat();
        packet().vlan(110).to_mac(to).llc().payload(body).build()
    };
    vec![
        sequence("a control protocol to a station is none", to_station),
        sequence("nor is one to all stations", to_all),
        case(
            "a control protocol without a tag, to a station",
            frame(0x888e).to_mac(PUMP_1).build(),
            not_allowed,
        ),
        case(
            "a control protocol by a VLAN that the port leaves out",
            frame(0x88cc).vlan(667).to_mac(NEIGHBOURS).build(),
            not_allowed,
        )
        .on(OPEN),
        case(
            "and by one that it does not",
            frame(0x88cc).vlan(668).to_mac(NEIGHBOURS).build(),
            passes_at(Stage::Link),
        )
        .on(OPEN),
        sequence(
            "IP in an LLC frame is no IP",
            [(snap(PUMP_1), other), (snap(BROADCAST), other)],
        ),
    ]
}

/// A sender is one station (IEEE 802.3): a group address in its place would come to stand in tables of neighbours, and
/// what is sent there reaches everybody.
fn senders() -> Vec<Case> {
    let invalid = dropped(Stage::Link, DropReason::InvalidSource);
    let group = [0x01, 0x00, 0x5e, 0x00, 0x00, 0x05];
    let claim = |mac: Mac| {
        let frame = packet().vlan(110).macs(mac, BROADCAST);
        frame.arp(arp::REPLY, (mac, PUMP), (mac, PUMP)).build()
    };
    vec![
        case(
            "a datagram from a group of stations",
            pump().from_mac(group).udp(1001, 24105).build(),
            invalid,
        ),
        case(
            "from all stations",
            pump().from_mac(BROADCAST).udp(1002, 24105).build(),
            invalid,
        ),
        sequence(
            "an ARP announcement of a group",
            [(claim(group), invalid), (claim(BROADCAST), invalid)],
        ),
        // A tag around a priority around the VLAN, and the other way: no way past the VLAN's guards.
        case(
            "a priority tag inside of the VLAN's",
            packet().vlan(110).vlan(0).ip(PUMP, SERVER).udp(1003, 24105).build(),
            dropped(Stage::Link, DropReason::VlanUndeclared),
        ),
        case(
            "a priority tag outside of another VLAN's, on an access port",
            packet().vlan(0).vlan(205).ip(SERVER, PUMP).udp(1004, 24105).build(),
            dropped(Stage::Link, DropReason::VlanUndeclared),
        )
        .on(ACCESS),
    ]
}

/// Clients take answers from any port: what makes a message a server's is the port that it goes to.
fn dhcp() -> Vec<Case> {
    let rogue = dropped(Stage::Source, DropReason::DhcpServer);
    let offer = |port| {
        let frame = packet().vlan(110).to_mac(BROADCAST).ip(PUMP, "255.255.255.255");
        frame.udp(port, 68).payload([2; 240]).build()
    };
    let reply = packet().vlan(110).ip("fe80::66", "fe80::21").udp(1547, 546);
    vec![
        sequence(
            "a rogue DHCP server that does not send from port 67",
            [(offer(67), rogue), (offer(1067), rogue), (offer(68), rogue)],
        ),
        case(
            "a rogue DHCPv6 server that does not send from 547",
            reply.payload([7; 20]).build(),
            rogue,
        ),
    ]
}

/// RFC 3927 and RFC 4291: what comes from an address that means something on its link only does not leave the link. An
/// answer would not find back, so it could only be forged; and there are 65,536 such addresses to escape the limits of.
fn link_local() -> Vec<Case> {
    let invalid = dropped(Stage::Source, DropReason::InvalidSource);
    let four = |source: &str| packet().vlan(110).ip(source, SERVER).udp(3001, 24105).build();
    let six = |source: &str, to: &str| packet().vlan(110).ip(source, to);
    vec![
        sequence(
            "addresses of the link stay on the link",
            [
                (four("0.0.0.0"), invalid),
                (four("169.254.7.7"), invalid),
                (six("fe80::66", SERVER6).udp(3001, 24105).build(), invalid),
                (six("::", SERVER6).udp(3001, 24105).build(), invalid),
                (
                    six("fe80::66", "fd00:10:110::1").echo(3001, 1).build(),
                    allowed("pumps-to-gateway"),
                ),
                (
                    six("fe80::66", "fd00:10:110::21").echo(3002, 1).build(),
                    default_denied(),
                ),
            ],
        ),
        case(
            "zero with a host part",
            four("0.1.2.3"),
            dropped(Stage::Source, DropReason::SourceNotInVlan),
        ),
    ]
}
