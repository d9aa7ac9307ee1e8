//! `rules:`.

use crate::diagnostics::{Diagnostic, quote};
use crate::policy::{
    fields::{Complaint, Fields, Known, Spanned, list, scalar},
    grammar::{self, Reference},
    rates, services,
    valid::{Action, Limit, Mode, Scope, ServiceMatch},
    yaml::Node,
};

const RULE: Known = Known {
    what: "a rule",
    keys: &[
        "from", "to", "services", "action", "priority", "mode", "expires", "log", "limit", "class", "comment", "owner",
        "ticket",
    ],
    later: &["template"],
};

#[derive(Debug)]
pub(in crate::policy) struct RuleText {
    pub(in crate::policy) name: Spanned<String>,
    pub(in crate::policy) from: Vec<Spanned<Reference>>,
    pub(in crate::policy) to: Vec<Spanned<Reference>>,
    pub(in crate::policy) services: Vec<Spanned<ServiceReference>>,
    pub(in crate::policy) action: Option<Action>,
    pub(in crate::policy) priority: i32,
    pub(in crate::policy) expires: Option<u64>,
    pub(in crate::policy) mode: Option<Mode>,
    pub(in crate::policy) log_new: bool,
    pub(in crate::policy) limit: Limit,
    pub(in crate::policy) scope: Scope,
    pub(in crate::policy) alarm: bool,
}

/// One entry of a rule's `services`.
#[derive(Debug)]
pub(in crate::policy) enum ServiceReference {
    Name(String),
    Match(ServiceMatch),
}

fn service_reference(text: &str) -> Result<ServiceReference, Complaint> {
    if services::is_expression(text) {
        return services::expression(text).map(ServiceReference::Match);
    }
    grammar::name(text).map(ServiceReference::Name)
}

pub(super) fn rule(name: Spanned<String>, node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> RuleText {
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
    let mode = fields.get("mode");
    let mode = mode.and_then(|node| scalar(node, grammar::mode, findings));
    let expires = fields.get("expires");
    let expires = expires.and_then(|node| scalar(node, grammar::time, findings));
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
        expires: expires.map(|time| time.value),
        mode: mode.map(|mode| mode.value),
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
