//! Policy and flows together: is this frame, or the session that it answers to, permitted?
//!
//! The rules are asked first, because they cost less than a look into a flow table: a frame that neither a rule
//! for its own direction nor one for the opposite direction permits cannot belong to a permitted flow. It follows
//! that every frame is decided under the generation at hand, and that a new deny stops an open session at once.

mod flows;
mod ruling;

use crate::abi::{
    Address, DEFAULT_RULE, Endpoint, FlowKey, FragmentKey, FragmentRecord, Lan, NO_LAN, OWN_LAN, mode, settings_flags,
};
use crate::budget::{self, Charge};
use crate::classify::{self, Service};
use crate::concurrency::Activity;
use crate::conntrack;
use crate::frame::Frame;
use crate::packet::{Fragment, Packet, Ports, protocol, tcp_flags};
use crate::pipeline::Decision;
use crate::tables::Tables;
use crate::verdict::{DropReason, Stage};
use crate::{concurrency, fragment, quote};
use flows::state_of;
use ruling::{Effect, Ruling};

/// A frame between two classified ends.
pub(crate) struct Session<'a, F: ?Sized, T> {
    pub(crate) frame: &'a F,
    pub(crate) tables: &'a T,
    pub(crate) packet: &'a Packet,
    pub(crate) source: &'a Endpoint,
    pub(crate) destination: &'a Endpoint,
    pub(crate) lan: &'a Lan,
    /// What has been decided so far: who the ends are, and so who pays for the frame if it passes.
    pub(crate) decision: &'a Decision,
    /// Refused frames pass: keep flows for them too, so that answers are told from new sessions.
    pub(crate) monitored: bool,
    pub(crate) now: u64,
}

/// The keys of a frame, and where they are from. The caller owns them: the kernel program has no room for them on its stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys {
    flow: FlowKey,
    fragment: FragmentKey,
    /// By the uplink of an inline pair, where senders of every VLAN come from.
    pub(crate) uplink: bool,
}

impl Keys {
    pub(crate) const EMPTY: Self = Self {
        flow: FlowKey::EMPTY,
        fragment: FragmentKey::EMPTY,
        uplink: false,
    };
}

impl<F: Frame + ?Sized, T: Tables> Session<'_, F, T> {
    /// Rules and flows, then budgets; and if the frame passes, the flow tables.
    #[inline(always)]
    pub(crate) fn decide(&self, keys: &mut Keys) -> Ruling {
        let (mut ruling, effect) = if matches!(self.packet.fragment, Fragment::Later) {
            (self.follow(&mut keys.fragment), Effect::NOTHING)
        } else {
            self.whole(keys)
        };
        if ruling.permits() && self.has_small_mss() {
            ruling = ruling.refused_for(DropReason::SmallMss).at(Stage::Budget);
        }
        // What the flow remembers of the count of concurrent flows: 0 for no change.
        let mut counted = 0;
        if ruling.permits() && self.is_limited(ruling) {
            let (activity, count) = self.activity(&effect, ruling);
            let charge = Charge {
                rule: ruling.rule,
                answers: ruling.answers(),
                opens: effect.opens,
                activity,
                ..self.decision.charge()
            };
            match self.tables.spend(self.packet, charge, self.now) {
                DropReason::None => counted = count,
                // The rule's own limit is as much in monitor mode as the rule is.
                DropReason::RuleLimit => {
                    ruling = Ruling {
                        refusal: DropReason::RuleLimit,
                        ..ruling.at(Stage::Budget)
                    }
                }
                refusal => ruling = ruling.refused_for(refusal).at(Stage::Budget),
            }
        }
        if !ruling.permits() && !self.lets_pass(ruling) {
            return ruling;
        }
        self.commit(&keys.flow, effect, ruling, counted);
        if matches!(self.packet.fragment, Fragment::First) {
            self.lead(&mut keys.fragment, ruling);
        }
        ruling
    }

    /// What is refused passes all the same.
    #[inline(always)]
    const fn lets_pass(&self, ruling: Ruling) -> bool {
        self.monitored || ruling.monitored()
    }

    /// A SYN that would make the destination send in smaller segments than it should (CVE-2019-11479).
    #[inline(always)]
    fn has_small_mss(&self) -> bool {
        let floor = self.destination.least_mss;
        floor != 0
            && self.packet.protocol == protocol::TCP
            && self.packet.tcp_flags & tcp_flags::SYN != 0
            && !matches!(self.packet.fragment, Fragment::Later)
            && self.frame.announced_mss(self.packet).is_none_or(|mss| mss < floor)
    }

    /// What the frame does to the count of concurrent flows, and what its flow remembers of that: 0 for no change. Answers
    /// do nothing.
    #[inline(always)]
    fn activity(&self, effect: &Effect<T::FlowRef>, ruling: Ruling) -> (Activity, u32) {
        match &effect.flow {
            Some(flow) if !ruling.answers() => {
                let after = conntrack::next(state_of(flow), flow.direction(effect.source_low), self.packet);
                concurrency::of_frame(flow, after, self.now)
            }
            None if effect.opens => (Activity::Enters, concurrency::entered(0, self.now)),
            _ => (Activity::None, 0),
        }
    }

    /// Whether any budget is charged: most frames have none, and are spared the call.
    #[inline(always)]
    fn is_limited(&self, ruling: Ruling) -> bool {
        let rule = self.tables.rule(ruling.rule).map_or(0, |rule| rule.budget);
        let ends = u32::from(self.source.from_budget | self.destination.toward_budget);
        rule | ends | budget::of_group(self.packet, self.lan) != 0
    }

    /// Decides a packet with all its headers.
    #[inline(always)]
    fn whole(&self, keys: &mut Keys) -> (Ruling, Effect<T::FlowRef>) {
        let forward = self.forward(self.packet.ports());
        if !forward.permits() && quote::is_error(self.packet) {
            return (self.related(keys).unwrap_or(forward), Effect::NOTHING);
        }
        let stateless = self.tables.flags() & settings_flags::FLOWS == 0;
        // Without flows nothing tells an answer from a new session, so the rules of the other direction do not matter.
        let hopeless = || {
            let backward = self.backward(self.packet.ports());
            stateless || !(backward.permits() || backward.monitored())
        };
        if !forward.permits() && !self.lets_pass(forward) && hopeless() {
            return (forward, Effect::NOTHING);
        }
        if self.packet.protocol == protocol::TCP && !conntrack::is_sane(self.packet.tcp_flags) {
            return (forward.refused_for(DropReason::TcpFlags), Effect::NOTHING);
        }
        if stateless {
            return (forward, Effect::NOTHING);
        }
        match conntrack::key(self.packet, self.lan, &mut keys.flow) {
            Some(source_low) => self.track(&keys.flow, source_low, forward),
            None => (forward, Effect::NOTHING),
        }
    }

    /// Decides a later fragment as its first one was; under a newer generation, by the ports of the first one.
    #[inline(always)]
    fn follow(&self, key: &mut FragmentKey) -> Ruling {
        let orphan = Ruling::DEFECT.refused_for(DropReason::FragmentOrphan).in_flow(false);
        fragment::key(self.packet, self.lan, key);
        let Some(first) = self.tables.fragment(key) else {
            return orphan;
        };
        if let Err(reason) = fragment::follows(self.packet, &first, self.now) {
            return orphan.refused_for(reason);
        }
        let answers = first.answers != 0;
        if first.generation == self.tables.generation() {
            let refusal = DropReason::from_code(first.refusal).unwrap_or(DropReason::TableMiss);
            return self.settled(first.rule, refusal).in_flow(answers);
        }
        let ports = Ports {
            protocol: first.protocol as u8,
            source: first.source_port,
            destination: first.destination_port,
        };
        let ruling = if answers {
            self.backward(ports)
        } else {
            self.forward(ports)
        };
        ruling.in_flow(answers)
    }

    /// Remembers a first fragment for those that follow. One that comes again, shorter, does not open what the one before has
    /// closed: receivers keep what they have.
    #[inline(always)]
    fn lead(&self, key: &mut FragmentKey, ruling: Ruling) {
        fragment::key(self.packet, self.lan, key);
        let (replaces, before) = match self.tables.fragment(key) {
            Some(before) => (true, fragment::covered(&before, self.now)),
            None => (false, 0),
        };
        let record = FragmentRecord {
            seen: self.now,
            rule: ruling.rule,
            generation: self.tables.generation(),
            length: fragment::end(self.packet).max(before),
            // One store for both ports would cross a word of the stack, which verifiers refuse.
            source_port: core::hint::black_box(self.packet.source_port),
            destination_port: self.packet.destination_port,
            refusal: ruling.refusal as u8,
            answers: u8::from(ruling.answers()),
            protocol: self.packet.protocol.into(),
            reserved: 0,
        };
        self.tables.insert_fragment(key, &record, replaces);
    }

    /// An ICMP error passes when the flow that it quotes is permitted by this generation. Right after a swap, a flow
    /// waits for its next frame to be decided anew; an error that comes first is refused, and sent again.
    #[inline(always)]
    fn related(&self, keys: &mut Keys) -> Option<Ruling> {
        quote::flow_key(self.frame, self.packet, self.lan, &mut keys.flow)?;
        if !keys.uplink && !self.is_beyond(quote::receiver(self.packet, &keys.flow)) {
            return None;
        }
        let (_, flow) = self.find(&keys.flow)?;
        if flow.generation.get() != self.tables.generation() {
            return None;
        }
        let refusal = DropReason::from_code(flow.refusal.get())?;
        Some(self.settled(flow.rule.get(), refusal).in_flow(true))
    }

    /// Whether the way to `receiver` leads over the VLAN that the frame came by: a router or the receiver itself reports an
    /// error from there. Elsewhere it is forged (RFC 5927). The way to the gateway of a VLAN is that VLAN: only in inline mode, where it
    /// is another box, does such an error come by. Where an address lives that no zone declares, nobody knows.
    #[inline(always)]
    fn is_beyond(&self, receiver: &Address) -> bool {
        let home = self.tables.home(self.lan, self.packet.family, receiver);
        let beyond = if home == OWN_LAN { self.destination.lan } else { home };
        beyond == self.decision.lan || home == NO_LAN
    }

    /// What an earlier frame of this generation was told by `told`; or when that rule has ended meanwhile, what stands behind
    /// it. What a rule in monitor mode refused, it goes on to let pass.
    #[inline(always)]
    fn settled(&self, told: u32, refusal: DropReason) -> Ruling {
        let Some((rule, record)) = classify::in_force(self.tables, told, self.now) else {
            return Ruling::DEFECT;
        };
        let ruling = Ruling::by(rule, record);
        if rule != told {
            return ruling;
        }
        match refusal {
            DropReason::DeniedByRule | DropReason::RuleLimit => Ruling { refusal, ..ruling },
            _ => ruling.refused_for(refusal),
        }
    }

    /// The rule for a packet with these ports as the opener of a session.
    #[inline(always)]
    fn forward(&self, ports: Ports) -> Ruling {
        self.ruling(self.source, self.destination, Service::of(ports))
    }

    /// The rule for the session that it would answer to.
    #[inline(always)]
    fn backward(&self, ports: Ports) -> Ruling {
        match Service::answered_by(ports) {
            Some(service) => self.ruling(self.destination, self.source, service),
            None => Ruling {
                rule: DEFAULT_RULE,
                ..Ruling::DEFECT
            }
            .refused_for(DropReason::DefaultDeny),
        }
    }

    #[inline(always)]
    fn ruling(&self, source: &Endpoint, destination: &Endpoint, service: Service) -> Ruling {
        let Some((rule, record)) = classify::rule(self.tables, source, destination, service, self.now) else {
            return Ruling::DEFECT;
        };
        Ruling::by(rule, record)
    }
}

/// Whether what would be dropped between zones of these modes passes: one is in monitor mode, and none in enforce
/// mode.
#[inline(always)]
pub(crate) const fn is_monitor(modes: u32) -> bool {
    modes & (mode::MONITOR | mode::ENFORCE) == mode::MONITOR
}
