//! Identities: endpoints that no rule can tell apart share one. Senders and receivers are told apart by different
//! sides of the rules, so an endpoint has one identity of each kind.

use std::collections::HashMap;

use ipnetwork::IpNetwork;

use super::space::{Facts, SetId, Space};
use crate::policy::valid::{Rule, Selector, ValidPolicy};

/// How closely a rule names an address: `any`, its zone, a prefix around it (the longer, the closer), the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Closeness(u8);

impl Closeness {
    const ANY: Self = Self(0);
    const ZONE: Self = Self(1);
    const DEVICE: Self = Self(255);

    fn prefix(prefix: IpNetwork) -> Self {
        Self(2 + prefix.prefix())
    }
}

/// The rules that name an address, by number and without repeats, each with its closest way of naming it.
pub(super) type RuleSet = Vec<(u32, Closeness)>;

/// The identities of one side.
pub(super) struct Identities {
    /// By identity.
    pub(super) sets: Vec<RuleSet>,
    /// By identity: an earlier one with mostly the same rules; the first one has itself.
    pub(super) like: Vec<u32>,
}

/// The identities of both sides.
pub(super) struct Assigned {
    pub(super) sources: Identities,
    pub(super) destinations: Identities,
    /// By endpoint: as a sender, as a receiver.
    pub(super) of_endpoint: Vec<(u32, u32)>,
}

/// All prefixes in rules and promises, each once, sorted.
pub(super) fn rule_prefixes(policy: &ValidPolicy) -> Vec<IpNetwork> {
    let selectors = policy.rules.iter().flat_map(|rule| rule.from.iter().chain(&rule.to));
    let promises = policy
        .never
        .iter()
        .chain(policy.must_flow.iter().map(|flow| &flow.kept));
    let selectors = selectors.chain(promises.flat_map(|promise| promise.from.iter().chain(&promise.to)));
    let prefixes = selectors.filter_map(|selector| match selector {
        Selector::Prefix(prefix) => Some(*prefix),
        _ => None,
    });
    let mut prefixes: Vec<_> = prefixes.collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes
}

/// Gives every endpoint its identities.
pub(super) fn assign(policy: &ValidPolicy, prefixes: &[IpNetwork], space: &Space) -> Assigned {
    let mut sources = Side::new(policy, prefixes, &space.sets, |rule| &rule.from);
    let mut destinations = Side::new(policy, prefixes, &space.sets, |rule| &rule.to);
    let pair = |facts: &Facts| (sources.of(*facts), destinations.of(*facts));
    Assigned {
        of_endpoint: space.facts.iter().map(pair).collect(),
        sources: sources.identities,
        destinations: destinations.identities,
    }
}

/// Who is named, as far as rules of this side name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Named {
    /// `None` when no rule names the zone.
    zone: Option<u16>,
    set: SetId,
    /// `None` when no rule names the device.
    device: Option<u32>,
}

/// What the rules name on one side.
struct Side<'s> {
    any: RuleSet,
    zones: Vec<RuleSet>,
    prefixes: Vec<RuleSet>,
    devices: HashMap<u32, RuleSet>,
    sets: &'s [(SetId, u32)],
    known: HashMap<Named, u32>,
    by_rules: HashMap<RuleSet, u32>,
    identities: Identities,
}

impl<'s> Side<'s> {
    fn new(
        policy: &ValidPolicy,
        prefixes: &[IpNetwork],
        sets: &'s [(SetId, u32)],
        selectors: impl Fn(&Rule) -> &[Selector],
    ) -> Self {
        let mut side = Self {
            any: RuleSet::new(),
            zones: vec![RuleSet::new(); policy.zones.len()],
            prefixes: vec![RuleSet::new(); prefixes.len()],
            devices: HashMap::new(),
            sets,
            known: HashMap::new(),
            by_rules: HashMap::new(),
            identities: Identities {
                sets: Vec::new(),
                like: Vec::new(),
            },
        };
        for (rule, number) in policy.rules.iter().zip(1..) {
            for selector in selectors(rule) {
                side.add(number, *selector, prefixes);
            }
        }
        side
    }

    fn add(&mut self, rule: u32, selector: Selector, prefixes: &[IpNetwork]) {
        match selector {
            Selector::Any => self.any.push((rule, Closeness::ANY)),
            Selector::Zone(zone) => self.zones[zone].push((rule, Closeness::ZONE)),
            Selector::Device(device) => {
                let rules = self.devices.entry(device as u32).or_default();
                rules.push((rule, Closeness::DEVICE));
            }
            Selector::Prefix(prefix) => {
                if let Ok(number) = prefixes.binary_search(&prefix) {
                    self.prefixes[number].push((rule, Closeness::prefix(prefix)));
                }
            }
        }
    }

    fn of(&mut self, facts: Facts) -> u32 {
        let device = facts.device.filter(|device| self.devices.contains_key(device));
        let zone = Some(facts.zone).filter(|&zone| !self.zones[zone as usize].is_empty());
        self.identity(Named {
            zone,
            set: self.relevant(facts.set),
            device,
        })
    }

    /// The longest set within a set whose last prefix is named on this side.
    fn relevant(&self, mut set: SetId) -> SetId {
        while set != 0 && self.prefixes[self.sets[set as usize].1 as usize].is_empty() {
            set = self.sets[set as usize].0;
        }
        set
    }

    fn identity(&mut self, named: Named) -> u32 {
        if let Some(&known) = self.known.get(&named) {
            return known;
        }
        // The less is named, the fewer rules: the more general identity comes first, and this one resembles it.
        let (general, own) = self.step(named);
        let general = general.map(|general| self.identity(general));
        let mut rules = match general {
            Some(number) => self.identities.sets[number as usize].clone(),
            None => RuleSet::new(),
        };
        rules.extend(own);
        rules.sort_unstable_by_key(|&(rule, closeness)| (rule, std::cmp::Reverse(closeness)));
        rules.dedup_by_key(|(rule, _)| *rule);
        let next = self.identities.sets.len() as u32;
        let number = *self.by_rules.entry(rules).or_insert_with_key(|rules| {
            self.identities.sets.push(rules.clone());
            self.identities.like.push(general.unwrap_or(next));
            next
        });
        self.known.insert(named, number);
        number
    }

    /// The next more general naming, and the rules that only the specific one adds.
    fn step(&self, named: Named) -> (Option<Named>, RuleSet) {
        if let Some(device) = named.device {
            let general = Named { device: None, ..named };
            (Some(general), self.devices[&device].clone())
        } else if named.set != 0 {
            let (parent, prefix) = self.sets[named.set as usize];
            let general = Named {
                set: self.relevant(parent),
                ..named
            };
            (Some(general), self.prefixes[prefix as usize].clone())
        } else if let Some(zone) = named.zone {
            let general = Named { zone: None, ..named };
            (Some(general), self.zones[zone as usize].clone())
        } else {
            (None, self.any.clone())
        }
    }
}
