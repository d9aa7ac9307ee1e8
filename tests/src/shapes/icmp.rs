//! ICMP: echo has flows of its own, and errors follow the flow that they quote.

use enforcer_common::verdict::{DropReason, Stage};

use super::{Case, allowed, case, default_denied, in_flow, sequence};
use crate::packet::{Frame, packet};

const PUMP: &str = "10.10.110.60";
const SERVER: &str = "10.20.5.10";
const RULE: &str = "pumps-to-servers";

pub(super) fn cases() -> Vec<Case> {
    [echo(), errors()].concat()
}

fn echo() -> Vec<Case> {
    let ask = |id| packet().vlan(110).ip(PUMP, SERVER).echo(id, 1).build();
    let answer = |id| packet().vlan(205).ip(SERVER, PUMP).echo_reply(id, 1).build();
    let unreachable = packet().vlan(205).ip(SERVER, PUMP).icmp(3, 1).payload([0; 28]).build();
    vec![
        sequence(
            "ping",
            [
                (ask(3001), allowed(RULE)),
                (answer(3001), in_flow(RULE)),
                (ask(3001), in_flow(RULE)),
            ],
        ),
        case("an echo reply alone", answer(3002), default_denied()),
        sequence(
            "an echo reply with another identifier",
            [(ask(3003), allowed(RULE)), (answer(3004), default_denied())],
        ),
        sequence(
            "a request is no reply",
            [
                (ask(3005), allowed(RULE)),
                (
                    packet().vlan(205).ip(SERVER, PUMP).echo(3005, 1).build(),
                    default_denied(),
                ),
            ],
        ),
        case(
            "an ICMP error by a rule, without a flow",
            unreachable,
            allowed("servers-unreachable"),
        ),
    ]
}

/// ICMP errors follow the flow that they quote.
fn errors() -> Vec<Case> {
    let v4 = |port| {
        packet()
            .vlan(110)
            .ip(PUMP, SERVER)
            .udp(port, 24105)
            .payload("wave")
            .build()
    };
    let v6 = |port| {
        packet()
            .vlan(110)
            .ip("fd00:10:110::60", "fd00:20:5::10")
            .udp(port, 24105)
            .payload("wave")
            .build()
    };
    let quote = |frame: &Frame| frame[frame.network..].to_vec();
    // From the server's network; type 3 is left to a rule of its own, so time exceeded shows the flow at work.
    let exceeded = |quote: Vec<u8>| packet().vlan(205).ip("10.20.5.1", PUMP).icmp(11, 0).payload(quote);
    let from_server = |quote: Vec<u8>| {
        packet()
            .vlan(205)
            .ip("10.20.5.99", PUMP)
            .icmp(11, 0)
            .payload(quote)
            .build()
    };
    let too_big = |to: &str, quote: Vec<u8>| {
        packet()
            .vlan(205)
            .ip("fd00:20:5::99", to)
            .icmp(2, 0)
            .payload(quote)
            .build()
    };
    let other_pump = packet().vlan(205).ip("10.20.5.99", "10.10.110.61").icmp(11, 0);
    let ping = packet().vlan(110).ip(PUMP, SERVER).echo(3101, 1).build();
    vec![
        sequence(
            "an error about an open flow",
            [
                (v4(3102), allowed(RULE)),
                (from_server(quote(&v4(3102))), in_flow(RULE)),
            ],
        ),
        sequence(
            "an error about an echo request",
            [
                (ping.clone(), allowed(RULE)),
                (from_server(quote(&ping)), in_flow(RULE)),
            ],
        ),
        case(
            "an error about a flow that is not there",
            from_server(quote(&v4(3103))),
            default_denied(),
        ),
        sequence(
            "an error to somebody else about an open flow",
            [
                (v4(3104), allowed(RULE)),
                (other_pump.payload(quote(&v4(3104))).build(), default_denied()),
            ],
        ),
        sequence(
            "an error with a cut quote",
            [
                (v4(3105), allowed(RULE)),
                (from_server(quote(&v4(3105))[..27].to_vec()), default_denied()),
            ],
        ),
        sequence(
            "an error with a quote that says another version",
            [
                (v4(3106), allowed(RULE)),
                (
                    from_server([vec![0x65], quote(&v4(3106))[1..].to_vec()].concat()),
                    default_denied(),
                ),
            ],
        ),
        sequence(
            "packet too big",
            [
                (v6(3107), allowed(RULE)),
                (too_big("fd00:10:110::60", quote(&v6(3107))), in_flow(RULE)),
                (too_big("fd00:10:110::61", quote(&v6(3107))), default_denied()),
            ],
        ),
        sequence(
            "an error does not carry the gateway's address",
            [
                (v4(3108), allowed(RULE)),
                (
                    exceeded(quote(&v4(3108))).build(),
                    super::dropped(Stage::Source, DropReason::SourceNotInVlan),
                ),
            ],
        ),
    ]
}
