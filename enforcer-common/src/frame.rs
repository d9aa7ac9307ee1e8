//! The only way in which the engine reads the bytes of a frame.

use crate::options::{Walk, announced_mss};
use crate::packet::Packet;
use crate::parse::parse;
use crate::verdict::DropReason;

/// A frame as it came off the wire, from the destination MAC on, without preamble and check sequence.
pub trait Frame {
    /// Octets that `read` reaches: all of them, or the first buffer of a frame that came in several.
    fn length(&self) -> u32;

    /// Octets of the whole frame. Asked only for packets that say they are longer than [`Frame::length`], because in
    /// the kernel it is a call.
    fn whole_length(&self) -> u32 {
        self.length()
    }

    /// `N` octets from offset `at`; `None` when the frame ends before.
    fn read<const N: usize>(&self, at: u32) -> Option<[u8; N]>;

    /// [`crate::parse::parse`] on this frame, which an implementation may put into a function of its own.
    #[inline(always)]
    fn parse(&self, packet: &mut Packet) -> Result<(), DropReason> {
        parse(self, packet, &Walk::default())
    }

    /// [`announced_mss`] of this frame, likewise.
    #[inline(always)]
    fn announced_mss(&self, packet: &Packet) -> Option<u16> {
        announced_mss(self, packet, &Walk::default())
    }
}

impl Frame for [u8] {
    fn length(&self) -> u32 {
        self.len() as u32
    }

    fn read<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        self.get(at as usize..)?.first_chunk().copied()
    }
}
