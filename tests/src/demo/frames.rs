//! Frames that no honest stack would send.

use crate::lab::router::GATEWAY_MAC;
use crate::packet::{BROADCAST, Frame, Mac, arp, packet, protocol, tcp_flags};

use super::hospital::INTERNET_HOST;

const GUEST: Mac = [0x02, 0x00, 0x00, 0x66, 0x00, 0x42];
const PACS: Mac = [0x02, 0x00, 0x00, 0x20, 0x11, 0x10];

pub(super) fn stray_reply() -> Vec<Frame> {
    let reply = packet().macs(PACS, GATEWAY_MAC).ip("10.20.11.10", "10.10.120.21");
    vec![reply.tcp(443, 50_000, tcp_flags::ACK).payload(b"unasked").build()]
}

pub(super) fn spoofed() -> Vec<Frame> {
    let frame = packet().macs(GUEST, GATEWAY_MAC).ip("10.10.110.21", "10.20.5.10");
    vec![frame.tcp(40_000, 443, tcp_flags::SYN).build()]
}

pub(super) fn cloned() -> Vec<Frame> {
    let frame = packet()
        .macs([0x02, 0, 0, 0xba, 0xd0, 0x01], GATEWAY_MAC)
        .ip("10.10.110.21", "10.20.5.10");
    vec![frame.tcp(40_001, 443, tcp_flags::SYN).build()]
}

/// The guest writes the pumps' tag itself; the switch puts the guests' tag in front of it.
pub(super) fn hopping() -> Vec<Frame> {
    let frame = packet()
        .macs(GUEST, GATEWAY_MAC)
        .vlan(110)
        .ip("10.10.110.21", "10.20.5.10");
    vec![frame.tcp(40_002, 443, tcp_flags::SYN).build()]
}

pub(super) fn stacked() -> Vec<Frame> {
    let frame = packet()
        .macs(GUEST, GATEWAY_MAC)
        .vlan(110)
        .vlan(110)
        .ip("10.10.110.21", "10.20.5.10");
    vec![frame.tcp(40_003, 443, tcp_flags::SYN).build()]
}

pub(super) fn undeclared() -> Vec<Frame> {
    let frame = packet().macs([0x02, 0, 0, 0xba, 0xd0, 0x02], GATEWAY_MAC).vlan(999);
    vec![
        frame
            .ip("10.10.110.21", "10.20.5.10")
            .udp(40_000, 3613)
            .payload(b"wrong VLAN")
            .build(),
    ]
}

pub(super) fn untagged() -> Vec<Frame> {
    let frame = packet().macs([0x02, 0, 0, 0xba, 0xd0, 0x03], GATEWAY_MAC);
    vec![
        frame
            .ip("10.10.110.21", "10.20.5.10")
            .udp(40_000, 3613)
            .payload(b"no VLAN")
            .build(),
    ]
}

pub(super) fn cut() -> Vec<Frame> {
    let frame = packet()
        .macs([0x02, 0, 0, 0xba, 0xd0, 0x04], GATEWAY_MAC)
        .ip("10.66.0.42", "10.10.110.21");
    let frame = frame.udp(1, 2).build();
    let end = frame.network + 12;
    vec![frame.truncated(end)]
}

pub(super) fn contradictory() -> Vec<Frame> {
    let frame = packet()
        .macs([0x02, 0, 0, 0xba, 0xd0, 0x05], GATEWAY_MAC)
        .ip("10.66.0.42", "10.10.110.21");
    let frame = frame.udp(1, 2).payload([0; 32]).build();
    let total_length = frame.network + 2;
    vec![frame.patched(total_length, &[0, 10])]
}

pub(super) fn fragment() -> Vec<Frame> {
    let frame = packet()
        .macs(GUEST, GATEWAY_MAC)
        .ip("10.66.0.42", INTERNET_HOST)
        .fragment(9, 64, false);
    vec![frame.protocol(protocol::UDP).payload([0x41; 64]).build()]
}

pub(super) fn arp_spoof() -> Vec<Frame> {
    let (mac, gateway) = ([0x02, 0, 0, 0xba, 0xd0, 0x07], "10.66.0.1");
    let claim = packet().macs(mac, BROADCAST);
    vec![claim.arp(arp::REPLY, (mac, gateway), (BROADCAST, gateway)).build()]
}

/// What a server sends without end that has lost its mind: a piece of a drug library, permitted by a rule.
pub(super) fn library_update() -> Frame {
    let frame = packet().macs([0x02, 0, 0, 0x20, 0x05, 0x10], GATEWAY_MAC);
    let frame = frame.ip("10.20.5.10", "10.10.110.21").udp(3613, 3613);
    frame.payload([0x5a; 100]).build()
}

pub(super) fn spanning_tree() -> Vec<Frame> {
    let root = [0x42, 0x42, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let frame = packet().macs([0x02, 0, 0, 0xba, 0xd0, 0x06], [0x01, 0x80, 0xc2, 0, 0, 0]);
    vec![frame.llc().payload(root).build()]
}
