//! From monitor mode to rules: what was seen and no rule permits is kept for months, and becomes rules on request.
//!
//! ```text
//! FLOWS, HALF_OPEN ──flows::refused──▶┐
//! events of what forms no flow ───────┴▶ Recorder ──▶ Store ──file──▶ Judge ──▶ propose ──▶ render
//!                                                     bounded         what a policy says of it
//! ```
//!
//! The store knows addresses, and devices with leased addresses by name; nothing of a policy else. So what was seen is judged by
//! the policy of the day on which rules are asked for: an address that has become a device since is that device.

mod event;
mod findings;
mod group;
mod judge;
mod names;
mod propose;
mod recorder;
mod render;
mod store;
mod verify;

use std::path::{Path, PathBuf};

pub use findings::Finding;
pub use propose::{Evidence, Pair, Proposal, Rule, Wishes, propose};
pub use recorder::{Counts, Recorder, keep};
pub use render::{findings as findings_text, text};
pub use store::{End, Key, LIMIT, Loaded, Mark, Observation, Refusal, Refused, Store, UNANSWERED_A_SOURCE};
pub use verify::{Unfit, verify};

/// Where the controller keeps what it saw.
pub fn path(state_directory: &Path) -> PathBuf {
    state_directory.join("learned.ndjson")
}
