//! Developer commands of the enforcer: `cargo xtask COMMAND`.
//!
//! One file a command in `commands/`; what they share stands beside it. Data goes to standard output, progress
//! and errors to standard error. Exit codes: 0 fine, 1 a check failed, 2 the machine or the usage is at fault.

mod commands;
mod deny;
mod helper;
mod kernels;
mod linker;
mod machine;
mod packages;
mod process;
mod root;
mod steps;
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
  cargo xtask demo         a hospital in network namespaces, protected and attacked
  cargo xtask test         every check and every test: what continuous integration runs
  cargo xtask build        the controller with its kernel program, ready to install
  cargo xtask help build   what one command does, with examples";

#[derive(Subcommand)]
enum Command {
    Demo(commands::demo::Arguments),
    Test(commands::test::Arguments),
    Check(commands::check::Arguments),
    Build(commands::build::Arguments),
    Setup(commands::setup::Arguments),
    Verify(commands::verify::Arguments),
    Bench(commands::bench::Arguments),
    Kernels(commands::kernels::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(arguments) => commands::demo::run(&arguments),
        Command::Test(arguments) => commands::test::run(&arguments),
        Command::Check(arguments) => commands::check::run(&arguments),
        Command::Build(arguments) => commands::build::run(&arguments),
        Command::Setup(arguments) => commands::setup::run(&arguments),
        Command::Verify(arguments) => commands::verify::run(&arguments),
        Command::Bench(arguments) => commands::bench::run(&arguments),
        Command::Kernels(arguments) => commands::kernels::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<CheckFailed>() { 1 } else { 2 })
        }
    }
}
