//! The flow tables: which flow a frame belongs to, which one it opens, and how it moves that on.

use super::{Effect, Ruling, Session};
use crate::abi::{Flow, FlowKey, FlowState, endpoint_flags};
use crate::conntrack::{self, Direction, Opening};
use crate::frame::Frame;
use crate::tables::{FlowTable, Tables};
use crate::verdict::{DropReason, Stage};

impl<F: Frame + ?Sized, T: Tables> Session<'_, F, T> {
    #[inline(always)]
    pub(super) fn track(&self, key: &FlowKey, source_low: bool, forward: Ruling) -> (Ruling, Effect<T::FlowRef>) {
        let Some((table, flow)) = self.find(key) else {
            return self.open(source_low, forward);
        };
        let direction = flow.direction(source_low);
        if conntrack::is_own(state_of(&flow), direction, self.packet) && !forward.permits() {
            // Whoever may not open a session does not end one either.
            return (forward, Effect::NOTHING);
        }
        if conntrack::reopens(state_of(&flow), self.packet) {
            self.tables.remove_flow(table, key);
            return self.open(source_low, forward);
        }
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
    pub(super) fn find(&self, key: &FlowKey) -> Option<(FlowTable, T::FlowRef)> {
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
    pub(super) fn commit(&self, key: &FlowKey, effect: Effect<T::FlowRef>, ruling: Ruling, counted: u32) {
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
            let _counted = self.tables.insert_flow(FlowTable::HalfOpen, key, &flow);
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
        // Where it cannot move to it stays, and the next frame tries again.
        if matches!(table, FlowTable::HalfOpen)
            && conntrack::is_confirmed(after)
            && self.tables.insert_flow(FlowTable::Established, key, flow)
        {
            self.tables.remove_flow(FlowTable::HalfOpen, key);
        }
    }
}

#[inline(always)]
pub(super) fn state_of(flow: &Flow) -> FlowState {
    FlowState::from_code(flow.state.get())
}
