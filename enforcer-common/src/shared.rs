//! Words of map values that several CPUs, and userspace, read and write at the same time.
//!
//! The BPF back end selects no atomic load, and `core::sync::atomic` offers no read-modify-write on that
//! target, so loads and stores are volatile, and the two read-modify-write operations are intrinsics that
//! become one BPF instruction each (`lock fetch_add`, `cmpxchg`, which need `-C target-cpu=v3`).

use core::cell::UnsafeCell;

/// A word that others change under us. Reads and writes are whole, and in no particular order.
#[repr(transparent)]
#[derive(Debug, Default)]
pub struct Shared<T: Copy>(UnsafeCell<T>);

// SAFETY: every access goes through volatile or atomic operations on a naturally aligned word.
unsafe impl<T: Copy + Send> Sync for Shared<T> {}

impl<T: Copy> Shared<T> {
    /// A word that holds `value`.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// The value now.
    #[inline(always)]
    pub fn get(&self) -> T {
        // SAFETY: the pointer is valid and aligned for as long as `self` lives.
        unsafe { self.0.get().read_volatile() }
    }

    /// Stores `value`; the last of several writers wins.
    #[inline(always)]
    pub fn set(&self, value: T) {
        // SAFETY: as for `get`; concurrent writers store whole words.
        unsafe { self.0.get().write_volatile(value) }
    }
}

impl<T: Copy> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self::new(self.get())
    }
}

impl Shared<u64> {
    /// Adds `amount`, wrapping; no addition of another CPU is lost.
    #[inline(always)]
    pub fn add(&self, amount: u64) {
        // SAFETY: the pointer is valid, aligned, and only accessed by whole-word operations.
        unsafe { atomic_add(self.0.get(), amount) }
    }

    /// Replaces `current` by `new` in one step; false when another CPU was faster.
    #[inline(always)]
    pub fn replace(&self, current: u64, new: u64) -> bool {
        // SAFETY: as for `add`.
        unsafe { atomic_replace(self.0.get(), current, new) }
    }
}

impl Shared<u32> {
    /// Adds `amount`, wrapping; no addition of another CPU is lost.
    #[inline(always)]
    pub fn add(&self, amount: u32) {
        // SAFETY: as for the larger word.
        unsafe { atomic_add_half(self.0.get(), amount) }
    }
}

/// The same value, in a register of its own: the compiler forgets where it came from, and with that, what it could do
/// instead. (A copy to itself; an empty line would be two line numbers for one instruction, which the kernel refuses.)
#[inline(always)]
#[must_use]
pub fn opaque(value: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut value = value;
        // SAFETY: a copy of a register to itself.
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) value, options(pure, nomem, nostack, preserves_flags)) };
        value
    }
    #[cfg(not(target_arch = "bpf"))]
    value
}

#[cfg(target_arch = "bpf")]
use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd};

/// # Safety
/// `word` is valid and aligned.
#[cfg(target_arch = "bpf")]
#[inline(always)]
unsafe fn atomic_add(word: *mut u64, amount: u64) {
    // SAFETY: promised by the caller.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(word, amount) };
}

/// # Safety
/// `word` is valid and aligned.
#[cfg(target_arch = "bpf")]
#[inline(always)]
unsafe fn atomic_add_half(word: *mut u32, amount: u32) {
    // SAFETY: promised by the caller.
    unsafe { atomic_xadd::<u32, u32, { AtomicOrdering::Relaxed }>(word, amount) };
}

/// # Safety
/// `word` is valid and aligned.
#[cfg(target_arch = "bpf")]
#[inline(always)]
unsafe fn atomic_replace(word: *mut u64, current: u64, new: u64) -> bool {
    // SAFETY: promised by the caller. BPF knows one ordering for cmpxchg: sequentially consistent.
    unsafe { atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(word, current, new).1 }
}

/// # Safety
/// `word` is valid and aligned.
#[cfg(not(target_arch = "bpf"))]
unsafe fn atomic_add(word: *mut u64, amount: u64) {
    use core::sync::atomic::{AtomicU64, Ordering};
    // SAFETY: promised by the caller.
    unsafe { AtomicU64::from_ptr(word) }.fetch_add(amount, Ordering::Relaxed);
}

/// # Safety
/// `word` is valid and aligned.
#[cfg(not(target_arch = "bpf"))]
unsafe fn atomic_add_half(word: *mut u32, amount: u32) {
    use core::sync::atomic::{AtomicU32, Ordering};
    // SAFETY: promised by the caller.
    unsafe { AtomicU32::from_ptr(word) }.fetch_add(amount, Ordering::Relaxed);
}

/// # Safety
/// `word` is valid and aligned.
#[cfg(not(target_arch = "bpf"))]
unsafe fn atomic_replace(word: *mut u64, current: u64, new: u64) -> bool {
    use core::sync::atomic::{AtomicU64, Ordering};
    // SAFETY: promised by the caller.
    unsafe { AtomicU64::from_ptr(word) }
        .compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst)
        .is_ok()
}
