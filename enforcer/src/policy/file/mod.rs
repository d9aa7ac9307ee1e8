//! `PolicyFile`: what the files declare, word by word, before any name is looked up.

mod class;
mod device;
mod group;
mod promise;
mod rule;
mod service;
mod zone;

use super::{
    cases::{self, CaseText},
    fields::{Complaint, Fields, Known, Spanned},
    grammar, services,
    yaml::{Key, Node, Value},
};
use crate::diagnostics::{Diagnostic, quote};
pub(super) use class::{ClassText, Traits};
use class::{class_of, offers};
pub(super) use device::DeviceText;
pub(super) use group::GroupText;
pub(super) use promise::PromiseText;
pub(super) use rule::{Deed, RuleText, TemplateText};
pub(super) use service::{ServiceReference, ServiceText};
pub(super) use zone::ZoneText;

const FILE: Known = Known {
    what: "a policy file",
    keys: &[
        "zones",
        "devices",
        "groups",
        "classes",
        "services",
        "templates",
        "rules",
        "never",
        "must_flow",
        "tests",
    ],
    later: &[],
};

/// All declarations of all files.
#[derive(Debug, Default)]
pub(super) struct PolicyFile {
    pub(super) zones: Vec<ZoneText>,
    pub(super) devices: Vec<DeviceText>,
    pub(super) groups: Vec<GroupText>,
    pub(super) classes: Vec<ClassText>,
    pub(super) services: Vec<ServiceText>,
    pub(super) templates: Vec<TemplateText>,
    pub(super) rules: Vec<RuleText>,
    pub(super) never: Vec<PromiseText>,
    pub(super) must_flow: Vec<PromiseText>,
    pub(super) cases: Vec<CaseText>,
}

impl PolicyFile {
    /// Adds the declarations of one file.
    pub(super) fn add(&mut self, root: &Node<'_>, findings: &mut Vec<Diagnostic>) {
        let fields = Fields::read(root, root.at, &FILE, findings);
        for (name, node) in named(&fields, "zones", findings) {
            self.zones.push(zone::zone(name, node, findings));
        }
        for (name, node) in named(&fields, "devices", findings) {
            self.devices.push(device::device(name, node, findings));
        }
        for (name, node) in named(&fields, "classes", findings) {
            self.classes.push(class::class(name, node, findings));
        }
        for (name, node) in named(&fields, "services", findings) {
            self.services.push(service::service(name, node, findings));
        }
        for (name, node) in named(&fields, "groups", findings) {
            self.groups.push(group::group(name, node, findings));
        }
        for (name, node) in named(&fields, "templates", findings) {
            self.templates.push(rule::template(name, node, findings));
        }
        for (name, node) in named(&fields, "rules", findings) {
            self.rules.push(rule::rule(name, node, findings));
        }
        for (name, node) in named(&fields, "never", findings) {
            self.never.push(promise::never(name, node, findings));
        }
        for (name, node) in named(&fields, "must_flow", findings) {
            self.must_flow.push(promise::must_flow(name, node, findings));
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
            "classes" | "templates" | "never" | "must_flow" => grammar::name(&key.text),
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
