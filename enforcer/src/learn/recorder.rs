//! The controller's part: what the tables of flows and the events tell, added up and saved.
//!
//! Events are rate-limited, so they count only for what forms no flow: frames to groups, and ICMP other than echo. A flow is
//! counted once, by the first reading after it began, and stays long enough for that: the tables are read every ten seconds,
//! and forget the oldest first.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use enforcer_common::abi::Event;
use enforcer_common::packet::protocol;

use super::event::{News, teaches};
use super::store::{End, Key, LIMIT, Mark, Observation, Store};
use crate::flows::{self, RefusedFlow};
use crate::kernel::ticks::TickClock;
use crate::object::OBJECT;
use crate::state::{GenerationNames, State, unix};

/// Between two readings, at least.
const EVERY: Duration = Duration::from_secs(10);
/// Reading and saving may take this part of the time.
const SHARE: u32 = 50;
/// Between two times of saving without news, when only counts have changed.
const SAVE_COUNTS: Duration = Duration::from_mins(5);
/// Flows that are younger are for the next reading: the clock of the kernel program counts in ticks, which may be milliseconds behind or
/// ahead of ours, and a flow that changes its table may be in neither while they are read.
const YOUNG: u64 = 1_000_000_000;
/// As far may that clock be ahead.
const AHEAD: u64 = 20_000_000;
/// Things told by events that wait for the next reading, twice as many: nothing of them is answered.
const WAITING: usize = 8192;

/// Where clients' ports begin on Linux; on other systems they begin higher.
const EPHEMERAL: u16 = 32_768;
/// Ports below this one are only servers'; from here to 1023 some clients take theirs.
const SERVERS: u16 = 512;

/// What is seen, until it is on the disk.
pub struct Recorder {
    path: PathBuf,
    /// What events told since the last reading.
    told: Mutex<Store>,
    inner: Mutex<Inner>,
    counts: Mutex<Counts>,
}

/// What the metrics tell, as of the last reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were answered.
    pub answered: usize,
    /// Those that were not.
    pub unanswered: usize,
    /// How often something was left out for want of a place.
    pub left_out: u64,
    /// Whether it could be written to the disk when that was tried last.
    pub saved: bool,
}

struct Inner {
    store: Store,
    /// False until the file was read: nothing may be written over it before.
    adopted: bool,
    /// There is something that the disk does not have.
    changed: bool,
    saved: Option<Instant>,
    /// The last attempt to save failed, and the log says so.
    failed: bool,
}

/// Reads the tables of flows and saves for as long as the task lives.
pub async fn keep(state: Arc<State>) {
    loop {
        let started = Instant::now();
        let swept = Arc::clone(&state);
        let done = tokio::task::spawn_blocking(move || swept.learned.sweep(&swept));
        if done.await.is_err() {
            return;
        }
        tokio::time::sleep(EVERY.max(started.elapsed() * SHARE)).await;
    }
}

impl Recorder {
    /// Nothing, to be kept in this file.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            told: Mutex::new(Store::new(WAITING)),
            inner: Mutex::new(Inner {
                store: Store::new(LIMIT),
                adopted: false,
                changed: false,
                saved: None,
                failed: false,
            }),
            counts: Mutex::new(Counts {
                answered: 0,
                unanswered: 0,
                left_out: 0,
                saved: true,
            }),
        }
    }

    /// What there is, without waiting for a reading.
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up what the file has. A damaged one is set aside, with a warning; what is whole in it counts.
    pub fn adopt(&self) {
        let mut inner = self.inner();
        inner.adopted = true;
        let path = self.path.display();
        let lost = match Store::load(&self.path, LIMIT) {
            Ok(loaded) => {
                inner.store = loaded.store;
                if loaded.lost == 0 {
                    return;
                }
                format!("{} of its lines are damaged", loaded.lost)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => error.to_string(),
        };
        let aside = self.path.with_extension("damaged");
        match std::fs::rename(&self.path, &aside) {
            Ok(()) => tracing::warn!(
                "{path}: {lost}. The file is set aside as {}; what it had whole is kept, the rest has to be seen again",
                aside.display()
            ),
            Err(error) => tracing::warn!("{path}: {lost}, and it cannot be set aside: {error}"),
        }
    }

    /// Notes an event that teaches something: what would be dropped and passes.
    pub fn note_event(&self, event: &Event, at: SystemTime, names: &GenerationNames) {
        let Some(news) = teaches(event, unix(at), names) else {
            return;
        };
        match news {
            News::Seen(key, seen) => self.told().note(key, &seen),
            News::Refused(refusal, seen) => self.told().note_refusal(refusal, &seen),
        };
    }

    /// Reads what there is, and saves it when that is due. May take seconds.
    pub fn sweep(&self, state: &State) {
        let mut inner = self.inner();
        let news = inner.read(state, false) | inner.take(&self.take_told());
        if inner.is_due(news) {
            inner.save(&self.path);
        }
        let counts = inner.counts();
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    /// Reads and saves for the last time.
    pub fn close(&self, state: &State) {
        let mut inner = self.inner();
        inner.read(state, true);
        inner.take(&self.take_told());
        if inner.changed && inner.adopted {
            inner.save(&self.path);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, Store> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_told(&self) -> Store {
        std::mem::replace(&mut *self.told(), Store::new(WAITING))
    }
}

impl Inner {
    /// Adds what the tables of flows have, for the last time those too that are young. Returns whether there is news.
    fn read(&mut self, state: &State, is_last: bool) -> bool {
        if state.counters().is_none() {
            return false;
        }
        let Ok(clock) = TickClock::measure(OBJECT) else {
            return false;
        };
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let boot = boot.trim().to_owned();
        let mark = self.store.mark();
        let after = if mark.boot == boot { mark.ticks } else { 0 };
        let span = Span::new(after, clock.now(), is_last);
        let leases = state.bindings.leases().into_iter();
        let leases: Leases = leases.map(|(device, realm, at)| ((realm, at), device)).collect();
        let mut news = false;
        let walked = flows::refused(state, span.after, |flow| {
            if let Some((key, seen)) = span.sighting(&flow, &leases) {
                news |= self.store.note(key, &seen);
                self.changed = true;
            }
        });
        match walked {
            Ok(()) => self.store.set_mark(Mark {
                boot,
                ticks: span.until,
            }),
            Err(error) => tracing::warn!("reading the flows: {error}"),
        }
        news
    }

    /// Adds what events told. Returns whether there is news.
    fn take(&mut self, told: &Store) -> bool {
        self.store.leave_out(told.left_out());
        let mut news = false;
        for (key, seen) in told.iter() {
            self.changed = true;
            news |= self.store.note(key.clone(), seen);
        }
        for (refusal, seen) in told.refusals() {
            self.changed = true;
            news |= self.store.note_refusal(refusal.clone(), seen);
        }
        news
    }

    fn counts(&self) -> Counts {
        let [answered, unanswered] = self.store.places();
        Counts {
            answered,
            unanswered,
            left_out: self.store.left_out(),
            saved: !self.failed,
        }
    }

    fn is_due(&self, news: bool) -> bool {
        let rested = self.saved.is_none_or(|saved| saved.elapsed() >= SAVE_COUNTS);
        self.adopted && self.changed && (news || rested || self.failed)
    }

    fn save(&mut self, path: &std::path::Path) {
        let saved = self.store.text().and_then(|text| Store::save(&text, path));
        if let (Err(error), false) = (&saved, self.failed) {
            tracing::warn!(
                "what was seen for `enforcer learn` is not saved: {}: {error}",
                path.display()
            );
        }
        self.failed = saved.is_err();
        self.changed = self.failed;
        self.saved = Some(Instant::now());
    }
}

/// Devices by the realm and the address that they have by DHCP.
type Leases = HashMap<(String, Ipv4Addr), String>;

/// What a reading is for, on the tick clock.
struct Span {
    /// Flows that began by then are counted.
    after: u64,
    /// Flows that began later are for the next reading.
    until: u64,
    now: u64,
    /// Unix seconds now.
    unix: u64,
}

impl Span {
    /// From where the last reading ended, which may be ahead, to now.
    fn new(after: u64, now: u64, is_last: bool) -> Self {
        let until = if is_last {
            now + AHEAD
        } else {
            now.saturating_sub(YOUNG)
        };
        Self {
            after,
            until: until.max(after),
            now,
            unix: unix(SystemTime::now()),
        }
    }

    /// What a flow tells; `None` when that is known.
    fn sighting(&self, flow: &RefusedFlow, leases: &Leases) -> Option<(Key, Observation)> {
        if flow.created > self.until {
            return None;
        }
        let turned = is_turned(flow);
        let (from, to) = if turned {
            (flow.to.0, flow.from)
        } else {
            (flow.from.0, flow.to)
        };
        let end = |address: IpAddr| match address {
            IpAddr::V4(v4) => match leases.get(&(flow.realm.clone(), v4)) {
                Some(device) => End::Device(device.clone()),
                None => End::Address(address),
            },
            IpAddr::V6(_) => End::Address(address),
        };
        let key = Key {
            realm: flow.realm.clone(),
            link: flow.link.clone(),
            from: end(from),
            to: end(to.0),
            protocol: flow.protocol,
            port: to.1,
        };
        let seen = Observation {
            answered: flow.answered,
            turned,
            first: self.unix_of(flow.created),
            last: self.unix_of(flow.seen),
            count: u64::from(flow.created > self.after),
        };
        Some((key, seen))
    }

    fn unix_of(&self, ticks: u64) -> u64 {
        let ago = self.now.saturating_sub(ticks) / 1_000_000_000;
        self.unix.saturating_sub(ago)
    }
}

/// Whether a flow looks like the answers of a session that began before anybody watched: from a server's port to a client's. Of TCP the
/// kernel program knows whether it saw the beginning; of UDP there is none.
fn is_turned(flow: &RefusedFlow) -> bool {
    let (from, to) = (flow.from.1, flow.to.1);
    match flow.protocol {
        protocol::TCP => flow.picked_up && (1..EPHEMERAL).contains(&from) && to >= EPHEMERAL,
        protocol::UDP => (1..SERVERS).contains(&from) && to >= 1024,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
