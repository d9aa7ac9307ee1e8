//! One file a command.

pub(crate) mod bench;
pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod kernels;
pub(crate) mod setup;
pub(crate) mod test;
pub(crate) mod verify;
