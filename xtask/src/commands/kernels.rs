//! `cargo xtask kernels`: the enforcer on the kernels that users run.

use super::{build, check, setup};
use crate::kernels::debian::{KEYS, Kernel, Store};
use crate::kernels::guest::{self, Purpose, Report};
use crate::kernels::table;
use crate::machine::{Local, Machine};
use crate::packages;
use crate::process::{self, CheckFailed};
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::fs;
use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

/// The series of kernels, oldest first: Debian 11's, 12's and 13's, and the newest.
const SERIES: [&str; 5] = ["5.10", "6.1", "6.12", "6.18", "7"];

/// What continuous integration boots: the oldest that is supported, and the newest.
const SHORT: [&str; 2] = ["6.1", "7"];

/// Programs that the machines are made with, and their packages.
const PROGRAMS: [(&str, &str); 5] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("depmod", "kmod"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
];

/// Boot Debian's kernels in virtual machines, and run the enforcer on each
///
/// Fetches the kernels of Debian 11, 12 and 13 and the newest ones with apt, through folders of its own (this machine's
/// sources stay as they are), boots each in QEMU with the enforcer's own programs, and checks: the verifier takes the
/// program, every shape of frame gets its verdict, links are pinned and replaced, swaps under traffic lose nothing, tags
/// hidden by offloads are found, bridges with VLAN filtering, jumbo frames, and the demo's hospital. Prints a table, and
/// writes docs/kernels.md when all kernels ran. About two minutes a kernel. The packages stay in target/kernels.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask kernels                 all of them, and docs/kernels.md
  cargo xtask kernels 6.1 7           these series only; the newest kernel of each
  cargo xtask kernels --short 6.1     without the hospital
  cargo xtask kernels --refresh       look for newer packages first")]
pub(crate) struct Arguments {
    /// Series of kernels: `6.1`, `6.12`, `7`
    #[arg(value_name = "SERIES")]
    series: Vec<String>,
    /// Leave out the hospital, which takes longest
    #[arg(long)]
    short: bool,
    /// Fetch Debian's package lists anew
    #[arg(long)]
    refresh: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = Workspace::find();
    let ready = setup::ensure(&workspace)?;
    build::kernel(&workspace, &ready, None)?;
    build::controller(&workspace)?;
    let all = SERIES.map(String::from);
    let series = if arguments.series.is_empty() {
        &all[..]
    } else {
        &arguments.series
    };
    let reports = boot_all(&workspace, series, arguments.short, arguments.refresh)?;
    let table = table::markdown(&reports);
    println!("{table}");
    if series.len() == all.len() && !arguments.short {
        let page = workspace.root.join("docs/kernels.md");
        fs::write(&page, document(&reports, &table)).context("cannot write docs/kernels.md")?;
        eprintln!("kernels: wrote {}", page.display());
    }
    judge(&reports)
}

/// The selection of continuous integration; programs and controller are built.
pub(crate) fn short(workspace: &Workspace) -> Result<()> {
    let reports = boot_all(workspace, &SHORT.map(String::from), true, false)?;
    eprintln!("{}", table::markdown(&reports));
    judge(&reports)
}

fn boot_all(workspace: &Workspace, series: &[String], short: bool, refresh: bool) -> Result<Vec<Report>> {
    let folder = workspace.target.join("kernels");
    let store = open(&folder, refresh)?;
    let mut helpers = check::cargo(workspace, "build");
    helpers.args([
        "--release",
        "--package",
        "enforcer-tests",
        "--bin",
        "kernels",
        "--bin",
        "demo",
    ]);
    process::run(&mut helpers)?;
    let purpose = Purpose::Checks { short };
    let base = guest::base(workspace, &purpose)?;
    let kernels = series
        .iter()
        .map(|series| store.kernel(series))
        .collect::<Result<Vec<_>>>()?;
    // The hospital's floods want the processors for themselves.
    let at_once = if short { 2 } else { 1 };
    let mut reports = Vec::new();
    for kernels in kernels.chunks(at_once) {
        reports.extend(boot_beside(kernels, &base, &folder, &purpose)?);
    }
    Ok(reports)
}

/// Boots kernels side by side, and tells of each when it is through.
fn boot_beside(kernels: &[Kernel], base: &[u8], folder: &Path, purpose: &Purpose) -> Result<Vec<Report>> {
    let one = |kernel: &Kernel| -> Result<Report> {
        eprintln!("kernels: booting {}", kernel.release);
        let report = guest::check(kernel, base, folder, purpose)?;
        eprint!(
            "kernels: {}: {} of {} checks held ({:.0} s)\n{}",
            report.release,
            report.outcomes.iter().filter(|outcome| outcome.passed).count(),
            report.outcomes.len(),
            report.took.as_secs_f64(),
            table::failures(&report)
        );
        Ok(report)
    };
    let one = &one;
    thread::scope(|scope| {
        let started: Vec<_> = kernels.iter().map(|kernel| scope.spawn(move || one(kernel))).collect();
        let ended = started
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        ended.collect()
    })
}

/// The kernels that were fetched; installs what machines are made with.
pub(crate) fn open(folder: &Path, refresh: bool) -> Result<Store> {
    let mut missing: Vec<_> = PROGRAMS
        .iter()
        .filter(|(program, _)| Local.program(program).is_none())
        .map(|(_, package)| (*package).to_owned())
        .collect();
    if !Path::new(KEYS).exists() {
        missing.push("debian-archive-keyring".to_owned());
    }
    if !missing.is_empty() {
        packages::refresh(&Local);
        packages::install(&Local, &missing)?;
    }
    Store::open(folder, refresh)
}

fn judge(reports: &[Report]) -> Result<()> {
    let wrong: Vec<_> = reports.iter().filter(|report| !table::is_right(report)).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = wrong.iter().map(|report| report.release.as_str()).collect();
    Err(CheckFailed(format!(
        "the enforcer does not work as it should on {}: the checks that failed are above, the consoles in target/kernels/*.log",
        names.join(", ")
    ))
    .into())
}

/// The page in docs/.
fn document(reports: &[Report], table: &str) -> String {
    let refused = reports
        .iter()
        .filter_map(table::refusal)
        .map(|reason| format!("> {reason}\n"));
    format!(
        "# Kernels

Written by `cargo xtask kernels`, which boots Debian's own kernels in QEMU with the enforcer's own programs. What is not
in a row was not checked on that kernel.

{table}
- **loads**: the instructions that the verifier went through for the program with the reference policies, of 1,000,000.
- **attached, pinned, replaced**: in native mode on veth; the links in bpffs; a swap replaces the program of a link in place.
- **verdicts right**: frames of every shape (`tests/src/shapes`), verdict, reason, stage and rule of each.
- **reference hospital**: `cargo xtask demo`, clinical traffic and attacks against `policies/`.
- **reload under traffic**: numbered frames on two trunks while policies are swapped.
- **802.1Q sub-interface**: a sender with `txvlan on` hides its tag from XDP: the frame is refused and counted, not taken for
  one of another VLAN. Where the controller reaches the sender's end it switches the offload off by itself.
- **bridge**: both ports belong to a bridge with `vlan_filtering`; refused frames do not reach it.
- **jumbo**: a frame in several buffers (XDP frags) passes whole.

## The oldest kernel

Linux 5.18: frames in several buffers (XDP frags, and `bpf_xdp_get_buff_len` to ask for their length) came with it, and jumbo
frames are usual on imaging networks. The other needs are older: ring buffer 5.8, links for XDP 5.9, atomic compare-and-swap 5.12.
A distribution's older kernel that has these features backported is accepted: the kernel is asked, not its number. One that
refuses the program and is older is refused with the reason:

{}",
        refused.collect::<String>()
    )
}
