//! `cargo xtask demo`: a hospital in network namespaces, protected and attacked.

use crate::helper;
use anyhow::Result;

/// Show the enforcer at work: a hospital in network namespaces, under attack
///
/// Builds everything, makes a trunk with pumps, monitors, imaging, servers and guests on it, loads policies/, sends
/// clinical traffic and attacks, and says of each frame what became of it and why. Takes root (through sudo if need be),
/// touches no real interface, cleans up after itself. Exit code 0 only if every verdict was the right one.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask demo              the whole show
  cargo xtask demo -- --help    what the demo itself understands")]
pub(crate) struct Arguments {
    /// Arguments of the demo itself
    #[arg(last = true)]
    rest: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    helper::become_helper("demo", &arguments.rest)
}
