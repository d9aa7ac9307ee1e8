//! Ethernet with up to two tags (IEEE 802.3, 802.1Q clause 9).

use super::be16;
use crate::frame::Frame;
use crate::packet::{Packet, ethertype};
use crate::verdict::DropReason;

/// Octets of the header before the `EtherType` field ends.
const HEADER: u32 = 14;
/// Octets of a tag.
const TAG: u32 = 4;

/// Returns the offset behind the header and its tags.
#[inline(always)]
pub(super) fn parse<F: Frame + ?Sized>(frame: &F, packet: &mut Packet) -> Result<u32, DropReason> {
    packet.length = frame.length();
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] =
        frame.read::<14>(0).ok_or(DropReason::TruncatedEthernet)?;
    packet.destination_mac = [d0, d1, d2, d3, d4, d5];
    packet.source_mac = [s0, s1, s2, s3, s4, s5];
    packet.ethertype = be16(t0, t1);

    let mut at = HEADER;
    if is_tag(packet.ethertype) {
        packet.outer_vlan = tag(frame, at, packet)?;
        at += TAG;
        if is_tag(packet.ethertype) {
            packet.inner_vlan = tag(frame, at, packet)?;
            at += TAG;
            if is_tag(packet.ethertype) {
                return Err(DropReason::TooManyTags);
            }
        }
    }
    Ok(at)
}

const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, ethertype::VLAN | ethertype::SERVICE_VLAN)
}

/// The VLAN id of the tag at `at`: the low 12 bits of its control information; priority and drop eligibility are not ours.
#[inline(always)]
fn tag<F: Frame + ?Sized>(frame: &F, at: u32, packet: &mut Packet) -> Result<u16, DropReason> {
    let [c0, c1, t0, t1] = frame.read::<4>(at).ok_or(DropReason::TruncatedVlan)?;
    packet.tags += 1;
    packet.ethertype = be16(t0, t1);
    Ok(be16(c0, c1) & 0x0fff)
}
