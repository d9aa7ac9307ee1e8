//! Packets in parts, in both families.

use enforcer_common::verdict::{DropReason, Stage};

use super::{Case, Expected, allowed, case, default_denied, dropped, in_flow, monitored, sequence};
use crate::packet::{Builder, Frame, packet, protocol, tcp_flags};

const RULE: &str = "pumps-to-servers";

pub(super) fn cases() -> Vec<Case> {
    let v4 = || packet().vlan(110).ip("10.10.110.70", "10.20.5.10");
    let v6 = || packet().vlan(110).ip("fd00:10:110::70", "fd00:20:5::10");
    [
        in_parts(v4, 0),
        in_parts(v6, 100),
        tiny(v4),
        tiny(v6),
        behind_options(v6),
        monitor(),
    ]
    .concat()
}

/// The first 72 octets of a datagram's payload, header included.
fn first(base: Builder, id: u32, port: u16) -> Frame {
    base.udp(9000, port)
        .udp_length(4000)
        .fragment(id, 0, true)
        .payload([0; 64])
        .build()
}

fn later(base: Builder, id: u32, offset: u16) -> Frame {
    base.protocol(protocol::UDP)
        .fragment(id, offset, true)
        .payload([0; 64])
        .build()
}

const fn orphan() -> Expected {
    dropped(Stage::Flow, DropReason::FragmentOrphan)
}

fn in_parts(base: impl Fn() -> Builder, id: u32) -> Vec<Case> {
    let telemetry = |offset| first(base(), id + offset, 24105);
    let overlapping = dropped(Stage::Flow, DropReason::OverlappingFragment);
    // A first fragment joins the flow that an earlier case opened, so each case has a port of its own.
    let own = |number: u16| {
        base()
            .udp(9100 + number, 24105)
            .udp_length(4000)
            .fragment(id + u32::from(number), 0, true)
    };
    let shorter = |number: u16| own(number).payload([0; 8]).build();
    let own = |number: u16| own(number).payload([0; 64]).build();
    vec![
        // Pitfall 5: parts fared by their timing. Each order has its verdict.
        sequence(
            "later fragments follow their first",
            [
                (telemetry(1), allowed(RULE)),
                (later(base(), id + 1, 72), in_flow(RULE)),
                (later(base(), id + 1, 136), in_flow(RULE)),
            ],
        ),
        // Pitfall 5, too.
        sequence(
            "a later fragment before its first",
            [
                (later(base(), id + 2, 72), orphan()),
                (own(2), allowed(RULE)),
                (later(base(), id + 2, 72), in_flow(RULE)),
            ],
        ),
        sequence(
            "a later fragment of another packet",
            [(own(3), allowed(RULE)), (later(base(), id + 4, 72), orphan())],
        ),
        sequence(
            "a later fragment of a refused packet",
            [
                (first(base(), id + 5, 9), default_denied()),
                (later(base(), id + 5, 72), orphan()),
            ],
        ),
        // And here, pitfall 5: what hides behind an overlap.
        sequence(
            "a later fragment that reaches into the first",
            [
                (own(6), allowed(RULE)),
                (later(base(), id + 6, 64), overlapping),
                (later(base(), id + 6, 8), overlapping),
                (later(base(), id + 6, 72), in_flow(RULE)),
            ],
        ),
        sequence(
            "a first fragment that comes again, and shorter",
            [
                (own(8), allowed(RULE)),
                (shorter(8), in_flow(RULE)),
                (later(base(), id + 8, 16), overlapping),
                (later(base(), id + 8, 72), in_flow(RULE)),
            ],
        ),
        case(
            "a later fragment that looks like a permitted datagram",
            base().udp(9000, 24105).fragment(id + 7, 72, true).build(),
            orphan(),
        ),
    ]
}

/// First fragments that leave a part of their transport header to the next.
fn tiny(base: impl Fn() -> Builder) -> Vec<Case> {
    let segment = base()
        .tcp(9001, 443, tcp_flags::SYN)
        .fragment(50, 0, true)
        .payload([0; 20])
        .build();
    let refused = dropped(Stage::Parse, DropReason::TinyFragment);
    let v4 = segment[segment.network] >> 4 == 4;
    let cut = |left: usize| {
        let length = (if v4 { 20 } else { 8 }) + left as u16;
        let frame = segment.clone().truncated(segment.transport + left);
        frame.patched(segment.network + if v4 { 2 } else { 4 }, &length.to_be_bytes())
    };
    vec![
        case("a first fragment without flags", cut(8), refused),
        case("a first fragment without the end of the header", cut(16), refused),
    ]
}

/// Extension headers behind that of the fragment are a part of what is cut up: the transport header stands further on.
fn behind_options(base: impl Fn() -> Builder) -> Vec<Case> {
    const PAD: usize = 60;
    let datagram = base().udp(9200, 24105).udp_length(4000).payload([0; 16]).build();
    // One option that pads to 64 octets: next header, length, PadN, its length.
    let options = [&[protocol::UDP, 7, 1, PAD as u8][..], &[0; PAD]].concat();
    let first = base()
        .protocol(protocol::DESTINATION_OPTIONS)
        .fragment(70, 0, true)
        .payload([&options, &datagram[datagram.transport..]].concat())
        .build();
    let overlapping = dropped(Stage::Flow, DropReason::OverlappingFragment);
    vec![sequence(
        "a later fragment that reaches into the transport header behind options",
        [
            (first, allowed(RULE)),
            (later(base(), 70, 16), overlapping),
            (later(base(), 70, 64), overlapping),
            (later(base(), 70, 80), overlapping),
            (later(base(), 70, 88), in_flow(RULE)),
        ],
    )]
}

fn monitor() -> Vec<Case> {
    let base = || packet().vlan(120).ip("10.10.120.70", "10.10.121.70");
    let would = monitored(default_denied());
    vec![sequence(
        "fragments in monitor mode",
        [
            (first(base(), 60, 9), would),
            (
                later(base(), 60, 72),
                Expected {
                    stage: Stage::Flow,
                    ..would
                },
            ),
            (later(base(), 61, 72), monitored(orphan())),
        ],
    )]
}
