//! What is left out of the rules, and why.

use std::collections::BTreeMap;

use serde::Serialize;

use super::propose::Evidence;
use super::store::Store;

/// Why something is left out; in the order in which they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    DeniedOnPurpose,
    Promised,
    Scan,
    Unanswered,
    UnknownAddress,
    LeasedAddress,
    AmbiguousAddress,
    NotInPolicy,
    IcmpError,
    Rare,
    Turned,
    Refused,
    LeftOut,
}

impl Kind {
    /// Its name, what it means, and what to do.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::DeniedOnPurpose => ("denied-on-purpose", "denies it; no rule is proposed against that"),
            Self::Promised => ("promised", "promises that no rule permits it"),
            Self::Scan => ("scan", "tries what nobody answers; if it may scan, write a rule for it"),
            Self::Unanswered => (
                "unanswered",
                "asks by TCP and nobody answers; --unanswered proposes rules for it",
            ),
            Self::UnknownAddress => (
                "unknown-address",
                "no zone declares the address; declare one, and ask again",
            ),
            Self::LeasedAddress => (
                "leased-address",
                "the zone has addresses by DHCP, and this one is no device's; declare the device, or ask with --wider",
            ),
            Self::AmbiguousAddress => (
                "ambiguous-address",
                "several realms have these addresses; declare a device for one of the ends",
            ),
            Self::NotInPolicy => ("not-in-policy", "the policy does not have it any more"),
            Self::IcmpError => (
                "icmp-error",
                "sends ICMP errors; they pass with the flow that they quote, and need no rule",
            ),
            Self::Rare => ("rare", "is seen less often than --min-count asks for"),
            Self::Turned => (
                "turned",
                "answered when watching began, so the rule proposed is for those who ask it; make sure that it is the server",
            ),
            Self::Refused => ("refused-otherwise", "would be refused, and no rule changes that"),
            Self::LeftOut => ("left-out", "the store had no room for everything that was seen"),
        }
    }
}

/// Something that is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `scan`, `denied-on-purpose`, …
    pub kind: &'static str,
    /// Who or what it is about.
    pub subject: String,
    /// What it means, and what to do.
    pub text: &'static str,
    /// Different connections.
    pub connections: usize,
    /// How often and when; `None` when that is not known.
    #[serde(flatten)]
    pub evidence: Option<Evidence>,
    /// The last of them.
    pub example: String,
}

/// All of them, those about the same together.
#[derive(Default)]
pub(super) struct Findings(BTreeMap<(Kind, String), Finding>);

impl Findings {
    pub(super) fn add(&mut self, kind: Kind, subject: &str, evidence: &Evidence, example: &str) {
        let (name, text) = kind.words();
        let key = (kind, subject.to_owned());
        let known = self.0.entry(key).or_insert_with(|| Finding {
            kind: name,
            subject: subject.to_owned(),
            text,
            connections: 0,
            evidence: None,
            example: String::new(),
        });
        known.connections += 1;
        if known.evidence.is_none_or(|before| before.last <= evidence.last) {
            example.clone_into(&mut known.example);
        }
        known.evidence = Some(known.evidence.map_or(*evidence, |before| before.and(evidence)));
    }

    /// What else a store has: what guards and limits refuse, and what it had no room for.
    pub(super) fn add_refusals(&mut self, store: &Store, since: u64) {
        for (refusal, refused) in store.refusals().filter(|(_, refused)| refused.last >= since) {
            let vlan = match refusal.vlan.as_str() {
                "" => "no VLAN".to_owned(),
                vlan => format!("VLAN {vlan}"),
            };
            let evidence = Evidence {
                count: refused.count,
                first: refused.first,
                last: refused.last,
            };
            let subject = format!("{} on {vlan}", refusal.reason);
            self.add(Kind::Refused, &subject, &evidence, &refused.example);
        }
        if store.left_out() > 0 {
            let (kind, text) = Kind::LeftOut.words();
            let finding = Finding {
                kind,
                subject: format!("{} times", store.left_out()),
                text,
                connections: 0,
                evidence: None,
                example: String::new(),
            };
            self.0.insert((Kind::LeftOut, String::new()), finding);
        }
    }

    /// By kind; of each kind, those with the most connections first.
    pub(super) fn sorted(self) -> Vec<Finding> {
        let mut all: Vec<_> = self.0.into_iter().collect();
        all.sort_by_key(|((kind, _), finding)| (*kind, std::cmp::Reverse(finding.connections)));
        all.into_iter().map(|(_, finding)| finding).collect()
    }
}
