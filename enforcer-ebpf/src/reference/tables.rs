//! What the frame's reader wants of the shipped program's tables.

use enforcer_common::verdict::DropReason;

/// The drop reason that a global function returned.
#[inline(always)]
pub(crate) fn reason(code: u32) -> DropReason {
    DropReason::from_code(core::hint::black_box(code) as u8).unwrap_or(DropReason::TableMiss)
}
