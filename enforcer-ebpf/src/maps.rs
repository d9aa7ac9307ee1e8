//! The maps. Private ones belong to one generation and are sized at load; shared ones are pinned and outlive it.
//!
//! `enforcer_common::abi` explains what they hold.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, DevMap, HashMap, LruHashMap, PerCpuArray, RingBuf};
use enforcer_common::abi::{
    self, Access, Binding, BindingKey, BucketSet, Budget, CellBlock, Counter, DirectTable, EVENT_BUCKETS, Endpoint,
    Flow, FlowKey, FragmentKey, FragmentRecord, Host, Lan, Meta, Name, PeerSource, Port, ProfileBlock, Rule,
    ServiceBlock, Settings, Stat, StateTable, TrieNode, VlanTable, Zone,
};
use enforcer_common::options::Walk;
use enforcer_common::packet::Packet;
use enforcer_common::pipeline::Progress;
use enforcer_common::shared::Shared;

/// Filled in by the controller before the load. Always read with `read_volatile`, or the compiler would fold the
/// zeroes that stand here into the code.
#[unsafe(no_mangle)]
pub(crate) static SETTINGS: Settings = Settings {
    tick_nanos: 0,
    generation: 0,
    port_mask: 0,
    row_blocks: 0,
    accesses: 0,
    bucket_mask: 0,
    column_blocks: 0,
    flags: 0,
    event_interval: 0,
    idle_seconds: [0; 8],
    bucket_secret: [0; 12],
};

/// A table that is the one entry of its map, so that its address is a constant and a look-up is an addition, where one in
/// an array map of many entries goes by the stack and through a comparison. One element here; the loader makes room for
/// the others.
#[repr(transparent)]
struct Direct<V>(UnsafeCell<MaybeUninit<V>>);

// SAFETY: the kernel program only reads it, and the controller writes it before the program runs.
unsafe impl<V> Sync for Direct<V> {}

/// The index, kept inside of a table by a mask that the loader writes into this very instruction
/// ([`abi::MASK_PLACEHOLDER`]). The compiler of policies makes no other index, so there is no way on which an element is
/// missing, which the verifier would follow too.
#[inline(always)]
fn masked<const TABLE: u32>(mut index: u32) -> usize {
    #[cfg(target_arch = "bpf")]
    // SAFETY: arithmetic on a register.
    unsafe {
        core::arch::asm!(
            "{0} &= {1}",
            inout(wreg) index,
            const abi::MASK_PLACEHOLDER | TABLE,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        index &= abi::MASK_PLACEHOLDER | TABLE;
    }
    // SAFETY: the loader makes no table of more elements. Marks in the upper bits of an index need no mask of their own.
    unsafe { core::hint::assert_unchecked(index < 1 << 30) };
    index as usize
}

/// Defines a table and the look-up in it.
macro_rules! direct {
    ($($(#[$doc:meta])* $table:ident in $section:literal: $at:ident -> $element:ty, $code:ident;)+) => {$(
        #[unsafe(no_mangle)]
        #[unsafe(link_section = $section)]
        static $table: Direct<$element> = Direct(UnsafeCell::new(MaybeUninit::zeroed()));

        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $at(index: u32) -> &'static $element {
            let start: *const $element;
            #[cfg(target_arch = "bpf")]
            // SAFETY: loads a constant, the address of the table. By hand, because the compiler must not reckon with the
            // one element that it sees.
            unsafe {
                core::arch::asm!(
                    "{0} = {1} ll",
                    out(reg) start,
                    sym $table,
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
            #[cfg(not(target_arch = "bpf"))]
            {
                start = core::hint::black_box($table.0.get().cast());
            }
            let element = start.wrapping_add(masked::<{ DirectTable::$code as u32 }>(index));
            // SAFETY: the loader makes room for as many elements as the mask tells, and writes them whole. Told that the
            // address is not null, the compiler asks no more whether it is.
            unsafe {
                core::hint::assert_unchecked(!element.is_null());
                &*element
            }
        }
    )+};
}

// Private to a generation. One entry here; the controller sets the real size at load.
direct! {
    PORTS in ".bss.PORTS": port -> Port, Ports;
    /// Management access to the gateway itself.
    ACCESSES in ".bss.ACCESSES": access -> Access, Accesses;
    VLANS in ".bss.VLANS": vlans -> VlanTable, Vlans;
    LANS in ".bss.LANS": lan -> Lan, Lans;
    TRIE in ".bss.TRIE": node -> TrieNode, Trie;
    HOSTS in ".bss.HOSTS": host -> Host, Hosts;
    ENDPOINTS in ".bss.ENDPOINTS": endpoint -> Endpoint, Endpoints;
    ZONES in ".bss.ZONES": zone -> Zone, Zones;
    ROWS in ".bss.ROWS": row -> u32, Rows;
    PROFILES in ".bss.PROFILES": profiles -> ProfileBlock, Profiles;
    PROTOCOLS in ".bss.PROTOCOLS": protocol -> u32, Protocols;
    SERVICES in ".bss.SERVICES": services -> ServiceBlock, Services;
    COLUMNS in ".bss.COLUMNS": column -> u32, Columns;
    CELLS in ".bss.CELLS": cells -> CellBlock, Cells;
    RULES in ".bss.RULES": rule -> Rule, Rules;
    BUDGETS in ".bss.BUDGETS": budget -> Budget, Budgets;
}

/// Endpoints of the devices that get their addresses by DHCP, by their number.
#[map]
pub(crate) static DYNAMIC: Array<u32> = Array::with_max_entries(1, 0);
/// Inline mode: the interfaces that frames leave by.
#[map]
pub(crate) static PEERS: DevMap = DevMap::with_max_entries(1, 0);
/// Beside each entry of `PEERS`, whose frames leave by it.
#[map]
pub(crate) static PEER_SOURCES: Array<PeerSource> = Array::with_max_entries(1, 0);

// Shared by all generations.
#[map]
pub(crate) static FLOWS: LruHashMap<FlowKey, Flow> = LruHashMap::with_max_entries(1, 0);
#[map]
pub(crate) static HALF_OPEN: LruHashMap<FlowKey, Flow> = LruHashMap::with_max_entries(1, 0);
#[map]
pub(crate) static FRAGMENTS: LruHashMap<FragmentKey, FragmentRecord> = LruHashMap::with_max_entries(4096, 0);
#[map]
pub(crate) static BUCKETS: Array<BucketSet> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static BINDINGS: HashMap<BindingKey, Binding> = HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);
#[map]
pub(crate) static TABLE_COUNTERS: PerCpuArray<u64> =
    PerCpuArray::with_max_entries(abi::TABLE_COUNTERS * StateTable::ALL.len() as u32, 0);
#[map]
pub(crate) static PORT_COUNTERS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(1, 0);
/// By port slot: frames that its partner did not take.
#[map]
pub(crate) static REDIRECT_LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static DROP_COUNTERS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static RULE_COUNTERS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static STATS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Stat::COUNT, 0);
#[map]
pub(crate) static EVENT_LIMITS: Array<Shared<u64>> = Array::with_max_entries(EVENT_BUCKETS, 0);
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);
/// DHCP server messages that passed.
#[map]
pub(crate) static DHCP: RingBuf = RingBuf::with_byte_size(4096, 0);

/// What is known about the frame at hand. In a map, because the verifier forgets the values that it has seen stored
/// there: on the stack, each way through the parser would be followed through the rest of the program (six times as many
/// instructions on Linux 6.18, when it was measured).
pub(crate) struct Scratch {
    pub(crate) packet: Packet,
    pub(crate) progress: Progress,
    pub(crate) walk: Walk,
}

#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's scratch.
#[inline(always)]
pub(crate) fn scratch() -> Option<&'static mut Scratch> {
    // SAFETY: programs do not nest on a CPU, so this is the only reference until the program returns; the caller
    // overwrites what the last frame left, before it reads.
    SCRATCH.get_ptr_mut(0).map(|scratch| unsafe { &mut *scratch })
}

// Written and read by the controller only: what lives in the kernel beside the counters that it explains.
#[map]
pub(crate) static NAMES_ZONES: Array<Name> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static NAMES_REALMS: Array<Name> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static NAMES_DEVICES: Array<Name> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static NAMES_RULES: Array<Name> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static NAMES_PORTS: Array<Name> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static META: Array<Meta> = Array::with_max_entries(1, 0);
