//! Flows, fragments and ICMP errors, as plain lists.

use std::net::IpAddr;

use enforcer_common::verdict::{DropReason, Stage};

use super::budget::{Paid, Step};
use super::options::announced;
use super::place::{Place, Resident, Space, is_group};
use super::rules::{self, Ruling, Wanted};
use super::service::{End, answered_by, asked_for, ends, is_echo_reply, is_echo_request};
use super::state::{State, is_opening, is_over, next};
use super::{About, Ip, Oracle, Part, Quote, Transport};
use crate::packet::tcp_flags::{ACK, FIN, RST, SYN};

pub(super) const SECOND: u64 = 1_000_000_000;

/// A session, seen from whom it was opened by.
#[derive(Clone, Debug)]
pub(super) struct Flow<'p> {
    /// Flows are numbered as they are opened.
    number: usize,
    space: Space,
    protocol: u8,
    initiator: End,
    responder: End,
    state: State,
    seen: u64,
    ruling: Ruling<'p>,
    generation: u32,
}

/// A frame between two residents.
pub(super) struct Crossing<'f> {
    pub(super) ip: &'f Ip,
    pub(super) place: &'f Place<'f>,
    pub(super) source: &'f Resident,
    pub(super) destination: &'f Resident,
    pub(super) monitored: bool,
    /// To a group of stations.
    pub(super) to_group: bool,
    pub(super) octets: usize,
    pub(super) now: u64,
}

impl Crossing<'_> {
    pub(super) fn space(&self) -> Space {
        self.place.space(self.ip)
    }

    /// What is refused passes all the same, and is followed as if it were permitted.
    fn lets_pass(&self, ruling: &Ruling<'_>) -> bool {
        self.monitored || ruling.monitored
    }
}

/// What a frame does to the flows if it passes.
enum Effect {
    Nothing,
    Open { from: End, to: End, state: State },
    Advance { index: usize, by_initiator: bool },
}

impl<'p> Oracle<'p> {
    /// Rules and flows, and then what a permitted frame may still be refused for.
    pub(super) fn session(&mut self, frame: &Crossing<'_>) -> Ruling<'p> {
        let ip = frame.ip;
        let (mut ruling, effect) = match ip.part {
            Part::Later { id, offset, .. } => (self.follow(frame, id, usize::from(offset)), Effect::Nothing),
            Part::Whole | Part::First(_) => self.whole(frame),
        };
        if ruling.permits() && self.has_small_mss(frame) {
            ruling = ruling.refused(DropReason::SmallMss, Stage::Budget);
        }
        if ruling.permits()
            && let Err(reason) = self.pay(frame, &effect, &ruling)
        {
            // The rule's own limit is as much in monitor mode as the rule is.
            let monitored = ruling.monitored && reason == DropReason::RuleLimit;
            ruling = Ruling {
                monitored,
                ..ruling.refused(reason, Stage::Budget)
            };
        }
        if ruling.permits() || frame.lets_pass(&ruling) {
            self.commit(frame, &effect, ruling);
            if let Part::First(id) = ip.part {
                self.lead(frame, id, ruling);
            }
        }
        ruling
    }

    /// Charges a permitted frame to everybody whose limits it comes under.
    fn pay(&mut self, frame: &Crossing<'_>, effect: &Effect, ruling: &Ruling<'p>) -> Result<(), DropReason> {
        let (step, flow) = match *effect {
            Effect::Open { .. } => (Step::Opens, self.opened + 1),
            Effect::Advance {
                index,
                by_initiator: true,
            } => {
                let flow = &self.flows[index];
                if is_over(next(flow.state, true, frame.ip)) {
                    (Step::Closes, flow.number)
                } else {
                    (Step::GoesOn, flow.number)
                }
            }
            _ => (Step::Nothing, 0),
        };
        let paid = Paid {
            octets: frame.octets,
            step,
            flow,
            now: frame.now,
        };
        let limits = self.limits(ruling, frame.place, [frame.source, frame.destination], frame.to_group);
        self.ledger.pay(&limits, paid)
    }

    /// A SYN, or the answer to one, that announces less than the receiver is protected from.
    fn has_small_mss(&self, frame: &Crossing<'_>) -> bool {
        let Transport::Tcp { flags, options, .. } = &frame.ip.transport else {
            return false;
        };
        let Resident {
            address, zone, device, ..
        } = *frame.destination;
        if flags & SYN == 0 || !frame.ip.has_transport() || is_group(address) || address.is_unspecified() {
            return false;
        }
        let least = match device {
            Some(device) => self.policy.devices[device].least_mss,
            None => self.policy.zones[zone].least_mss,
        };
        let default = if address.is_ipv4() { 536 } else { 1220 };
        least > 0 && announced(options, default).is_none_or(|mss| mss < least)
    }

    fn whole(&mut self, frame: &Crossing<'_>) -> (Ruling<'p>, Effect) {
        let ip = frame.ip;
        let asked = rules::ruling(self.policy, frame.source, frame.destination, asked_for(ip), frame.now);
        let answered = self.answer(frame, answered_by(ip));
        if !asked.permits() && is_error(ip) {
            return (self.related(frame).unwrap_or(asked), Effect::Nothing);
        }
        let may_pass = |ruling: &Ruling<'_>| ruling.permits() || frame.lets_pass(ruling);
        if !may_pass(&asked) && !may_pass(&answered) {
            return (asked, Effect::Nothing);
        }
        if let Transport::Tcp { flags, .. } = ip.transport
            && is_nonsense(flags)
        {
            return (asked.refused(DropReason::TcpFlags, Stage::Policy), Effect::Nothing);
        }
        match ends(ip) {
            Some((from, to)) if !is_group(to.0) => self.track(frame, from, to, asked, answered),
            _ => (asked, Effect::Nothing),
        }
    }

    /// The rule for the session that a frame would be the answer in.
    pub(super) fn answer(&self, frame: &Crossing<'_>, service: Option<Wanted>) -> Ruling<'p> {
        service.map_or(rules::DEFAULT, |service| {
            rules::ruling(self.policy, frame.destination, frame.source, service, frame.now)
        })
    }

    fn track(
        &mut self,
        frame: &Crossing<'_>,
        from: End,
        to: End,
        asked: Ruling<'p>,
        answered: Ruling<'p>,
    ) -> (Ruling<'p>, Effect) {
        let Some((index, by_initiator)) = self.flow_of(frame, from, to) else {
            return self.open(frame, from, to, asked);
        };
        let state = self.flows[index].state;
        if is_syn(frame.ip) && (is_over(state) || !(by_initiator || is_opening(state))) {
            // The ports are used again. Whoever may not open a session does not end one either.
            if !asked.permits() {
                return (asked, Effect::Nothing);
            }
            if is_over(state) {
                self.flows.remove(index);
                return self.open(frame, from, to, asked);
            }
        }
        let ruling = if by_initiator { asked } else { answered };
        if !ruling.permits() {
            // A session that the policy refuses (any more) does not keep its responder from opening one of its own.
            let may_open = !by_initiator && asked.permits();
            if may_open || !frame.lets_pass(&ruling) {
                self.flows.remove(index);
                return self.open(frame, from, to, asked);
            }
        }
        let answers = !by_initiator;
        (
            Ruling {
                answers,
                ..ruling.known()
            },
            Effect::Advance { index, by_initiator },
        )
    }

    /// Does to the flows what a frame does that passes.
    fn commit(&mut self, frame: &Crossing<'_>, effect: &Effect, ruling: Ruling<'p>) {
        let now = frame.now;
        match *effect {
            Effect::Nothing => {}
            Effect::Open { from, to, state } => {
                // Flows that are forgotten make room.
                self.flows
                    .retain(|flow| now.saturating_sub(flow.seen) <= flow.state.patience() * SECOND);
                self.opened += 1;
                self.flows.push(Flow {
                    number: self.opened,
                    space: frame.space(),
                    protocol: frame.ip.protocol(),
                    initiator: from,
                    responder: to,
                    state,
                    seen: now,
                    ruling,
                    generation: self.generation,
                });
            }
            Effect::Advance { index, by_initiator } => {
                let flow = &mut self.flows[index];
                flow.state = next(flow.state, by_initiator, frame.ip);
                flow.seen = now;
                if flow.generation != self.generation {
                    (flow.generation, flow.ruling) = (self.generation, ruling);
                }
            }
        }
    }

    /// The flow between two ends that has not been idle for too long, and whether the first end opened it. The answers
    /// of ICMP echo are a message of their own, so a request never belongs to the flow of the other side's.
    fn flow_of(&self, frame: &Crossing<'_>, from: End, to: End) -> Option<(usize, bool)> {
        let protocol = frame.ip.protocol();
        let reply = is_echo_reply(frame.ip);
        let echo = reply || is_echo_request(frame.ip);
        self.flows.iter().enumerate().find_map(|(index, flow)| {
            let alive = frame.now.saturating_sub(flow.seen) <= flow.state.patience() * SECOND;
            if !alive || flow.space != frame.space() || flow.protocol != protocol {
                return None;
            }
            let forth = flow.initiator == from && flow.responder == to && !reply;
            let back = flow.initiator == to && flow.responder == from && (reply || !echo);
            (forth || back).then_some((index, forth))
        })
    }

    /// Opens a flow, if the frame is one that opens flows. Where either end is strict, sessions begin with a SYN.
    fn open(&self, frame: &Crossing<'_>, from: End, to: End, asked: Ruling<'p>) -> (Ruling<'p>, Effect) {
        let ends = [frame.source.zone, frame.destination.zone];
        let strict = ends.iter().any(|&zone| self.policy.zones[zone].strict_tcp);
        let state = match frame.ip.transport {
            Transport::Tcp { flags, .. } if flags & RST != 0 => return (asked, Effect::Nothing),
            Transport::Tcp { .. } if is_syn(frame.ip) => State::SynSent,
            Transport::Tcp { .. } if strict && asked.permits() => {
                return (asked.refused(DropReason::NoSession, Stage::Flow), Effect::Nothing);
            }
            Transport::Tcp { .. } => State::PickedUp,
            Transport::Icmp { .. } if !is_echo_request(frame.ip) => return (asked, Effect::Nothing),
            _ => State::Unanswered,
        };
        (asked, Effect::Open { from, to, state })
    }

    /// An ICMP error follows the flow of the packet that it quotes, if that came from whom the error goes to.
    fn related(&self, frame: &Crossing<'_>) -> Option<Ruling<'p>> {
        let Transport::Icmp {
            about: About::Quote(quote),
            ..
        } = &frame.ip.transport
        else {
            return None;
        };
        let Quote { ip, left } = &**quote;
        let shown = (ip.header() + ip.payload).min(*left);
        let readable = shown >= 8 && ip.has_transport() && (ip.source.is_ipv4() || ip.extensions == 0);
        if !readable || ip.source != frame.ip.destination {
            return None;
        }
        let (from, to) = ends(ip)?;
        if is_group(to.0) {
            return None;
        }
        // It comes by the VLAN of the one that could not be reached, if that is known.
        if !frame.place.is_way_to(ip.destination, ip.source) {
            return None;
        }
        let about = Crossing { ip, ..*frame };
        let (index, _) = self.flow_of(&about, from, to)?;
        let flow = &self.flows[index];
        (flow.generation == self.generation).then(|| Ruling {
            answers: true,
            ..flow.ruling.still(self.policy, frame.now).known()
        })
    }
}

/// The first segment of a connection.
fn is_syn(ip: &Ip) -> bool {
    matches!(ip.transport, Transport::Tcp { flags, .. } if flags & SYN != 0 && flags & ACK == 0)
}

/// Flags that no TCP sends: neither SYN nor ACK nor RST, or SYN with FIN or RST.
fn is_nonsense(flags: u8) -> bool {
    flags & (SYN | ACK | RST) == 0 || (flags & SYN != 0 && flags & (FIN | RST) != 0)
}

/// Whether a packet tells of an error with another one.
fn is_error(ip: &Ip) -> bool {
    match (&ip.transport, ip.source) {
        (Transport::Icmp { kind, .. }, IpAddr::V4(_)) => matches!(kind, 3 | 11 | 12),
        (Transport::Icmp { kind, .. }, IpAddr::V6(_)) => (1..=4).contains(kind),
        _ => false,
    }
}
