//! What a client may change.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::audit::What;

/// Characters of a comment.
const COMMENT_LENGTH: usize = 1000;

/// Seconds that a change may wait to be confirmed.
pub const CONFIRM: RangeInclusive<u64> = 1..=24 * 3600;

/// A change of what is enforced, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// What to do.
    pub order: Order,
    /// Why, for the audit trail: one line.
    pub comment: String,
}

/// What to do.
///
/// Who plans a change names what it was planned against, so that of two operators at once the second is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Order {
    /// Read the policy anew and put it in force, whatever it is.
    Reload,
    /// Read the policy anew and put it in force, if it is this one.
    Apply {
        /// SHA-256 of the policy that was planned.
        policy_hash: String,
        /// SHA-256 of the policy that was in force then.
        in_force: String,
        /// It goes back by itself unless it is confirmed in so many seconds.
        confirm_seconds: Option<u64>,
    },
    /// What waits to be confirmed stays.
    Confirm {
        /// The revision that is meant.
        revision: u32,
    },
    /// Put a revision from before in force.
    Rollback {
        /// Its number.
        revision: u32,
        /// SHA-256 of the policy that was in force when that was planned.
        in_force: String,
    },
    /// Take the program off all ports, and end.
    Detach,
}

impl Order {
    /// The word for it in the audit trail.
    pub fn what(&self) -> What {
        match self {
            Self::Reload => What::Reload,
            Self::Apply { .. } => What::Apply,
            Self::Confirm { .. } => What::Confirm,
            Self::Rollback { .. } => What::Rollback,
            Self::Detach => What::Detach,
        }
    }
}

impl Change {
    /// A change without a comment.
    pub fn of(order: Order) -> Self {
        let comment = String::new();
        Self { order, comment }
    }

    /// A comment may say everything but what would disturb a terminal or a log.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.comment.chars().any(char::is_control) {
            return Err("a comment is one line without control characters".to_owned());
        }
        let length = self.comment.chars().count();
        if length > COMMENT_LENGTH {
            return Err(format!(
                "the comment has {length} characters, {COMMENT_LENGTH} at most: name the ticket that has the rest"
            ));
        }
        Ok(())
    }
}
