//! Whether frames pass: each is followed by one that always does.

use anyhow::{Context as _, Result};
use enforcer_tests::lab::{Config, PacketSocket};
use enforcer_tests::packet::{Frame, packet};

use super::{Gateway, PATIENCE};

pub(crate) const SERVER: &str = "10.20.5.10";
const MANAGEMENT: &str =
    "[[management]]\nfrom = ['10.99.0.0/24']\nto = ['10.99.0.1']\nvlan = 99\nservices = ['tcp/22']\n";

/// Sockets on both sides of `trunk0`.
pub(crate) struct Probe {
    front: PacketSocket,
    behind: PacketSocket,
}

impl Probe {
    pub(crate) fn new(gateway: &Gateway) -> Result<Self> {
        show_tags(gateway)?;
        let open = |interface: &str| gateway.namespace.enter(|| PacketSocket::open(interface));
        Ok(Self {
            front: open("switch0")?,
            behind: open("trunk0")?,
        })
    }

    /// A configuration of `trunk0` that lets the frame pass that always does.
    pub(crate) fn config(gateway: &Gateway) -> Config {
        let mut config = gateway.config(&["trunk0"]);
        config.own_settings = [("trunk0".to_owned(), MANAGEMENT.to_owned())].into();
        config
    }

    /// Whether a frame passes.
    pub(crate) fn passes(&self, frame: &Frame) -> Result<bool> {
        let marker = operator();
        self.front.send(frame)?;
        self.front.send(&marker)?;
        let mut passed = false;
        let seen = |octets: &[u8]| {
            passed |= octets == frame.bytes;
            octets == marker.bytes
        };
        self.behind
            .wait_for(PATIENCE, seen)?
            .context("management access does not pass")?;
        Ok(passed)
    }
}

/// What the other end of the port must not do, and does again after `enforcer detach`.
pub(crate) fn show_tags(gateway: &Gateway) -> Result<()> {
    gateway.tool("ethtool", &["-K", "switch0", "txvlan", "off"]).map(drop)
}

pub(crate) fn frame(vlan: u16, source: &str, destination: &str, port: u16) -> Frame {
    packet().vlan(vlan).ip(source, destination).tcp(40000, port, 2).build()
}

/// The beginning of a session from a pump to a server.
pub(crate) fn pump(port: u16) -> Frame {
    frame(110, "10.10.110.21", SERVER, port)
}

/// Access to the gateway by `[[management]]`.
fn operator() -> Frame {
    frame(99, "10.99.0.7", "10.99.0.1", 22)
}
