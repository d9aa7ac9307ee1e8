//! ARP for IPv4 over Ethernet (RFC 826).

use super::be16;
use crate::frame::Frame;
use crate::packet::Packet;
use crate::verdict::DropReason;

#[inline(always)]
pub(super) fn parse<F: Frame + ?Sized>(frame: &F, at: u32, packet: &mut Packet) -> Result<(), DropReason> {
    let [h0, h1, p0, p1, hardware_length, protocol_length, o0, o1] =
        frame.read::<8>(at).ok_or(DropReason::TruncatedArp)?;
    let ethernet_ipv4 = (be16(h0, h1), be16(p0, p1), hardware_length, protocol_length) == (1, 0x0800, 6, 4);
    if !ethernet_ipv4 || !matches!(be16(o0, o1), 1 | 2) {
        return Err(DropReason::MalformedArp);
    }
    // Sender hardware address (6), sender address (4), target hardware address (6), target address (4).
    let body = frame.read::<20>(at + 8).ok_or(DropReason::TruncatedArp)?;
    packet.claimed_mac = [body[0], body[1], body[2], body[3], body[4], body[5]];
    packet.source[3] = u32::from_be_bytes([body[6], body[7], body[8], body[9]]);
    packet.destination[3] = u32::from_be_bytes([body[16], body[17], body[18], body[19]]);
    Ok(())
}
