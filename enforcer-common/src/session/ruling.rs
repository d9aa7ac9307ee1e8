//! What is decided about a frame: what the rules say, and what the frame then does to the flow tables.

use crate::abi::{DEFAULT_RULE, FlowState, NO_RULE, Rule, rule_flags};
use crate::tables::FlowTable;
use crate::verdict::{DropReason, Stage};

/// What the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ruling {
    /// The rule that decides.
    pub(crate) rule: u32,
    /// [`DropReason::None`] when permitted.
    pub(crate) refusal: DropReason,
    /// The stage that settled it.
    pub(crate) stage: Stage,
    /// [`rule_flags`] of the rule as far as they matter here, and [`ANSWERS`]. One word, because the kernel program has no
    /// room for more on its stack.
    pub(super) marks: u32,
}

/// The frame answers in a session that the other end opened.
const ANSWERS: u32 = 1 << 31;

impl Ruling {
    pub(super) const DEFECT: Self = Self {
        rule: NO_RULE,
        refusal: DropReason::TableMiss,
        stage: Stage::Policy,
        marks: 0,
    };

    /// What a rule says to a packet that it matches.
    #[inline(always)]
    pub(super) const fn by(rule: u32, record: &Rule) -> Self {
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
            marks: record.flags & (rule_flags::LOG | rule_flags::MONITOR),
        }
    }

    pub(super) const fn permits(self) -> bool {
        matches!(self.refusal, DropReason::None)
    }

    /// The rule logs, and the frame is the first of its session.
    pub(crate) const fn log(self) -> bool {
        self.marks & rule_flags::LOG != 0
    }

    /// The rule is in monitor mode: what it refuses passes.
    pub(crate) const fn monitored(self) -> bool {
        self.marks & rule_flags::MONITOR != 0
    }

    /// The frame answers in a session that the other end opened.
    pub(super) const fn answers(self) -> bool {
        self.marks & ANSWERS != 0
    }

    /// Refused by something else than the rule.
    pub(super) const fn refused_for(self, refusal: DropReason) -> Self {
        Self {
            refusal,
            marks: self.marks & !rule_flags::MONITOR,
            ..self
        }
    }

    pub(super) const fn at(self, stage: Stage) -> Self {
        Self { stage, ..self }
    }

    /// The same, settled by a flow or fragment that is known.
    pub(super) const fn in_flow(self, answers: bool) -> Self {
        Self {
            stage: Stage::Flow,
            marks: self.marks & rule_flags::MONITOR | if answers { ANSWERS } else { 0 },
            ..self
        }
    }
}

/// What the frame does to the flow tables if it passes: nothing, enter a flow, or move one on.
///
/// Fields that always have a value, and not an enum: the verifiers of kernels before 6.3 follow neither a tag that was
/// kept on the stack, so that they would not know the flow for a pointer, nor a payload that was never written.
pub(super) struct Effect<R> {
    /// The flow that it moves on, found in this table.
    pub(super) flow: Option<R>,
    pub(super) table: FlowTable,
    /// Enters a flow, in this state.
    pub(super) opens: bool,
    pub(super) state: FlowState,
    /// Its source is the lower end of the flow.
    pub(super) source_low: bool,
}

impl<R> Effect<R> {
    pub(super) const NOTHING: Self = Self {
        flow: None,
        table: FlowTable::Established,
        opens: false,
        source_low: false,
        state: FlowState::Unanswered,
    };
}
