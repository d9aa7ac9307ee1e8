//! ICMP errors: the flow that they quote (RFC 792, RFC 4443 section 3, RFC 5508).

use crate::abi::{Address, FlowKey, Lan};
use crate::conntrack;
use crate::frame::Frame;
use crate::packet::{Packet, Ports, link, protocol};

/// Octets of the ICMP header before the quoted packet.
const ICMP_HEADER: u32 = 8;
/// The next-header value of a fragment header.
const FRAGMENT: u8 = 44;

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

/// Writes the key of the flow that an ICMP error quotes. `None` when the quote is cut, or was not sent by the receiver
/// of the error: then nobody there waits for it.
#[inline(always)]
pub fn flow_key<F: Frame + ?Sized>(frame: &F, packet: &Packet, lan: &Lan, key: &mut FlowKey) -> Option<()> {
    let at = u32::from(packet.transport_at) + ICMP_HEADER;
    let quoted = if packet.family == 4 {
        ipv4(frame, at)?
    } else {
        ipv6(frame, at)?
    };
    if quoted.source != packet.destination {
        return None;
    }
    let header = frame.read::<8>(quoted.transport_at)?;
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (source, destination) = match quoted.protocol {
        protocol::TCP | protocol::UDP => (word(0), word(2)),
        protocol::ICMP | protocol::ICMPV6 => conntrack::ends(Ports {
            protocol: quoted.protocol,
            source: word(4),
            destination: word(0),
        })?,
        _ => (0, 0),
    };
    (key.realm, key.protocol, key.family) = (lan.realm, quoted.protocol, packet.family);
    key.link = link(lan, packet.family, &quoted.source, &quoted.destination);
    conntrack::order(key, (&quoted.source, source), (&quoted.destination, destination));
    Some(())
}

/// Who should have got the quoted packet, by the key of its flow: the end that the error is not sent to.
#[inline(always)]
pub fn receiver<'k>(packet: &Packet, key: &'k FlowKey) -> &'k Address {
    if key.low == packet.destination {
        &key.high
    } else {
        &key.low
    }
}

/// The IP header of a quoted packet.
struct Quoted {
    source: Address,
    destination: Address,
    protocol: u8,
    transport_at: u32,
}

/// Reads a quoted IPv4 header, unless it is that of a later fragment.
#[inline(always)]
fn ipv4<F: Frame + ?Sized>(frame: &F, at: u32) -> Option<Quoted> {
    let header = frame.read::<20>(at)?;
    let length = u32::from(header[0] & 0x0f) * 4;
    let later = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
    if header[0] >> 4 != 4 || length < 20 || later {
        return None;
    }
    Some(Quoted {
        source: [
            0,
            0,
            0,
            u32::from_be_bytes([header[12], header[13], header[14], header[15]]),
        ],
        destination: [
            0,
            0,
            0,
            u32::from_be_bytes([header[16], header[17], header[18], header[19]]),
        ],
        protocol: header[9],
        transport_at: at + length,
    })
}

/// Reads a quoted IPv6 header, and a fragment header behind it: a first part that is too big for a link is reported so. Other
/// extension headers are not followed: the flows that errors matter for have none.
#[inline(always)]
fn ipv6<F: Frame + ?Sized>(frame: &F, at: u32) -> Option<Quoted> {
    let header = frame.read::<8>(at)?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let source = address(frame, at + 8)?;
    let destination = address(frame, at + 24)?;
    let (mut protocol, mut transport_at) = (header[6], at + 40);
    if protocol == FRAGMENT {
        let fragment = frame.read::<8>(transport_at)?;
        let later = u16::from_be_bytes([fragment[2], fragment[3]]) & 0xfff8 != 0;
        if later {
            return None;
        }
        (protocol, transport_at) = (fragment[0], at + 48);
    }
    Some(Quoted {
        source,
        destination,
        protocol,
        transport_at,
    })
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
