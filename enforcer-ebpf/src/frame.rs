//! Access to the bytes of the frame, in the one form that the verifier follows.

use aya_ebpf::programs::XdpContext;
use enforcer_common::frame::Frame;

/// Offsets beyond this are outside of every header chain that the parser follows (8,254 octets at most); the bound
/// keeps variable offsets small enough for the verifier.
const MAX_OFFSET: u32 = 0x3fff;

/// The frame of an XDP context.
pub(crate) struct XdpFrame<'a> {
    start: *const u8,
    end: *const u8,
    ctx: &'a XdpContext,
}

impl<'a> XdpFrame<'a> {
    #[inline(always)]
    pub(crate) fn new(ctx: &'a XdpContext) -> Self {
        Self {
            start: ctx.data() as *const u8,
            end: ctx.data_end() as *const u8,
            ctx,
        }
    }
}

impl Frame for XdpFrame<'_> {
    /// All fragments of the frame, not only the linear part that `read` reaches.
    #[inline(always)]
    fn length(&self) -> u32 {
        // SAFETY: the context is valid for the run of the program.
        unsafe { aya_ebpf::helpers::generated::bpf_xdp_get_buff_len(self.ctx.ctx) as u32 }
    }

    #[inline(always)]
    fn read<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        if at > MAX_OFFSET {
            return None;
        }
        // Pointers, not integers: a sum of `usize`s compared with the end is refused as "pointer arithmetic on
        // pkt_end" once the offset is variable.
        let from = self.start.wrapping_add(at as usize);
        if from.wrapping_add(N) > self.end {
            return None;
        }
        // SAFETY: `from..from + N` lies inside of the packet, as was just compared; `u8` arrays need no alignment.
        Some(unsafe { from.cast::<[u8; N]>().read_unaligned() })
    }
}
