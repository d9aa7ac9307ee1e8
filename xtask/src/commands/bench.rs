//! `cargo xtask bench`: what a frame costs.

use crate::helper;
use anyhow::Result;

/// Measure what a frame costs, beside an empty program and an LPM look-up
///
/// Runs the shipped program with the reference policies through the kernel's own test run, a million frames a round, interleaved with
/// the reference programs, so that a drifting clock speed hits all alike: read the ratios, not the nanoseconds. Kernel
/// instructions a frame come from a hardware counter where the machine has one. Takes root (through sudo if need be).
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench                        the table
  cargo xtask bench -- --rounds 21         more rounds, for a noisy machine
  cargo xtask bench -- --against old.o     another build of the kernel program beside this one")]
pub(crate) struct Arguments {
    /// Arguments of the helper that measures
    #[arg(last = true)]
    rest: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    helper::become_helper("bench", &arguments.rest)
}
