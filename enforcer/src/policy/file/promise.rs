//! `never:` and `must_flow:`: what the rules as a whole have to keep.

use std::time::Duration;

use super::service::{ServiceReference, service_reference};
use crate::diagnostics::Diagnostic;
use crate::policy::{
    fields::{Fields, Known, Spanned, list, scalar},
    grammar::{self, Reference},
    yaml::Node,
};

pub(super) const NEVER: Known = Known {
    what: "a `never`",
    keys: &["from", "to", "services", "comment", "owner", "ticket"],
    later: &[],
};
pub(super) const MUST_FLOW: Known = Known {
    what: "a `must_flow`",
    keys: &["from", "to", "services", "silence", "comment", "owner", "ticket"],
    later: &[],
};

#[derive(Debug)]
pub(in crate::policy) struct PromiseText {
    pub(in crate::policy) name: Spanned<String>,
    pub(in crate::policy) from: Vec<Spanned<Reference>>,
    pub(in crate::policy) to: Vec<Spanned<Reference>>,
    /// `None` for any.
    pub(in crate::policy) services: Option<Vec<Spanned<ServiceReference>>>,
    /// Of `must_flow` only.
    pub(in crate::policy) silence: Option<Spanned<Duration>>,
}

pub(super) fn never(name: Spanned<String>, node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> PromiseText {
    let fields = Fields::read(node, name.at, &NEVER, findings);
    read(name, &fields, findings)
}

pub(super) fn must_flow(name: Spanned<String>, node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> PromiseText {
    let fields = Fields::read(node, name.at, &MUST_FLOW, findings);
    fields.require("services", "udp/24105", findings);
    read(name, &fields, findings)
}

fn read(name: Spanned<String>, fields: &Fields<'_, '_>, findings: &mut Vec<Diagnostic>) -> PromiseText {
    fields.free_text(findings);
    let mut side = |key, example| {
        let node = fields.require(key, example, findings);
        let references = node.map(|node| list(node, grammar::reference, findings));
        references.unwrap_or_default()
    };
    let (from, to) = (side("from", "guests"), side("to", "infusion-pumps"));
    let services = fields.get("services");
    let silence = fields.get("silence");
    PromiseText {
        name,
        from,
        to,
        services: services.map(|node| list(node, service_reference, findings)),
        silence: silence.and_then(|node| scalar(node, grammar::silence, findings)),
    }
}
