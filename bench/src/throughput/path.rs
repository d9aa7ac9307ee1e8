//! The way that frames take: a generator, a gateway, and an end that counts.
//!
//! ```text
//! generator: g0 ══ p0 gateway p1 ══ s0 :end, where an empty XDP program drops what comes
//! ```
//!
//! Each end of a veth has a receive queue for each of two CPUs. The kernel takes a frame in on the CPU that sent it, so with
//! one generating thread all of the way is one CPU's.

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp};
use enforcer::kernel::{netdev, sys};
use enforcer_tests::lab::{Namespace, Offload, PacketSocket, set_offload};
use enforcer_tests::packet::{Frame, Mac};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::reference::{Frames, Reference};

/// The sender's hardware address: that of the policies' device.
pub(crate) const SENDER: Mac = [2, 0, 0, 0, 0, 1];
/// The gateway's, to the sender and to the end.
pub(super) const NEAR: Mac = [2, 0, 0, 0, 0xff, 1];
const FAR: Mac = [2, 0, 0, 0, 0xff, 2];
/// The end's.
pub(crate) const END: Mac = [2, 0, 0, 0, 0, 2];

/// Frames that tell how many take how long.
const TRIAL: u32 = 10_000;
/// Frames that the kernel makes before it sends them.
const AT_ONCE: u32 = 64;

/// How a program is put on an interface: `XDP_FLAGS_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Native = 1 << 2,
    Generic = 1 << 1,
}

/// Three namespaces and the interfaces between them.
pub(crate) struct Way {
    generator: Namespace,
    pub(crate) gateway: Namespace,
    end: Namespace,
    traffic: Reference,
    links: Vec<OwnedFd>,
}

/// What came of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flowed {
    /// Frames that reached the gateway, and the end.
    pub(crate) entered: u64,
    pub(crate) left: u64,
    /// Frames that were sent, and how many a second, all CPUs together.
    sent: u64,
    rate: f64,
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
impl Flowed {
    /// Frames a second that the gateway took in.
    pub(crate) fn rate_in(self) -> f64 {
        self.rate * self.entered as f64 / self.sent.max(1) as f64
    }

    /// Frames a second that came to the end.
    pub(crate) fn rate_out(self) -> f64 {
        self.rate * self.left as f64 / self.sent.max(1) as f64
    }

    /// The share that came through.
    pub(crate) fn share(self) -> f64 {
        self.left as f64 / (self.entered.max(1)) as f64
    }
}

impl Way {
    /// The end counts with `last`, a program of the reference object: `empty` or `watch`.
    pub(crate) fn build(last: &str) -> Result<Self> {
        let [generator, end] = [Namespace::new("generator")?, Namespace::new("end")?];
        let gateway = Namespace::gateway("gateway")?;
        let mac = |mac: Mac| mac.map(|octet| format!("{octet:02x}")).join(":");
        gateway.ip(&format!(
            "link add p0 numrxqueues 2 numtxqueues 2 address {near} type veth peer name g0 numrxqueues 2 numtxqueues 2 address {sender}
             link add p1 numrxqueues 2 numtxqueues 2 address {far} type veth peer name s0 numrxqueues 2 numtxqueues 2 address {end_mac}
             link set g0 netns {}
             link set s0 netns {}
             link set p0 up
             link set p1 up",
            generator.path(),
            end.path(),
            near = mac(NEAR),
            sender = mac(SENDER),
            far = mac(FAR),
            end_mac = mac(END),
        ))?;
        generator.ip("link set g0 up")?;
        end.ip("link set s0 up")?;
        // A veth takes redirected frames only if the other end has XDP, or this.
        gateway.enter(|| {
            set_offload("p0", Offload::Merge, true)?;
            set_offload("p1", Offload::Merge, true)
        })?;
        generator.enter(|| set_offload("g0", Offload::Merge, true))?;
        let traffic = Reference::load(&["generate", last])?;
        generator.enter(|| traffic.out(index("g0")?))?;
        let mut way = Self {
            generator,
            gateway,
            end,
            traffic,
            links: Vec::new(),
        };
        let link = way
            .end
            .enter(|| attach(way.traffic.program(last)?, "s0", Mode::Native))?;
        way.links.push(link);
        Ok(way)
    }

    /// Puts a program on an interface of the gateway for as long as this lives.
    pub(crate) fn attach(&mut self, program: &Xdp, interface: &str, mode: Mode) -> Result<()> {
        let link = self.gateway.enter(|| attach(program, interface, mode))?;
        self.links.push(link);
        Ok(())
    }

    /// Index of an interface of the gateway.
    pub(crate) fn index(&self, interface: &str) -> Result<u32> {
        self.gateway.enter(|| index(interface))
    }

    /// The object that generates and counts.
    pub(crate) fn traffic(&self) -> &Reference {
        &self.traffic
    }

    /// Does something to the interfaces at both ends of the way.
    pub(crate) fn outside(&self, work: impl Fn(&str) -> std::io::Result<()> + Sync) -> std::io::Result<()> {
        self.generator.enter(|| work("g0"))?;
        self.end.enter(|| work("s0"))
    }

    /// Lets so many CPUs send the frames of a stream for a while.
    pub(crate) fn run(&self, frames: &Frames, cpus: usize, time: Duration) -> Result<Flowed> {
        self.traffic.stream(frames)?;
        let [entered, left] = [self.received(&self.gateway, "p0")?, self.received(&self.end, "s0")?];
        let (tried, trial) = self.send(frames, cpus, TRIAL)?;
        #[expect(clippy::cast_sign_loss, reason = "rates are not negative")]
        let repeat = (trial / f64::from(u32::try_from(cpus)?) * time.as_secs_f64()) as u32;
        let (sent, rate) = self.send(frames, cpus, repeat.max(TRIAL))?;
        // What waits in a queue is soon there.
        thread::sleep(Duration::from_millis(5));
        Ok(Flowed {
            entered: self.received(&self.gateway, "p0")? - entered,
            left: self.received(&self.end, "s0")? - left,
            sent: tried + sent,
            rate,
        })
    }

    /// So many frames of each CPU, in one system call, because each call waits for all CPUs at its beginning and its end. Returns
    /// how many were sent, and how many a second by the kernel's own clock, which leaves those waits out.
    fn send(&self, frames: &Frames, cpus: usize, repeat: u32) -> Result<(u64, f64)> {
        let program = self.traffic.program("generate")?;
        let frame = frames.templates.first().context("a stream has frames")?;
        let together = Barrier::new(cpus);
        let one = |cpu: usize| -> Result<f64> {
            let mut only = CpuSet::new();
            only.set(cpu);
            // A thread that cannot go on must not keep the other one waiting.
            let ready = sched_setaffinity(None, &only).with_context(|| format!("cannot run on CPU {cpu}"));
            // Before others on a busy machine. It holds for this thread.
            let _ = rustix::process::nice(-20);
            together.wait();
            ready?;
            let mut options = TestRunOptions::new();
            options.data_in = Some(frame);
            options.repeat = repeat;
            options.attrs = TestRunAttrs::new().xdp_live_frames(AT_ONCE);
            let result = program.test_run(options).context("the kernel makes no live frames")?;
            Ok(1.0 / result.duration.as_secs_f64())
        };
        let one = &one;
        let rates = thread::scope(|scope| {
            let threads: Vec<_> = (0..cpus)
                .map(|cpu| scope.spawn(move || self.generator.enter(|| one(cpu))))
                .collect();
            let join = |thread: thread::ScopedJoinHandle<'_, Result<f64>>| {
                thread.join().map_err(|_| anyhow!("a generator's thread panicked"))?
            };
            threads.into_iter().map(join).collect::<Result<Vec<_>>>()
        })?;
        Ok((u64::from(repeat) * cpus as u64, rates.iter().sum()))
    }

    /// Sends single frames from the far end.
    pub(crate) fn answer(&self, frames: &[Frame]) -> Result<()> {
        let socket = self.end.enter(|| PacketSocket::open("s0"))?;
        frames.iter().try_for_each(|frame| Ok(socket.send(frame)?))
    }

    /// Frames that an interface has received.
    #[expect(clippy::unused_self, reason = "reads as a question to the way")]
    fn received(&self, namespace: &Namespace, interface: &str) -> Result<u64> {
        let table = namespace.enter(|| fs::read_to_string("/proc/thread-self/net/dev"))?;
        packets(&table, interface).with_context(|| format!("no count of {interface}"))
    }
}

/// Received frames of an interface, of `/proc/net/dev`.
fn packets(table: &str, interface: &str) -> Option<u64> {
    let line = table
        .lines()
        .find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn index(interface: &str) -> Result<u32> {
    let device = netdev::by_name(interface)?;
    Ok(device.with_context(|| format!("no interface {interface}"))?.index)
}

fn attach(program: &Xdp, interface: &str, mode: Mode) -> Result<OwnedFd> {
    let link = sys::link_create(program.fd()?.as_fd(), index(interface)?, mode as u32);
    link.with_context(|| format!("cannot put a program on {interface}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn received_frames_are_the_second_column() {
        let table = "Inter-| Receive\n face |bytes packets\n    lo: 1 2 0\n    p0: 640 10 0 0\n   p01: 1 3\n";
        assert_eq!(packets(table, "p0"), Some(10));
        assert_eq!(packets(table, "p1"), None);
    }

    #[test]
    fn what_did_not_arrive_does_not_count() {
        // Half of what was sent got into the gateway.
        let flowed = Flowed {
            entered: 1_000,
            left: 900,
            sent: 2_000,
            rate: 4e6,
        };
        assert!((flowed.rate_in() - 2e6).abs() < 1e-3 && (flowed.share() - 0.9).abs() < 1e-9);
        assert!((flowed.rate_out() - 1.8e6).abs() < 1e-3);
    }
}
