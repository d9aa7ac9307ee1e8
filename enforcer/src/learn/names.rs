//! Names for rules, and of services.

use std::collections::{BTreeMap, BTreeSet};

use enforcer_common::abi::NAME_MAX;

use crate::policy::ValidPolicy;
use crate::policy::valid::{Service, ServiceMatch};
use crate::words;

/// What starts the names of proposed rules.
const PREFIX: &str = "learned";

pub(super) struct Namer<'p> {
    taken: BTreeSet<String>,
    /// How many names begin so.
    counts: BTreeMap<String, u32>,
    /// Those that stand for most first.
    services: Vec<&'p Service>,
}

impl<'p> Namer<'p> {
    pub(super) fn new(policy: &'p ValidPolicy) -> Self {
        let mut services: Vec<_> = policy.services.iter().filter(|one| !one.matches.is_empty()).collect();
        services.sort_by_key(|service| std::cmp::Reverse(service.matches.len()));
        Self {
            taken: policy.rules.iter().map(|rule| rule.name.clone()).collect(),
            counts: BTreeMap::new(),
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
        let stem = cut(&stem, NAME_MAX);
        let count = self.counts.entry(stem.to_owned()).or_default();
        loop {
            *count += 1;
            let name = match *count {
                1 => stem.to_owned(),
                more => {
                    let end = format!("-{more}");
                    format!("{}{end}", cut(stem, NAME_MAX - end.len()))
                }
            };
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::tests::policy;

    #[test]
    fn names_are_free_and_short_enough() {
        let policy = policy("rules:\n  learned-a-to-b-2: {from: pumps, to: servers, services: tcp/1, action: allow}\n");
        let mut namer = Namer::new(&policy);
        let mut name = |from: &str| namer.rule(&[from.into(), "b".into()], &["x".into(), "y".into()]);
        assert_eq!(
            [name("a"), name("a"), name("a")],
            ["learned-a-to-b", "learned-a-to-b-3", "learned-a-to-b-4"]
        );
        let long = "z".repeat(NAME_MAX);
        let all: BTreeSet<_> = (0..12).map(|_| name(&long)).collect();
        assert!(all.len() == 12 && all.iter().all(|name| name.len() <= NAME_MAX));
        let service = namer.rule(&["a".into(), "b".into()], &["icmp/8/0".into()]);
        assert_eq!(service, "learned-a-to-b-icmp-8-0");
    }
}
