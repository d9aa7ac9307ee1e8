//! Names for rules, and of services.

use std::collections::BTreeSet;

use enforcer_common::abi::NAME_MAX;

use crate::policy::ValidPolicy;
use crate::policy::valid::{Service, ServiceMatch};
use crate::words;

/// What starts the names of proposed rules.
const PREFIX: &str = "learned";

pub(super) struct Namer<'p> {
    taken: BTreeSet<String>,
    /// Those that stand for most first.
    services: Vec<&'p Service>,
}

impl<'p> Namer<'p> {
    pub(super) fn new(policy: &'p ValidPolicy) -> Self {
        let mut services: Vec<_> = policy.services.iter().filter(|one| !one.matches.is_empty()).collect();
        services.sort_by_key(|service| std::cmp::Reverse(service.matches.len()));
        Self {
            taken: policy.rules.iter().map(|rule| rule.name.clone()).collect(),
            services,
        }
    }

    /// The services in words: by a name of the policy, where all of what it stands for is among them.
    pub(super) fn services(&self, wanted: &BTreeSet<ServiceMatch>) -> Vec<String> {
        let mut left = wanted.clone();
        let mut words = Vec::new();
        for service in &self.services {
            if service.matches.iter().all(|one| left.contains(one)) {
                left.retain(|one| !service.matches.contains(one));
                words.push(service.name.clone());
            }
        }
        words.extend(left.into_iter().map(written));
        words
    }

    /// A name that no rule has: `learned-infusion-pumps-to-pump-gateway-https`.
    pub(super) fn rule(&mut self, [from, to]: &[String; 2], services: &[String]) -> String {
        let mut stem = format!("{PREFIX}-{from}-to-{to}");
        if let [service] = services {
            stem = format!("{stem}-{}", service.replace('/', "-"));
        }
        let mut name = cut(&stem, NAME_MAX).to_owned();
        for number in 2.. {
            if self.taken.insert(name.clone()) {
                break;
            }
            let end = format!("-{number}");
            name = format!("{}{end}", cut(&stem, NAME_MAX - end.len()));
        }
        name
    }
}

/// The start of a name, which does not end with a hyphen.
fn cut(name: &str, length: usize) -> &str {
    name[..name.len().min(length)].trim_end_matches('-')
}

fn written(service: ServiceMatch) -> String {
    match service {
        ServiceMatch::Any => "any".to_owned(),
        ServiceMatch::Protocol(number) => words::protocol(number),
        ServiceMatch::Ports { protocol, first, last } if first == last => words::service(protocol, first),
        ServiceMatch::Ports { protocol, first, last } => {
            format!("{}/{first}-{last}", words::protocol(protocol))
        }
    }
}
