//! `classes:`, and what zones and devices may say like them.

use super::service::{ServiceReference, service_reference};
use crate::diagnostics::Diagnostic;
use crate::policy::{
    fields::{Fields, Known, Spanned, list, scalar},
    grammar,
    rates::LimitsText,
    valid::OnNoPolicy,
    yaml::Node,
};

const CLASS: Known = Known {
    what: "a class",
    keys: &[
        "limits",
        "least_mss",
        "on_no_policy",
        "offers",
        "comment",
        "owner",
        "ticket",
    ],
    later: &[],
};

/// A class of devices.
#[derive(Debug)]
pub(in crate::policy) struct ClassText {
    pub(in crate::policy) name: Spanned<String>,
    pub(in crate::policy) traits: Traits,
    pub(in crate::policy) offers: Option<Vec<Spanned<ServiceReference>>>,
}

/// What classes, zones and devices may say of their stations, and leave to the next more general one.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::policy) struct Traits {
    pub(in crate::policy) limits: LimitsText,
    pub(in crate::policy) least_mss: Option<u16>,
    /// Not of devices.
    pub(in crate::policy) on_no_policy: Option<OnNoPolicy>,
}

impl Traits {
    pub(super) fn read(fields: &Fields<'_, '_>, findings: &mut Vec<Diagnostic>) -> Self {
        let limits = fields.get("limits").map(|node| LimitsText::read(node, findings));
        let least_mss = fields.get("least_mss");
        let least_mss = least_mss.and_then(|node| scalar(node, grammar::least_mss, findings));
        let on_no_policy = fields.get("on_no_policy");
        let on_no_policy = on_no_policy.and_then(|node| scalar(node, grammar::on_no_policy, findings));
        Self {
            limits: limits.unwrap_or_default(),
            least_mss: least_mss.map(|mss| mss.value),
            on_no_policy: on_no_policy.map(|answer| answer.value),
        }
    }

    pub(in crate::policy) fn says_something(&self) -> bool {
        self.limits.says_something() || self.least_mss.is_some()
    }

    /// What is said here, and what the more general one says of the rest.
    pub(in crate::policy) fn or(self, general: Self) -> Self {
        Self {
            limits: self.limits.or(general.limits),
            least_mss: self.least_mss.or(general.least_mss),
            on_no_policy: self.on_no_policy.or(general.on_no_policy),
        }
    }
}

pub(super) fn class(name: Spanned<String>, node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> ClassText {
    let fields = Fields::read(node, name.at, &CLASS, findings);
    fields.free_text(findings);
    ClassText {
        name,
        traits: Traits::read(&fields, findings),
        offers: offers(&fields, findings),
    }
}

/// What stations of a class, a zone or a device offer.
pub(super) fn offers(
    fields: &Fields<'_, '_>,
    findings: &mut Vec<Diagnostic>,
) -> Option<Vec<Spanned<ServiceReference>>> {
    Some(list(fields.get("offers")?, service_reference, findings))
}

/// The class that a zone or device names.
pub(super) fn class_of(fields: &Fields<'_, '_>, findings: &mut Vec<Diagnostic>) -> Option<Spanned<String>> {
    scalar(fields.get("class")?, grammar::name, findings)
}
