//! A gateway for tests of the controller: veth ports in a namespace, and what can be seen of them.
#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod probe;
pub(crate) mod site;
pub(crate) mod ward;

use std::fs;

use anyhow::{Context as _, Result, ensure};
use enforcer_tests::lab::enforcer::{configure, run};
use enforcer_tests::lab::{Config, Enforcer, Namespace};
#[allow(unused_imports, reason = "each test program uses its part")]
pub(crate) use enforcer_tests::lab::{PATIENCE, eventually};
use tempfile::TempDir;

/// Where links are pinned.
pub(crate) const LINKS: &str = "/sys/fs/bpf/enforcer/v4/links";
/// Where those of the shared tables are.
pub(crate) const MAPS: &str = "/sys/fs/bpf/enforcer/v4/maps";
/// A policy.
pub(crate) const GOOD: &str = "zones:\n  pumps: {vlan: 110, subnets: [10.10.110.0/24], mode: enforce}\n  \
                    servers: {vlan: 20, subnets: [10.20.0.0/16], mode: enforce}\n\
                    rules:\n  pumps-to-servers: {from: pumps, to: servers, services: [tcp/443], action: allow}\n";

/// A gateway with ports `trunk0` and `trunk1`, their other ends `switch0` and `switch1`, and a policy.
pub(crate) struct Gateway {
    pub(crate) namespace: Namespace,
    policy: TempDir,
}

impl Gateway {
    /// Makes it.
    pub(crate) fn new() -> Result<Self> {
        let namespace = Namespace::gateway("gateway")?;
        for number in 0..2 {
            namespace.ip(&format!("link add trunk{number} type veth peer name switch{number}"))?;
            namespace.ip(&format!("link set trunk{number} up"))?;
            namespace.ip(&format!("link set switch{number} up"))?;
        }
        let gateway = Self {
            namespace,
            policy: TempDir::new()?,
        };
        gateway.write_policy(GOOD)?;
        Ok(gateway)
    }

    /// Replaces the policy.
    pub(crate) fn write_policy(&self, text: &str) -> Result<()> {
        Ok(fs::write(self.policy.path().join("policy.yaml"), text)?)
    }

    /// A configuration with these ports.
    pub(crate) fn config(&self, ports: &[&str]) -> Config {
        Config::new(ports, self.policy.path())
    }

    /// Starts an enforcer and waits until it is ready.
    pub(crate) fn start(&self, ports: &[&str]) -> Result<Enforcer<'_>> {
        Enforcer::start(&self.namespace, &self.config(ports))
    }

    /// Runs a command to its end: its exit code, and what it printed on standard output and error.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<(i32, String, String)> {
        let output = run(&self.namespace, arguments)?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let code = output.status.code().context("ended by a signal")?;
        Ok((code, text(output.stdout), text(output.stderr)))
    }

    /// Starts an enforcer that must not come up: its exit code and complaint.
    pub(crate) fn refused(&self, config: &Config) -> Result<(i32, String)> {
        configure(&self.namespace, config)?;
        let (code, _, complaint) = self.run(&["run", "--config", Enforcer::CONFIG])?;
        Ok((code, complaint))
    }

    /// The command with this gateway's configuration.
    pub(crate) fn command(&self, verb: &str) -> Result<(i32, String, String)> {
        self.run(&[verb, "--config", Enforcer::CONFIG])
    }

    /// Number of the XDP program on an interface.
    pub(crate) fn program(&self, interface: &str) -> Result<Option<u32>> {
        let shown = self.tool("ip", &["-o", "link", "show", "dev", interface])?;
        let id = shown
            .split_once("prog/xdp id ")
            .and_then(|(_, rest)| rest.split_whitespace().next());
        Ok(id.map(str::parse).transpose()?)
    }

    /// Whether a feature of an interface is on.
    pub(crate) fn feature(&self, interface: &str, feature: &str) -> Result<bool> {
        let shown = self.tool("ethtool", &["-k", interface])?;
        let line = shown.lines().find(|line| line.trim().starts_with(feature));
        Ok(line
            .with_context(|| format!("no {feature} in {shown}"))?
            .contains(": on"))
    }

    /// What a program prints that runs on the gateway.
    pub(crate) fn tool(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self.namespace.command(program).args(arguments).output()?;
        ensure!(
            output.status.success(),
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The ports whose links are pinned.
    pub(crate) fn pinned(&self) -> Vec<String> {
        self.namespace.enter(|| {
            let entries = fs::read_dir(LINKS).into_iter().flatten().flatten();
            let mut names: Vec<_> = entries
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect();
            names.sort();
            names
        })
    }

    /// No XDP program is on an interface, or will be soon: the kernel frees a link whose pin was removed when it has time.
    pub(crate) fn await_bare(&self, interface: &str) -> Result<()> {
        eventually("the program is gone", || Ok(self.program(interface)?.is_none()))
    }

    /// Nothing of an enforcer is left.
    pub(crate) fn assert_untouched(&self) -> Result<()> {
        for port in ["trunk0", "trunk1"] {
            self.await_bare(port)?;
        }
        assert!(self.feature("switch0", "tx-vlan-offload")?, "the offload is as it was");
        assert_eq!(self.pinned(), [""; 0]);
        Ok(())
    }
}

/// Puts a foreign XDP program on an interface, and returns its number.
pub(crate) fn occupy(gateway: &Gateway, interface: &str) -> Result<u32> {
    let mut ebpf = aya::EbpfLoader::new().load(enforcer::object::OBJECT)?;
    let program: &mut aya::programs::Xdp = ebpf.program_mut("jiffies").context("jiffies")?.try_into()?;
    program.load()?;
    let id = program.info()?.id();
    let attached = gateway.namespace.enter(|| -> Result<()> {
        let link = program.attach(interface, aya::programs::XdpMode::Driver)?;
        // The link has to outlive this function: pinned in the gateway, beside the enforcer's directory.
        let link: aya::programs::links::FdLink = program.take_link(link)?.try_into()?;
        link.pin("/sys/fs/bpf/foreign")?;
        Ok(())
    });
    attached.map(|()| id)
}
