//! The text of `enforcer.toml`, and the way from it to a checked [`Config`].

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};

use enforcer_common::abi::control;
use serde::Deserialize;
use toml::Spanned;

use super::management::ManagementFile;
use super::pairs::{self, Wish};
use super::tables::TablesFile;
use super::timeouts::TimeoutsFile;
use super::{Config, EventOutput, Events, PortConfig, XdpMode};
use crate::diagnostics::{Diagnostic, Location, quote};
use crate::kernel::VlanSet;
use crate::policy::parts;
use crate::policy::valid::OnNoPolicy;

/// `IFNAMSIZ` with its terminating zero.
const INTERFACE_NAME_MAX: usize = 15;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    policy: Spanned<Vec<Spanned<String>>>,
    state_directory: Option<Spanned<String>>,
    runtime_directory: Option<Spanned<String>>,
    pin_directory: Option<Spanned<String>>,
    keep_enforcing_on_exit: Option<bool>,
    on_no_policy: Option<Spanned<String>>,
    #[serde(default)]
    metrics: MetricsFile,
    #[serde(default)]
    events: EventsFile,
    #[serde(default)]
    tables: TablesFile,
    #[serde(default)]
    timeouts: TimeoutsFile,
    #[serde(default)]
    management: Vec<ManagementFile>,
    port: Option<Vec<PortFile>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct MetricsFile {
    listen: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct EventsFile {
    output: Option<Spanned<String>>,
    path: Option<Spanned<String>>,
    rate: Option<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PortFile {
    interface: Spanned<String>,
    vlans: Option<Vec<Spanned<VlanText>>>,
    native_vlan: Option<Spanned<u16>>,
    mode: Option<Spanned<String>>,
    monitor: Option<bool>,
    control: Option<Vec<Spanned<String>>>,
    pair: Option<Spanned<String>>,
    uplink: Option<Spanned<bool>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum VlanText {
    Id(u16),
    Range(String),
}

/// The findings so far.
pub(super) struct Check<'a> {
    folder: &'a Path,
    pub(super) findings: Vec<Diagnostic>,
}

/// Reads and checks the text; relative paths in it start at `folder`.
pub(super) fn read(text: &str, folder: &Path) -> Result<Config, Vec<Diagnostic>> {
    let file: ConfigFile = toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        vec![Diagnostic::at(location(span), error.message())]
    })?;
    let mut check = Check {
        folder,
        findings: Vec::new(),
    };
    let config = check.config(file);
    if check.findings.is_empty() {
        Ok(config)
    } else {
        Err(check.findings)
    }
}

pub(super) fn location(span: Range<usize>) -> Location {
    Location {
        file: 0,
        start: span.start as u32,
        end: span.end as u32,
    }
}

impl Check<'_> {
    fn config(&mut self, file: ConfigFile) -> Config {
        if file.policy.get_ref().is_empty() {
            self.wrong(
                &file.policy,
                "no policy is named",
                "for example: policy = [\"/etc/enforcer/policy\"]",
            );
        }
        let ports = self.ports(file.port.unwrap_or_default());
        Config {
            policy: file
                .policy
                .into_inner()
                .into_iter()
                .map(|path| self.path(path))
                .collect(),
            state_directory: self.path_or(file.state_directory, "/var/lib/enforcer"),
            runtime_directory: self.path_or(file.runtime_directory, "/run/enforcer"),
            pin_directory: self.path_or(file.pin_directory, "/sys/fs/bpf/enforcer"),
            keep_enforcing_on_exit: file.keep_enforcing_on_exit.unwrap_or(true),
            on_no_policy: self.on_no_policy(file.on_no_policy.as_ref()),
            metrics: self.metrics(file.metrics),
            events: self.events(file.events),
            sizes: self.sizes(&file.tables),
            idle_seconds: self.idle_seconds(&file.timeouts),
            management: self.management(&file.management, &ports),
            ports,
        }
    }

    pub(super) fn wrong<T>(&mut self, at: &Spanned<T>, message: impl Into<String>, help: &str) {
        let finding = Diagnostic::at(location(at.span()), message);
        self.findings.push(finding.help(help));
    }

    fn path(&mut self, path: Spanned<String>) -> PathBuf {
        if path.get_ref().is_empty() {
            self.wrong(&path, "an empty path", "name a file or folder");
        }
        self.folder.join(path.into_inner())
    }

    fn path_or(&mut self, path: Option<Spanned<String>>, default: &str) -> PathBuf {
        path.map_or_else(|| default.into(), |path| self.path(path))
    }

    fn on_no_policy(&mut self, word: Option<&Spanned<String>>) -> OnNoPolicy {
        let read = |word: &Spanned<String>| parts::on_no_policy(word.get_ref(), location(word.span()));
        word.map_or(Ok(OnNoPolicy::Pass), read).unwrap_or_else(|finding| {
            self.findings.push(finding);
            OnNoPolicy::Pass
        })
    }

    fn metrics(&mut self, file: MetricsFile) -> Option<SocketAddr> {
        let Some(listen) = file.listen else {
            return Some((Ipv4Addr::LOCALHOST, 9469).into());
        };
        if listen.get_ref() == "none" {
            return None;
        }
        let address = listen.get_ref().parse();
        if address.is_err() {
            let message = format!("{} is not an address and port", quote(listen.get_ref()));
            self.wrong(
                &listen,
                message,
                "for example \"127.0.0.1:9469\" or \"[::1]:9469\"; \"none\" serves no metrics",
            );
        }
        address.ok()
    }

    fn events(&mut self, file: EventsFile) -> Events {
        let rate = match &file.rate {
            Some(rate) if !(1..=100_000).contains(rate.get_ref()) => {
                self.wrong(
                    rate,
                    "not a rate",
                    "1 to 100000 events a second; output = \"none\" for no events",
                );
                1
            }
            rate => rate.as_ref().map_or(20, |rate| *rate.get_ref()),
        };
        Events {
            output: self.event_output(file.output.as_ref(), file.path),
            rate,
        }
    }

    fn event_output(&mut self, output: Option<&Spanned<String>>, path: Option<Spanned<String>>) -> EventOutput {
        const HELP: &str = "\"stdout\", \"none\", or \"file\" with a path";
        let kind = output.map(|output| output.get_ref().as_str());
        match (kind, path) {
            (Some("file") | None, Some(path)) => return EventOutput::File(self.path(path)),
            (Some("stdout") | None, None) => return EventOutput::Stdout,
            (Some("none"), None) => {}
            (Some("stdout" | "none"), Some(path)) => self.wrong(&path, "a path, but the output is no file", HELP),
            (Some("file"), None) => {
                if let Some(output) = output {
                    self.wrong(
                        output,
                        "the output is a file, but none is named",
                        "add path = \"/var/log/enforcer/events.ndjson\"",
                    );
                }
            }
            (Some(other), _) => {
                let message = format!("no such output: {}", quote(other));
                if let Some(output) = output {
                    self.wrong(output, message, HELP);
                }
            }
        }
        EventOutput::None
    }

    fn ports(&mut self, files: Vec<PortFile>) -> Vec<PortConfig> {
        if files.is_empty() {
            let finding = Diagnostic::at(location(0..0), "no port is configured");
            self.findings
                .push(finding.help("add a section: [[port]] with interface = \"eth0\""));
        }
        let mut seen: BTreeMap<String, Location> = BTreeMap::new();
        let mut ports = Vec::new();
        let mut wishes = Vec::new();
        for file in files {
            let at = location(file.interface.span());
            if let Some(first) = seen.insert(file.interface.get_ref().clone(), at) {
                let message = format!("port {} is configured twice", quote(file.interface.get_ref()));
                self.findings
                    .push(Diagnostic::at(at, message).related(first, "first here"));
            }
            wishes.push(Wish {
                interface: file.interface.clone(),
                pair: file.pair.clone(),
                uplink: file.uplink.clone(),
            });
            ports.push(self.port(file));
        }
        pairs::join(&mut ports, &wishes, &mut self.findings);
        ports
    }

    fn port(&mut self, file: PortFile) -> PortConfig {
        let name = file.interface.get_ref();
        let printable = name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"/:".contains(&byte));
        if name.is_empty() || name.len() > INTERFACE_NAME_MAX || !printable || name == "." || name == ".." {
            let message = format!("{} is no name of an interface", quote(name));
            self.wrong(
                &file.interface,
                message,
                "1 to 15 printable characters, as `ip link` shows it",
            );
        }
        let native_vlan = file.native_vlan.map_or(0, |vlan| self.vlan_id(&vlan, *vlan.get_ref()));
        let mut vlans = file.vlans.map(|vlans| self.vlans(&vlans));
        if let (Some(vlans), 1..) = (&mut vlans, native_vlan) {
            vlans.insert(native_vlan);
        }
        PortConfig {
            vlans,
            native_vlan,
            mode: self.mode(file.mode.as_ref()),
            monitor: file.monitor.unwrap_or(false),
            control: self.control(file.control.as_deref()),
            pair: None,
            uplink: false,
            interface: file.interface.into_inner(),
        }
    }

    fn vlan_id<T>(&mut self, at: &Spanned<T>, id: u16) -> u16 {
        if (1..=4094).contains(&id) {
            return id;
        }
        self.wrong(at, format!("{id} is no VLAN id"), "1 to 4094");
        1
    }

    fn vlans(&mut self, texts: &[Spanned<VlanText>]) -> VlanSet {
        let mut set = VlanSet::default();
        for text in texts {
            match text.get_ref() {
                VlanText::Id(id) => set.insert(self.vlan_id(text, *id)),
                VlanText::Range(range) => match parse_range(range) {
                    Some((first, last)) => (first..=last).for_each(|id| set.insert(id)),
                    None => self.wrong(
                        text,
                        format!("{} is no range of VLAN ids", quote(range)),
                        "a number, or text such as \"200-210\", within 1 to 4094",
                    ),
                },
            }
        }
        set
    }

    fn mode(&mut self, mode: Option<&Spanned<String>>) -> XdpMode {
        match mode.map(|mode| mode.get_ref().as_str()) {
            Some("native") | None => XdpMode::Native,
            Some("generic") => XdpMode::Generic,
            Some(other) => {
                let message = format!("no such mode: {}", quote(other));
                if let Some(mode) = mode {
                    self.wrong(
                        mode,
                        message,
                        "\"native\" (in the driver) or \"generic\" (in the stack, slow)",
                    );
                }
                XdpMode::Native
            }
        }
    }

    fn control(&mut self, names: Option<&[Spanned<String>]>) -> u16 {
        let Some(names) = names else {
            return control::LLDP | control::STP | control::LACP | control::EAPOL;
        };
        let mut bits = 0;
        for name in names {
            bits |= match name.get_ref().as_str() {
                "lldp" => control::LLDP,
                "stp" => control::STP,
                "lacp" => control::LACP,
                "eapol" => control::EAPOL,
                other => {
                    let message = format!("no such control protocol: {}", quote(other));
                    self.wrong(name, message, "lldp, stp, lacp, eapol");
                    0
                }
            };
        }
        bits
    }
}

/// First and last id of `200-210`, or of `200`.
fn parse_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (1 <= first && first <= last && last <= 4094).then_some((first, last))
}
