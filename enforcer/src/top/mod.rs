//! Who does how much at this moment: tables of zones, devices, rules, reasons and ports with rates, for `enforcer top`.
//!
//! ```text
//! CounterReport, one a second ──▶ Model: the last two ──▶ Table of a View, sorted ──▶ screen.rs, or text
//! ```

pub mod screen;
mod table;
#[cfg(test)]
pub(crate) mod tests;

use crate::flows::Traffic;
use crate::metrics::{CounterReport, DeviceCounts, PortCounts, ReasonCounts, RuleCounts, ZoneCounts};
pub use table::{Cell, Column, Table};

/// What is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum View {
    /// Zones: flows, traffic, refusals.
    #[default]
    Zones,
    /// Devices: flows, traffic, refusals, when they were seen.
    Devices,
    /// Rules: what they decide.
    Rules,
    /// Reasons of refusals, by zone.
    Reasons,
    /// Ports by verdict.
    Ports,
}

impl View {
    /// All of them, in the order of their keys.
    pub const ALL: [Self; 5] = [Self::Zones, Self::Devices, Self::Rules, Self::Reasons, Self::Ports];

    /// As in the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zones => "zones",
            Self::Devices => "devices",
            Self::Rules => "rules",
            Self::Reasons => "reasons",
            Self::Ports => "ports",
        }
    }

    /// The columns of its table: names, and whether they hold numbers.
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Zones => &table::ZONES,
            Self::Devices => &table::DEVICES,
            Self::Rules => &table::RULES,
            Self::Reasons => &table::REASONS,
            Self::Ports => &table::PORTS,
        }
    }

    /// The column that it is sorted by unless one is chosen.
    pub fn usual_sort(self) -> usize {
        match self {
            Self::Zones | Self::Reasons => 3,
            Self::Devices => 4,
            Self::Rules | Self::Ports => 1,
        }
    }
}

/// The two last reports, from which rates come. Those of flows come at a pace of their own.
#[derive(Debug, Default)]
pub struct Model {
    counters: Pair,
    flows: Pair,
}

#[derive(Debug, Default)]
struct Pair {
    now: CounterReport,
    before: Option<CounterReport>,
}

impl Pair {
    fn push(&mut self, report: CounterReport) {
        let before = std::mem::replace(&mut self.now, report);
        self.before = (before.schema_version != 0).then_some(before);
    }

    /// What grew in a second, in `at`'s milliseconds; `None` before there are two reports. What shrank was set to zero, or
    /// forgotten: no rate.
    fn rate(&self, at: fn(&CounterReport) -> u64, now: u64, value: impl Fn(&CounterReport) -> Option<u64>) -> Cell {
        let Some(before) = &self.before else {
            return Cell::Rate(None);
        };
        let passed = at(&self.now).saturating_sub(at(before));
        let grown = value(before).map(|before| now.saturating_sub(before));
        Cell::Rate(grown.and_then(|grown| grown.saturating_mul(1000).checked_div(passed)))
    }
}

impl Model {
    /// Takes the next report. One of an earlier moment, of a controller before this one, starts anew.
    pub fn push(&mut self, report: CounterReport) {
        if report.at < self.counters.now.at {
            *self = Self::default();
        }
        let devices_are_new = self.flows.now.devices.is_empty() && !report.devices.is_empty();
        if report.flows_at != self.flows.now.flows_at || devices_are_new {
            self.flows.push(report.clone());
        }
        self.counters.push(report);
    }

    /// Whether there are rates.
    pub fn has_rates(&self) -> bool {
        self.counters.before.is_some()
    }

    /// The newest report.
    pub fn now(&self) -> &CounterReport {
        &self.counters.now
    }

    /// The table of a view, in the order of the report.
    pub fn table(&self, view: View) -> Table {
        let rows = match view {
            View::Zones => self.now().zones.iter().map(|zone| self.zone(zone)).collect(),
            View::Devices => {
                let devices = &self.flows.now.devices;
                devices.iter().map(|device| self.device(device)).collect()
            }
            View::Rules => self.now().rules.iter().map(|rule| self.rule(rule)).collect(),
            View::Reasons => self.now().reasons.iter().map(|reason| self.reason(reason)).collect(),
            View::Ports => self.now().ports.iter().map(|port| self.port(port)).collect(),
        };
        Table::new(view.columns(), rows)
    }

    fn counted(&self, now: u64, value: impl Fn(&CounterReport) -> Option<u64>) -> Cell {
        self.counters.rate(|report| report.at, now, value)
    }

    fn flowed(&self, now: u64, value: impl Fn(&CounterReport) -> Option<u64>) -> Cell {
        self.flows.rate(|report| report.flows_at, now, value)
    }

    fn zone(&self, zone: &ZoneCounts) -> Vec<Cell> {
        // Traffic as the flows told when they were read last; refusals as counted now.
        let own = |report: &CounterReport, of: fn(&ZoneCounts) -> u64| {
            let mut zones = report.zones.iter();
            zones.find(|other| other.name == zone.name).map(of)
        };
        let sent = own(&self.flows.now, |zone| zone.sent.octets).unwrap_or_default();
        let received = own(&self.flows.now, |zone| zone.received.octets).unwrap_or_default();
        vec![
            Cell::Text(zone.name.clone()),
            Cell::Count(zone.flows),
            self.flowed(sent, |report| own(report, |zone| zone.sent.octets)).bits(),
            self.flowed(received, |report| own(report, |zone| zone.received.octets))
                .bits(),
            self.counted(zone.dropped, |report| own(report, |zone| zone.dropped)),
            self.counted(zone.would_drop, |report| own(report, |zone| zone.would_drop)),
            Cell::Count(zone.dropped),
            Cell::Count(zone.would_drop),
        ]
    }

    fn device(&self, device: &DeviceCounts) -> Vec<Cell> {
        // Devices come in the order of their names.
        let own = |report: &CounterReport, of: fn(&DeviceCounts) -> u64| {
            let found = report
                .devices
                .binary_search_by(|other| other.name.as_str().cmp(&device.name));
            found.ok().map(|at| of(&report.devices[at]))
        };
        vec![
            Cell::Text(device.name.clone()),
            Cell::Text(device.zone.clone()),
            Cell::Count(device.flows),
            self.flowed(device.sent.packets, |report| own(report, |device| device.sent.packets)),
            self.flowed(device.sent.octets, |report| own(report, |device| device.sent.octets))
                .bits(),
            self.flowed(device.received.octets, |report| {
                own(report, |device| device.received.octets)
            })
            .bits(),
            Cell::Count(device.refused_events),
            Cell::Text(device.last_seen.clone().unwrap_or_else(|| "-".to_owned())),
        ]
    }

    fn rule(&self, rule: &RuleCounts) -> Vec<Cell> {
        let own = |report: &CounterReport| {
            let mut rules = report.rules.iter();
            rules.find(|other| other.name == rule.name).map(|rule| rule.decided)
        };
        // Both are asked of the report before: found once.
        let before = self.counters.before.as_ref().and_then(own);
        vec![
            Cell::Text(rule.name.clone()),
            self.counted(rule.decided.packets, |_| before.map(|before| before.packets)),
            self.counted(rule.decided.octets, |_| before.map(|before| before.octets))
                .bits(),
            Cell::Count(rule.decided.packets),
            Cell::Count(rule.decided.octets),
        ]
    }

    fn reason(&self, reason: &ReasonCounts) -> Vec<Cell> {
        let same = |other: &&ReasonCounts| {
            (&other.zone, &other.reason, &other.verdict) == (&reason.zone, &reason.reason, &reason.verdict)
        };
        // What never occurred is not in a report.
        let own = |report: &CounterReport| {
            let known = report.reasons.iter().find(same);
            Some(known.map_or(0, |known| known.refused.packets))
        };
        vec![
            Cell::Text(reason.reason.clone()),
            Cell::Text(reason.zone.clone()),
            Cell::Text(reason.verdict.clone()),
            self.counted(reason.refused.packets, own),
            Cell::Count(reason.refused.packets),
        ]
    }

    fn port(&self, port: &PortCounts) -> Vec<Cell> {
        let own = |of: fn(&PortCounts) -> Traffic| {
            move |report: &CounterReport| {
                let mut ports = report.ports.iter();
                ports.find(|other| other.name == port.name).map(of)
            }
        };
        let all = |port: &PortCounts| port.passed.octets + port.would_drop.octets + port.dropped.octets;
        let total = |report: &CounterReport| report.ports.iter().find(|other| other.name == port.name).map(all);
        let frames = |of: fn(&PortCounts) -> Traffic| {
            self.counted(of(port).packets, move |report| Some(own(of)(report)?.packets))
        };
        vec![
            Cell::Text(port.name.clone()),
            self.counted(all(port), total).bits(),
            frames(|port| port.passed),
            frames(|port| port.would_drop),
            frames(|port| port.dropped),
            Cell::Count(port.passed.packets),
            Cell::Count(port.would_drop.packets),
            Cell::Count(port.dropped.packets),
        ]
    }
}
