//! A frame in words becomes octets.

use std::net::IpAddr;

use enforcer_common::packet::{icmpv6, protocol, tcp_flags};
use etherparse::err::packet::BuildVecWriteError;
use etherparse::{
    IpHeaders, IpNumber, PacketBuilder, PacketBuilderStep, SingleVlanHeader, TcpHeader, VlanHeader, VlanId,
};

use crate::policy::probe::Probe;

/// What senders put there.
const HOP_LIMIT: u8 = 64;
/// What neighbour discovery must have (RFC 4861): no router has passed it on.
const HOP_LIMIT_ON_LINK: u8 = 255;

/// The octets of a frame, from the destination MAC on. Checksums are right.
///
/// # Panics
/// Never for a [`Probe`] that was read from words: its VLANs, families and size fit the headers.
pub fn octets(probe: &Probe) -> Vec<u8> {
    let mut octets = Vec::new();
    write(probe, &mut octets).expect("a probe's numbers fit the headers of its frame");
    octets
}

fn write(probe: &Probe, octets: &mut Vec<u8>) -> Result<(), BuildVecWriteError> {
    let tagged = PacketBuilder::ethernet2(probe.source_mac, probe.destination_mac).vlan(tags(probe));
    let packet = addressed(probe, tagged);
    let payload = vec![0; usize::from(probe.size)];
    let [kind, code] = probe.port.to_be_bytes();
    let echo = identifier(probe.source_port);
    match probe.protocol {
        protocol::TCP => packet.tcp_header(tcp(probe)).write_to_vec(octets, &payload),
        protocol::UDP => packet.udp(probe.source_port, probe.port).write_to_vec(octets, &payload),
        protocol::ICMP => packet.icmpv4_raw(kind, code, echo).write_to_vec(octets, &payload),
        protocol::ICMPV6 => packet.icmpv6_raw(kind, code, echo).write_to_vec(octets, &payload),
        other => packet.write_to_vec(octets, IpNumber(other), &payload),
    }
}

fn tags(probe: &Probe) -> VlanHeader {
    let tag = |vlan: u16| SingleVlanHeader {
        vlan_id: VlanId::try_new(vlan).unwrap_or(VlanId::ZERO),
        ..SingleVlanHeader::default()
    };
    let outer = tag(probe.vlan.outer);
    match probe.vlan.inner {
        None => VlanHeader::Single(outer),
        Some(inner) => VlanHeader::Double(etherparse::DoubleVlanHeader {
            outer,
            inner: tag(inner),
        }),
    }
}

fn addressed(probe: &Probe, tagged: PacketBuilderStep<VlanHeader>) -> PacketBuilderStep<IpHeaders> {
    match (probe.source, probe.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => tagged.ipv4(source.octets(), destination.octets(), HOP_LIMIT),
        (source, destination) => tagged.ipv6(wide(source), wide(destination), hop_limit(probe)),
    }
}

/// The octets of an IPv6 address; an IPv4 address in IPv6 clothes.
fn wide(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn hop_limit(probe: &Probe) -> u8 {
    let discovery = icmpv6::ROUTER_SOLICITATION..=icmpv6::REDIRECT;
    let [kind, _] = probe.port.to_be_bytes();
    if probe.protocol == protocol::ICMPV6 && discovery.contains(&kind) {
        HOP_LIMIT_ON_LINK
    } else {
        HOP_LIMIT
    }
}

/// The identifier of ICMP echo, and sequence number 1.
fn identifier(number: u16) -> [u8; 4] {
    let [high, low] = number.to_be_bytes();
    [high, low, 0, 1]
}

fn tcp(probe: &Probe) -> TcpHeader {
    let flags = probe.flags.unwrap_or(tcp_flags::SYN);
    let has = |flag| flags & flag != 0;
    TcpHeader {
        fin: has(tcp_flags::FIN),
        syn: has(tcp_flags::SYN),
        rst: has(tcp_flags::RST),
        psh: has(0x08),
        ack: has(tcp_flags::ACK),
        urg: has(0x20),
        ..TcpHeader::new(probe.source_port, probe.port, 1, u16::MAX)
    }
}
