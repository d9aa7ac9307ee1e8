//! Which revision is in force, and whether it waits to be confirmed.

use std::path::Path;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::audit::Deed;

/// What the store remembers beside the revisions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// The revision in force; 0 before the first.
    pub in_force: u32,
    /// The newest revision that ever was.
    pub newest: u32,
    /// It is not what the files say, so it goes before them at a start. `reload` and `apply` end that.
    pub held: bool,
    /// It goes back by itself unless it is confirmed.
    pub pending: Option<Pending>,
    /// The change that led to this, written here in the same moment. The audit trail, which has all of them, gets it afterwards,
    /// at the next start if not before.
    #[serde(default)]
    pub last: Option<Deed>,
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
        self.remaining_at(&this_boot(), since_boot())
    }

    /// The same at a moment of a boot.
    fn remaining_at(&self, boot: &str, since_boot: u64) -> u64 {
        // Where the boot has no name, a deadline of an earlier one cannot be told from one of this.
        if self.boot == boot && !boot.is_empty() {
            self.due.saturating_sub(since_boot)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_clock_of_its_boot_makes_a_change_due() {
        let pending = Pending {
            previous: 1,
            due: 1600,
            boot: "this".into(),
        };
        assert_eq!(pending.remaining_at("this", 1000), 600);
        assert_eq!(pending.remaining_at("this", 1600), 0);
        assert_eq!(pending.remaining_at("this", 9999), 0);
        assert_eq!(pending.remaining_at("next", 3), 0, "due at once after a reboot");
        assert_eq!(pending.remaining_at("", 3), 0);
    }
}
