//! `services:`.

use crate::diagnostics::{Diagnostic, quote};
use crate::policy::{
    fields::{Complaint, Fields, Known, Spanned, list},
    grammar, services,
    valid::ServiceMatch,
    yaml::{Node, Value},
};

const SERVICE: Known = Known {
    what: "a service",
    keys: &["match", "comment", "owner", "ticket"],
    later: &[],
};
#[derive(Debug)]
pub(in crate::policy) struct ServiceText {
    pub(in crate::policy) name: Spanned<String>,
    pub(in crate::policy) matches: Vec<ServiceMatch>,
}

/// `name: tcp/443`, `name: [tcp/80, tcp/443]`, or with a comment: `name: {match: tcp/443, comment: …}`.
pub(super) fn service(name: Spanned<String>, node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> ServiceText {
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
