//! The life of a flow.

use super::{Ip, Transport};
use crate::packet::tcp_flags::{ACK, FIN, RST, SYN};

/// Where a flow is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Unanswered,
    Answered,
    SynSent,
    SynReceived,
    PickedUp,
    Established,
    Closing,
    Reset,
}

impl State {
    /// Idle seconds until it is forgotten.
    pub(super) fn patience(self) -> u64 {
        match self {
            Self::Reset => 10,
            Self::Unanswered | Self::SynSent => 30,
            Self::SynReceived | Self::PickedUp => 60,
            Self::Closing => 120,
            Self::Answered => 180,
            Self::Established => 5 * 24 * 60 * 60,
        }
    }
}

/// The state after one more frame.
pub(super) fn next(state: State, by_initiator: bool, ip: &Ip) -> State {
    let Transport::Tcp { flags, .. } = ip.transport else {
        return if by_initiator { state } else { State::Answered };
    };
    let has = |flag| flags & flag != 0;
    let open = if has(FIN) { State::Closing } else { State::Established };
    match state {
        // Nobody has answered the initiator: its own reset shows nothing.
        State::SynSent | State::PickedUp if by_initiator => state,
        _ if has(RST) => State::Reset,
        State::SynSent if has(SYN) => State::SynReceived,
        State::SynReceived if by_initiator && has(ACK) && !has(SYN) => open,
        State::PickedUp | State::Established => open,
        // A forged reset ends nothing (RFC 5961): if the initiator goes on, the answer tells.
        State::Reset if by_initiator && has(FIN) => State::Closing,
        State::Reset if by_initiator => State::PickedUp,
        state => state,
    }
}

pub(super) fn is_over(state: State) -> bool {
    matches!(state, State::Closing | State::Reset)
}

/// Both ends may still ask for the connection.
pub(super) fn is_opening(state: State) -> bool {
    matches!(state, State::SynSent | State::SynReceived)
}
