//! A gateway with trunks, and nothing on their far ends but packet sockets.

use anyhow::{Context, Result, ensure};

use crate::packet::mac_text;

use super::router::GATEWAY_MAC;
use super::{Namespace, Offload, PacketSocket, set_offload};

/// A gateway and the far ends of its trunks, which are named after them with an `x` in front.
#[derive(Debug)]
pub struct Gateway {
    inside: Namespace,
    outside: Namespace,
}

impl Gateway {
    /// A gateway with these trunks.
    pub fn build(trunks: &[&str]) -> Result<Self> {
        let gateway = Self {
            inside: Namespace::gateway("gateway")?,
            outside: Namespace::new("outside")?,
        };
        trunks.iter().try_for_each(|trunk| gateway.add(trunk))?;
        Ok(gateway)
    }

    /// Adds a trunk: a veth, both ends up.
    pub fn add(&self, trunk: &str) -> Result<()> {
        let mac = mac_text(GATEWAY_MAC);
        let netns = self.outside.path();
        self.inside.ip(&format!(
            "link add {trunk} type veth peer name x{trunk} netns {netns}\nlink set {trunk} address {mac}\nlink set {trunk} up"
        ))?;
        self.outside.ip(&format!("link set x{trunk} up"))?;
        // Without this a tag can travel beside the frame, where XDP does not see it.
        let result = self
            .outside
            .enter(|| set_offload(&format!("x{trunk}"), Offload::TransmitVlan, false));
        result.context("cannot switch off txvlan")
    }

    /// The gateway's namespace.
    pub fn inside(&self) -> &Namespace {
        &self.inside
    }

    /// The namespace with the far ends.
    pub fn outside(&self) -> &Namespace {
        &self.outside
    }

    /// A socket that sends frames, tags included, towards a trunk, and receives what the gateway sends out of it.
    pub fn in_front_of(&self, trunk: &str) -> Result<PacketSocket> {
        self.outside
            .enter(|| PacketSocket::open(&format!("x{trunk}")))
            .context("cannot open a socket before the trunk")
    }

    /// A socket that receives what the enforcer passes.
    pub fn behind(&self, trunk: &str) -> Result<PacketSocket> {
        self.inside
            .enter(|| PacketSocket::open(trunk))
            .context("cannot open a socket on the trunk")
    }

    /// Whether an XDP program runs on a trunk.
    pub fn has_xdp(&self, trunk: &str) -> Result<bool> {
        let answer = self.inside.command("ip").args(["-o", "link", "show", trunk]).output()?;
        ensure!(answer.status.success(), "there is no trunk {trunk}");
        Ok(String::from_utf8_lossy(&answer.stdout).contains("prog/xdp"))
    }
}
