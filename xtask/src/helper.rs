//! The programs that `demo`, `verify` and `bench` start. They live in packages of their own and not here, because they need
//! the controller's crates, and xtask has to build in seconds on a clean checkout.

use crate::commands::{build, check, setup};
use crate::machine::{Local, Machine};
use crate::root::Root;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The package of a helper.
fn package(helper: &str) -> &'static str {
    match helper {
        "bench" => "enforcer-bench",
        _ => "enforcer-tests",
    }
}

/// Builds all that a helper needs, then becomes it, as root: an interrupt goes to it alone, and its exit code is ours.
pub(crate) fn become_helper(name: &str, arguments: &[String]) -> Result<()> {
    let workspace = Workspace::find();
    let root = Root::obtain(&Local)?;
    let ready = setup::ensure(&workspace)?;
    build::kernel(&workspace, &ready, None)?;
    build::controller(&workspace)?;
    let mut helper = command(&workspace, &root, name)?;
    let error = helper.args(arguments).exec();
    Err(error).context("cannot start cargo")
}

/// The command that builds and runs a helper in release mode.
pub(crate) fn command(workspace: &Workspace, root: &Root, name: &str) -> Result<Command> {
    let mut run = check::cargo(workspace, "run");
    run.args(["--release", "--package", package(name), "--bin", name, "--"]);
    root.apply(&mut run, &host(&Local)?);
    Ok(run)
}

/// rustc's name for this machine's target.
pub(crate) fn host(machine: &dyn Machine) -> Result<String> {
    let verbose = machine.output(Path::new("rustc"), &["-vV"]);
    verbose
        .as_deref()
        .and_then(|verbose| verbose.lines().find_map(|line| line.strip_prefix("host: ")))
        .map(str::to_owned)
        .context("`rustc -vV` does not answer: is Rust's compiler in PATH?")
}
