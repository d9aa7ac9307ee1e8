//! One file a command.

pub(crate) mod build;
pub(crate) mod setup;
