//! Access to the bytes of the frame, in the one form that the verifier follows.

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::programs::XdpContext;
use enforcer_common::frame::Frame;
use enforcer_common::options::announced_mss;
use enforcer_common::packet::Packet;
use enforcer_common::parse::parse;
#[cfg(target_arch = "bpf")]
use enforcer_common::shared::opaque;
use enforcer_common::verdict::DropReason;

use crate::maps;
use crate::tables::reason;

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
    #[inline(always)]
    fn length(&self) -> u32 {
        (self.end as usize).wrapping_sub(self.start as usize) as u32
    }

    #[inline(always)]
    fn whole_length(&self) -> u32 {
        // SAFETY: the context is valid for the run of the program.
        unsafe { aya_ebpf::helpers::generated::bpf_xdp_get_buff_len(self.ctx.ctx) as u32 }
    }

    #[inline(always)]
    fn read<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        let at = settled(at);
        if at > u64::from(MAX_OFFSET) {
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

    #[inline(always)]
    fn parse(&self, _packet: &mut Packet) -> Result<(), DropReason> {
        match enforcer_parse(self.ctx.ctx) {
            0 => Ok(()),
            code => Err(reason(code)),
        }
    }

    #[inline(always)]
    fn announced_mss(&self, _packet: &Packet) -> Option<u16> {
        u16::try_from(enforcer_mss(self.ctx.ctx)).ok()
    }
}

/// [`announced_mss`] of the frame in the scratch packet, likewise a global function; -1 for none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn enforcer_mss(ctx: *mut xdp_md) -> i32 {
    let Some(scratch) = maps::scratch() else {
        return -1;
    };
    let ctx = XdpContext::new(ctx);
    announced_mss(&XdpFrame::new(&ctx), &scratch.packet, &scratch.walk).map_or(-1, i32::from)
}

/// An offset in a register of its own, so that the bound is checked on what is added to the packet pointer. Otherwise
/// the compiler adds first and checks the summands, and only kernels since 6.12 put two and two together ("offset is
/// outside of the packet").
#[cfg(target_arch = "bpf")]
#[inline(always)]
fn settled(at: u32) -> u64 {
    let at = u64::from(at);
    if core::intrinsics::is_val_statically_known(at) {
        at
    } else {
        opaque(at)
    }
}

/// For the host's compiler, which only reads this for clippy.
#[cfg(not(target_arch = "bpf"))]
fn settled(at: u32) -> u64 {
    u64::from(at)
}

/// Parses the frame into the scratch packet; returns the code of the drop reason.
///
/// A global function: the verifier checks it once, apart from its caller, so that the ways through the parser are not
/// multiplied with the ways through everything behind it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn enforcer_parse(ctx: *mut xdp_md) -> u32 {
    let Some(scratch) = maps::scratch() else {
        return DropReason::TableMiss as u32;
    };
    let ctx = XdpContext::new(ctx);
    match parse(&XdpFrame::new(&ctx), &mut scratch.packet, &scratch.walk) {
        Ok(()) => DropReason::None as u32,
        Err(reason) => reason as u32,
    }
}
