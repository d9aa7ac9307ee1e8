//! bpfilter: a daemon that makes an XDP program of a rule set.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use aya::programs::Xdp;
use aya_obj::programs::XdpAttachType;
use enforcer_tests::lab::{Namespace, Process, eventually};

/// Addresses of the rule set.
const ADDRESSES: u32 = 1_000;
/// Where the daemon pins the program of chain `bench`.
const PROGRAM: &str = "/sys/fs/bpf/bpfilter/bench/bf_prog";

/// A running daemon, and its program.
pub(super) struct Bpfilter {
    program: Xdp,
    _daemon: Process,
    _place: Namespace,
}

impl Bpfilter {
    /// Starts the daemon that was unpacked in `folder`, in namespaces of its own, and gives it `ADDRESSES` sources of which
    /// each may send to TCP port 443.
    pub(super) fn load(folder: Option<&Path>) -> Result<Self> {
        let folder = folder.context("it is not here: `cargo xtask bench` fetches it from Debian's unstable release")?;
        let place = Namespace::gateway("bpfilter")?;
        let mut daemon = Process::start(command(&place, folder, "bpfilter"))?;
        let rules = format!(
            "chain bench BF_HOOK_XDP DROP rule (ip4.saddr, tcp.dport) in {{{}}} ACCEPT",
            sources()
                .map(|address| format!("{address},443"))
                .collect::<Vec<_>>()
                .join(";")
        );
        let mut complaint = String::new();
        eventually("bpfilter takes a rule set", || {
            ensure!(daemon.is_running(), "the daemon ended: {}", daemon.errors().text());
            let output = command(&place, folder, "bfcli")
                .args(["chain", "load", "--from-str", &rules])
                .output()?;
            complaint = String::from_utf8_lossy(&output.stderr).into_owned();
            Ok(output.status.success())
        })
        .with_context(|| complaint.clone())?;
        let program = place.enter(|| {
            Xdp::from_pin(PROGRAM, XdpAttachType::Interface).with_context(|| format!("bpfilter pinned no {PROGRAM}"))
        })?;
        Ok(Self {
            program,
            _daemon: daemon,
            _place: place,
        })
    }

    pub(super) fn program(&self) -> &Xdp {
        &self.program
    }
}

/// From 172.16.0.0 on.
fn sources() -> impl Iterator<Item = Ipv4Addr> {
    (0..ADDRESSES).map(|number| (0xac10_0000 + number).into())
}

fn command(place: &Namespace, folder: &Path, program: &str) -> Command {
    let mut command = place.command(folder.join("usr/sbin").join(program));
    command.env("LD_LIBRARY_PATH", folder.join("usr/lib/x86_64-linux-gnu"));
    command
}
