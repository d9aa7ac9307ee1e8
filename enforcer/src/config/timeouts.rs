//! `[timeouts]`: how long a silent flow is remembered.

use enforcer_common::abi::FlowState;
use serde::Deserialize;
use toml::Spanned;

use super::file::Check;

/// The longest idle time: thirty days.
const LONGEST: u32 = 30 * 24 * 3600;

/// Seconds by the state of a flow.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct TimeoutsFile {
    unanswered: Option<Spanned<u32>>,
    answered: Option<Spanned<u32>>,
    syn_sent: Option<Spanned<u32>>,
    syn_received: Option<Spanned<u32>>,
    established: Option<Spanned<u32>>,
    closing: Option<Spanned<u32>>,
    reset: Option<Spanned<u32>>,
    picked_up: Option<Spanned<u32>>,
}

impl TimeoutsFile {
    fn of(&self, state: FlowState) -> Option<&Spanned<u32>> {
        match state {
            FlowState::Unanswered => &self.unanswered,
            FlowState::Answered => &self.answered,
            FlowState::SynSent => &self.syn_sent,
            FlowState::SynReceived => &self.syn_received,
            FlowState::Established => &self.established,
            FlowState::Closing => &self.closing,
            FlowState::Reset => &self.reset,
            FlowState::PickedUp => &self.picked_up,
        }
        .as_ref()
    }
}

/// The shortest time with which a flow in this state still works: a lost segment or datagram is sent again after 1, 3 and 7
/// seconds (RFC 6298), and sessions of clinical systems are silent for minutes between two messages.
const fn shortest(state: FlowState) -> u32 {
    match state {
        FlowState::Unanswered | FlowState::SynSent | FlowState::SynReceived | FlowState::PickedUp => 8,
        FlowState::Answered => 30,
        FlowState::Established => 600,
        FlowState::Closing => 10,
        FlowState::Reset => 1,
    }
}

impl Check<'_> {
    /// Idle seconds by the code of a `FlowState`.
    pub(super) fn idle_seconds(&mut self, file: &TimeoutsFile) -> [u32; 8] {
        FlowState::ALL.map(|state| match file.of(state) {
            None => state.default_idle_seconds(),
            Some(seconds) if (shortest(state)..=LONGEST).contains(seconds.get_ref()) => *seconds.get_ref(),
            Some(seconds) => {
                let message = format!("{} is no time for flows to be silent in this state", seconds.get_ref());
                let help = format!(
                    "{} to {LONGEST} seconds; the default is {}",
                    shortest(state),
                    state.default_idle_seconds()
                );
                self.wrong(seconds, message, &help);
                state.default_idle_seconds()
            }
        })
    }
}
