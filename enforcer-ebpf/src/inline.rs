//! Inline mode: frames leave by the paired port, and those that it does not take are counted.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use enforcer_common::abi::PeerSource;

use crate::maps;

/// Sends the frame out of the port that stands in `PEERS` under `key`.
///
/// Without an entry (the interface is gone) the frame is lost: an inline pair has no stack to fall back to.
#[inline(always)]
pub(crate) fn leave_by(key: u32) -> u32 {
    maps::PEERS
        .redirect(key, u64::from(xdp_action::XDP_DROP))
        .unwrap_or_else(|action| {
            if let Some(source) = maps::PEER_SOURCES.get(key) {
                count_loss(source);
            }
            action
        })
}

/// Runs when the kernel cannot do what a program's `XDP_REDIRECT` asked for, after that program has ended: the port is
/// down, the frame longer than its MTU, or its driver takes none.
///
/// `xdp:xdp_redirect_err`, arguments: device, program, target, error, map type, map id, key.
#[raw_tracepoint(tracepoint = "xdp_redirect_err")]
pub fn redirect_err(ctx: RawTracePointContext) -> i32 {
    let (map, key): (u32, u32) = (ctx.arg(5), ctx.arg(6));
    // The event is one of the whole machine: other programs have maps of their own.
    if let Some(source) = maps::PEER_SOURCES.get(key)
        && source.map == map
    {
        count_loss(source);
    }
    0
}

#[inline(always)]
fn count_loss(source: &PeerSource) {
    if let Some(counter) = maps::REDIRECT_LOSSES.get_ptr_mut(source.slot) {
        // SAFETY: this CPU's copy; both writers run where the frame is received, one after the other.
        unsafe { *counter += 1 };
    }
}
