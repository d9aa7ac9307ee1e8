//! Sequences: what opens a flow, what answers in one, and what only looks like it.

use enforcer_common::verdict::{DropReason, Stage, Verdict};

use super::{Case, Expected, allowed, case, default_denied, in_flow, monitored, sequence};
use crate::packet::{Builder, Frame, packet, tcp_flags};

const PUMP: &str = "10.10.110.60";
const SERVER: &str = "10.20.5.10";
const SYN: u8 = tcp_flags::SYN;
const ACK: u8 = tcp_flags::ACK;
const FIN: u8 = tcp_flags::FIN;
const RST: u8 = tcp_flags::RST;
const RULE: &str = "pumps-to-servers";

pub(super) fn cases() -> Vec<Case> {
    [tcp(), tcp_edges(), datagrams(), rules(), monitor()].concat()
}

fn out(port: u16, flags: u8) -> Frame {
    packet().vlan(110).ip(PUMP, SERVER).tcp(port, 443, flags).build()
}

fn back(port: u16, flags: u8) -> Frame {
    packet().vlan(205).ip(SERVER, PUMP).tcp(443, port, flags).build()
}

/// A handshake from client port `port`, and what follows.
fn with(port: u16, more: Vec<(Frame, Expected)>) -> Vec<(Frame, Expected)> {
    let handshake = [
        (out(port, SYN), allowed(RULE)),
        (back(port, SYN | ACK), in_flow(RULE)),
        (out(port, ACK), in_flow(RULE)),
    ];
    handshake.into_iter().chain(more).collect()
}

fn tcp() -> Vec<Case> {
    vec![sequence(
        "a connection from SYN to FIN",
        with(
            1001,
            vec![
                (out(1001, ACK | tcp_flags::PSH), in_flow(RULE)),
                (back(1001, ACK), in_flow(RULE)),
                (out(1001, FIN | ACK), in_flow(RULE)),
                (back(1001, FIN | ACK), in_flow(RULE)),
                (out(1001, ACK), in_flow(RULE)),
            ],
        ),
    )]
}

/// Segments at the edges of a session.
fn tcp_edges() -> Vec<Case> {
    vec![
        case(
            "an answer that nobody asked for",
            back(1002, SYN | ACK),
            default_denied(),
        ),
        case(
            "a segment of a session that nobody opened",
            back(1003, ACK),
            default_denied(),
        ),
        sequence(
            "a session that began before the enforcer",
            [
                (out(1004, ACK), allowed(RULE)),
                (back(1004, ACK), in_flow(RULE)),
                (out(1004, ACK), in_flow(RULE)),
            ],
        ),
        sequence(
            "the server may not open a connection through an answered port",
            with(
                1005,
                vec![(
                    packet().vlan(205).ip(SERVER, PUMP).tcp(443, 1006, SYN).build(),
                    default_denied(),
                )],
            ),
        ),
        sequence(
            "ports used again after the end",
            with(
                1007,
                vec![
                    (out(1007, RST | ACK), in_flow(RULE)),
                    (out(1007, SYN), allowed(RULE)),
                    (back(1007, SYN | ACK), in_flow(RULE)),
                ],
            ),
        ),
        sequence(
            "a forged reset does not end a session",
            with(
                1008,
                vec![
                    (back(1008, RST), in_flow(RULE)),
                    (out(1008, ACK), in_flow(RULE)),
                    (back(1008, ACK), in_flow(RULE)),
                ],
            ),
        ),
        sequence(
            "a refused connection",
            [(out(1009, SYN), allowed(RULE)), (back(1009, RST | ACK), in_flow(RULE))],
        ),
        sequence(
            "a reset opens nothing",
            [(out(1010, RST), allowed(RULE)), (back(1010, ACK), default_denied())],
        ),
        sequence(
            "a SYN sent twice",
            [
                (out(1011, SYN), allowed(RULE)),
                (out(1011, SYN), in_flow(RULE)),
                (back(1011, SYN | ACK), in_flow(RULE)),
            ],
        ),
        sequence(
            "nonsense flags inside of a session",
            with(
                1012,
                vec![
                    (
                        out(1012, SYN | FIN),
                        Expected {
                            verdict: Verdict::Drop,
                            reason: DropReason::TcpFlags,
                            ..allowed(RULE)
                        },
                    ),
                    (out(1012, ACK), in_flow(RULE)),
                ],
            ),
        ),
    ]
}

fn datagrams() -> Vec<Case> {
    let out = |port| packet().vlan(110).ip(PUMP, SERVER).udp(port, 24105).build();
    let back = |port| packet().vlan(205).ip(SERVER, PUMP).udp(24105, port).build();
    let out6 = |port| {
        packet()
            .vlan(110)
            .ip("fd00:10:110::60", "fd00:20:5::10")
            .udp(port, 24105)
            .build()
    };
    let back6 = |port| {
        packet()
            .vlan(205)
            .ip("fd00:20:5::10", "fd00:10:110::60")
            .udp(24105, port)
            .build()
    };
    let gre = |vlan, source, destination| {
        packet()
            .vlan(vlan)
            .ip(source, destination)
            .protocol(47)
            .payload([0; 8])
            .build()
    };
    vec![
        sequence(
            "question and answer",
            [
                (out(2001), allowed(RULE)),
                (back(2001), in_flow(RULE)),
                (out(2001), in_flow(RULE)),
            ],
        ),
        sequence(
            "question and answer over IPv6",
            [
                (out6(2002), allowed(RULE)),
                (back6(2002), in_flow(RULE)),
                (out6(2002), in_flow(RULE)),
            ],
        ),
        sequence(
            "one way only",
            [
                (out(2003), allowed(RULE)),
                (out(2003), in_flow(RULE)),
                (out(2003), in_flow(RULE)),
            ],
        ),
        case("an answer alone", back(2004), default_denied()),
        sequence(
            "an answer to another port",
            [(out(2005), allowed(RULE)), (back(2006), default_denied())],
        ),
        sequence(
            "a protocol without ports has flows too",
            [
                (gre(110, "10.10.110.61", SERVER), allowed(RULE)),
                (gre(205, SERVER, "10.10.110.61"), in_flow(RULE)),
                (gre(205, SERVER, "10.10.110.62"), default_denied()),
            ],
        ),
    ]
}

fn rules() -> Vec<Case> {
    let telemetry =
        |source: &str, destination: &str, port| packet().vlan(110).ip(source, destination).udp(port, 24105).build();
    let denied = Expected {
        verdict: Verdict::Drop,
        reason: DropReason::DeniedByRule,
        stage: Stage::Policy,
        rule: "quarantined",
    };
    vec![
        case("deny beats allow", telemetry("10.10.110.22", SERVER, 4001), denied),
        case(
            "for this device only",
            telemetry("10.10.110.23", SERVER, 4002),
            allowed(RULE),
        ),
        case(
            "to this device only",
            telemetry("10.10.110.22", "10.20.5.11", 4003),
            allowed(RULE),
        ),
        case(
            "to an address that nobody declares",
            telemetry(PUMP, "192.0.2.9", 4004),
            default_denied(),
        ),
        case(
            "a guest to a pump",
            packet().vlan(666).ip("10.66.3.4", PUMP).tcp(4005, 443, SYN).build(),
            default_denied(),
        ),
    ]
}

fn monitor() -> Vec<Case> {
    let between =
        |vlan: u16, source: &str, destination: &str| -> Builder { packet().vlan(vlan).ip(source, destination) };
    let would = monitored(default_denied());
    let would_in_flow = Expected {
        stage: Stage::Flow,
        ..would
    };
    vec![
        case(
            "between two monitored zones",
            between(120, "10.10.120.5", "10.10.121.5").udp(5001, 9).build(),
            would,
        ),
        sequence(
            "the answer is charged to the same rule, in its flow",
            [
                (between(120, "10.10.120.5", "10.10.121.5").udp(5002, 9).build(), would),
                (
                    between(121, "10.10.121.5", "10.10.120.5").udp(9, 5002).build(),
                    would_in_flow,
                ),
            ],
        ),
        case(
            "one zone enforces",
            between(120, "10.10.120.5", SERVER).tcp(5003, 22, SYN).build(),
            default_denied(),
        ),
        case(
            "the other zone enforces",
            between(110, PUMP, "10.10.120.5").tcp(5004, 22, SYN).build(),
            default_denied(),
        ),
        case(
            "a monitored zone to nowhere declared",
            between(120, "10.10.120.5", "192.0.2.1").udp(5005, 9).build(),
            would,
        ),
        case(
            "permitted is permitted",
            between(120, "10.10.120.5", SERVER).udp(5006, 24105).build(),
            allowed("monitors-to-servers"),
        ),
        case(
            "malformed between monitored zones",
            between(120, "10.10.120.5", "10.10.121.5")
                .udp(5007, 9)
                .build()
                .truncated(40),
            monitored(super::dropped(Stage::Parse, DropReason::TruncatedIpv4)),
        ),
        case(
            "malformed toward a zone that enforces",
            between(120, "10.10.120.5", SERVER)
                .udp(5008, 24105)
                .build()
                .truncated(40),
            super::dropped(Stage::Parse, DropReason::TruncatedIpv4),
        ),
    ]
}
