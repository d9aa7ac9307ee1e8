//! What devices and zones have been doing: sums over the flows, and what events tell of who was refused.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use enforcer_common::abi::Event;
use enforcer_common::verdict::{DropReason, Verdict};
use serde::{Deserialize, Serialize};

use super::names::Namer;
use super::select::{is_living, walk};
use crate::bindings::DeviceStatus;
use crate::kernel::ticks::TickClock;
use crate::object::OBJECT;
use crate::state::{State, monotonic_millis, rfc3339_seconds};

/// Reading the flows may take this part of the time.
const SHARE: u32 = 20;

/// Frames and their octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Frames.
    pub packets: u64,
    /// Octets on the wire.
    pub octets: u64,
}

impl Traffic {
    fn add(&mut self, packets: u64, octets: u64) {
        self.packets += packets;
        self.octets += octets;
    }
}

/// The flows of a device or a zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// Flows that live.
    pub flows: u64,
    /// What it sent in the flows that are kept.
    pub sent: Traffic,
    /// What it received in them.
    pub received: Traffic,
    /// When the last frame came of a flow in which it has sent, on the tick clock; 0 for never.
    #[serde(skip)]
    pub seen: u64,
}

/// All devices and zones.
#[derive(Clone, Debug, Default)]
pub struct Activity {
    /// By name of the device.
    pub devices: HashMap<String, Sum>,
    /// By name of the zone.
    pub zones: BTreeMap<String, Sum>,
    /// When the flows were read: milliseconds of the monotonic clock.
    pub read_at: u64,
}

impl Activity {
    fn read(state: &State) -> Result<Self, String> {
        let Some(namer) = Namer::new(state) else {
            return Ok(Self::default());
        };
        let read_at = monotonic_millis();
        let now = TickClock::measure(OBJECT).map_err(|error| error.to_string())?.now();
        let sums = sums(state, &namer, now).map_err(|error| format!("reading the flows: {error}"))?;
        let mut activity = Self {
            read_at,
            ..Self::default()
        };
        for (endpoint, sum) in sums {
            if let Some(device) = namer.device(endpoint) {
                merge(activity.devices.entry(device.to_owned()).or_default(), sum);
            }
            if let Some(zone) = namer.zone(endpoint) {
                merge(activity.zones.entry(zone.to_owned()).or_default(), sum);
            }
        }
        Ok(activity)
    }
}

/// The flows by endpoint.
fn sums(state: &State, namer: &Namer<'_>, now: u64) -> io::Result<HashMap<u32, Sum>> {
    let mut sums: HashMap<u32, Sum> = HashMap::new();
    walk(state, |key, flow, _| {
        let living = u64::from(is_living(flow, &state.idle_seconds, now));
        let ends = namer.ends(key, flow);
        for (end, sends) in [(ends.initiator, 0), (ends.responder, 1)] {
            let sum = sums.entry(end).or_default();
            let [sent, received] = [sends, 1 - sends].map(|way| (flow.packets[way].get(), flow.bytes[way].get()));
            sum.flows += living;
            sum.sent.add(sent.0, sent.1);
            sum.received.add(received.0, received.1);
            if sent.0 > 0 {
                sum.seen = sum.seen.max(flow.seen.get());
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(sums)
}

fn merge(into: &mut Sum, sum: Sum) {
    into.flows += sum.flows;
    into.sent.add(sum.sent.packets, sum.sent.octets);
    into.received.add(sum.received.packets, sum.received.octets);
    into.seen = into.seen.max(sum.seen);
}

/// The last reading, which is used again for so long that reading takes a small part of the time.
#[derive(Default)]
pub struct ActivityCache(Mutex<Option<Reading>>);

struct Reading {
    at: Instant,
    took: Duration,
    activity: Arc<Activity>,
}

impl ActivityCache {
    /// The activity now, or a moment ago. May take seconds with a million flows.
    ///
    /// # Errors
    /// When the flows cannot be read.
    pub fn get(&self, state: &State) -> Result<Arc<Activity>, String> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reading) = &*last
            && reading.at.elapsed() < reading.took * SHARE
        {
            return Ok(Arc::clone(&reading.activity));
        }
        let started = Instant::now();
        let activity = Arc::new(Activity::read(state)?);
        *last = Some(Reading {
            at: Instant::now(),
            took: started.elapsed(),
            activity: Arc::clone(&activity),
        });
        Ok(activity)
    }
}

/// What events tell of devices. Only events whose source was verified count, so that nobody is seen who was not there.
#[derive(Default)]
pub struct Sightings(Mutex<HashMap<String, Sighting>>);

#[derive(Clone, Copy)]
struct Sighting {
    at: SystemTime,
    refused: u64,
}

impl Sightings {
    /// Notes an event whose source is a device. Names come from the policy, so there are no more than it has had devices.
    pub(crate) fn note(&self, device: &str, at: SystemTime, event: &Event) {
        let refused = u64::from(event.reason != DropReason::None as u8 && event.verdict != Verdict::Pass as u8);
        let mut known = self.known();
        if let Some(sighting) = known.get_mut(device) {
            sighting.at = sighting.at.max(at);
            sighting.refused += refused;
        } else {
            known.insert(device.to_owned(), Sighting { at, refused });
        }
    }

    fn get(&self, device: &str) -> Option<Sighting> {
        self.known().get(device).copied()
    }

    /// Forgets devices that the policy has no more.
    fn retain(&self, devices: &[DeviceStatus]) {
        let mut known = self.known();
        if known.len() > devices.len() {
            let names: std::collections::HashSet<_> = devices.iter().map(|device| device.name.as_str()).collect();
            known.retain(|name, _| names.contains(name.as_str()));
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Sighting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A device, and what it has been doing.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceReport {
    /// The device.
    #[serde(flatten)]
    pub device: DeviceStatus,
    /// When it was seen last, RFC 3339, by a flow that is still kept or an event since the controller started; `None` when
    /// neither knows it.
    pub last_seen: Option<String>,
    /// What told so: `flow` or `event`.
    pub seen_by: Option<&'static str>,
    /// Its flows.
    #[serde(flatten)]
    pub sum: Sum,
    /// Its frames that were refused, or would have been, as far as events tell: their rate is limited, so at least so many.
    pub refused_events: u64,
}

impl DeviceReport {
    /// All devices of the policy in force, by name. May take seconds with a million flows.
    ///
    /// # Errors
    /// When the flows cannot be read.
    pub fn all(state: &State) -> Result<Vec<Self>, String> {
        let activity = state.activity.get(state)?;
        let devices = state.bindings.devices();
        state.sightings.retain(&devices);
        let wall = SystemTime::now();
        let ticks = TickClock::measure(OBJECT).map_or(0, |clock| clock.now());
        let report = |device: DeviceStatus| {
            let sum = activity.devices.get(&device.name).copied().unwrap_or_default();
            let sighting = state.sightings.get(&device.name);
            let ago = Duration::from_nanos(ticks.saturating_sub(sum.seen));
            let flow = (sum.seen != 0).then(|| wall.checked_sub(ago)).flatten();
            let seen = last(flow, sighting.map(|sighting| sighting.at));
            Self {
                device,
                last_seen: seen.map(|(at, _)| rfc3339_seconds(at)),
                seen_by: seen.map(|(_, by)| by),
                sum,
                refused_events: sighting.map_or(0, |sighting| sighting.refused),
            }
        };
        Ok(devices.into_iter().map(report).collect())
    }
}

/// The later of the two, and what it is.
fn last(flow: Option<SystemTime>, event: Option<SystemTime>) -> Option<(SystemTime, &'static str)> {
    let flow = flow.map(|at| (at, "flow"));
    let event = event.map(|at| (at, "event"));
    flow.max(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sighting_counts_whatever_told_it() {
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(last(None, None), None);
        assert_eq!(last(at(5), None).unwrap().1, "flow");
        assert_eq!(last(at(5), at(7)).unwrap().1, "event");
        assert_eq!(last(at(9), at(7)).unwrap().1, "flow");
    }

    #[test]
    fn sightings_count_refusals_and_keep_the_last_time() {
        let sightings = Sightings::default();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let refused = Event {
            verdict: Verdict::Drop as u8,
            reason: DropReason::DefaultDeny as u8,
            ..Event::default()
        };
        sightings.note("pump-1", at(9), &refused);
        sightings.note("pump-1", at(7), &Event::default());
        let sighting = sightings.get("pump-1").unwrap();
        assert_eq!((sighting.at, sighting.refused), (at(9), 1));
        sightings.retain(&[]);
        assert!(sightings.get("pump-1").is_none());
    }
}
