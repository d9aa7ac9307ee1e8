//! `enforcer run` and the commands around it, against real interfaces: what goes wrong is said, and leaves nothing
//! half-attached. Needs root.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use enforcer_tests::lab::enforcer::{binary, configure, repository, run};
use enforcer_tests::lab::{Config, Enforcer, Namespace, PacketSocket, Signal};
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);
const LINKS: &str = "/sys/fs/bpf/enforcer/v1/links";
const GOOD: &str = "zones:\n  pumps: {vlan: 110, subnets: [10.10.110.0/24], mode: enforce}\n  \
                    servers: {vlan: 20, subnets: [10.20.0.0/16], mode: enforce}\n\
                    rules:\n  pumps-to-servers: {from: pumps, to: servers, services: [tcp/443], action: allow}\n";

/// A gateway with ports `trunk0` and `trunk1`, their other ends `switch0` and `switch1`, and a policy.
struct Gateway {
    namespace: Namespace,
    policy: TempDir,
}

impl Gateway {
    fn new() -> Result<Self> {
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

    fn write_policy(&self, text: &str) -> Result<()> {
        Ok(fs::write(self.policy.path().join("policy.yaml"), text)?)
    }

    fn config(&self, ports: &[&str]) -> Config {
        Config::new(ports, self.policy.path())
    }

    fn start(&self, ports: &[&str]) -> Result<Enforcer<'_>> {
        Enforcer::start(&self.namespace, &self.config(ports))
    }

    /// Runs a command to its end: its exit code, and what it printed on standard output and error.
    fn run(&self, arguments: &[&str]) -> Result<(i32, String, String)> {
        let output = run(&self.namespace, arguments)?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let code = output.status.code().context("ended by a signal")?;
        Ok((code, text(output.stdout), text(output.stderr)))
    }

    /// Starts an enforcer that must not come up: its exit code and complaint.
    fn refused(&self, config: &Config) -> Result<(i32, String)> {
        configure(&self.namespace, config)?;
        let (code, _, complaint) = self.run(&["run", "--config", Enforcer::CONFIG])?;
        Ok((code, complaint))
    }

    /// The command with this gateway's configuration.
    fn command(&self, verb: &str) -> Result<(i32, String, String)> {
        self.run(&[verb, "--config", Enforcer::CONFIG])
    }

    /// Number of the XDP program on an interface.
    fn program(&self, interface: &str) -> Result<Option<u32>> {
        let shown = self.tool("ip", &["-o", "link", "show", "dev", interface])?;
        let id = shown
            .split_once("prog/xdp id ")
            .and_then(|(_, rest)| rest.split_whitespace().next());
        Ok(id.map(str::parse).transpose()?)
    }

    /// Whether a feature of an interface is on.
    fn feature(&self, interface: &str, feature: &str) -> Result<bool> {
        let shown = self.tool("ethtool", &["-k", interface])?;
        let line = shown.lines().find(|line| line.trim().starts_with(feature));
        Ok(line
            .with_context(|| format!("no {feature} in {shown}"))?
            .contains(": on"))
    }

    fn tool(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self.namespace.command(program).args(arguments).output()?;
        ensure!(
            output.status.success(),
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The ports whose links are pinned.
    fn pinned(&self) -> Vec<String> {
        self.namespace.enter(|| {
            let entries = fs::read_dir(LINKS).into_iter().flatten().flatten();
            let mut names: Vec<_> = entries
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect();
            names.sort();
            names
        })
    }

    /// Nothing of an enforcer is left.
    fn assert_untouched(&self) -> Result<()> {
        for port in ["trunk0", "trunk1"] {
            assert_eq!(self.program(port)?, None, "{port}");
        }
        assert!(self.feature("switch0", "tx-vlan-offload")?, "the offload is as it was");
        assert_eq!(self.pinned(), [""; 0]);
        Ok(())
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !holds()? {
        ensure!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[test]
fn attach_reload_and_detach_leave_the_machine_as_it_was() -> Result<()> {
    let gateway = Gateway::new()?;
    assert!(
        gateway.feature("switch0", "tx-vlan-offload")?,
        "a veth hides tags by default"
    );
    let enforcer = gateway.start(&["trunk0", "trunk1"])?;
    let before = [gateway.program("trunk0")?, gateway.program("trunk1")?];
    assert!(
        before[0].is_some() && before[0] == before[1],
        "{before:?}: one program on both ports"
    );
    assert!(!gateway.feature("switch0", "tx-vlan-offload")?);
    assert_eq!(gateway.pinned(), ["trunk0", "trunk1"]);

    let (code, _, text) = gateway.command("reload")?;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("generation 2"), "{text}");
    let after = [gateway.program("trunk0")?, gateway.program("trunk1")?];
    assert!(
        after[0] != before[0] && after[0] == after[1],
        "{after:?}: replaced on both"
    );

    // While it runs, `detach` tells it to.
    let (code, _, text) = gateway.command("detach")?;
    assert_eq!(
        (code, text.contains("detached from trunk0, trunk1")),
        (0, true),
        "{text}"
    );
    let mut enforcer = enforcer;
    assert!(enforcer.process().wait(PATIENCE)?.success());
    gateway.assert_untouched()
}

#[test]
fn the_status_is_for_people_and_programs() -> Result<()> {
    let gateway = Gateway::new()?;
    configure(&gateway.namespace, &gateway.config(&["trunk0"]))?;
    let (code, _, text) = gateway.command("status")?;
    assert_eq!((code, text.contains("no enforcer runs here")), (2, true), "{text}");

    let _enforcer = gateway.start(&["trunk0"])?;
    let (code, text, _) = gateway.command("status")?;
    assert_eq!(
        (code, text.contains("port trunk0: attached, native")),
        (0, true),
        "{text}"
    );
    let (_, json, _) = gateway.run(&["status", "--config", Enforcer::CONFIG, "--output", "json"])?;
    let status: Value = serde_json::from_str(&json)?;
    assert_eq!(status["schema_version"], 1);
    assert_eq!(status["generation"]["number"], 1);
    assert_eq!(status["ready"], true);
    Ok(())
}

#[test]
fn a_bad_policy_leaves_the_running_one_in_force() -> Result<()> {
    let gateway = Gateway::new()?;
    let enforcer = gateway.start(&["trunk0"])?;
    let before = gateway.program("trunk0")?;
    gateway.write_policy(&GOOD.replace("servers, services", "nobody, services"))?;
    let (code, _, text) = gateway.command("reload")?;
    assert_eq!((code, text.contains("nobody")), (1, true), "{text}");
    assert_eq!(gateway.program("trunk0")?, before);
    let ready = enforcer.get("/readyz")?;
    assert_eq!(
        (ready.status, ready.body.contains("last reload failed")),
        (503, true),
        "{}",
        ready.body
    );
    let metrics = enforcer.metrics()?;
    assert!(metrics.sum("enforcer_last_reload_successful", &[]).abs() < 0.5);
    assert!((metrics.sum("enforcer_reloads_total", &[("result", "failure")]) - 1.0).abs() < 0.5);

    gateway.write_policy(GOOD)?;
    enforcer.reload()?;
    assert_eq!(enforcer.get("/readyz")?.status, 200);
    Ok(())
}

#[test]
fn a_killed_controller_leaves_enforcement_that_the_next_one_adopts_or_detach_removes() -> Result<()> {
    let gateway = Gateway::new()?;
    gateway.start(&["trunk0"])?.kill()?;
    let left = gateway.program("trunk0")?;
    assert!(left.is_some());
    let enforcer = gateway.start(&["trunk0"])?;
    let adopted = gateway.program("trunk0")?;
    assert!(
        adopted.is_some() && adopted != left,
        "the new policy replaced the one that was left"
    );
    assert!((enforcer.generation()? - 2.0).abs() < 0.1, "generations go on counting");
    enforcer.kill()?;
    let (code, _, text) = gateway.command("detach")?;
    assert_eq!(code, 0, "{text}");
    gateway.assert_untouched()?;
    assert!(gateway.command("detach")?.2.contains("nothing was attached"));
    Ok(())
}

#[test]
fn the_end_by_signal_keeps_or_ends_enforcement_as_configured() -> Result<()> {
    let gateway = Gateway::new()?;
    let mut enforcer = gateway.start(&["trunk0"])?;
    enforcer.process().signal(Signal::Terminate)?;
    assert!(enforcer.process().wait(PATIENCE)?.success());
    assert!(gateway.program("trunk0")?.is_some());

    let mut config = gateway.config(&["trunk0"]);
    config.settings = "keep_enforcing_on_exit = false".into();
    let mut enforcer = Enforcer::start(&gateway.namespace, &config)?;
    enforcer.process().signal(Signal::Terminate)?;
    assert!(enforcer.process().wait(PATIENCE)?.success());
    gateway.assert_untouched()
}

#[test]
fn a_missing_interface_is_named() -> Result<()> {
    let gateway = Gateway::new()?;
    let (code, text) = gateway.refused(&gateway.config(&["trunk0", "trunk7"]))?;
    assert_eq!(
        (code, text.contains("there is no interface trunk7")),
        (2, true),
        "{text}"
    );
    gateway.assert_untouched()
}

/// Puts a foreign XDP program on an interface, and returns its number.
fn occupy(gateway: &Gateway, interface: &str) -> Result<u32> {
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

#[test]
fn an_occupied_hook_is_refused_and_no_port_is_half_attached() -> Result<()> {
    let gateway = Gateway::new()?;
    let foreign = occupy(&gateway, "trunk1")?;
    let (code, text) = gateway.refused(&gateway.config(&["trunk0", "trunk1"]))?;
    assert_eq!(code, 2, "{text}");
    assert!(
        text.contains(&format!("trunk1 already runs XDP program {foreign}")),
        "{text}"
    );
    assert_eq!(gateway.program("trunk0")?, None, "rolled back");
    assert_eq!(gateway.program("trunk1")?, Some(foreign), "not ours to remove");
    assert_eq!(gateway.pinned(), [""; 0]);
    assert!(gateway.feature("switch0", "tx-vlan-offload")?);
    Ok(())
}

#[test]
fn a_failed_start_puts_back_what_an_earlier_controller_left() -> Result<()> {
    let gateway = Gateway::new()?;
    gateway.start(&["trunk0"])?.kill()?;
    let left = gateway.program("trunk0")?;
    occupy(&gateway, "trunk1")?;
    let (code, text) = gateway.refused(&gateway.config(&["trunk0", "trunk1"]))?;
    assert_eq!((code, text.contains("trunk1 already runs")), (2, true), "{text}");
    assert_eq!(gateway.program("trunk0")?, left, "the earlier program runs again");
    assert!(
        !gateway.feature("switch0", "tx-vlan-offload")?,
        "and still needs its tags"
    );
    Ok(())
}

#[test]
fn a_port_in_use_is_found_before_anything_is_attached() -> Result<()> {
    let gateway = Gateway::new()?;
    let _taken = gateway
        .namespace
        .enter(|| std::net::TcpListener::bind("127.0.0.1:9469"))?;
    let (code, text) = gateway.refused(&gateway.config(&["trunk0"]))?;
    assert_eq!(
        (code, text.contains("cannot serve metrics at 127.0.0.1:9469")),
        (2, true),
        "{text}"
    );
    gateway.assert_untouched()
}

#[test]
fn bad_configurations_and_policies_are_refused_with_their_place() -> Result<()> {
    let gateway = Gateway::new()?;
    let mut config = gateway.config(&["trunk0"]);
    config.settings = "keep_enforcing = true".into();
    let (code, text) = gateway.refused(&config)?;
    assert_eq!((code, text.contains("enforcer.toml:")), (1, true), "{text}");

    gateway.write_policy("zones: {a: {vlan: 1, subnets: [10.0.0.0/8]}, b: {vlan: 2, subnets: [10.0.0.0/8]}}\n")?;
    let (code, text) = gateway.refused(&gateway.config(&["trunk0"]))?;
    assert_eq!((code, text.contains("policy.yaml:1:")), (1, true), "{text}");
    gateway.assert_untouched()
}

#[test]
fn without_capabilities_it_says_which() -> Result<()> {
    let gateway = Gateway::new()?;
    configure(&gateway.namespace, &gateway.config(&["trunk0"]))?;
    let binary = binary()?;
    let output = gateway
        .namespace
        .command("setpriv")
        .args(["--bounding-set=-all", "--inh-caps=-all"])
        .arg(binary)
        .args(["run", "--config", Enforcer::CONFIG])
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("CAP_BPF") && text.contains("not permitted"), "{text}");
    gateway.assert_untouched()
}

#[test]
fn a_second_controller_is_refused() -> Result<()> {
    let gateway = Gateway::new()?;
    let enforcer = gateway.start(&["trunk0"])?;
    let (code, _, text) = gateway.command("run")?;
    assert_eq!(
        (code, text.contains("another enforcer is at work")),
        (2, true),
        "{text}"
    );
    assert_eq!(enforcer.get("/readyz")?.status, 200);
    Ok(())
}

#[test]
fn an_interface_that_is_made_anew_gets_the_program_again() -> Result<()> {
    let gateway = Gateway::new()?;
    let enforcer = gateway.start(&["trunk0", "trunk1"])?;
    gateway.namespace.ip("link del trunk0")?;
    eventually("readiness notices", || Ok(enforcer.get("/readyz")?.status == 503))?;
    gateway.namespace.ip("link add trunk0 type veth peer name switch0")?;
    eventually("ready again", || Ok(enforcer.get("/readyz")?.status == 200))?;
    assert!(gateway.program("trunk0")?.is_some());
    assert_eq!(gateway.program("trunk0")?, gateway.program("trunk1")?);
    assert!(!gateway.feature("switch0", "tx-vlan-offload")?);
    Ok(())
}

#[test]
fn an_offload_that_is_switched_on_while_it_runs_is_switched_off_again() -> Result<()> {
    let gateway = Gateway::new()?;
    let _enforcer = gateway.start(&["trunk0"])?;
    gateway.tool("ethtool", &["-K", "switch0", "txvlan", "on"])?;
    eventually("tags are visible again", || {
        Ok(!gateway.feature("switch0", "tx-vlan-offload")?)
    })
}

#[test]
fn a_port_that_is_not_configured_any_more_is_detached_at_the_next_start() -> Result<()> {
    let gateway = Gateway::new()?;
    gateway.start(&["trunk0", "trunk1"])?.kill()?;
    let _enforcer = gateway.start(&["trunk1"])?;
    assert_eq!(gateway.program("trunk0")?, None);
    assert_eq!(gateway.pinned(), ["trunk1"]);
    Ok(())
}

#[test]
fn another_mode_for_a_port_that_runs_is_refused_and_generic_works_from_the_start() -> Result<()> {
    let gateway = Gateway::new()?;
    gateway.start(&["trunk0"])?.kill()?;
    let mut config = gateway.config(&["trunk0"]);
    config.port_settings = "mode = 'generic'".into();
    let (code, text) = gateway.refused(&config)?;
    assert_eq!(
        (code, text.contains("native mode and is configured for generic mode")),
        (2, true),
        "{text}"
    );
    assert_eq!(gateway.command("detach")?.0, 0);
    let enforcer = Enforcer::start(&gateway.namespace, &config)?;
    let mode = enforcer
        .metrics()?
        .sum("enforcer_xdp_mode", &[("port", "trunk0"), ("mode", "generic")]);
    assert!((mode - 1.0).abs() < 0.1);
    Ok(())
}

#[test]
fn a_missing_bpffs_is_mounted() -> Result<()> {
    let gateway = Gateway::new()?;
    let mut config = gateway.config(&["trunk0"]);
    config.settings = "pin_directory = '/run/pins/enforcer'".into();
    let enforcer = Enforcer::start(&gateway.namespace, &config)?;
    let pinned = || {
        gateway
            .namespace
            .enter(|| Path::new("/run/pins/enforcer/v1/links/trunk0").exists())
    };
    assert!(pinned());
    drop(enforcer);
    assert!(
        pinned() && gateway.program("trunk0")?.is_some(),
        "enforcement outlives the controller"
    );
    assert_eq!(gateway.command("detach")?.0, 0);
    assert!(!pinned());
    gateway.assert_untouched()
}

#[test]
fn every_metric_is_documented_and_every_documented_metric_exists() -> Result<()> {
    let gateway = Gateway::new()?;
    let enforcer = gateway.start(&["trunk0"])?;
    // So that a drop is counted.
    let switch = gateway.namespace.enter(|| PacketSocket::open("switch0"))?;
    switch.send(&[0xff; 64])?;
    eventually("the drop is counted", || {
        Ok(enforcer.metrics()?.sum("enforcer_drops_total", &[]) > 0.5)
    })?;
    let page = enforcer.get("/metrics")?.body;
    let exported: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let text = fs::read_to_string(repository().join("docs/operations.md"))?;
    let table = text
        .split("## Metrics")
        .nth(1)
        .and_then(|rest| rest.split("`/healthz`").next())
        .context("the table")?;
    let documented: BTreeSet<&str> = table.split('`').filter(|word| word.starts_with("enforcer_")).collect();
    assert_eq!(exported, documented);
    Ok(())
}
