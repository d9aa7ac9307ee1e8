//! What the networks of hospitals do all day, and what looks odd to a guard: none of it may be lost.

use enforcer_common::verdict::{DropReason, Stage};

use super::inline::redirected;
use super::{Case, EAST, Step, WEST, allowed, case, default_denied, dropped, in_flow, passes_at, sequence};
use crate::packet::{BROADCAST, Builder, Frame, Mac, SOURCE_MAC, arp, packet, tcp_flags};

const RULE: &str = "pumps-to-servers";
/// The hardware address of `pump-1`, and its addresses.
const PUMP_1: Mac = [0x00, 0x1e, 0x3d, 0x00, 0x01, 0x01];
const PUMP: &str = "10.10.110.21";
const PUMP6: &str = "fd00:10:110::21";
/// The hardware address of `server-2`, and its address.
const SERVER_2: Mac = [0x00, 0x1e, 0x3d, 0x00, 0x03, 0x01];
const SERVER: &str = "10.20.5.30";
/// A router, which does not change addresses of IP, but those of Ethernet.
const ROUTER: Mac = [0x00, 0x00, 0x5e, 0x00, 0x01, 0x0a];

pub(super) fn cases() -> Vec<Case> {
    [
        routed(),
        duplicates(),
        narrow_links(),
        openers(),
        groups(),
        failover(),
        gateway(),
    ]
    .concat()
}

fn pump() -> Builder {
    packet().vlan(110).from_mac(PUMP_1).ip(PUMP, SERVER)
}

/// Behind a router a device's frames have the router's hardware address. Those of devices that declare one were refused at the
/// uplink: no answer of such a server found its way back across a pair.
fn routed() -> Vec<Case> {
    let step = |ifindex, frame: Frame, expected| Step {
        ifindex,
        ended: false,
        frame,
        expected,
    };
    let answer = |vlan, mac| {
        packet()
            .vlan(vlan)
            .from_mac(mac)
            .ip(SERVER, PUMP)
            .udp(24105, 8101)
            .build()
    };
    let claim = |mac: Mac| {
        let frame = packet().vlan(205).macs(mac, BROADCAST);
        frame.arp(arp::REPLY, (mac, SERVER), (mac, SERVER)).build()
    };
    let mismatch = dropped(Stage::Source, DropReason::SourceMacMismatch);
    vec![
        Case {
            name: "a router's hardware address in front of a device that declares its own",
            steps: vec![
                step(EAST, pump().udp(8101, 24105).build(), redirected(allowed(RULE))),
                step(WEST, answer(110, ROUTER), redirected(in_flow(RULE))),
                // On its own VLAN it is nobody else, on either side.
                step(WEST, answer(205, ROUTER), mismatch),
                step(WEST, answer(205, SERVER_2), redirected(in_flow(RULE))),
                step(EAST, answer(205, ROUTER), mismatch),
                step(WEST, claim(ROUTER), dropped(Stage::Link, DropReason::ArpSpoof)),
            ],
        },
        // The router is behind the pair, and both VLANs in front of it: each frame crosses twice.
        Case {
            name: "a frame that a router sends back through the pair, by another VLAN",
            steps: vec![
                step(EAST, pump().udp(8102, 24105).build(), redirected(allowed(RULE))),
                step(
                    WEST,
                    packet()
                        .vlan(205)
                        .from_mac(ROUTER)
                        .ip(PUMP, SERVER)
                        .udp(8102, 24105)
                        .build(),
                    redirected(in_flow(RULE)),
                ),
            ],
        },
    ]
}

/// RFC 7527: who asks whether its address is free adds a number, so that it knows its own question when a loop brings it back.
/// Linux does so, and was taken for a spoofer of its own address.
fn duplicates() -> Vec<Case> {
    let fine = passes_at(Stage::Link);
    let spoof = dropped(Stage::Link, DropReason::NeighbourSpoof);
    let nonce = [14, 1, 7, 7, 7, 7, 7, 7];
    let claim = [&[1, 1][..], &SOURCE_MAC].concat();
    let ask = |mac: Mac, options: &[u8]| {
        let target: std::net::Ipv6Addr = PUMP6.parse().expect("an IPv6 address");
        let frame = packet().vlan(110).from_mac(mac).ip("::", "ff02::1:ff00:21").ttl(255);
        frame
            .icmp(135, 0)
            .payload([&target.octets()[..], options].concat())
            .build()
    };
    vec![sequence(
        "the detection of duplicate addresses with a number in it",
        [
            (ask(PUMP_1, &nonce), fine),
            (ask(SOURCE_MAC, &nonce), spoof),
            // What follows the number is not looked at, so nothing may.
            (ask(PUMP_1, &[&nonce[..], &claim].concat()), spoof),
            (ask(PUMP_1, &claim), spoof),
        ],
    )]
}

/// A datagram in parts meets a link that is too narrow for them. The router quotes the first one, fragment header and all; its message
/// was refused, and the sender never learnt to send smaller parts.
fn narrow_links() -> Vec<Case> {
    let part = |port, offset| {
        let part = packet().vlan(110).ip("fd00:10:110::103", "fd00:20:5::10");
        let part = part
            .udp(port, 24105)
            .udp_length(4000)
            .fragment(u32::from(port), offset, true);
        part.payload([0; 64]).build()
    };
    let too_big = |frame: &Frame| {
        let router = packet().vlan(205).ip("fd00:20:5::99", "fd00:10:110::103").icmp(2, 0);
        router.payload(&frame[frame.network..]).build()
    };
    vec![sequence(
        "packet too big, about a fragment",
        [
            (part(8103, 0), allowed(RULE)),
            (too_big(&part(8103, 0)), in_flow(RULE)),
            (too_big(&part(8104, 0)), default_denied()),
            // Without ports nobody knows what it is about; the first part was as long.
            (too_big(&part(8103, 72)), default_denied()),
        ],
    )]
}

/// A device whose port is the same at both ends, or that listens where it once asked from: its server opened connections to it
/// through the one that was there.
fn openers() -> Vec<Case> {
    let (syn, ack) = (tcp_flags::SYN, tcp_flags::ACK);
    let out = |port, flags| {
        packet()
            .vlan(110)
            .ip("10.10.110.104", "10.20.5.10")
            .tcp(port, 443, flags)
            .build()
    };
    let back = |port, flags| {
        packet()
            .vlan(205)
            .ip("10.20.5.10", "10.10.110.104")
            .tcp(443, port, flags)
            .build()
    };
    vec![
        sequence(
            "the server may not open a connection through an open one",
            [
                (out(8105, syn), allowed(RULE)),
                (back(8105, syn | ack), in_flow(RULE)),
                (out(8105, ack), in_flow(RULE)),
                (back(8105, syn), default_denied()),
                (back(8105, ack), in_flow(RULE)),
                // The device has started anew, and asks again.
                (out(8105, syn), in_flow(RULE)),
                (back(8105, ack), in_flow(RULE)),
            ],
        ),
        sequence(
            "nor through one that began before the enforcer",
            [(out(8106, ack), allowed(RULE)), (back(8106, syn), default_denied())],
        ),
    ]
}

/// What tells switches and routers who listens to which group (RFC 3376, RFC 3810), with router alert options.
fn groups() -> Vec<Case> {
    let igmp = packet().vlan(110).ip("10.10.110.105", "224.0.0.22").ttl(1);
    let igmp = igmp.options(&[148, 4, 0, 0]).protocol(2).payload([0x22; 16]);
    let mld = |source| {
        let report = packet().vlan(110).ip(source, "ff02::16").ttl(1);
        report
            .extension(0, &[5, 2, 0, 0, 1, 0])
            .icmp(143, 0)
            .payload([0; 20])
            .build()
    };
    let allowed = allowed("memberships");
    vec![
        case("an IGMP report", igmp.build(), allowed),
        sequence("MLD reports", [(mld("fe80::105"), allowed), (mld("::"), allowed)]),
    ]
}

/// VRRP (RFC 9568): routers share an address and a hardware address, tell each other so, and announce who has them now.
fn failover() -> Vec<Case> {
    let announce = |mac: Mac| {
        let frame = packet().vlan(205).macs(mac, BROADCAST);
        frame
            .arp(arp::REQUEST, (mac, "10.20.5.1"), ([0; 6], "10.20.5.1"))
            .build()
    };
    let advertisement = packet().vlan(205).from_mac(ROUTER).ip("10.20.5.2", "224.0.0.18");
    let advertisement = advertisement.ttl(255).protocol(112).payload([0x31; 20]);
    vec![
        case(
            "an advertisement of VRRP, by a rule",
            advertisement.build(),
            allowed("failover"),
        ),
        case(
            "the announcement of a router that takes over, by the uplink",
            announce(ROUTER),
            redirected(passes_at(Stage::Link)),
        )
        .on(WEST),
        case(
            "and by the side of the devices",
            announce(ROUTER),
            dropped(Stage::Link, DropReason::ArpSpoof),
        )
        .on(EAST),
    ]
}

/// The kernel program does not see what the gateway's own stack asks for, so the answers need a rule.
fn gateway() -> Vec<Case> {
    let answer = |from: &str, port| packet().vlan(205).ip(from, "10.20.5.1").udp(53, port).build();
    vec![sequence(
        "an answer to the gateway itself",
        [
            (answer("10.20.5.10", 40_000), allowed("answers-to-gateway")),
            (answer("10.20.5.10", 22), default_denied()),
            (answer("10.20.5.11", 40_000), default_denied()),
        ],
    )]
}
