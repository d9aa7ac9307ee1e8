//! The programs of `reference-xdp`, loaded: those to compare with, and those that make traffic.

use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, ensure};
use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::xdp::DevMap;
use aya::maps::{Array, HashMap, MapData, PerCpuArray, ProgramArray};
use aya::programs::Xdp;
use enforcer_tests::reference;

#[path = "../../enforcer-ebpf/src/reference/layout.rs"]
#[allow(unreachable_pub, reason = "a module of two packages, and public in one of them")]
mod layout;
use layout::{PATCH_WORDS, Seen, Stream, Template, Unwanted};
pub(crate) use layout::{PATCHES, TEMPLATES};

/// Entries of each table that the references look up in.
const ENTRIES: u32 = 100_000;

/// 16 bits of a frame that change from frame to frame: `base + (number >> shift & mask)`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patch {
    pub(crate) offset: usize,
    pub(crate) base: u16,
    pub(crate) shift: u32,
    pub(crate) mask: u16,
}

/// Frames that differ in some places. The first 64 octets of each are made anew every time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frames {
    /// One, two, four or eight, sent in turn; at least 64 octets each.
    pub(crate) templates: Vec<Vec<u8>>,
    pub(crate) patches: Vec<Patch>,
}

impl Frames {
    /// The same frame again and again.
    pub(crate) fn one(frame: &[u8]) -> Self {
        Self {
            templates: vec![frame.to_vec()],
            patches: Vec::new(),
        }
    }

    #[must_use]
    pub(crate) fn patch(mut self, offset: usize, base: u16, shift: u32, mask: u16) -> Self {
        self.patches.push(Patch {
            offset,
            base,
            shift,
            mask,
        });
        self
    }

    fn words(&self) -> Result<(Stream, Vec<Template>)> {
        ensure!(
            self.templates.len().is_power_of_two() && self.templates.len() <= TEMPLATES as usize,
            "one, two, four or eight templates"
        );
        ensure!(self.patches.len() <= PATCHES, "at most {PATCHES} patches");
        let mut stream = Stream::default();
        for (words, patch) in stream.chunks_mut(PATCH_WORDS).zip(&self.patches) {
            words.copy_from_slice(&[patch.offset as u32, patch.base.into(), patch.shift, patch.mask.into()]);
        }
        stream[PATCHES * PATCH_WORDS] = self.templates.len() as u32 - 1;
        stream[PATCHES * PATCH_WORDS + 1] = self.templates.len().ilog2();
        let template = |frame: &Vec<u8>| {
            let mut words = Template::default();
            for (word, octets) in words.iter_mut().zip(frame.chunks_exact(8)) {
                *word = u64::from_ne_bytes(octets.try_into().context("eight octets")?);
            }
            ensure!(frame.len() >= 64, "a template of {} octets is too short", frame.len());
            Ok(words)
        };
        Ok((stream, self.templates.iter().map(template).collect::<Result<_>>()?))
    }
}

/// The object, loaded once for each use: its maps hold one stream, one way out and one count.
pub(crate) struct Reference {
    ebpf: Ebpf,
}

impl Reference {
    /// Loads these programs of it.
    pub(crate) fn load(programs: &[&str]) -> Result<Self> {
        let mut ebpf = Ebpf::load_file(reference::object()?).context("cannot load the reference programs")?;
        for name in programs {
            let program: &mut Xdp = ebpf
                .program_mut(name)
                .with_context(|| format!("no reference program `{name}`"))?
                .try_into()?;
            program.load().with_context(|| format!("the kernel refuses `{name}`"))?;
        }
        Ok(Self { ebpf })
    }

    pub(crate) fn program(&self, name: &str) -> Result<&Xdp> {
        let program = self.ebpf.program(name);
        Ok(program
            .with_context(|| format!("no reference program `{name}`"))?
            .try_into()?)
    }

    fn map(&self, name: &str) -> Result<MapData> {
        use aya::maps::Map;
        let map = self.ebpf.map(name).with_context(|| format!("no map `{name}`"))?;
        let (Map::Array(data)
        | Map::PerCpuArray(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::LpmTrie(data)
        | Map::ProgramArray(data)
        | Map::DevMap(data)) = map
        else {
            anyhow::bail!("map {name} has another type")
        };
        Ok(MapData::from_fd(data.fd().as_fd().try_clone_to_owned()?)?)
    }

    /// What `vary` and `generate` make from now on.
    pub(crate) fn stream(&self, frames: &Frames) -> Result<()> {
        use aya::maps::Map;
        let (stream, templates) = frames.words()?;
        Array::<_, Stream>::try_from(Map::Array(self.map("STREAM")?))?.set(0, stream, 0)?;
        let mut map = Array::<_, Template>::try_from(Map::Array(self.map("TEMPLATE")?))?;
        for (number, template) in (0..).zip(templates) {
            map.set(number, template, 0)?;
        }
        Ok(())
    }

    /// The program that `vary` runs on its frames.
    pub(crate) fn next(&self, program: &Xdp) -> Result<()> {
        let map = aya::maps::Map::ProgramArray(self.map("NEXT")?);
        Ok(ProgramArray::try_from(map)?.set(0, program.fd()?, 0)?)
    }

    /// The interface, of the calling thread's namespace, that `generate` and `forward` send to.
    pub(crate) fn out(&self, ifindex: u32) -> Result<()> {
        let map = aya::maps::Map::DevMap(self.map("OUT")?);
        Ok(DevMap::try_from(map)?.set(0, ifindex, None, 0)?)
    }

    /// What `watch` counts as wrong.
    pub(crate) fn unwanted(&self, offset: u32, value: u16) -> Result<()> {
        let map = aya::maps::Map::Array(self.map("UNWANTED")?);
        Ok(Array::<_, Unwanted>::try_from(map)?.set(0, [offset, value.into()], 0)?)
    }

    /// What `watch` has seen: frames, wrong ones, and the longest time between two, in nanoseconds. Begins anew.
    pub(crate) fn take_seen(&self) -> Result<(u64, u64, u64)> {
        let map = aya::maps::Map::PerCpuArray(self.map("SEEN")?);
        let mut seen = PerCpuArray::<_, Seen>::try_from(map)?;
        let of_cpus = seen.get(&0, 0)?;
        let sums = of_cpus.iter().fold((0, 0, 0), |(frames, wrong, gap), cpu| {
            (frames + cpu[0], wrong + cpu[1], gap.max(cpu[3]))
        });
        let none = vec![Seen::default(); of_cpus.len()];
        seen.set(0, aya::maps::PerCpuValues::try_from(none)?, 0)?;
        Ok(sums)
    }

    /// Fills the tables that the look-ups are measured in. `tuple`: addresses, ports and protocol of the measured frame.
    pub(crate) fn fill(&self, source: Ipv4Addr, destination: Ipv4Addr, ports: [u16; 2]) -> Result<()> {
        use aya::maps::Map;
        let mut trie: LpmTrie<_, [u8; 4], u32> = Map::LpmTrie(self.map("PREFIXES")?).try_into()?;
        for (number, (length, address)) in (0..).zip(prefixes([source, destination])) {
            trie.insert(&Key::new(length, address.octets()), number, 0)
                .with_context(|| format!("cannot enter {address}/{length}"))?;
        }
        let mut tuples: HashMap<_, [u32; 4], u64> = Map::HashMap(self.map("TUPLES")?).try_into()?;
        let mut recent: HashMap<_, [u32; 4], u64> = Map::LruHashMap(self.map("RECENT")?).try_into()?;
        let [high, low] = ports.map(u16::to_be_bytes);
        let ports = u32::from_ne_bytes([high[0], high[1], low[0], low[1]]);
        let word = |address: Ipv4Addr| u32::from_ne_bytes(address.octets());
        for number in 0..ENTRIES {
            let other = Ipv4Addr::from(u32::from(source) ^ number);
            let key = [word(other), word(destination), ports, 17];
            tuples.insert(key, u64::from(number), 0)?;
            recent.insert(key, u64::from(number), 0)?;
        }
        Ok(())
    }
}

/// A hospital's worth of prefixes in 10.0.0.0/8: a subnet for every four devices' addresses, spread evenly, and those of the
/// measured frame.
fn prefixes(ends: [Ipv4Addr; 2]) -> impl Iterator<Item = (u32, Ipv4Addr)> {
    let ten = u32::from(Ipv4Addr::new(10, 0, 0, 0));
    // An odd step through 2^24 addresses (2^24 over the golden ratio) meets none twice, and leaves no part out.
    let host = move |number: u32| ten | (number.wrapping_mul(0x9e_3779) & 0xff_ffff);
    let subnet = move |number: u32| ten | (number.wrapping_mul(0x9e37) & 0xffff) << 8;
    let spread = (2..ENTRIES).map(move |number| match number {
        _ if number % 5 == 0 => (24, subnet(number / 5).into()),
        _ => (32, host(number).into()),
    });
    ends.map(|end| (32, end)).into_iter().chain(spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_written_as_its_readers_expect() -> Result<()> {
        let frames = Frames {
            templates: vec![(0..64).collect(), vec![0; 70]],
            ..Frames::default()
        };
        let (stream, templates) = frames.patch(38, 1024, 8, 0xff).words()?;
        assert_eq!(stream[..5], [38, 1024, 8, 0xff, 0]);
        assert_eq!((&stream[16..], templates.len()), (&[1, 1][..], 2));
        assert_eq!(templates[0][1].to_ne_bytes(), [8, 9, 10, 11, 12, 13, 14, 15]);
        assert!(Frames::one(&[0; 63]).words().is_err());
        assert!(Frames::default().words().is_err());
        Ok(())
    }

    #[test]
    fn no_prefix_is_entered_twice() {
        let ends = [Ipv4Addr::new(172, 16, 0, 1), Ipv4Addr::new(172, 17, 0, 1)];
        let all: std::collections::BTreeSet<_> = prefixes(ends).collect();
        assert_eq!(all.len(), ENTRIES as usize);
    }
}
