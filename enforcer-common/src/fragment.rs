//! Fragments: the first one is decided by its ports, later ones follow it.
//!
//! A later fragment that comes before its first is dropped: holding frames back is not possible here, and letting
//! it pass would let a stranger fill a device's reassembly queue. TCP and DICOM send again; senders in order, which
//! is what hosts do, never notice.

use crate::abi::{FRAGMENT_SECONDS, FragmentKey, FragmentRecord, Lan};
use crate::packet::{Packet, link};
use crate::verdict::DropReason;

/// Writes the key of the packet that a fragment belongs to.
#[inline(always)]
pub fn key(packet: &Packet, lan: &Lan, key: &mut FragmentKey) {
    (key.source, key.destination) = (packet.source, packet.destination);
    key.id = packet.fragment_id;
    key.link = link(lan, packet.family, &packet.source, &packet.destination);
    key.protocol = if packet.family == 4 { packet.protocol } else { 0 };
    (key.realm, key.family) = (lan.realm, packet.family);
}

/// Where a fragment ends, in octets from the start of what was cut into fragments.
#[inline(always)]
pub const fn end(packet: &Packet) -> u16 {
    packet.fragment_offset.saturating_add(packet.transport_length)
}

/// The octets that a first fragment covers at this moment: none, when it is forgotten.
#[inline(always)]
pub const fn covered(first: &FragmentRecord, now: u64) -> u16 {
    if is_forgotten(first, now) { 0 } else { first.length }
}

#[inline(always)]
const fn is_forgotten(first: &FragmentRecord, now: u64) -> bool {
    now.saturating_sub(first.seen) > FRAGMENT_SECONDS * 1_000_000_000
}

/// Whether a later fragment may follow `first`, as far as time and their places in the packet go.
#[inline(always)]
pub const fn follows(packet: &Packet, first: &FragmentRecord, now: u64) -> Result<(), DropReason> {
    if is_forgotten(first, now) {
        return Err(DropReason::FragmentOrphan);
    }
    if packet.fragment_offset < first.length {
        return Err(DropReason::OverlappingFragment);
    }
    Ok(())
}
