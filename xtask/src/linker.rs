//! `bpf-linker`, which makes a BPF object of rustc's bitcode.
//!
//! It has to understand the bitcode of the compiler, so its LLVM is at least as new. A build from source links the
//! distribution's LLVM and is kept in the project's tools folder, under the version of both.

use crate::machine::Machine;
use crate::packages;
use crate::process;
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// The version that set-up builds, and the oldest that it takes from `PATH`.
pub(crate) const VERSION: &str = "0.13.0";

/// The LLVM versions that this version can be built with.
const LLVM: RangeInclusive<u32> = 21..=23;

/// A linker that starts: the project's own, or one in `PATH`.
pub(crate) fn find(machine: &dyn Machine, workspace: &Workspace, toolchain: &Toolchain) -> Option<PathBuf> {
    let own = candidates(toolchain).map(|llvm| own_folder(workspace, llvm).join("bin/bpf-linker"));
    let starts = |linker: &PathBuf| machine.exists(linker) && machine.output(linker, &["--version"]).is_some();
    own.into_iter().find(starts).or_else(|| in_path(machine, toolchain))
}

/// One in `PATH`. Releases come with an LLVM as new as nightly's; with a distribution's compiler nothing says
/// whether the two fit, so that one gets the project's own.
fn in_path(machine: &dyn Machine, toolchain: &Toolchain) -> Option<PathBuf> {
    let nightly = matches!(toolchain, Toolchain::Nightly { .. });
    let linker = nightly.then(|| machine.program("bpf-linker"))??;
    let version = machine.output(&linker, &["--version"])?;
    let version = version.trim().strip_prefix("bpf-linker ")?;
    (numbers(version)? >= numbers(VERSION)?).then_some(linker)
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// The LLVM versions that fit a compiler, oldest first.
fn candidates(toolchain: &Toolchain) -> RangeInclusive<u32> {
    toolchain.version().llvm.max(*LLVM.start())..=*LLVM.end()
}

fn own_folder(workspace: &Workspace, llvm: u32) -> PathBuf {
    workspace.tools.join(format!("bpf-linker-{VERSION}-llvm{llvm}"))
}

/// Builds the linker into the tools folder, installing LLVM's development package if need be; or fetches a release.
pub(crate) fn install(machine: &dyn Machine, workspace: &Workspace, toolchain: &Toolchain) -> Result<PathBuf> {
    if let Some(llvm) = llvm(machine, toolchain)? {
        build(machine, workspace, llvm)?;
    } else if machine.program("cargo-binstall").is_some() {
        fetch(workspace, toolchain)?;
    } else {
        bail!(
            "bpf-linker cannot be built here: for this compiler it takes LLVM {} or newer, which apt does not have. Put \
             a release of bpf-linker {VERSION} or newer into PATH (`cargo binstall bpf-linker`, or the archive from its \
             release page), or add an apt source with that LLVM, and run `cargo xtask setup` again",
            toolchain.version().llvm
        );
    }
    find(machine, workspace, toolchain)
        .context("bpf-linker was installed, but does not start: `ldd` on the file in .tools/ may say why")
}

/// An LLVM that fits, its development package installed; nothing if there is none to be had.
fn llvm(machine: &dyn Machine, toolchain: &Toolchain) -> Result<Option<u32>> {
    if let Some(llvm) = candidates(toolchain).find(|llvm| development(machine, *llvm)) {
        return Ok(Some(llvm));
    }
    packages::refresh(machine);
    let package = |llvm| format!("llvm-{llvm}-dev");
    let known = |llvm: &u32| packages::known(machine, &package(*llvm));
    let llvm = candidates(toolchain).find(known);
    if let Some(llvm) = llvm {
        packages::install(machine, &[package(llvm)])?;
    }
    Ok(llvm)
}

/// Whether LLVM's development package of this version is installed.
fn development(machine: &dyn Machine, llvm: u32) -> bool {
    machine.exists(&llvm_prefix(llvm).join("lib/libLLVM.so"))
}

fn llvm_prefix(llvm: u32) -> PathBuf {
    Path::new("/usr/lib").join(format!("llvm-{llvm}"))
}

fn build(machine: &dyn Machine, workspace: &Workspace, llvm: u32) -> Result<()> {
    if machine.program("c++").is_none() {
        packages::refresh(machine);
        packages::install(machine, &["g++".into()])?;
    }
    eprintln!("setup: building bpf-linker {VERSION} with LLVM {llvm}, once; takes one to two minutes");
    let scratch = workspace.tools.join("build");
    let mut install = process::cargo();
    install
        .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--quiet"])
        .args(["--force", "--no-default-features", "--features"])
        .arg(format!("llvm-{llvm}"))
        .arg("--root")
        .arg(own_folder(workspace, llvm))
        .env("LLVM_PREFIX", llvm_prefix(llvm))
        .env("CARGO_TARGET_DIR", &scratch)
        // Nobody steps through the linker with a debugger, and its work is LLVM's.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    process::run(&mut install).context(
        "building bpf-linker failed: see cargo's messages above (crates.io out of reach, or no disk space?), and run \
         `cargo xtask setup` again",
    )?;
    // Half a gigabyte that nothing needs any more; left behind, it does no harm.
    fs::remove_dir_all(&scratch).ok();
    Ok(())
}

/// Fetches a release with `cargo binstall`.
fn fetch(workspace: &Workspace, toolchain: &Toolchain) -> Result<()> {
    eprintln!("setup: fetching bpf-linker {VERSION}");
    let mut fetch = process::cargo();
    fetch
        .args(["binstall", "--no-confirm", "--disable-strategies", "compile", "--root"])
        .arg(own_folder(workspace, *candidates(toolchain).end()))
        .arg(format!("bpf-linker@{VERSION}"));
    process::run(&mut fetch).context(
        "fetching bpf-linker failed: see the messages above, or put a bpf-linker into PATH by hand, and run `cargo \
         xtask setup` again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeMachine;
    use crate::toolchain::Version;

    fn version(llvm: u32) -> Version {
        Version {
            release: "1.96.0".into(),
            llvm,
        }
    }

    fn prebuilt(llvm: u32) -> Toolchain {
        let rustc = "/usr/bin/rustc".into();
        Toolchain::Prebuilt {
            rustc,
            version: version(llvm),
        }
    }

    fn nightly(llvm: u32) -> Toolchain {
        let name = "nightly".into();
        Toolchain::Nightly {
            name,
            version: version(llvm),
        }
    }

    fn workspace() -> Workspace {
        Workspace {
            root: "/repo".into(),
            target: "/repo/target".into(),
            tools: "/repo/.tools".into(),
        }
    }

    const OWN: &str = "/repo/.tools/bpf-linker-0.13.0-llvm22/bin/bpf-linker";

    #[test]
    fn own_linker_is_used_if_it_starts() {
        let works = FakeMachine::default()
            .has(OWN)
            .prints(&format!("{OWN} --version"), "bpf-linker 0.13.0\n");
        assert_eq!(find(&works, &workspace(), &prebuilt(22)), Some(OWN.into()));
        // Its LLVM is newer than the compiler's: fine. Older: not.
        assert_eq!(find(&works, &workspace(), &prebuilt(21)), Some(OWN.into()));
        assert_eq!(find(&works, &workspace(), &prebuilt(23)), None);
        // It is there, but the LLVM that it was linked with is gone.
        let broken = FakeMachine::default().has(OWN);
        assert_eq!(find(&broken, &workspace(), &prebuilt(22)), None);
    }

    #[test]
    fn a_linker_in_path_serves_a_nightly_if_it_is_new_enough() {
        let machine = |version: &str| {
            FakeMachine::default()
                .has("/usr/bin/bpf-linker")
                .prints("/usr/bin/bpf-linker --version", version)
        };
        let find = |version, toolchain| find(&machine(version), &workspace(), &toolchain);
        let found = Some("/usr/bin/bpf-linker".into());
        assert_eq!(find("bpf-linker 0.13.0\n", nightly(22)), found);
        assert_eq!(find("bpf-linker 1.0.0\n", nightly(22)), found);
        assert_eq!(find("bpf-linker 0.9.14\n", nightly(22)), None);
        assert_eq!(find("bpf-linker 0.13.0\n", prebuilt(22)), None);
    }

    #[test]
    fn installed_llvm_is_taken_and_none_is_an_error_that_says_what_to_do() {
        let installed = FakeMachine::default().has("/usr/lib/llvm-23/lib/libLLVM.so");
        assert_eq!(llvm(&installed, &nightly(22)).ok(), Some(Some(23)));
        // LLVM 24 is newer than any that this linker can be built with.
        assert_eq!(llvm(&installed, &nightly(24)).ok(), Some(None));
        let error = install(&FakeMachine::default(), &workspace(), &nightly(22)).expect_err("nothing is there");
        assert!(error.to_string().contains("LLVM 22 or newer"), "{error}");
    }
}
