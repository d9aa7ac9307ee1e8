//! What a policy does to the flows that an enforcer keeps: which it would cut, and which would meet another limit.
//!
//! Each flow is a packet of its initiator here, decided by the engines of both policies, as its next packet will be. Only groups of flows
//! are held, so that a million of them can be asked about.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use enforcer_common::abi::NO_RULE;
use enforcer_common::pipeline::Decision;
use enforcer_common::verdict::{DropReason, Verdict};
use serde::Serialize;

use super::changes::decided;
use super::side::Side;
use super::{Comparison, Decided, effects, words};
use crate::flows::FlowRecord;
use crate::policy::nanos;
use crate::policy::probe::{self, Probe};
use crate::policy::valid::{Limit, VlanId};
use crate::state::rfc3339_seconds;

/// What becomes of the flows of an enforcer that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Flows {
    /// Flows that it keeps.
    pub kept: u64,
    /// Those that the policy after would no longer let go on, the most first.
    pub cut: Vec<FlowGroup>,
    /// Those that would go on under another limit of their rule.
    pub limited: Vec<FlowGroup>,
    /// Those that the policy before refuses too: flows that ended with it, and are not forgotten yet.
    pub refused_already: u64,
    /// Ports in monitor mode: what comes by them passes. When all ports are, nothing is cut.
    pub monitoring_ports: Vec<String>,
}

/// Flows of which the same becomes, between the same zones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FlowGroup {
    /// The zone of who opened them.
    pub from: Option<String>,
    /// The zone of the other end.
    pub to: Option<String>,
    /// The rule that permits them until now.
    pub rule: Option<String>,
    /// What they ask for.
    pub services: BTreeSet<String>,
    /// How many they are.
    pub flows: u64,
    /// Of these, flows that have been answered.
    pub established: u64,
    /// Frames both ways.
    pub packets: u64,
    /// Octets both ways.
    pub octets: u64,
    /// When the last frame of any of them came (RFC 3339).
    pub last_seen: String,
    /// The one with the most octets.
    pub example: Box<FlowRecord>,
    /// What the policy after makes of the example.
    pub after: Decided,
    /// The limit that its rule has then.
    pub limit: Option<String>,
}

/// What makes flows one group.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    from: Option<String>,
    to: Option<String>,
    rule: Option<String>,
    reason: Option<&'static str>,
    by: Option<String>,
    limit: Option<String>,
}

/// Takes flows, and keeps what becomes of them.
pub struct Sieve<'p> {
    sides: [Side<'p>; 2],
    now: SystemTime,
    cut: BTreeMap<Key, (FlowGroup, u64)>,
    limited: BTreeMap<Key, (FlowGroup, u64)>,
    flows: Flows,
}

impl<'p> Sieve<'p> {
    pub(super) fn new(compared: Comparison<'p>, ports: &[(String, bool)]) -> Self {
        let all_monitor = !ports.is_empty() && ports.iter().all(|(_, monitors)| *monitors);
        // Leases that the comparison made up are no more.
        let bare = |side: Side<'p>| Side::behind(side.policy, side.engine.into_tables(), all_monitor);
        let monitoring = ports.iter().filter(|(_, monitors)| *monitors);
        let monitoring_ports = monitoring.map(|(name, _)| name.clone()).collect();
        Self {
            sides: compared.policies.map(bare),
            now: compared.now,
            cut: BTreeMap::new(),
            limited: BTreeMap::new(),
            flows: Flows {
                monitoring_ports,
                ..Flows::default()
            },
        }
    }

    /// Looks at a flow.
    pub fn take(&mut self, flow: FlowRecord) {
        self.flows.kept += 1;
        let after = self.decide(1, &flow);
        let limit = self.limit(1, after.as_ref());
        if !is_refused(after.as_ref()) && limit == Limit::default() {
            return;
        }
        let before = self.decide(0, &flow);
        if is_refused(before.as_ref()) {
            self.flows.refused_already += u64::from(is_refused(after.as_ref()));
            return;
        }
        if is_refused(after.as_ref()) {
            let decided = self.told(after, &flow);
            put(&mut self.cut, flow, decided, None);
        } else if self.limit(0, before.as_ref()) != limit {
            let decided = self.told(after, &flow);
            put(&mut self.limited, flow, decided, Some(words::limit(limit)));
        }
    }

    /// What became of all of them.
    pub fn end(self) -> Flows {
        let listed = |groups: BTreeMap<Key, (FlowGroup, u64)>| {
            let told = |(mut group, idle): (FlowGroup, u64)| {
                let seen = self.now.checked_sub(Duration::from_secs(idle));
                group.last_seen = rfc3339_seconds(seen.unwrap_or(SystemTime::UNIX_EPOCH));
                group
            };
            let mut groups: Vec<_> = groups.into_values().map(told).collect();
            groups.sort_by_key(|group| std::cmp::Reverse(group.flows));
            groups
        };
        Flows {
            cut: listed(self.cut),
            limited: listed(self.limited),
            ..self.flows
        }
    }

    /// What a side makes of the flow's next packet. `None` when its VLAN or its address space is not declared there.
    fn decide(&mut self, side: usize, flow: &FlowRecord) -> Option<Outcome> {
        let (source, destination) = (flow.initiator.address?, flow.responder.address?);
        let service = probe::service_of(&flow.service)?;
        let realm = flow.realm.as_deref().unwrap_or_default();
        let side = &mut self.sides[side];
        for end in [&flow.initiator, &flow.responder] {
            if let (Some(device), Some(address)) = (&end.device, end.address) {
                side.lease(device, realm, address);
            }
        }
        let place = place(side, flow, realm, [source, destination])?;
        let probe = Probe::between(place.vlan, (source, destination), service, place.mac);
        let decision = side.decide(&probe, place.homeless, nanos(self.now));
        Some((place.vlan, decision))
    }

    fn told(&self, after: Option<Outcome>, flow: &FlowRecord) -> Decided {
        match after {
            Some((vlan, decision)) => decided(&self.sides[1], vlan, &decision),
            None => Decided {
                vlan: flow.link.clone().unwrap_or_default(),
                verdict: Verdict::Drop.name(),
                reason: Some(DropReason::VlanUndeclared.name()),
                rule: None,
                at: None,
            },
        }
    }

    /// The limit of the rule by which a packet passes.
    fn limit(&self, side: usize, outcome: Option<&Outcome>) -> Limit {
        let side = &self.sides[side];
        let rule = outcome.filter(|(_, decision)| matches!(decision.verdict, Verdict::Pass | Verdict::Redirect));
        let rule = rule.map(|(_, decision)| decision.rule).filter(|rule| *rule != NO_RULE);
        rule.map_or(Limit::default(), |rule| effects::terms(side, rule).limit)
    }
}

/// The VLAN that a packet comes by, and what an engine makes of it.
type Outcome = (VlanId, Decision);

fn is_refused(outcome: Option<&Outcome>) -> bool {
    outcome.is_none_or(|(_, decision)| decision.verdict == Verdict::Drop)
}

/// Where the initiator of a flow sends from.
struct Place {
    vlan: VlanId,
    mac: Option<[u8; 6]>,
    /// It lives on no VLAN, and comes from where the routers are.
    homeless: bool,
}

/// `None` when the policy does not have the VLAN or the address space any more.
fn place(side: &Side<'_>, flow: &FlowRecord, realm: &str, [source, destination]: [IpAddr; 2]) -> Option<Place> {
    let link = flow.link.as_deref().map(probe::tags_of);
    let lan = match link {
        Some(tags) => side.lan_of(tags?)?,
        None => side.lan_in(realm)?,
    };
    let at = |address| side.look_up(lan, address);
    let (from, to) = (at(source), at(destination));
    let mac = Some(side.endpoint(from).mac);
    if let Some(tags) = link {
        return Some(Place {
            vlan: tags?,
            mac,
            homeless: false,
        });
    }
    let homeless = !side.is_home(from);
    let home = [from, to].into_iter().find(|endpoint| side.is_home(*endpoint));
    let home = home.map_or(lan, |endpoint| side.endpoint(endpoint).lan);
    Some(Place {
        vlan: side.tags(home)?,
        mac,
        homeless,
    })
}

fn put(groups: &mut BTreeMap<Key, (FlowGroup, u64)>, flow: FlowRecord, after: Decided, limit: Option<String>) {
    let key = Key {
        from: flow.initiator.zone.clone(),
        to: flow.responder.zone.clone(),
        rule: flow.rule.clone(),
        reason: after.reason,
        by: after.rule.clone(),
        limit: limit.clone(),
    };
    let idle = flow.idle_seconds;
    let (group, least_idle) = groups.entry(key).or_insert_with(|| {
        let group = FlowGroup {
            from: flow.initiator.zone.clone(),
            to: flow.responder.zone.clone(),
            rule: flow.rule.clone(),
            services: BTreeSet::new(),
            flows: 0,
            established: 0,
            packets: 0,
            octets: 0,
            last_seen: String::new(),
            example: Box::new(flow.clone()),
            after: after.clone(),
            limit,
        };
        (group, idle)
    });
    *least_idle = idle.min(*least_idle);
    if !group.services.contains(&flow.service) {
        group.services.insert(flow.service.clone());
    }
    group.flows += 1;
    group.established += u64::from(flow.established);
    group.packets += flow.sent.packets + flow.received.packets;
    group.octets += flow.octets();
    if flow.octets() > group.example.octets() {
        *group.example = flow;
        group.after = after;
    }
}
