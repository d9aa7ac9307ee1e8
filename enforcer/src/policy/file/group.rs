//! `groups:` of zones, devices and prefixes.

use crate::diagnostics::Diagnostic;
use crate::policy::{
    fields::{Fields, Known, Spanned, list},
    grammar::{self, Reference},
    yaml::{Node, Value},
};

pub(super) const GROUP: Known = Known {
    what: "a group",
    keys: &["members", "comment", "owner", "ticket"],
    later: &[],
};

#[derive(Debug)]
pub(in crate::policy) struct GroupText {
    pub(in crate::policy) name: Spanned<String>,
    pub(in crate::policy) members: Vec<Spanned<Reference>>,
}

/// `name: [zone, device, 10.0.0.0/8]`, or with a comment: `name: {members: […], comment: …}`.
pub(super) fn group(name: Spanned<String>, node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> GroupText {
    let members = if let Value::Map(_) = node.value {
        let fields = Fields::read(node, name.at, &GROUP, findings);
        fields.free_text(findings);
        fields.require("members", "[infusion-pumps, pump-gateway]", findings)
    } else {
        Some(node)
    };
    let members = members.map(|node| list(node, grammar::reference, findings));
    let members = members.unwrap_or_default();
    GroupText { name, members }
}
