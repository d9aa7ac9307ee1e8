//! The counters at one moment, with names: what `enforcer top` asks for again and again.

use enforcer_common::abi::{Counter, REASONS, Stat};
use enforcer_common::verdict::{DropReason, Verdict};
use serde::{Deserialize, Serialize};

use super::scrape::{per_cpu, sum};
use crate::flows::{Activity, DeviceReport, Traffic};
use crate::state::{Counters, GenerationStatus, State, monotonic_millis};

/// Counters of everything that has a name in the policy in force, and of its ports.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CounterReport {
    /// Version of this record.
    pub schema_version: u32,
    /// When the counters were read: milliseconds of the monotonic clock.
    pub at: u64,
    /// When the flows were read, from which the sums of zones and devices come. Reading many takes long, so it is done less
    /// often.
    pub flows_at: u64,
    /// Number of the generation in force; 0 for none.
    pub generation: u32,
    /// SHA-256 of its policy, hexadecimal.
    pub policy_hash: String,
    /// The ports, in the order of the configuration.
    pub ports: Vec<PortCounts>,
    /// Zones, in the order of the policy.
    pub zones: Vec<ZoneCounts>,
    /// Devices by name, when they were asked for.
    pub devices: Vec<DeviceCounts>,
    /// Rules, the defaults among them.
    pub rules: Vec<RuleCounts>,
    /// Refusals that have occurred, by zone of the source.
    pub reasons: Vec<ReasonCounts>,
    /// Events that the kernel program could not send.
    pub events_lost: u64,
}

/// Frames of a port by verdict.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PortCounts {
    /// The interface.
    pub name: String,
    /// Let through.
    pub passed: Traffic,
    /// Let through by monitor mode only.
    pub would_drop: Traffic,
    /// Dropped.
    pub dropped: Traffic,
}

/// A zone.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ZoneCounts {
    /// Its name.
    pub name: String,
    /// Flows with an end in it.
    pub flows: u64,
    /// What it sent in flows that are kept.
    pub sent: Traffic,
    /// What it received in them.
    pub received: Traffic,
    /// Its frames that were dropped.
    pub dropped: u64,
    /// Its frames that only monitor mode let pass.
    pub would_drop: u64,
}

/// A device.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DeviceCounts {
    /// Its name.
    pub name: String,
    /// Its zone.
    pub zone: String,
    /// Its flows.
    pub flows: u64,
    /// What it sent in flows that are kept.
    pub sent: Traffic,
    /// What it received in them.
    pub received: Traffic,
    /// Its frames that were refused, as far as events tell.
    pub refused_events: u64,
    /// RFC 3339; `None` when it was not seen.
    pub last_seen: Option<String>,
}

/// A rule.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RuleCounts {
    /// Its name.
    pub name: String,
    /// What it decided.
    pub decided: Traffic,
}

/// Why frames were refused.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ReasonCounts {
    /// The reason.
    pub reason: String,
    /// The zone of the source.
    pub zone: String,
    /// `drop` or `would-drop`.
    pub verdict: String,
    /// Frames and octets.
    pub refused: Traffic,
}

impl CounterReport {
    /// Reads them, the devices on demand. May take seconds with a million flows.
    ///
    /// # Errors
    /// When the flows cannot be read.
    pub fn read(state: &State, devices: bool) -> Result<Self, String> {
        let generation = state.status().generation.clone();
        let (Some(counters), Some(generation)) = (state.counters(), generation) else {
            return Err("no policy is in force".to_owned());
        };
        let activity = state.activity.get(state)?;
        let reasons = reasons(counters, &generation);
        let mut report = Self {
            schema_version: 1,
            at: monotonic_millis(),
            flows_at: activity.read_at,
            generation: generation.number,
            policy_hash: generation.policy_hash.clone(),
            ports: ports(counters, &generation),
            zones: zones(&activity, &generation, &reasons),
            devices: Vec::new(),
            rules: rules(counters, &generation),
            reasons,
            events_lost: per_cpu(&counters.stats, Stat::EventLost as u32).into_iter().sum(),
        };
        if devices {
            report.devices = DeviceReport::all(state)?.into_iter().map(device).collect();
        }
        Ok(report)
    }
}

fn traffic(counter: Counter) -> Traffic {
    Traffic {
        packets: counter.packets,
        octets: counter.bytes,
    }
}

fn ports(counters: &Counters, generation: &GenerationStatus) -> Vec<PortCounts> {
    let port = |(name, slot): &(String, u32)| {
        let of = |verdict: Verdict| {
            let index = slot * Verdict::ALL.len() as u32 + verdict as u32;
            traffic(sum(&counters.ports, index))
        };
        PortCounts {
            name: name.clone(),
            passed: of(Verdict::Pass),
            would_drop: of(Verdict::WouldDrop),
            dropped: of(Verdict::Drop),
        }
    };
    generation.slots.ports.iter().map(port).collect()
}

fn rules(counters: &Counters, generation: &GenerationStatus) -> Vec<RuleCounts> {
    let mut rules: Vec<RuleCounts> = Vec::with_capacity(generation.slots.rules.len());
    for (name, slot) in &generation.slots.rules {
        // A rule with several records has one slot.
        if rules.last().is_some_and(|last| last.name == *name) {
            continue;
        }
        let decided = traffic(sum(&counters.rules, *slot));
        let name = name.clone();
        rules.push(RuleCounts { name, decided });
    }
    rules
}

fn reasons(counters: &Counters, generation: &GenerationStatus) -> Vec<ReasonCounts> {
    let mut reasons = Vec::new();
    for (zone, slot) in &generation.slots.zones {
        for reason in DropReason::ALL {
            for (would, verdict) in [Verdict::Drop, Verdict::WouldDrop].into_iter().enumerate() {
                let index = (slot * REASONS as u32 + *reason as u32) * 2 + would as u32;
                let refused = traffic(sum(&counters.drops, index));
                if refused.packets > 0 {
                    reasons.push(ReasonCounts {
                        reason: reason.name().to_owned(),
                        zone: zone.clone(),
                        verdict: verdict.name().to_owned(),
                        refused,
                    });
                }
            }
        }
    }
    reasons
}

fn zones(activity: &Activity, generation: &GenerationStatus, reasons: &[ReasonCounts]) -> Vec<ZoneCounts> {
    let zone = |(name, _): &(String, u32)| {
        let sum = activity.zones.get(name).copied().unwrap_or_default();
        let refused = |verdict: Verdict| {
            let own = reasons
                .iter()
                .filter(|counts| counts.zone == *name && counts.verdict == verdict.name());
            own.map(|counts| counts.refused.packets).sum()
        };
        ZoneCounts {
            name: name.clone(),
            flows: sum.flows,
            sent: sum.sent,
            received: sum.received,
            dropped: refused(Verdict::Drop),
            would_drop: refused(Verdict::WouldDrop),
        }
    };
    generation.slots.zones.iter().map(zone).collect()
}

fn device(report: DeviceReport) -> DeviceCounts {
    DeviceCounts {
        name: report.device.name,
        zone: report.device.zone,
        flows: report.sum.flows,
        sent: report.sum.sent,
        received: report.sum.received,
        refused_events: report.refused_events,
        last_seen: report.last_seen,
    }
}
