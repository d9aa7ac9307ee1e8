//! Policy and flows together: is this frame, or the session that it answers to, permitted?
//!
//! The rules are asked first, because they cost less than a look into a flow table: a frame that neither a rule
//! for its own direction nor one for the opposite direction permits cannot belong to a permitted flow. It follows
//! that every frame is decided under the generation at hand, and that a new deny stops an open session at once.

use crate::abi::{
    DEFAULT_RULE, Endpoint, Flow, FlowKey, FlowState, FragmentKey, FragmentRecord, Lan, NO_RULE, Rule, endpoint_flags,
    mode, rule_flags, settings_flags,
};
use crate::budget::{self, Charge};
use crate::classify::{self, Service};
use crate::concurrency::Activity;
use crate::conntrack::{self, Direction, Opening};
use crate::frame::Frame;
use crate::packet::{Fragment, Packet, Ports, protocol, tcp_flags};
use crate::tables::{FlowTable, Tables};
use crate::verdict::{DropReason, Stage};
use crate::{concurrency, fragment, quote};

/// A frame between two classified ends.
pub(crate) struct Session<'a, F: ?Sized, T> {
    pub(crate) frame: &'a F,
    pub(crate) tables: &'a T,
    pub(crate) packet: &'a Packet,
    pub(crate) source: &'a Endpoint,
    pub(crate) destination: &'a Endpoint,
    pub(crate) lan: &'a Lan,
    /// Who pays for the frame if it passes.
    pub(crate) charge: Charge,
    /// Refused frames pass: keep flows for them too, so that answers are told from new sessions.
    pub(crate) monitored: bool,
    pub(crate) now: u64,
}

/// The keys of a frame. The caller owns them: the kernel program has no room for them on its stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys {
    flow: FlowKey,
    fragment: FragmentKey,
}

impl Keys {
    pub(crate) const EMPTY: Self = Self {
        flow: FlowKey::EMPTY,
        fragment: FragmentKey::EMPTY,
    };
}

/// What the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ruling {
    /// The rule that decides.
    pub(crate) rule: u32,
    /// [`DropReason::None`] when permitted.
    pub(crate) refusal: DropReason,
    /// The stage that settled it.
    pub(crate) stage: Stage,
    /// The rule logs, and the frame is the first of its session.
    pub(crate) log: bool,
    /// The frame answers in a session that the other end opened.
    answers: bool,
    /// The rule is in monitor mode: what it refuses passes.
    pub(crate) monitored: bool,
}

impl Ruling {
    const DEFECT: Self = Self {
        rule: NO_RULE,
        refusal: DropReason::TableMiss,
        stage: Stage::Policy,
        log: false,
        answers: false,
        monitored: false,
    };

    /// What a rule says to a packet that it matches.
    #[inline(always)]
    const fn by(rule: u32, record: &Rule) -> Self {
        let refusal = if record.flags & rule_flags::ALLOW != 0 {
            DropReason::None
        } else if rule == DEFAULT_RULE {
            DropReason::DefaultDeny
        } else {
            DropReason::DeniedByRule
        };
        Self {
            rule,
            refusal,
            stage: Stage::Policy,
            log: record.flags & rule_flags::LOG != 0,
            answers: false,
            monitored: record.flags & rule_flags::MONITOR != 0,
        }
    }

    const fn permits(self) -> bool {
        matches!(self.refusal, DropReason::None)
    }

    /// Refused by something else than the rule.
    const fn refused_for(self, refusal: DropReason) -> Self {
        Self {
            refusal,
            monitored: false,
            ..self
        }
    }

    const fn at(self, stage: Stage) -> Self {
        Self { stage, ..self }
    }

    /// The same, settled by a flow or fragment that is known.
    const fn in_flow(self, answers: bool) -> Self {
        Self {
            stage: Stage::Flow,
            log: false,
            answers,
            ..self
        }
    }
}

/// What the frame does to the flow tables if it passes: nothing, enter a flow, or move one on.
///
/// Fields that always have a value, and not an enum: the verifiers of kernels before 6.3 follow neither a tag that was
/// kept on the stack, so that they would not know the flow for a pointer, nor a payload that was never written.
struct Effect<R> {
    /// The flow that it moves on, found in this table.
    flow: Option<R>,
    table: FlowTable,
    /// Enters a flow, in this state.
    opens: bool,
    state: FlowState,
    /// Its source is the lower end of the flow.
    source_low: bool,
}

impl<R> Effect<R> {
    const NOTHING: Self = Self {
        flow: None,
        table: FlowTable::Established,
        opens: false,
        source_low: false,
        state: FlowState::Unanswered,
    };
}

impl<F: Frame + ?Sized, T: Tables> Session<'_, F, T> {
    /// Rules and flows, then budgets; and if the frame passes, the flow tables.
    #[inline(always)]
    pub(crate) fn decide(&self, keys: &mut Keys) -> Ruling {
        let (mut ruling, effect) = if matches!(self.packet.fragment, Fragment::Later) {
            (self.follow(&mut keys.fragment), Effect::NOTHING)
        } else {
            self.whole(&mut keys.flow)
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
                answers: ruling.answers,
                opens: effect.opens,
                activity,
                ..self.charge
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
        self.monitored || ruling.monitored
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
            Some(flow) if !ruling.answers => {
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
    fn whole(&self, key: &mut FlowKey) -> (Ruling, Effect<T::FlowRef>) {
        let forward = self.forward(self.packet.ports());
        if !forward.permits() && quote::is_error(self.packet) {
            return (self.related(key).unwrap_or(forward), Effect::NOTHING);
        }
        let stateless = self.tables.flags() & settings_flags::FLOWS == 0;
        // Without flows nothing tells an answer from a new session, so the rules of the other direction do not matter.
        let hopeless = || {
            let backward = self.backward(self.packet.ports());
            stateless || !(backward.permits() || backward.monitored)
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
        match conntrack::key(self.packet, self.lan, key) {
            Some(source_low) => self.track(key, source_low, forward),
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

    /// Remembers a first fragment for those that follow.
    #[inline(always)]
    fn lead(&self, key: &mut FragmentKey, ruling: Ruling) {
        let record = FragmentRecord {
            seen: self.now,
            rule: ruling.rule,
            generation: self.tables.generation(),
            length: self.packet.transport_length,
            source_port: self.packet.source_port,
            destination_port: self.packet.destination_port,
            refusal: ruling.refusal as u8,
            answers: u8::from(ruling.answers),
            protocol: self.packet.protocol.into(),
            reserved: 0,
        };
        fragment::key(self.packet, self.lan, key);
        self.tables.insert_fragment(key, &record);
    }

    /// An ICMP error passes when the flow that it quotes is permitted by this generation. Right after a swap, a flow
    /// waits for its next frame to be decided anew; an error that comes first is refused, and sent again.
    #[inline(always)]
    fn related(&self, key: &mut FlowKey) -> Option<Ruling> {
        quote::flow_key(self.frame, self.packet, self.lan, key)?;
        let (_, flow) = self.find(key)?;
        if flow.generation.get() != self.tables.generation() {
            return None;
        }
        let refusal = DropReason::from_code(flow.refusal.get())?;
        Some(self.settled(flow.rule.get(), refusal).in_flow(true))
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
        let by_rule = matches!(refusal, DropReason::DeniedByRule | DropReason::RuleLimit);
        Ruling {
            refusal,
            monitored: by_rule && ruling.monitored,
            ..ruling
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

    #[inline(always)]
    fn track(&self, key: &FlowKey, source_low: bool, forward: Ruling) -> (Ruling, Effect<T::FlowRef>) {
        let Some((table, flow)) = self.find(key) else {
            return self.open(source_low, forward);
        };
        if conntrack::reopens(state_of(&flow), self.packet) {
            if !forward.permits() {
                // Whoever may not open a session does not end one either.
                return (forward, Effect::NOTHING);
            }
            self.tables.remove_flow(table, key);
            return self.open(source_low, forward);
        }
        let direction = flow.direction(source_low);
        let ruling = match direction {
            Direction::Initiator => forward,
            Direction::Responder => self.backward(self.packet.ports()),
        };
        if !ruling.permits() {
            // The policy has changed, or monitor mode follows what it would refuse. What answers may still open a
            // session of its own, as it would in enforce mode.
            let own = matches!(direction, Direction::Responder) && forward.permits();
            if own || !self.lets_pass(ruling) {
                self.tables.remove_flow(table, key);
                return if own || self.lets_pass(forward) {
                    self.open(source_low, forward)
                } else {
                    (forward, Effect::NOTHING)
                };
            }
        }
        let answers = matches!(direction, Direction::Responder);
        let effect = Effect {
            flow: Some(flow),
            table,
            source_low,
            ..Effect::NOTHING
        };
        (ruling.in_flow(answers), effect)
    }

    /// A flow that has not been idle for too long.
    #[inline(always)]
    fn find(&self, key: &FlowKey) -> Option<(FlowTable, T::FlowRef)> {
        if let Some(flow) = self.tables.flow(FlowTable::Established, key)
            && self.is_alive(&flow)
        {
            return Some((FlowTable::Established, flow));
        }
        let flow = self.tables.flow(FlowTable::HalfOpen, key)?;
        self.is_alive(&flow).then_some((FlowTable::HalfOpen, flow))
    }

    /// Another CPU may have set `seen` after we read `now`: then the flow is alive, not ages old.
    #[inline(always)]
    fn is_alive(&self, flow: &Flow) -> bool {
        self.now.saturating_sub(flow.seen.get()) <= self.tables.idle_nanos(state_of(flow))
    }

    #[inline(always)]
    fn open(&self, source_low: bool, forward: Ruling) -> (Ruling, Effect<T::FlowRef>) {
        match conntrack::open(self.packet) {
            Opening::Flow(FlowState::PickedUp) if self.is_strict() && forward.permits() => {
                let refused = forward.refused_for(DropReason::NoSession).at(Stage::Flow);
                (refused, Effect::NOTHING)
            }
            Opening::Flow(state) => {
                let effect = Effect {
                    opens: true,
                    source_low,
                    state,
                    ..Effect::NOTHING
                };
                (forward, effect)
            }
            Opening::Alone => (forward, Effect::NOTHING),
        }
    }

    /// One of the ends wants to see TCP sessions begin.
    #[inline(always)]
    fn is_strict(&self) -> bool {
        (self.source.flags | self.destination.flags) & endpoint_flags::STRICT_TCP != 0
    }

    /// Does to the flow tables what the frame does if it passes.
    #[inline(always)]
    fn commit(&self, key: &FlowKey, effect: Effect<T::FlowRef>, ruling: Ruling, counted: u32) {
        if let Some(flow) = effect.flow {
            if counted != 0 && counted != flow.counted.get() {
                flow.counted.set(counted);
            }
            let direction = flow.direction(effect.source_low);
            self.advance(effect.table, key, &flow, direction, ruling);
        } else if effect.opens {
            let generation = self.tables.generation();
            let flow = Flow::new(
                effect.state,
                effect.source_low,
                ruling.rule,
                generation,
                ruling.refusal as u8,
                self.now,
            );
            flow.count(Direction::Initiator, self.packet.length);
            flow.counted.set(counted);
            self.tables.insert_flow(FlowTable::HalfOpen, key, &flow);
        }
    }

    #[inline(always)]
    fn advance(&self, table: FlowTable, key: &FlowKey, flow: &Flow, direction: Direction, ruling: Ruling) {
        let before = state_of(flow);
        let after = conntrack::next(before, direction, self.packet);
        if after as u8 != before as u8 {
            flow.state.set(after as u8);
        }
        flow.count(direction, self.packet.length);
        if flow.seen.get() != self.now {
            flow.seen.set(self.now);
        }
        if flow.generation.get() != self.tables.generation() {
            flow.generation.set(self.tables.generation());
            flow.rule.set(ruling.rule);
            flow.refusal.set(ruling.refusal as u8);
        }
        if matches!(table, FlowTable::HalfOpen) && conntrack::is_confirmed(after) {
            self.tables.insert_flow(FlowTable::Established, key, flow);
            self.tables.remove_flow(FlowTable::HalfOpen, key);
        }
    }
}

#[inline(always)]
fn state_of(flow: &Flow) -> FlowState {
    FlowState::from_code(flow.state.get())
}

/// Whether what would be dropped between zones of these modes passes: one is in monitor mode, and none in enforce
/// mode.
#[inline(always)]
pub(crate) const fn is_monitor(modes: u32) -> bool {
    modes & (mode::MONITOR | mode::ENFORCE) == mode::MONITOR
}
