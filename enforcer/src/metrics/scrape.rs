//! One scrape: what the kernel's counters and the controller's state say now, as families of metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::Pod;
use aya::maps::{MapData, PerCpuArray};
use enforcer_common::abi::{Counter, REASONS, Stat};
use enforcer_common::verdict::{DropReason, Verdict};
use prometheus::core::Collector as _;
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGaugeVec, Opts};

use crate::bindings::Bindings;
use crate::learn;
use crate::silence::Standing;
use crate::state::{Counters, GenerationStatus, PolicySource, State, Status};

/// A scrape in the making.
pub(super) struct Scrape(pub(super) Vec<MetricFamily>);

impl Scrape {
    /// A scrape that starts with these.
    pub(super) fn new(families: Vec<MetricFamily>) -> Self {
        Self(families)
    }

    /// All that was gathered.
    pub(super) fn families(self) -> Vec<MetricFamily> {
        self.0
    }

    pub(super) fn counters<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        labels: [&str; N],
        samples: impl IntoIterator<Item = ([String; N], u64)>,
    ) {
        let Ok(family) = IntCounterVec::new(Opts::new(name, help), &labels) else {
            return;
        };
        for (values, value) in samples {
            family.with_label_values(&values).inc_by(value);
        }
        self.0.extend(family.collect());
    }

    pub(super) fn gauges<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        labels: [&str; N],
        samples: impl IntoIterator<Item = ([String; N], i64)>,
    ) {
        let Ok(family) = IntGaugeVec::new(Opts::new(name, help), &labels) else {
            return;
        };
        for (values, value) in samples {
            family.with_label_values(&values).set(value);
        }
        self.0.extend(family.collect());
    }

    pub(super) fn controller(&mut self, status: &Status) {
        self.gauges(
            "enforcer_ready",
            "Whether /readyz says yes.",
            [],
            [([], flag(status.ready))],
        );
        let sources = PolicySource::ALL.map(|source| {
            let is_it = status.policy_source == Some(source);
            ([source.name().to_owned()], flag(is_it))
        });
        self.gauges(
            "enforcer_policy_source",
            "1 for where the policy in force comes from.",
            ["source"],
            sources,
        );
        let pending = status.pending.as_ref();
        self.gauges(
            "enforcer_policy_confirm_seconds",
            "Seconds that are left to confirm the change in force; 0 when none waits.",
            [],
            [([], pending.map_or(0, |pending| pending.left.remaining().cast_signed()))],
        );
        self.gauges(
            "enforcer_policy_held",
            "Whether the policy in force goes before the files of the configuration, because a change went back.",
            [],
            [([], flag(status.held))],
        );
        let results = [
            ("success", status.reloads_succeeded),
            ("failure", status.reloads_failed),
        ];
        self.counters(
            "enforcer_reloads_total",
            "Attempts to load a policy, the one at the start included.",
            ["result"],
            results.map(|(result, count)| ([result.to_owned()], count)),
        );
        if let Some(reload) = &status.last_reload {
            self.gauges(
                "enforcer_last_reload_successful",
                "Whether the last attempt to load a policy put it in force.",
                [],
                [([], flag(reload.ok))],
            );
            self.gauges(
                "enforcer_last_reload_timestamp_seconds",
                "When the last attempt to load a policy ended.",
                [],
                [([], reload.unix.cast_signed())],
            );
        }
    }

    pub(super) fn ports(&mut self, status: &Status) {
        let ports = &status.ports;
        self.gauges(
            "enforcer_port_attached",
            "Whether the program is on the port.",
            ["port"],
            ports.iter().map(|port| ([port.name.clone()], flag(port.attached))),
        );
        self.gauges(
            "enforcer_port_up",
            "Whether the interface is up and has a carrier.",
            ["port"],
            ports.iter().map(|port| ([port.name.clone()], flag(port.up))),
        );
        self.gauges(
            "enforcer_xdp_mode",
            "1 for the mode in which the port's program runs.",
            ["port", "mode"],
            ports
                .iter()
                .filter(|port| port.attached)
                .map(|port| ([port.name.clone(), port.mode.to_owned()], 1)),
        );
        self.gauges(
            "enforcer_port_tags_checked",
            "Whether VLAN tags are known to be visible; 0 when the other end of a veth is out of reach.",
            ["port"],
            ports.iter().map(|port| ([port.name.clone()], flag(port.tags_checked))),
        );
    }

    pub(super) fn output(&mut self, state: &State) {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        self.counters(
            "enforcer_events_written_total",
            "Events handed to the output.",
            [],
            [([], load(&state.events.written))],
        );
        self.counters(
            "enforcer_events_output_lost_total",
            "Events lost because the output was too slow.",
            [],
            [([], load(&state.events.lost))],
        );
        self.counters(
            "enforcer_events_malformed_total",
            "Records of a size that this controller does not know.",
            [],
            [([], load(&state.events.malformed))],
        );
    }

    /// Addresses learnt by DHCP.
    pub(super) fn bindings(&mut self, bindings: &Bindings) {
        self.gauges(
            "enforcer_bindings",
            "Devices that have an address by DHCP now.",
            [],
            [([], bindings.count_held().cast_signed() as i64)],
        );
        self.counters(
            "enforcer_dhcp_messages_ignored_total",
            "DHCP server messages that taught the controller nothing, by reason.",
            ["reason"],
            bindings
                .ignored()
                .map(|(reason, count)| ([reason.name().to_owned()], count)),
        );
    }

    /// What is kept for `enforcer learn`.
    pub(super) fn learned(&mut self, counts: learn::Counts) {
        let places = [("yes", counts.answered), ("no", counts.unanswered)];
        self.gauges(
            "enforcer_learned_connections",
            "Different connections that no rule permits and monitor mode let pass, kept for `enforcer learn`.",
            ["answered"],
            places.map(|(answered, count)| ([answered.to_owned()], count.cast_signed() as i64)),
        );
        self.counters(
            "enforcer_learned_left_out_total",
            "How often one of them found no place.",
            [],
            [([], counts.left_out)],
        );
        self.gauges(
            "enforcer_learned_saved",
            "Whether they could be written to the disk when that was tried last.",
            [],
            [([], flag(counts.saved))],
        );
    }

    /// Promises that are watched.
    pub(super) fn silence(&mut self, standings: &BTreeMap<String, Standing>) {
        let of = |value: fn(&Standing) -> i64| {
            let standings = standings.iter();
            standings.map(move |(name, standing)| ([name.clone()], value(standing)))
        };
        self.gauges(
            "enforcer_must_flow_silent",
            "Whether nobody has sent what the promise is about for longer than its `silence`.",
            ["must_flow"],
            of(|standing| flag(standing.silent)),
        );
        self.gauges(
            "enforcer_must_flow_silent_devices",
            "Devices that have sent what the promise is about, and have not for longer than its `silence`.",
            ["must_flow"],
            of(|standing| standing.silent_devices.cast_signed() as i64),
        );
    }

    pub(super) fn policy(&mut self, generation: &GenerationStatus) {
        self.gauges(
            "enforcer_policy_generation",
            "Number of the policy generation in force.",
            [],
            [([], i64::from(generation.number))],
        );
        self.gauges(
            "enforcer_policy_info",
            "Always 1; the label is the SHA-256 of the policy in force.",
            ["hash"],
            [([generation.policy_hash.clone()], 1)],
        );
        self.gauges(
            "enforcer_policy_attached_timestamp_seconds",
            "When the policy in force was put on the ports.",
            [],
            [([], generation.attached_unix.cast_signed())],
        );
    }

    pub(super) fn frames(&mut self, counters: &Counters, generation: &GenerationStatus) {
        let mut frames = Vec::new();
        let mut bytes = Vec::new();
        for (port, slot) in &generation.slots.ports {
            for verdict in Verdict::ALL {
                let index = slot * Verdict::ALL.len() as u32 + verdict as u32;
                let sum = sum(&counters.ports, index);
                let labels = [port.clone(), verdict.name().to_owned()];
                frames.push((labels.clone(), sum.packets));
                bytes.push((labels, sum.bytes));
            }
        }
        let labels = ["port", "verdict"];
        self.counters("enforcer_frames_total", "Frames by port and verdict.", labels, frames);
        self.counters(
            "enforcer_bytes_total",
            "Octets on the wire by port and verdict.",
            labels,
            bytes,
        );
    }

    /// Frames that a pair lost behind the verdict.
    pub(super) fn losses(&mut self, counters: &Counters, generation: &GenerationStatus) {
        let losses = generation.slots.ports.iter().map(|(port, slot)| {
            let frames = per_cpu(&counters.losses, *slot).into_iter().sum();
            ([port.clone()], frames)
        });
        self.counters(
            "enforcer_redirect_losses_total",
            "Permitted frames that came in by the port, and that the port paired with it did not take.",
            ["port"],
            losses,
        );
    }

    /// Drops by zone and reason; what never occurred is left out.
    pub(super) fn drops(&mut self, counters: &Counters, generation: &GenerationStatus) {
        let verdicts = [Verdict::Drop, Verdict::WouldDrop];
        let mut samples = Vec::new();
        for (zone, slot) in &generation.slots.zones {
            for reason in DropReason::ALL {
                for (would, verdict) in verdicts.into_iter().enumerate() {
                    let index = (slot * REASONS as u32 + *reason as u32) * 2 + would as u32;
                    let frames = sum(&counters.drops, index).packets;
                    if frames > 0 {
                        let labels = [zone.as_str(), reason.name(), verdict.name()];
                        samples.push((labels.map(str::to_owned), frames));
                    }
                }
            }
        }
        self.counters(
            "enforcer_drops_total",
            "Frames that were dropped, or would have been, by zone and reason.",
            ["zone", "reason", "verdict"],
            samples,
        );
    }

    pub(super) fn rules(&mut self, counters: &Counters, generation: &GenerationStatus) {
        let mut hits = Vec::new();
        let mut bytes = Vec::new();
        for (rule, slot) in &generation.slots.rules {
            let sum = sum(&counters.rules, *slot);
            hits.push(([rule.clone()], sum.packets));
            bytes.push(([rule.clone()], sum.bytes));
        }
        self.counters(
            "enforcer_rule_hits_total",
            "Frames that a rule decided.",
            ["rule"],
            hits,
        );
        self.counters(
            "enforcer_rule_bytes_total",
            "Octets on the wire that a rule decided.",
            ["rule"],
            bytes,
        );
    }

    pub(super) fn stats(&mut self, counters: &Counters) {
        let stats = [
            (
                Stat::EventSent,
                "enforcer_events_sent_total",
                "Events that the kernel program sent.",
            ),
            (
                Stat::EventLost,
                "enforcer_events_lost_total",
                "Events lost because the ring was full.",
            ),
            (
                Stat::EventSuppressed,
                "enforcer_events_suppressed_total",
                "Events held back by the rate limit.",
            ),
            (
                Stat::Failsafe,
                "enforcer_failsafe_frames_total",
                "Frames of management access to the gateway, which no rule is asked about.",
            ),
            (
                Stat::DhcpSent,
                "enforcer_dhcp_messages_total",
                "DHCP server messages that the kernel program sent to the controller.",
            ),
            (
                Stat::DhcpLost,
                "enforcer_dhcp_messages_lost_total",
                "DHCP server messages lost because the ring was full.",
            ),
        ];
        for (stat, name, help) in stats {
            let value = per_cpu(&counters.stats, stat as u32).into_iter().sum();
            self.counters(name, help, [], [([], value)]);
        }
    }
}

fn flag(value: bool) -> i64 {
    i64::from(u8::from(value))
}

/// The values of all CPUs; none when the map cannot be read.
pub(super) fn per_cpu<V: Pod>(map: &PerCpuArray<MapData, V>, index: u32) -> Vec<V> {
    map.get(&index, 0).map(|values| values.to_vec()).unwrap_or_default()
}

/// A counter of all CPUs together.
pub(super) fn sum(map: &PerCpuArray<MapData, Counter>, index: u32) -> Counter {
    per_cpu(map, index)
        .iter()
        .fold(Counter::default(), |sum, counter| Counter {
            packets: sum.packets + counter.packets,
            bytes: sum.bytes + counter.bytes,
        })
}
