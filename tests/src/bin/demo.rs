//! `cargo xtask demo`: a hospital in network namespaces, protected and attacked.

use std::process::ExitCode;

fn main() -> ExitCode {
    enforcer_tests::demo::main()
}
