//! The kernel program, embedded by `build.rs`.

/// The object file with the XDP program `enforcer`, as `cargo xtask build` made it.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/enforcer-xdp"));
