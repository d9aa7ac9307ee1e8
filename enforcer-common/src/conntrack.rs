//! Flows: one entry for both directions, and the state that TCP flags move it through.
//!
//! Sequence numbers are not followed: the endpoints check them (RFC 5961), and a window tracked from one side of
//! an asymmetric path harms more sessions than it protects. What is followed is who spoke first and who answered.

use crate::abi::{Address, Flow, FlowKey, FlowState, Lan};
use crate::classify::Echo;
use crate::packet::{Fragment, Packet, Ports, link, protocol, tcp_flags};
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

/// Writes the key of a frame's flow, and tells whether its source is the lower end. `None` for frames that form no
/// flow: sent to a group, later fragments, ICMP other than echo, other than IP.
#[inline(always)]
pub fn key(packet: &Packet, lan: &Lan, key: &mut FlowKey) -> Option<bool> {
    if packet.family == 0 || packet.to_group() || matches!(packet.fragment, Fragment::Later) {
        return None;
    }
    let (source, destination) = ends(packet.ports())?;
    (key.realm, key.protocol, key.family) = (lan.realm, packet.protocol, packet.family);
    key.link = link(lan, packet.family, &packet.source, &packet.destination);
    Some(order(key, (&packet.source, source), (&packet.destination, destination)))
}

/// The ports that stand in a key; `None` for ICMP other than echo.
///
/// The identifier is the asking end's, as a client's port is: when both ends ask with the same one (some stacks always
/// take 1), these are two flows.
#[inline(always)]
pub fn ends(ports: Ports) -> Option<(u16, u16)> {
    match ports.protocol {
        protocol::ICMP | protocol::ICMPV6 => match Echo::of(ports)? {
            Echo::Request => Some((ports.source, !ports.source)),
            Echo::Reply => Some((!ports.source, ports.source)),
        },
        _ => Some((ports.source, ports.destination)),
    }
}

/// Writes both ends to their places in the key, and tells whether the first of them is the lower one.
#[inline(always)]
pub fn order(key: &mut FlowKey, one: (&Address, u16), other: (&Address, u16)) -> bool {
    let one_low = is_lower(one, other);
    let (low, high) = if one_low { (one, other) } else { (other, one) };
    (key.low, key.low_port) = (*low.0, low.1);
    (key.high, key.high_port) = (*high.0, high.1);
    one_low
}

/// Whether the first end orders before the second: by the most significant difference.
#[inline(always)]
fn is_lower(one: (&Address, u16), other: (&Address, u16)) -> bool {
    let (a, b) = (one.0, other.0);
    if a[0] != b[0] {
        a[0] < b[0]
    } else if a[1] != b[1] {
        a[1] < b[1]
    } else if a[2] != b[2] {
        a[2] < b[2]
    } else if a[3] != b[3] {
        a[3] < b[3]
    } else {
        one.1 <= other.1
    }
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
        protocol::ICMP | protocol::ICMPV6 if Echo::of(packet.ports()) != Some(Echo::Request) => Opening::Alone,
        _ => Opening::Flow(FlowState::Unanswered),
    }
}

/// Flags that a TCP stack sends: one of SYN, ACK and RST (a FIN acknowledges), and SYN neither with FIN nor with RST.
#[inline(always)]
pub const fn is_sane(flags: u8) -> bool {
    const END: u8 = tcp_flags::FIN | tcp_flags::RST;
    let says_something = flags & (tcp_flags::SYN | tcp_flags::ACK | tcp_flags::RST) != 0;
    says_something && !(flags & tcp_flags::SYN != 0 && flags & END != 0)
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
        // A forged reset does not end a session: the ends ignore it and go on (RFC 5961). What they say settles it, as for a session that
        // nobody saw begin: only another reset answers what goes on after a true one.
        (FlowState::Reset, Direction::Initiator) if flags & tcp_flags::FIN == 0 => FlowState::PickedUp,
        (FlowState::Reset, Direction::Initiator) => FlowState::Closing,
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

/// The first segment of a connection.
#[inline(always)]
const fn is_syn(packet: &Packet) -> bool {
    packet.protocol == protocol::TCP && packet.tcp_flags & (tcp_flags::SYN | tcp_flags::ACK) == tcp_flags::SYN
}

/// A SYN that reuses the ports of a connection that is over.
#[inline(always)]
pub const fn reopens(state: FlowState, packet: &Packet) -> bool {
    is_syn(packet) && matches!(state, FlowState::Closing | FlowState::Reset)
}

/// A SYN that belongs to no connection that is there, so that its sender has to be permitted one: it [`reopens`], or the responder
/// asks for a connection of its own. While one is being opened both ends may ask for it (RFC 9293, section 3.5).
#[inline(always)]
pub const fn is_own(state: FlowState, direction: Direction, packet: &Packet) -> bool {
    is_syn(packet)
        && match direction {
            Direction::Initiator => matches!(state, FlowState::Closing | FlowState::Reset),
            Direction::Responder => !matches!(state, FlowState::SynSent | FlowState::SynReceived),
        }
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
            entered_as: state as u8,
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
