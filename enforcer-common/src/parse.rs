//! Bytes to facts: [`Frame`] -> [`Packet`].
//!
//! Every read has a fixed size and every loop a constant bound, because the kernel's verifier walks them all.
//! A length field is believed only as far as the frame and the enclosing header reach.

mod arp;
mod ethernet;
mod ipv4;
mod ipv6;
mod transport;

use crate::frame::Frame;
use crate::options::Walk;
use crate::packet::{Packet, ethertype};
use crate::verdict::DropReason;

/// Fills `packet`. On an error, it holds what was learnt before: with readable tags, at least the VLAN.
#[inline(always)]
pub fn parse<F: Frame + ?Sized>(frame: &F, packet: &mut Packet, walk: &Walk) -> Result<(), DropReason> {
    let at = ethernet::parse(frame, packet)?;
    match packet.ethertype {
        ethertype::IPV4 => ipv4::parse(frame, at, packet, walk),
        ethertype::IPV6 => ipv6::parse(frame, at, packet),
        ethertype::ARP => arp::parse(frame, at, packet),
        _ => Ok(()),
    }
}

/// Whether the frame holds a packet that ends at `end`. A frame in several buffers is measured only here.
#[inline(always)]
fn reaches<F: Frame + ?Sized>(frame: &F, end: u32, packet: &mut Packet) -> bool {
    if end > packet.length {
        packet.length = frame.whole_length();
    }
    end <= packet.length
}

/// Big-endian 16 bits.
#[inline(always)]
const fn be16(high: u8, low: u8) -> u16 {
    u16::from_be_bytes([high, low])
}
