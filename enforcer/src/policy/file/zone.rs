//! `zones:`.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::{ServiceReference, Traits, class_of, offers};
use crate::diagnostics::Diagnostic;
use crate::policy::{
    fields::{Fields, Known, Spanned, list, scalar},
    grammar, rates,
    valid::{GuardMode, Limit, Mode, VlanId},
    yaml::{Node, Value},
};

const ZONE: Known = Known {
    what: "a zone",
    keys: &[
        "vlan",
        "realm",
        "subnets",
        "gateway",
        "mode",
        "guards",
        "routers",
        "broadcast",
        "tcp",
        "class",
        "limits",
        "least_mss",
        "offers",
        "on_no_policy",
        "comment",
        "owner",
        "ticket",
    ],
    later: &[],
};
const GUARDS: Known = Known {
    what: "`guards`",
    keys: &["source", "arp", "neighbour", "dhcp", "router"],
    later: &[],
};
/// A zone. What was wrong is missing here and stands in the findings; so with the others.
#[derive(Debug)]
pub(in crate::policy) struct ZoneText {
    pub(in crate::policy) name: Spanned<String>,
    pub(in crate::policy) vlan: Option<Spanned<VlanId>>,
    pub(in crate::policy) realm: Option<Spanned<String>>,
    pub(in crate::policy) subnets: Vec<Spanned<IpNetwork>>,
    pub(in crate::policy) gateways: Vec<Spanned<IpAddr>>,
    pub(in crate::policy) mode: Mode,
    pub(in crate::policy) guards: GuardsText,
    pub(in crate::policy) routers: Vec<Spanned<[u8; 6]>>,
    pub(in crate::policy) broadcast: Limit,
    pub(in crate::policy) strict_tcp: bool,
    pub(in crate::policy) class: Option<Spanned<String>>,
    pub(in crate::policy) traits: Traits,
    pub(in crate::policy) offers: Option<Vec<Spanned<ServiceReference>>>,
}

/// The guards that a zone sets.
#[derive(Debug, Default)]
pub(in crate::policy) struct GuardsText {
    pub(in crate::policy) source: Option<GuardMode>,
    pub(in crate::policy) arp: Option<GuardMode>,
    pub(in crate::policy) neighbour: Option<GuardMode>,
    pub(in crate::policy) dhcp: Option<GuardMode>,
    pub(in crate::policy) router: Option<GuardMode>,
}

pub(super) fn zone(name: Spanned<String>, node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> ZoneText {
    let fields = Fields::read(node, name.at, &ZONE, findings);
    fields.free_text(findings);
    let vlan = fields.require("vlan", "110", findings);
    let vlan = vlan.and_then(|node| vlan_tags(node, findings));
    let subnets = fields
        .require("subnets", "[10.10.110.0/24]", findings)
        .map(|node| list(node, grammar::subnet, findings));
    let realm = fields.get("realm");
    let gateways = fields.get("gateway");
    let gateways = gateways.map(|node| list(node, grammar::host_address, findings));
    let mode = fields.get("mode");
    let mode = mode.and_then(|node| scalar(node, grammar::mode, findings));
    let guards = fields.get("guards").map(|node| guards(node, findings));
    let routers = fields.get("routers");
    let routers = routers.map(|node| list(node, grammar::mac, findings));
    let broadcast = fields.get("broadcast").map(|node| rates::group_limit(node, findings));
    let tcp = fields.get("tcp");
    let strict_tcp = tcp.and_then(|node| scalar(node, grammar::strict_tcp, findings));
    ZoneText {
        name,
        vlan,
        realm: realm.and_then(|node| scalar(node, grammar::name, findings)),
        subnets: subnets.unwrap_or_default(),
        gateways: gateways.unwrap_or_default(),
        mode: mode.map(|mode| mode.value).unwrap_or_default(),
        guards: guards.unwrap_or_default(),
        routers: routers.unwrap_or_default(),
        broadcast: broadcast.unwrap_or_default(),
        strict_tcp: strict_tcp.is_some_and(|strict| strict.value),
        class: class_of(&fields, findings),
        traits: Traits::read(&fields, findings),
        offers: offers(&fields, findings),
    }
}

fn guards(node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> GuardsText {
    let fields = Fields::read(node, node.at, &GUARDS, findings);
    let mut mode = |guard| {
        let mode = scalar(fields.get(guard)?, grammar::guard_mode, findings)?;
        Some(mode.value)
    };
    GuardsText {
        source: mode("source"),
        arp: mode("arp"),
        neighbour: mode("neighbour"),
        dhcp: mode("dhcp"),
        router: mode("router"),
    }
}

/// Two tags must stand in quotes: other readers of the file would take `2000.110` for the number 2000.11.
fn vlan_tags(node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> Option<Spanned<VlanId>> {
    let vlan = scalar(node, grammar::vlan, findings)?;
    if matches!(node.value, Value::Scalar { plain: true, .. }) && vlan.value.inner.is_some() {
        let message = "two VLAN tags must stand in quotes";
        let help = format!(
            "write `\"{}\"`: without quotes it is a decimal number to other tools",
            vlan.value
        );
        findings.push(Diagnostic::at(node.at, message).help(help));
    }
    Some(vlan)
}
