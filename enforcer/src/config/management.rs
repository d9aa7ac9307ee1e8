//! `[[management]]`: access to the gateway itself that no policy can take away.
//!
//! A section names who may reach what, and becomes one record of the kernel program for each prefix, address and
//! service that go together.

use std::net::IpAddr;

use enforcer_common::abi::{ACCESSES, Access, Address};
use enforcer_common::packet::protocol;
use ipnetwork::IpNetwork;
use serde::Deserialize;
use toml::Spanned;

use super::PortConfig;
use super::file::{Check, location};
use crate::diagnostics::Diagnostic;
use crate::policy::parts::{self, Part};
use crate::policy::valid::{ServiceMatch, VlanId};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ManagementFile {
    from: Spanned<Vec<Spanned<String>>>,
    to: Spanned<Vec<Spanned<String>>>,
    vlan: Spanned<VlanText>,
    services: Spanned<Vec<Spanned<String>>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum VlanText {
    Id(u16),
    Text(String),
}

/// A section whose words are understood.
struct Section {
    from: Vec<(IpNetwork, Used)>,
    to: Vec<(IpAddr, Used)>,
    services: Vec<(ServiceMatch, Used)>,
    vlan: VlanId,
}

/// Where a word stands, and whether a record came of it.
struct Used {
    at: crate::diagnostics::Location,
    used: bool,
}

impl Check<'_> {
    /// The records of all sections, which `ports` have to let in.
    pub(super) fn management(&mut self, files: &[ManagementFile], ports: &[PortConfig]) -> Vec<Access> {
        let mut accesses = Vec::new();
        let first = files.first().map(|file| location(file.from.span()));
        for file in files {
            self.section(file, ports, &mut accesses);
        }
        if let Some(at) = first
            && accesses.len() > ACCESSES as usize
        {
            let message = format!(
                "management access takes {} entries, and there is room for {ACCESSES}",
                accesses.len()
            );
            self.findings.push(Diagnostic::at(at, message).help(
                "every prefix takes one for each address of its family and each service: name wider prefixes, fewer addresses, or ranges of ports",
            ));
        }
        accesses
    }

    fn section(&mut self, file: &ManagementFile, ports: &[PortConfig], accesses: &mut Vec<Access>) {
        let before = self.findings.len();
        let from = self.words(&file.from, parts::prefix);
        let to = self.words(&file.to, parts::host_address);
        let services = self.words(&file.services, parts::service);
        let at = location(file.vlan.span());
        let vlan = match file.vlan.get_ref() {
            VlanText::Id(id) => parts::vlan(&id.to_string(), at),
            VlanText::Text(text) => parts::vlan(text, at),
        };
        match vlan {
            Err(finding) => self.findings.push(finding),
            // What is wrong already needs no second complaint.
            Ok(_) if self.findings.len() > before => {}
            Ok(vlan) => {
                self.let_in(vlan, at, ports);
                let section = Section {
                    from,
                    to,
                    services,
                    vlan,
                };
                self.expand(section, accesses);
            }
        }
    }

    fn words<T>(&mut self, texts: &Spanned<Vec<Spanned<String>>>, read: Part<T>) -> Vec<(T, Used)> {
        if texts.get_ref().is_empty() {
            self.wrong(texts, "the list is empty", "name at least one");
        }
        let mut values = Vec::new();
        for text in texts.get_ref() {
            let at = location(text.span());
            match read(text.get_ref(), at) {
                Ok(value) => values.push((value, Used { at, used: false })),
                Err(finding) => self.findings.push(finding),
            }
        }
        values
    }

    /// A VLAN that no port lets in would lock the operators out after all.
    fn let_in(&mut self, vlan: VlanId, at: crate::diagnostics::Location, ports: &[PortConfig]) {
        let open = |port: &PortConfig| port.vlans.is_none_or(|vlans| vlans.contains(vlan.outer));
        if !ports.is_empty() && !ports.iter().any(open) {
            let message = format!("no port lets VLAN {} in", vlan.outer);
            let help = "add it to `vlans` of the [[port]] by which management comes";
            self.findings.push(Diagnostic::at(at, message).help(help));
        }
    }

    fn expand(&mut self, mut section: Section, accesses: &mut Vec<Access>) {
        for (prefix, prefix_used) in &mut section.from {
            for (gateway, gateway_used) in &mut section.to {
                if prefix.is_ipv4() != gateway.is_ipv4() {
                    continue;
                }
                (prefix_used.used, gateway_used.used) = (true, true);
                for (service, service_used) in &mut section.services {
                    let Some((protocol, first, last)) = numbers(*service, gateway.is_ipv4()) else {
                        continue;
                    };
                    service_used.used = true;
                    accesses.push(Access {
                        prefix: words(prefix.network()),
                        mask: words(prefix.mask()),
                        gateway: words(*gateway),
                        outer_vlan: section.vlan.outer,
                        inner_vlan: section.vlan.inner.unwrap_or(0),
                        first_port: first,
                        last_port: last,
                        reserved: 0,
                        protocol,
                        family: if gateway.is_ipv4() { 4 } else { 6 },
                        spare: 0,
                    });
                }
            }
        }
        let from = section.from.iter().map(|(_, used)| {
            (
                used,
                "`to` has no address of this family",
                "add the gateway's address of this family, or leave the prefix out",
            )
        });
        let to = section.to.iter().map(|(_, used)| {
            (
                used,
                "`from` has no prefix of this family",
                "add who may come to this address, or leave it out",
            )
        });
        let services = section.services.iter().map(|(service, used)| match service {
            ServiceMatch::Any => (
                used,
                "management access names its services",
                "for example tcp/22, icmp/echo",
            ),
            _ => (
                used,
                "no address that this service goes to",
                "icmp is a service of IPv4, icmpv6 of IPv6",
            ),
        });
        let pairs = section.from.iter().any(|(_, used)| used.used);
        for (used, message, help) in from.chain(to).chain(services.filter(|_| pairs)) {
            if !used.used {
                self.findings.push(Diagnostic::at(used.at, message).help(help));
            }
        }
    }
}

/// Protocol, first and last port of a service; `None` of one that the family does not have.
fn numbers(service: ServiceMatch, is_ipv4: bool) -> Option<(u8, u16, u16)> {
    let numbers = match service {
        ServiceMatch::Any => return None,
        ServiceMatch::Protocol(protocol) => (protocol, 0, u16::MAX),
        ServiceMatch::Ports { protocol, first, last } => (protocol, first, last),
    };
    let foreign = if is_ipv4 { protocol::ICMPV6 } else { protocol::ICMP };
    (numbers.0 != foreign).then_some(numbers)
}

fn words(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => [0, 0, 0, address.to_bits()],
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            [96, 64, 32, 0].map(|shift| (bits >> shift) as u32)
        }
    }
}
