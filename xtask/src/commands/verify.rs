//! `cargo xtask verify`: what the kernel's verifier says of the programs.

use crate::helper;
use anyhow::Result;

/// Load the kernel program, and print what the verifier says of it
///
/// For each program: the instructions that the verifier went through, as a share of its limit of one million, and its
/// size, in instructions and in octets of machine code. Takes root (through sudo if need be); attaches nothing.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask verify    a table, a program a line
  cargo xtask test      does this too")]
pub(crate) struct Arguments {
    /// Arguments of the helper that loads the program
    #[arg(last = true)]
    rest: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    helper::become_helper("verify", &arguments.rest)
}
