//! Which revision is in force, whether it waits to be confirmed, and who did what.

use std::path::Path;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::KEPT;

/// What the store remembers beside the revisions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// The revision in force; 0 before the first.
    pub in_force: u32,
    /// The newest revision that ever was.
    pub newest: u32,
    /// It is not what the files say, so it goes before them at a start. `reload`, and `apply` of the files, end that.
    pub held: bool,
    /// It goes back by itself unless it is confirmed.
    pub pending: Option<Pending>,
    /// The last changes, oldest first, at most [`KEPT`].
    pub deeds: Vec<Deed>,
}

/// A change of the policy in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// When, Unix seconds.
    pub at: u64,
    /// Who asked; `None` for the controller itself.
    pub uid: Option<u32>,
    /// What was done.
    pub what: What,
    /// The revision that was in force afterwards.
    pub revision: u32,
}

/// What was done to the policy in force.
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
}

impl What {
    /// In the past tense.
    pub fn done(self) -> &'static str {
        match self {
            Self::Start => "taken from the files at a start",
            Self::Reload => "reloaded",
            Self::Apply => "applied",
            Self::Confirm => "confirmed",
            Self::Rollback => "rolled back to",
            Self::Expiry => "gone back to, because nobody confirmed the change",
        }
    }
}

impl Pointer {
    /// The same with one more deed.
    #[must_use]
    pub fn with(mut self, deed: Deed) -> Self {
        self.deeds.push(deed);
        let excess = self.deeds.len().saturating_sub(KEPT);
        self.deeds.drain(..excess);
        self
    }
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

    #[test]
    fn the_last_deeds_are_kept() {
        let deed = |revision| Deed {
            at: 0,
            uid: None,
            what: What::Reload,
            revision,
        };
        let pointer = (1..=60).fold(Pointer::default(), |pointer, number| pointer.with(deed(number)));
        assert_eq!((pointer.deeds.len(), pointer.deeds[0].revision), (KEPT, 11));
    }
}
