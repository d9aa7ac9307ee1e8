//! Programs to compare the enforcer's cost with: `cargo xtask bench` loads them, a gateway never does.
#![no_std]
#![no_main]
#![allow(
    unreachable_pub,
    missing_docs,
    clippy::needless_pass_by_value,
    reason = "`#[xdp]` makes the entry points: found by their symbols, called with the context by value"
)]

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::lpm_trie::{Key, LpmTrie};
use aya_ebpf::programs::XdpContext;

/// Where the destination address stands in an IPv4 frame with one VLAN tag: Ethernet 14, tag 4, IPv4 header 16.
const DESTINATION: usize = 34;

/// Room for the 100,000 prefixes that the benchmark enters; keys in network order.
#[map]
static PREFIXES: LpmTrie<[u8; 4], u32> = LpmTrie::with_max_entries(1 << 17, 0);

/// Does nothing: the floor under every measurement.
#[xdp]
pub fn empty(_: XdpContext) -> u32 {
    XDP_DROP
}

/// Looks the destination address up in the kernel's own longest-prefix-match trie, and nothing else.
#[xdp]
pub fn lpm(context: XdpContext) -> u32 {
    let start = context.data() as *const u8;
    let end = context.data_end() as *const u8;
    let address = start.wrapping_add(DESTINATION);
    if address.wrapping_add(4) > end {
        return XDP_ABORTED;
    }
    // SAFETY: the four bytes lie inside the frame, checked above.
    let address = unsafe { address.cast::<[u8; 4]>().read_unaligned() };
    match PREFIXES.get(Key::new(32, address)) {
        Some(_) => XDP_DROP,
        None => XDP_PASS,
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
