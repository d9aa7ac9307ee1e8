//! Which revision is in force, and whether it waits to be confirmed.

use std::path::Path;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What the store remembers beside the revisions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// The revision in force; 0 before the first.
    pub in_force: u32,
    /// It was put in force by a rollback, so it goes before the files at a start. `reload` and `apply` end that.
    pub held: bool,
    /// It goes back by itself unless it is confirmed.
    pub pending: Option<Pending>,
}

/// A change that goes back by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The revision to go back to.
    pub previous: u32,
    /// When, seconds of the clock that starts at boot and counts suspended time: the time of day may jump.
    pub due: u64,
    /// In which boot. In another one it is due at once.
    pub boot: String,
}

impl Pending {
    /// Due in so many seconds from now.
    pub fn after(previous: u32, seconds: u64) -> Self {
        Self {
            previous,
            due: since_boot().saturating_add(seconds),
            boot: this_boot(),
        }
    }

    /// Seconds that are left to confirm it; 0 when it is due.
    pub fn remaining(&self) -> u64 {
        if self.boot == this_boot() {
            self.due.saturating_sub(since_boot())
        } else {
            0
        }
    }
}

fn since_boot() -> u64 {
    clock_gettime(ClockId::Boottime).tv_sec.cast_unsigned()
}

fn this_boot() -> String {
    let text = std::fs::read_to_string(Path::new("/proc/sys/kernel/random/boot_id"));
    text.map(|text| text.trim().to_owned()).unwrap_or_default()
}
