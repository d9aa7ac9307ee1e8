//! `PolicyFile`: what the files declare, word by word, before any name is looked up.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::{
    cases::{self, CaseText},
    fields::{Complaint, Fields, Known, Spanned, list, scalar},
    grammar::{self, Reference, Role},
    rates::{self, LimitsText},
    services,
    valid::{Action, GuardMode, Limit, Mode, Scope, ServiceMatch, VlanId},
    yaml::{Key, Node, Value},
};
use crate::diagnostics::{Diagnostic, quote};

const FILE: Known = Known {
    what: "a policy file",
    keys: &["zones", "devices", "services", "rules", "tests"],
    later: &["groups", "classes", "templates", "never", "must_flow"],
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
        "limits",
        "broadcast",
        "comment",
        "owner",
        "ticket",
    ],
    later: &["class", "on_no_policy"],
};
const GUARDS: Known = Known {
    what: "`guards`",
    keys: &["source", "arp", "neighbour", "dhcp", "router"],
    later: &[],
};
const DEVICE: Known = Known {
    what: "a device",
    keys: &[
        "zone", "mac", "address", "dhcp", "roles", "limits", "comment", "owner", "ticket",
    ],
    later: &["class"],
};
const SERVICE: Known = Known {
    what: "a service",
    keys: &["match", "comment", "owner", "ticket"],
    later: &[],
};
const RULE: Known = Known {
    what: "a rule",
    keys: &[
        "from", "to", "services", "action", "priority", "log", "limit", "class", "comment", "owner", "ticket",
    ],
    later: &["expires", "template", "mode"],
};

/// All declarations of all files.
#[derive(Debug, Default)]
pub(super) struct PolicyFile {
    pub(super) zones: Vec<ZoneText>,
    pub(super) devices: Vec<DeviceText>,
    pub(super) services: Vec<ServiceText>,
    pub(super) rules: Vec<RuleText>,
    pub(super) cases: Vec<CaseText>,
}

/// A zone. What was wrong is missing here and stands in the findings; so with the others.
#[derive(Debug)]
pub(super) struct ZoneText {
    pub(super) name: Spanned<String>,
    pub(super) vlan: Option<Spanned<VlanId>>,
    pub(super) realm: Option<Spanned<String>>,
    pub(super) subnets: Vec<Spanned<IpNetwork>>,
    pub(super) gateways: Vec<Spanned<IpAddr>>,
    pub(super) mode: Mode,
    pub(super) guards: GuardsText,
    pub(super) routers: Vec<Spanned<[u8; 6]>>,
    pub(super) limits: LimitsText,
    pub(super) broadcast: Limit,
}

/// The guards that a zone sets.
#[derive(Debug, Default)]
pub(super) struct GuardsText {
    pub(super) source: Option<GuardMode>,
    pub(super) arp: Option<GuardMode>,
    pub(super) neighbour: Option<GuardMode>,
    pub(super) dhcp: Option<GuardMode>,
    pub(super) router: Option<GuardMode>,
}

#[derive(Debug)]
pub(super) struct DeviceText {
    pub(super) name: Spanned<String>,
    pub(super) zone: Option<Spanned<String>>,
    pub(super) mac: Option<Spanned<[u8; 6]>>,
    pub(super) addresses: Vec<Spanned<IpAddr>>,
    pub(super) dhcp_server: bool,
    pub(super) limits: LimitsText,
}

#[derive(Debug)]
pub(super) struct ServiceText {
    pub(super) name: Spanned<String>,
    pub(super) matches: Vec<ServiceMatch>,
}

#[derive(Debug)]
pub(super) struct RuleText {
    pub(super) name: Spanned<String>,
    pub(super) from: Vec<Spanned<Reference>>,
    pub(super) to: Vec<Spanned<Reference>>,
    pub(super) services: Vec<Spanned<ServiceReference>>,
    pub(super) action: Option<Action>,
    pub(super) priority: i32,
    pub(super) log_new: bool,
    pub(super) limit: Limit,
    pub(super) scope: Scope,
    pub(super) alarm: bool,
}

/// One entry of a rule's `services`.
#[derive(Debug)]
pub(super) enum ServiceReference {
    Name(String),
    Match(ServiceMatch),
}

impl PolicyFile {
    /// Adds the declarations of one file.
    pub(super) fn add(&mut self, root: &Node<'_>, findings: &mut Vec<Diagnostic>) {
        let fields = Fields::read(root, root.at, &FILE, findings);
        for (name, node) in named(&fields, "zones", findings) {
            self.zones.push(zone(name, node, findings));
        }
        for (name, node) in named(&fields, "devices", findings) {
            self.devices.push(device(name, node, findings));
        }
        for (name, node) in named(&fields, "services", findings) {
            self.services.push(service(name, node, findings));
        }
        for (name, node) in named(&fields, "rules", findings) {
            self.rules.push(rule(name, node, findings));
        }
        if let Some(node) = fields.get("tests") {
            self.cases.extend(cases::read(node, findings));
        }
    }
}

/// The things of a section, with names that are names.
fn named<'t, 'a>(
    fields: &Fields<'t, 'a>,
    section: &str,
    findings: &mut Vec<Diagnostic>,
) -> Vec<(Spanned<String>, &'t Node<'a>)> {
    let Some(node) = fields.get(section) else {
        return Vec::new();
    };
    let entries = match &node.value {
        Value::Map(entries) => entries.as_slice(),
        Value::Null => &[],
        _ => {
            let message = format!("{} must be a map from names to their definitions", quote(section));
            findings.push(Diagnostic::at(node.at, message));
            &[]
        }
    };
    let check = |(key, node): &'t (Key<'a>, Node<'a>)| {
        let checked = match section {
            "services" => service_name(&key.text),
            // Rules are named by nobody, so no word is taken for them.
            "rules" => rule_name(&key.text),
            _ => grammar::new_name(&key.text),
        };
        let value = checked.unwrap_or_else(|complaint| {
            findings.push(complaint.at(key.at));
            key.text.clone().into_owned()
        });
        (Spanned { value, at: key.at }, node)
    };
    entries.iter().map(check).collect()
}

fn service_name(text: &str) -> Result<String, Complaint> {
    if services::is_reserved(text) {
        let message = format!("{} is a service of the language", quote(text));
        return Err(Complaint::new(message, "choose another name"));
    }
    grammar::name(text)
}

fn rule_name(text: &str) -> Result<String, Complaint> {
    if text == super::DEFAULT_RULE_NAME {
        let message = format!("{} is the name of what happens when no rule matches", quote(text));
        return Err(Complaint::new(message, "choose another name"));
    }
    grammar::name(text)
}

fn zone(name: Spanned<String>, node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> ZoneText {
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
    let broadcast = fields.get("broadcast").map(|node| rates::limit(node, findings));
    ZoneText {
        name,
        vlan,
        realm: realm.and_then(|node| scalar(node, grammar::name, findings)),
        subnets: subnets.unwrap_or_default(),
        gateways: gateways.unwrap_or_default(),
        mode: mode.map(|mode| mode.value).unwrap_or_default(),
        guards: guards.unwrap_or_default(),
        routers: routers.unwrap_or_default(),
        limits: limits(&fields, findings),
        broadcast: broadcast.unwrap_or_default(),
    }
}

fn limits(fields: &Fields<'_, '_>, findings: &mut Vec<Diagnostic>) -> LimitsText {
    let limits = fields.get("limits").map(|node| LimitsText::read(node, findings));
    limits.unwrap_or_default()
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

fn device(name: Spanned<String>, node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> DeviceText {
    let fields = Fields::read(node, name.at, &DEVICE, findings);
    fields.free_text(findings);
    let zone = fields.require("zone", "infusion-pumps", findings);
    let mac = fields.get("mac");
    let dynamic = fields.get("dhcp").is_some_and(|node| dhcp(node, findings));
    let addresses = if dynamic {
        fields.get("address")
    } else {
        fields.require("address", "10.10.110.21", findings)
    };
    let addresses = addresses.map(|node| list(node, grammar::host_address, findings));
    let roles = fields.get("roles").map(|node| list(node, grammar::role, findings));
    DeviceText {
        name,
        zone: zone.and_then(|node| scalar(node, grammar::name, findings)),
        mac: mac.and_then(|node| scalar(node, grammar::mac, findings)),
        addresses: addresses.unwrap_or_default(),
        limits: limits(&fields, findings),
        dhcp_server: roles.is_some_and(|roles| roles.iter().any(|role| role.value == Role::DhcpServer)),
    }
}

/// Whether the device asks for its address, which this version refuses by name.
fn dhcp(node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> bool {
    let dynamic = scalar(node, grammar::flag, findings).is_some_and(|flag| flag.value);
    if dynamic {
        let finding = Diagnostic::at(node.at, "`dhcp: true` is not supported yet");
        findings.push(finding.help("give the device a fixed `address`, or leave it to its zone's subnets"));
    }
    dynamic
}

/// `name: tcp/443`, `name: [tcp/80, tcp/443]`, or with a comment: `name: {match: tcp/443, comment: …}`.
fn service(name: Spanned<String>, node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> ServiceText {
    let matches = if let Value::Map(_) = node.value {
        let fields = Fields::read(node, name.at, &SERVICE, findings);
        fields.free_text(findings);
        fields.require("match", "tcp/443", findings)
    } else {
        Some(node)
    };
    let matches = matches.map(|node| list(node, service_match, findings));
    let matches = matches.unwrap_or_default();
    let matches = matches.into_iter().map(|entry| entry.value).collect();
    ServiceText { name, matches }
}

fn service_match(text: &str) -> Result<ServiceMatch, Complaint> {
    if !services::is_expression(text) && grammar::name(text).is_ok() {
        let message = format!("{} is not a protocol and port", quote(text));
        let help = "write such as tcp/443: a service cannot contain another service yet";
        return Err(Complaint::new(message, help));
    }
    services::expression(text)
}

fn service_reference(text: &str) -> Result<ServiceReference, Complaint> {
    if services::is_expression(text) {
        return services::expression(text).map(ServiceReference::Match);
    }
    grammar::name(text).map(ServiceReference::Name)
}

fn rule(name: Spanned<String>, node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> RuleText {
    let fields = Fields::read(node, name.at, &RULE, findings);
    fields.free_text(findings);
    let from = fields.require("from", "infusion-pumps", findings);
    let from = from.map(|node| list(node, grammar::reference, findings));
    let to = fields.require("to", "pump-gateway", findings);
    let to = to.map(|node| list(node, grammar::reference, findings));
    let services = fields.require("services", "[tcp/443]", findings);
    let services = services.map(|node| list(node, service_reference, findings));
    let action = fields.require("action", "allow", findings);
    let action = action.and_then(|node| scalar(node, grammar::action, findings));
    let action = action.map(|action| action.value);
    let priority = fields.get("priority");
    let priority = priority.and_then(|node| scalar(node, grammar::priority, findings));
    let limit = fields.get("limit").map(|node| {
        allows_only("limit", node, action, findings);
        rates::rule_limit(node, findings)
    });
    let (limit, scope) = limit.unwrap_or_default();
    let class = fields.get("class");
    let alarm = class.and_then(|node| {
        allows_only("class", node, action, findings);
        scalar(node, grammar::rule_class, findings)
    });
    RuleText {
        name,
        from: from.unwrap_or_default(),
        to: to.unwrap_or_default(),
        services: services.unwrap_or_default(),
        action,
        priority: priority.map_or(0, |priority| priority.value),
        limit,
        scope,
        alarm: alarm.is_some(),
        log_new: fields.get("log").is_some_and(|node| log_new(node, action, findings)),
    }
}

/// Complains about a key that makes no sense in a rule that denies.
fn allows_only(key: &str, node: &Node<'_>, action: Option<Action>, findings: &mut Vec<Diagnostic>) {
    if action == Some(Action::Deny) {
        let finding = Diagnostic::at(node.at, format!("{} is for rules that allow", quote(key)));
        findings.push(finding.help("remove it: what a rule refuses is charged to no limit"));
    }
}

fn log_new(node: &Node<'_>, action: Option<Action>, findings: &mut Vec<Diagnostic>) -> bool {
    let log = scalar(node, grammar::log, findings).is_some();
    if log && action == Some(Action::Deny) {
        let finding = Diagnostic::at(node.at, "`log: new` is for rules that allow");
        findings.push(finding.help("remove it: what a rule refuses is an event in any case"));
    }
    log
}
