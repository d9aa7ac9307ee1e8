//! The packet engine, and the interface between the kernel program and the controller.
//!
//! Plain `no_std` Rust, compiled twice: to BPF with kernel maps behind [`Tables`](tables::Tables), and to
//! userspace with ordinary collections. It has no clock and does no I/O: time is an argument.
#![cfg_attr(not(test), no_std)]
#![allow(
    clippy::inline_always,
    reason = "one BPF function: a call would spill what the verifier has proven about packet pointers"
)]
#![cfg_attr(
    target_arch = "bpf",
    feature(asm_experimental_arch, core_intrinsics),
    allow(internal_features)
)]

pub mod abi;
pub mod buckets;
pub mod budget;
pub mod classify;
pub mod concurrency;
pub mod conntrack;
pub mod event;
pub mod fragment;
pub mod frame;
pub mod guard;
pub mod management;
pub mod options;
pub mod packet;
pub mod parse;
pub mod pipeline;
pub mod quote;
pub mod ratelimit;
mod session;
pub mod shared;
pub mod tables;
pub mod verdict;
