//! Which flows: those that fit a query, the busiest first, or all as they stand in the tables.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd as _;

use enforcer_common::abi::{Flow, FlowKey, FlowState};
use serde::{Deserialize, Serialize};

use super::names::{Ends, Namer, state};
use super::record::Line;
use crate::events::watch::check_names;
use crate::kernel::sys::walk_flows;
use crate::kernel::ticks::TickClock;
use crate::object::OBJECT;
use crate::state::State;

/// The largest limit: what the controller sorts, it holds.
pub const LIMIT: usize = 100_000;

/// Which flows are wanted. A field without values admits all; a field with several admits each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Query {
    /// Zones of either end.
    pub zones: Vec<String>,
    /// Devices at either end.
    pub devices: Vec<String>,
    /// Rules that permitted them.
    pub rules: Vec<String>,
    /// States, by name.
    pub states: Vec<String>,
    /// Only flows that have been answered (true), or only those that have not (false).
    pub established: Option<bool>,
    /// How many, those with the most octets first, at most [`LIMIT`]; 0 for all of them in no order.
    pub limit: usize,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Flows in the table of those that have been answered. Those that are idle for too long are in none of these counts.
    pub established: u64,
    /// Flows in the other table.
    pub half_open: u64,
    /// Of both, flows that fit the query.
    pub matched: u64,
    /// Of these, flows that were shown.
    pub shown: u64,
}

impl Query {
    /// Complains of names that the policy in force does not have.
    pub(crate) fn check(&self, state: &State) -> Result<(), String> {
        let number = state.status().generation.as_ref().map(|generation| generation.number);
        let names = number
            .and_then(|number| state.names(number))
            .ok_or("no policy is in force")?;
        let names = &names.tables.names;
        check_names("zone", &self.zones, &names.zones.iter().map(String::as_str))?;
        let devices = names.endpoints.iter().filter_map(|end| end.device.as_deref());
        check_names("device", &self.devices, &devices)?;
        check_names("rule", &self.rules, &names.rules.iter().map(|rule| rule.name.as_str()))?;
        if self.limit > LIMIT {
            return Err(format!(
                "at most {LIMIT} flows are sorted; a limit of 0 gives all, in no order"
            ));
        }
        let states = FlowState::ALL.map(FlowState::name);
        match self.states.iter().find(|state| !states.contains(&state.as_str())) {
            Some(state) => Err(format!("no state `{state}`; the states are {}", states.join(", "))),
            None => Ok(()),
        }
    }

    fn admits(&self, namer: &Namer<'_>, ends: Ends, flow: &Flow) -> bool {
        let ends = [ends.initiator, ends.responder];
        let among = |wanted: &[String], found: [Option<&str>; 2]| {
            let mut found = found.into_iter().flatten();
            wanted.is_empty() || found.any(|name| wanted.iter().any(|wanted| wanted == name))
        };
        let of_state = || state(flow).is_some_and(|state| self.states.iter().any(|wanted| wanted == state.name()));
        (self.states.is_empty() || of_state())
            && among(&self.zones, ends.map(|end| namer.zone(end)))
            && among(&self.devices, ends.map(|end| namer.device(end)))
            && (self.rules.is_empty() || namer.has_rule(flow, &self.rules))
    }
}

/// A flow with its place in the order: octets, and for flows that have as many, the key.
struct Ranked {
    octets: u64,
    key: FlowKey,
    flow: Flow,
    established: bool,
}

impl Ranked {
    fn rank(&self) -> (u64, Reverse<FlowKey>) {
        (self.octets, Reverse(self.key))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}
impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Ranked {}

/// The busiest so many, in bounded memory.
struct Busiest {
    limit: usize,
    /// The least busy on top.
    heap: BinaryHeap<Reverse<Ranked>>,
}

impl Busiest {
    fn new(limit: usize) -> Self {
        let heap = BinaryHeap::new();
        Self { limit, heap }
    }

    fn take(&mut self, flow: Ranked) {
        self.heap.push(Reverse(flow));
        if self.heap.len() > self.limit {
            self.heap.pop();
        }
    }

    /// The busiest first.
    fn sorted(self) -> impl Iterator<Item = Ranked> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse(flow)| flow)
    }
}

/// A living flow is one with a frame in the idle time of its state.
pub(super) fn is_living(flow: &Flow, idle_seconds: &[u32; 8], now: u64) -> bool {
    let idle = idle_seconds.get(usize::from(flow.state.get())).copied().unwrap_or(0);
    now.saturating_sub(flow.seen.get()) <= u64::from(idle) * 1_000_000_000
}

/// Walks over both tables of flows, those that have been answered first. `visit` is told of which they are.
pub(super) fn walk(state: &State, mut visit: impl FnMut(&FlowKey, &Flow, bool) -> ControlFlow<()>) -> io::Result<()> {
    let Some(counters) = state.counters() else {
        return Ok(());
    };
    // In the order of `TableUse::NAMES`.
    let [established, half_open, ..] = &counters.state_tables;
    let mut ended = false;
    for (table, answered) in [(established, true), (half_open, false)] {
        if ended {
            break;
        }
        walk_flows(table.fd().as_fd(), |key, flow| {
            let next = visit(key, flow, answered);
            ended = next.is_break();
            next
        })?;
    }
    Ok(())
}

/// Reads the tables and hands the lines of the answer to `line`, until that returns false. May take seconds.
///
/// # Errors
/// When the tables cannot be read.
pub fn send(state: &State, query: &Query, mut line: impl FnMut(String) -> bool) -> Result<(), String> {
    let namer = Namer::new(state).ok_or("no policy is in force")?;
    let now = TickClock::measure(OBJECT).map_err(|error| error.to_string())?.now();
    let mut summary = Summary::default();
    let mut busiest = Busiest::new(query.limit);
    let mut gone = false;
    let mut show = |flow: &Ranked, summary: &mut Summary| {
        summary.shown += 1;
        let record = namer.record(&flow.key, &flow.flow, flow.established, now);
        gone |= !text(&Line::Flow(Box::new(record))).is_some_and(&mut line);
        !gone
    };
    walk(state, |key, flow, established| {
        if !is_living(flow, &state.idle_seconds, now) {
            return ControlFlow::Continue(());
        }
        if established {
            summary.established += 1;
        } else {
            summary.half_open += 1;
        }
        let wanted = query.established.is_none_or(|wanted| wanted == established);
        if !wanted || !query.admits(&namer, namer.ends(key, flow), flow) {
            return ControlFlow::Continue(());
        }
        summary.matched += 1;
        let ranked = Ranked {
            octets: flow.bytes[0].get() + flow.bytes[1].get(),
            key: *key,
            flow: flow.clone(),
            established,
        };
        if query.limit > 0 {
            busiest.take(ranked);
        } else if !show(&ranked, &mut summary) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })
    .map_err(|error| format!("reading the flows: {error}"))?;
    for flow in busiest.sorted() {
        if !show(&flow, &mut summary) {
            return Ok(());
        }
    }
    if !gone {
        let _ = text(&Line::Summary { summary }).is_some_and(line);
    }
    Ok(())
}

fn text(line: &Line) -> Option<String> {
    serde_json::to_string(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use enforcer_common::shared::Shared;

    fn flow(octets: u64, low: u32) -> Ranked {
        Ranked {
            octets,
            key: FlowKey {
                low: [0, 0, 0, low],
                ..FlowKey::EMPTY
            },
            flow: Flow::default(),
            established: true,
        }
    }

    #[test]
    fn the_busiest_come_first_and_no_more_than_asked_for() {
        let mut busiest = Busiest::new(3);
        for (low, octets) in [5, 900, 40, 900, 7, 41].into_iter().enumerate() {
            busiest.take(flow(octets, low as u32));
        }
        let sorted: Vec<_> = busiest.sorted().map(|flow| (flow.octets, flow.key.low[3])).collect();
        assert_eq!(sorted, [(900, 1), (900, 3), (41, 5)]);
    }

    #[test]
    fn a_flow_lives_for_the_idle_time_of_its_state() {
        let mut idle = [0; 8];
        idle[FlowState::Established as usize] = 10;
        let flow = Flow {
            seen: Shared::new(5_000_000_000),
            state: Shared::new(FlowState::Established as u8),
            ..Flow::default()
        };
        assert!(is_living(&flow, &idle, 15_000_000_000));
        assert!(!is_living(&flow, &idle, 15_000_000_001));
        assert!(is_living(&flow, &idle, 0), "the tick clock is coarse");
    }
}
