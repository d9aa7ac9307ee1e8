//! Frames at a given rate, from a thread of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::PacketSocket;

/// A flood that goes on until it is stopped.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<Result<Offered>>,
}

/// What was offered: when each frame was sent, from the first one on.
#[derive(Clone, Debug)]
pub struct Offered(Vec<Duration>);

impl Offered {
    /// How many frames.
    pub fn frames(&self) -> u64 {
        self.0.len() as u64
    }

    /// From the first to the last.
    pub fn time(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    /// How many of the frames a limit of so many a second, and so many at once, ought to let through. A sender that a busy
    /// machine has held up makes up for it in bursts, of which less passes than of a steady flow: hence the times.
    pub fn within(&self, rate: f64, burst: f64) -> f64 {
        let (mut room, mut last, mut passed) = (burst, Duration::ZERO, 0.0);
        for &time in &self.0 {
            room = burst.min(room + rate * time.saturating_sub(last).as_secs_f64());
            last = time;
            if room >= 1.0 {
                (room, passed) = (room - 1.0, passed + 1.0);
            }
        }
        passed
    }
}

impl Flood {
    /// Sends so many frames a second; each is made from its number. What the sender cannot keep up with it makes good
    /// later, in bursts, so over time the rate is right.
    pub fn start(socket: PacketSocket, rate: u32, frame: impl Fn(u64) -> Vec<u8> + Send + 'static) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (told, count) = (stop.clone(), sent.clone());
        let body = move || {
            let started = Instant::now();
            let mut times = Vec::new();
            while !told.load(Ordering::Relaxed) {
                let due = (started.elapsed().as_secs_f64() * f64::from(rate)).ceil();
                #[expect(clippy::cast_sign_loss, reason = "time does not run backwards")]
                let due = due as u64;
                for number in count.load(Ordering::Relaxed)..due {
                    socket.send(&frame(number))?;
                    times.push(started.elapsed());
                    count.store(number + 1, Ordering::Relaxed);
                }
                thread::sleep(Duration::from_millis(1));
            }
            let first = times.first().copied().unwrap_or_default();
            Ok(Offered(
                times.into_iter().map(|time| time.saturating_sub(first)).collect(),
            ))
        };
        Self {
            stop,
            sent,
            thread: thread::spawn(body),
        }
    }

    /// Frames sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops it.
    pub fn stop(self) -> Result<Offered> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the flood's thread panicked"))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(step: Duration, count: u32) -> Offered {
        Offered((0..count).map(|number| step * number).collect())
    }

    #[test]
    fn a_steady_flood_gets_the_burst_and_the_rate_and_a_pause_no_more_than_the_burst() {
        // 10 seconds at 1000/s against 100/s.
        let mut flood = every(Duration::from_millis(1), 10_001);
        assert!((flood.within(100.0, 50.0) - 1050.0).abs() < 2.0);
        let after_a_minute = flood.time() + Duration::from_mins(1);
        flood.0.extend([after_a_minute; 1_000]);
        assert!((flood.within(100.0, 50.0) - 1100.0).abs() < 2.0);
        assert!((every(Duration::from_millis(20), 500).within(100.0, 50.0) - 500.0).abs() < 0.5);
    }
}
