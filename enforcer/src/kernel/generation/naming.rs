//! Which counter slots a generation counts in, and the other numbers that are stable over generations: those of realms, in
//! the keys of flows and buckets, and those of devices with DHCP, in the bindings.

use std::collections::BTreeSet;

use aya::Pod;
use aya::maps::{Array, PerCpuArray, PerCpuValues};
use enforcer_common::abi::{Counter, Name, REASONS};

use super::{Generation, LoadOptions, typed};
use crate::kernel::error::Error;
use crate::kernel::fill::read;
use crate::kernel::shared::VERDICTS;
use crate::kernel::slots::{self, Assignment};

/// The names that a generation counts by, with their slots, each list in the order of the policy's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotNames {
    /// By zone number.
    pub zones: Vec<(String, u32)>,
    /// By rule id.
    pub rules: Vec<(String, u32)>,
    /// In the order of the configuration.
    pub ports: Vec<(String, u32)>,
    /// By realm number.
    pub realms: Vec<(String, u32)>,
    /// In the order of [`TableSet::dynamic`](crate::policy::TableSet::dynamic).
    pub devices: Vec<(String, u32)>,
}

impl Generation {
    /// Gives every zone, rule and port a counter slot by its name.
    pub(super) fn assign_slots(&mut self, options: &LoadOptions<'_>) -> Result<(), Error> {
        let names = &options.tables.names;
        let zones: Vec<&str> = names.zones.iter().map(String::as_str).collect();
        let rules: Vec<&str> = names.rules.iter().map(|rule| rule.name.as_str()).collect();
        let realms: Vec<&str> = names.realms.iter().map(String::as_str).collect();
        let devices = &options.tables.dynamic;
        let devices: Vec<&str> = devices.iter().map(|device| device.name.as_str()).collect();
        let ports: Vec<&str> = options.ports.iter().map(|port| port.name.as_str()).collect();
        let none = SlotNames::default();
        let running = options.running.unwrap_or(&none);
        let zone_counters = REASONS as u32 * 2;
        self.slots = SlotNames {
            zones: self.slots_of(&ZONES, &zones, &running.zones, zone_counters)?,
            rules: self.slots_of(&RULES, &rules, &running.rules, 1)?,
            ports: self.slots_of(&PORTS, &ports, &running.ports, VERDICTS)?,
            realms: self.slots_of(&REALMS, &realms, &running.realms, 0)?,
            devices: self.slots_of(&DEVICES, &devices, &running.devices, 0)?,
        };
        Ok(())
    }

    /// Slots of one kind of name; `width` counters belong to a slot.
    fn slots_of(
        &mut self,
        kind: &Kind,
        names: &[&str],
        running: &[(String, u32)],
        width: u32,
    ) -> Result<Vec<(String, u32)>, Error> {
        let mut map: Array<_, Name> = typed(self.map(kind.names)?, kind.names)?;
        let held: Vec<String> = read(&map, kind.names, map.len() as usize)?
            .iter()
            .map(slots::decode)
            .collect();
        let running: BTreeSet<&str> = running.iter().map(|(name, _)| name.as_str()).collect();
        let assignment = slots::assign(&held, names, &running, kind.what, kind.setting)?;
        if let Some(counters) = kind.counters {
            self.zero::<Counter>(counters, &assignment, width)?;
        }
        if let Some(sums) = kind.sums {
            self.zero::<u64>(sums, &assignment, 1)?;
        }
        for (slot, name) in &assignment.taken {
            map.set(*slot, slots::encode(name), 0)
                .map_err(|error| Error::aya(format!("writing {}", kind.names), &error))?;
        }
        Ok(names
            .iter()
            .map(|&name| name.to_owned())
            .zip(assignment.slots)
            .collect())
    }

    /// Sets the counters of recycled slots to zero.
    fn zero<V: Pod + Default>(&self, map: &str, assignment: &Assignment, width: u32) -> Result<(), Error> {
        if assignment.recycled.is_empty() {
            return Ok(());
        }
        let mut counters: PerCpuArray<_, V> = typed(self.map(map)?, map)?;
        let cpus = aya::util::nr_cpus().map_err(|(path, error)| Error::system(format!("reading {path}"), error))?;
        for slot in &assignment.recycled {
            for index in slot * width..(slot + 1) * width {
                let zero = PerCpuValues::try_from(vec![V::default(); cpus])
                    .map_err(|error| Error::system("counting CPUs", error))?;
                counters
                    .set(index, zero, 0)
                    .map_err(|error| Error::aya(format!("writing {map}"), &error))?;
            }
        }
        Ok(())
    }
}

/// A kind of name that counters are kept by.
struct Kind {
    names: &'static str,
    /// A map with counters.
    counters: Option<&'static str>,
    /// A map with one plain sum a slot.
    sums: Option<&'static str>,
    what: &'static str,
    setting: &'static str,
}

const REALMS: Kind = Kind {
    names: "NAMES_REALMS",
    counters: None,
    sums: None,
    what: "realms",
    setting: "realm_slots",
};
const DEVICES: Kind = Kind {
    names: "NAMES_DEVICES",
    counters: None,
    sums: None,
    what: "devices with DHCP",
    setting: "device_slots",
};
const ZONES: Kind = Kind {
    names: "NAMES_ZONES",
    counters: Some("DROP_COUNTERS"),
    sums: None,
    what: "zones",
    setting: "zone_slots",
};
const RULES: Kind = Kind {
    names: "NAMES_RULES",
    counters: Some("RULE_COUNTERS"),
    sums: None,
    what: "rules",
    setting: "rule_slots",
};
const PORTS: Kind = Kind {
    names: "NAMES_PORTS",
    counters: Some("PORT_COUNTERS"),
    sums: Some("REDIRECT_LOSSES"),
    what: "ports",
    setting: "port_slots",
};
