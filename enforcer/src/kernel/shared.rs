//! The maps that all generations share: flows, counters, names of the counter slots, the event ring.

use std::path::{Path, PathBuf};

use aya::maps::MapInfo;
use enforcer_common::abi::{REASONS, Stat, WAYS};
use enforcer_common::verdict::Verdict;

use super::error::Error;

/// How large the shared maps are. They are made once and outlive generations, so a change needs `enforcer detach`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Flows that are remembered.
    pub flows: u32,
    /// Flows that are not established yet, kept apart so that a flood of them evicts no other.
    pub half_open: u32,
    /// Packets in parts whose first fragment is remembered.
    pub fragments: u32,
    /// Limits that are being kept: one for each address, pair, rule or VLAN that has sent lately and has one. The table has
    /// room for so many rounded up to a power of two, four at least.
    pub buckets: u32,
    /// Addresses that devices got by DHCP.
    pub bindings: u32,
    /// Address spaces that have numbers.
    pub realm_slots: u32,
    /// Devices with DHCP that have numbers.
    pub device_slots: u32,
    /// Octets of the event ring: a power of two, at least one page.
    pub ring_bytes: u32,
    /// Counter slots of zones.
    pub zone_slots: u32,
    /// Counter slots of rules.
    pub rule_slots: u32,
    /// Counter slots of ports.
    pub port_slots: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            flows: 1 << 17,
            half_open: 1 << 14,
            fragments: 1 << 12,
            buckets: 1 << 15,
            bindings: 1 << 16,
            realm_slots: 64,
            device_slots: 1 << 14,
            ring_bytes: 1 << 20,
            zone_slots: 512,
            rule_slots: 1 << 14,
            port_slots: 64,
        }
    }
}

/// Where the shared maps are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SharedMaps {
    /// Made for this generation alone, gone with it: for tests.
    #[default]
    Private,
    /// Pinned in this directory of a bpffs, made there if missing.
    Pinned(PathBuf),
}

/// Octets of the ring for DHCP messages: some hundred of them, for a ward that is switched on at once.
const DHCP_RING_BYTES: u32 = 1 << 18;

/// Verdicts a port is counted by.
pub const VERDICTS: u32 = Verdict::ALL.len() as u32;

impl Sizes {
    /// Sets of the table of buckets, a power of two.
    pub(super) const fn bucket_sets(&self) -> u32 {
        self.buckets.div_ceil(WAYS as u32).next_power_of_two()
    }

    /// Buckets that the table has room for.
    pub const fn bucket_slots(&self) -> u32 {
        self.bucket_sets() * WAYS as u32
    }

    /// Name and entries of each shared map. `EVENT_LIMITS` has the size that the object gives it.
    pub(super) fn entries(&self) -> [(&'static str, Option<u32>); 20] {
        [
            ("FLOWS", Some(self.flows)),
            ("HALF_OPEN", Some(self.half_open)),
            ("FRAGMENTS", Some(self.fragments)),
            ("BUCKETS", Some(self.bucket_sets())),
            ("BINDINGS", Some(self.bindings)),
            ("TABLE_COUNTERS", None),
            ("PORT_COUNTERS", Some(self.port_slots * VERDICTS)),
            ("REDIRECT_LOSSES", Some(self.port_slots)),
            ("DROP_COUNTERS", Some(self.zone_slots * REASONS as u32 * 2)),
            ("RULE_COUNTERS", Some(self.rule_slots)),
            ("STATS", Some(Stat::COUNT)),
            ("EVENT_LIMITS", None),
            ("EVENTS", Some(self.ring_bytes)),
            ("DHCP", Some(DHCP_RING_BYTES)),
            ("NAMES_REALMS", Some(self.realm_slots)),
            ("NAMES_DEVICES", Some(self.device_slots)),
            ("NAMES_ZONES", Some(self.zone_slots)),
            ("NAMES_RULES", Some(self.rule_slots)),
            ("NAMES_PORTS", Some(self.port_slots)),
            ("META", Some(1)),
        ]
    }
}

/// The setting that rules the size of a map.
fn setting(map: &str) -> Option<&'static str> {
    Some(match map {
        "FLOWS" => "flows",
        "HALF_OPEN" => "half_open",
        "FRAGMENTS" => "fragments",
        "BUCKETS" => "buckets",
        "BINDINGS" => "bindings",
        "NAMES_REALMS" => "realm_slots",
        "NAMES_DEVICES" => "device_slots",
        "EVENTS" => "ring_bytes",
        "DROP_COUNTERS" | "NAMES_ZONES" => "zone_slots",
        "RULE_COUNTERS" | "NAMES_RULES" => "rule_slots",
        "PORT_COUNTERS" | "REDIRECT_LOSSES" | "NAMES_PORTS" => "port_slots",
        _ => return None,
    })
}

/// What makes two maps interchangeable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    kind: u32,
    key: u32,
    value: u32,
    entries: u32,
    flags: u32,
}

impl Shape {
    fn of_object(map: &aya_obj::Map, entries: Option<u32>) -> Self {
        Self {
            kind: map.map_type(),
            key: map.key_size(),
            value: map.value_size(),
            entries: entries.unwrap_or(map.max_entries()),
            flags: map.map_flags(),
        }
    }

    fn of_kernel(info: &MapInfo) -> Result<Self, Error> {
        let kind = info
            .map_type()
            .map_err(|error| Error::aya("reading a pinned map's type", &error))?;
        Ok(Self {
            kind: kind as u32,
            key: info.key_size(),
            value: info.value_size(),
            entries: info.max_entries(),
            flags: info.map_flags(),
        })
    }

    /// One phrase for each difference between what is pinned (`self`) and what is wanted.
    fn differences(self, wanted: Self, map: &str) -> Vec<String> {
        let setting = setting(map)
            .map(|name| format!(" (setting {name})"))
            .unwrap_or_default();
        [
            ("type", self.kind, wanted.kind, ""),
            ("octets a key", self.key, wanted.key, ""),
            ("octets a value", self.value, wanted.value, ""),
            ("entries", self.entries, wanted.entries, setting.as_str()),
            ("flags", self.flags, wanted.flags, ""),
        ]
        .into_iter()
        .filter(|(_, pinned, wanted, _)| pinned != wanted)
        .map(|(what, pinned, wanted, note)| format!("  {map}: {what}: pinned {pinned}, wanted {wanted}{note}"))
        .collect()
    }
}

/// Compares the maps pinned in `directory` with what the object and the sizes ask for. aya would use them unseen.
pub(super) fn check_compatible(object: &[u8], directory: &Path, sizes: &Sizes) -> Result<(), Error> {
    let object =
        aya_obj::Object::parse(object).map_err(|error| Error::Object(format!("it cannot be read: {error}")))?;
    let mut differences = Vec::new();
    for (name, entries) in sizes.entries() {
        let path = directory.join(name);
        if !path.exists() {
            continue;
        }
        let map = object
            .maps
            .get(name)
            .ok_or_else(|| Error::Object(format!("it has no map {name}")))?;
        let info = MapInfo::from_pin(&path)
            .map_err(|error| Error::aya(format!("opening the pinned map {}", path.display()), &error))?;
        let wanted = Shape::of_object(map, entries);
        differences.extend(Shape::of_kernel(&info)?.differences(wanted, name));
    }
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::Incompatible {
        directory: directory.display().to_string(),
        differences,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_named() {
        let pinned = Shape {
            kind: 9,
            key: 40,
            value: 64,
            entries: 1000,
            flags: 0,
        };
        assert!(pinned.differences(pinned, "FLOWS").is_empty());
        let wanted = Shape {
            kind: 1,
            entries: 2000,
            ..pinned
        };
        let lines = pinned.differences(wanted, "FLOWS").join("\n");
        assert!(lines.contains("FLOWS: type: pinned 9, wanted 1"), "{lines}");
        assert!(
            lines.contains("entries: pinned 1000, wanted 2000 (setting flows)"),
            "{lines}"
        );
    }
}
