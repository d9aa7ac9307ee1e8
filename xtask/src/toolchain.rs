//! Which compiler builds the kernel program.
//!
//! Two kinds serve: a rustup nightly with `rust-src`, which builds `core` for BPF itself (`-Zbuild-std`), and a
//! distribution's compiler that comes with a prebuilt `core` for BPF, as Debian's `rustc-web` does.

use crate::machine::Machine;
use crate::process;
use crate::workspace::{BPF_TARGET, Workspace};
use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest compiler that the workspace accepts: `rust-version` in `Cargo.toml`.
const OLDEST: (u32, u32) = (1, 95);

/// A version of rustc, and of the LLVM in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    /// As rustc says it.
    pub(crate) release: String,
    /// Major version of LLVM. `bpf-linker` reads the bitcode of this LLVM and of older ones.
    pub(crate) llvm: u32,
}

/// A compiler that can build the kernel program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// A rustup nightly with the sources of `core`.
    Nightly { name: String, version: Version },
    /// A compiler of the distribution with a prebuilt `core`.
    Prebuilt { rustc: PathBuf, version: Version },
}

impl Toolchain {
    /// Looks for a compiler: nightly first, because a developer put it there.
    pub(crate) fn find(machine: &dyn Machine) -> Option<Self> {
        Self::nightly(machine).or_else(|| Self::prebuilt(machine, Path::new("/usr/bin/rustc")))
    }

    fn nightly(machine: &dyn Machine) -> Option<Self> {
        let list = machine.output(Path::new("rustup"), &["toolchain", "list", "-v"])?;
        nightlies(&list).find_map(|(name, folder)| {
            let sources = folder.join("lib/rustlib/src/rust/library/core/src/lib.rs");
            let version = || version(machine, &folder.join("bin/rustc"));
            machine.exists(&sources).then(version)?.map(|version| {
                let name = name.to_owned();
                Self::Nightly { name, version }
            })
        })
    }

    fn prebuilt(machine: &dyn Machine, rustc: &Path) -> Option<Self> {
        let version = version(machine, rustc)?;
        let sysroot = machine.output(rustc, &["--print", "sysroot"])?;
        let libraries = Path::new(sysroot.trim()).join(format!("lib/rustlib/{BPF_TARGET}/lib"));
        let has_core = |name: &String| name.starts_with("libcore-");
        let rustc = rustc.to_path_buf();
        machine
            .names(&libraries)
            .iter()
            .any(has_core)
            .then_some(Self::Prebuilt { rustc, version })
    }

    /// Its version.
    pub(crate) fn version(&self) -> &Version {
        match self {
            Self::Nightly { version, .. } | Self::Prebuilt { version, .. } => version,
        }
    }

    /// The cargo command that builds the kernel program, up to `build`'s own arguments.
    pub(crate) fn build_command(&self, workspace: &Workspace, linker: &Path) -> Command {
        let mut command = match self {
            Self::Nightly { name, .. } => {
                let mut command = Command::new("rustup");
                process::forget_outer_cargo(&mut command);
                command.args(["run", name, "cargo", "build", "-Zbuild-std=core"]);
                command
            }
            Self::Prebuilt { rustc, .. } => {
                let mut command = process::cargo();
                // The target is not in the stable list, and the engine uses two intrinsics.
                command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
                command.arg("build");
                command
            }
        };
        for variable in [
            "RUSTFLAGS",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "CARGO_BUILD_TARGET",
            // Changes the code: the gate's figures and the room on the stack are those of a whole build.
            "CARGO_INCREMENTAL",
        ] {
            command.env_remove(variable);
        }
        command
            .current_dir(&workspace.root)
            .env("CARGO_ENCODED_RUSTFLAGS", flags(workspace, linker))
            .args(["--release", "--target", BPF_TARGET, "--target-dir"])
            .arg(workspace.bpf_target());
        command
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Version { release, llvm } = self.version();
        match self {
            Self::Nightly { name, .. } => {
                write!(formatter, "{name} with rust-src ({release}, LLVM {llvm})")
            }
            Self::Prebuilt { rustc, .. } => {
                write!(formatter, "{} with BPF core ({release}, LLVM {llvm})", rustc.display())
            }
        }
    }
}

/// The flags of the BPF build, in cargo's encoding that allows spaces in a path.
fn flags(workspace: &Workspace, linker: &Path) -> String {
    let mut flags = vec![
        format!("-Clinker={}", linker.display()),
        // Map definitions and line information in the verifier's log come from BTF, BTF from debug information.
        "-Clink-arg=--btf".into(),
        // Otherwise every `memset` becomes a call of a loop over single octets: 5 instructions for each.
        "-Clink-arg=--disable-expand-memcpy-in-order".into(),
        "-Cdebuginfo=2".into(),
        // Atomic instructions and 32-bit operations, in every kernel since 5.12.
        "-Ctarget-cpu=v3".into(),
        // Packets are read at any offset: without this, octet by octet. The kernel's verifier checks alignment only on
        // processors that need it.
        "-Ctarget-feature=+allows-misaligned-mem-access".into(),
        // The line information is loaded into the kernel; it need not tell where the object was built.
        format!("--remap-path-prefix={}=.", workspace.root.display()),
    ];
    let home = |variable, folder| env::var_os(variable).map(|home| Path::new(&home).join(folder));
    if let Some(cargo) = home("CARGO_HOME", "").or_else(|| home("HOME", ".cargo")) {
        let crates = cargo.join("registry/src");
        flags.push(format!("--remap-path-prefix={}=/crates", crates.display()));
    }
    flags.join("\x1f")
}

/// Name and folder of each nightly in the output of `rustup toolchain list -v`.
fn nightlies(list: &str) -> impl Iterator<Item = (&str, &Path)> {
    list.lines().filter_map(|line| {
        let name = line.split_whitespace().next()?;
        // The folder stands last, after "(active, default)" or the like, and may hold spaces.
        let folder = &line[line.find(" /").or_else(|| line.find("\t/"))? + 1..];
        name.starts_with("nightly").then(|| (name, Path::new(folder)))
    })
}

/// The version of a compiler, if it is new enough.
fn version(machine: &dyn Machine, rustc: &Path) -> Option<Version> {
    parse_version(&machine.output(rustc, &["-vV"])?)
}

fn parse_version(verbose: &str) -> Option<Version> {
    let field = |name: &str| verbose.lines().find_map(|line| line.strip_prefix(name));
    let release = field("release: ")?;
    let mut numbers = release.split('.').map(str::parse);
    let number = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    let llvm = field("LLVM version: ")?.split('.').next()?.parse().ok()?;
    let release = release.to_owned();
    (number >= OLDEST).then_some(Version { release, llvm })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeMachine;

    const VERBOSE: &str = "rustc 1.96.0 (ac68faa20 2026-05-25)\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
    const LIST: &str = "stable-x86_64-unknown-linux-gnu (active, default) /r/stable\n\
                        nightly-x86_64-unknown-linux-gnu /r/a nightly\n\
                        1.95.0-x86_64-unknown-linux-gnu /r/195\n";

    fn debian() -> FakeMachine {
        FakeMachine::default()
            .prints("/usr/bin/rustc -vV", VERBOSE)
            .prints("/usr/bin/rustc --print sysroot", "/usr\n")
            .has("/usr/lib/rustlib/bpfel-unknown-none/lib/libcore-8056.rlib")
    }

    fn nightly() -> FakeMachine {
        FakeMachine::default()
            .prints("rustup toolchain list -v", LIST)
            .prints(
                "/r/a nightly/bin/rustc -vV",
                "release: 1.97.0-nightly\nLLVM version: 22.1.4\n",
            )
            .has("/r/a nightly/lib/rustlib/src/rust/library/core/src/lib.rs")
    }

    #[test]
    fn a_distribution_compiler_needs_its_bpf_core() {
        let found = Toolchain::find(&debian()).expect("both parts are there");
        assert_eq!(found.to_string(), "/usr/bin/rustc with BPF core (1.96.0, LLVM 22)");
        let without_core = FakeMachine::default()
            .prints("/usr/bin/rustc -vV", VERBOSE)
            .prints("/usr/bin/rustc --print sysroot", "/usr\n");
        assert_eq!(Toolchain::find(&without_core), None);
    }

    #[test]
    fn a_nightly_needs_its_sources() {
        let found = Toolchain::find(&nightly()).expect("both parts are there");
        assert!(matches!(found, Toolchain::Nightly { ref version, .. } if version.llvm == 22));
        let without_sources = FakeMachine::default()
            .prints("rustup toolchain list -v", LIST)
            .prints("/r/a nightly/bin/rustc -vV", VERBOSE);
        assert_eq!(Toolchain::find(&without_sources), None);
    }

    #[test]
    fn an_old_compiler_is_passed_over() {
        assert_eq!(parse_version("release: 1.63.0\nLLVM version: 14.0.6\n"), None);
        assert_eq!(parse_version("release: 1.95.0\n"), None);
        assert!(parse_version("release: 2.0.0\nLLVM version: 30.0.0\n").is_some());
    }

    #[test]
    fn prebuilt_core_needs_bootstrap_and_nightly_builds_core() {
        let workspace = Workspace {
            root: "/repo".into(),
            target: "/repo/target".into(),
            tools: "/repo/.tools".into(),
        };
        let linker = Path::new("/repo/.tools/bpf-linker");
        let prebuilt = Toolchain::find(&debian()).expect("found");
        let command = prebuilt.build_command(&workspace, linker);
        let bootstrap =
            |(name, value): (&std::ffi::OsStr, Option<_>)| name == "RUSTC_BOOTSTRAP" && value == Some("1".as_ref());
        assert!(command.get_envs().any(bootstrap));
        assert!(!process::line(&command).contains("build-std"));

        let found = Toolchain::find(&nightly()).expect("found");
        let command = found.build_command(&workspace, linker);
        assert!(!command.get_envs().any(bootstrap));
        assert_eq!(
            process::line(&command),
            "rustup run nightly-x86_64-unknown-linux-gnu cargo build -Zbuild-std=core --release \
             --target bpfel-unknown-none --target-dir /repo/target/bpf"
        );
        assert!(flags(&workspace, linker).starts_with("-Clinker=/repo/.tools/bpf-linker\x1f"));
    }
}
