//! Options of TCP headers (RFC 9293, section 3.2) and of IPv4 headers (RFC 791, section 3.1).

use crate::frame::Frame;
use crate::packet::Packet;
use crate::shared::Shared;
use crate::verdict::DropReason;

/// Octets of a TCP header without options, and of an IPv4 header.
const HEADER: u32 = 20;
/// Octets of options that either header has room for: as many options, at most.
const ROOM: usize = 40;

/// Nothing so far.
const NONE: u32 = u32::MAX;

mod kind {
    pub(super) const END: u8 = 0;
    pub(super) const NOTHING: u8 = 1;
    /// Of TCP.
    pub(super) const MSS: u8 = 2;
    /// Of IPv4: the route is loose, or strict.
    pub(super) const ROUTES: [u8; 2] = [131, 137];
}

/// How far a walk through the options has come.
///
/// The caller owns it: the kernel program keeps it in a map, because the verifier forgets the values that it has seen
/// stored there. On the stack, each combination of options would be followed by itself (over a million instructions).
#[derive(Debug, Default)]
pub struct Walk {
    at: Shared<u32>,
    /// Of TCP, the least MSS so far; of IPv4, 0 once there was a route; else [`NONE`].
    least: Shared<u32>,
}

/// The MSS that a SYN announces: the smallest, if it does so more than once, and the default of RFC 9293 (section 3.7.1)
/// if it does not. `None` when the options are cut off or contradict themselves, so that receivers may read them
/// differently.
#[inline(always)]
pub fn announced_mss<F: Frame + ?Sized>(frame: &F, packet: &Packet, walk: &Walk) -> Option<u16> {
    let header = u32::from(packet.transport_at);
    let [offset] = frame.read::<1>(header + 12)?;
    walk.least.set(NONE);
    each(
        frame,
        walk,
        header + HEADER,
        header + u32::from(offset >> 4) * 4,
        |kind, at, length| {
            if kind == kind::MSS {
                let mss = u32::from(u16::from_be_bytes(frame.read::<2>(at + 2)?));
                if length != 4 {
                    return None;
                }
                if mss < walk.least.get() {
                    walk.least.set(mss);
                }
            }
            Some(())
        },
    )?;
    let least = walk.least.get();
    let default = if packet.family == 4 { 536 } else { 1220 };
    Some(if least == NONE { default } else { least as u16 })
}

/// Looks through the options of an IPv4 header, from `start` to `end`.
///
/// # Errors
/// [`DropReason::SourceRoute`] when they send the packet on from where it is sent to (RFC 7126, sections 4.3 and 4.4);
/// [`DropReason::MalformedIpv4`] when they contradict themselves, so that receivers may find a route in them.
#[inline(always)]
pub(crate) fn ipv4<F: Frame + ?Sized>(frame: &F, start: u32, end: u32, walk: &Walk) -> Result<(), DropReason> {
    walk.least.set(NONE);
    each(frame, walk, start, end, |kind, _, _| {
        if kind == kind::ROUTES[0] || kind == kind::ROUTES[1] {
            walk.least.set(0);
        }
        Some(())
    })
    .ok_or(DropReason::MalformedIpv4)?;
    if walk.least.get() == NONE {
        Ok(())
    } else {
        Err(DropReason::SourceRoute)
    }
}

/// Walks over the options from `start` to `end`, with kind, offset and length of each that has a length. `None` when they are
/// cut off or contradict themselves, or `see` says so.
#[inline(always)]
fn each<F: Frame + ?Sized>(
    frame: &F,
    walk: &Walk,
    start: u32,
    end: u32,
    see: impl Fn(u8, u32, u32) -> Option<()>,
) -> Option<()> {
    walk.at.set(start);
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
        let length = u32::from(length);
        if length < 2 || at + length > end {
            return None;
        }
        see(kind, at, length)?;
        walk.at.set(at + length);
    }
    Some(())
}
