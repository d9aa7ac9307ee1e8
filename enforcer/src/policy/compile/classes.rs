//! Service classes: protocols and ports that no rule can tell apart share one.

use std::collections::{BTreeSet, HashMap};

use enforcer_common::abi::{PROTOCOL_PORTS, ServiceBlock};

use crate::policy::valid::{ServiceMatch, ValidPolicy};

/// How closely a rule names a service: `any`, a range of ports or a whole protocol, one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Closeness {
    Any,
    Range,
    One,
}

/// The classes of a policy.
pub(super) struct Classes {
    /// Number of classes, at least 1: class 0 is what no rule names.
    pub(super) count: usize,
    pub(super) protocols: Box<[u32; 256]>,
    pub(super) services: Vec<ServiceBlock>,
    /// By match (never `Any`): its classes.
    of_match: HashMap<ServiceMatch, Vec<u16>>,
}

impl Classes {
    /// The classes of a rule's services, each once, with the closest way of naming it.
    pub(super) fn of(&self, services: &[ServiceMatch]) -> Vec<(u16, Closeness)> {
        let mut classes = Vec::new();
        for service in services {
            let closeness = closeness(*service);
            if let Some(numbers) = self.of_match.get(service) {
                classes.extend(numbers.iter().map(|&class| (class, closeness)));
            } else {
                classes.extend((0..self.count as u32).map(|class| (class as u16, closeness)));
            }
        }
        classes.sort_unstable_by_key(|&(class, closeness)| (class, std::cmp::Reverse(closeness)));
        classes.dedup_by_key(|(class, _)| *class);
        classes
    }
}

fn closeness(service: ServiceMatch) -> Closeness {
    match service {
        ServiceMatch::Any => Closeness::Any,
        ServiceMatch::Ports { first, last, .. } if first == last => Closeness::One,
        ServiceMatch::Protocol(_) | ServiceMatch::Ports { .. } => Closeness::Range,
    }
}

/// Finds the classes of all services that rules use.
pub(super) fn build(policy: &ValidPolicy) -> Classes {
    let used: BTreeSet<_> = policy.rules.iter().flat_map(|rule| &rule.services).collect();
    let mut by_protocol: HashMap<u8, Vec<ServiceMatch>> = HashMap::new();
    for &&service in &used {
        match service {
            ServiceMatch::Any => {}
            ServiceMatch::Protocol(protocol) | ServiceMatch::Ports { protocol, .. } => {
                by_protocol.entry(protocol).or_default().push(service);
            }
        }
    }
    let mut numbers = Numbers::default();
    numbers.class(&[]);
    let mut protocols = Box::new([0; 256]);
    let mut services = Vec::new();
    for protocol in 0..=u8::MAX {
        let Some(matches) = by_protocol.get(&protocol) else {
            continue;
        };
        protocols[protocol as usize] = numbers.protocol(matches, &mut services);
    }
    Classes {
        count: numbers.sets.len(),
        protocols,
        services,
        of_match: numbers.of_match,
    }
}

/// Classes by the matches that hold for them.
#[derive(Default)]
struct Numbers {
    sets: HashMap<Vec<ServiceMatch>, u16>,
    of_match: HashMap<ServiceMatch, Vec<u16>>,
}

impl Numbers {
    fn class(&mut self, matches: &[ServiceMatch]) -> u16 {
        if let Some(&number) = self.sets.get(matches) {
            return number;
        }
        // More than 65,536 wrap here; the limit is checked against the true count.
        let number = self.sets.len() as u16;
        self.sets.insert(matches.to_vec(), number);
        for service in matches {
            self.of_match.entry(*service).or_default().push(number);
        }
        number
    }

    /// The entry of a protocol; its ports, if any rule names some, are appended to the blocks.
    fn protocol(&mut self, matches: &[ServiceMatch], services: &mut Vec<ServiceBlock>) -> u32 {
        if matches
            .iter()
            .all(|service| matches!(service, ServiceMatch::Protocol(_)))
        {
            return u32::from(self.class(matches));
        }
        let first_block = services.len();
        services.resize(first_block + 256, ServiceBlock([0; 256]));
        for (first, last, active) in pieces(matches) {
            let class = self.class(&active);
            for port in first..=last {
                services[first_block + (port >> 8) as usize].0[(port & 0xff) as usize] = class;
            }
        }
        PROTOCOL_PORTS | first_block as u32
    }
}

/// Cuts all ports into pieces between the ends of ranges: first and last port, and the matches that cover it.
fn pieces(matches: &[ServiceMatch]) -> Vec<(u16, u16, Vec<ServiceMatch>)> {
    let range = |service: &ServiceMatch| match *service {
        ServiceMatch::Ports { first, last, .. } => (u32::from(first), u32::from(last) + 1),
        _ => (0, 1 << 16),
    };
    let ends = matches.iter().map(range).flat_map(|(first, end)| [first, end]);
    let mut ends: Vec<u32> = ends.chain([0, 1 << 16]).collect();
    ends.sort_unstable();
    ends.dedup();
    let mut starting: Vec<_> = matches.iter().collect();
    starting.sort_by_key(|service| range(service).0);
    let mut starting = starting.into_iter().peekable();
    let mut active: Vec<ServiceMatch> = Vec::new();
    let mut pieces = Vec::new();
    for bounds in ends.windows(2) {
        active.retain(|service| range(service).1 > bounds[0]);
        while let Some(service) = starting.next_if(|service| range(service).0 == bounds[0]) {
            active.push(*service);
        }
        active.sort_unstable();
        pieces.push((bounds[0] as u16, (bounds[1] - 1) as u16, active.clone()));
    }
    pieces
}
