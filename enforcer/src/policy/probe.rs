//! A frame in words: `{vlan: 110, src: pump-icu-01, dst: 10.20.5.10, service: tcp/443}`.

mod ends;
mod words;

use std::net::IpAddr;

use enforcer_common::packet::{protocol, tcp_flags};

use super::{
    grammar,
    valid::{ValidPolicy, VlanId},
};
pub use ends::leases;
use ends::{End, end, group_mac, home, homeless, mac_of, pair};
pub use words::Words;
pub(super) use words::Wrong;
use words::{flags, hardware, number, service, size};

/// Source port, and identifier of ICMP echo, of frames that do not say.
const SOURCE_PORT: u16 = 50_000;
/// Hardware addresses of stations that do not say: locally administered.
const SOURCE_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
const DESTINATION_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];
/// A frame by what matters to a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Its tags.
    pub vlan: VlanId,
    /// Who sends it.
    pub source: IpAddr,
    /// Whom it is sent to, of the same family.
    pub destination: IpAddr,
    /// Hardware address of the sender.
    pub source_mac: [u8; 6],
    /// Hardware address that it is sent to.
    pub destination_mac: [u8; 6],
    /// IP protocol number.
    pub protocol: u8,
    /// Source port; the identifier of ICMP echo.
    pub source_port: u16,
    /// Destination port; type and code of ICMP, `type << 8 | code`; 0 for protocols without ports.
    pub port: u16,
    /// TCP flags; `None` for SYN alone.
    pub flags: Option<u8>,
    /// Octets behind the transport header.
    pub size: u16,
}

impl Probe {
    /// A frame of these words. Errors name the word, and what is wrong with it.
    ///
    /// What is not said follows from the rest: the VLAN is that of the source, and so is the hardware address; of two
    /// devices with addresses in both families, the first family that they share is taken.
    pub(super) fn from_words(words: &Words, policy: &ValidPolicy) -> Result<Self, Wrong> {
        let from = words.require("src", "10.10.110.21", |text| end(text, policy))?;
        let to = words.require("dst", "10.20.5.10", |text| end(text, policy))?;
        let (protocol, port) = words.require("service", "tcp/443", |text| service(text, policy))?;
        let (from_addresses, to_addresses) = (from.addresses("src", policy)?, to.addresses("dst", policy)?);
        let (source, destination) = pair(&from_addresses, &to_addresses, protocol)?;
        let vlan = match words.get("vlan", grammar::vlan)? {
            Some(vlan) => vlan,
            None => home(&from, source, policy).ok_or_else(|| homeless("vlan", source))?,
        };
        let probe = Self {
            vlan,
            source,
            destination,
            source_mac: mac_of(source, vlan, policy).unwrap_or(SOURCE_MAC),
            destination_mac: group_mac(destination).unwrap_or(DESTINATION_MAC),
            protocol,
            source_port: words.get("sport", number)?.unwrap_or(SOURCE_PORT),
            port,
            flags: None,
            size: 0,
        };
        probe.with(words)
    }

    /// The same for people who typed it: `Err` says what is wrong, in one line.
    pub fn from_command_line(words: &Words, policy: &ValidPolicy) -> Result<Self, String> {
        Self::from_words(words, policy)
            .map_err(|(key, complaint)| format!("--{}: {}", key.replace('_', "-"), complaint.in_one_line()))
    }

    /// A frame between two addresses of one family, as honest stations send it, for a protocol and a port. Of TCP, it is no SYN, so that
    /// it announces no segment size. `mac` is the sender's, if it is known.
    pub(crate) fn between(
        vlan: VlanId,
        (source, destination): (IpAddr, IpAddr),
        (protocol, port): (u8, u16),
        mac: Option<[u8; 6]>,
    ) -> Self {
        Self {
            vlan,
            source,
            destination,
            source_mac: mac.filter(|mac| *mac != [0; 6]).unwrap_or(SOURCE_MAC),
            destination_mac: group_mac(destination).unwrap_or(DESTINATION_MAC),
            protocol,
            source_port: SOURCE_PORT,
            port,
            flags: (protocol == protocol::TCP).then_some(tcp_flags::ACK),
            size: 0,
        }
    }

    /// The answer of the other end.
    pub(super) fn reply(&self, words: &Words, policy: &ValidPolicy) -> Result<Self, Wrong> {
        let vlan = match words.get("vlan", grammar::vlan)? {
            Some(vlan) => vlan,
            None => home(&End::Address(self.destination), self.destination, policy)
                .ok_or_else(|| homeless("vlan", self.destination))?,
        };
        let (source_port, port) = match self.protocol {
            protocol::ICMP => (self.source_port, 0),
            protocol::ICMPV6 => (self.source_port, 129 << 8),
            _ => (self.port, self.source_port),
        };
        let opens = self.flags.unwrap_or(tcp_flags::SYN) & tcp_flags::SYN;
        let reply = Self {
            vlan,
            source: self.destination,
            destination: self.source,
            source_mac: mac_of(self.destination, vlan, policy).unwrap_or(SOURCE_MAC),
            destination_mac: DESTINATION_MAC,
            source_port,
            port,
            flags: (self.protocol == protocol::TCP).then_some(tcp_flags::ACK | opens),
            size: 0,
            ..*self
        };
        reply.with(words)
    }

    fn with(self, words: &Words) -> Result<Self, Wrong> {
        Ok(Self {
            source_mac: words.get("mac", hardware)?.unwrap_or(self.source_mac),
            destination_mac: words.get("dst_mac", hardware)?.unwrap_or(self.destination_mac),
            flags: words.get("flags", flags)?.or(self.flags),
            size: words.get("size", size)?.unwrap_or(self.size),
            ..self
        })
    }
}

/// Protocol and port of a service as records of flows have it: `tcp/443`, `icmp/8/0`, `proto/47`.
pub(crate) fn service_of(text: &str) -> Option<(u8, u16)> {
    words::expression(text).ok()
}

/// The tags of a VLAN as records of flows have it: `110`, `2000.110`.
pub(crate) fn tags_of(text: &str) -> Option<VlanId> {
    grammar::vlan(text).ok()
}

/// A hardware address that somebody typed: `Err` says what is wrong, in one line.
pub fn hardware_address(text: &str) -> Result<[u8; 6], String> {
    hardware(text).map_err(|complaint| complaint.in_one_line())
}
