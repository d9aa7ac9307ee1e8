//! DHCP server messages for the controller, which learns from them who has which address.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::programs::XdpContext;
use enforcer_common::abi::{DHCP_OCTETS, DhcpMessage, Stat};
use enforcer_common::frame::Frame as _;

use crate::frame::XdpFrame;
use crate::maps;
use crate::report::count;
use crate::tables::{self, setting};

/// Octets of a UDP header (RFC 768).
const UDP_HEADER: u32 = 8;

/// Sends the message in the frame up the ring.
#[inline(always)]
pub(crate) fn tell(ctx: &XdpContext, ifindex: u32) {
    enforcer_lease(ctx.ctx, ifindex);
}

/// A global function: the verifier checks the copy once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn enforcer_lease(ctx: *mut xdp_md, ifindex: u32) -> u32 {
    let Some(maps::Scratch { packet, progress, .. }) = maps::scratch() else {
        return 0;
    };
    let ctx = XdpContext::new(ctx);
    let frame = XdpFrame::new(&ctx);
    let Some(mut entry) = maps::DHCP.reserve::<DhcpMessage>(0) else {
        count(Stat::DhcpLost);
        return 0;
    };
    let start = u32::from(packet.transport_at) + UDP_HEADER;
    let octets = u32::from(packet.transport_length).saturating_sub(UDP_HEADER);
    let message: *mut DhcpMessage = MaybeUninit::as_mut_ptr(&mut entry);
    let mut length = 0;
    for at in 0..DHCP_OCTETS {
        if at as u32 >= octets {
            break;
        }
        let Some([octet]) = frame.read::<1>(start + at as u32) else {
            break;
        };
        // SAFETY: inside of the reserved record, whose octets need no alignment.
        unsafe { (&raw mut (*message).data).cast::<u8>().wrapping_add(at).write(octet) };
        length = at as u32 + 1;
    }
    let generation = setting!(generation);
    // SAFETY: fields of the reserved record, which is aligned to eight octets.
    unsafe {
        (*message).at = tables::now();
        (*message).lan = u32::from(progress.decision.lan);
        (*message).generation = generation;
        (*message).length = length;
        (*message).ifindex = ifindex;
    }
    entry.submit(0);
    count(Stat::DhcpSent);
    0
}
