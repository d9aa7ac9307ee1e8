//! What became of a frame, in names.

use std::fmt;
use std::net::IpAddr;

use enforcer_common::abi::{NO_LAN, NO_RULE};
use enforcer_common::packet::{Packet, protocol};
use enforcer_common::pipeline::Decision;
use enforcer_common::verdict::{DropReason, Stage, Verdict};
use serde::{Serialize, Serializer};

use crate::policy::TableSet;
use crate::policy::tables::RuleName;
use crate::words;

/// What became of a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome<'t> {
    /// What became of it.
    #[serde(serialize_with = "word::verdict")]
    pub verdict: Verdict,
    /// Why it was refused; [`DropReason::None`] of permitted frames.
    #[serde(serialize_with = "word::reason")]
    pub reason: DropReason,
    /// The stage that settled it.
    #[serde(serialize_with = "word::stage")]
    pub stage: Stage,
    /// The rule that decided.
    pub rule: Option<RulePlace<'t>>,
    /// Its tags, as the policy writes them; `None` without.
    pub vlan: Option<String>,
    /// Who sent it.
    pub source: End<'t>,
    /// Whom it was sent to.
    pub destination: End<'t>,
    /// What it asked for: `tcp/443`; for other than IP, the `EtherType`.
    pub service: String,
    /// TCP flags by their letters; `None` for other protocols.
    pub tcp_flags: Option<String>,
    /// Octets of the frame.
    pub length: u32,
}

/// A rule, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RulePlace<'t> {
    /// Its name.
    pub name: &'t str,
    /// `file:line`; `None` for `default-deny`.
    pub at: Option<&'t str>,
}

/// One end of a frame. What is not known is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct End<'t> {
    /// The zone: of the address, or for a source without one, of the VLAN.
    pub zone: Option<&'t str>,
    /// The device that declares the address.
    pub device: Option<&'t str>,
    /// The address.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: Option<u16>,
    /// The hardware address.
    pub mac: String,
}

impl<'t> Outcome<'t> {
    /// The names of a decision under `tables`.
    pub fn new(decision: &Decision, packet: &Packet, tables: &'t TableSet) -> Self {
        let names = &tables.names;
        let rule = names.rules.get(decision.rule as usize);
        let is_ip = packet.family != 0;
        let side = |endpoint: u32, zone: u16, words, port, mac| {
            let address = words::address(packet.address_family(), words);
            let known = address.is_some() && decision.lan != NO_LAN;
            let endpoint = names.endpoints.get(endpoint as usize).filter(|_| known);
            let zone = endpoint.map_or(zone, |endpoint| endpoint.zone);
            let told = known || zone != 0;
            End {
                zone: names.zones.get(usize::from(zone)).map(String::as_str).filter(|_| told),
                device: endpoint.and_then(|endpoint| endpoint.device.as_deref()),
                address,
                port: (is_ip && words::has_ports(packet.protocol)).then_some(port),
                mac: words::mac(mac),
            }
        };
        Self {
            verdict: decision.verdict,
            reason: decision.reason,
            stage: decision.stage,
            rule: rule.filter(|_| decision.rule != NO_RULE).map(RulePlace::from),
            vlan: vlan(packet),
            source: side(
                decision.source,
                decision.zone,
                packet.source,
                packet.source_port,
                packet.source_mac,
            ),
            destination: side(
                decision.destination,
                0,
                packet.destination,
                packet.destination_port,
                packet.destination_mac,
            ),
            service: if is_ip {
                words::service(packet.protocol, packet.destination_port)
            } else {
                ethertype(packet.ethertype)
            },
            tcp_flags: (is_ip && packet.protocol == protocol::TCP).then(|| words::tcp_flags(packet.tcp_flags)),
            length: packet.length,
        }
    }

    /// Whether the policy permits it, whatever the modes.
    pub fn is_permitted(&self) -> bool {
        matches!(self.verdict, Verdict::Pass | Verdict::Redirect)
    }
}

impl<'t> From<&'t RuleName> for RulePlace<'t> {
    fn from(rule: &'t RuleName) -> Self {
        Self {
            name: &rule.name,
            at: Some(rule.place.as_str()).filter(|place| !place.is_empty()),
        }
    }
}

/// `drop (default-deny) in stage policy by rule default-deny`.
impl fmt::Display for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verdict.name())?;
        if self.reason != DropReason::None {
            write!(f, " ({})", self.reason.name())?;
        }
        write!(f, " in stage {}", self.stage.name())?;
        match self.rule {
            Some(rule) => write!(f, " by rule {}", rule.name),
            None => Ok(()),
        }
    }
}

/// `10.10.110.21 (pump-icu-01 in infusion-pumps)`.
impl fmt::Display for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{address}")?,
            None => f.write_str(&self.mac)?,
        }
        match (self.device, self.zone) {
            (Some(device), Some(zone)) => write!(f, " ({device} in {zone})"),
            (None, Some(zone)) => write!(f, " ({zone})"),
            _ => Ok(()),
        }
    }
}

fn vlan(packet: &Packet) -> Option<String> {
    match packet.tags {
        0 => None,
        1 => Some(packet.outer_vlan.to_string()),
        _ => Some(format!("{}.{}", packet.outer_vlan, packet.inner_vlan)),
    }
}

/// Types that people know by name; an 802.3 length is LLC.
fn ethertype(number: u16) -> String {
    use enforcer_common::packet::ethertype;
    match number {
        ethertype::ARP => "arp".to_owned(),
        ethertype::LLDP => "lldp".to_owned(),
        ethertype::EAPOL => "eapol".to_owned(),
        ethertype::SLOW => "lacp".to_owned(),
        length if length < ethertype::FIRST => "llc".to_owned(),
        other => format!("ethertype/0x{other:04x}"),
    }
}

/// Words of the engine, for serde.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
mod word {
    use super::{DropReason, Serializer, Stage, Verdict};

    pub(super) fn verdict<S: Serializer>(verdict: &Verdict, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(verdict.name())
    }

    pub(super) fn reason<S: Serializer>(reason: &DropReason, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(reason.name())
    }

    pub(super) fn stage<S: Serializer>(stage: &Stage, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(stage.name())
    }
}
