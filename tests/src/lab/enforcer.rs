//! The enforcer's own binary, running on a gateway.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;

use super::http::HttpResponse;
use super::wait::PATIENCE;
use super::{Metrics, Namespace, Offload, Process, Signal, http_get, set_offload};

/// Where the enforcer's metrics are, in the gateway's own network namespace.
const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9469);

/// The folder of this repository.
pub fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// Cargo's target folder, in which this program is.
fn target() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let is_profile = |folder: &&Path| folder.ends_with("debug") || folder.ends_with("release");
    let target = own.ancestors().find(is_profile).and_then(Path::parent);
    target
        .map(Path::to_owned)
        .context("this program is not in a target folder of cargo")
}

/// The newest `enforcer` that cargo has built, or the one that `ENFORCER_BINARY` names.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("ENFORCER_BINARY") {
        return Ok(path.into());
    }
    let target = target()?;
    let built = ["release", "debug"].map(|profile| target.join(profile).join("enforcer"));
    let age = |path: &PathBuf| fs::metadata(path).and_then(|data| data.modified()).ok();
    let newest = built.iter().filter_map(|path| Some((age(path)?, path))).max();
    newest
        .map(|(_, path)| path.clone())
        .with_context(|| format!("no enforcer in {}: run `cargo xtask build`", target.display()))
}

/// A configuration of the enforcer.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its ports.
    pub ports: Vec<String>,
    /// The policy: a file or a folder.
    pub policy: PathBuf,
    /// More lines for the file as a whole.
    pub settings: String,
    /// More lines for each port.
    pub port_settings: String,
    /// More lines for single ports, by their names.
    pub own_settings: BTreeMap<String, String>,
}

impl Config {
    /// Enforces the policy of a file or folder on these ports.
    pub fn new(ports: &[&str], policy: impl Into<PathBuf>) -> Self {
        Self {
            ports: ports.iter().map(|&port| port.to_owned()).collect(),
            policy: policy.into(),
            settings: String::new(),
            port_settings: String::new(),
            own_settings: BTreeMap::new(),
        }
    }

    /// The file that says so. What it names is in the gateway's private /run, all but the policy.
    fn text(&self) -> String {
        let mut lines = vec![
            format!("policy = ['{}']", self.policy.display()),
            "state_directory = '/run/enforcer-state'".to_owned(),
            self.settings.clone(),
            format!("metrics.listen = '{METRICS}'"),
        ];
        for port in &self.ports {
            lines.extend([
                "[[port]]".to_owned(),
                format!("interface = '{port}'"),
                self.port_settings.clone(),
                self.own_settings.get(port).cloned().unwrap_or_default(),
            ]);
        }
        lines.join("\n")
    }
}

/// An enforcer that runs on a gateway.
#[derive(Debug)]
pub struct Enforcer<'a> {
    gateway: &'a Namespace,
    process: Process,
}

impl<'a> Enforcer<'a> {
    /// The configuration file, in the gateway's private /run.
    pub const CONFIG: &'static str = "/run/enforcer.toml";
    /// The metric that counts frames by port and verdict.
    pub const PORT_FRAMES: &'static str = "enforcer_frames_total";
    /// The metric that counts refused frames by zone, reason and verdict.
    pub const DROPPED_FRAMES: &'static str = "enforcer_drops_total";
    /// The metric that counts frames by rule.
    pub const RULE_FRAMES: &'static str = "enforcer_rule_hits_total";
    /// The metric with the number of the policy generation.
    pub const GENERATION: &'static str = "enforcer_policy_generation";

    /// Writes the configuration, starts the enforcer and waits until it is ready.
    pub fn start(gateway: &'a Namespace, config: &Config) -> Result<Self> {
        configure(gateway, config)?;
        let mut enforcer = Self::spawn(gateway)?;
        enforcer.wait_until_ready()?;
        // XDP on a veth switches GRO on, and a kernel with 802.1Q then merges the segments that the router forwards.
        let split = || {
            config
                .ports
                .iter()
                .try_for_each(|port| set_offload(port, Offload::Merge, false))
        };
        gateway.enter(split).context("cannot switch off GRO")?;
        Ok(enforcer)
    }

    /// Starts the enforcer with the configuration that is there, and does not wait.
    pub fn spawn(gateway: &'a Namespace) -> Result<Self> {
        let mut command = gateway.command(binary()?);
        command.args(["run", "--config", Self::CONFIG]);
        Ok(Self {
            gateway,
            process: Process::start(command)?,
        })
    }

    /// Waits until it says that it enforces a policy.
    pub fn wait_until_ready(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if !self.process.is_running() {
                let status = self.process.wait(PATIENCE)?;
                bail!("the enforcer ended with {status}:\n{}", self.process.errors().text());
            }
            if self.get("/readyz").is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!(
            "the enforcer is not ready after {PATIENCE:?}:\n{}",
            self.process.errors().text()
        )
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Gets a path from its HTTP server.
    pub fn get(&self, path: &str) -> std::io::Result<HttpResponse> {
        self.gateway.enter(|| http_get(METRICS, path))
    }

    /// What its metrics page says now.
    pub fn metrics(&self) -> Result<Metrics> {
        let answer = self.get("/metrics").context("cannot read the metrics")?;
        ensure!(
            answer.status == 200,
            "the metrics page answers {}: {}",
            answer.status,
            answer.body
        );
        Ok(Metrics::parse(&answer.body))
    }

    /// A counter, summed over all series that have these labels.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> Result<u64> {
        let sum = self.metrics()?.sum(name, labels);
        // Below 2^53 every count is a number of its own.
        #[expect(clippy::cast_sign_loss, reason = "counters are not negative")]
        let sum = sum as u64;
        Ok(sum)
    }

    /// Frames that were dropped for a reason, all zones together.
    pub fn drops(&self, reason: &str) -> Result<u64> {
        self.count(Self::DROPPED_FRAMES, &[("reason", reason), ("verdict", "drop")])
    }

    /// Holds the counters to this: no frame was dropped, or would have been.
    pub fn assert_no_drops(&self) -> Result<()> {
        let metrics = self.metrics()?;
        let refused: Vec<_> = metrics
            .all(Self::DROPPED_FRAMES)
            .filter(|sample| sample.value > 0.0)
            .collect();
        ensure!(refused.is_empty(), "refused: {refused:?}");
        Ok(())
    }

    /// The number of the policy generation that it enforces.
    pub fn generation(&self) -> Result<f64> {
        Ok(self.metrics()?.sum(Self::GENERATION, &[]))
    }

    /// Makes it read its policy again by signal, and waits until the next generation is in force.
    pub fn reload(&self) -> Result<()> {
        let before = self.generation()?;
        self.process.signal(Signal::Hangup)?;
        let end = Instant::now() + PATIENCE;
        while self.generation()? <= before {
            if Instant::now() > end {
                bail!(
                    "no new generation after {PATIENCE:?}:\n{}",
                    self.process.errors().text()
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Ends it with SIGKILL.
    pub fn kill(mut self) -> Result<()> {
        self.process.signal(Signal::Kill)?;
        self.process.wait(PATIENCE).map(|_| ())
    }

    /// How many lines of events there are.
    pub fn event_count(&self) -> usize {
        self.process.output().lines().len()
    }

    /// The first event that `wanted` accepts, from line `from` on.
    pub fn wait_for_event(&self, from: usize, limit: Duration, wanted: impl Fn(&Event) -> bool) -> Option<Event> {
        let event = |line: &str| Event::parse(line).filter(&wanted);
        self.process.output().wait_for(from, limit, event)
    }
}

/// Writes the configuration into the gateway's private /run.
pub fn configure(gateway: &Namespace, config: &Config) -> Result<()> {
    let write = || fs::write(Enforcer::CONFIG, config.text());
    gateway.enter(write).context("cannot write the configuration")
}

/// Runs a command of the enforcer to its end on a gateway.
pub fn run(gateway: &Namespace, arguments: &[&str]) -> Result<Output> {
    gateway
        .command(binary()?)
        .args(arguments)
        .output()
        .map_err(|error| anyhow!("cannot run the enforcer: {error}"))
}

/// A line of the event log.
#[derive(Clone, Debug)]
pub struct Event(Value);

impl Event {
    /// Reads a line; `None` for other lines.
    pub fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        value.get("verdict").is_some().then_some(Self(value))
    }

    fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// `pass`, `drop`, `would-drop`.
    pub fn verdict(&self) -> &str {
        self.text("/verdict")
    }

    /// The name of the reason.
    pub fn reason(&self) -> &str {
        self.text("/reason")
    }

    /// The name of the rule.
    pub fn rule(&self) -> Option<&str> {
        self.0.pointer("/rule").and_then(Value::as_str)
    }

    /// The sender's address.
    pub fn source_address(&self) -> &str {
        self.text("/source/address")
    }

    /// The sender's hardware address.
    pub fn source_mac(&self) -> &str {
        self.text("/source/mac")
    }

    /// The receiver's address.
    pub fn destination_address(&self) -> &str {
        self.text("/destination/address")
    }
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}
