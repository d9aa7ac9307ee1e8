//! Programs to compare the enforcer's cost with, and such that make traffic: `cargo xtask bench` loads them, a gateway never does.
#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(core_intrinsics))]
#![allow(
    internal_features,
    reason = "`is_val_statically_known`, where a constant offset may stay one"
)]
#![allow(
    unreachable_pub,
    missing_docs,
    dead_code,
    clippy::needless_pass_by_value,
    reason = "`#[xdp]` makes the entry points: found by their symbols, called with the context by value"
)]
#![allow(
    clippy::inline_always,
    reason = "as in the enforcer's program, whose files these are in part: a call would spill what the verifier has proven"
)]

#[path = "../frame.rs"]
mod frame;
mod layout;
mod lookups;
mod maps;
mod tables;
mod traffic;

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use enforcer_common::frame::Frame as _;
use enforcer_common::packet::Packet;

/// Does nothing: the floor under every measurement.
#[xdp]
pub fn empty(_: XdpContext) -> u32 {
    XDP_DROP
}

/// The enforcer's parser, and nothing else.
#[xdp(frags)]
pub fn parse(ctx: XdpContext) -> u32 {
    let Some(maps::Scratch { packet, .. }) = maps::scratch() else {
        return XDP_ABORTED;
    };
    *packet = Packet::default();
    match frame::XdpFrame::new(&ctx).parse(packet) {
        Ok(()) => XDP_DROP,
        Err(_) => XDP_PASS,
    }
}

/// The kernel gives programs that call its GPL helpers only to licences that allow it.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
