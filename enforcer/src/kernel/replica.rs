//! A second instance of a running program, to ask what it makes of a frame: with copies of the tables that it runs on, with
//! state of its own, and with an event for every decision. What runs does not notice.

use std::collections::HashMap as Named;
use std::os::fd::AsFd as _;

use aya::maps::{Array, HashMap, Map, MapData, MapInfo, RingBuf};
use aya::programs::{TestRun as _, TestRunOptions};
use enforcer_common::abi::{Binding, BindingKey, DirectTable, Event, Lan, settings_flags};

use super::direct::{DIRECT_TABLES, section};
use super::error::Error;
use super::generation::{Generation, LoadOptions, typed};
use super::shared::{SharedMaps, Sizes};
use super::sys;

/// Entries of its own tables of state: enough for one frame.
const FEW: u32 = 64;
/// A second instance of a running program.
pub struct Replica {
    generation: Generation,
    events: RingBuf<MapData>,
    bindings: Vec<(BindingKey, Binding)>,
    lans: Vec<Lan>,
    dynamic: Vec<u32>,
}

impl Replica {
    /// Loads it beside the program with this number, which runs on the policy, the ports and the sizes of `options`.
    ///
    /// # Errors
    /// When the program runs on tables of another shape than these options make.
    pub fn load(program: u32, options: &LoadOptions<'_>) -> Result<Self, Error> {
        let running = maps_of(program)?;
        let sizes = Sizes {
            flows: FEW,
            half_open: FEW,
            fragments: FEW,
            buckets: FEW,
            ..options.sizes
        };
        let generation = Generation::load(&LoadOptions {
            flags: options.flags | settings_flags::TRACE,
            shared: SharedMaps::Private,
            sizes,
            ..options.clone()
        })?;
        let events = typed(generation.map("EVENTS")?, "EVENTS")?;
        let mut replica = Self {
            generation,
            events,
            bindings: Vec::new(),
            lans: Vec::new(),
            dynamic: Vec::new(),
        };
        // By the size of these a policy is told from another. Rules and what follows are those that the replica was loaded with.
        for name in &DIRECT_TABLES[..=DirectTable::Cells as usize] {
            replica.copy(&running, name, &section(name))?;
        }
        // The kernel forgets the maps of code that the settings make unreachable.
        if running.contains_key("DYNAMIC") {
            replica.copy(&running, "DYNAMIC", "DYNAMIC")?;
        }
        replica.lans = sys::read_first(
            replica.generation.map("LANS")?.fd().as_fd(),
            options.tables.lans.len().max(1).next_power_of_two(),
        )
        .map_err(|error| Error::system("reading table LANS", error))?;
        let dynamic: Array<MapData, u32> = typed(replica.generation.map("DYNAMIC")?, "DYNAMIC")?;
        replica.dynamic = dynamic.iter().flatten().collect();
        replica.take_bindings(&running)?;
        Ok(replica)
    }

    /// Copies a table, octet by octet.
    fn copy(&mut self, running: &Named<String, MapInfo>, name: &'static str, map: &str) -> Result<(), Error> {
        let from = open(running, map)?;
        let to = self.generation.map(name)?;
        let shape = |map: &MapData| map.info().map(|info| (info.value_size(), info.max_entries()));
        let failed = |error| Error::aya(format!("map {map}"), &error);
        let (found, made) = (shape(&from).map_err(failed)?, shape(&to).map_err(failed)?);
        if found != made {
            return Err(Error::Environment(format!(
                "the running program's table {name} has {found:?} octets and entries, where the policy in force compiles to {made:?}: a rule \
                 has expired since, or [[port]] or [tables] in enforcer.toml have changed. Reload, or restart the enforcer"
            )));
        }
        let (octets, entries) = found;
        let copying = |error| Error::system(format!("copying table {name}"), error);
        for entry in 0..entries {
            let value: Vec<u8> = sys::read_entry(from.fd().as_fd(), entry, octets as usize).map_err(copying)?;
            sys::update_entry(to.fd().as_fd(), entry, &value).map_err(copying)?;
        }
        Ok(())
    }

    /// Copies the addresses that devices have got by DHCP.
    fn take_bindings(&mut self, running: &Named<String, MapInfo>) -> Result<(), Error> {
        if !running.contains_key("BINDINGS") {
            return Ok(());
        }
        let failed = |error| Error::aya("map BINDINGS", &error);
        let from: HashMap<MapData, BindingKey, Binding> = typed_hash(open(running, "BINDINGS")?)?;
        let mut to: HashMap<MapData, BindingKey, Binding> = typed_hash(self.generation.map("BINDINGS")?)?;
        for entry in &from {
            let (key, binding) = entry.map_err(failed)?;
            to.insert(key, binding, 0).map_err(failed)?;
            self.bindings.push((key, binding));
        }
        Ok(())
    }

    /// The addresses by DHCP at the moment of the load: with the slots of the kernel for realms and devices.
    pub fn bindings(&self) -> &[(BindingKey, Binding)] {
        &self.bindings
    }

    /// The LANs as the kernel has them, with the slots of their realms.
    pub fn lans(&self) -> &[Lan] {
        &self.lans
    }

    /// The endpoints of devices with DHCP, by slot.
    pub fn dynamic(&self) -> &[u32] {
        &self.dynamic
    }

    /// What the program makes of a frame that comes in by an interface of this network namespace.
    pub fn ask(&mut self, frame: &[u8], ifindex: u32) -> Result<Event, Error> {
        let mut context = [0; 24];
        // data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        for (field, value) in [0, frame.len() as u32, 0, ifindex, 0, 0_u32].into_iter().enumerate() {
            context[field * 4..][..4].copy_from_slice(&value.to_ne_bytes());
        }
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.ctx_in = Some(&context);
        let run = self.generation.program()?.test_run(options);
        run.map_err(|error| Error::aya("asking the program", &error))?;
        let record = self.events.next();
        let event = record.and_then(|record| Event::decode(&record));
        event.ok_or_else(|| Error::Object("the program decided, and sent no event of it".into()))
    }
}

/// The maps of a program, by their names.
fn maps_of(program: u32) -> Result<Named<String, MapInfo>, Error> {
    let failed = |error| Error::aya(format!("program {program}"), &error);
    let gone = || {
        Error::Environment(format!(
            "program {program} is gone: another policy was put in force; try again"
        ))
    };
    let ids = sys::program_info(program).ok_or_else(gone)?.map_ids().map_err(failed)?;
    let infos = ids.unwrap_or_default().into_iter().flat_map(MapInfo::from_id);
    Ok(infos
        .filter_map(|info| Some((info.name_as_str()?.to_owned(), info)))
        .collect())
}

fn open(running: &Named<String, MapInfo>, name: &str) -> Result<MapData, Error> {
    let info = running.get(name).ok_or_else(|| {
        Error::Environment(format!(
            "the running program has no map {name}: another version of the enforcer loaded it"
        ))
    })?;
    MapData::from_id(info.id()).map_err(|error| Error::aya(format!("map {name}"), &error))
}

fn typed_hash(map: MapData) -> Result<HashMap<MapData, BindingKey, Binding>, Error> {
    HashMap::try_from(Map::HashMap(map)).map_err(|error| Error::aya("map BINDINGS", &error))
}
