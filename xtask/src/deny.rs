//! `cargo-deny`: licences, duplicate and unwanted crates, sources, as `deny.toml` has it.

use crate::machine::{Local, Machine};
use crate::process;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;

/// The version that is built where none is installed.
const VERSION: &str = "0.20.2";

/// Checks the dependencies. Advisories are left out, because their database lies behind the network; by hand:
/// `cargo deny check advisories`.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let deny = match find(&Local, workspace) {
        Some(deny) => deny,
        None => install(workspace)?,
    };
    let mut check = std::process::Command::new(deny);
    check
        .current_dir(&workspace.root)
        .args(["--log-level", "warn", "check", "--show-stats", "--hide-inclusion-graph"])
        .args(["licenses", "bans", "sources"]);
    process::run(&mut check)
}

fn own(workspace: &Workspace) -> PathBuf {
    workspace.tools.join(format!("cargo-deny-{VERSION}"))
}

/// The project's own, or one in `PATH`.
fn find(machine: &dyn Machine, workspace: &Workspace) -> Option<PathBuf> {
    let own = own(workspace).join("bin/cargo-deny");
    if machine.exists(&own) {
        return Some(own);
    }
    machine.program("cargo-deny")
}

fn install(workspace: &Workspace) -> Result<PathBuf> {
    eprintln!("licences: building cargo-deny {VERSION}, once; takes some minutes");
    let scratch = workspace.tools.join("build-deny");
    let mut install = process::cargo();
    install
        .args(["install", "cargo-deny", "--version", VERSION, "--locked", "--quiet"])
        .arg("--root")
        .arg(own(workspace))
        .env("CARGO_TARGET_DIR", &scratch)
        // It runs for a second: what counts is the time to build it.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_RELEASE_LTO", "false");
    process::run(&mut install).context(
        "building cargo-deny failed: see cargo's messages above (crates.io out of reach, or no disk space?), or \
         install it by other means",
    )?;
    fs::remove_dir_all(&scratch).ok();
    Ok(own(workspace).join("bin/cargo-deny"))
}
