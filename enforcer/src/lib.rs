//! The controller: policy text becomes tables, tables become a running kernel program, and what that does becomes
//! metrics and events.

pub mod config;
pub mod diagnostics;
pub mod engine;
pub mod kernel;
pub mod object;
pub mod policy;
