//! The command line of the enforcer.

use std::process::ExitCode;

fn main() -> ExitCode {
    enforcer::cli::main()
}
