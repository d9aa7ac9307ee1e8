//! What the random sequences of `tests/oracle.rs` found once, or a reader of the engine, each with its story.

use enforcer_common::verdict::{DropReason, Stage};

use super::{Case, Expected, allowed, case, default_denied, dropped, in_flow, monitored, sequence};
use crate::packet::{BROADCAST, Builder, Frame, packet, protocol, tcp_flags};

const RULE: &str = "pumps-to-servers";

pub(super) fn cases() -> Vec<Case> {
    vec![
        both_ask(),
        refused_syn(),
        both_ports_alike(),
        next_header_of_later_fragments(),
        shared_vlan_in_monitor_mode(),
        parts_of_what_a_rule_permitted_that_ends(),
        parts_of_what_ends_for_another_rule(),
        errors_about_what_a_rule_permitted_that_ends(),
        errors_about_what_ends_for_another_rule(),
        parts_of_what_a_monitored_rule_refused(),
        parts_of_what_exceeds_a_monitored_limit(),
        errors_about_what_a_monitored_rule_refused(),
        errors_about_what_exceeds_a_monitored_limit(),
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

/// A datagram to a host of the zone `modern`, from a server of its own for ten ports.
fn datagram(port: u16, service: u16) -> Builder {
    let server = packet().vlan(205).ip(&server_of(port), "10.40.1.90");
    server.udp(port, service)
}

fn server_of(port: u16) -> String {
    format!("10.20.5.{}", port / 10 % 100)
}

/// A part of a datagram.
fn part(id: u16, service: u16, octets: u16) -> Frame {
    let part = datagram(id, service).udp_length(4000).fragment(id.into(), octets, true);
    part.payload([0; 64]).build()
}

/// A datagram, and a router's message that it did not arrive.
fn lost(port: u16, service: u16) -> [Frame; 2] {
    let datagram = datagram(port, service).payload("wave").build();
    let quote = datagram[datagram.network..].to_vec();
    let router = packet().vlan(207).ip("10.40.1.91", &server_of(port));
    [datagram, router.icmp(11, 0).payload(quote).build()]
}

const fn settled(expected: Expected) -> Expected {
    Expected {
        stage: Stage::Flow,
        ..expected
    }
}

/// The end of a rule reached no later fragments: they followed the first one for up to half a minute.
fn parts_of_what_a_rule_permitted_that_ends() -> Case {
    sequence(
        "later fragments when the rule of the first has ended",
        [
            (part(9110, 8010, 0), allowed("ending")),
            (part(9110, 8010, 72), in_flow("ending")),
            (part(9110, 8010, 144), settled(default_denied())),
            (part(9110, 8010, 0), default_denied()),
        ],
    )
    .ending_after(2)
}

fn parts_of_what_ends_for_another_rule() -> Case {
    sequence(
        "later fragments when another rule stands behind the one that has ended",
        [
            (part(9120, 8011, 0), allowed("ending")),
            (part(9120, 8011, 72), in_flow("behind-the-ending")),
        ],
    )
    .ending_after(1)
}

/// Neither did it reach ICMP errors, which followed the flow for as long as nobody else did.
fn errors_about_what_a_rule_permitted_that_ends() -> Case {
    let [datagram, error] = lost(9130, 8010);
    sequence(
        "an error about a flow whose rule has ended",
        [
            (datagram.clone(), allowed("ending")),
            (error.clone(), in_flow("ending")),
            (error, settled(default_denied())),
            (datagram, default_denied()),
        ],
    )
    .ending_after(2)
}

fn errors_about_what_ends_for_another_rule() -> Case {
    let [datagram, error] = lost(9140, 8011);
    sequence(
        "an error about a flow when another rule stands behind the one that has ended",
        [
            (datagram.clone(), allowed("ending")),
            (error.clone(), in_flow("behind-the-ending")),
            (datagram, in_flow("behind-the-ending")),
            (error, in_flow("behind-the-ending")),
        ],
    )
    .ending_after(1)
}

const WATCHED: Expected = monitored(Expected {
    rule: "watched-deny",
    ..dropped(Stage::Policy, DropReason::DeniedByRule)
});
const OVER: Expected = monitored(Expected {
    rule: "watched-limit",
    ..dropped(Stage::Budget, DropReason::RuleLimit)
});

/// What a rule in monitor mode refuses passes, but its later fragments and the errors about it were dropped.
fn parts_of_what_a_monitored_rule_refused() -> Case {
    sequence(
        "later fragments of what a rule in monitor mode denies",
        [(part(9150, 8002, 0), WATCHED), (part(9150, 8002, 72), settled(WATCHED))],
    )
}

fn parts_of_what_exceeds_a_monitored_limit() -> Case {
    sequence(
        "later fragments of what exceeds the limit of a rule in monitor mode",
        [
            (datagram(9160, 8003).build(), allowed("watched-limit")),
            (part(9161, 8003, 0), OVER),
            (part(9161, 8003, 72), settled(OVER)),
        ],
    )
}

fn errors_about_what_a_monitored_rule_refused() -> Case {
    let [datagram, error] = lost(9170, 8002);
    sequence(
        "an error about what a rule in monitor mode denies",
        [(datagram, WATCHED), (error, settled(WATCHED))],
    )
}

fn errors_about_what_exceeds_a_monitored_limit() -> Case {
    let [datagram, error] = lost(9180, 8003);
    let [other, about_other] = lost(9181, 8003);
    sequence(
        "an error about what exceeds the limit of a rule in monitor mode",
        [
            (datagram, allowed("watched-limit")),
            (error, in_flow("watched-limit")),
            (other, OVER),
            (about_other, settled(OVER)),
        ],
    )
}
