//! The rules around a decision: those that match too but give way, and those that miss by one field.

use std::net::IpAddr;

use enforcer_common::abi::{DEFAULT_RULE, NO_LAN, NO_RULE};
use enforcer_common::classify::Service;
use enforcer_common::packet::{Packet, protocol, tcp_flags};
use enforcer_common::pipeline::Decision;
use serde::Serialize;

use crate::policy::valid::{Action, Rule, Selector, ServiceMatch, ValidPolicy};
use crate::policy::{TableSet, link_scoped};
use crate::words;

/// Misses that are shown.
const SHOWN: usize = 5;
/// Words of a list that are shown.
const WORDS: usize = 6;

/// The rules around a decision.
#[derive(Debug, Default, Serialize)]
pub struct Neighbours<'p> {
    /// Rules that match the frame too, and give way.
    pub beaten: Vec<Beaten<'p>>,
    /// Rules that would decide otherwise, and miss by one field; the nearest first.
    pub misses: Vec<Miss<'p>>,
    /// The rule by which the frame would pass as an answer, if there were a flow.
    pub answers: Option<&'p str>,
}

/// A rule that gives way.
#[derive(Debug, Serialize)]
pub struct Beaten<'p> {
    /// Its name.
    pub rule: &'p str,
    /// `file:line`.
    pub at: String,
    /// Why.
    pub because: String,
}

/// A rule that misses by one field.
#[derive(Debug, Serialize)]
pub struct Miss<'p> {
    /// Its name.
    pub rule: &'p str,
    /// `file:line`.
    pub at: String,
    /// `port`, `message`, `service`, `to` or `from`.
    pub field: &'static str,
    /// What the frame has there.
    pub frame: String,
    /// What the rule has.
    pub wants: String,
    /// `allows` or `denies`.
    pub action: &'static str,
}

/// One end of a frame, as rules see it.
struct End<'t> {
    address: IpAddr,
    zone: usize,
    device: Option<&'t str>,
}

impl End<'_> {
    fn is(&self, selector: Selector, policy: &ValidPolicy) -> bool {
        match selector {
            Selector::Any => true,
            Selector::Zone(zone) => self.zone == zone,
            Selector::Device(device) => self.device == Some(policy.devices[device].name.as_str()),
            Selector::Prefix(prefix) => link_scoped::prefix_matches(prefix, self.address),
        }
    }

    fn is_any_of(&self, selectors: &[Selector], policy: &ValidPolicy) -> bool {
        selectors.iter().any(|selector| self.is(*selector, policy))
    }

    fn describe(&self, policy: &ValidPolicy) -> String {
        let zone = &policy.zones[self.zone].name;
        match self.device {
            Some(device) => format!("{} ({device} in {zone})", self.address),
            None => format!("{} ({zone})", self.address),
        }
    }
}

/// What the rules look at.
struct Question<'t> {
    policy: &'t ValidPolicy,
    source: End<'t>,
    destination: End<'t>,
    service: Service,
}

/// The rules around a decision that rules had a part in; none around others.
pub fn neighbours<'p>(
    policy: &'p ValidPolicy,
    tables: &'p TableSet,
    decision: &Decision,
    packet: &Packet,
) -> Neighbours<'p> {
    let Some(question) = Question::new(policy, tables, decision, packet) else {
        return Neighbours::default();
    };
    let credited = match decision.rule {
        NO_RULE | DEFAULT_RULE => None,
        rule => policy.rules.get(rule as usize - 1),
    };
    let permitted = credited.is_some_and(|rule| rule.action == Action::Allow);
    Neighbours {
        beaten: question.beaten(credited),
        misses: question.misses(if permitted { Action::Deny } else { Action::Allow }),
        answers: (!permitted).then(|| question.answered(packet)).flatten(),
    }
}

impl<'p> Question<'p> {
    /// `None` for frames that no rule is asked about.
    fn new(policy: &'p ValidPolicy, tables: &'p TableSet, decision: &Decision, packet: &Packet) -> Option<Self> {
        if packet.family == 0 || decision.lan == NO_LAN || decision.rule == NO_RULE {
            return None;
        }
        let end = |endpoint: u32, words| {
            let name = tables.names.endpoints.get(endpoint as usize)?;
            Some(End {
                address: words::address(packet.family, words)?,
                zone: name.zone.into(),
                device: name.device.as_deref(),
            })
        };
        Some(Self {
            policy,
            source: end(decision.source, packet.source)?,
            destination: end(decision.destination, packet.destination)?,
            service: Service::of(packet.ports()),
        })
    }

    fn from(&self, rule: &Rule) -> bool {
        self.source.is_any_of(&rule.from, self.policy)
    }

    fn to(&self, rule: &Rule) -> bool {
        self.destination.is_any_of(&rule.to, self.policy)
    }

    fn service(&self, rule: &Rule) -> bool {
        is_any_of(self.service, &rule.services)
    }

    fn place(&self, rule: &Rule) -> String {
        self.policy.sources.place(rule.at)
    }

    /// Rules that match, other than the one that is credited.
    fn beaten(&self, credited: Option<&'p Rule>) -> Vec<Beaten<'p>> {
        let Some(credited) = credited else {
            return Vec::new();
        };
        let rules = self.policy.rules.iter();
        let others = rules.filter(|rule| rule.name != credited.name);
        others
            .filter(|rule| self.from(rule) && self.to(rule) && self.service(rule))
            .map(|rule| Beaten {
                rule: &rule.name,
                at: self.place(rule),
                because: why(rule, credited),
            })
            .collect()
    }

    /// Rules with this action that miss by one field. A port comes before an address: it is the more usual mistake.
    fn misses(&self, action: Action) -> Vec<Miss<'p>> {
        let rules = self.policy.rules.iter().filter(|rule| rule.action == action);
        let mut misses: Vec<_> = rules.filter_map(|rule| self.miss(rule)).collect();
        misses.sort_by_key(|(distance, miss)| (*distance, miss.rule));
        misses.truncate(SHOWN);
        misses.into_iter().map(|(_, miss)| miss).collect()
    }

    fn miss(&self, rule: &'p Rule) -> Option<(u32, Miss<'p>)> {
        let (distance, field, frame, wants) = match (self.from(rule), self.to(rule), self.service(rule)) {
            (true, true, false) => self.other_service(rule)?,
            (true, false, true) => (
                u32::MAX - 1,
                "to",
                self.destination.describe(self.policy),
                selectors(&rule.to, self.policy),
            ),
            (false, true, true) => (
                u32::MAX,
                "from",
                self.source.describe(self.policy),
                selectors(&rule.from, self.policy),
            ),
            _ => return None,
        };
        let miss = Miss {
            rule: &rule.name,
            at: self.place(rule),
            field,
            frame,
            wants,
            action: match rule.action {
                Action::Allow => "allows",
                Action::Deny => "denies",
            },
        };
        Some((distance, miss))
    }

    /// How the service differs; `None` where nobody would take one for the other, such as a port for a message type.
    fn other_service(&self, rule: &Rule) -> Option<(u32, &'static str, String, String)> {
        let Service { protocol, port } = self.service;
        let wants = services(&rule.services, protocol);
        let distances = rule.services.iter().filter_map(|service| match *service {
            ServiceMatch::Ports {
                protocol: other,
                first,
                last,
            } if other == protocol => Some(u32::from(if port < first { first - port } else { port - last })),
            _ => None,
        });
        if let Some(distance) = distances.min() {
            return Some(if words::has_ports(protocol) {
                (distance, "port", port.to_string(), wants)
            } else {
                (distance, "message", words::service(protocol, port), wants)
            });
        }
        let alike = |service: &ServiceMatch| match *service {
            ServiceMatch::Any => true,
            ServiceMatch::Protocol(other) | ServiceMatch::Ports { protocol: other, .. } => {
                words::has_ports(other) == words::has_ports(protocol)
            }
        };
        let alike = rule.services.iter().any(alike);
        alike.then(|| (u32::MAX - 2, "service", words::service(protocol, port), wants))
    }

    /// The rule for the session that the frame might answer to.
    fn answered(&self, packet: &Packet) -> Option<&'p str> {
        if packet.protocol == protocol::TCP && packet.tcp_flags == tcp_flags::SYN {
            return None;
        }
        let service = Service::answered_by(packet.ports())?;
        let rules = self.policy.rules.iter().filter(|rule| rule.action == Action::Allow);
        let mut rules = rules.filter(|rule| {
            self.destination.is_any_of(&rule.from, self.policy)
                && self.source.is_any_of(&rule.to, self.policy)
                && is_any_of(service, &rule.services)
        });
        // A range of ports would make an answer of any frame from a high port.
        let narrow = |rule: &&Rule| {
            rule.services
                .iter()
                .any(|service| matches!(service, ServiceMatch::Ports { first, last, .. } if first == last))
        };
        rules.find(narrow).map(|rule| rule.name.as_str())
    }
}

fn why(rule: &Rule, credited: &Rule) -> String {
    if rule.priority < credited.priority {
        return format!("priority {} goes before its {}", credited.priority, rule.priority);
    }
    if rule.action != credited.action {
        return "at equal priority, deny goes before allow".to_owned();
    }
    format!("{} is more specific, or its name comes first", credited.name)
}

fn is_any_of(service: Service, matches: &[ServiceMatch]) -> bool {
    matches.iter().any(|one| match *one {
        ServiceMatch::Any => true,
        ServiceMatch::Protocol(protocol) => service.protocol == protocol,
        ServiceMatch::Ports { protocol, first, last } => {
            service.protocol == protocol && (first..=last).contains(&service.port)
        }
    })
}

fn selectors(selectors: &[Selector], policy: &ValidPolicy) -> String {
    let word = |selector: &Selector| match *selector {
        Selector::Any => "any".to_owned(),
        Selector::Zone(zone) => policy.zones[zone].name.clone(),
        Selector::Device(device) => policy.devices[device].name.clone(),
        Selector::Prefix(prefix) => prefix.to_string(),
    };
    some(selectors.iter().map(word))
}

/// The services of a rule, those of `protocol` alone if there are any.
fn services(services: &[ServiceMatch], protocol: u8) -> String {
    let same =
        |service: &&ServiceMatch| matches!(service, ServiceMatch::Ports { protocol: other, .. } if *other == protocol);
    if services.iter().any(|service| same(&service)) {
        some(services.iter().filter(same).map(ServiceMatch::to_string))
    } else {
        some(services.iter().map(ServiceMatch::to_string))
    }
}

/// The first words of a list.
fn some(words: impl Iterator<Item = String>) -> String {
    let words: Vec<_> = words.collect();
    let shown = words.iter().take(WORDS).map(String::as_str);
    let shown = shown.collect::<Vec<_>>().join(", ");
    match words.len().checked_sub(WORDS + 1) {
        None => shown,
        Some(more) => format!("{shown} and {} more", more + 1),
    }
}

#[cfg(test)]
mod tests;
