//! `cargo xtask bench`: how fast it is, beside what the kernel and other packet filters take for the same.

use super::{build, check, kernels, setup};
use crate::helper;
use crate::kernels::guest::{self, Purpose};
use crate::machine::Local;
use crate::packages;
use crate::process::{self, CheckFailed};
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;

/// The packages of bpfilter, which only Debian's unstable release has. They run on the libraries of its stable one.
const BPFILTER: [&str; 2] = ["bpfilter", "libbpfilter0"];
/// The kernel that instructions are counted on. Figures of another would not compare.
const COUNTED_ON: &str = "6.18";

/// Measure how fast the enforcer is, beside the kernel's own look-ups and other packet filters
///
/// Parts: `frames` (what a frame costs, by the kernel's test runs), `throughput` (frames a second through veth, dropped and
/// forwarded, beside nftables and iptables), `scale` (against the size of policy and tables), `limiter` (offered against
/// passed), `control` (reloads under load, events), and `gate`, which compares what must not grow with bench/baseline.json: the
/// size of the program, and kernel instructions a frame, counted in an emulated machine on one of Debian's kernels.
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
    let mut rest = arguments.rest.clone();
    let accept = rest.iter().position(|word| word == "--accept");
    let accept = accept.and_then(|at| rest.get(at + 1)).cloned();
    if accept.is_some() || rest.iter().any(|word| word == "gate") {
        let workspace = Workspace::find();
        let ready = setup::ensure(&workspace)?;
        build::kernel(&workspace, &ready, None)?;
        build::controller(&workspace)?;
        count(&workspace, accept)?;
    } else {
        packages::peers(&Local);
        match bpfilter() {
            Ok(folder) => rest.push(format!("--bpfilter={}", folder.display())),
            Err(error) => eprintln!("bench: goes on without bpfilter: {error:#}"),
        }
    }
    helper::become_helper("bench", &rest)
}

/// The folder that bpfilter is unpacked in.
fn bpfilter() -> Result<PathBuf> {
    kernels::open(&Workspace::find().target.join("kernels"), false)?.packages(&BPFILTER, "bpfilter")
}

/// The gate's second half: kernel instructions a frame, on a machine whose clock counts them. Programs and controller are
/// built.
pub(crate) fn count(workspace: &Workspace, accept: Option<String>) -> Result<()> {
    let folder = workspace.target.join("kernels");
    let kernel = match kernels::open(&folder, false).and_then(|store| store.kernel(COUNTED_ON)) {
        Ok(kernel) => kernel,
        Err(error) => {
            eprintln!("skipped: kernel instructions a frame: Linux {COUNTED_ON} is not to be had: {error:#}");
            return Ok(());
        }
    };
    let mut bench = check::cargo(workspace, "build");
    process::run(bench.args(["--release", "--package", "enforcer-bench"]))?;
    let accepted = accept.is_some();
    let purpose = Purpose::Counting { accept };
    eprintln!("bench: gate: counting instructions on {}, emulated", kernel.release);
    let console = guest::boot(&kernel, &guest::base(workspace, &purpose)?, &folder, &purpose)?;
    let mut parts = console.split("BASELINE");
    let told = parts.next().unwrap_or_default();
    let lines = told
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty() && *line != "HELD");
    lines.for_each(|line| eprintln!("{line}"));
    if !told.lines().any(|line| line.trim_end() == "HELD") {
        let why = "kernel instructions a frame have grown, or could not be counted: see above";
        return Err(CheckFailed(why.into()).into());
    }
    if accepted {
        let stored = parts.next().context("the machine did not print what it stored")?;
        let stored = stored.trim().replace('\r', "") + "\n";
        fs::write(guest::baseline(workspace), stored).context("cannot write baseline.json")?;
    }
    Ok(())
}
