//! `enforcer.toml`: what the gateway is, as far as it is not policy.
//!
//! [`load`] reads text into a [`Config`] whose every value is usable as it stands, or says of everything that is
//! wrong in the file where it is and what would be right.

mod file;
mod management;
mod pairs;
mod tables;
#[cfg(test)]
mod tests;
mod timeouts;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use enforcer_common::abi::Access;

use crate::diagnostics::{Diagnostic, Diagnostics, Sources};
use crate::files::read_small;
use crate::kernel::{Sizes, VlanSet};
use crate::policy::valid::OnNoPolicy;

/// No configuration is as large, in MiB.
const MEBIBYTES: u64 = 1;

/// The settings of one enforcer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Policy files and folders.
    pub policy: Vec<PathBuf>,
    /// What has to survive a reboot: which offloads were on before.
    pub state_directory: PathBuf,
    /// The control socket.
    pub runtime_directory: PathBuf,
    /// Where links and maps are pinned, on a bpffs.
    pub pin_directory: PathBuf,
    /// SIGTERM leaves the enforcement in place.
    pub keep_enforcing_on_exit: bool,
    /// What becomes of frames of undeclared VLANs while no policy is in force: of all, when not even a zone can be read.
    pub on_no_policy: OnNoPolicy,
    /// Where metrics are served; `None` for nowhere.
    pub metrics: Option<SocketAddr>,
    /// What becomes of events.
    pub events: Events,
    /// Sizes of the shared maps.
    pub sizes: Sizes,
    /// Idle seconds after which a flow is forgotten, by the code of a `FlowState`.
    pub idle_seconds: [u32; 8],
    /// Management access to the gateway: at most `enforcer_common::abi::ACCESSES`.
    pub management: Vec<Access>,
    /// The ports of the gateway, at least one.
    pub ports: Vec<PortConfig>,
}

/// What becomes of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events {
    /// Where they go.
    pub output: EventOutput,
    /// Events a second that one (reason, source zone, destination zone) may send.
    pub rate: u32,
}

/// Where events go, one JSON object a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventOutput {
    /// Nowhere: the kernel program sends none.
    None,
    /// Standard output.
    Stdout,
    /// The end of this file, opened anew on SIGHUP.
    File(PathBuf),
}

/// How a port's program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the network stack: slow, for drivers without XDP.
    Generic,
}

impl XdpMode {
    /// The word in the configuration and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// A port of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// The interface's name.
    pub interface: String,
    /// Outer VLAN ids that are allowed; `None` for all that the policy declares.
    pub vlans: Option<VlanSet>,
    /// The VLAN of untagged frames; 0 refuses them.
    pub native_vlan: u16,
    /// How the program runs.
    pub mode: XdpMode,
    /// Nothing is dropped here, only counted as `would-drop`.
    pub monitor: bool,
    /// Bits of `enforcer_common::abi::control`: link-local control protocols that pass.
    pub control: u16,
    /// Inline mode: the port that permitted frames leave by, which names this one in turn; `None` passes them to the
    /// gateway's stack.
    pub pair: Option<String>,
    /// The side of the pair that leads to the routers: source addresses of every VLAN come by it.
    pub uplink: bool,
}

/// Reads and checks a configuration file. Relative paths in it start at its folder.
pub fn load(path: &Path) -> Result<Config, Diagnostics> {
    match read_small(path, MEBIBYTES) {
        Ok(octets) => parse(path, octets),
        Err(error) => {
            let finding = Diagnostic::general(format!("cannot read {}: {error}", path.display()))
                .help("name the configuration with --config; deploy/enforcer.toml is a sample");
            Err(Diagnostics::new(vec![finding], Arc::default()))
        }
    }
}

/// Checks the text of a configuration file that stands at `path`.
pub fn parse(path: &Path, text: Vec<u8>) -> Result<Config, Diagnostics> {
    let mut sources = Sources::default();
    let added = sources.add_octets(path.to_owned(), text);
    let sources = Arc::new(sources);
    if let Err(finding) = added {
        return Err(Diagnostics::new(vec![finding], sources));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    file::read(sources.file(0).1, folder).map_err(|findings| Diagnostics::new(findings, sources))
}
