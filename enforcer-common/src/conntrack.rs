//! Flows: one entry for both directions, and the state that TCP flags move it through.
//!
//! Sequence numbers are not followed: the endpoints check them (RFC 5961), and a window tracked from one side of
//! an asymmetric path harms more sessions than it protects. What is followed is who spoke first and who answered.

use crate::abi::{Flow, FlowKey, FlowState};
use crate::classify::Echo;
use crate::packet::{Fragment, Packet, protocol, tcp_flags};
use crate::shared::Shared;

/// Who sent a frame of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// The end that opened the flow.
    Initiator = 0,
    /// The end that answers.
    Responder = 1,
}

/// The key of a frame's flow, and whether its source is the lower end. `None` for frames that form no flow: sent to
/// a group, later fragments, ICMP other than echo, other than IP.
#[inline(always)]
pub fn key(packet: &Packet, realm: u16) -> Option<(FlowKey, bool)> {
    if packet.family == 0 || packet.to_group() || matches!(packet.fragment, Fragment::Later) {
        return None;
    }
    let (source_port, destination_port) = match packet.protocol {
        protocol::ICMP | protocol::ICMPV6 => {
            Echo::of(packet)?;
            (packet.source_port, packet.source_port)
        }
        _ => (packet.source_port, packet.destination_port),
    };
    let source_low = is_lower(packet, source_port, destination_port);
    let mut key = FlowKey {
        realm,
        protocol: packet.protocol,
        family: packet.family,
        ..FlowKey::default()
    };
    if source_low {
        (key.low, key.low_port) = (packet.source, source_port);
        (key.high, key.high_port) = (packet.destination, destination_port);
    } else {
        (key.low, key.low_port) = (packet.destination, destination_port);
        (key.high, key.high_port) = (packet.source, source_port);
    }
    Some((key, source_low))
}

/// Whether the source end orders before the destination end: most significant difference first.
#[inline(always)]
fn is_lower(packet: &Packet, source_port: u16, destination_port: u16) -> bool {
    let (source, destination) = (&packet.source, &packet.destination);
    if source[0] != destination[0] {
        return source[0] < destination[0];
    }
    if source[1] != destination[1] {
        return source[1] < destination[1];
    }
    if source[2] != destination[2] {
        return source[2] < destination[2];
    }
    if source[3] != destination[3] {
        return source[3] < destination[3];
    }
    source_port <= destination_port
}

/// What a permitted frame without a flow does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It opens a flow in this state.
    Flow(FlowState),
    /// It passes on its own: a reset, or an echo reply that a rule permits by itself.
    Alone,
}

/// What `packet` opens. A TCP segment without SYN is the middle of a session that began before the enforcer saw it;
/// it waits among the half-open flows until the other end confirms it.
#[inline(always)]
pub fn open(packet: &Packet) -> Opening {
    match packet.protocol {
        protocol::TCP if packet.tcp_flags & tcp_flags::RST != 0 => Opening::Alone,
        protocol::TCP if packet.tcp_flags & (tcp_flags::SYN | tcp_flags::ACK) == tcp_flags::SYN => {
            Opening::Flow(FlowState::SynSent)
        }
        protocol::TCP => Opening::Flow(FlowState::PickedUp),
        protocol::ICMP | protocol::ICMPV6 if Echo::of(packet) != Some(Echo::Request) => Opening::Alone,
        _ => Opening::Flow(FlowState::Unanswered),
    }
}

/// Flags that a TCP stack sends: not none at all, and SYN neither with FIN nor with RST.
#[inline(always)]
pub const fn is_sane(flags: u8) -> bool {
    const END: u8 = tcp_flags::FIN | tcp_flags::RST;
    let known = flags & (tcp_flags::SYN | tcp_flags::ACK | END);
    known != 0 && !(known & tcp_flags::SYN != 0 && known & END != 0)
}

/// The state after one more frame.
#[inline(always)]
pub const fn next(state: FlowState, direction: Direction, packet: &Packet) -> FlowState {
    if packet.protocol != protocol::TCP {
        return match direction {
            Direction::Initiator => state,
            Direction::Responder => FlowState::Answered,
        };
    }
    let flags = packet.tcp_flags;
    if flags & tcp_flags::RST != 0 {
        // From an initiator that nobody answered it proves nothing: the flow stays half-open.
        return match (state, direction) {
            (FlowState::SynSent | FlowState::PickedUp, Direction::Initiator) => state,
            _ => FlowState::Reset,
        };
    }
    let syn = flags & tcp_flags::SYN != 0;
    let ack = flags & tcp_flags::ACK != 0;
    match (state, direction) {
        (FlowState::SynSent, Direction::Responder) if syn => FlowState::SynReceived,
        (FlowState::SynReceived, Direction::Initiator) if ack && !syn => established(flags),
        (FlowState::PickedUp, Direction::Responder) | (FlowState::Established, _) => established(flags),
        // A forged reset does not end a session: the ends ignore it and go on (RFC 5961).
        (FlowState::Reset, _) => FlowState::Closing,
        _ => state,
    }
}

#[inline(always)]
const fn established(flags: u8) -> FlowState {
    if flags & tcp_flags::FIN == 0 {
        FlowState::Established
    } else {
        FlowState::Closing
    }
}

/// A SYN that reuses the ports of a connection that is over.
#[inline(always)]
pub const fn reopens(state: FlowState, packet: &Packet) -> bool {
    packet.protocol == protocol::TCP
        && packet.tcp_flags & (tcp_flags::SYN | tcp_flags::ACK) == tcp_flags::SYN
        && matches!(state, FlowState::Closing | FlowState::Reset)
}

/// Whether both ends have spoken, so that the flow belongs into the table that floods do not reach. A reset proves
/// nothing: closed ports answer every scan with one.
#[inline(always)]
pub const fn is_confirmed(state: FlowState) -> bool {
    matches!(state, FlowState::Answered | FlowState::Established | FlowState::Closing)
}

impl FlowState {
    /// The state with this code; an unknown code is a flow at its end.
    #[inline(always)]
    pub const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Unanswered,
            1 => Self::Answered,
            2 => Self::SynSent,
            3 => Self::SynReceived,
            4 => Self::Established,
            5 => Self::Closing,
            7 => Self::PickedUp,
            _ => Self::Reset,
        }
    }
}

impl Flow {
    /// A flow without frames, opened `now`.
    #[inline(always)]
    pub fn new(state: FlowState, initiator_low: bool, rule: u32, generation: u32, refusal: u8, now: u64) -> Self {
        Self {
            created: now,
            seen: Shared::new(now),
            rule: Shared::new(rule),
            generation: Shared::new(generation),
            state: Shared::new(state as u8),
            initiator_low: u8::from(initiator_low),
            refusal: Shared::new(refusal),
            ..Self::default()
        }
    }

    /// Who sends from the lower end, or from the higher one.
    #[inline(always)]
    pub fn direction(&self, source_low: bool) -> Direction {
        if source_low == (self.initiator_low != 0) {
            Direction::Initiator
        } else {
            Direction::Responder
        }
    }

    /// Accounts for one frame.
    #[inline(always)]
    pub fn count(&self, direction: Direction, length: u32) {
        match direction {
            Direction::Initiator => {
                self.packets[0].add(1);
                self.bytes[0].add(u64::from(length));
            }
            Direction::Responder => {
                self.packets[1].add(1);
                self.bytes[1].add(u64::from(length));
            }
        }
    }
}
