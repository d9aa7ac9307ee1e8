//! The packet engine, and the interface between the kernel program and the controller.
//!
//! Plain `no_std` Rust, compiled twice: to BPF with kernel maps behind [`Tables`](tables::Tables), and to
//! userspace with ordinary collections. It has no clock and does no I/O: time is an argument.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    target_arch = "bpf",
    feature(core_intrinsics),
    allow(internal_features)
)]

pub mod abi;
pub mod shared;
pub mod verdict;
