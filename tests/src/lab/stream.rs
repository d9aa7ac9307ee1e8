//! Numbered frames that flow while something happens to the enforcer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use crate::packet::{Builder, Frame};

use super::PacketSocket;

/// Permitted frames on their way at any time. A veth holds 256 frames and drops the next: half of them stay unused,
/// also when as many refused frames travel along.
const WINDOW: u64 = 64;
/// Frames of each kind that go out at once, a millisecond apart: a stream that takes all of the processor would measure
/// how well the enforcer's start competes with it.
const BURST: u64 = 8;
/// A frame that has not arrived after this long is lost.
const PATIENCE: Duration = Duration::from_millis(500);

/// One direction: a permitted stream and a refused one, mixed frame by frame.
#[derive(Debug)]
pub struct Stream {
    /// Where frames are sent.
    pub front: PacketSocket,
    /// Where they come out.
    pub behind: PacketSocket,
    /// Frames that must all arrive; their payload becomes their number.
    pub permitted: Builder,
    /// Frames of which none may arrive; their payload becomes their number.
    pub refused: Builder,
}

/// What became of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Permitted frames sent.
    pub sent: u64,
    /// Permitted frames that did not arrive.
    pub lost: u64,
    /// Permitted frames that arrived twice, or that nobody sent.
    pub odd: u64,
    /// Refused frames sent.
    pub refused: u64,
    /// Refused frames that arrived.
    pub leaked: u64,
    /// The longest time between two arrivals.
    pub longest_gap: Duration,
}

/// A stream that flows in a thread of its own.
#[derive(Debug)]
pub struct Flowing {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Report>>,
}

impl Stream {
    /// Lets it flow until it is stopped.
    pub fn start(self) -> Flowing {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = thread::spawn(move || self.run(&told));
        Flowing { stop, thread }
    }

    fn run(self, stop: &AtomicBool) -> Result<Report> {
        let mut report = Report::default();
        let mut waiting = BTreeSet::new();
        let mut last = Instant::now();
        loop {
            let stopping = stop.load(Ordering::Relaxed);
            if !stopping {
                self.send_burst(&mut waiting, &mut report)?;
            }
            thread::sleep(Duration::from_millis(1));
            while let Some(frame) = self.behind.receive()? {
                let Some((number, permitted)) = number_of(&frame) else {
                    continue;
                };
                if !permitted {
                    report.leaked += 1;
                } else if !waiting.remove(&number) {
                    report.odd += 1;
                }
                report.longest_gap = report.longest_gap.max(last.elapsed());
                last = Instant::now();
            }
            if last.elapsed() > PATIENCE {
                report.lost += waiting.len() as u64;
                waiting.clear();
                last = Instant::now();
            }
            if stopping && waiting.is_empty() {
                break;
            }
        }
        ensure!(
            self.behind.lost()? == 0,
            "the receiving socket was too slow: the count means nothing"
        );
        Ok(report)
    }

    fn send_burst(&self, waiting: &mut BTreeSet<u64>, report: &mut Report) -> Result<()> {
        for _ in 0..BURST {
            if waiting.len() as u64 >= WINDOW {
                break;
            }
            let number = report.sent;
            self.front.send(&numbered(&self.permitted, number, b"permitted"))?;
            self.front.send(&numbered(&self.refused, number, b"refused.."))?;
            waiting.insert(number);
            report.sent += 1;
            report.refused += 1;
        }
        Ok(())
    }
}

impl Flowing {
    /// Stops the stream and waits for frames on their way.
    pub fn stop(self) -> Result<Report> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow!("the stream's thread panicked"))?
    }
}

fn numbered(frame: &Builder, number: u64, kind: &[u8; 9]) -> Frame {
    frame
        .clone()
        .payload([&number.to_be_bytes()[..], kind].concat())
        .build()
}

/// The number of a frame of any stream, and whether it is a permitted one.
fn number_of(frame: &[u8]) -> Option<(u64, bool)> {
    let (rest, kind) = frame.split_last_chunk::<9>()?;
    let permitted = match kind {
        b"permitted" => true,
        b"refused.." => false,
        _ => return None,
    };
    let (_, number) = rest.split_last_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), permitted))
}
