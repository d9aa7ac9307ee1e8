//! ICMP errors: the flow that they quote (RFC 792, RFC 4443 section 3, RFC 5508).

use crate::abi::{Address, FlowKey};
use crate::classify::Echo;
use crate::conntrack;
use crate::frame::Frame;
use crate::packet::{Fragment, Packet, protocol};

/// Octets of the ICMP header before the quoted packet.
const ICMP_HEADER: u32 = 8;

/// Whether `packet` reports an error about another packet. Redirects are no errors: they change routes.
#[inline(always)]
pub const fn is_error(packet: &Packet) -> bool {
    match packet.protocol {
        // Destination unreachable, time exceeded, parameter problem.
        protocol::ICMP => matches!(packet.icmp_type(), 3 | 11 | 12),
        // Destination unreachable, packet too big, time exceeded, parameter problem.
        protocol::ICMPV6 => matches!(packet.icmp_type(), 1..=4),
        _ => false,
    }
}

/// The key of the flow that an ICMP error quotes. `None` when the quote is cut, or was not sent by the receiver of
/// the error: then nobody there waits for it.
#[inline(always)]
pub fn flow_key<F: Frame + ?Sized>(frame: &F, packet: &Packet, realm: u16) -> Option<FlowKey> {
    let at = u32::from(packet.transport_at) + ICMP_HEADER;
    let mut quoted = Packet {
        family: packet.family,
        ..Packet::default()
    };
    let transport = if packet.family == 4 {
        ipv4(frame, at, &mut quoted)?
    } else {
        ipv6(frame, at, &mut quoted)?
    };
    if quoted.source != packet.destination || matches!(quoted.fragment, Fragment::Later) {
        return None;
    }
    let header = frame.read::<8>(transport)?;
    match quoted.protocol {
        protocol::TCP | protocol::UDP => {
            quoted.source_port = u16::from_be_bytes([header[0], header[1]]);
            quoted.destination_port = u16::from_be_bytes([header[2], header[3]]);
        }
        protocol::ICMP | protocol::ICMPV6 => {
            quoted.destination_port = u16::from_be_bytes([header[0], header[1]]);
            quoted.source_port = u16::from_be_bytes([header[4], header[5]]);
            Echo::of(&quoted)?;
        }
        _ => {}
    }
    conntrack::key(&quoted, realm).map(|(key, _)| key)
}

/// Reads a quoted IPv4 header; returns the offset behind it.
#[inline(always)]
fn ipv4<F: Frame + ?Sized>(frame: &F, at: u32, quoted: &mut Packet) -> Option<u32> {
    let header = frame.read::<20>(at)?;
    let length = u32::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || length < 20 {
        return None;
    }
    if u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0 {
        quoted.fragment = Fragment::Later;
    }
    quoted.protocol = header[9];
    quoted.source[3] = u32::from_be_bytes([header[12], header[13], header[14], header[15]]);
    quoted.destination[3] = u32::from_be_bytes([header[16], header[17], header[18], header[19]]);
    Some(at + length)
}

/// Reads a quoted IPv6 header; returns the offset behind it. Extension headers are not followed: the flows that
/// errors matter for have none.
#[inline(always)]
fn ipv6<F: Frame + ?Sized>(frame: &F, at: u32, quoted: &mut Packet) -> Option<u32> {
    let header = frame.read::<8>(at)?;
    if header[0] >> 4 != 6 {
        return None;
    }
    quoted.protocol = header[6];
    quoted.source = address(frame, at + 8)?;
    quoted.destination = address(frame, at + 24)?;
    Some(at + 40)
}

#[inline(always)]
fn address<F: Frame + ?Sized>(frame: &F, at: u32) -> Option<Address> {
    let bits = u128::from_be_bytes(frame.read::<16>(at)?);
    Some([
        (bits >> 96) as u32,
        (bits >> 64) as u32,
        (bits >> 32) as u32,
        bits as u32,
    ])
}
