//! A real dnsmasq as DHCP server and IPv6 router of a network, and a real client (busybox's udhcpc).

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::{Namespace, PATIENCE, Process};

/// A running dnsmasq, which answers on `eth0` of its namespace. It ends when it is dropped.
#[derive(Debug)]
pub struct Dnsmasq {
    process: Process,
    #[expect(dead_code, reason = "held for its drop: the leases are in it")]
    folder: TempDir,
}

impl Dnsmasq {
    /// A DHCP server for a range of addresses, `10.10.110.100,10.10.110.150,1h`, in the subnet of its own; more options
    /// may follow, such as `--dhcp-host=02:00:00:00:6e:1e,10.10.110.30`.
    pub fn dhcp(namespace: &Namespace, range: &str, more: &[&str]) -> Result<Self> {
        let range = format!("--dhcp-range={range}");
        let options = [&["--no-ping", "--dhcp-authoritative", &range], more].concat();
        Self::start(namespace, &options, "DHCP, sockets bound")
    }

    /// A router that advertises a prefix, `fd00:10:110::`, in which it has an address.
    pub fn router(namespace: &Namespace, prefix: &str) -> Result<Self> {
        let range = format!("--dhcp-range={prefix},ra-only,64");
        Self::start(namespace, &["--enable-ra", &range], "IPv6 router advertisement enabled")
    }

    /// Starts it, and waits until it says that it is ready.
    fn start(namespace: &Namespace, options: &[&str], ready: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = namespace.command("dnsmasq");
        command
            .args(["--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null"])
            .args(["--port=0", "--interface=eth0", "--bind-interfaces", "--log-dhcp"])
            .args(["--user=root", "--group=root", "--pid-file"])
            .arg(format!("--dhcp-leasefile={}", folder.path().join("leases").display()))
            .args(options);
        let process = Process::start(command).context("`cargo xtask setup` installs dnsmasq")?;
        let said = |line: &str| line.contains(ready).then_some(());
        if process.errors().wait_for(0, PATIENCE, said).is_none() {
            bail!("dnsmasq does not get ready: {}", process.errors().text());
        }
        Ok(Self { process, folder })
    }

    /// What it has said so far: every DHCP message that it got and sent, and every router advertisement.
    pub fn log(&self) -> Vec<String> {
        self.process.errors().lines()
    }
}

/// What a client was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its address.
    pub address: String,
    /// The server that gave it.
    pub server: String,
    /// The router that the server names.
    pub router: String,
    /// How long it holds, in seconds.
    pub seconds: u32,
}

/// Takes the address when it is bound, and tells what was given.
const SCRIPT: &str = "#!/bin/sh
if [ \"$1\" = bound ]; then
    ip addr replace \"$ip/$mask\" dev \"$interface\"
    echo \"lease $ip $serverid ${router:-none} $lease\"
fi
";

/// Asks for an address on `eth0`, as a device does that is switched on, and takes it; `None` when nobody offers one within
/// three tries of a second.
pub fn ask_for_address(namespace: &Namespace) -> Result<Option<Lease>> {
    let folder = tempfile::tempdir()?;
    let script = folder.path().join("script");
    fs::write(&script, SCRIPT)?;
    fs::set_permissions(&script, Permissions::from_mode(0o755))?;
    let output = namespace
        .command("udhcpc")
        .args(["-f", "-q", "-n", "-i", "eth0", "-t", "3", "-T", "1", "-s"])
        .arg(&script)
        .stdin(Stdio::null())
        .output()
        .context("cannot run udhcpc: `cargo xtask setup` installs it")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(lease) = text.lines().find_map(|line| line.strip_prefix("lease ")) else {
        if output.status.code() == Some(1) {
            return Ok(None);
        }
        bail!("udhcpc: {}{text}", String::from_utf8_lossy(&output.stderr));
    };
    let words: Vec<_> = lease.split(' ').map(str::to_owned).collect();
    let [address, server, router, seconds] = words.try_into().ok().context("four words of a lease")?;
    Ok(Some(Lease {
        address,
        server,
        router,
        seconds: seconds.parse()?,
    }))
}
