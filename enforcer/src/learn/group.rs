//! From connections to rules that permit them and nothing else.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use enforcer_common::packet::protocol;

use super::judge::Subject;
use super::names::Namer;
use super::propose::{Evidence, Pair, Rule};
use crate::policy::ValidPolicy;
use crate::policy::valid::ServiceMatch;

/// So many ports of a protocol between the same ends become a range, when ranges are asked for.
const RANGE: usize = 4;
/// Ports below are each a service of its own.
const DYNAMIC_PORTS: u16 = 1024;

/// A connection that a rule shall permit.
pub(super) struct Want {
    pub(super) zones: [String; 2],
    pub(super) subjects: [Subject; 2],
    pub(super) service: ServiceMatch,
    pub(super) pair: Pair,
}

/// What a rule is made of: zones, senders, receivers.
type Ends = ([String; 2], BTreeSet<Subject>, BTreeSet<Subject>);

/// Several high ports of a protocol between the same ends become a range.
pub(super) fn merge_ports(wants: &mut [Want]) {
    let high = |service: ServiceMatch| match service {
        ServiceMatch::Ports { protocol, first, last } if first >= DYNAMIC_PORTS => Some((protocol, first, last)),
        _ => None,
    };
    let mut spans: BTreeMap<([Subject; 2], u8), BTreeSet<u16>> = BTreeMap::new();
    for want in wants.iter() {
        if let Some((protocol, first, _)) = high(want.service).filter(|(protocol, ..)| is_with_ports(*protocol)) {
            spans
                .entry((want.subjects.clone(), protocol))
                .or_default()
                .insert(first);
        }
    }
    for want in wants.iter_mut() {
        if let Some((protocol, ..)) = high(want.service)
            && let Some(ports) = spans.get(&(want.subjects.clone(), protocol))
            && let (Some(&first), Some(&last)) = (ports.first(), ports.last())
            && ports.len() >= RANGE
        {
            want.service = ServiceMatch::Ports { protocol, first, last };
        }
    }
}

const fn is_with_ports(number: u8) -> bool {
    matches!(number, protocol::TCP | protocol::UDP)
}

/// A pair as it is told: sender, receiver, service.
type Words = (String, String, String);

/// Rules that permit each of the wants and no other pair or service: senders with the same receivers share one, and services
/// with the same ends.
pub(super) fn rules(wants: Vec<Want>, policy: &ValidPolicy) -> Vec<Rule> {
    let mut receivers: BTreeMap<([String; 2], ServiceMatch), BTreeMap<Subject, BTreeSet<Subject>>> = BTreeMap::new();
    for want in &wants {
        let [from, to] = want.subjects.clone();
        let of_service = receivers.entry((want.zones.clone(), want.service)).or_default();
        of_service.entry(from).or_default().insert(to);
    }
    let mut services: BTreeMap<Ends, BTreeSet<ServiceMatch>> = BTreeMap::new();
    for ((zones, service), receivers) in receivers {
        let mut senders: BTreeMap<BTreeSet<Subject>, BTreeSet<Subject>> = BTreeMap::new();
        for (from, to) in receivers {
            senders.entry(to).or_default().insert(from);
        }
        for (to, from) in senders {
            services.entry((zones.clone(), from, to)).or_default().insert(service);
        }
    }
    let mut pairs: BTreeMap<([Subject; 2], ServiceMatch), BTreeMap<Words, Pair>> = BTreeMap::new();
    for Want {
        subjects,
        service,
        pair,
        ..
    } in wants
    {
        let words = (pair.from.clone(), pair.to.clone(), pair.service.clone());
        // Of a device, what was seen of each of its addresses is one.
        match pairs.entry((subjects, service)).or_default().entry(words) {
            Entry::Vacant(place) => drop(place.insert(pair)),
            Entry::Occupied(mut place) => {
                let known = place.get_mut();
                known.answered |= pair.answered;
                known.evidence = known.evidence.and(&pair.evidence);
            }
        }
    }
    let mut namer = Namer::new(policy);
    let made = services.into_iter().map(|((zones, from, to), services)| {
        let mut own = Vec::new();
        for (from, to) in from.iter().flat_map(|from| to.iter().map(move |to| (from, to))) {
            for service in &services {
                let seen = pairs.remove(&([from.clone(), to.clone()], *service));
                own.extend(seen.unwrap_or_default().into_values());
            }
        }
        let services = namer.services(&services);
        Rule {
            name: namer.rule(&zones, &services),
            from: from.iter().map(text).collect(),
            to: to.iter().map(text).collect(),
            services,
            evidence: Evidence::of(own.iter().map(|pair| &pair.evidence)),
            pairs: own,
        }
    });
    made.collect()
}

fn text(subject: &Subject) -> String {
    match subject {
        Subject::Name(name) => name.clone(),
        Subject::Address(address) => address.to_string(),
    }
}
