//! The scratch of the parser, as in the shipped program.

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use enforcer_common::options::Walk;
use enforcer_common::packet::Packet;

pub(crate) struct Scratch {
    pub(crate) packet: Packet,
    pub(crate) walk: Walk,
}

#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's scratch.
#[inline(always)]
pub(crate) fn scratch() -> Option<&'static mut Scratch> {
    // SAFETY: programs do not nest on a CPU, so this is the only reference until the program returns.
    SCRATCH.get_ptr_mut(0).map(|scratch| unsafe { &mut *scratch })
}
