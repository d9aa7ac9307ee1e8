//! Answers that are many lines: events as they come, and flows.
//!
//! Behind the usual answer, which says whether the request was good, come lines of JSON. There are few such clients at a time,
//! and they take no place from those with one question.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use enforcer_common::abi::Stat;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{CLIENT_TIMEOUT, Verb};
use crate::events::watch::{Filter, Watch, check_names};
use crate::flows::{self, Query};
use crate::metrics;
use crate::state::{State, rfc3339};

/// Clients with such answers at a time, root's and others'.
const STREAMS: usize = 8;
/// Lines of flows that wait for the client; the walk over the tables waits with them.
const FLOW_LINES: usize = 1024;
/// Octets that are enough for one call.
const BLOCK: usize = 256 << 10;
/// How often losses are looked at.
const LOSSES_EVERY: Duration = Duration::from_secs(1);

/// Places for such clients. Root has its own, so that nobody in the socket's group can keep it from watching.
#[derive(Clone)]
pub(super) struct Streams {
    root: Arc<Semaphore>,
    others: Arc<Semaphore>,
}

/// What is streamed.
pub(super) enum Stream {
    /// Events as they come, until the client goes.
    Events(Watch),
    /// Flows, and a summary.
    Flows(Query),
}

impl Streams {
    pub(super) fn new() -> Self {
        Self {
            root: Arc::new(Semaphore::new(STREAMS)),
            others: Arc::new(Semaphore::new(STREAMS)),
        }
    }

    /// The stream that a request asks for; `None` for requests with one answer.
    pub(super) fn open(
        &self,
        verb: &Verb,
        uid: u32,
        state: &State,
    ) -> Option<Result<(Stream, OwnedSemaphorePermit), String>> {
        let stream = match verb {
            Verb::Monitor(filter) => {
                check(filter, state).map(|()| Stream::Events(state.watchers.watch(filter.clone())))
            }
            Verb::Flows(query) => query.check(state).map(|()| Stream::Flows(query.clone())),
            _ => return None,
        };
        Some(stream.and_then(|stream| {
            let places = if uid == 0 { &self.root } else { &self.others };
            let place = Arc::clone(places).try_acquire_owned();
            let full = |_| format!("{STREAMS} clients are watching already: end one of them");
            Ok((stream, place.map_err(full)?))
        }))
    }
}

fn check(filter: &Filter, state: &State) -> Result<(), String> {
    if !state.sends_events {
        return Err(
            "this enforcer makes no events: output = \"none\" under [events] in enforcer.toml. Set output = \"stdout\" or a path, and restart it"
                .to_owned(),
        );
    }
    let number = state.status().generation.as_ref().map(|generation| generation.number);
    let names = number
        .and_then(|number| state.names(number))
        .ok_or("no policy is in force")?;
    let names = &names.tables.names;
    check_names("zone", &filter.zones, &names.zones.iter().map(String::as_str))?;
    check_names(
        "rule",
        &filter.rules,
        &names.rules.iter().map(|rule| rule.name.as_str()),
    )?;
    let devices = names.endpoints.iter().filter_map(|end| end.device.as_deref());
    check_names("device", &filter.devices, &devices)
}

/// Sends a stream to its end, or until the client goes.
pub(super) async fn send(stream: Stream, client: &mut BufReader<UnixStream>, state: &Arc<State>) {
    // A client that is gone is no error.
    let _ = match stream {
        Stream::Events(watch) => events(watch, client, state).await,
        Stream::Flows(query) => flow_lines(query, client, state).await,
    };
}

/// One line. A client that stops reading may take its time: nobody else waits.
async fn write(client: &mut BufReader<UnixStream>, line: &str) -> io::Result<()> {
    let client = client.get_mut();
    client.write_all(line.as_bytes()).await?;
    client.write_all(b"\n").await
}

async fn events(mut watch: Watch, client: &mut BufReader<UnixStream>, state: &State) -> io::Result<()> {
    let mut told = Losses::now(state, &watch);
    let mut ticks = interval(LOSSES_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rest = [0; 64];
    loop {
        tokio::select! {
            line = watch.lines.recv() => match line {
                Some(line) => write(client, &line).await?,
                None => return Ok(()),
            },
            _ = ticks.tick() => {
                let now = Losses::now(state, &watch);
                if let Some(line) = now.since(&told) {
                    write(client, &line.to_string()).await?;
                }
                told = now;
            }
            read = client.read(&mut rest) => if read? == 0 {
                return Ok(());
            },
        }
    }
}

/// Events that a client does not get, since the enforcement or the client began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Losses {
    /// The ring of the kernel was full.
    ring: u64,
    /// Their rate is limited.
    suppressed: u64,
    /// The client's queue was full.
    queue: u64,
    /// The controller did not understand them.
    malformed: u64,
}

impl Losses {
    fn now(state: &State, watch: &Watch) -> Self {
        Self {
            ring: metrics::stat(state, Stat::EventLost),
            suppressed: metrics::stat(state, Stat::EventSuppressed),
            queue: watch.lost(),
            malformed: state.events.malformed.load(Ordering::Relaxed),
        }
    }

    /// The line that tells what is new; `None` when nothing is.
    fn since(&self, before: &Self) -> Option<Value> {
        let lost = Self {
            ring: self.ring.saturating_sub(before.ring),
            suppressed: self.suppressed.saturating_sub(before.suppressed),
            queue: self.queue.saturating_sub(before.queue),
            malformed: self.malformed.saturating_sub(before.malformed),
        };
        (lost != Self::default()).then(|| {
            json!({
                "schema_version": 1, "time": rfc3339(SystemTime::now()),
                "lost": {"ring": lost.ring, "suppressed": lost.suppressed, "queue": lost.queue, "malformed": lost.malformed},
            })
        })
    }
}

async fn flow_lines(query: Query, client: &mut BufReader<UnixStream>, state: &Arc<State>) -> io::Result<()> {
    let (sender, mut lines) = mpsc::channel::<String>(FLOW_LINES);
    let read = Arc::clone(state);
    let walk =
        tokio::task::spawn_blocking(move || flows::send(&read, &query, |line| sender.blocking_send(line).is_ok()));
    let mut block = String::new();
    while let Some(line) = lines.recv().await {
        block.push_str(&line);
        // Many lines in one call, when many wait: not all, because the walk goes on and makes more.
        while block.len() < BLOCK
            && let Ok(line) = lines.try_recv()
        {
            block.push('\n');
            block.push_str(&line);
        }
        timeout(CLIENT_TIMEOUT, write(client, &block)).await??;
        block.clear();
    }
    if let Ok(Err(error)) = walk.await {
        tracing::error!("flows cannot be told: {error}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_once() {
        let before = Losses {
            ring: 3,
            ..Losses::default()
        };
        assert!(before.since(&before).is_none());
        let now = Losses {
            ring: 5,
            queue: 1,
            ..before
        };
        let line = now.since(&before).unwrap();
        assert_eq!(
            line["lost"],
            json!({"ring": 2, "suppressed": 0, "queue": 1, "malformed": 0})
        );
    }
}
