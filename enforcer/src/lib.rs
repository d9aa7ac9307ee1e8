//! The controller.

pub mod diagnostics;
pub mod engine;
pub mod policy;
