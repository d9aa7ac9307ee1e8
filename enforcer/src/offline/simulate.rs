//! What a policy would have done to a capture.

use std::collections::BTreeMap;
use std::collections::hash_map::{Entry, HashMap};
use std::ops::ControlFlow;

use enforcer_common::abi::{Address, NO_RULE};
use enforcer_common::packet::Packet;
use enforcer_common::pipeline::Decision;
use enforcer_common::verdict::{DropReason, Verdict};

use super::capture::Captured;
use super::{Outcome, Rig};
use crate::words;

/// Flows that are told apart; frames of further ones are counted together.
const FLOWS: usize = 1_000_000;

/// Frames, and octets of frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Frames.
    pub frames: u64,
    /// Of these, refused: dropped, or in monitor mode counted as `would-drop`.
    pub refused: u64,
    /// Octets of the frames.
    pub octets: u64,
}

impl Count {
    fn add(&mut self, decision: &Decision, length: u32) {
        self.frames += 1;
        self.refused += u64::from(is_refused(decision));
        self.octets += u64::from(length);
    }
}

/// A replay: feed it frames, then read what it counted.
pub struct Simulation<'r> {
    rig: &'r Rig,
    compared: Option<&'r Rig>,
    gateway: Vec<[u8; 6]>,
    /// All frames that were decided.
    pub total: Count,
    /// By verdict.
    pub verdicts: [u64; Verdict::ALL.len()],
    /// By reason; [`DropReason::None`] of permitted frames.
    pub reasons: Vec<u64>,
    /// Frames that the gateway sent itself: they meet no program.
    pub skipped: u64,
    /// Frames that are older than the one before: they are decided at its time.
    pub late: u64,
    /// Frames of which the capture keeps a part.
    pub shortened: u64,
    /// Frames of flows beyond the first million.
    pub untold: u64,
    /// When the first frame came, and the last, in nanoseconds of Unix time.
    pub span: Option<(u64, u64)>,
    rules: HashMap<u32, Count>,
    flows: HashMap<FlowId, FlowCount>,
    changes: BTreeMap<ChangeId, Count>,
    examples: HashMap<ChangeId, FlowText>,
}

/// Frames that belong together, in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct FlowId {
    /// Address space of IP, tags of others: routed, a flow has one VLAN on the way there and another on the way back.
    place: [u16; 2],
    ends: [(Address, [u8; 6], u16); 2],
    protocol: u8,
    ethertype: u16,
}

struct FlowCount {
    count: Count,
    first: u64,
    /// The first frame, and what became of it.
    packet: Packet,
    decision: Decision,
    /// The first frame that was refused.
    refusal: Option<Decision>,
}

/// A flow in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowText {
    /// Tags of the first frame; `None` for untagged.
    pub vlan: Option<String>,
    /// Sender of the first frame.
    pub source: String,
    /// Whom it was sent to.
    pub destination: String,
    /// What it asked for.
    pub service: String,
}

/// A flow, and what became of its frames.
#[derive(Debug)]
pub struct FlowReport<'r> {
    /// Number of its first frame.
    pub first: u64,
    /// Both directions.
    pub count: Count,
    /// Who and what.
    pub flow: FlowText,
    /// What became of its first frame.
    pub outcome: Outcome<'r>,
    /// What became of the first frame that was refused.
    pub refusal: Option<Outcome<'r>>,
}

/// Frames of which two policies make something different.
#[derive(Debug)]
pub struct Change<'r> {
    /// What the first policy makes of them.
    pub before: Fate<'r>,
    /// What the second does.
    pub after: Fate<'r>,
    /// How many; refused by the second.
    pub count: Count,
    /// One of their flows.
    pub example: FlowText,
}

/// What became of a frame, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate<'r> {
    /// The verdict.
    pub verdict: Verdict,
    /// The reason of a refusal.
    pub reason: DropReason,
    /// The rule that decided.
    pub rule: Option<&'r str>,
}

/// Verdict, reason and rule of both policies.
type ChangeId = [(u8, u8, u32); 2];

impl<'r> Simulation<'r> {
    /// A replay against one policy, or two of which the second is compared with the first. Frames from the hardware
    /// addresses of `gateway` are what the gateway sent.
    pub fn new(rig: &'r Rig, compared: Option<&'r Rig>, gateway: Vec<[u8; 6]>) -> Self {
        Self {
            rig,
            compared,
            gateway,
            total: Count::default(),
            verdicts: [0; Verdict::ALL.len()],
            reasons: vec![0; DropReason::ALL.len()],
            skipped: 0,
            late: 0,
            shortened: 0,
            untold: 0,
            span: None,
            rules: HashMap::new(),
            flows: HashMap::new(),
            changes: BTreeMap::new(),
            examples: HashMap::new(),
        }
    }

    /// Decides a frame, and counts what becomes of it. Fits [`super::capture::replay`].
    pub fn feed(&mut self, frame: &Captured<'_>) -> ControlFlow<()> {
        let from = frame.octets.get(6..12);
        if frame.sent || self.gateway.iter().any(|mac| from == Some(mac.as_slice())) {
            self.skipped += 1;
            return ControlFlow::Continue(());
        }
        let (first, last) = self.span.unwrap_or((frame.nanos, frame.nanos));
        let now = frame.nanos.max(last);
        self.span = Some((first, now));
        self.late += u64::from(frame.nanos < last);
        self.shortened += u64::from(frame.octets.len() < frame.length as usize);
        let (decision, packet) = self.rig.decide(frame, now);
        self.total.add(&decision, frame.length);
        self.verdicts[decision.verdict as usize] += 1;
        self.reasons[decision.reason as usize] += 1;
        self.rules
            .entry(decision.rule)
            .or_default()
            .add(&decision, frame.length);
        self.count_flow(frame, &decision, packet);
        if let Some(compared) = self.compared {
            let (other, _) = compared.decide(frame, now);
            self.compare(frame, &packet, &decision, &other, compared);
        }
        ControlFlow::Continue(())
    }

    fn count_flow(&mut self, frame: &Captured<'_>, decision: &Decision, packet: Packet) {
        let room = self.flows.len() < FLOWS;
        let lan = self.rig.tables().lans.get(usize::from(decision.lan));
        let id = FlowId::of(&packet, lan.map_or(u16::MAX, |lan| lan.realm));
        let flow = match self.flows.entry(id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) if room => entry.insert(FlowCount {
                count: Count::default(),
                first: frame.number,
                packet,
                decision: *decision,
                refusal: None,
            }),
            Entry::Vacant(_) => {
                self.untold += 1;
                return;
            }
        };
        flow.count.add(decision, frame.length);
        if flow.refusal.is_none() && is_refused(decision) {
            flow.refusal = Some(*decision);
        }
    }

    fn compare(&mut self, frame: &Captured<'_>, packet: &Packet, before: &Decision, after: &Decision, compared: &Rig) {
        let same_rule = rule_name(self.rig, before.rule) == rule_name(compared, after.rule);
        if before.verdict == after.verdict && before.reason == after.reason && same_rule {
            return;
        }
        let id = [before, after].map(|one| (one.verdict as u8, one.reason as u8, one.rule));
        self.changes.entry(id).or_default().add(after, frame.length);
        let rig = self.rig;
        self.examples
            .entry(id)
            .or_insert_with(|| FlowText::of(&Outcome::new(before, packet, rig.tables())));
    }

    /// Number of flows that were told apart.
    pub fn flows_seen(&self) -> usize {
        self.flows.len()
    }

    /// The first `number` flows, those with the most refused frames first, then the largest.
    pub fn flows(&self, number: usize) -> Vec<FlowReport<'r>> {
        let mut flows: Vec<_> = self.flows.values().collect();
        flows.sort_by_key(|flow| {
            let Count { refused, frames, .. } = flow.count;
            (std::cmp::Reverse((refused, frames)), flow.first)
        });
        flows.truncate(number);
        let report = |flow: &FlowCount| {
            let outcome = |decision| Outcome::new(decision, &flow.packet, self.rig.tables());
            let first = outcome(&flow.decision);
            FlowReport {
                first: flow.first,
                count: flow.count,
                flow: FlowText::of(&first),
                refusal: flow.refusal.as_ref().map(outcome),
                outcome: first,
            }
        };
        flows.into_iter().map(report).collect()
    }

    /// Name, place and count of each rule that decided a frame, the busiest first; `None` where none did.
    pub fn rules(&self) -> Vec<(Option<&'r str>, Option<&'r str>, Count)> {
        let names = &self.rig.tables().names.rules;
        let mut rules: Vec<_> = self.rules.iter().map(|(&rule, &count)| (rule, count)).collect();
        rules.sort_by_key(|(rule, count)| (std::cmp::Reverse(count.frames), *rule));
        let report = |(rule, count): (u32, Count)| {
            let name = names.get(rule as usize).filter(|_| rule != NO_RULE);
            let place = name.map(|name| name.place.as_str()).filter(|place| !place.is_empty());
            (name.map(|name| name.name.as_str()), place, count)
        };
        rules.into_iter().map(report).collect()
    }

    /// The names of rules that decided no frame.
    pub fn unused(&self) -> Vec<&'r str> {
        let names = self.rig.tables().names.rules.iter().enumerate().skip(1);
        let unused = names.filter(|(rule, _)| !self.rules.contains_key(&(*rule as u32)));
        unused.map(|(_, name)| name.name.as_str()).collect()
    }

    /// What the second policy makes of frames that the first does not, the most frames first.
    pub fn changes(&self) -> Vec<Change<'r>> {
        let Some(compared) = self.compared else {
            return Vec::new();
        };
        let fate = |rig: &'r Rig, (verdict, reason, rule): (u8, u8, u32)| Fate {
            verdict: Verdict::ALL[usize::from(verdict)],
            reason: DropReason::ALL[usize::from(reason)],
            rule: rule_name(rig, rule),
        };
        let change = |(id, count): (&ChangeId, &Count)| Change {
            before: fate(self.rig, id[0]),
            after: fate(compared, id[1]),
            count: *count,
            example: self.examples[id].clone(),
        };
        let mut changes: Vec<_> = self.changes.iter().map(change).collect();
        changes.sort_by_key(|change| {
            let same = change.before.verdict == change.after.verdict;
            (same, std::cmp::Reverse(change.count.frames))
        });
        changes
    }
}

fn rule_name(rig: &Rig, rule: u32) -> Option<&str> {
    let names = &rig.tables().names.rules;
    let name = names.get(rule as usize).filter(|_| rule != NO_RULE);
    name.map(|name| name.name.as_str())
}

fn is_refused(decision: &Decision) -> bool {
    matches!(decision.verdict, Verdict::Drop | Verdict::WouldDrop)
}

impl FlowId {
    /// Frames of other than IP belong together by their hardware addresses.
    fn of(packet: &Packet, realm: u16) -> Self {
        let is_ip = packet.family != 0;
        let end = |address, mac, port| match (is_ip, words::has_ports(packet.protocol)) {
            (false, _) => (address, mac, 0),
            (true, false) => (address, [0; 6], 0),
            (true, true) => (address, [0; 6], port),
        };
        let mut ends = [
            end(packet.source, packet.source_mac, packet.source_port),
            end(packet.destination, packet.destination_mac, packet.destination_port),
        ];
        ends.sort_unstable();
        let place = if is_ip {
            [realm, 0]
        } else {
            [packet.outer_vlan, packet.inner_vlan]
        };
        Self {
            place,
            ends,
            protocol: packet.protocol,
            ethertype: packet.ethertype,
        }
    }
}

impl FlowText {
    fn of(outcome: &Outcome<'_>) -> Self {
        Self {
            vlan: outcome.vlan.clone(),
            source: outcome.source.to_string(),
            destination: outcome.destination.to_string(),
            service: outcome.service.clone(),
        }
    }
}
