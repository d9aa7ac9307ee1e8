//! The kernel's table of bindings, shared by all generations, and the numbers that its entries are made of.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;

use aya::maps::{Array, HashMap as KernelMap, MapData, MapError};
use enforcer_common::abi::{Binding, BindingKey, Name};

use super::Ignored;
use super::book::{Book, Held};
use crate::kernel::generation::typed;
use crate::kernel::{Error, Generation, SlotNames, slots};

/// The table.
pub(super) struct Table(KernelMap<MapData, BindingKey, Binding>);

/// Numbers of realms and devices, stable while names stay in the policy.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    realms: HashMap<String, u16>,
    devices: HashMap<String, u32>,
}

impl Numbers {
    pub(super) fn of(slots: &SlotNames) -> Self {
        let realms = slots.realms.iter();
        Self {
            realms: realms.map(|(name, slot)| (name.clone(), *slot as u16)).collect(),
            devices: slots.devices.iter().cloned().collect(),
        }
    }

    /// The key of an address; `None` in a realm that has no number.
    pub(super) fn key(&self, held: &Held) -> Option<BindingKey> {
        Some(BindingKey {
            address: [0, 0, 0, held.address.into()],
            realm: *self.realms.get(&held.realm)?,
            family: 4,
            reserved: 0,
        })
    }

    /// The entry of a device.
    pub(super) fn entry(&self, device: &str, held: &Held) -> Option<(BindingKey, Binding)> {
        let binding = Binding {
            expires: held.expires,
            device: *self.devices.get(device)?,
            reserved: 0,
        };
        Some((self.key(held)?, binding))
    }
}

impl Table {
    /// The table of a loaded generation.
    pub(super) fn open(generation: &Generation) -> Result<Self, Error> {
        Ok(Self(typed(generation.map("BINDINGS")?, "BINDINGS")?))
    }

    /// Writes an entry.
    pub(super) fn set(&mut self, key: &BindingKey, binding: &Binding) -> Result<(), Ignored> {
        self.0.insert(key, binding, 0).map_err(|error| {
            if is(&error, libc::E2BIG) {
                return Ignored::TableFull;
            }
            tracing::error!("writing BINDINGS: {error}");
            Ignored::TableError
        })
    }

    /// Removes an entry, if it is there.
    pub(super) fn remove(&mut self, key: &BindingKey) {
        match self.0.remove(key) {
            Err(error) if !is(&error, libc::ENOENT) => tracing::error!("removing from BINDINGS: {error}"),
            _ => {}
        }
    }

    /// Makes the table hold what the book says, and nothing else. Returns the devices that it has no room for.
    pub(super) fn sync(&mut self, book: &Book, numbers: &Numbers) -> Result<Vec<(String, Ignored)>, MapError> {
        let there = self.0.iter().collect::<Result<HashMap<_, _>, _>>()?;
        let entries = book.iter();
        let wanted: HashMap<_, _> = entries
            .filter_map(|(device, held)| {
                let (key, binding) = numbers.entry(device, held)?;
                Some((key, (binding, device)))
            })
            .collect();
        for key in there.keys().filter(|key| !wanted.contains_key(key)) {
            self.remove(key);
        }
        let mut refused = Vec::new();
        for (key, (binding, device)) in &wanted {
            if there.get(key) != Some(binding)
                && let Err(reason) = self.set(key, binding)
            {
                refused.push(((*device).to_owned(), reason));
            }
        }
        Ok(refused)
    }
}

/// What is pinned of an earlier controller: devices, by the names that it knew them by, and what they have.
pub(super) fn pinned(maps: &Path) -> Result<Vec<(String, Held)>, Error> {
    if !maps.join("BINDINGS").exists() {
        return Ok(Vec::new());
    }
    let realms = names(maps, "NAMES_REALMS")?;
    let devices = names(maps, "NAMES_DEVICES")?;
    let table: KernelMap<_, BindingKey, Binding> = typed(open(maps, "BINDINGS")?, "BINDINGS")?;
    let mut held = Vec::new();
    for entry in &table {
        let (key, binding) = entry.map_err(|error| Error::aya("reading BINDINGS", &error))?;
        let names = (devices.get(binding.device as usize), realms.get(usize::from(key.realm)));
        let (4, (Some(device), Some(realm))) = (key.family, names) else {
            continue;
        };
        held.push((
            device.clone(),
            Held {
                realm: realm.clone(),
                address: Ipv4Addr::from(key.address[3]),
                expires: binding.expires,
            },
        ));
    }
    Ok(held)
}

fn names(maps: &Path, map: &str) -> Result<Vec<String>, Error> {
    let map_of_names: Array<_, Name> = typed(open(maps, map)?, map)?;
    let names = map_of_names.iter().map(|name| name.map(|name| slots::decode(&name)));
    names
        .collect::<Result<_, _>>()
        .map_err(|error| Error::aya(format!("reading {map}"), &error))
}

fn open(maps: &Path, map: &str) -> Result<MapData, Error> {
    MapData::from_pin(maps.join(map)).map_err(|error| Error::aya(format!("opening {map}"), &error))
}

/// Whether that is the system error at the root.
fn is(error: &MapError, code: i32) -> bool {
    crate::kernel::error::errno(error) == Some(code) || (code == libc::ENOENT && matches!(error, MapError::KeyNotFound))
}
