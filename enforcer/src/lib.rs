//! The controller: policy text becomes tables, tables become a running kernel program, and what that does becomes
//! metrics and events.

pub mod audit;
pub mod bindings;
pub mod cli;
mod clients;
pub mod config;
pub mod control;
pub mod controller;
pub mod daemon;
pub mod diagnostics;
pub mod doctor;
pub mod engine;
pub mod events;
mod files;
pub mod flows;
pub mod http;
pub mod kernel;
pub mod learn;
pub mod metrics;
pub mod object;
pub mod offline;
pub mod plan;
pub mod policy;
mod private;
pub mod revisions;
pub mod silence;
pub mod state;
pub mod top;
pub mod words;
