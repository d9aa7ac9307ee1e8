//! Shapes of bytes: every layer whole, cut at each boundary, and contradicting itself.

use enforcer_common::verdict::{DropReason, Stage, Verdict};

use super::{Case, Expected, allowed, case, default_denied, dropped, passes_at};
use crate::packet::{Builder, Frame, packet, protocol, tcp_flags};

/// Of a pump, to the server that it may reach.
const PUMP: &str = "10.10.110.30";
const SERVER: &str = "10.20.5.10";
const PUMP6: &str = "fd00:10:110::30";
const SERVER6: &str = "fd00:20:5::10";

pub(super) fn cases() -> Vec<Case> {
    [ethernet(), arp(), ipv4(), ipv6(), tcp(), transport()].concat()
}

const fn malformed(reason: DropReason) -> Expected {
    dropped(Stage::Parse, reason)
}

fn pump() -> Builder {
    packet().vlan(110).ip(PUMP, SERVER)
}

fn pump6() -> Builder {
    packet().vlan(110).ip(PUMP6, SERVER6)
}

/// A datagram that the policy permits; ports keep cases apart.
fn datagram(port: u16) -> Frame {
    pump().udp(port, 24105).payload("wave").build()
}

fn ethernet() -> Vec<Case> {
    use DropReason::{EtherType, TooManyTags, TruncatedEthernet, TruncatedVlan};
    let tagged = |tags: usize| {
        let frame = (0..tags).fold(packet(), |frame, _| frame.vlan(110));
        frame.ip(PUMP, SERVER).udp(1000, 24105).build()
    };
    vec![
        case(
            "no octet at all would be too short for the kernel: thirteen",
            datagram(1).truncated(13),
            malformed(TruncatedEthernet),
        ),
        case(
            "the frame ends before the tag",
            datagram(2).truncated(14),
            malformed(TruncatedVlan),
        ),
        // Pitfall 17: a cut tag ended the parsing instead of being an error.
        case(
            "the frame ends inside the tag",
            datagram(3).truncated(17),
            malformed(TruncatedVlan),
        ),
        case(
            "the frame ends inside the second tag",
            tagged(2).truncated(20),
            malformed(TruncatedVlan),
        ),
        // Pitfall 3: deeper tags fell to a default that let them pass.
        case("three tags", tagged(3), malformed(TooManyTags)),
        case(
            "three tags, the last one cut",
            tagged(3).truncated(24),
            malformed(TooManyTags),
        ),
        case(
            "an EtherType that nobody asked for",
            packet().vlan(110).ethertype(0x8137).payload([0; 46]).build(),
            dropped(Stage::Link, EtherType),
        ),
        case(
            "the old QinQ type is no tag",
            packet().tag(0x9100, 110).ip(PUMP, SERVER).udp(1, 24105).build(),
            dropped(Stage::Link, DropReason::VlanNotAllowed),
        ),
        case(
            "PTP",
            packet().vlan(110).ethertype(0x88f7).payload([0; 46]).build(),
            dropped(Stage::Link, EtherType),
        ),
        case(
            "an 802.3 length that is no spanning tree",
            packet().vlan(110).llc().payload([0x42; 40]).build(),
            dropped(Stage::Link, EtherType),
        ),
    ]
}

fn arp() -> Vec<Case> {
    use DropReason::{MalformedArp, TruncatedArp};
    let request = packet().vlan(110).arp_request(PUMP, "10.10.110.1").build();
    let at = request.network;
    vec![
        case("an ARP request", request.clone(), passes_at(Stage::Link)),
        case(
            "an ARP request, padded",
            request.clone().padded(60),
            passes_at(Stage::Link),
        ),
        case(
            "ARP, cut in the fixed part",
            request.clone().truncated(at + 7),
            malformed(TruncatedArp),
        ),
        case(
            "ARP, cut in the addresses",
            request.clone().truncated(at + 27),
            malformed(TruncatedArp),
        ),
        case(
            "ARP for another hardware type",
            request.patched(at, &[0, 6]),
            malformed(MalformedArp),
        ),
        case(
            "ARP for another protocol",
            request.patched(at + 2, &[0x86, 0xdd]),
            malformed(MalformedArp),
        ),
        case(
            "ARP with long addresses",
            request.patched(at + 4, &[8]),
            malformed(MalformedArp),
        ),
        case(
            "ARP with an unknown operation",
            request.patched(at + 6, &[0, 9]),
            malformed(MalformedArp),
        ),
    ]
}

fn ipv4() -> Vec<Case> {
    use DropReason::{MalformedIpv4, TruncatedIpv4};
    let whole = datagram(100);
    let at = whole.network;
    let options = pump().options(&[0x94, 4, 0, 0]);
    vec![
        case("IPv4", whole.clone(), allowed("pumps-to-servers")),
        case(
            "IPv4 with padding behind it",
            datagram(101).padded(64),
            allowed("pumps-to-servers"),
        ),
        case(
            "IPv4 with options",
            options.udp(102, 24105).build(),
            allowed("pumps-to-servers"),
        ),
        // Pitfall 17: the length of an IPv4 header was ignored.
        case(
            "options do not shift the ports",
            pump().options(&[1; 40]).udp(103, 9).build(),
            default_denied(),
        ),
        case(
            "IPv4, cut in the header",
            whole.clone().truncated(at + 19),
            malformed(TruncatedIpv4),
        ),
        case(
            "IPv4, cut in the payload",
            whole.clone().truncated(whole.len() - 1),
            malformed(TruncatedIpv4),
        ),
        case(
            "IPv4 that says version 6",
            whole.patched(at, &[0x65]),
            malformed(MalformedIpv4),
        ),
        case(
            "an IPv4 header shorter than any",
            whole.patched(at, &[0x44]),
            malformed(MalformedIpv4),
        ),
        case(
            "an IPv4 packet shorter than its header",
            whole.patched(at + 2, &[0, 19]),
            malformed(MalformedIpv4),
        ),
        case(
            "IPv4 options beyond the packet",
            whole.patched(at, &[0x4f]),
            malformed(MalformedIpv4),
        ),
    ]
}

fn ipv6() -> Vec<Case> {
    use DropReason::{MalformedIpv6, TooManyExtensions, TruncatedIpv6};
    let whole = pump6().udp(200, 24105).payload("wave").build();
    let at = whole.network;
    let allowed6 = allowed("pumps-to-servers");
    let chain = |length: usize| {
        let kinds = [
            protocol::HOP_BY_HOP,
            protocol::DESTINATION_OPTIONS,
            protocol::ROUTING,
            protocol::DESTINATION_OPTIONS,
        ];
        (0..length).fold(pump6(), |frame, index| {
            frame.extension(kinds[index % kinds.len()], &[0; 6])
        })
    };
    vec![
        case("IPv6", whole.clone(), allowed6),
        case(
            "IPv6, cut in the header",
            whole.clone().truncated(at + 39),
            malformed(TruncatedIpv6),
        ),
        case(
            "IPv6, cut in the payload",
            whole.clone().truncated(whole.len() - 1),
            malformed(TruncatedIpv6),
        ),
        case(
            "IPv6 that says version 4",
            whole.patched(at, &[0x45]),
            malformed(MalformedIpv6),
        ),
        case("one extension header", chain(1).udp(201, 24105).build(), allowed6),
        case("four extension headers", chain(4).udp(202, 24105).build(), allowed6),
        case(
            "five extension headers",
            chain(5).udp(203, 24105).build(),
            malformed(TooManyExtensions),
        ),
        case(
            "a long extension header",
            pump6()
                .extension(protocol::DESTINATION_OPTIONS, &[0; 254])
                .udp(204, 24105)
                .build(),
            allowed6,
        ),
        case(
            "an authentication header counts in words",
            pump6()
                .extension(protocol::AUTHENTICATION, &[0; 22])
                .udp(205, 24105)
                .build(),
            allowed6,
        ),
        case(
            "an extension header beyond the packet",
            chain(1).udp(206, 24105).build().patched(at + 41, &[200]),
            malformed(MalformedIpv6),
        ),
        case(
            "an extension header without room",
            chain(1).protocol(59).build().patched(at + 4, &[0, 4]),
            malformed(MalformedIpv6),
        ),
        case(
            "a fragment of one is whole",
            pump6().udp(208, 24105).fragment(4, 0, false).build(),
            allowed6,
        ),
    ]
}

/// Frames of a packet whose IP length, and whose end, lie inside of the transport header.
fn short(frame: &Frame, left: u8) -> Frame {
    let total = 20 + left;
    frame
        .patched(frame.network + 2, &[0, total])
        .truncated(frame.transport + usize::from(left))
}

fn tcp() -> Vec<Case> {
    use DropReason::{MalformedTransport, TruncatedTransport};
    let syn = |port| pump().tcp(port, 443, tcp_flags::SYN);
    let segment = syn(300).build();
    let allowed = allowed("pumps-to-servers");
    let nonsense = Expected {
        reason: DropReason::TcpFlags,
        verdict: Verdict::Drop,
        ..allowed
    };
    let flags = |port, flags| pump().tcp(port, 443, flags).build();
    vec![
        case("TCP", syn(310).build(), allowed),
        case(
            "TCP with options",
            syn(311).tcp_options(&[2, 4, 5, 180]).build(),
            allowed,
        ),
        case("TCP over IPv6", pump6().tcp(312, 443, tcp_flags::SYN).build(), allowed),
        case(
            "a TCP header cut by the packet",
            short(&segment, 13),
            malformed(TruncatedTransport),
        ),
        case(
            "TCP, with the end of the header cut",
            short(&segment, 19),
            malformed(TruncatedTransport),
        ),
        case(
            "TCP options beyond the packet",
            segment.patched(segment.transport + 12, &[0xf0]),
            malformed(TruncatedTransport),
        ),
        case(
            "a TCP header shorter than any",
            segment.patched(segment.transport + 12, &[0x40]),
            malformed(MalformedTransport),
        ),
        case("TCP without flags", flags(313, 0), nonsense),
        case("SYN with FIN", flags(314, tcp_flags::SYN | tcp_flags::FIN), nonsense),
        case("SYN with RST", flags(315, tcp_flags::SYN | tcp_flags::RST), nonsense),
    ]
}

fn transport() -> Vec<Case> {
    use DropReason::{MalformedTransport, TruncatedTransport};
    let datagram = datagram(301);
    let at = datagram.transport;
    let echo = pump().echo(302, 1).build();
    let allowed = allowed("pumps-to-servers");
    let raw = |number: u8| pump().protocol(number).payload([0; 16]).build();
    let icmp6_in_4 = pump()
        .protocol(protocol::ICMPV6)
        .payload([128, 0, 0, 0, 0, 0, 0, 0])
        .build();
    let icmp4_in_6 = pump6()
        .protocol(protocol::ICMP)
        .payload([8, 0, 0, 0, 0, 0, 0, 0])
        .build();
    vec![
        case(
            "a UDP header cut by the packet",
            short(&datagram, 7),
            malformed(TruncatedTransport),
        ),
        case(
            "a UDP length under its header",
            datagram.patched(at + 4, &[0, 7]),
            malformed(MalformedTransport),
        ),
        case(
            "a UDP length beyond the packet",
            datagram.patched(at + 4, &[0, 13]),
            malformed(MalformedTransport),
        ),
        case(
            "an ICMP header cut by the packet",
            short(&echo, 7),
            malformed(TruncatedTransport),
        ),
        case("ICMP echo", pump().echo(316, 1).build(), allowed),
        case("ICMPv6 echo", pump6().echo(317, 1).build(), allowed),
        case(
            "ICMP that no rule names",
            pump().icmp(13, 0).payload([0; 12]).build(),
            default_denied(),
        ),
        case("ICMPv6 in IPv4", icmp6_in_4, malformed(MalformedTransport)),
        case("ICMP in IPv6", icmp4_in_6, malformed(MalformedTransport)),
        case("a protocol by number", raw(protocol::GRE), allowed),
        case(
            "a protocol by number that no rule names",
            raw(protocol::ESP),
            default_denied(),
        ),
        case("no payload at all", pump().protocol(253).build(), default_denied()),
    ]
}
