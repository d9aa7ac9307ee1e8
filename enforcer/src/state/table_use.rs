//! How full the tables of state are, as it was counted last.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A scrape may spend this on counting.
const QUICK_MICROS: u64 = 20_000;

/// How full the tables of state are, as a sweep in the background found it last.
#[derive(Debug, Default)]
pub struct TableUse {
    known: Mutex<[Option<TableCount>; 5]>,
    /// Microseconds that the last sweep took, and 1; 0 before the first.
    took: AtomicU64,
}

/// One table, as counted last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableCount {
    /// Entries.
    pub entries: u64,
    /// Entries that made room for others, at least.
    pub evicted: u64,
}

impl TableUse {
    /// The tables, by the names that their settings and metrics have.
    pub const NAMES: [&'static str; 5] = ["flows", "half_open", "fragments", "buckets", "bindings"];

    /// What was counted last; `None` before the first time.
    pub fn counted(&self) -> [Option<TableCount>; 5] {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the tables are known to be so small that a scrape can count them itself.
    pub fn is_quick(&self) -> bool {
        (1..QUICK_MICROS).contains(&self.took.load(Ordering::Relaxed))
    }

    /// Notes how long counting took.
    pub fn note_duration(&self, took: Duration) {
        self.took.store(took.as_micros() as u64 + 1, Ordering::Relaxed);
    }

    /// Notes a count. Evictions never go down.
    pub fn note(&self, table: usize, count: TableCount) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known[table].unwrap_or_default();
        known[table] = Some(TableCount {
            evicted: count.evicted.max(before.evicted),
            ..count
        });
    }
}
