//! The kernel program without a network: frames go in by `BPF_PROG_TEST_RUN`, decisions come out of the event ring.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, bail, ensure};
use aya::Pod;
use aya::maps::{HashMap, Map, MapData, PerCpuArray, RingBuf};
use aya::programs::{TestRun as _, TestRunOptions};
use enforcer::kernel::sys::{read_first, update_first};
use enforcer::kernel::{Generation, LoadOptions, PortSetup};
use enforcer::policy::TableSet;
use enforcer_common::abi::{Access, Binding, BindingKey, Counter, Event, Rule, settings_flags};

use crate::lab::Namespace;

/// The shortest frame that the kernel runs a program on: an Ethernet header.
pub const SHORTEST: usize = 14;

/// What a program returns for a frame (`linux/bpf.h`, `enum xdp_action`).
pub mod action {
    /// Dropped.
    pub const DROP: u32 = 1;
    /// On to the stack.
    pub const PASS: u32 = 2;
    /// Out of another interface.
    pub const REDIRECT: u32 = 4;
}

/// A loaded generation whose every decision is an event, in a network namespace with interfaces 1 to 9.
pub struct Kernel {
    generation: Generation,
    events: RingBuf<MapData>,
    namespace: Namespace,
}

impl Kernel {
    /// Loads the program with private maps.
    pub fn load(tables: &TableSet, ports: &[PortSetup]) -> Result<Self> {
        Self::load_with(tables, ports, &[])
    }

    /// The same, with management access.
    pub fn load_with(tables: &TableSet, ports: &[PortSetup], accesses: &[Access]) -> Result<Self> {
        let namespace = Namespace::new("test-run")?;
        // Loopback is 1; a veth pair each for 2 and 3, 4 and 5, and so on to 9. The kernel refuses indices that do not exist.
        namespace.ip("link add type veth\nlink add type veth\nlink add type veth\nlink add type veth")?;
        let mut options = LoadOptions::new(tables, ports);
        options.flags = settings_flags::FLOWS | settings_flags::TRACE;
        options.accesses = accesses;
        // The device map takes interfaces of the namespace in which it is filled.
        let generation = namespace.enter(|| Generation::load(&options))?;
        let events = RingBuf::try_from(Map::RingBuf(generation.map("EVENTS")?))?;
        Ok(Self {
            generation,
            events,
            namespace,
        })
    }

    /// Runs the program on a frame that comes in by an interface; returns its action and the decision.
    pub fn run(&mut self, frame: &[u8], ifindex: u32) -> Result<(u32, Event)> {
        let mut results = self.run_all(&[(frame, ifindex)])?;
        results.pop().context("one frame, no result")
    }

    /// The same for several frames, as many as the event ring holds: entering the namespace takes longer than a run.
    pub fn run_all(&mut self, frames: &[(&[u8], u32)]) -> Result<Vec<(u32, Event)>> {
        if let Some((frame, _)) = frames.iter().find(|(frame, _)| frame.len() < SHORTEST) {
            bail!("the kernel runs no program on {} octets", frame.len());
        }
        let program = self.generation.program()?;
        let run = |&(frame, ifindex): &(&[u8], u32)| {
            let context = context(frame.len() as u32, ifindex);
            let mut options = TestRunOptions::new();
            options.data_in = Some(frame);
            options.ctx_in = Some(&context);
            program.test_run(options).map(|result| result.return_value)
        };
        let actions: Result<Vec<_>, _> = self.namespace.enter(|| frames.iter().map(run).collect());
        let mut results = Vec::with_capacity(frames.len());
        for action in actions? {
            let record = self.events.next().context("the decision sent no event")?;
            results.push((
                action,
                Event::decode(&record).context("a record of the ring is no event")?,
            ));
        }
        ensure!(self.events.next().is_none(), "more events than frames");
        Ok(results)
    }

    /// Gives an address to a device with DHCP: `device` is its place among them. In fresh maps places are numbers.
    pub fn bind(&mut self, key: BindingKey, device: u32, expires: u64) -> Result<()> {
        let mut bindings: HashMap<_, BindingKey, Binding> =
            Map::HashMap(self.generation.map("BINDINGS")?).try_into()?;
        let binding = Binding {
            expires,
            device,
            reserved: 0,
        };
        Ok(bindings.insert(key, binding, 0)?)
    }

    /// Moves the end of a rule, in nanoseconds of the tick clock.
    pub fn set_deadline(&mut self, rule: u32, deadline: u64) -> Result<()> {
        let map = self.generation.map("RULES")?;
        let mut rules: Vec<Rule> = whole(&map)?;
        rules[rule as usize].deadline = deadline;
        Ok(update_first(map.fd().as_fd(), &rules)?)
    }

    /// A map of counters, summed over the CPUs; indices that count nothing are left out.
    pub fn counters(&self, map: &str) -> Result<BTreeMap<u32, Counter>> {
        let counters: PerCpuArray<_, Counter> = Map::PerCpuArray(self.generation.map(map)?).try_into()?;
        let mut sums = BTreeMap::new();
        for index in 0..counters.len() {
            let mut sum = Counter::default();
            for cpu in counters.get(&index, 0)?.iter() {
                sum.packets += cpu.packets;
                sum.bytes += cpu.bytes;
            }
            if sum != Counter::default() {
                sums.insert(index, sum);
            }
        }
        Ok(sums)
    }

    /// The loaded generation.
    pub fn generation(&self) -> &Generation {
        &self.generation
    }
}

/// The context of a run: `struct xdp_md` with the whole frame in its linear part.
fn context(length: u32, ifindex: u32) -> [u8; 24] {
    let mut context = [0; 24];
    // data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
    for (field, value) in [0, length, 0, ifindex, 0, 0_u32].into_iter().enumerate() {
        context[field * 4..][..4].copy_from_slice(&value.to_ne_bytes());
    }
    context
}

/// A table that is the one entry of its map: a power of two elements, of which the last repeats.
pub fn whole<V: Pod>(map: &MapData) -> Result<Vec<V>> {
    let elements = map.info()?.value_size() as usize / size_of::<V>();
    Ok(read_first(map.fd().as_fd(), elements)?)
}
