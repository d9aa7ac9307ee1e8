//! Counting the entries of the tables, in the background: the kernel has no count, and a walk over a million flows would
//! stall a scrape. While the tables are small, a scrape counts them itself, and is up to date.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aya::maps::MapData;
use enforcer_common::abi::{
    Binding, BindingKey, Flow, FlowKey, FragmentKey, FragmentRecord, StateTable, table_counter,
};

use super::tables::{count, failures};
use crate::kernel::sys::{count_buckets, count_entries};
use crate::state::{Counters, State, TableCount, TableUse};

/// Between two sweeps, at least.
const EVERY: Duration = Duration::from_secs(10);
/// A sweep may take this part of the time.
const SHARE: u32 = 50;

/// Counts for as long as the task lives.
pub async fn sweep(state: Arc<State>) {
    let mut refused = [0; StateTable::ALL.len()];
    loop {
        let started = Instant::now();
        let swept = Arc::clone(&state);
        let told = tokio::task::spawn_blocking(move || {
            if let Some(counters) = swept.counters() {
                count_all(&swept, counters);
                tell(counters, &mut refused);
            }
            refused
        });
        let Ok(told) = told.await else {
            return;
        };
        refused = told;
        tokio::time::sleep(EVERY.max(started.elapsed() * SHARE)).await;
    }
}

/// Counts the entries of all tables once.
pub(super) fn count_all(state: &State, counters: &Counters) {
    let started = Instant::now();
    for (number, map) in counters.state_tables.iter().enumerate() {
        let table = StateTable::ALL.get(number).copied();
        // Read in this order, whatever comes and goes meanwhile makes the estimate of evictions too low, never too high.
        let made = table.map_or(0, |table| count(counters, table, table_counter::INSERTED));
        let Some(entries) = entries(number, map) else {
            continue;
        };
        let removed = table.map_or(0, |table| count(counters, table, table_counter::REMOVED));
        let evicted = made.saturating_sub(removed).saturating_sub(entries);
        state.table_use.note(number, TableCount { entries, evicted });
    }
    state.table_use.note_duration(started.elapsed());
}

/// Entries of the table at this place of [`TableUse::NAMES`]; `None` when the kernel does not say.
fn entries(number: usize, map: &MapData) -> Option<u64> {
    let map = map.fd().as_fd();
    match number {
        0 | 1 => count_entries::<FlowKey, Flow>(map),
        2 => count_entries::<FragmentKey, FragmentRecord>(map),
        3 => count_buckets(map),
        _ => count_entries::<BindingKey, Binding>(map),
    }
    .ok()
}

/// Says which table refused entries since the last time, and what to do.
fn tell(counters: &Counters, refused: &mut [u64; StateTable::ALL.len()]) {
    for (table, before) in StateTable::ALL.into_iter().zip(refused) {
        let failures = failures(counters, table);
        let now = failures.iter().map(|(_, count)| count).sum();
        if now > *before {
            let reasons: Vec<_> = failures
                .iter()
                .map(|(errno, count)| format!("{errno} {count}"))
                .collect();
            let name = TableUse::NAMES[table as usize];
            tracing::warn!(
                "table {name} refused {} entries ({} in all: E2BIG is a full table, ENOMEM no memory, EBUSY two processors at once). If it is full, raise `{name}` under [tables] in enforcer.toml; that needs `enforcer detach` first",
                now - *before,
                reasons.join(", ")
            );
        }
        *before = now;
    }
}
