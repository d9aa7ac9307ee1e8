//! Packets: parts, routes, errors, flags and tunnels.

use enforcer_common::verdict::{DropReason, Stage, Verdict};

use super::super::{Case, Expected, allowed, case, default_denied, dropped, in_flow, passes_at, sequence};
use super::{PUMP, PUMP6, RULE, SERVER, pump, pump6};
use crate::packet::{Builder, Frame, packet, protocol, tcp_flags};

const SYN: u8 = tcp_flags::SYN;
const ACK: u8 = tcp_flags::ACK;

pub(super) fn cases() -> Vec<Case> {
    [management(), flags(), parts(), routes(), errors(), tunnels()].concat()
}

/// Parts behind the first have no ports, so they are no management access.
fn management() -> Vec<Case> {
    let admin = || packet().vlan(666).ip("10.66.9.5", "10.66.0.1");
    vec![sequence(
        "a later fragment is no management access",
        [
            (admin().echo(1, 1).build(), passes_at(Stage::Failsafe)),
            (
                admin()
                    .protocol(protocol::ICMP)
                    .fragment(7, 1480, false)
                    .payload([0; 64])
                    .build(),
                dropped(Stage::Flow, DropReason::FragmentOrphan),
            ),
        ],
    )]
}

/// Scans that some stacks answer.
fn flags() -> Vec<Case> {
    let segment = |port, flags| pump().tcp(port, 443, flags).build();
    let answer = |port, flags| packet().vlan(205).ip(SERVER, PUMP).tcp(443, port, flags).build();
    let nonsense = Expected {
        verdict: Verdict::Drop,
        reason: DropReason::TcpFlags,
        ..allowed(RULE)
    };
    let urgent = 0x20;
    vec![
        sequence(
            "FIN without ACK",
            [
                (segment(2001, tcp_flags::FIN), nonsense),
                (segment(2001, tcp_flags::FIN | tcp_flags::PSH | urgent), nonsense),
                (segment(2001, urgent), nonsense),
                (segment(2001, 0xff), nonsense),
            ],
        ),
        sequence(
            "a connection that both ends open",
            [
                (segment(2002, SYN), allowed(RULE)),
                (answer(2002, SYN), in_flow(RULE)),
                (segment(2002, SYN | ACK), in_flow(RULE)),
                (answer(2002, SYN | ACK), in_flow(RULE)),
                (segment(2002, ACK), in_flow(RULE)),
            ],
        ),
    ]
}

/// Fragments that no packet can be made of, but that wreck those who try.
fn parts() -> Vec<Case> {
    let bad = |four: bool| {
        let reason = if four {
            DropReason::MalformedIpv4
        } else {
            DropReason::MalformedIpv6
        };
        dropped(Stage::Parse, reason)
    };
    let sequence_of = |name, base: &dyn Fn() -> Builder, four: bool| {
        let first = |id, octets: usize| {
            let part = base().udp(4000 + id as u16, 24105).udp_length(4000);
            part.fragment(id, 0, true).payload(vec![0; octets]).build()
        };
        let later = |id, offset, more, octets: usize| {
            let part = base().protocol(protocol::UDP).fragment(id, offset, more);
            part.payload(vec![0; octets]).build()
        };
        sequence(
            name,
            [
                (first(1, 64), allowed(RULE)),
                // The ping of death: it ends behind 65,535.
                (later(1, 65_528, false, 40), bad(four)),
                (later(1, 65_000, false, 1400), bad(four)),
                (later(1, 65_000, false, 8), in_flow(RULE)),
                // Only the last one has a length that is no multiple of eight.
                (later(1, 72, true, 63), bad(four)),
                (later(1, 72, false, 63), in_flow(RULE)),
                (first(2, 63), bad(four)),
            ],
        )
    };
    let twice = |outer: [u8; 6]| {
        let part = pump6().extension(protocol::FRAGMENT, &outer);
        part.udp(4009, 24105)
            .udp_length(4000)
            .fragment(9, 0, true)
            .payload([0; 64])
            .build()
    };
    vec![
        sequence_of("fragments of no packet", &|| pump(), true),
        sequence_of("fragments of no IPv6 packet", &|| pump6(), false),
        sequence(
            "a fragment of a fragment",
            [
                (twice([0, 1, 0, 0, 0, 7]), bad(false)),
                (twice([0, 0, 0, 0, 0, 7]), bad(false)),
                (
                    twice([0, 73, 0, 0, 0, 7]),
                    dropped(Stage::Flow, DropReason::FragmentOrphan),
                ),
            ],
        ),
    ]
}

/// RFC 7126, RFC 5095: a packet that names stations to be passed on by goes first to where it may, and then elsewhere.
fn routes() -> Vec<Case> {
    let refused = dropped(Stage::Parse, DropReason::SourceRoute);
    let options = |options: &[u8]| pump().options(options).udp(5001, 24105).build();
    let four = |kind| [kind, 7, 4, 10, 10, 110, 21, 0];
    let hidden = [&[1, 1, 0x44, 4, 5, 0, 148, 4, 0, 0][..], &four(131)].concat();
    let padded = [&[0, 0, 0, 0][..], &four(131)].concat();
    let malformed = dropped(Stage::Parse, DropReason::MalformedIpv4);
    let six = |kind, left| {
        let route = [&[kind, left, 0, 0, 0, 0][..], &[0xfd; 16]].concat();
        pump6().extension(43, &route).udp(5002, 24105).build()
    };
    vec![
        sequence(
            "an IPv4 packet with a route of its own",
            [
                (options(&four(131)), refused),
                (options(&four(137)), refused),
                (options(&hidden), refused),
                // Behind the end of the options nobody reads.
                (options(&padded), allowed(RULE)),
                (options(&[7, 7, 4, 0, 0, 0, 0]), in_flow(RULE)),
            ],
        ),
        sequence(
            "IPv4 options that contradict themselves could hide one",
            [
                (options(&[148, 0, 0, 0]), malformed),
                (options(&[148, 1, 0, 0]), malformed),
                (options(&[148, 5, 0, 0]), malformed),
                (options(&[1, 1, 1, 148]), malformed),
            ],
        ),
        sequence(
            "an IPv6 packet with a route of its own",
            [
                (six(0, 1), refused),
                (six(2, 1), refused),
                (six(4, 255), refused),
                (six(0, 0), allowed(RULE)),
            ],
        ),
    ]
}

/// RFC 5927: a forged error ends a session, or makes its segments tiny. It must at least come by the VLAN of the one that
/// could not be reached.
fn errors() -> Vec<Case> {
    let datagram: Frame = pump().udp(6001, 24105).payload("wave").build();
    let answer: Frame = packet()
        .vlan(205)
        .ip(SERVER, PUMP)
        .udp(24105, 6001)
        .payload("wave")
        .build();
    let datagram6: Frame = pump6().udp(6002, 24105).payload("wave").build();
    let ping: Frame = packet().vlan(110).ip(PUMP, "10.10.110.1").echo(6003, 1).build();
    let about = |frame: &Frame| frame[frame.network..].to_vec();
    let error = |vlan, from: &str, to: &str, kind, frame: &Frame| {
        packet()
            .vlan(vlan)
            .ip(from, to)
            .icmp(kind, 0)
            .payload(about(frame))
            .build()
    };
    vec![
        sequence(
            "an ICMP error of somebody beside the way",
            [
                (datagram.clone(), allowed(RULE)),
                (error(666, "10.66.0.9", PUMP, 11, &datagram), default_denied()),
                (error(110, "10.10.110.101", PUMP, 11, &datagram), default_denied()),
                (error(205, "10.20.5.99", PUMP, 11, &datagram), in_flow(RULE)),
                (answer.clone(), in_flow(RULE)),
                (error(205, "10.20.5.99", SERVER, 11, &answer), default_denied()),
                (error(110, "10.10.110.101", SERVER, 11, &answer), in_flow(RULE)),
            ],
        ),
        sequence(
            "an ICMP error of somebody beside the way to the gateway",
            [
                (ping.clone(), allowed("pumps-to-gateway")),
                (error(666, "10.66.0.9", PUMP, 11, &ping), default_denied()),
                (error(205, "10.20.5.99", PUMP, 11, &ping), default_denied()),
                // In inline mode the gateway is another box, on the VLAN of whom it serves.
                (
                    error(110, "10.10.110.101", PUMP, 11, &ping),
                    in_flow("pumps-to-gateway"),
                ),
            ],
        ),
        sequence(
            "an ICMPv6 error of somebody beside the way",
            [
                (datagram6.clone(), allowed(RULE)),
                (error(207, "fd00:40:1::9", PUMP6, 2, &datagram6), default_denied()),
                (error(205, "fd00:20:5::99", PUMP6, 2, &datagram6), in_flow(RULE)),
            ],
        ),
    ]
}

/// What is inside of a tunnel is not looked at: so the tunnel itself has to be permitted.
fn tunnels() -> Vec<Case> {
    let inner = packet().ip("10.10.110.21", "10.10.110.22").udp(1, 9).build();
    let inner = inner[inner.network..].to_vec();
    let by = |number: u8| pump().protocol(number).payload(&inner).build();
    let vxlan = [&[8, 0, 0, 0, 0, 0, 110, 0][..], &[0; 14], &inner].concat();
    vec![
        sequence(
            "tunnels that no rule names",
            [4, 41, 50, 51, 94, 97, 115, 137].map(|number| (by(number), default_denied())),
        ),
        case("VXLAN", pump().udp(7001, 4789).payload(vxlan).build(), default_denied()),
        case("a tunnel that a rule names", by(47), allowed(RULE)),
    ]
}
