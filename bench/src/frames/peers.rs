//! Other packet filters that run as XDP programs.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use aya::maps::{Map, PerCpuArray, PerCpuHashMap, PerCpuValues};
use aya::programs::Xdp;
use aya::util::nr_cpus;
use aya::{Ebpf, EbpfLoader};
use enforcer_tests::lab::Namespace;

/// xdp-filter of xdp-tools, its own object as Debian installs it.
pub(super) struct XdpFilter {
    /// Everything passes but what is listed.
    deny_list: Ebpf,
    /// Nothing passes but what is listed.
    allow_list: Ebpf,
}

/// Where the objects of xdp-tools are.
const FOLDERS: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/bpf",
    "/usr/lib/aarch64-linux-gnu/bpf",
    "/usr/lib/bpf",
];

/// xdp-filter's flags of an entry: destination, TCP.
const TO_TCP: u64 = 1 << 1 | 1 << 2;
/// And source address.
const FROM: u64 = 1;

/// Entries of its table of addresses, which holds 10,000.
const ADDRESSES: u32 = 9_000;

impl XdpFilter {
    /// In a mount namespace with a BPF file system of its own, which xdp-filter wants for its maps.
    pub(super) fn load() -> Result<Self> {
        Namespace::gateway("xdp-filter")?.enter(Self::load_here)
    }

    fn load_here() -> Result<Self> {
        let open = |name: &str| -> Result<Ebpf> {
            let path = FOLDERS
                .iter()
                .map(|folder| Path::new(folder).join(name))
                .find(|path| path.is_file());
            let Some(path) = path else {
                bail!(
                    "no {name} in {}: is the package xdp-tools installed?",
                    FOLDERS.join(", ")
                )
            };
            let maps = tempfile::Builder::new().prefix("bench-").tempdir_in("/sys/fs/bpf")?;
            let mut ebpf = EbpfLoader::new()
                .default_map_pin_directory(maps.path())
                .load_file(&path)
                .with_context(|| format!("cannot load {}", path.display()))?;
            for (_, program) in ebpf.programs_mut() {
                let program: &mut Xdp = program.try_into()?;
                program
                    .load()
                    .with_context(|| format!("the kernel refuses {}", path.display()))?;
            }
            fill(&mut ebpf)?;
            Ok(ebpf)
        };
        Ok(Self {
            deny_list: open("xdpfilt_alw_all.o")?,
            allow_list: open("xdpfilt_dny_all.o")?,
        })
    }

    pub(super) fn deny_list(&self) -> Result<&Xdp> {
        only_program(&self.deny_list)
    }

    pub(super) fn allow_list(&self) -> Result<&Xdp> {
        only_program(&self.allow_list)
    }
}

fn only_program(ebpf: &Ebpf) -> Result<&Xdp> {
    let (_, program) = ebpf.programs().next().context("the object has no program")?;
    Ok(program.try_into()?)
}

/// Lists TCP port 444, which no measured frame has, and addresses that none has.
fn fill(ebpf: &mut Ebpf) -> Result<()> {
    let cpus = nr_cpus().map_err(|(_, error)| error)?;
    if let Some(map) = ebpf.map_mut("filter_ports") {
        let mut ports: PerCpuArray<_, u64> = PerCpuArray::try_from(map)?;
        ports.set(
            444_u32.swap_bytes() >> 16,
            PerCpuValues::try_from(vec![TO_TCP; cpus])?,
            0,
        )?;
    }
    if let Some(map) = ebpf.map_mut("filter_ipv4") {
        if !matches!(map, Map::PerCpuHashMap(_)) {
            bail!("xdp-filter's table of addresses has another type than it had");
        }
        let mut addresses: PerCpuHashMap<_, u32, u64> = PerCpuHashMap::try_from(map)?;
        for number in 0..ADDRESSES {
            addresses.insert(
                (0xc0a8_0000 + number).to_be(),
                PerCpuValues::try_from(vec![FROM; cpus])?,
                0,
            )?;
        }
    }
    Ok(())
}
