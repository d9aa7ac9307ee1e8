//! Access to the bytes of the frame, in the one form that the verifier follows.

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::programs::XdpContext;
use enforcer_common::frame::Frame;
use enforcer_common::options::announced_mss;
use enforcer_common::packet::Packet;
use enforcer_common::parse::parse;
use enforcer_common::verdict::DropReason;

use crate::maps;
use crate::tables::reason;

/// Offsets beyond this are outside of every header chain that the parser follows (8,254 octets at most); the bound
/// keeps variable offsets small enough for the verifier.
const MAX_OFFSET: u32 = 0x3fff;

/// The frame of an XDP context.
///
/// Start and end are read from it each time: kept, they took 16 octets of stack in the program, which has none to spare.
pub(crate) struct XdpFrame<'a> {
    ctx: &'a XdpContext,
}

impl<'a> XdpFrame<'a> {
    #[inline(always)]
    pub(crate) fn new(ctx: &'a XdpContext) -> Self {
        Self { ctx }
    }

    #[inline(always)]
    fn start(&self) -> *const u8 {
        word::<0>(self.ctx)
    }

    #[inline(always)]
    fn end(&self) -> *const u8 {
        word::<4>(self.ctx)
    }
}

impl Frame for XdpFrame<'_> {
    #[inline(always)]
    fn length(&self) -> u32 {
        (self.end() as usize).wrapping_sub(self.start() as usize) as u32
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
        let from = self.start().wrapping_add(at as usize);
        if from.wrapping_add(N) > self.end() {
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

/// The packet pointer at this offset of the context: `data` at 0, `data_end` at 4. Loaded by hand, because the compiler,
/// which takes them for 32 bits, may cut a pointer to them once more, and the verifier then knows it for a pointer no longer.
#[inline(always)]
fn word<const AT: usize>(ctx: &XdpContext) -> *const u8 {
    let pointer: *const u8;
    #[cfg(target_arch = "bpf")]
    // SAFETY: the context is valid for the run of the program, and has these fields.
    unsafe {
        core::arch::asm!("{0} = *(u32 *)({1} + {2})", out(reg) pointer, in(reg) ctx.ctx, const AT, options(readonly, nostack));
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        pointer = if AT == 0 { ctx.data() } else { ctx.data_end() } as *const u8;
    }
    pointer
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
    let mut at = u64::from(at);
    if !core::intrinsics::is_val_statically_known(at) {
        // SAFETY: a copy of a register to itself (an empty line would be two line numbers for one instruction, which the
        // kernel refuses): the compiler forgets where the value came from.
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) at, options(pure, nomem, nostack, preserves_flags)) };
    }
    at
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
