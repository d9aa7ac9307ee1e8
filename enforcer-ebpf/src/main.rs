//! The XDP program: a thin shell around the engine of `enforcer-common`.
//!
//! The engine decides; [`report`] is the one place where a decision becomes counters and events.
#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch, core_intrinsics))]
#![allow(
    internal_features,
    reason = "`is_val_statically_known`, where a constant offset may stay one"
)]
#![allow(
    unreachable_pub,
    missing_docs,
    clippy::needless_pass_by_value,
    reason = "`#[xdp]` and `#[raw_tracepoint]` make the entry points: found by their symbols, called with the context by value"
)]
#![allow(
    clippy::inline_always,
    reason = "one BPF function: a call would spill what the verifier has proven about packet pointers"
)]

mod frame;
mod inline;
mod lease;
mod maps;
mod report;
mod tables;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::generated::bpf_jiffies64;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use enforcer_common::packet::Packet;
use enforcer_common::pipeline::decide;
use enforcer_common::verdict::Verdict;

/// Decides every frame of the ports that it is attached to.
#[xdp(frags)]
#[inline(always)]
pub fn enforcer(ctx: XdpContext) -> u32 {
    let ifindex = ctx.ingress_ifindex() as u32;
    let now = tables::now();
    let Some(maps::Scratch { packet, progress, .. }) = maps::scratch() else {
        return xdp_action::XDP_DROP;
    };
    *packet = Packet::default();
    progress.begin();
    decide(
        &frame::XdpFrame::new(&ctx),
        ifindex,
        now,
        &tables::KernelTables,
        packet,
        progress,
    );
    let decision = &progress.decision;
    // Read again, which takes no room on the stack meanwhile.
    let ifindex = ctx.ingress_ifindex() as u32;
    report::report(decision, packet, ifindex, now);
    if decision.lease && decision.verdict as u8 != Verdict::Drop as u8 {
        lease::tell(&ctx, ifindex);
    }
    #[cfg(feature = "log")]
    aya_log_ebpf::debug!(
        &ctx,
        "if {} verdict {} reason {}",
        ifindex,
        decision.verdict as u8,
        decision.reason as u8
    );
    match (decision.verdict, decision.peer) {
        (Verdict::Drop, _) => xdp_action::XDP_DROP,
        (_, 0) => xdp_action::XDP_PASS,
        (_, peer) => inline::leave_by(peer - 1),
    }
}

/// Writes the kernel's tick counter over the first eight octets of the frame: run twice by `BPF_PROG_TEST_RUN`, it tells
/// how long a tick is.
#[xdp]
pub fn jiffies(ctx: XdpContext) -> u32 {
    let start = ctx.data() as *mut u8;
    if start.wrapping_add(8) > ctx.data_end() as *mut u8 {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: the helper takes no arguments and is always available to XDP programs.
    let count = unsafe { bpf_jiffies64() };
    // SAFETY: the eight octets are inside of the frame, as was just compared.
    unsafe { start.cast::<u64>().write_unaligned(count) };
    xdp_action::XDP_DROP
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The engine has no path to a panic: the verifier would refuse this loop.
    loop {}
}

/// The kernel lends GPL-only helpers to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
