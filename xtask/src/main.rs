//! Developer commands of the enforcer: `cargo xtask COMMAND`.
//!
//! One file a command in `commands/`; what they share stands beside it. Data goes to standard output, progress
//! and errors to standard error. Exit codes: 0 fine, 1 a check failed, 2 the machine or the usage is at fault.

mod commands;
mod linker;
mod machine;
mod packages;
mod process;
#[cfg(test)]
mod testing;
mod toolchain;
mod workspace;

use clap::{Parser, Subcommand};
use process::CheckFailed;
use std::process::ExitCode;

/// Builds, tests and shows the enforcer.
///
/// Every command first makes sure that the machine has what it needs (see `setup`), so `cargo xtask test` or
/// `cargo xtask demo` is all that a clean checkout takes.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask build        build the kernel program, then the controller
  cargo xtask --help       this text
  cargo xtask help build   what one command does, with examples";

#[derive(Subcommand)]
enum Command {
    Setup(commands::setup::Arguments),
    Build(commands::build::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Setup(arguments) => commands::setup::run(&arguments),
        Command::Build(arguments) => commands::build::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<CheckFailed>() { 1 } else { 2 })
        }
    }
}
