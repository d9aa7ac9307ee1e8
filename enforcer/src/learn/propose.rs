//! From observations to rules that permit these and nothing else, and to findings about what is left out.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use enforcer_common::packet::protocol;
use serde::Serialize;

use super::findings::{Finding, Findings, Kind};
use super::group::{self, Want};
use super::judge::{Judge, Nameless, Place, Ruling};
use super::store::{End, Key, Observation, Store};
use crate::diagnostics::Diagnostics;
use crate::policy::ValidPolicy;
use crate::policy::valid::ServiceMatch;
use crate::words;

/// A source with so many connections that nobody answered is looking for something.
const SCAN: usize = 16;
/// What is wanted of the rules.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// Only what was seen at this time (Unix seconds) or later.
    pub since: u64,
    /// Only what was seen so often.
    pub min_count: u64,
    /// The zones instead of the senders that were seen, and of the receivers.
    pub wider_ends: [bool; 2],
    /// A range instead of several ports from 1024 on.
    pub wider_ports: bool,
    /// TCP that nobody answered, too.
    pub unanswered: bool,
}

/// How often and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Connections; of what forms no flow, events, of which not each is sent.
    pub count: u64,
    /// Unix seconds of the first.
    #[serde(rename = "first_seen", serialize_with = "super::render::time")]
    pub first: u64,
    /// Unix seconds of the last.
    #[serde(rename = "last_seen", serialize_with = "super::render::time")]
    pub last: u64,
}

/// Who was seen to ask whom for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// A device, a zone, or an address.
    pub from: String,
    /// The same.
    pub to: String,
    /// `tcp/443`.
    pub service: String,
    /// Whether it was answered.
    pub answered: bool,
    /// How often and when.
    #[serde(flatten)]
    pub evidence: Evidence,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Its name, which no rule of the policy has.
    pub name: String,
    /// Zones, devices and addresses.
    pub from: Vec<String>,
    /// The same.
    pub to: Vec<String>,
    /// Services, by name where the policy has one that stands for nothing else.
    pub services: Vec<String>,
    /// Of all its pairs.
    #[serde(flatten)]
    pub evidence: Evidence,
    /// What was seen of it.
    pub pairs: Vec<Pair>,
}

/// What is proposed, and what is left out.
#[derive(Debug, Serialize)]
pub struct Proposal {
    /// The rules.
    pub rules: Vec<Rule>,
    /// What is left out, and why.
    pub findings: Vec<Finding>,
    /// Different connections that were looked at.
    pub seen: usize,
    /// Of these, those that the policy permits already.
    pub permitted: usize,
    /// Of these, those that the rules are for.
    pub proposed: usize,
    /// Those that the rules are for, to hold the rules to them.
    #[serde(skip)]
    pub(super) wanted: Vec<Key>,
}

/// Rules for what a store has and a policy does not permit.
///
/// # Errors
/// When the policy cannot be compiled.
pub fn propose(store: &Store, policy: &ValidPolicy, wishes: &Wishes) -> Result<Proposal, Diagnostics> {
    let judge = Judge::new(policy)?;
    let mut sorter = Sorter::new(&judge, wishes, store);
    let (mut wants, mut wanted, mut seen) = (Vec::new(), Vec::new(), 0);
    for (key, known) in store.iter().filter(|(_, known)| known.last >= wishes.since) {
        seen += 1;
        if let Some(want) = sorter.sort(key, known) {
            wants.push(want);
            wanted.push(key.clone());
        }
    }
    let (permitted, mut findings) = (sorter.permitted, sorter.findings);
    findings.add_refusals(store, wishes.since);
    if wishes.wider_ports {
        group::merge_ports(&mut wants);
    }
    Ok(Proposal {
        rules: group::rules(wants, policy),
        findings: findings.sorted(),
        seen,
        permitted,
        proposed: wanted.len(),
        wanted,
    })
}

/// Tells what rules are for from what is left out.
struct Sorter<'s, 'p> {
    judge: &'s Judge<'p>,
    wishes: &'s Wishes,
    scanners: BTreeMap<(&'s str, &'s End), Scanner>,
    permitted: usize,
    findings: Findings,
}

/// What a source was seen to do.
#[derive(Default)]
struct Scanner {
    answered: usize,
    unanswered: usize,
}

impl<'s, 'p> Sorter<'s, 'p> {
    fn new(judge: &'s Judge<'p>, wishes: &'s Wishes, store: &'s Store) -> Self {
        let mut scanners: BTreeMap<_, Scanner> = BTreeMap::new();
        for (key, known) in store.iter().filter(|(key, _)| !is_to_group(key)) {
            let scanner = scanners.entry((key.realm.as_str(), &key.from)).or_default();
            if known.answered {
                scanner.answered += 1;
            } else {
                scanner.unanswered += 1;
            }
        }
        scanners.retain(|_, scanner| scanner.unanswered >= SCAN);
        Self {
            judge,
            wishes,
            scanners,
            permitted: 0,
            findings: Findings::default(),
        }
    }

    /// What a rule shall permit, if that is so.
    fn sort(&mut self, key: &'s Key, known: &Observation) -> Option<Want> {
        let evidence = Evidence {
            count: known.count,
            first: known.first,
            last: known.last,
        };
        let places = match self.judge.places(key) {
            Ok(places) => places,
            Err(what) => {
                self.findings.add(Kind::NotInPolicy, &what, &evidence, &plain(key));
                return None;
            }
        };
        let example = self.example(&places, key);
        if let Some((kind, subject)) = self.reason_against(key, known, &places) {
            self.findings.add(kind, &subject, &evidence, &example);
            return None;
        }
        if self.judge.ruling(&places, key.protocol, key.port) == Ruling::Permitted {
            self.permitted += 1;
            return None;
        }
        let subjects = match self.judge.subjects(&places, self.wishes.wider_ends) {
            Ok(subjects) => subjects,
            Err((end, why)) => {
                let kind = match why {
                    Nameless::Unknown => Kind::UnknownAddress,
                    Nameless::Leased => Kind::LeasedAddress,
                    Nameless::Ambiguous => Kind::AmbiguousAddress,
                };
                self.findings.add(kind, &self.told(&places[end]), &evidence, &example);
                return None;
            }
        };
        if known.turned {
            self.findings
                .add(Kind::Turned, &self.told(&places[1]), &evidence, &example);
        }
        let [from, to] = [0, 1].map(|end| Self::told_shortly(&places[end]));
        Some(Want {
            zones: [0, 1].map(|end| self.judge.zone(&places[end]).to_owned()),
            subjects,
            service: service(key),
            pair: Pair {
                from,
                to,
                service: words::service(key.protocol, key.port),
                answered: known.answered,
                evidence,
            },
        })
    }

    /// Why no rule is proposed: the kind of finding, and whom it is about.
    fn reason_against(&self, key: &'s Key, known: &Observation, places: &[Place<'p>; 2]) -> Option<(Kind, String)> {
        let ruling = self.judge.ruling(places, key.protocol, key.port);
        match ruling {
            Ruling::Permitted => return None,
            Ruling::Denied(rule) => return Some((Kind::DeniedOnPurpose, format!("rule {rule}"))),
            Ruling::Unsaid => {}
        }
        if let Some(promise) = self.judge.promise(places, key.protocol, key.port) {
            return Some((Kind::Promised, format!("never `{promise}`")));
        }
        if is_icmp_error(key) {
            return Some((Kind::IcmpError, self.told(&places[0])));
        }
        if let Some(scanner) = self.scanners.get(&(key.realm.as_str(), &key.from))
            && !is_to_group(key)
            && (!known.answered || scanner.unanswered >= scanner.answered)
        {
            return Some((Kind::Scan, self.told(&places[0])));
        }
        if key.protocol == protocol::TCP && !known.answered && !self.wishes.unanswered {
            return Some((Kind::Unanswered, self.told(&places[0])));
        }
        if known.count < self.wishes.min_count {
            return Some((Kind::Rare, self.told(&places[0])));
        }
        None
    }

    fn example(&self, places: &[Place<'p>; 2], key: &Key) -> String {
        let [from, to] = [0, 1].map(|end| self.told(&places[end]));
        format!("{from} to {to}, {}", words::service(key.protocol, key.port))
    }

    /// `10.10.110.22 of infusion-pumps`.
    fn told(&self, place: &Place<'p>) -> String {
        format!("{} of {}", Self::told_shortly(place), self.judge.zone(place))
    }

    fn told_shortly(place: &Place<'p>) -> String {
        let address = || place.address.map_or("-".to_owned(), |address| address.to_string());
        place.device.map_or_else(address, str::to_owned)
    }
}

pub(super) fn plain(key: &Key) -> String {
    let end = |end: &End| match end {
        End::Device(name) => name.clone(),
        End::Address(address) => address.to_string(),
    };
    let service = words::service(key.protocol, key.port);
    format!("{} to {}, {service}", end(&key.from), end(&key.to))
}

fn is_to_group(key: &Key) -> bool {
    matches!(key.to, End::Address(address) if address.is_multicast() || address == Ipv4Addr::BROADCAST)
}

/// Errors follow the flow that they quote, and need no rule of their own.
fn is_icmp_error(key: &Key) -> bool {
    let kind = key.port >> 8;
    match key.protocol {
        protocol::ICMP => matches!(kind, 3 | 11 | 12),
        protocol::ICMPV6 => (1..=4).contains(&kind),
        _ => false,
    }
}

fn service(key: &Key) -> ServiceMatch {
    match key.protocol {
        protocol::TCP | protocol::UDP | protocol::ICMP | protocol::ICMPV6 => ServiceMatch::Ports {
            protocol: key.protocol,
            first: key.port,
            last: key.port,
        },
        other => ServiceMatch::Protocol(other),
    }
}

impl Evidence {
    pub(super) fn of<'e>(all: impl Iterator<Item = &'e Self>) -> Self {
        let none = Self {
            count: 0,
            first: u64::MAX,
            last: 0,
        };
        all.fold(none, Self::and)
    }

    pub(super) fn and(self, other: &Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }
}
