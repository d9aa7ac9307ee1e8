//! `cargo xtask bench`: how fast it is, beside what the kernel and other packet filters take for the same.

use super::kernels;
use crate::helper;
use crate::machine::Local;
use crate::packages;
use crate::workspace::Workspace;
use anyhow::Result;
use std::path::PathBuf;

/// The packages of bpfilter, which only Debian's unstable release has. They run on the libraries of its stable one.
const BPFILTER: [&str; 2] = ["bpfilter", "libbpfilter0"];

/// Measure how fast the enforcer is, beside the kernel's own look-ups and other packet filters
///
/// Parts: `frames` (what a frame costs, by the kernel's test runs), `throughput` (frames a second through veth, dropped and
/// forwarded, beside nftables and iptables), `scale` (against the size of policy and tables), `limiter` (offered against
/// passed), `control` (reloads under load, events), and `gate`, which compares what must not grow with bench/baseline.json.
/// All but the gate by default, in under 25 minutes. Ratios are taken within rounds in which the cases take turns, so that a drifting
/// clock speed hits all alike: read those, not the nanoseconds. Prints tables, writes target/bench/results.json and
/// plots, and docs/performance.md. Installs the packet filters that it compares with. Takes root (through sudo if need be).
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench                                  all of it
  cargo xtask bench frames limiter                   these parts; what others found before is kept
  cargo xtask bench --quick                          fewer rounds and smaller policies: does it work?
  cargo xtask bench frames --rounds 21               more rounds, for a noisy machine
  cargo xtask bench frames --against old.o           another build of the kernel program beside this one
  cargo xtask bench gate                             has the program grown?
  cargo xtask bench gate --accept 'flows are IPv6'   it has, and this is why")]
pub(crate) struct Arguments {
    /// Parts, and arguments of the helper that measures
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "PART")]
    rest: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    packages::peers(&Local);
    let mut rest = arguments.rest.clone();
    match bpfilter() {
        Ok(folder) => rest.push(format!("--bpfilter={}", folder.display())),
        Err(error) => eprintln!("bench: goes on without bpfilter: {error:#}"),
    }
    helper::become_helper("bench", &rest)
}

/// The folder that bpfilter is unpacked in.
fn bpfilter() -> Result<PathBuf> {
    kernels::open(&Workspace::find().target.join("kernels"), false)?.packages(&BPFILTER, "bpfilter")
}
