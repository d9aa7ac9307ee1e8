//! Whether what `must_flow` promises really flows: `silence: 2s` in a policy.
//!
//! ```text
//! FLOWS, HALF_OPEN ──flows::spoken──▶ Books: when did each source speak last? ──▶ News: log, event, metrics
//! ```
//!
//! A flow counts the frames of its initiator, so answers of the other end are not taken for the device's own voice. The unit is the
//! promise, and in it each declared device that has been heard since the controller started: of one that was never heard, nobody knows
//! whether it is in use. Times are those of the kernel's tick clock, which does not jump.

mod books;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use crate::events::Output;
use crate::flows;
use crate::kernel::ticks::TickClock;
use crate::object::OBJECT;
use crate::state::{GenerationNames, State, rfc3339};
pub(crate) use books::Voices;
use books::{Books, News};
pub(crate) use watch::Party;
pub use watch::Watch;

/// Between two readings, at least and at most.
const LEAST: Duration = Duration::from_millis(250);
const MOST: Duration = Duration::from_secs(10);
/// As long as nothing is to be watched.
const IDLE: Duration = Duration::from_secs(1);
/// Reading the flows may take this part of the time.
const SHARE: u32 = 20;
/// So many readings in the shortest silence.
const READINGS: u32 = 4;

/// How a promise stands, as of the last reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Nobody speaks.
    pub silent: bool,
    /// Devices that have been heard and are silent.
    pub silent_devices: usize,
}

/// An event: a promise, or a device of it, has become silent, or is heard again.
#[derive(Serialize)]
struct Record<'a> {
    schema_version: u32,
    time: String,
    must_flow: &'a str,
    /// `silent` or `flowing`.
    state: &'static str,
    /// `None` for all of its sources.
    device: Option<&'a str>,
    /// When the last frame came; `None` when none has been seen.
    last_seen: Option<String>,
}

/// Reads the flows for as long as the task lives, when the policy in force asks for it.
pub async fn keep(state: Arc<State>, output: Arc<Output>) {
    let mut books = Books::default();
    loop {
        let started = Instant::now();
        let (read, out) = (Arc::clone(&state), Arc::clone(&output));
        let done = tokio::task::spawn_blocking(move || {
            let pause = look(&read, &out, &mut books);
            (books, pause)
        });
        let Ok((back, pause)) = done.await else {
            tracing::error!("watching for silence broke down; `must_flow` is not watched any more");
            return;
        };
        books = back;
        tokio::time::sleep(pause.max(started.elapsed() * SHARE)).await;
    }
}

/// Looks once; how long to wait for the next time.
fn look(state: &State, output: &Output, books: &mut Books) -> Duration {
    let names = in_force(state);
    let watches = names.as_ref().map_or(&[][..], |names| &names.tables.watches);
    let shortest = watches.iter().map(|watch| watch.silence).min();
    let (Some(names), Some(shortest)) = (&names, shortest) else {
        *books = Books::default();
        publish(state, BTreeMap::new());
        return IDLE;
    };
    books.retain(names);
    let pause = (shortest / READINGS).clamp(LEAST, MOST);
    let Ok(clock) = TickClock::measure(OBJECT) else {
        return pause;
    };
    match flows::spoken(state, watches) {
        Ok(voices) => {
            let now = clock.now();
            for news in books.enter(watches, voices, now) {
                tell(state, output, &news, now);
            }
            publish(state, books.standings());
        }
        Err(error) => tracing::warn!("reading the flows to watch `must_flow`: {error}"),
    }
    pause
}

fn publish(state: &State, standings: BTreeMap<String, Standing>) {
    if state.status().must_flow != standings {
        state.update(|status| status.must_flow = standings);
    }
}

/// The policy in force.
fn in_force(state: &State) -> Option<Arc<GenerationNames>> {
    let number = state.status().generation.as_ref().map(|generation| generation.number)?;
    state.names(number)
}

fn tell(state: &State, output: &Output, news: &News, now: u64) {
    let News {
        must_flow,
        device,
        silent,
        last,
    } = news;
    let wall = SystemTime::now();
    let seen = last.and_then(|last| wall.checked_sub(Duration::from_nanos(now.saturating_sub(last))));
    let (source, seen) = (device.as_deref().unwrap_or("all"), seen.map(rfc3339));
    let last_seen = seen.as_deref().unwrap_or("never");
    if *silent {
        tracing::warn!(
            must_flow,
            device = source,
            last_seen,
            "silent for longer than the policy allows"
        );
    } else {
        tracing::info!(must_flow, device = source, "flows again");
    }
    let record = Record {
        schema_version: 1,
        time: rfc3339(wall),
        must_flow,
        state: if *silent { "silent" } else { "flowing" },
        device: device.as_deref(),
        last_seen: seen.clone(),
    };
    if let Ok(line) = serde_json::to_string(&record) {
        output.send(line, &state.events);
    }
}
