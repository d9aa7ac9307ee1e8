//! `devices:`.

use std::net::IpAddr;

use super::{ServiceReference, Traits, class_of, offers};
use crate::diagnostics::{Diagnostic, Location};
use crate::policy::{
    fields::{Fields, Known, Spanned, list, scalar},
    grammar::{self, Role},
    yaml::Node,
};

const DEVICE: Known = Known {
    what: "a device",
    keys: &[
        "zone",
        "mac",
        "address",
        "dhcp",
        "roles",
        "class",
        "limits",
        "least_mss",
        "offers",
        "comment",
        "owner",
        "ticket",
    ],
    later: &[],
};
#[derive(Debug)]
pub(in crate::policy) struct DeviceText {
    pub(in crate::policy) name: Spanned<String>,
    pub(in crate::policy) zone: Option<Spanned<String>>,
    pub(in crate::policy) mac: Option<Spanned<[u8; 6]>>,
    pub(in crate::policy) addresses: Vec<Spanned<IpAddr>>,
    pub(in crate::policy) dhcp_server: bool,
    /// Where it says that it gets its address by DHCP.
    pub(in crate::policy) dhcp: Option<Location>,
    pub(in crate::policy) class: Option<Spanned<String>>,
    pub(in crate::policy) traits: Traits,
    pub(in crate::policy) offers: Option<Vec<Spanned<ServiceReference>>>,
}

pub(super) fn device(name: Spanned<String>, node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> DeviceText {
    let fields = Fields::read(node, name.at, &DEVICE, findings);
    fields.free_text(findings);
    let zone = fields.require("zone", "infusion-pumps", findings);
    let mac = fields.get("mac");
    let dhcp = fields.get("dhcp").and_then(|node| dhcp(node, mac.is_some(), findings));
    let addresses = if dhcp.is_some() {
        fields.get("address")
    } else {
        fields.require("address", "10.10.110.21", findings)
    };
    let addresses = addresses.map(|node| list(node, grammar::device_address, findings));
    let roles = fields.get("roles").map(|node| list(node, grammar::role, findings));
    DeviceText {
        name,
        zone: zone.and_then(|node| scalar(node, grammar::name, findings)),
        mac: mac.and_then(|node| scalar(node, grammar::mac, findings)),
        addresses: addresses.unwrap_or_default(),
        dhcp,
        class: class_of(&fields, findings),
        traits: Traits::read(&fields, findings),
        offers: offers(&fields, findings),
        dhcp_server: roles.is_some_and(|roles| roles.iter().any(|role| role.value == Role::DhcpServer)),
    }
}

/// Where a device says that it gets its address by DHCP. Its leases are known by its hardware address.
fn dhcp(node: &Node<'_>, mac: bool, findings: &mut Vec<Diagnostic>) -> Option<Location> {
    let dynamic = scalar(node, grammar::flag, findings).filter(|flag| flag.value)?;
    if !mac {
        let finding = Diagnostic::at(node.at, "a device with `dhcp: true` needs `mac`");
        findings
            .push(finding.help("its leases are known by its hardware address: add it, such as \"00:1e:3d:00:01:01\""));
    }
    Some(dynamic.at)
}
