//! Inline mode: what passes leaves by the paired port.

use enforcer_common::verdict::{DropReason, Stage, Verdict};

use super::{
    Case, EAST, Expected, MONITOR_EAST, Step, WEST, allowed, case, default_denied, dropped, in_flow, monitored,
    passes_at,
};
use crate::packet::{Frame, packet, tcp_flags};

const PUMP: &str = "10.10.110.60";
const SERVER: &str = "10.20.5.10";

/// What passes in gateway mode.
pub(super) const fn redirected(expected: Expected) -> Expected {
    Expected {
        verdict: Verdict::Redirect,
        ..expected
    }
}

pub(super) fn cases() -> Vec<Case> {
    [across(), refused(), control()].concat()
}

fn across() -> Vec<Case> {
    let syn = packet().vlan(110).ip(PUMP, SERVER).tcp(1, 443, tcp_flags::SYN).build();
    // Behind a router: in the pump's VLAN, from an address of another one.
    let answer = packet()
        .vlan(110)
        .ip(SERVER, PUMP)
        .tcp(443, 1, tcp_flags::SYN | tcp_flags::ACK)
        .build();
    let step = |ifindex, frame: &Frame, expected| Step {
        ifindex,
        ended: false,
        frame: frame.clone(),
        expected,
    };
    vec![
        Case {
            name: "a flow across a pair, its answer by the uplink",
            steps: vec![
                step(EAST, &syn, redirected(allowed("pumps-to-servers"))),
                step(WEST, &answer, redirected(in_flow("pumps-to-servers"))),
            ],
        },
        case(
            "a pump's address resolution",
            packet().vlan(110).arp_request(PUMP, "10.10.110.1").build(),
            redirected(passes_at(Stage::Link)),
        )
        .on(EAST),
    ]
}

fn refused() -> Vec<Case> {
    let guest = packet().vlan(666).ip("10.66.0.60", SERVER).udp(1, 24105).build();
    let answer = packet().vlan(110).ip(SERVER, PUMP).udp(24105, 2).build();
    vec![
        case("refused by a paired port", guest.clone(), default_denied()).on(EAST),
        case("a paired port in monitor mode", guest, monitored(default_denied())).on(MONITOR_EAST),
        case("an answer to nothing by the uplink", answer.clone(), default_denied()).on(WEST),
        case(
            "an address of another VLAN on the side that is no uplink",
            answer,
            dropped(Stage::Source, DropReason::SourceNotInVlan),
        )
        .on(EAST),
    ]
}

fn control() -> Vec<Case> {
    let frame = |kind| {
        let frame = packet().to_mac([0x01, 0x80, 0xc2, 0, 0, 0]);
        frame.ethertype(kind).payload([2, 7, 4]).build()
    };
    vec![
        case(
            "LLDP on the list of a paired port",
            frame(0x88cc),
            redirected(passes_at(Stage::Link)),
        )
        .on(EAST),
        case(
            "LACP, which its list leaves out",
            frame(0x8809),
            dropped(Stage::Link, DropReason::ControlProtocol),
        )
        .on(EAST),
    ]
}
