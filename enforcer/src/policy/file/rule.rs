//! `rules:`, and the `templates:` that say what a rule does.

use super::service::{ServiceReference, service_reference};
use crate::diagnostics::{Diagnostic, quote};
use crate::policy::{
    fields::{Fields, Known, Spanned, list, scalar},
    grammar::{self, Reference},
    rates,
    valid::{Action, Limit, Mode, Scope},
    yaml::Node,
};

pub(super) const RULE: Known = Known {
    what: "a rule",
    keys: &[
        "from", "to", "template", "services", "action", "priority", "mode", "expires", "log", "limit", "class",
        "comment", "owner", "ticket",
    ],
    later: &[],
};
pub(super) const TEMPLATE: Known = Known {
    what: "a template",
    keys: &[
        "services", "action", "mode", "log", "limit", "class", "comment", "owner", "ticket",
    ],
    later: &[],
};

#[derive(Debug)]
pub(in crate::policy) struct RuleText {
    pub(in crate::policy) name: Spanned<String>,
    pub(in crate::policy) from: Vec<Spanned<Reference>>,
    pub(in crate::policy) to: Vec<Spanned<Reference>>,
    pub(in crate::policy) template: Option<Spanned<String>>,
    pub(in crate::policy) priority: i32,
    pub(in crate::policy) expires: Option<u64>,
    pub(in crate::policy) deed: Deed,
}

/// What rules of a kind do, whoever they are about.
#[derive(Debug)]
pub(in crate::policy) struct TemplateText {
    pub(in crate::policy) name: Spanned<String>,
    pub(in crate::policy) deed: Deed,
}

/// What a rule does with which services.
#[derive(Debug, Clone, Default)]
pub(in crate::policy) struct Deed {
    pub(in crate::policy) services: Option<Vec<Spanned<ServiceReference>>>,
    pub(in crate::policy) action: Option<Action>,
    pub(in crate::policy) mode: Option<Mode>,
    pub(in crate::policy) log_new: bool,
    pub(in crate::policy) limit: Option<(Limit, Scope)>,
    pub(in crate::policy) alarm: bool,
}

impl Deed {
    /// What is said here, and what the template says of the rest; of that, a rule that denies takes only what it can do.
    pub(in crate::policy) fn or(&self, template: &Self) -> Self {
        let own = self.clone();
        let action = own.action.or(template.action);
        let allows = action != Some(Action::Deny);
        Self {
            services: own.services.or_else(|| template.services.clone()),
            action,
            mode: own.mode.or(template.mode),
            log_new: own.log_new || allows && template.log_new,
            limit: own.limit.or(template.limit.filter(|_| allows)),
            alarm: own.alarm || allows && template.alarm,
        }
    }

    fn read(fields: &Fields<'_, '_>, complete: bool, is_template: bool, findings: &mut Vec<Diagnostic>) -> Self {
        let get = |key, example, findings: &mut Vec<Diagnostic>| {
            if complete {
                fields.require(key, example, findings)
            } else {
                fields.get(key)
            }
        };
        // A rule without them permits what its receivers offer, if they say it.
        let services = if is_template {
            fields.require("services", "[tcp/443]", findings)
        } else {
            fields.get("services")
        };
        let services = services.map(|node| list(node, service_reference, findings));
        let action = get("action", "allow", findings);
        let action = action.and_then(|node| scalar(node, grammar::action, findings));
        let action = action.map(|action| action.value);
        let mode = fields.get("mode");
        let mode = mode.and_then(|node| scalar(node, grammar::mode, findings));
        let limit = fields.get("limit").map(|node| {
            allows_only("limit", node, action, findings);
            rates::rule_limit(node, findings)
        });
        let class = fields.get("class");
        let alarm = class.and_then(|node| {
            allows_only("class", node, action, findings);
            scalar(node, grammar::rule_class, findings)
        });
        Self {
            services,
            action,
            mode: mode.map(|mode| mode.value),
            log_new: fields.get("log").is_some_and(|node| log_new(node, action, findings)),
            limit,
            alarm: alarm.is_some(),
        }
    }
}

pub(super) fn rule(name: Spanned<String>, node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> RuleText {
    let fields = Fields::read(node, name.at, &RULE, findings);
    fields.free_text(findings);
    let from = fields.require("from", "infusion-pumps", findings);
    let from = from.map(|node| list(node, grammar::reference, findings));
    let to = fields.require("to", "pump-gateway", findings);
    let to = to.map(|node| list(node, grammar::reference, findings));
    let template = fields.get("template");
    let priority = fields.get("priority");
    let priority = priority.and_then(|node| scalar(node, grammar::priority, findings));
    let expires = fields.get("expires");
    let expires = expires.and_then(|node| scalar(node, grammar::time, findings));
    RuleText {
        name,
        from: from.unwrap_or_default(),
        to: to.unwrap_or_default(),
        priority: priority.map_or(0, |priority| priority.value),
        expires: expires.map(|time| time.value),
        deed: Deed::read(&fields, template.is_none(), false, findings),
        template: template.and_then(|node| scalar(node, grammar::name, findings)),
    }
}

pub(super) fn template(name: Spanned<String>, node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> TemplateText {
    let fields = Fields::read(node, name.at, &TEMPLATE, findings);
    fields.free_text(findings);
    TemplateText {
        name,
        deed: Deed::read(&fields, true, true, findings),
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
