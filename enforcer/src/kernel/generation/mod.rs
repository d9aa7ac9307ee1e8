//! One policy in the kernel: a program instance and its tables.

mod naming;
mod seed;

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use aya::maps::MapData;
use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, EbpfLoader};
use enforcer_common::abi::{self, Access, FlowState, Settings, settings_flags};
use enforcer_common::buckets;

use super::direct::{self, DIRECT_TABLES, fill_direct};
use super::error::{Error, errno};
use super::fill::fill;
use super::inline;
use super::oldest;
use super::pins::Pins;
use super::ports::{self, PortSetup};
use super::shared::{self, SharedMaps, Sizes};
use super::sys;
use super::ticks::TickClock;
use crate::object::OBJECT;
use crate::policy::TableSet;
pub use naming::SlotNames;

/// Tries of a program load that the kernel answers with `EAGAIN` (a signal came while it verified).
const LOAD_TRIES: u32 = 5;

/// What to load. [`LoadOptions::new`] has the values for a test; the controller sets all of them.
#[derive(Clone, Debug)]
pub struct LoadOptions<'a> {
    /// The object file; the embedded one by default.
    pub object: &'a [u8],
    /// The compiled policy.
    pub tables: &'a TableSet,
    /// The ports of the gateway.
    pub ports: &'a [PortSetup],
    /// Number of the generation, from 1.
    pub number: u32,
    /// [`settings_flags`].
    pub flags: u32,
    /// Events a second that one (reason, source zone, destination zone) may send.
    pub event_rate: u32,
    /// Idle seconds after which a flow is forgotten, by `FlowState`.
    pub idle_seconds: [u32; 8],
    /// Sizes of the shared maps.
    pub sizes: Sizes,
    /// Where the shared maps are.
    pub shared: SharedMaps,
    /// Names that the running generation counts by: their slots are not handed out again.
    pub running: Option<&'a SlotNames>,
    /// Management access to the gateway, at most [`ACCESSES`](enforcer_common::abi::ACCESSES).
    pub accesses: &'a [Access],
}

/// Nanoseconds between two events at a rate; 0, for none, at rate 0.
fn event_interval(rate: u32) -> u32 {
    1_000_000_000_u32.checked_div(rate).unwrap_or(0)
}

/// Idle seconds by the code of a `FlowState`.
pub const IDLE_SECONDS: [u32; 8] = {
    let mut seconds = [0; 8];
    let mut code = 0;
    while code < seconds.len() {
        seconds[code] = FlowState::ALL[code].default_idle_seconds();
        code += 1;
    }
    seconds
};

impl<'a> LoadOptions<'a> {
    /// The embedded program with these tables and ports, flows on, all shared maps private.
    pub fn new(tables: &'a TableSet, ports: &'a [PortSetup]) -> Self {
        Self {
            object: OBJECT,
            tables,
            ports,
            number: 1,
            flags: settings_flags::FLOWS,
            event_rate: 20,
            idle_seconds: IDLE_SECONDS,
            sizes: Sizes::default(),
            shared: SharedMaps::Private,
            running: None,
            accesses: &[],
        }
    }

    fn settings(&self, port_mask: u32, bucket_seed: u64) -> Result<Settings, Error> {
        Ok(Settings {
            tick_nanos: TickClock::measure(self.object)?.tick_nanos,
            generation: self.number,
            port_mask,
            row_blocks: self.tables.row_blocks,
            column_blocks: self.tables.column_blocks,
            accesses: self.accesses.len() as u32,
            bucket_mask: self.sizes.bucket_sets() - 1,
            flags: self.flags,
            event_interval: event_interval(self.event_rate),
            idle_seconds: self.idle_seconds,
            bucket_secret: buckets::secret(bucket_seed),
        })
    }

    /// Name, octets an element and elements, a power of two, of each `DirectTable`, in order of their codes.
    fn direct_entries(&self, ports: usize) -> [(&'static str, usize, usize); 16] {
        let t = self.tables;
        let sizes = [
            (size_of::<abi::Port>(), ports),
            (size_of::<abi::VlanTable>(), t.vlans.len()),
            (size_of::<abi::Lan>(), t.lans.len()),
            (size_of::<abi::TrieNode>(), t.trie.len()),
            (size_of::<abi::Host>(), t.hosts.len()),
            (size_of::<abi::Endpoint>(), t.endpoints.len()),
            (size_of::<u32>(), t.rows.len()),
            (size_of::<abi::ProfileBlock>(), t.profiles.len()),
            (size_of::<u32>(), t.protocols.len()),
            (size_of::<abi::ServiceBlock>(), t.services.len()),
            (size_of::<u32>(), t.columns.len()),
            (size_of::<abi::CellBlock>(), t.cells.len()),
            (size_of::<abi::Rule>(), t.rules.len()),
            (size_of::<abi::Zone>(), t.zones.len()),
            (size_of::<abi::Budget>(), t.budgets.len()),
            (size_of::<Access>(), self.accesses.len()),
        ];
        std::array::from_fn(|code| {
            let (size, entries) = sizes[code];
            (DIRECT_TABLES[code], size, entries.max(1).next_power_of_two())
        })
    }

    /// Name and entries of each other private map. A map has at least one entry.
    fn private_entries(&self) -> [(&'static str, u32); 3] {
        [
            ("DYNAMIC", self.sizes.device_slots as usize),
            ("PEERS", inline::entries(self.ports)),
            ("PEER_SOURCES", inline::entries(self.ports)),
        ]
        .map(|(name, entries)| (name, entries.max(1) as u32))
    }
}

/// One policy in the kernel: a verified program with filled tables, attached to nothing by itself.
///
/// Dropping it frees program and tables, unless a link still runs the program.
pub struct Generation {
    ebpf: Ebpf,
    settings: Settings,
    slots: SlotNames,
}

impl Generation {
    /// Loads a program instance beside whatever runs, fills its tables and reads them back.
    ///
    /// Shared state is touched last and only in ways that the running generation does not notice: names of new
    /// zones and rules get slots, counters of recycled slots are set to zero.
    pub fn load(options: &LoadOptions<'_>) -> Result<Self, Error> {
        Self::try_load(options).map_err(oldest::explain)
    }

    fn try_load(options: &LoadOptions<'_>) -> Result<Self, Error> {
        if let SharedMaps::Pinned(directory) = &options.shared {
            shared::check_compatible(options.object, directory, &options.sizes)?;
        }
        let unslotted: Vec<_> = options.ports.iter().map(|port| port.entry(0)).collect();
        let ports = ports::table(&unslotted)?.len();
        let seed = seed::of(&options.shared)?;
        let settings = options.settings(ports as u32 - 1, seed)?;
        let mut ebpf = open(options, &settings, ports)?;
        verify(&mut ebpf)?;
        let mut generation = Self {
            ebpf,
            settings,
            slots: SlotNames::default(),
        };
        seed::keep(&generation, seed)?;
        generation.assign_slots(options)?;
        generation.fill_tables(options)?;
        if options.ports.iter().any(|port| port.peer.is_some()) {
            inline::watch_losses(&mut generation.ebpf);
        }
        Ok(generation)
    }

    /// Number of the generation.
    pub fn number(&self) -> u32 {
        self.settings.generation
    }

    /// The read-only globals that the program was loaded with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The names that it counts by, and their slots.
    pub fn slots(&self) -> &SlotNames {
        &self.slots
    }

    /// The XDP program, for attaching and for test runs.
    pub fn program(&self) -> Result<&Xdp, Error> {
        self.ebpf
            .program("enforcer")
            .ok_or_else(|| Error::Object("it has no program `enforcer`".into()))?
            .try_into()
            .map_err(|error| Error::aya("program `enforcer`", &error))
    }

    /// Another handle of the program.
    pub fn program_fd(&self) -> Result<OwnedFd, Error> {
        let fd = self
            .program()?
            .fd()
            .map_err(|error| Error::aya("program `enforcer`", &error))?;
        fd.as_fd()
            .try_clone_to_owned()
            .map_err(|error| Error::system("duplicating a handle", error))
    }

    /// Pins shared maps again whose pins somebody removed: the next generation would begin with empty ones. Returns their names.
    ///
    /// # Errors
    /// When one cannot be pinned.
    pub fn keep_pinned(&self, pins: &Pins) -> Result<Vec<&'static str>, Error> {
        let names = Sizes::default().entries().map(|(name, _)| name);
        let missing = |name: &&str| fs::symlink_metadata(pins.maps().join(name)).is_err();
        let missing: Vec<_> = names.into_iter().filter(missing).collect();
        if !missing.is_empty() {
            pins.make_folders()?;
        }
        for name in &missing {
            sys::object_pin(self.map(name)?.fd().as_fd(), &pins.maps().join(name))
                .map_err(|error| Error::system(format!("pinning the table {name}"), error))?;
        }
        Ok(missing)
    }

    /// Another handle of a map, for `Array`, `PerCpuArray`, `RingBuf` and so on. It stays valid when the generation
    /// is gone.
    pub fn map(&self, name: &str) -> Result<MapData, Error> {
        use aya::maps::Map;
        let map = self
            .ebpf
            .map(name)
            .or_else(|| self.ebpf.map(&direct::section(name)))
            .ok_or_else(|| Error::Object(format!("it has no map {name}")))?;
        let (Map::Array(data)
        | Map::PerCpuArray(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::RingBuf(data)) = map
        else {
            return Err(Error::Object(format!("map {name} has another type")));
        };
        let fd = data
            .fd()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| Error::system("duplicating a handle", error))?;
        MapData::from_fd(fd).map_err(|error| Error::aya(format!("map {name}"), &error))
    }

    /// The whole object, for what nothing else here offers (the log ring of a debug build).
    pub fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    fn fill_tables(&mut self, options: &LoadOptions<'_>) -> Result<(), Error> {
        let tables = options.tables;
        let mut zones = tables.zones.clone();
        for (zone, (_, slot)) in zones.iter_mut().zip(&self.slots.zones) {
            zone.slot = *slot;
        }
        let mut rules = tables.rules.clone();
        for (rule, (_, slot)) in rules.iter_mut().zip(&self.slots.rules) {
            rule.slot = *slot;
        }
        let ports: Vec<_> = options
            .ports
            .iter()
            .zip(&self.slots.ports)
            .map(|(port, (_, slot))| port.entry(*slot as u16))
            .collect();
        let clock = TickClock::measure(options.object)?;
        for rule in &mut rules {
            rule.deadline = clock.of_unix(rule.deadline);
        }
        let mut lans = tables.lans.clone();
        for lan in &mut lans {
            lan.realm = self.slots.realms[usize::from(lan.realm)].1 as u16;
        }
        let mut dynamic = vec![0; self.slots.devices.iter().map(|(_, slot)| slot + 1).max().unwrap_or(0) as usize];
        for (device, (_, slot)) in tables.dynamic.iter().zip(&self.slots.devices) {
            dynamic[*slot as usize] = device.endpoint;
        }
        let ebpf = &mut self.ebpf;
        fill_direct(ebpf, "ACCESSES", options.accesses)?;
        fill(ebpf, "DYNAMIC", &dynamic)?;
        fill_direct(ebpf, "PORTS", &ports::table(&ports)?)?;
        fill_direct(ebpf, "VLANS", &tables.vlans)?;
        fill_direct(ebpf, "LANS", &lans)?;
        fill_direct(ebpf, "TRIE", &tables.trie)?;
        fill_direct(ebpf, "HOSTS", &tables.hosts)?;
        fill_direct(ebpf, "ENDPOINTS", &tables.endpoints)?;
        fill_direct(ebpf, "ZONES", &zones)?;
        fill_direct(ebpf, "ROWS", &tables.rows)?;
        fill_direct(ebpf, "PROFILES", &tables.profiles)?;
        fill_direct(ebpf, "PROTOCOLS", tables.protocols.as_slice())?;
        fill_direct(ebpf, "SERVICES", &tables.services)?;
        fill_direct(ebpf, "COLUMNS", &tables.columns)?;
        fill_direct(ebpf, "CELLS", &tables.cells)?;
        fill_direct(ebpf, "RULES", &rules)?;
        fill_direct(ebpf, "BUDGETS", &tables.budgets)?;
        inline::fill(ebpf, options.ports, &self.slots.ports)
    }
}

/// A map handle as a map of a type.
pub(crate) fn typed<M>(map: MapData, name: &str) -> Result<M, Error>
where
    M: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
{
    aya::maps::Map::from_map_data(map)
        .and_then(M::try_from)
        .map_err(|error| Error::aya(format!("map {name}"), &error))
}

/// Makes or opens the maps and prepares the programs.
fn open(options: &LoadOptions<'_>, settings: &Settings, ports: usize) -> Result<Ebpf, Error> {
    let mut loader = EbpfLoader::new();
    loader.override_global("SETTINGS", settings, true);
    for (name, entries) in options.private_entries() {
        loader.map_max_entries(name, entries);
    }
    for (name, entries) in options.sizes.entries() {
        if let Some(entries) = entries {
            loader.map_max_entries(name, entries);
        }
        if let SharedMaps::Pinned(directory) = &options.shared {
            loader.map_pin_path(name, pin_path(directory, name));
        }
    }
    let object = direct::sized(options.object, &options.direct_entries(ports))?;
    loader
        .load(&object)
        .map_err(|error| {
            let refused = Error::aya("making the kernel tables", &error);
            match errno(&error) {
                Some(libc::E2BIG | libc::ENOMEM) => Error::Environment(format!(
                    "{refused}. The kernel has no room for this table: lower its size under [tables] in enforcer.toml, or make the policy smaller, or free memory"
                )),
                _ => refused,
            }
        })
}

fn pin_path(directory: &Path, name: &str) -> std::borrow::Cow<'static, Path> {
    directory.join(name).into()
}

/// Has the kernel verify the program. Tried again a few times when a signal interrupted the verifier.
fn verify(ebpf: &mut Ebpf) -> Result<(), Error> {
    let program: &mut Xdp = ebpf
        .program_mut("enforcer")
        .ok_or_else(|| Error::Object("it has no program `enforcer`".into()))?
        .try_into()
        .map_err(|error| Error::aya("program `enforcer`", &error))?;
    let mut tries = 1;
    loop {
        match program.load() {
            Ok(()) => return Ok(()),
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.raw_os_error() == Some(libc::EAGAIN) && tries < LOAD_TRIES =>
            {
                tries += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(ProgramError::LoadError { io_error, verifier_log }) => {
                return Err(refused(io_error, &verifier_log.to_string()));
            }
            Err(error) => return Err(Error::aya("loading the program", &error)),
        }
    }
}

/// The verifier's refusal, with the end of its log, where it says why.
fn refused(error: std::io::Error, log: &str) -> Error {
    if error.raw_os_error() == Some(libc::EPERM) && log.trim().is_empty() {
        return Error::system("loading the program", error);
    }
    let lines: Vec<&str> = log.lines().collect();
    let log = lines[lines.len().saturating_sub(30)..].join("\n");
    Error::Verifier { error, log }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_shows_the_end_of_the_verifiers_log() {
        let log = (0..100).fold(String::new(), |log, line| log + &format!("line {line}\n"));
        let text = refused(std::io::Error::from_raw_os_error(libc::EACCES), &log).to_string();
        assert!(text.contains("line 70\n") && text.ends_with("line 99"), "{text}");
        assert!(!text.contains("line 69\n") && text.contains("uname -r"), "{text}");
        // A refusal without a word of the verifier is one of rights.
        let text = refused(std::io::Error::from_raw_os_error(libc::EPERM), "").to_string();
        assert!(text.contains("CAP_BPF"), "{text}");
    }

    #[test]
    fn a_rate_becomes_an_interval() {
        assert_eq!([0, 1, 20].map(event_interval), [0, 1_000_000_000, 50_000_000]);
    }
}
