//! The programs, and the frames that they run on.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::programs::Xdp;
use enforcer::kernel::{Generation, LoadOptions, PortSetup};
use enforcer::object::OBJECT;
use enforcer::policy::TableSet;
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
    pub(crate) name: String,
    pub(crate) program: &'a Xdp,
    pub(crate) frame: Frame,
    pub(crate) answer: u32,
}

/// All programs, loaded.
pub(crate) struct Programs {
    references: Ebpf,
    shipped: Pair,
    other: Option<Pair>,
}

/// One object, loaded with the reference policies: with flows, and without.
struct Pair {
    stateful: Generation,
    stateless: Generation,
}

impl Programs {
    /// Loads the references, the shipped object, and another build of it if there is one to compare.
    pub(crate) fn load(other: Option<&Path>) -> Result<Self> {
        let tables = reference::tables()?;
        let other = other.map(|path| {
            let object = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            Pair::load(&object, &tables)
        });
        Ok(Self {
            references: references()?,
            shipped: Pair::load(OBJECT, &tables)?,
            other: other.transpose()?,
        })
    }

    /// The cases: first the empty program, then one LPM look-up, which the report relates the others to.
    pub(crate) fn cases(&self) -> Result<Vec<Case<'_>>> {
        let denied = denied();
        let mut cases = vec![
            Case::new("empty program", self.reference("empty")?, &denied, XDP_DROP),
            Case::new("one LPM look-up", self.reference("lpm")?, &denied, XDP_DROP),
        ];
        cases.extend(self.shipped.cases("")?);
        if let Some(other) = &self.other {
            cases.extend(other.cases("other: ")?);
        }
        Ok(cases)
    }

    fn reference(&self, name: &str) -> Result<&Xdp> {
        let program = self
            .references
            .program(name)
            .with_context(|| format!("no reference program `{name}`"))?;
        Ok(program.try_into()?)
    }
}

impl Pair {
    fn load(object: &[u8], tables: &TableSet) -> Result<Self> {
        let ports = [PortSetup::new("bench", LOOPBACK)];
        let options = LoadOptions {
            object,
            ..LoadOptions::new(tables, &ports)
        };
        let stateful = Generation::load(&options)?;
        let stateless = Generation::load(&LoadOptions {
            flags: options.flags & !settings_flags::FLOWS,
            ..options
        })?;
        Ok(Self { stateful, stateless })
    }

    fn cases(&self, prefix: &str) -> Result<[Case<'_>; 4]> {
        let (stateless, stateful) = (self.stateless.program()?, self.stateful.program()?);
        let case = |name, program, frame, answer| Case::new(format!("{prefix}{name}"), program, frame, answer);
        let (denied, permitted) = (denied(), permitted());
        Ok([
            case("denied, stateless", stateless, &denied, XDP_DROP),
            case("permitted, stateless", stateless, &permitted, XDP_PASS),
            case("denied, new flow", stateful, &denied, XDP_DROP),
            case("permitted, flow exists", stateful, &permitted, XDP_PASS),
        ])
    }
}

impl<'a> Case<'a> {
    fn new(name: impl Into<String>, program: &'a Xdp, frame: &Frame, answer: u32) -> Self {
        Self {
            name: name.into(),
            program,
            frame: frame.clone(),
            answer,
        }
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
