//! `[tables]`: how large the maps are that outlive a policy.

use serde::Deserialize;
use toml::Spanned;

use super::file::Check;
use crate::kernel::Sizes;

/// What one map may take of the kernel's memory, in entries.
const ENTRIES_MAX: u32 = 1 << 24;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct TablesFile {
    flows: Option<Spanned<u32>>,
    half_open: Option<Spanned<u32>>,
    fragments: Option<Spanned<u32>>,
    buckets: Option<Spanned<u32>>,
    bindings: Option<Spanned<u32>>,
    realm_slots: Option<Spanned<u32>>,
    device_slots: Option<Spanned<u32>>,
    ring_bytes: Option<Spanned<u32>>,
    zone_slots: Option<Spanned<u32>>,
    rule_slots: Option<Spanned<u32>>,
    port_slots: Option<Spanned<u32>>,
}

impl Check<'_> {
    /// The sizes of the shared maps.
    pub(super) fn sizes(&mut self, file: &TablesFile) -> Sizes {
        let default = Sizes::default();
        let page = rustix::param::page_size() as u32;
        let ring_bytes = match &file.ring_bytes {
            Some(bytes) if !bytes.get_ref().is_power_of_two() || !(page..=1 << 28).contains(bytes.get_ref()) => {
                let help = format!("a power of two from {page} (a page) to {}", 1 << 28);
                self.wrong(bytes, format!("the ring cannot have {} octets", bytes.get_ref()), &help);
                default.ring_bytes
            }
            bytes => bytes.as_ref().map_or(default.ring_bytes, |bytes| *bytes.get_ref()),
        };
        Sizes {
            flows: self.entries(file.flows.as_ref(), default.flows, ENTRIES_MAX),
            half_open: self.entries(file.half_open.as_ref(), default.half_open, ENTRIES_MAX),
            fragments: self.entries(file.fragments.as_ref(), default.fragments, ENTRIES_MAX),
            buckets: self.entries(file.buckets.as_ref(), default.buckets, ENTRIES_MAX),
            bindings: self.entries(file.bindings.as_ref(), default.bindings, ENTRIES_MAX),
            realm_slots: self.entries(file.realm_slots.as_ref(), default.realm_slots, 1 << 12),
            device_slots: self.entries(file.device_slots.as_ref(), default.device_slots, 1 << 20),
            ring_bytes,
            zone_slots: self.entries(file.zone_slots.as_ref(), default.zone_slots, 1 << 14),
            rule_slots: self.entries(file.rule_slots.as_ref(), default.rule_slots, 1 << 20),
            port_slots: self.entries(file.port_slots.as_ref(), default.port_slots, 1 << 12),
        }
    }

    fn entries(&mut self, entries: Option<&Spanned<u32>>, default: u32, most: u32) -> u32 {
        match entries {
            None => default,
            Some(entries) if (1..=most).contains(entries.get_ref()) => *entries.get_ref(),
            Some(entries) => {
                let message = format!("a table cannot have {} entries", entries.get_ref());
                self.wrong(entries, message, &format!("1 to {most}"));
                default
            }
        }
    }
}
