//! The engine's [`Tables`] on kernel maps.

use aya_ebpf::helpers::generated::bpf_jiffies64;
use aya_ebpf::maps::LruHashMap;
use enforcer_common::abi::{
    CellBlock, Endpoint, Flow, FlowKey, FlowState, FragmentKey, FragmentRecord, Host, Lan, Port, ProfileBlock, Rule,
    ServiceBlock, Stat, TrieNode, VlanTable, Zone,
};
use enforcer_common::tables::{FlowTable, Tables};

use crate::maps;
use crate::report::count;

/// Reads one field of the read-only globals. The verifier knows its value and drops the branches that it rules out.
macro_rules! setting {
    ($field:ident) => {
        // SAFETY: a valid, aligned static; volatile, because the loader replaces its content.
        unsafe { (&raw const crate::maps::SETTINGS.$field).read_volatile() }
    };
}
pub(crate) use setting;

/// Nanoseconds of the tick clock: as coarse as the kernel's tick, but free, where a clock read costs more than a
/// policy decision.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper takes no arguments and is always available to XDP programs.
    unsafe { bpf_jiffies64() }.wrapping_mul(setting!(tick_nanos))
}

/// The maps of this program instance.
pub(crate) struct KernelTables;

#[inline(always)]
fn flows(table: FlowTable) -> &'static LruHashMap<FlowKey, Flow> {
    match table {
        FlowTable::Established => &maps::FLOWS,
        FlowTable::HalfOpen => &maps::HALF_OPEN,
    }
}

impl Tables for KernelTables {
    type FlowRef = &'static Flow;

    #[inline(always)]
    fn flags(&self) -> u32 {
        setting!(flags)
    }
    #[inline(always)]
    fn generation(&self) -> u32 {
        setting!(generation)
    }
    #[inline(always)]
    fn port_mask(&self) -> u32 {
        setting!(port_mask)
    }
    #[inline(always)]
    fn row_blocks(&self) -> u32 {
        setting!(row_blocks)
    }
    #[inline(always)]
    fn column_blocks(&self) -> u32 {
        setting!(column_blocks)
    }
    #[inline(always)]
    fn idle_nanos(&self, state: FlowState) -> u64 {
        // `FlowState` has eight codes, as many as the array has elements.
        let seconds = (&raw const maps::SETTINGS.idle_seconds)
            .cast::<u32>()
            .wrapping_add(state as usize & 7);
        // SAFETY: inside of the array, by the mask; volatile, because the loader replaces its content.
        u64::from(unsafe { seconds.read_volatile() }) * 1_000_000_000
    }

    #[inline(always)]
    fn port(&self, index: u32) -> Option<&Port> {
        maps::PORTS.get(index)
    }
    #[inline(always)]
    fn vlans(&self, index: u32) -> Option<&VlanTable> {
        maps::VLANS.get(index)
    }
    #[inline(always)]
    fn lan(&self, index: u32) -> Option<&Lan> {
        maps::LANS.get(index)
    }
    #[inline(always)]
    fn node(&self, index: u32) -> Option<&TrieNode> {
        maps::TRIE.get(index)
    }
    #[inline(always)]
    fn host(&self, index: u32) -> Option<&Host> {
        maps::HOSTS.get(index)
    }
    #[inline(always)]
    fn endpoint(&self, index: u32) -> Option<&Endpoint> {
        maps::ENDPOINTS.get(index)
    }
    #[inline(always)]
    fn zone(&self, index: u32) -> Option<&Zone> {
        maps::ZONES.get(index)
    }
    #[inline(always)]
    fn row(&self, index: u32) -> Option<u32> {
        maps::ROWS.get(index).copied()
    }
    #[inline(always)]
    fn profiles(&self, index: u32) -> Option<&ProfileBlock> {
        maps::PROFILES.get(index)
    }
    #[inline(always)]
    fn protocol(&self, protocol: u8) -> Option<u32> {
        maps::PROTOCOLS.get(u32::from(protocol)).copied()
    }
    #[inline(always)]
    fn services(&self, index: u32) -> Option<&ServiceBlock> {
        maps::SERVICES.get(index)
    }
    #[inline(always)]
    fn column(&self, index: u32) -> Option<u32> {
        maps::COLUMNS.get(index).copied()
    }
    #[inline(always)]
    fn cells(&self, index: u32) -> Option<&CellBlock> {
        maps::CELLS.get(index)
    }
    #[inline(always)]
    fn rule(&self, index: u32) -> Option<&Rule> {
        maps::RULES.get(index)
    }

    #[inline(always)]
    fn flow(&self, table: FlowTable, key: &FlowKey) -> Option<&'static Flow> {
        // SAFETY: elements of a preallocated map stay mapped, and RCU keeps this one from being handed out anew
        // while the program runs. Fields that others write are `Shared`.
        flows(table).get_ptr(key).map(|flow| unsafe { &*flow })
    }
    #[inline(always)]
    fn insert_flow(&self, table: FlowTable, key: &FlowKey, flow: &Flow) {
        match flows(table).insert(key, flow, 0) {
            Ok(()) => count(Stat::FlowInserted),
            Err(_) => count(Stat::FlowInsertFailed),
        }
    }
    #[inline(always)]
    fn remove_flow(&self, table: FlowTable, key: &FlowKey) {
        if flows(table).remove(key).is_ok() {
            count(Stat::FlowRemoved);
        }
    }

    #[inline(always)]
    fn fragment(&self, key: &FragmentKey) -> Option<FragmentRecord> {
        // SAFETY: as for `flow`; a record that is replaced while it is read has the same first fragment's fields.
        maps::FRAGMENTS.get_ptr(key).map(|record| unsafe { record.read() })
    }
    #[inline(always)]
    fn insert_fragment(&self, key: &FragmentKey, record: &FragmentRecord) {
        if maps::FRAGMENTS.insert(key, record, 0).is_err() {
            count(Stat::FlowInsertFailed);
        }
    }
}
