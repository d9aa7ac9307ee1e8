//! The virtual machine: what is in its file system, how it is started, what it reports.

use super::archive::Archive;
use super::debian::Kernel;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail, ensure};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Programs of this machine that the checks start.
const PROGRAMS: [&str; 4] = ["ip", "bridge", "ethtool", "busybox"];

/// Modules that the checks need; what a kernel has built in is not among its files.
const MODULES: [&str; 5] = ["veth", "8021q", "bridge", "tun", "af_packet"];

/// Longest that a machine may run, seconds. Software emulation is ten to twenty times slower than this machine.
const LIMIT: &str = "900";

const INIT: &str = "#!/bin/busybox sh
B=/bin/busybox
export PATH=/bin ENFORCER_BINARY=/bin/enforcer
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t devtmpfs dev /dev
$B mount -t bpf bpf /sys/fs/bpf
while read module; do $B insmod /modules/$module || echo \"insmod $module failed\"; done < /modules/order
$B mkdir -p /dev/net
[ -e /dev/net/tun ] || $B mknod /dev/net/tun c 10 200
COMMAND
echo END
$B poweroff -f
";

/// A line of the guest: a check and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Name of the check.
    pub(crate) check: String,
    /// Whether it held.
    pub(crate) passed: bool,
    /// What was seen.
    pub(crate) text: String,
}

/// How often a machine is booted that the emulator brings down.
const ATTEMPTS: u32 = 3;

/// With a thread for each processor QEMU 7.2 now and then runs an instruction as it was before the kernel patched it, which the
/// kernel takes for its own fault: seen in the dispatcher of XDP programs on Linux 6.12. One thread for all of them does not do
/// that, and is too slow for the floods of the hospital.
#[derive(Debug)]
struct StalePatch;

impl fmt::Display for StalePatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the emulator ran code of the kernel from before it was patched (Oops: int3)")
    }
}

impl std::error::Error for StalePatch {}

/// What one kernel said.
pub(crate) struct Report {
    /// As `uname -r` says.
    pub(crate) release: String,
    /// The checks, in order.
    pub(crate) outcomes: Vec<Outcome>,
    /// From power-on to power-off.
    pub(crate) took: Duration,
}

/// What a machine is for.
pub(crate) enum Purpose {
    /// The checks of `cargo xtask kernels`, all or the short selection.
    Checks {
        /// The short selection.
        short: bool,
    },
    /// Counting instructions for `cargo xtask bench gate`; with a reason, to store what it finds.
    Counting {
        /// Why figures changed.
        accept: Option<String>,
    },
}

impl Purpose {
    /// Programs of this build that it needs.
    fn programs(&self) -> &'static [&'static str] {
        match self {
            Self::Checks { .. } => &["enforcer", "kernels", "demo"],
            Self::Counting { .. } => &["bench"],
        }
    }

    /// Folders and files of this tree that the programs read, under the same paths as here: they were built with them.
    fn sources(&self, workspace: &Workspace) -> Vec<PathBuf> {
        let mut sources = vec![workspace.root.join("policies"), workspace.root.join("tests/fixtures")];
        if let Self::Counting { .. } = self {
            sources.extend([baseline(workspace), workspace.object("reference-xdp")]);
        }
        sources
    }

    /// What the machine runs.
    fn command(&self, workspace: &Workspace) -> String {
        let quoted = |word: &str| format!("'{}'", word.replace('\'', "'\\''"));
        match self {
            Self::Checks { short: false } => "kernels".into(),
            Self::Checks { short: true } => "kernels --short".into(),
            Self::Counting { accept } => {
                // By its own path, from which it finds the reference programs.
                let bench = workspace.target.join("release/bench");
                let accept = accept
                    .as_ref()
                    .map_or_else(String::new, |why| format!("--accept {}", quoted(why)));
                format!(
                    "{} gate --counted {accept} && echo HELD\necho BASELINE\n$B cat {}\necho BASELINE",
                    quoted(&bench.to_string_lossy()),
                    quoted(&baseline(workspace).to_string_lossy())
                )
            }
        }
    }

    /// Software emulation: it is there on every machine, and tells of the same kernel. To count, one processor whose clock
    /// goes on by a nanosecond an instruction, and whose random numbers are the same at each start: hash maps take theirs
    /// from it.
    const fn emulation(&self) -> &'static [&'static str] {
        match self {
            Self::Checks { .. } => &["-smp", "2", "-accel", "tcg,thread=multi"],
            Self::Counting { .. } => &[
                "-smp",
                "1",
                "-accel",
                "tcg,thread=single",
                "-icount",
                "shift=0,sleep=off",
                "-seed",
                "1",
            ],
        }
    }
}

/// The stored figures of the benchmark's gate.
pub(crate) fn baseline(workspace: &Workspace) -> PathBuf {
    workspace.root.join("bench/baseline.json")
}

/// The part of the file system that is the same for all kernels.
pub(crate) fn base(workspace: &Workspace, purpose: &Purpose) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["proc", "sys", "dev", "run", "tmp", "modules"] {
        archive.folder(folder);
    }
    let built = purpose
        .programs()
        .iter()
        .map(|name| workspace.target.join("release").join(name));
    let found = PROGRAMS.iter().map(|name| program(name)).collect::<Result<Vec<_>>>()?;
    let mut libraries = Vec::new();
    for program in built.chain(found) {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        archive.copy(&program, &format!("bin/{name}"))?;
        if let Purpose::Counting { .. } = purpose {
            archive.copy(&program, &program.to_string_lossy())?;
        }
        libraries.extend(needed(&program)?);
    }
    libraries.sort();
    libraries.dedup();
    for library in libraries {
        archive.copy(&library, &library.to_string_lossy())?;
    }
    for source in purpose.sources(workspace) {
        if source.is_dir() {
            archive.tree(&source)?;
        } else {
            archive.copy(&source, &source.to_string_lossy())?;
        }
    }
    archive.file("init", INIT.replace("COMMAND", &purpose.command(workspace)).as_bytes());
    Ok(archive.finish())
}

/// Boots a kernel, runs the checks, and returns what they said.
pub(crate) fn check(kernel: &Kernel, base: &[u8], folder: &Path, purpose: &Purpose) -> Result<Report> {
    let started = Instant::now();
    let mut console = boot(kernel, base, folder, purpose);
    for _ in 1..ATTEMPTS {
        if !matches!(&console, Err(error) if error.is::<StalePatch>()) {
            break;
        }
        eprintln!("kernels: {}: {StalePatch}; booting again", kernel.release);
        console = boot(kernel, base, folder, purpose);
    }
    let console = console?;
    Ok(Report {
        release: kernel.release.clone(),
        outcomes: console.lines().filter_map(outcome).collect(),
        took: started.elapsed(),
    })
}

/// Boots a kernel, and returns what its machine printed until its end.
pub(crate) fn boot(kernel: &Kernel, base: &[u8], folder: &Path, purpose: &Purpose) -> Result<String> {
    let mut initramfs = base.to_vec();
    initramfs.extend(modules(kernel)?);
    let file = folder.join(format!("{}.initramfs", kernel.release));
    fs::write(&file, initramfs)?;
    let output = Command::new("timeout")
        .args(["--kill-after=5", LIMIT, "qemu-system-x86_64"])
        .args(["-machine", "q35", "-cpu", "max", "-m", "2048"])
        .args(purpose.emulation())
        .args(["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(&file)
        .args([
            "-append",
            "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on",
        ])
        .stdin(Stdio::null())
        .output()
        .context("cannot start qemu-system-x86_64")?;
    fs::remove_file(&file)?;
    let console = String::from_utf8_lossy(&output.stdout).into_owned();
    let log = folder.join(format!("{}.log", kernel.release));
    fs::write(&log, &console)?;
    if !console.lines().any(|line| line.trim_end() == "END") {
        if console.contains("Oops: int3") {
            bail!(StalePatch);
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} did not come to its end within {LIMIT} s: see {} {}",
            kernel.release,
            log.display(),
            errors.trim()
        );
    }
    Ok(console)
}

/// `CHECK`, name, `ok` or `failed`, text, separated by tabs.
fn outcome(line: &str) -> Option<Outcome> {
    let mut fields = line.trim_end().strip_prefix("CHECK\t")?.splitn(3, '\t');
    Some(Outcome {
        check: fields.next()?.to_owned(),
        passed: fields.next()? == "ok",
        text: fields.next().unwrap_or_default().replace("\\n", "\n"),
    })
}

/// The modules, uncompressed, and the order to load them in.
fn modules(kernel: &Kernel) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    let mut order: Vec<String> = Vec::new();
    for module in MODULES {
        let output = Command::new("/sbin/modprobe")
            .arg("-d")
            .arg(&kernel.root)
            .args(["-S", &kernel.release, "--show-depends", module])
            .output()
            .context("cannot run modprobe")?;
        let shown = String::from_utf8_lossy(&output.stdout);
        for path in shown.lines().filter_map(|line| line.strip_prefix("insmod ")) {
            let path = PathBuf::from(path.trim());
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let name = format!("{}.ko", name.trim_end_matches(".ko"));
            if order.contains(&name) {
                continue;
            }
            archive.file(&format!("modules/{name}"), &decompressed(&path)?);
            order.push(name);
        }
    }
    archive.file("modules/order", (order.join("\n") + "\n").as_bytes());
    Ok(archive.finish())
}

fn decompressed(path: &Path) -> Result<Vec<u8>> {
    let tool = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return fs::read(path).with_context(|| format!("cannot read {}", path.display())),
    };
    let output = Command::new(tool).arg("-dc").arg(path).output();
    let output = output.with_context(|| format!("cannot run {tool}"))?;
    ensure!(output.status.success(), "{tool} cannot read {}", path.display());
    Ok(output.stdout)
}

fn program(name: &str) -> Result<PathBuf> {
    use crate::machine::{Local, Machine};
    Local
        .program(name)
        .with_context(|| format!("this machine has no program {name}"))
}

/// The shared libraries of a program; none of one that is linked statically.
fn needed(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let words = text
        .split_whitespace()
        .filter(|word| word.starts_with('/') && !word.ends_with(':'));
    Ok(words.map(PathBuf::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_guest_is_an_outcome_and_others_are_not() {
        let line = "CHECK\tjumbo\tfailed\ta frame\\ndid not arrive\r";
        let expected = Outcome {
            check: "jumbo".into(),
            passed: false,
            text: "a frame\ndid not arrive".into(),
        };
        assert_eq!(outcome(line), Some(expected));
        assert_eq!(outcome("[    0.1] CHECK"), None);
    }
}
