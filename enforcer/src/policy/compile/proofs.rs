//! `never` and `must_flow`, over every cell of the compiled tables.
//!
//! A place of the sender and one of the receiver stand for all packets between two endpoints, because no rule and no promise can
//! tell their addresses apart: prefixes of promises cut the address space as those of rules do.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use enforcer_common::abi::{self, NO_LAN, PROTOCOL_PORTS, SELF_ZONE, UNKNOWN_ZONE, rule_flags};
use ipnetwork::IpNetwork;

use super::{
    cells::Services,
    identity::Assigned,
    places::Place,
    profiles::Profile,
    space::{Facts, SetId},
};
use crate::diagnostics::{Diagnostic, Location, quote};
use crate::policy::{
    services,
    tables::TableSet,
    valid::{Never, Selector, ServiceMatch, ValidPolicy},
};

/// Rules that a finding shows.
const SHOWN: usize = 5;

/// The tables, and what they were made from.
pub(super) struct Ground<'c> {
    pub(super) policy: &'c ValidPolicy,
    pub(super) tables: &'c TableSet,
    /// By endpoint.
    pub(super) facts: &'c [Facts],
    pub(super) sets: &'c [(SetId, u32)],
    /// Sorted.
    pub(super) prefixes: &'c [IpNetwork],
    pub(super) places: &'c [Place],
    /// By record id: the number of the rule.
    pub(super) rule_of: &'c [u32],
    pub(super) identities: &'c Assigned,
    /// By profile.
    pub(super) lists: &'c [Profile],
    pub(super) services: &'c Services,
}

/// Complains about every promise that the tables break.
pub(super) fn check(ground: &Ground<'_>) -> Vec<Diagnostic> {
    let policy = ground.policy;
    let never = policy.never.iter().filter_map(|never| ground.never(never));
    let flows = policy.must_flow.iter().filter_map(|flow| ground.must_flow(&flow.kept));
    never.chain(flows).collect()
}

/// A packet by protocol and port.
#[derive(Debug, Clone, Copy)]
pub(super) struct Example {
    pub(super) class: u32,
    pub(super) protocol: u8,
    port: u16,
}

impl Ground<'_> {
    /// The complaint about a `never` that rules break: the first packet that comes through, and the rules.
    fn never(&self, never: &Never) -> Option<Diagnostic> {
        let examples = self.examples(&never.services);
        let mut first: Option<String> = None;
        let mut rules = BTreeSet::new();
        let mut settled: HashMap<u32, bool> = HashMap::new();
        self.pairs(never, false, |from, to, profile| {
            if *settled.entry(profile).or_insert(false) {
                return;
            }
            settled.insert(profile, true);
            for example in &examples {
                let allowing = self.chain(profile, example.class);
                let allowing = allowing
                    .filter(|record| self.allows(*record))
                    .map(|record| self.rule_of[record as usize]);
                let before = rules.len();
                rules.extend(allowing);
                if rules.len() > before && first.is_none() {
                    first = Some(self.packet(from, to, *example));
                }
            }
        });
        let message = format!("{} can happen: {}", quote(&never.name), first?);
        let finding = Diagnostic::at(never.at, message).label("declared here");
        Some(
            self.with_rules(finding, rules.iter().copied(), "permits it")
                .help("narrow the rules, or put a rule that denies before them"),
        )
    }

    /// The complaint about a `must_flow` of which something is refused.
    fn must_flow(&self, flow: &Never) -> Option<Diagnostic> {
        let examples = self.examples(&flow.services);
        let mut first: Option<(String, u32)> = None;
        let mut met = false;
        self.pairs(flow, true, |from, to, profile| {
            met = true;
            if first.is_some() {
                return;
            }
            for example in &examples {
                if let Some(record) = self.chain(profile, example.class).find(|record| !self.allows(*record)) {
                    first = Some((self.packet(from, to, *example), record));
                    return;
                }
            }
        });
        let name = quote(&flow.name);
        if !met {
            let message = format!("{name} can never flow: its ends cannot meet");
            let help = "name ends of one address space that have addresses of the same family";
            return Some(Diagnostic::at(flow.at, message).help(help));
        }
        let (packet, record) = first?;
        let finding =
            Diagnostic::at(flow.at, format!("{name} does not flow: {packet} is refused")).label("declared here");
        let rule = self.rule_of[record as usize];
        Some(if rule == 0 {
            finding.help("add a rule that permits it; one that expires does so for a time only")
        } else {
            self.with_rules(finding, [rule].into_iter(), "refuses it")
                .help("narrow this rule, or put one that allows before it")
        })
    }

    fn with_rules(&self, mut finding: Diagnostic, rules: impl Iterator<Item = u32>, what: &str) -> Diagnostic {
        for rule in rules.take(SHOWN) {
            let at: Location = self.policy.rules[rule as usize - 1].at;
            finding = finding.related(at, what);
        }
        finding
    }

    pub(super) fn allows(&self, record: u32) -> bool {
        self.tables.rules[record as usize].flags & rule_flags::ALLOW != 0
    }

    /// The records that decide about a cell, one after the other.
    pub(super) fn chain(&self, profile: u32, class: u32) -> impl Iterator<Item = u32> {
        let tables = self.tables;
        let column = tables.columns[(profile * tables.column_blocks + (class >> 8)) as usize];
        let record = tables.cells[column as usize].0[(class & 0xff) as usize];
        std::iter::successors(Some(record), move |record| {
            let abi::Rule {
                deadline, otherwise, ..
            } = tables.rules[*record as usize];
            (deadline != 0).then_some(otherwise)
        })
    }

    /// Calls `visit` with places of senders and receivers that can meet, and the profile of the pair; with one pair at least of
    /// each profile, family and address space.
    pub(super) fn pairs(&self, ends: &Never, stations_only: bool, mut visit: impl FnMut(&Place, &Place, u32)) {
        let tables = self.tables;
        let senders = self.distinct(&ends.from, stations_only, |place| {
            let endpoint = &tables.endpoints[place.endpoint as usize];
            (endpoint.source, endpoint.lan)
        });
        let senders: Vec<_> = senders.into_iter().filter(|place| self.can_send(place)).collect();
        let receivers = self.distinct(&ends.to, stations_only, |place| {
            (tables.endpoints[place.endpoint as usize].destination, 0)
        });
        for from in &senders {
            for to in receivers.iter().filter(|to| self.can_meet(from, to)) {
                let source = tables.endpoints[from.endpoint as usize].source;
                let destination = tables.endpoints[to.endpoint as usize].destination;
                let block = tables.rows[(source * tables.row_blocks + (destination >> 8)) as usize];
                visit(
                    from,
                    to,
                    tables.profiles[block as usize].0[(destination & 0xff) as usize],
                );
            }
        }
    }

    /// One place of each kind among those that selectors name.
    fn distinct(&self, selectors: &[Selector], stations_only: bool, kind: impl Fn(&Place) -> (u32, u16)) -> Vec<Place> {
        let mut kinds = BTreeMap::new();
        for place in self.places {
            if selectors
                .iter()
                .any(|selector| self.names(*selector, place, stations_only))
            {
                let key = (kind(place), place.address.is_ipv6(), place.realm, place.link);
                kinds.entry(key).or_insert(*place);
            }
        }
        kinds.into_values().collect()
    }

    /// Whether a selector names a place. With `stations_only`, link-scoped addresses must be named by a prefix.
    fn names(&self, selector: Selector, place: &Place, stations_only: bool) -> bool {
        let facts = self.facts[place.endpoint as usize];
        if stations_only && place.link != NO_LAN && !matches!(selector, Selector::Prefix(_)) {
            return false;
        }
        match selector {
            Selector::Any => true,
            Selector::Zone(zone) => usize::from(facts.zone) == zone,
            Selector::Device(device) => facts.device == Some(device as u32),
            Selector::Prefix(prefix) => {
                let Ok(number) = self.prefixes.binary_search(&prefix) else {
                    return false;
                };
                let around = std::iter::successors(Some(facts.set), |set| Some(self.sets[*set as usize].0));
                let mut around = around.take_while(|set| *set != 0).map(|set| self.sets[set as usize].1);
                around.any(|prefix| prefix as usize == number)
            }
        }
    }

    /// Groups send nothing; who has no address yet does.
    fn can_send(&self, place: &Place) -> bool {
        !self.facts[place.endpoint as usize].shared || place.address.is_unspecified()
    }

    /// Whether a frame of one may be for the other: one family, one address space, and link-scoped addresses on the VLAN where the
    /// sender lives. The gateway lives on every VLAN; so do strangers, as far as anybody knows. Nothing leaves its VLAN from a
    /// link-scoped address.
    fn can_meet(&self, from: &Place, to: &Place) -> bool {
        let home = self.tables.endpoints[from.endpoint as usize].lan;
        let receiver = &self.tables.endpoints[to.endpoint as usize];
        let stays = to.link == from.link || receiver.lan == from.link || receiver.zone == SELF_ZONE;
        if from.link != NO_LAN && !stays {
            return false;
        }
        from.address.is_ipv4() == to.address.is_ipv4()
            && from.realm == to.realm
            && !to.address.is_unspecified()
            && (to.link == NO_LAN || home == to.link || home == NO_LAN)
    }

    /// One packet of each service class that the services have a part in.
    pub(super) fn examples(&self, services: &[ServiceMatch]) -> Vec<Example> {
        let mut found: BTreeMap<u32, Example> = BTreeMap::new();
        // The protocols that people know come first.
        let all = || [6, 17, 1, 58].into_iter().chain(0..=u8::MAX);
        for service in services {
            match *service {
                ServiceMatch::Any => all().for_each(|protocol| self.collect(protocol, 0, u16::MAX, &mut found)),
                ServiceMatch::Protocol(protocol) => self.collect(protocol, 0, u16::MAX, &mut found),
                ServiceMatch::Ports { protocol, first, last } => self.collect(protocol, first, last, &mut found),
            }
        }
        found.into_values().collect()
    }

    fn collect(&self, protocol: u8, first: u16, last: u16, found: &mut BTreeMap<u32, Example>) {
        let entry = self.tables.protocols[usize::from(protocol)];
        for port in first..=last {
            let class = if entry & PROTOCOL_PORTS == 0 {
                entry
            } else {
                let block = (entry & !PROTOCOL_PORTS) + u32::from(port >> 8);
                u32::from(self.tables.services[block as usize].0[usize::from(port & 0xff)])
            };
            found.entry(class).or_insert(Example { class, protocol, port });
            if entry & PROTOCOL_PORTS == 0 {
                return;
            }
        }
    }

    /// `tcp/443 from 10.66.0.1 (guests) to 10.10.110.21 (pump-icu-01)`
    fn packet(&self, from: &Place, to: &Place, example: Example) -> String {
        let service = services::written(example.protocol, example.port);
        format!("{service} from {} to {}", self.end(from), self.end(to))
    }

    fn end(&self, place: &Place) -> String {
        let name = &self.tables.names.endpoints[place.endpoint as usize];
        let zone = &self.tables.names.zones[usize::from(name.zone)];
        let who = match (&name.device, name.zone) {
            (Some(device), _) => device,
            (None, UNKNOWN_ZONE) => "an undeclared address",
            (None, SELF_ZONE) => "the gateway",
            (None, _) => zone,
        };
        let address: IpAddr = place.address;
        format!("{address} ({who})")
    }
}
