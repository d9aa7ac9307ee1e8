//! One line of the trail.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::Who;
use crate::state::rfc3339_seconds;

/// The version of a line.
pub(super) const SCHEMA_VERSION: u32 = 1;
/// Characters of an error that are kept, and of a comment: more than those of which a controller takes note.
const LENGTH: usize = 1000;

/// A change of what is enforced: done, or only asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// Which change of the policy in force it is, counted from 1; `None` for what changed none.
    pub change: Option<u64>,
    /// When, RFC 3339, by the clock of the machine.
    pub time: String,
    /// Who asked; `None` for the controller itself.
    pub by: Option<Who>,
    /// What was done.
    pub what: What,
    /// The revision that was in force before, if it was one.
    pub replaced: Option<u32>,
    /// The revision that was in force afterwards.
    pub revision: Option<u32>,
    /// Seconds within which it had to be confirmed.
    pub confirm_seconds: Option<u64>,
    /// Why, in the words of who asked.
    pub comment: String,
}

impl Deed {
    /// At this moment; what leaves the policy in force as it is.
    pub fn now(by: Option<Who>, what: What, comment: &str) -> Self {
        Self {
            change: None,
            time: rfc3339_seconds(SystemTime::now()),
            by,
            what,
            replaced: None,
            revision: None,
            confirm_seconds: None,
            comment: shortened(comment),
        }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A controller started with files that had changed.
    Start,
    /// `enforcer reload`, or SIGHUP.
    Reload,
    /// `enforcer apply`.
    Apply,
    /// `enforcer confirm`.
    Confirm,
    /// `enforcer rollback`.
    Rollback,
    /// Nobody confirmed it in time.
    Expiry,
    /// `enforcer detach`.
    Detach,
}

impl What {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Reload => "reload",
            Self::Apply => "apply",
            Self::Confirm => "confirm",
            Self::Rollback => "rollback",
            Self::Expiry => "not confirmed",
            Self::Detach => "detach",
        }
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was not permitted, not valid, or came at the wrong time. Nothing changed.
    Refused,
    /// The kernel or the disk failed. What was in force stayed.
    Failed,
}

/// One line of the trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub(super) schema_version: u32,
    /// Number of the line, from 1.
    pub line: u64,
    /// What it tells of.
    #[serde(flatten)]
    pub deed: Deed,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was not done.
    pub error: Option<String>,
    /// Refused ones that were left out since the last line of a refused one, because there were too many.
    pub left_out: u64,
    /// SHA-256 of the line before, without its end; zeros before the first.
    pub previous: String,
}

/// The beginning of a text: enough to know it by.
pub(super) fn shortened(text: &str) -> String {
    let mut characters = text.chars();
    let mut text: String = characters.by_ref().take(LENGTH).collect();
    if characters.next().is_some() {
        text.push('…');
    }
    text
}
