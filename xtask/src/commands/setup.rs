//! `cargo xtask setup`: finds out what the machine has, and installs what is missing.

use crate::linker;
use crate::machine::{Local, Machine};
use crate::packages;
use crate::process;
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Debian's compiler with the prebuilt `core` for BPF.
const DEBIAN_COMPILER: [&str; 3] = ["rustc-web", "libstd-rust-web-dev-bpf", "rust-web-llvm"];

/// Find a compiler for BPF and what else is needed, and install what is missing
///
/// Takes a rustup nightly with rust-src, or a distribution's rustc with a prebuilt core for BPF (Debian: rustc-web). If
/// the machine has neither, installs Debian's with apt, or the nightly with rustup. Builds bpf-linker once, into
/// .tools/ in the repository, where `cargo clean` leaves it. Installs what the labs
/// start: ip, ethtool, ping, dnsmasq, udhcpc, dcmtk.
///
/// Every other command runs this first; a machine that has everything spends a fraction of a second on it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask setup                   prepare this machine; again and again does no harm
  rm -r .tools && cargo xtask setup   build bpf-linker anew")]
pub(crate) struct Arguments {}

/// What builds the kernel program.
pub(crate) struct Ready {
    /// The compiler.
    pub(crate) toolchain: Toolchain,
    /// The linker.
    pub(crate) linker: PathBuf,
}

pub(crate) fn run(_: &Arguments) -> Result<()> {
    ensure(&Workspace::find()).map(drop)
}

/// Prepares the machine, and says in one line what was done.
pub(crate) fn ensure(workspace: &Workspace) -> Result<Ready> {
    let started = Instant::now();
    let machine = Local;
    let mut done = Vec::new();

    let missing = packages::missing(&machine);
    if !missing.is_empty() {
        packages::refresh(&machine);
        packages::install(&machine, &missing)?;
        done.push(missing.join(", "));
    }
    let toolchain = if let Some(toolchain) = Toolchain::find(&machine) {
        toolchain
    } else {
        done.push("a compiler for BPF".into());
        install_compiler(&machine)?
    };
    let linker = if let Some(linker) = linker::find(&machine, workspace, &toolchain) {
        linker
    } else {
        done.push("bpf-linker".into());
        linker::install(&machine, workspace, &toolchain)?
    };
    let done = if done.is_empty() {
        "nothing to install".to_owned()
    } else {
        format!("installed {}", done.join(", "))
    };
    eprintln!(
        "setup: {toolchain}, bpf-linker {}; {done} ({:.1} s)",
        linker::VERSION,
        started.elapsed().as_secs_f64()
    );
    Ok(Ready { toolchain, linker })
}

/// Where a compiler can come from.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    Debian,
    Rustup,
}

/// Debian's package if apt has it: it is smaller, and it does not change under us as a nightly does.
fn compiler_source(machine: &dyn Machine) -> Option<Source> {
    if DEBIAN_COMPILER.iter().all(|package| packages::known(machine, package)) {
        Some(Source::Debian)
    } else {
        machine.program("rustup").map(|_| Source::Rustup)
    }
}

fn install_compiler(machine: &dyn Machine) -> Result<Toolchain> {
    packages::refresh(machine);
    match compiler_source(machine) {
        Some(Source::Debian) => packages::install(machine, &DEBIAN_COMPILER.map(String::from))?,
        Some(Source::Rustup) => install_nightly()?,
        None => bail!(
            "no compiler for BPF: apt has no {}, and rustup is not installed. Install rustup (https://rustup.rs), then \
             run `cargo xtask setup` again",
            DEBIAN_COMPILER[0]
        ),
    }
    Toolchain::find(machine).context(
        "a compiler for BPF was installed, and still none is found: look at `rustup toolchain list -v` and \
         `/usr/bin/rustc -vV`",
    )
}

fn install_nightly() -> Result<()> {
    eprintln!("setup: rustup toolchain install nightly, with rust-src");
    let mut install = Command::new(Path::new("rustup"));
    install.args(["toolchain", "install", "nightly", "--profile", "minimal"]);
    install.args(["--component", "rust-src", "--no-self-update"]);
    process::run(&mut install).context(
        "could not install a nightly with rust-src: see rustup's messages above, and run `cargo xtask setup` again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeMachine;

    #[test]
    fn debian_compiler_first_then_rustup() {
        let offered = |mut machine: FakeMachine| {
            for package in DEBIAN_COMPILER {
                let policy = format!("{package}:\n  Candidate: 1.96.0\n");
                machine = machine.prints(&format!("apt-cache policy {package}"), &policy);
            }
            machine
        };
        let rustup = || FakeMachine::default().has("/usr/bin/rustup");
        assert_eq!(compiler_source(&offered(rustup())), Some(Source::Debian));
        assert_eq!(compiler_source(&rustup()), Some(Source::Rustup));
        assert_eq!(compiler_source(&FakeMachine::default()), None);
        let half = rustup().prints("apt-cache policy rustc-web", "  Candidate: 1.85.0\n");
        assert_eq!(compiler_source(&half), Some(Source::Rustup));
    }
}
