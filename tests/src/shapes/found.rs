//! What the random sequences of `tests/oracle.rs` found once, each with its story.

use enforcer_common::verdict::Stage;

use super::{Case, Expected, allowed, case, default_denied, in_flow, monitored, sequence};
use crate::packet::{BROADCAST, Frame, packet, protocol, tcp_flags};

const RULE: &str = "pumps-to-servers";

pub(super) fn cases() -> Vec<Case> {
    vec![
        both_ask(),
        refused_syn(),
        both_ports_alike(),
        next_header_of_later_fragments(),
        shared_vlan_in_monitor_mode(),
    ]
}

/// Some stacks give every echo request the identifier 1. When both ends asked, each request took over the other's
/// flow, and the answers were dropped.
fn both_ask() -> Case {
    let would = monitored(default_denied());
    let in_flow = Expected {
        stage: Stage::Flow,
        ..would
    };
    let east = || packet().vlan(120).ip("10.10.120.80", "10.10.121.80");
    let west = || packet().vlan(121).ip("10.10.121.80", "10.10.120.80");
    sequence(
        "both ends ask for an echo with the same identifier",
        [
            (east().echo(1, 1).build(), would),
            (west().echo(1, 1).build(), would),
            (east().echo_reply(1, 1).build(), in_flow),
            (west().echo_reply(1, 1).build(), in_flow),
            (east().echo(1, 2).build(), in_flow),
            (west().echo(1, 2).build(), in_flow),
        ],
    )
}

/// A SYN of the responder, which may not open a connection, ended the flow of one that was closing.
fn refused_syn() -> Case {
    let out = |flags| {
        let pump = packet().vlan(110).ip("10.10.110.81", "10.20.5.10");
        pump.tcp(8001, 443, flags).build()
    };
    let back = |flags| {
        let server = packet().vlan(205).ip("10.20.5.10", "10.10.110.81");
        server.tcp(443, 8001, flags).build()
    };
    let (syn, ack, fin) = (tcp_flags::SYN, tcp_flags::ACK, tcp_flags::FIN);
    sequence(
        "a refused SYN does not end a session",
        [
            (out(syn), allowed(RULE)),
            (back(syn | ack), in_flow(RULE)),
            (out(ack), in_flow(RULE)),
            (out(fin | ack), in_flow(RULE)),
            (back(syn), default_denied()),
            (back(fin | ack), in_flow(RULE)),
        ],
    )
}

/// `BACnet` and others use one port for both ends. In monitor mode, a refused frame kept the other end from a session
/// that enforce mode permits.
fn both_ports_alike() -> Case {
    let east: Frame = packet()
        .vlan(120)
        .ip("10.10.120.82", "10.10.121.82")
        .udp(47808, 47808)
        .build();
    let west = packet()
        .vlan(121)
        .ip("10.10.121.82", "10.10.120.82")
        .udp(47808, 47808)
        .build();
    sequence(
        "a refused session does not hide a permitted one",
        [
            (east.clone(), monitored(default_denied())),
            (west.clone(), allowed("trial-to-monitors")),
            (east, in_flow("trial-to-monitors")),
            (west, in_flow("trial-to-monitors")),
        ],
    )
}

/// RFC 8200, section 4.5: only the first fragment's next header counts. With destination options behind the fragment
/// header, the others' differs from the transport protocol, and they were orphans.
fn next_header_of_later_fragments() -> Case {
    let pump = || packet().vlan(110).ip("fd00:10:110::83", "fd00:20:5::10");
    let first = pump().udp(8003, 24105).udp_length(4000).fragment(8003, 0, true);
    let later = pump().protocol(protocol::DESTINATION_OPTIONS).fragment(8003, 72, false);
    sequence(
        "a later fragment with another next header",
        [
            (first.payload([0; 64]).build(), allowed(RULE)),
            (later.payload([0; 64]).build(), in_flow(RULE)),
        ],
    )
}

/// Between addresses without a zone of their own there was no mode, and what should only be counted was dropped.
fn shared_vlan_in_monitor_mode() -> Case {
    let discover = packet()
        .vlan(901)
        .to_mac(BROADCAST)
        .ip("0.0.0.0", "255.255.255.255")
        .udp(68, 67)
        .payload([1; 240]);
    case(
        "DHCP discovery in a VLAN that monitored zones share",
        discover.build(),
        monitored(default_denied()),
    )
}
