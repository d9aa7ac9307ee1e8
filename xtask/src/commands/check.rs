//! `cargo xtask check`: everything that looks at the sources without running them.

use super::{build, setup};
use crate::deny;
use crate::process;
use crate::steps::Steps;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::process::Command;

/// Check format, lints, documentation and licences; `test` does this too
///
/// Needs no root. The kernel program is built first, because the controller carries it inside.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask check     before a commit
  cargo xtask test      the same, then all tests")]
pub(crate) struct Arguments {}

pub(crate) fn run(_: &Arguments) -> Result<()> {
    let workspace = Workspace::find();
    let mut steps = Steps::new();
    if let Some(ready) = steps.run("setup", || setup::ensure(&workspace)) {
        steps.run("kernel build", || build::kernel(&workspace, &ready, None));
        sources(&workspace, &mut steps);
    }
    steps.finish("check")
}

/// The checks themselves.
pub(crate) fn sources(workspace: &Workspace, steps: &mut Steps) {
    steps.run("format", || {
        let mut format = cargo(workspace, "fmt");
        process::run(format.args(["--all", "--check"])).context("run `cargo fmt --all`")
    });
    steps.run("clippy", || {
        let mut clippy = cargo(workspace, "clippy");
        process::run(clippy.args(["--all-targets", "--", "--deny=warnings"]))
    });
    steps.run("BPF clippy", || process::run(&mut kernel_clippy(workspace)));
    steps.run("docs", || {
        let mut docs = cargo(workspace, "doc");
        let docs = docs.args(["--no-deps", "--document-private-items"]);
        process::run(docs.env("RUSTDOCFLAGS", "--deny=warnings"))
    });
    steps.run("licences", || deny::check(workspace));
}

/// Clippy on the kernel program, compiled for the host: a distribution's compiler for BPF comes without clippy, and
/// the sources are the same but for a few atomic instructions. It has no standard library, so it cannot unwind.
fn kernel_clippy(workspace: &Workspace) -> Command {
    let mut clippy = cargo(workspace, "clippy");
    clippy
        .args(["--package", "enforcer-ebpf", "--target-dir"])
        .arg(workspace.target.join("bpf-clippy"))
        .args(["--", "--deny=warnings"])
        .env("CARGO_PROFILE_DEV_PANIC", "abort");
    clippy
}

/// A cargo command in the workspace, with its progress bar only where somebody can see it move.
pub(crate) fn cargo(workspace: &Workspace, command: &str) -> Command {
    let mut cargo = process::cargo();
    cargo.current_dir(&workspace.root).arg(command);
    if !std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        cargo.arg("--quiet");
    }
    cargo
}
