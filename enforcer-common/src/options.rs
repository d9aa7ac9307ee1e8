//! Options of a TCP header (RFC 9293, section 3.2).

use crate::frame::Frame;
use crate::packet::Packet;
use crate::shared::Shared;

/// Octets of a TCP header without options.
const HEADER: u32 = 20;
/// Octets of options that a header has room for: as many options, at most.
const ROOM: usize = 40;

/// No MSS so far.
const NONE: u32 = u32::MAX;

mod kind {
    pub(super) const END: u8 = 0;
    pub(super) const NOTHING: u8 = 1;
    pub(super) const MSS: u8 = 2;
}

/// How far a walk through the options has come.
///
/// The caller owns it: the kernel program keeps it in a map, because the verifier forgets the values that it has seen
/// stored there. On the stack, each combination of options would be followed by itself (over a million instructions).
#[derive(Debug, Default)]
pub struct Walk {
    at: Shared<u32>,
    least: Shared<u32>,
}

/// The MSS that a SYN announces: the smallest, if it does so more than once, and the default of RFC 9293 (section 3.7.1)
/// if it does not. `None` when the options are cut off or contradict themselves, so that receivers may read them
/// differently.
#[inline(always)]
pub fn announced_mss<F: Frame + ?Sized>(frame: &F, packet: &Packet, walk: &Walk) -> Option<u16> {
    let header = u32::from(packet.transport_at);
    let [offset] = frame.read::<1>(header + 12)?;
    let end = header + u32::from(offset >> 4) * 4;
    walk.at.set(header + HEADER);
    walk.least.set(NONE);
    for _ in 0..ROOM {
        let at = walk.at.get();
        if at >= end {
            break;
        }
        let [kind] = frame.read::<1>(at)?;
        if kind == kind::END {
            break;
        }
        if kind == kind::NOTHING {
            walk.at.set(at + 1);
            continue;
        }
        let [length] = frame.read::<1>(at + 1)?;
        let next = at + u32::from(length);
        if length < 2 || next > end {
            return None;
        }
        if kind == kind::MSS {
            let mss = u32::from(u16::from_be_bytes(frame.read::<2>(at + 2)?));
            if length != 4 {
                return None;
            }
            if mss < walk.least.get() {
                walk.least.set(mss);
            }
        }
        walk.at.set(next);
    }
    let least = walk.least.get();
    let default = if packet.family == 4 { 536 } else { 1220 };
    Some(if least == NONE { default } else { least as u16 })
}
