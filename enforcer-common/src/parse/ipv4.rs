//! IPv4 with options (RFC 791).

use super::{be16, reaches, transport};
use crate::frame::Frame;
use crate::options::{self, Walk};
use crate::packet::{Fragment, Packet};
use crate::verdict::DropReason;

/// Octets of a header without options.
const HEADER: u32 = 20;

#[inline(always)]
pub(super) fn parse<F: Frame + ?Sized>(frame: &F, at: u32, packet: &mut Packet, walk: &Walk) -> Result<(), DropReason> {
    let header = frame.read::<20>(at).ok_or(DropReason::TruncatedIpv4)?;
    let header_length = u32::from(header[0] & 0x0f) * 4;
    let total_length = u32::from(be16(header[2], header[3]));
    if header[0] >> 4 != 4 || header_length < HEADER || total_length < header_length {
        return Err(DropReason::MalformedIpv4);
    }
    packet.family = 4;
    packet.hop_limit = header[8];
    packet.protocol = header[9];
    packet.source[3] = u32::from_be_bytes([header[12], header[13], header[14], header[15]]);
    packet.destination[3] = u32::from_be_bytes([header[16], header[17], header[18], header[19]]);
    if !reaches(frame, at + total_length, packet) {
        return Err(DropReason::TruncatedIpv4);
    }
    let fragment = be16(header[6], header[7]);
    packet.fragment = match (fragment & 0x1fff, fragment & 0x2000) {
        (0, 0) => Fragment::None,
        (0, _) => Fragment::First,
        _ => Fragment::Later,
    };
    // The field counts units of eight octets; 13 bits of them fill 16 bits.
    packet.fragment_offset = (fragment & 0x1fff) << 3;
    packet.more_fragments = fragment & 0x2000 != 0;
    packet.fragment_id = u32::from(be16(header[4], header[5]));
    transport::parse(frame, at + header_length, total_length - header_length, packet)?;
    if header_length == HEADER {
        return Ok(());
    }
    options::ipv4(frame, at + HEADER, at + header_length, walk)
}
