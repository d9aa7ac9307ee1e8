//! The programs, and the frames that they run on.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::programs::Xdp;
use enforcer::kernel::{Generation, LoadOptions, PortSetup};
use enforcer_common::abi::settings_flags;
use enforcer_tests::packet::{Frame, packet};
use enforcer_tests::reference;

/// Prefixes in the kernel's LPM trie.
const PREFIXES: u32 = 100_000;

/// The interface that test runs come in by: loopback.
const LOOPBACK: u32 = 1;

/// What XDP programs answer.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// A program, a frame, and the answer that it has to give.
pub(crate) struct Case<'a> {
    /// As the table shows it.
    pub(crate) name: &'static str,
    pub(crate) program: &'a Xdp,
    pub(crate) frame: Frame,
    pub(crate) answer: u32,
}

/// All programs, loaded.
pub(crate) struct Programs {
    references: Ebpf,
    stateful: Generation,
    stateless: Generation,
}

impl Programs {
    /// Loads the references, and the shipped object with the reference policies, with flows and without.
    pub(crate) fn load() -> Result<Self> {
        let tables = reference::tables()?;
        let ports = [PortSetup::new("bench", LOOPBACK)];
        let options = LoadOptions::new(&tables, &ports);
        let stateful = Generation::load(&options)?;
        let stateless = Generation::load(&LoadOptions {
            flags: options.flags & !settings_flags::FLOWS,
            ..options
        })?;
        Ok(Self {
            references: references()?,
            stateful,
            stateless,
        })
    }

    /// The cases: first the empty program, then one LPM look-up, which the report relates the others to.
    pub(crate) fn cases(&self) -> Result<Vec<Case<'_>>> {
        let case = |name, program, frame: &Frame, answer| Case {
            name,
            program,
            frame: frame.clone(),
            answer,
        };
        let (stateless, stateful) = (self.stateless.program()?, self.stateful.program()?);
        let (denied, permitted) = (denied(), permitted());
        Ok(vec![
            case("empty program", self.reference("empty")?, &denied, XDP_DROP),
            case("one LPM look-up", self.reference("lpm")?, &denied, XDP_DROP),
            case("denied, stateless", stateless, &denied, XDP_DROP),
            case("permitted, stateless", stateless, &permitted, XDP_PASS),
            case("denied, new flow", stateful, &denied, XDP_DROP),
            case("permitted, flow exists", stateful, &permitted, XDP_PASS),
        ])
    }

    fn reference(&self, name: &str) -> Result<&Xdp> {
        let program = self
            .references
            .program(name)
            .with_context(|| format!("no reference program `{name}`"))?;
        Ok(program.try_into()?)
    }
}

/// A guest who tries a pump: matches no rule.
fn denied() -> Frame {
    packet()
        .vlan(666)
        .ip("10.66.0.21", "10.10.110.21")
        .udp(40_000, 3613)
        .payload([0; 64])
        .build()
}

/// A patient monitor's waveform to the central station.
fn permitted() -> Frame {
    packet()
        .vlan(120)
        .from_mac([0x00, 0x09, 0xfb, 0x00, 0x02, 0x01])
        .ip("10.10.120.21", "10.20.12.10")
        .udp(24_105, 24_105)
        .payload([0; 64])
        .build()
}

/// The reference programs, the trie filled.
fn references() -> Result<Ebpf> {
    let mut object = Ebpf::load_file(reference::object()?).context("cannot load the reference programs")?;
    let map = object.map_mut("PREFIXES").context("no map `PREFIXES`")?;
    let mut trie: LpmTrie<_, [u8; 4], u32> = map.try_into()?;
    for (number, (length, address)) in prefixes().enumerate() {
        trie.insert(&Key::new(length, address.octets()), number as u32, 0)
            .with_context(|| format!("cannot enter {address}/{length}"))?;
    }
    for name in ["empty", "lpm"] {
        let program: &mut Xdp = object
            .program_mut(name)
            .with_context(|| format!("no reference program `{name}`"))?
            .try_into()?;
        program.load().with_context(|| format!("the kernel refuses `{name}`"))?;
    }
    Ok(object)
}

/// A hospital's worth of prefixes in 10.0.0.0/8: a subnet for every four devices' addresses, spread evenly, the pump of
/// [`denied`] among them.
fn prefixes() -> impl Iterator<Item = (u32, Ipv4Addr)> {
    let ten = u32::from(Ipv4Addr::new(10, 0, 0, 0));
    let pump = u32::from(Ipv4Addr::new(10, 10, 110, 21));
    // An odd step through 2^24 addresses (2^24 over the golden ratio) meets none twice, and leaves no part out.
    let host = move |number: u32| ten | (number.wrapping_mul(0x9e_3779) & 0xff_ffff);
    (0..PREFIXES).map(move |number| match number {
        0 => (32, pump.into()),
        _ if number % 5 == 0 => (24, (host(number) & !0xff).into()),
        _ => (32, host(number).into()),
    })
}
