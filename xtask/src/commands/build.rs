//! `cargo xtask build`: the kernel program, then the controller.

use super::setup;
use crate::process;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// The objects that `enforcer-ebpf` makes. The second serves `bench` only and is not shipped.
const OBJECTS: [&str; 2] = ["enforcer-xdp", "reference-xdp"];

/// Build the kernel program, then the controller
///
/// The kernel program goes to target/bpf/bpfel-unknown-none/release/enforcer-xdp, with BTF; the controller, which
/// carries it inside, to target/release/enforcer, its completions and manual pages to target/release/assets.
/// `CARGO_TARGET_DIR` moves all.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask build                     everything that runs on a gateway
  cargo xtask build --kernel            the kernel program alone: enough for `cargo test` and `cargo run` afterwards
  cargo xtask build --features log      with debug lines of the data path, for development")]
pub(crate) struct Arguments {
    /// Build the kernel program only
    #[arg(long)]
    kernel: bool,
    /// Features of the kernel program: `log` sends debug lines through aya-log
    #[arg(long, value_name = "LIST")]
    features: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = Workspace::find();
    let ready = setup::ensure(&workspace)?;
    kernel(&workspace, &ready, arguments.features.as_deref())?;
    if !arguments.kernel {
        controller(&workspace)?;
    }
    Ok(())
}

/// Builds the kernel program and the reference programs.
pub(crate) fn kernel(workspace: &Workspace, ready: &setup::Ready, features: Option<&str>) -> Result<()> {
    let started = Instant::now();
    let mut build = ready.toolchain.build_command(workspace, &ready.linker);
    build.args(["--quiet", "--package", "enforcer-ebpf"]);
    if let Some(features) = features {
        build.args(["--features", features]);
    }
    process::run(&mut build).context(
        "the kernel program does not build: see the compiler's messages above. `error: linking` about bitcode \
         or LLVM versions means that compiler and bpf-linker do not fit: `rm -r .tools` and try again",
    )?;
    for object in OBJECTS {
        report(&workspace.object(object), started)?;
    }
    Ok(())
}

fn report(object: &Path, started: Instant) -> Result<()> {
    let size = fs::metadata(object)
        .with_context(|| format!("the build made no {}", object.display()))?
        .len();
    eprintln!(
        "build: {} ({} KiB, {:.1} s)",
        object.display(),
        size.div_ceil(1024),
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Builds the controller, in release mode.
pub(crate) fn controller(workspace: &Workspace) -> Result<()> {
    let started = Instant::now();
    let mut build = process::cargo();
    build
        .current_dir(&workspace.root)
        .args(["build", "--quiet", "--release", "--package", "enforcer"]);
    process::run(&mut build).context("the controller does not build: see the compiler's messages above")?;
    let program = workspace.target.join("release/enforcer");
    report(&program, started)?;
    assets(&program, &workspace.target.join("release/assets"))
}

/// Lets the controller write its completions and manual pages.
fn assets(program: &Path, directory: &Path) -> Result<()> {
    process::run(Command::new(program).arg("assets").arg(directory))?;
    eprintln!(
        "build: {} (completions for bash, zsh and fish; manual pages)",
        directory.display()
    );
    Ok(())
}
