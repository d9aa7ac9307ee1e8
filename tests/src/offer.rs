//! Frames offered to a limit in the kernel at some rate, and what a perfect limiter would have let through of them.

use std::os::fd::{AsFd as _, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use aya::maps::{Map, PerCpuArray};
use aya::programs::{TestRun as _, TestRunOptions};
use enforcer::kernel::{Generation, netdev, sys};
use enforcer_common::abi::Counter;
use enforcer_common::verdict::Verdict;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::lab::Namespace;
use crate::packet::Frame;

/// Natively: `linux/if_link.h`.
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// A limit of frames that are all alike, in packets or in as many bits.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Frames a second.
    pub rate: f64,
    /// Frames that may come at once.
    pub burst: f64,
}

/// An offer: so many times the rate, for a while, with pauses in between.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// Times the rate.
    pub times: f64,
    /// How many times it is offered.
    pub spans: u32,
    /// For how long.
    pub span: Duration,
    /// What follows each.
    pub pause: Duration,
}

/// Frames that came at once. When: not before the first, and not after the second, in seconds since `epoch`.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// Before the frames.
    pub began: f64,
    /// After them.
    pub ended: f64,
    /// How many they were.
    pub frames: u32,
}

/// Frames that passed, and others.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Frames that passed.
    pub passed: f64,
    /// Frames that were refused.
    pub dropped: f64,
}

impl Tally {
    /// What the first port has counted so far.
    pub fn of(generation: &Generation) -> Result<Self> {
        let counters: PerCpuArray<_, Counter> = Map::PerCpuArray(generation.map("PORT_COUNTERS")?).try_into()?;
        let of = |verdict: Verdict| -> Result<f64> {
            let of_cpus = counters.get(&(verdict as u32), 0)?;
            let frames: u64 = of_cpus.iter().map(|counter| counter.packets).sum();
            Ok(f64::from(u32::try_from(frames)?))
        };
        Ok(Self {
            passed: of(Verdict::Pass)?,
            dropped: of(Verdict::Drop)?,
        })
    }

    /// What has been counted since.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            passed: self.passed - before.passed,
            dropped: self.dropped - before.dropped,
        }
    }
}

/// Puts the program on an interface where nothing comes, while both last. The kernel enters a program that runs nowhere into its
/// dispatcher for each call of test runs, and waits for all CPUs each time; one that runs somewhere it has there already.
pub fn keep_running(generation: &Generation) -> Result<(Namespace, OwnedFd)> {
    let namespace = Namespace::new("offer")?;
    namespace.ip("link add p0 type veth peer name g0")?;
    let program = generation.program_fd()?;
    let link = namespace.enter(|| -> Result<_> {
        let index = netdev::by_name("p0")?.context("no interface p0")?.index;
        Ok(sys::link_create(program.as_fd(), index, XDP_FLAGS_DRV_MODE)?)
    })?;
    Ok((namespace, link))
}

/// Offers the frame to a program, from so many CPUs at once, each its part.
pub fn run(
    generation: &Generation,
    frame: &Frame,
    cpus: usize,
    limit: Limit,
    offer: Offer,
    epoch: Instant,
) -> Result<Vec<Batch>> {
    let mut batches = Vec::new();
    for _ in 0..offer.spans {
        batches.extend(span(generation, frame, cpus, limit, offer, epoch)?);
        thread::sleep(offer.pause);
    }
    Ok(batches)
}

fn span(
    generation: &Generation,
    frame: &Frame,
    cpus: usize,
    limit: Limit,
    offer: Offer,
    epoch: Instant,
) -> Result<Vec<Batch>> {
    let program = generation.program()?;
    let start = Instant::now();
    #[expect(clippy::cast_precision_loss, reason = "one or two")]
    let rate = limit.rate * offer.times / cpus as f64;
    let one = |cpu: usize| -> Result<Vec<Batch>> {
        let mut only = CpuSet::new();
        only.set(cpu);
        sched_setaffinity(None, &only).with_context(|| format!("cannot run on CPU {cpu}"))?;
        let (mut sent, mut batches) = (0, Vec::new());
        loop {
            let elapsed = start.elapsed().min(offer.span);
            #[expect(clippy::cast_sign_loss, reason = "time does not run backwards")]
            let due = (rate * elapsed.as_secs_f64()) as u32;
            if due > sent {
                let mut options = TestRunOptions::new();
                options.data_in = Some(frame);
                options.repeat = due - sent;
                let began = epoch.elapsed().as_secs_f64();
                program.test_run(options).context("a test run")?;
                batches.push(Batch {
                    began,
                    ended: epoch.elapsed().as_secs_f64(),
                    frames: due - sent,
                });
                sent = due;
            }
            if elapsed == offer.span {
                return Ok(batches);
            }
            thread::sleep(Duration::from_micros(500));
        }
    };
    let one = &one;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cpus).map(|cpu| scope.spawn(move || one(cpu))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, Result<Vec<Batch>>>| {
            thread.join().map_err(|_| anyhow!("a thread panicked"))?
        };
        Ok(threads.into_iter().map(join).collect::<Result<Vec<_>>>()?.concat())
    })
}

/// What a perfect limiter lets through of these, by when they really came: a sender that a busy machine holds up loses what does
/// not fit into the burst. The least and the most, because each batch came at some time between two.
#[must_use]
pub fn permitted(batches: &[Batch], limit: Limit) -> (f64, f64) {
    let by = |time: fn(&Batch) -> f64| -> f64 {
        let mut arrivals: Vec<_> = batches.iter().map(|batch| (time(batch), batch.frames)).collect();
        arrivals.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (mut room, mut last, mut passed) = (limit.burst, 0.0, 0.0);
        for (time, frames) in arrivals {
            room = limit.burst.min(room + limit.rate * (time - last));
            last = time;
            let now = f64::from(frames).min(room);
            (room, passed) = (room - now, passed + now);
        }
        passed
    };
    let (early, late) = (by(|batch| batch.began), by(|batch| batch.ended));
    (early.min(late), early.max(late).max(spread(batches, limit)))
}

/// The most: a sender that is held up in the middle of a batch sends the rest of it when the limit has room again.
fn spread(batches: &[Batch], limit: Limit) -> f64 {
    let mut batches = batches.to_vec();
    batches.sort_by(|one, other| one.began.total_cmp(&other.began));
    let (mut room, mut last, mut passed) = (limit.burst, 0.0_f64, 0.0);
    for batch in batches {
        room = limit.burst.min(room + limit.rate * (batch.began - last).max(0.0));
        room += limit.rate * (batch.ended - last.max(batch.began)).max(0.0);
        last = last.max(batch.ended);
        let now = f64::from(batch.frames).min(room);
        (room, passed) = (limit.burst.min(room - now), passed + now);
    }
    passed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(time: f64, frames: u32) -> Batch {
        Batch {
            began: time,
            ended: time + 0.001,
            frames,
        }
    }

    #[test]
    fn a_perfect_limiter_gives_the_burst_and_the_rate_and_loses_what_pauses_earn_beyond_the_burst() {
        let limit = Limit {
            rate: 20_000.0,
            burst: 5_000.0,
        };
        // Twice the rate for a second, a hundred times a second, from two senders whose batches are not in order.
        let mut batches: Vec<_> = (1..=100).map(|step| batch(f64::from(step) / 100.0, 200)).collect();
        batches.extend(batches.clone());
        let (least, most) = permitted(&batches, limit);
        // The bucket is full when the first batch comes, so the hundredth of a second before it earns nothing.
        assert!(
            (least - 24_800.0).abs() < 1.0 && (most - 24_820.0).abs() < 1.0,
            "{least} {most}"
        );
        // All of it after ten idle seconds: no more than the burst.
        assert!((permitted(&[batch(10.0, 40_000)], limit).1 - 5_020.0).abs() < 1e-6);
        assert!((permitted(&[batch(0.5, 100), batch(1.0, 100)], limit).0 - 200.0).abs() < 1e-9);
    }

    /// A machine with other work held a sender up for a third of a second in one batch, and more passed than was expected.
    #[test]
    fn a_batch_that_takes_long_may_earn_what_its_time_earns() {
        let limit = Limit {
            rate: 20_000.0,
            burst: 5_000.0,
        };
        let long = Batch {
            began: 1.0,
            ended: 1.3,
            frames: 40_000,
        };
        let (least, most) = permitted(&[long], limit);
        assert!(
            (least - 5_000.0).abs() < 1e-9 && (most - 11_000.0).abs() < 1e-6,
            "{least} {most}"
        );
        // Two senders at once share what the time earns.
        assert!((permitted(&[long, long], limit).1 - 11_000.0).abs() < 1e-6);
    }
}
