//! A ward: two pumps whose names a policy knows, and the server that they talk to.

use anyhow::Result;
use enforcer_tests::lab::PacketSocket;
use enforcer_tests::packet::{packet, tcp_flags};

use super::{GOOD, Gateway};

/// Where the controller has its socket.
pub(crate) const RUNTIME: &str = "/run/enforcer";
pub(crate) const PUMP: &str = "10.10.110.21";
pub(crate) const SERVER: &str = "10.20.0.1";
pub(crate) const ACK: u8 = tcp_flags::ACK;
pub(crate) const SYN: u8 = tcp_flags::SYN;

/// A gateway with a policy that names a device, and its switch.
pub(crate) fn ward() -> Result<(Gateway, PacketSocket)> {
    let gateway = Gateway::new()?;
    gateway.write_policy(&format!(
        "{GOOD}devices:\n  pump-1: {{zone: pumps, address: {PUMP}}}\n  pump-2: {{zone: pumps, address: 10.10.110.22}}\n"
    ))?;
    let switch = gateway.namespace.enter(|| PacketSocket::open("switch0"))?;
    Ok((gateway, switch))
}

/// A segment of the pump, from this port to this one of the server.
pub(crate) fn to_server(from: u16, to: u16, flags: u8) -> Vec<u8> {
    packet().vlan(110).ip(PUMP, SERVER).tcp(from, to, flags).build().bytes
}

/// A segment of the server's HTTPS.
pub(crate) fn to_pump(to: u16, flags: u8) -> Vec<u8> {
    packet().vlan(20).ip(SERVER, PUMP).tcp(443, to, flags).build().bytes
}
