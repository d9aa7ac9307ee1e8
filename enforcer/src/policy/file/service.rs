//! `services:`, and the services of rules.

use crate::diagnostics::Diagnostic;
use crate::policy::{
    fields::{Complaint, Fields, Known, Spanned, list},
    grammar, services,
    valid::ServiceMatch,
    yaml::{Node, Value},
};

pub(super) const SERVICE: Known = Known {
    what: "a service",
    keys: &["match", "comment", "owner", "ticket"],
    later: &[],
};

#[derive(Debug)]
pub(in crate::policy) struct ServiceText {
    pub(in crate::policy) name: Spanned<String>,
    pub(in crate::policy) matches: Vec<Spanned<ServiceReference>>,
}

/// A service that is written out, or the name of one.
#[derive(Debug, Clone)]
pub(in crate::policy) enum ServiceReference {
    Name(String),
    Match(ServiceMatch),
}

pub(super) fn service_reference(text: &str) -> Result<ServiceReference, Complaint> {
    if services::is_expression(text) {
        return services::expression(text).map(ServiceReference::Match);
    }
    grammar::name(text).map(ServiceReference::Name)
}

/// `name: tcp/443`, `name: [tcp/80, other-service]`, or with a comment: `name: {match: tcp/443, comment: …}`.
pub(super) fn service(name: Spanned<String>, node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> ServiceText {
    let matches = if let Value::Map(_) = node.value {
        let fields = Fields::read(node, name.at, &SERVICE, findings);
        fields.free_text(findings);
        fields.require("match", "tcp/443", findings)
    } else {
        Some(node)
    };
    let matches = matches.map(|node| list(node, service_reference, findings));
    let matches = matches.unwrap_or_default();
    ServiceText { name, matches }
}
