//! TCP, UDP, ICMP and ICMPv6 (RFC 9293, 768, 792, 4443).

use super::be16;
use crate::frame::Frame;
use crate::packet::{Fragment, Packet, icmpv6, protocol};
use crate::verdict::DropReason;

/// `at` is the offset of the transport header, `left` the octets of the packet from there on.
#[inline(always)]
pub(super) fn parse<F: Frame + ?Sized>(frame: &F, at: u32, left: u32, packet: &mut Packet) -> Result<(), DropReason> {
    packet.transport_at = at as u16;
    packet.transport_length = left as u16;
    let header = if matches!(packet.fragment, Fragment::Later) {
        // What it starts with is no header.
        Ok(())
    } else {
        header_of(frame, at, left, packet)
    };
    match header {
        // RFC 1858, RFC 7112: ports that hide in a later fragment are a way around the rules.
        Err(DropReason::TruncatedTransport) if matches!(packet.fragment, Fragment::First) => {
            Err(DropReason::TinyFragment)
        }
        Ok(()) if is_impossible(packet) => Err(if packet.family == 4 {
            DropReason::MalformedIpv4
        } else {
            DropReason::MalformedIpv6
        }),
        outcome => outcome,
    }
}

/// A part that ends behind the longest packet (the "ping of death"), or that leaves a gap because all but the last have a
/// length in units of eight octets (RFC 791, RFC 8200 section 4.5). Receivers have crashed over both.
#[inline(always)]
const fn is_impossible(packet: &Packet) -> bool {
    let header = if packet.family == 4 { 20 } else { 0 };
    let end = packet.fragment_offset as u32 + packet.transport_length as u32;
    header + end > u16::MAX as u32 || (packet.more_fragments && !end.is_multiple_of(8))
}

#[inline(always)]
fn header_of<F: Frame + ?Sized>(frame: &F, at: u32, left: u32, packet: &mut Packet) -> Result<(), DropReason> {
    match packet.protocol {
        protocol::TCP => tcp(frame, at, left, packet),
        protocol::UDP => udp(frame, at, left, packet),
        protocol::ICMP if packet.family == 4 => icmp(frame, at, left, packet),
        protocol::ICMPV6 if packet.family == 6 => icmp(frame, at, left, packet),
        // Each family has its own ICMP; the other one's would be looked up as a service that it is not.
        protocol::ICMP | protocol::ICMPV6 => Err(DropReason::MalformedTransport),
        _ => Ok(()),
    }
}

#[inline(always)]
fn tcp<F: Frame + ?Sized>(frame: &F, at: u32, left: u32, packet: &mut Packet) -> Result<(), DropReason> {
    let header = header::<14, F>(frame, at, left)?;
    let length = u32::from(header[12] >> 4) * 4;
    if length < 20 {
        return Err(DropReason::MalformedTransport);
    }
    if length > left {
        return Err(DropReason::TruncatedTransport);
    }
    packet.source_port = be16(header[0], header[1]);
    packet.destination_port = be16(header[2], header[3]);
    packet.tcp_flags = header[13];
    Ok(())
}

#[inline(always)]
fn udp<F: Frame + ?Sized>(frame: &F, at: u32, left: u32, packet: &mut Packet) -> Result<(), DropReason> {
    let header = header::<8, F>(frame, at, left)?;
    let length = u32::from(be16(header[4], header[5]));
    // The first fragment states the length of the whole datagram.
    if length < 8 || (length > left && matches!(packet.fragment, Fragment::None)) {
        return Err(DropReason::MalformedTransport);
    }
    packet.source_port = be16(header[0], header[1]);
    packet.destination_port = be16(header[2], header[3]);
    Ok(())
}

/// Both families lay out type, code, checksum, and for echo the identifier, in the same way.
#[inline(always)]
fn icmp<F: Frame + ?Sized>(frame: &F, at: u32, left: u32, packet: &mut Packet) -> Result<(), DropReason> {
    let header = header::<8, F>(frame, at, left)?;
    packet.destination_port = be16(header[0], header[1]);
    packet.source_port = be16(header[4], header[5]);
    if packet.protocol == protocol::ICMPV6 {
        neighbour(frame, at, left, packet);
    }
    Ok(())
}

/// Neighbour discovery (RFC 4861, sections 4.1, 4.3 and 4.4): the target address, and the link-layer address of the
/// sender or target when it is the first option. What is not there stays zero. A nonce (RFC 7527) claims nothing for
/// anybody else than its sender.
#[inline(always)]
fn neighbour<F: Frame + ?Sized>(frame: &F, at: u32, left: u32, packet: &mut Packet) {
    let options = match packet.icmp_type() {
        icmpv6::ROUTER_SOLICITATION => 8,
        icmpv6::NEIGHBOUR_SOLICITATION | icmpv6::NEIGHBOUR_ADVERTISEMENT => 24,
        _ => return,
    };
    if options == 24
        && left >= options
        && let Some(target) = frame.read::<16>(at + 8)
    {
        packet.target = super::ipv6::address(target);
    }
    if left < options + 8 {
        return;
    }
    // Type 1 (source) or 2 (target), length in units of eight octets, address; type 14, length, nonce.
    match frame.read::<8>(at + options) {
        Some([1 | 2, 1, mac @ ..]) => packet.claimed_mac = mac,
        Some([14, 1, ..]) => packet.claimed_mac = packet.source_mac,
        _ => {}
    }
}

/// `N` octets that both the packet and the frame hold.
#[inline(always)]
fn header<const N: usize, F: Frame + ?Sized>(frame: &F, at: u32, left: u32) -> Result<[u8; N], DropReason> {
    if left < N as u32 {
        return Err(DropReason::TruncatedTransport);
    }
    frame.read::<N>(at).ok_or(DropReason::TruncatedTransport)
}
