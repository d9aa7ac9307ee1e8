//! Where a frame comes from: ports, VLANs, link-local protocols, source addresses.

use enforcer_common::verdict::{DropReason, Stage};

use super::{ACCESS, Case, MONITOR_TRUNK, NO_PORT, OPEN, allowed, case, default_denied, dropped, monitored, passes_at};
use crate::packet::{BROADCAST, Builder, packet};

const SERVER: &str = "10.20.5.10";
const PUMP_1_MAC: [u8; 6] = [0x00, 0x1e, 0x3d, 0x00, 0x01, 0x01];

pub(super) fn cases() -> Vec<Case> {
    [ports(), open(), vlans(), control(), sources(), link_scoped()].concat()
}

fn telemetry(source: &str, port: u16) -> Builder {
    packet().ip(source, SERVER).udp(port, 24105)
}

fn ports() -> Vec<Case> {
    let telemetry = |port| packet().vlan(110).ip("10.10.110.40", SERVER).udp(port, 24105).build();
    let guest = packet().vlan(666).ip("10.66.0.9", SERVER).udp(1, 24105).build();
    vec![
        case(
            "an interface that is no port",
            telemetry(1),
            dropped(Stage::Parse, DropReason::UnknownPort),
        )
        .on(NO_PORT),
        case(
            "a VLAN that the port leaves out",
            guest.clone(),
            dropped(Stage::Link, DropReason::VlanNotAllowed),
        )
        .on(ACCESS),
        case("the same VLAN elsewhere", guest.clone(), default_denied()),
        case(
            "a port in monitor mode drops nothing",
            guest,
            monitored(default_denied()),
        )
        .on(MONITOR_TRUNK),
        case(
            "nor does it drop what it cannot parse",
            telemetry(3).truncated(40),
            monitored(dropped(Stage::Parse, DropReason::TruncatedIpv4)),
        )
        .on(MONITOR_TRUNK),
    ]
}

/// A port of the time without a policy.
fn open() -> Vec<Case> {
    let undeclared = packet().vlan(668).ip("10.66.0.9", SERVER).udp(1, 24105).build();
    let elsewhere = packet().vlan(667).ip("10.66.0.9", SERVER).udp(1, 24105).build();
    let double = packet()
        .service_vlan(668)
        .vlan(7)
        .ip("10.66.0.9", SERVER)
        .udp(1, 24105)
        .build();
    let undeclared_passes = monitored(dropped(Stage::Link, DropReason::VlanUndeclared));
    vec![
        case(
            "an undeclared VLAN on an open port",
            undeclared.clone(),
            undeclared_passes,
        )
        .on(OPEN),
        case("the same with two tags", double, undeclared_passes).on(OPEN),
        case(
            "the same, cut off",
            undeclared.clone().truncated(30),
            monitored(dropped(Stage::Parse, DropReason::TruncatedIpv4)),
        )
        .on(OPEN),
        case(
            "an undeclared VLAN elsewhere",
            undeclared,
            dropped(Stage::Link, DropReason::VlanUndeclared),
        ),
        case(
            "a VLAN that the open port leaves out",
            elsewhere,
            dropped(Stage::Link, DropReason::VlanNotAllowed),
        )
        .on(OPEN),
        case(
            "a zone that enforces, on an open port",
            packet().vlan(666).ip("10.66.0.9", SERVER).udp(7, 24105).build(),
            default_denied(),
        )
        .on(OPEN),
    ]
}

fn vlans() -> Vec<Case> {
    let refused = |reason| dropped(Stage::Link, reason);
    let imaging = packet()
        .service_vlan(2000)
        .vlan(130)
        .ip("10.10.130.5", SERVER)
        .tcp(1, 443, 2);
    vec![
        case(
            "untagged on a trunk",
            telemetry("10.10.110.41", 1).build(),
            refused(DropReason::VlanNotAllowed),
        ),
        case(
            "untagged where there is a native VLAN",
            telemetry("10.10.110.41", 2).build(),
            allowed("pumps-to-servers"),
        )
        .on(ACCESS),
        case(
            "a priority tag is no VLAN",
            packet()
                .tag(0x8100, 0xe000)
                .ip("10.10.110.41", SERVER)
                .udp(3, 24105)
                .build(),
            refused(DropReason::VlanNotAllowed),
        ),
        case(
            "a priority tag on an access port",
            packet()
                .tag(0x8100, 0xe000)
                .ip("10.10.110.41", SERVER)
                .udp(3, 24105)
                .build(),
            allowed("pumps-to-servers"),
        )
        .on(ACCESS),
        case(
            "priority and drop bits are not the VLAN",
            packet()
                .tag(0x8100, 0xf000 + 110)
                .ip("10.10.110.41", SERVER)
                .udp(4, 24105)
                .build(),
            allowed("pumps-to-servers"),
        ),
        case(
            "a VLAN that nobody declares",
            packet().vlan(111 + 1).ip("10.10.110.41", SERVER).udp(5, 24105).build(),
            refused(DropReason::VlanUndeclared),
        ),
        case(
            "double tagging to hop into a VLAN",
            packet()
                .vlan(666)
                .vlan(110)
                .ip("10.10.110.41", SERVER)
                .udp(6, 24105)
                .build(),
            refused(DropReason::VlanUndeclared),
        ),
        case(
            "a declared pair of tags",
            imaging.build(),
            allowed("imaging-to-servers"),
        ),
        case(
            "only the outer one of them",
            packet().vlan(2000).ip("10.10.130.5", SERVER).tcp(2, 443, 2).build(),
            refused(DropReason::VlanUndeclared),
        ),
        case(
            "with another inner one",
            packet()
                .vlan(2000)
                .vlan(131)
                .ip("10.10.130.5", SERVER)
                .tcp(3, 443, 2)
                .build(),
            refused(DropReason::VlanUndeclared),
        ),
        // Pitfall 1: VLANs reuse address ranges.
        case(
            "the same address in another realm is another device",
            packet().vlan(111).ip("10.10.110.21", SERVER).udp(7, 24105).build(),
            default_denied(),
        ),
    ]
}

fn control() -> Vec<Case> {
    let refused = dropped(Stage::Link, DropReason::ControlProtocol);
    let to = |last| packet().to_mac([0x01, 0x80, 0xc2, 0, 0, last]);
    let lldp = to(0x0e).ethertype(0x88cc).payload([0; 46]).build();
    let slow = to(2).ethertype(0x8809).payload([1; 46]).build();
    let eapol = to(3).ethertype(0x888e).payload([1; 46]).build();
    let spanning_tree = packet()
        .to_mac([0x01, 0x80, 0xc2, 0, 0, 0])
        .llc()
        .payload([0x42, 0x42, 3])
        .build();
    let per_vlan = packet()
        .vlan(110)
        .to_mac([0x01, 0x00, 0x0c, 0xcc, 0xcc, 0xcd])
        .llc()
        .payload([0xaa; 20])
        .build();
    let mut cases = Vec::new();
    for (name, frame) in [
        ("LLDP", lldp),
        ("LACP", slow),
        ("EAPOL", eapol),
        ("spanning tree", spanning_tree),
        ("per-VLAN spanning tree", per_vlan),
    ] {
        cases.push(case(name, frame.clone(), passes_at(Stage::Link)));
        cases.push(case(name, frame, refused).on(ACCESS));
    }
    cases
}

fn sources() -> Vec<Case> {
    let refused = |reason| dropped(Stage::Source, reason);
    let from = |vlan, source: &str, port| packet().vlan(vlan).ip(source, SERVER).udp(port, 24105);
    let from6 = |source: &str, port| packet().vlan(110).ip(source, "fd00:20:5::10").udp(port, 24105);
    vec![
        case(
            "an address of another VLAN",
            from(666, "10.10.110.50", 1).build(),
            refused(DropReason::SourceNotInVlan),
        ),
        case(
            "an address that nobody declares",
            from(110, "192.0.2.1", 2).build(),
            refused(DropReason::SourceNotInVlan),
        ),
        case(
            "the gateway's own address",
            from(110, "10.10.110.1", 3).build(),
            refused(DropReason::SourceNotInVlan),
        ),
        case(
            "the gateway's own link-local address",
            from6("fe80::1", 4).ip("fe80::1", "fd00:10:110::21").build(),
            refused(DropReason::SourceNotInVlan),
        ),
        case(
            "a device with its MAC",
            from(110, "10.10.110.21", 5).from_mac(PUMP_1_MAC).build(),
            allowed("pumps-to-servers"),
        ),
        case(
            "a device with another MAC",
            from(110, "10.10.110.21", 6).build(),
            refused(DropReason::SourceMacMismatch),
        ),
        case(
            "a device without a declared MAC",
            packet().vlan(110).ip("10.10.110.22", SERVER).tcp(7, 443, 2).build(),
            allowed("pumps-to-servers"),
        ),
        case(
            "loopback",
            from(110, "127.0.0.1", 8).build(),
            refused(DropReason::InvalidSource),
        ),
        case(
            "multicast as a source",
            from(110, "224.0.0.5", 9).build(),
            refused(DropReason::InvalidSource),
        ),
        case(
            "broadcast as a source",
            from(110, "255.255.255.255", 10).build(),
            refused(DropReason::InvalidSource),
        ),
        case(
            "IPv6 loopback",
            from6("::1", 11).build(),
            refused(DropReason::InvalidSource),
        ),
        case(
            "IPv6 multicast as a source",
            from6("ff02::1", 12).build(),
            refused(DropReason::InvalidSource),
        ),
        case(
            "an IPv4 address in IPv6 clothes",
            from6("::ffff:10.10.110.21", 13).build(),
            refused(DropReason::InvalidSource),
        ),
        case(
            "a spoofed source in a VLAN in monitor mode, to another one",
            packet()
                .vlan(120)
                .ip("10.10.110.50", "10.10.121.5")
                .udp(14, 24105)
                .build(),
            monitored(refused(DropReason::SourceNotInVlan)),
        ),
        case(
            "a spoofed source in a VLAN in monitor mode, to a zone that enforces",
            from(120, "10.10.110.50", 18).build(),
            refused(DropReason::SourceNotInVlan),
        ),
        case(
            "two zones behind one VLAN, the permitted one",
            packet().vlan(900).ip("10.90.1.5", SERVER).tcp(15, 443, 2).build(),
            allowed("north-to-servers"),
        ),
        case(
            "two zones behind one VLAN, the other one",
            packet().vlan(900).ip("10.90.2.5", SERVER).tcp(16, 443, 2).build(),
            default_denied(),
        ),
        case(
            "an undeclared address behind a shared VLAN",
            packet().vlan(900).ip("10.90.3.5", SERVER).tcp(17, 443, 2).build(),
            refused(DropReason::SourceNotInVlan),
        ),
    ]
}

fn link_scoped() -> Vec<Case> {
    let discover = packet()
        .vlan(110)
        .to_mac(BROADCAST)
        .ip("0.0.0.0", "255.255.255.255")
        .udp(68, 67)
        .payload([1; 240]);
    let solicitation = packet()
        .vlan(110)
        .ip("fe80::21", "ff02::1:ff00:1")
        .ttl(255)
        .icmp(135, 0)
        .payload([0; 16]);
    vec![
        case(
            "DHCP discovery is traffic inside of the zone",
            discover.build(),
            allowed("dhcp"),
        ),
        case(
            "and of the zone whose VLAN it is",
            discover
                .clone()
                .build()
                .patched(14, &[666_u16.to_be_bytes()[0], 666_u16.to_be_bytes()[1]]),
            default_denied(),
        ),
        case(
            "multicast that a rule names",
            packet()
                .vlan(110)
                .ip("10.10.110.42", "239.255.255.250")
                .udp(1, 3702)
                .build(),
            allowed("pumps-discovery"),
        ),
        case(
            "multicast that no rule names",
            packet().vlan(110).ip("10.10.110.42", "239.1.1.1").udp(2, 3702).build(),
            default_denied(),
        ),
        case("neighbour discovery", solicitation.build(), passes_at(Stage::Link)),
        case(
            "neighbour discovery from another link",
            solicitation.ttl(254).build(),
            default_denied(),
        ),
        case(
            "to the gateway itself",
            packet().vlan(110).ip("10.10.110.42", "10.10.110.1").echo(9, 1).build(),
            allowed("pumps-to-gateway"),
        ),
        case(
            "to the gateway itself, another service",
            packet()
                .vlan(110)
                .ip("10.10.110.42", "10.10.110.1")
                .tcp(9, 22, 2)
                .build(),
            default_denied(),
        ),
    ]
}
