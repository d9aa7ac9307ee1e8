//! Events: from the ring buffer of the kernel to lines of JSON with names.
//!
//! The reader never waits for the output. A slow or broken output loses lines, which are counted, but neither stalls
//! the reader nor touches the data path.

mod line;
mod output;
#[cfg(test)]
pub(crate) mod tests;
pub mod watch;

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aya::maps::{MapData, RingBuf};
use enforcer_common::abi::Event;
use enforcer_common::verdict::Stage;
use rustix::time::{ClockId, clock_gettime};
use tokio::io::unix::AsyncFd;

use crate::kernel::sys;
use crate::state::{EventCounts, State};
pub use output::Output;

/// Events that are read before other tasks get their turn.
const BATCH: usize = 512;

/// Reads events for as long as the task lives.
pub async fn read(ring: RingBuf<MapData>, state: Arc<State>, output: Arc<Output>) -> io::Result<()> {
    // SAFETY: the descriptor belongs to the map inside of the ring, which `AsyncFd` owns and never lets go of.
    let mut ring = unsafe { AsyncFd::register(ring) }?;
    loop {
        let mut ready = ring.readable_mut().await?;
        let emptied = take(ready.get_inner_mut(), &state, &output);
        if emptied {
            ready.clear_ready();
        }
        tokio::task::yield_now().await;
    }
}

/// Takes up to a batch of events off the ring; true when it is empty then.
fn take(ring: &mut RingBuf<MapData>, state: &State, output: &Output) -> bool {
    let boot = boot_time();
    for _ in 0..BATCH {
        let Some(record) = ring.next() else {
            return true;
        };
        let Some(event) = sys::read_pod::<Event>(&record) else {
            EventCounts::add(&state.events.malformed);
            continue;
        };
        let at = boot + Duration::from_nanos(event.boot_nanos);
        let names = state.names(event.generation);
        let record = line::record(&event, at, names.as_deref());
        if let (Some(device), true) = (record.source.device, is_verified(&event)) {
            state.sightings.note(device, at, &event);
        }
        if let Some(names) = &names {
            state.learned.note_event(&event, at, names);
        }
        let text = line::text(&record);
        state.watchers.offer(&record, &text);
        output.send(text, &state.events);
    }
    false
}

/// Whether the source of the frame was found to be who it says: all stages up to that of the source guard let it pass.
fn is_verified(event: &Event) -> bool {
    matches!(
        Stage::from_code(event.stage),
        Some(Stage::Flow | Stage::Policy | Stage::Budget)
    )
}

/// When the machine started, by the wall clock as it stands now.
fn boot_time() -> SystemTime {
    let since = clock_gettime(ClockId::Boottime);
    let since = Duration::new(since.tv_sec.unsigned_abs(), since.tv_nsec.unsigned_abs() as u32);
    SystemTime::now() - since
}
