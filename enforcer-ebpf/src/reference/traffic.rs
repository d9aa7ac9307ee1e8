//! Frames that differ: made, sent on, and counted at the end of their way.

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP};
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, DevMap, PerCpuArray, ProgramArray};
use aya_ebpf::programs::XdpContext;

use crate::layout::{PATCH_WORDS, PATCHES, Seen, Stream, TEMPLATES, Template, Unwanted};

#[map]
static STREAM: Array<Stream> = Array::with_max_entries(1, 0);
#[map]
static TEMPLATE: Array<Template> = Array::with_max_entries(TEMPLATES, 0);
/// Frames made so far on this CPU.
#[map]
static MADE: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);
/// The program that `vary` hands its frames to.
#[map]
static NEXT: ProgramArray = ProgramArray::with_max_entries(1, 0);
/// The interface that `generate` and `forward` send to.
#[map]
static OUT: DevMap = DevMap::with_max_entries(1, 0);
#[map]
static SEEN: PerCpuArray<Seen> = PerCpuArray::with_max_entries(1, 0);
#[map]
static UNWANTED: Array<Unwanted> = Array::with_max_entries(1, 0);

/// Odd, so that it leaves out no number; near 2^32 over the golden ratio, so that neighbours come far apart.
const SCATTER: u32 = 0x9e37_79b1;

/// Makes the next frame of the stream out of whatever is in the buffer: frames of live test runs come back as their last
/// user left them.
#[inline(always)]
fn make(context: &XdpContext) -> Option<()> {
    let made = MADE.get_ptr_mut(0)?;
    // SAFETY: this CPU's copy.
    let number = unsafe {
        *made += 1;
        *made as u32
    };
    let stream = STREAM.get(0)?;
    let [templates, shift] = [0, 1].map(|word| stream[PATCHES * PATCH_WORDS + word]);
    let template = TEMPLATE.get(number & templates)?;
    let start = context.data() as *mut u8;
    let end = context.data_end() as *mut u8;
    if start.wrapping_add(size_of::<Template>()) > end {
        return None;
    }
    // SAFETY: 64 octets lie inside of the frame, as was just compared.
    unsafe { start.cast::<Template>().write_unaligned(*template) };
    let scattered = (number >> (shift & 31)).wrapping_mul(SCATTER);
    for patch in 0..PATCHES {
        let [offset, base, shift, mask] = [0, 1, 2, 3].map(|word| stream[patch * PATCH_WORDS + word]);
        if mask == 0 {
            break;
        }
        let value = base.wrapping_add(scattered >> (shift & 31) & mask) as u16;
        let place = start.wrapping_add((offset & 63) as usize);
        if place.wrapping_add(2) > end {
            return None;
        }
        // SAFETY: both octets lie inside of the frame, as was just compared.
        unsafe { place.cast::<u16>().write_unaligned(value.to_be()) };
    }
    Some(())
}

/// Makes a frame of the stream, then runs another program on it: what that one costs when no two frames are alike.
#[xdp(frags)]
pub fn vary(context: XdpContext) -> u32 {
    if make(&context).is_some() {
        // SAFETY: the map's programs are XDP programs, which take this context.
        unsafe { NEXT.tail_call(&context, 0) };
    }
    XDP_ABORTED
}

/// [`empty`](crate::empty), for `vary` to run.
#[xdp(frags)]
pub fn done(_: XdpContext) -> u32 {
    XDP_DROP
}

/// Makes a frame of the stream, and sends it.
#[xdp]
pub fn generate(context: XdpContext) -> u32 {
    match make(&context) {
        Some(()) => OUT.redirect(0, 0).unwrap_or(XDP_ABORTED),
        None => XDP_ABORTED,
    }
}

/// Sends every frame on: as fast as forwarding can be.
#[xdp]
pub fn forward(_: XdpContext) -> u32 {
    OUT.redirect(0, 0).unwrap_or(XDP_ABORTED)
}

/// The end of the way, with an eye on what comes and when.
#[xdp]
pub fn watch(context: XdpContext) -> u32 {
    let (Some(seen), Some([offset, value])) = (SEEN.get_ptr_mut(0), UNWANTED.get(0)) else {
        return XDP_ABORTED;
    };
    let place = (context.data() as *const u8).wrapping_add((*offset & 63) as usize);
    if place.wrapping_add(2) > context.data_end() as *const u8 {
        return XDP_DROP;
    }
    // SAFETY: both octets lie inside of the frame, as was just compared.
    let found = u16::from_be(unsafe { place.cast::<u16>().read_unaligned() });
    // SAFETY: the helper takes no arguments and is always available to XDP programs.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: this CPU's copy.
    let [frames, wrong, last, longest] = unsafe { &mut *seen };
    *frames += 1;
    *wrong += u64::from(u32::from(found) == *value);
    if *last != 0 {
        *longest = (*longest).max(now - *last);
    }
    *last = now;
    XDP_DROP
}
