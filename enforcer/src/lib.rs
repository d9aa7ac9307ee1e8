//! The controller.

pub mod diagnostics;
pub mod policy;
