//! IPv6 with extension headers (RFC 8200).

use super::{be16, reaches, transport};
use crate::frame::Frame;
use crate::packet::{Fragment, Packet};
use crate::verdict::DropReason;

/// Octets of the fixed header.
const HEADER: u32 = 40;
/// Extension headers that the parser follows. RFC 8200 lists six kinds; a packet with more than four of them has
/// no place in front of a medical device.
const MAX_EXTENSIONS: u32 = 4;

/// Next-header values of extensions (IANA, IPv6 Extension Header Types).
mod extension {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const DESTINATION: u8 = 60;
    pub(super) const MOBILITY: u8 = 135;
    pub(super) const HOST_IDENTITY: u8 = 139;
    pub(super) const SHIM6: u8 = 140;
}

#[inline(always)]
pub(super) fn parse<F: Frame + ?Sized>(frame: &F, at: u32, packet: &mut Packet) -> Result<(), DropReason> {
    let header = frame.read::<40>(at).ok_or(DropReason::TruncatedIpv6)?;
    if header[0] >> 4 != 6 {
        return Err(DropReason::MalformedIpv6);
    }
    packet.family = 6;
    packet.hop_limit = header[7];
    packet.source = address([
        header[8], header[9], header[10], header[11], header[12], header[13], header[14], header[15], header[16],
        header[17], header[18], header[19], header[20], header[21], header[22], header[23],
    ]);
    packet.destination = address([
        header[24], header[25], header[26], header[27], header[28], header[29], header[30], header[31], header[32],
        header[33], header[34], header[35], header[36], header[37], header[38], header[39],
    ]);
    packet.protocol = header[6];
    let payload_length = u32::from(be16(header[4], header[5]));
    if !reaches(frame, at + HEADER + payload_length, packet) {
        return Err(DropReason::TruncatedIpv6);
    }
    extensions(frame, at + HEADER, payload_length, packet)
}

/// Follows the chain of extension headers to the transport header.
#[inline(always)]
fn extensions<F: Frame + ?Sized>(frame: &F, mut at: u32, mut left: u32, packet: &mut Packet) -> Result<(), DropReason> {
    let mut in_parts = false;
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(packet.protocol) {
            return transport::parse(frame, at, left, packet);
        }
        if left < 8 {
            return Err(DropReason::MalformedIpv6);
        }
        let header = frame.read::<8>(at).ok_or(DropReason::TruncatedIpv6)?;
        let is_fragment_header = packet.protocol == extension::FRAGMENT;
        let length = match packet.protocol {
            extension::FRAGMENT => {
                // RFC 8200, section 4.1: one at most. Receivers would follow the first one, and this parser the last.
                if in_parts {
                    return Err(DropReason::MalformedIpv6);
                }
                in_parts = true;
                let offset_and_more = be16(header[2], header[3]);
                packet.fragment = match (offset_and_more & 0xfff8, offset_and_more & 1) {
                    // An atomic fragment (RFC 6946) is a whole packet.
                    (0, 0) => packet.fragment,
                    (0, _) => Fragment::First,
                    _ => Fragment::Later,
                };
                packet.fragment_offset = offset_and_more & 0xfff8;
                packet.more_fragments = offset_and_more & 1 != 0;
                packet.fragment_id = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
                8
            }
            // RFC 5095: with stations left to visit, whatever the type, it goes on to where no rule was asked about.
            extension::ROUTING if header[3] != 0 => return Err(DropReason::SourceRoute),
            // RFC 4302: in units of 4 octets, minus 2.
            extension::AUTHENTICATION => (u32::from(header[1]) + 2) * 4,
            _ => (u32::from(header[1]) + 1) * 8,
        };
        if length > left {
            return Err(DropReason::MalformedIpv6);
        }
        packet.protocol = header[0];
        at += length;
        left -= length;
        if matches!(packet.fragment, Fragment::First) && !is_fragment_header {
            // What a first fragment has of the packet begins here, and not with the transport header.
            packet.fragment_offset += length as u16;
        }
        if matches!(packet.fragment, Fragment::Later) {
            // What follows is a part of something; its first octets are no header.
            return transport::parse(frame, at, left, packet);
        }
    }
    if is_extension(packet.protocol) {
        return Err(DropReason::TooManyExtensions);
    }
    transport::parse(frame, at, left, packet)
}

const fn is_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        extension::HOP_BY_HOP
            | extension::ROUTING
            | extension::FRAGMENT
            | extension::AUTHENTICATION
            | extension::DESTINATION
            | extension::MOBILITY
            | extension::HOST_IDENTITY
            | extension::SHIM6
    )
}

#[inline(always)]
pub(super) const fn address(octets: [u8; 16]) -> [u32; 4] {
    let bits = u128::from_be_bytes(octets);
    [
        (bits >> 96) as u32,
        (bits >> 64) as u32,
        (bits >> 32) as u32,
        bits as u32,
    ]
}
