//! How full the tables are: those of the policy, the counter slots, and the state that the kernel program keeps.

use enforcer_common::abi::{StateTable, TABLE_COUNTERS, table_counter};
use prometheus::core::Collector as _;
use prometheus::{GaugeVec, Opts};

use super::scrape::{Scrape, per_cpu};
use crate::kernel::Sizes;
use crate::kernel::error::errno_name;
use crate::state::{Counters, GenerationStatus, State, TableUse};

/// One of the counts of a table of state, all CPUs together. `counter` is one of `table_counter`.
pub(super) fn count(counters: &Counters, table: StateTable, counter: u32) -> u64 {
    let index = table as u32 * TABLE_COUNTERS + counter;
    per_cpu(&counters.tables, index).into_iter().sum()
}

/// Entries that the tables of state have room for, in the order of [`TableUse::NAMES`].
fn capacities(sizes: &Sizes) -> [u32; 5] {
    [
        sizes.flows,
        sizes.half_open,
        sizes.fragments,
        sizes.bucket_slots(),
        sizes.bindings,
    ]
}

/// The usual failures. They are always told, so that their first one shows as a rise.
const USUAL: [&str; 3] = ["E2BIG", "ENOMEM", "EBUSY"];

/// The failures of a table by errno: the usual ones, and others that occurred.
pub(super) fn failures(counters: &Counters, table: StateTable) -> Vec<(String, u64)> {
    (table_counter::FAILED..=table_counter::FAILED_OTHERWISE)
        .map(|counter| {
            let errno = match counter {
                table_counter::FAILED_OTHERWISE => "other".to_owned(),
                errno => errno_name(errno - table_counter::FAILED),
            };
            (errno, count(counters, table, counter))
        })
        .filter(|(errno, count)| *count > 0 || USUAL.contains(&errno.as_str()))
        .collect()
}

impl Scrape {
    /// Entries and room of all tables.
    pub(super) fn tables(&mut self, state: &State, generation: &GenerationStatus) {
        let sizes = &state.sizes;
        let slots = &generation.slots;
        let mut entries: Vec<_> = generation
            .tables
            .iter()
            .map(|(table, entries)| ((*table).to_owned(), entries.cast_signed() as i64))
            .collect();
        let state_tables = (TableUse::NAMES.into_iter())
            .zip(state.table_use.counted().map(|count| count.map(|count| count.entries)))
            .zip(capacities(sizes))
            .map(|((table, used), capacity)| (table, used, capacity));
        let limited = [
            ("device_slots", Some(slots.devices.len() as u64), sizes.device_slots),
            ("zone_slots", Some(slots.zones.len() as u64), sizes.zone_slots),
            ("rule_slots", Some(slots.rules.len() as u64), sizes.rule_slots),
            ("port_slots", Some(slots.ports.len() as u64), sizes.port_slots),
        ];
        let mut room = Vec::new();
        let mut pressures = Vec::new();
        for (table, used, capacity) in state_tables.chain(limited) {
            if let Some(used) = used {
                entries.push((table.to_owned(), used.cast_signed()));
                pressures.push((table, ratio(used, capacity)));
            }
            room.push(([table.to_owned()], i64::from(capacity)));
        }
        self.gauges(
            "enforcer_table_entries",
            "Entries in use. The policy tables are as large as the policy needs.",
            ["table"],
            entries.into_iter().map(|(table, used)| ([table], used)),
        );
        self.gauges(
            "enforcer_table_capacity",
            "Entries that a table has room for: set under [tables] in enforcer.toml.",
            ["table"],
            room,
        );
        self.pressures(&pressures);
    }

    fn pressures(&mut self, pressures: &[(&str, f64)]) {
        let opts = Opts::new("enforcer_table_pressure", "Entries over capacity, 0 to 1.");
        let Ok(family) = GaugeVec::new(opts, &["table"]) else {
            return;
        };
        for (table, pressure) in pressures {
            family.with_label_values(&[*table]).set(*pressure);
        }
        self.0.extend(family.collect());
    }

    /// What became of the entries of the state that the kernel program keeps.
    pub(super) fn state_tables(&mut self, state: &State, counters: &Counters) {
        let each = |counter| StateTable::ALL.map(|table| ([name(table)], count(counters, table, counter)));
        self.counters(
            "enforcer_table_inserted_total",
            "Entries that the kernel program made.",
            ["table"],
            each(table_counter::INSERTED),
        );
        self.counters(
            "enforcer_table_removed_total",
            "Entries that the kernel program removed: closed, replaced, expired, or refused by a newer policy.",
            ["table"],
            each(table_counter::REMOVED),
        );
        let failed = StateTable::ALL.into_iter().flat_map(|table| {
            let failures = failures(counters, table);
            failures
                .into_iter()
                .map(move |(errno, count)| ([name(table), errno], count))
        });
        self.counters(
            "enforcer_table_insert_failures_total",
            "Entries that could not be made, by the kernel's reason.",
            ["table", "errno"],
            failed,
        );
        let counted = TableUse::NAMES.into_iter().zip(state.table_use.counted());
        let evicted = counted
            .filter(|(table, _)| StateTable::ALL.iter().any(|known| name(*known) == *table))
            .filter_map(|(table, count)| Some(([table.to_owned()], count?.evicted)));
        self.counters(
            "enforcer_table_evicted_total",
            "Entries that made room for others, at least: made, less removed, less those that are there.",
            ["table"],
            evicted,
        );
    }
}

/// The metric label of a table.
fn name(table: StateTable) -> String {
    table.map().to_lowercase()
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a ratio for people, of numbers far under 2^52"
)]
fn ratio(used: u64, capacity: u32) -> f64 {
    used as f64 / f64::from(capacity.max(1))
}
