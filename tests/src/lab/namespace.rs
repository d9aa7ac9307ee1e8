//! Network namespaces without names.

use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

use super::sys::{self, Mount};

/// A network namespace, with its loopback interface up and IPv6 off.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    network: OwnedFd,
    mounts: Option<OwnedFd>,
}

/// What the gateway sees instead of the machine's own: its interfaces in /sys, a BPF file system and a runtime folder.
const GATEWAY_MOUNTS: [Mount; 3] = [
    Mount {
        kind: "sysfs",
        place: "/sys",
    },
    Mount {
        kind: "bpf",
        place: "/sys/fs/bpf",
    },
    Mount {
        kind: "tmpfs",
        place: "/run",
    },
];

impl Namespace {
    /// A new network namespace; the name is only for messages.
    pub fn new(name: &str) -> Result<Self> {
        Self::with_mounts(name, None)
    }

    /// A new network namespace with a mount namespace in which /sys shows it, /sys/fs/bpf is a BPF file system of its
    /// own and /run is empty.
    pub fn gateway(name: &str) -> Result<Self> {
        Self::with_mounts(name, Some(&GATEWAY_MOUNTS))
    }

    fn with_mounts(name: &str, mounts: Option<&[Mount]>) -> Result<Self> {
        let made = thread::scope(|scope| {
            scope
                .spawn(|| -> Result<_> {
                    let network = sys::new_network()?;
                    let mounts = mounts.map(sys::new_mounts).transpose()?;
                    // Each interface otherwise announces itself by multicast, which would be counted as refused.
                    fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1")?;
                    fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1")?;
                    Ok((network, mounts))
                })
                .join()
                .expect("making a namespace does not panic")
        });
        let (network, mounts) = made.with_context(|| {
            format!("cannot make network namespace {name}: the lab wants to be root (CAP_SYS_ADMIN)")
        })?;
        let namespace = Self {
            name: name.to_owned(),
            network,
            mounts,
        };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a closure in a thread inside of the namespace. Sockets and files that it opens stay there for good.
    ///
    /// # Panics
    /// When the closure panics, or the namespace cannot be entered.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            sys::enter(self.network.as_fd(), self.mounts.as_ref().map(AsFd::as_fd))
                .unwrap_or_else(|error| panic!("cannot enter namespace {}: {error}", self.name));
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// A command that will run inside of the namespace. It dies with the thread that starts it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        sys::in_namespaces(
            &mut command,
            self.network.as_fd(),
            self.mounts.as_ref().map(AsFd::as_fd),
        );
        command
    }

    /// Runs `ip` commands, one a line, as one batch.
    pub fn ip(&self, commands: &str) -> Result<()> {
        let mut child = self
            .command("ip")
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run `ip`: install iproute2")?;
        let mut input = child.stdin.take().context("`ip` has no standard input")?;
        input.write_all(commands.as_bytes())?;
        input.write_all(b"\n")?;
        drop(input);
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            bail!(
                "`ip` failed in namespace {}: {}\ncommands:\n{commands}",
                self.name,
                message.trim()
            );
        }
        Ok(())
    }

    /// A path by which `ip` finds the namespace while this process lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.network.as_raw_fd())
    }
}
