//! The maps. Private ones belong to one generation and are sized at load; shared ones are pinned and outlive it.
//!
//! `enforcer_common::abi` explains what they hold.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, DevMap, HashMap, LruHashMap, PerCpuArray, RingBuf};
use enforcer_common::abi::{
    self, Access, Binding, BindingKey, Bucket, BucketKey, Budget, CellBlock, Counter, DirectTable, EVENT_BUCKETS,
    Endpoint, Flow, FlowKey, FragmentKey, FragmentRecord, Host, Lan, Meta, Name, PeerSource, Port, ProfileBlock, Rule,
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
    reserved: 0,
    column_blocks: 0,
    flags: 0,
    event_interval: 0,
    idle_seconds: [0; 8],
    masks: [0; 16],
};

/// A table that is the one entry of its map, so that its address is a constant and a look-up is an addition, where one in
/// an array map of many entries goes by the stack and through a comparison. One element here; the loader makes room for
/// the others.
pub(crate) struct Direct<V, const TABLE: usize>(UnsafeCell<MaybeUninit<V>>);

// SAFETY: the kernel program only reads it, and the controller writes it before the program runs.
unsafe impl<V, const TABLE: usize> Sync for Direct<V, TABLE> {}

impl<V, const TABLE: usize> Direct<V, TABLE> {
    const fn new() -> Self {
        Self(UnsafeCell::new(MaybeUninit::zeroed()))
    }

    /// The element at `index`, which the mask keeps inside: the compiler of policies makes no other index. So there is
    /// no way on which it is missing, which the verifier would follow too.
    #[inline(always)]
    pub(crate) fn at(&'static self, index: u32) -> &'static V {
        // SAFETY: a valid, aligned static, `TABLE` being a code; volatile, because the loader replaces its content.
        let mask = unsafe {
            (&raw const SETTINGS.masks)
                .cast::<u32>()
                .wrapping_add(TABLE)
                .read_volatile()
        };
        // SAFETY: the loader makes no table of more elements. Marks in the upper bits of an index need no mask of their own.
        unsafe { core::hint::assert_unchecked(mask < 1 << 30) };
        let start = opaque(self.0.get().cast::<V>());
        let element = start.wrapping_add((index & mask) as usize);
        // SAFETY: the loader makes room for as many elements as the mask tells, and writes them whole. Told that the address
        // is not null, the compiler asks no more whether it is.
        unsafe {
            core::hint::assert_unchecked(!element.is_null());
            &*element
        }
    }
}

/// An address that the compiler takes for any: it must not reckon with the one element that it sees.
#[inline(always)]
fn opaque<V>(mut start: *mut V) -> *mut V {
    #[cfg(target_arch = "bpf")]
    // SAFETY: a copy of a register to itself.
    unsafe {
        core::arch::asm!("{0} = {0}", inout(reg) start, options(nomem, nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        start = core::hint::black_box(start);
    }
    start
}

// Private to a generation. One entry here; the controller sets the real size at load.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.PORTS")]
pub(crate) static PORTS: Direct<Port, { DirectTable::Ports as usize }> = Direct::new();
/// Management access to the gateway itself.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.ACCESSES")]
pub(crate) static ACCESSES: Direct<Access, { DirectTable::Accesses as usize }> = Direct::new();
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.VLANS")]
pub(crate) static VLANS: Direct<VlanTable, { DirectTable::Vlans as usize }> = Direct::new();
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.LANS")]
pub(crate) static LANS: Direct<Lan, { DirectTable::Lans as usize }> = Direct::new();
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.TRIE")]
pub(crate) static TRIE: Direct<TrieNode, { DirectTable::Trie as usize }> = Direct::new();
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.HOSTS")]
pub(crate) static HOSTS: Direct<Host, { DirectTable::Hosts as usize }> = Direct::new();
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.ENDPOINTS")]
pub(crate) static ENDPOINTS: Direct<Endpoint, { DirectTable::Endpoints as usize }> = Direct::new();
/// Endpoints of the devices that get their addresses by DHCP, by their number.
#[map]
pub(crate) static DYNAMIC: Array<u32> = Array::with_max_entries(1, 0);
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.ZONES")]
pub(crate) static ZONES: Direct<Zone, { DirectTable::Zones as usize }> = Direct::new();
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.ROWS")]
pub(crate) static ROWS: Direct<u32, { DirectTable::Rows as usize }> = Direct::new();
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.PROFILES")]
pub(crate) static PROFILES: Direct<ProfileBlock, { DirectTable::Profiles as usize }> = Direct::new();
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.PROTOCOLS")]
pub(crate) static PROTOCOLS: Direct<u32, { DirectTable::Protocols as usize }> = Direct::new();
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.SERVICES")]
pub(crate) static SERVICES: Direct<ServiceBlock, { DirectTable::Services as usize }> = Direct::new();
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.COLUMNS")]
pub(crate) static COLUMNS: Direct<u32, { DirectTable::Columns as usize }> = Direct::new();
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.CELLS")]
pub(crate) static CELLS: Direct<CellBlock, { DirectTable::Cells as usize }> = Direct::new();
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.RULES")]
pub(crate) static RULES: Direct<Rule, { DirectTable::Rules as usize }> = Direct::new();
/// Inline mode: the interfaces that frames leave by.
#[map]
pub(crate) static PEERS: DevMap = DevMap::with_max_entries(1, 0);
/// Beside each entry of `PEERS`, whose frames leave by it.
#[map]
pub(crate) static PEER_SOURCES: Array<PeerSource> = Array::with_max_entries(1, 0);

#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.BUDGETS")]
pub(crate) static BUDGETS: Direct<Budget, { DirectTable::Budgets as usize }> = Direct::new();

// Shared by all generations.
#[map]
pub(crate) static FLOWS: LruHashMap<FlowKey, Flow> = LruHashMap::with_max_entries(1, 0);
#[map]
pub(crate) static HALF_OPEN: LruHashMap<FlowKey, Flow> = LruHashMap::with_max_entries(1, 0);
#[map]
pub(crate) static FRAGMENTS: LruHashMap<FragmentKey, FragmentRecord> = LruHashMap::with_max_entries(4096, 0);
#[map]
pub(crate) static BUCKETS: LruHashMap<BucketKey, Bucket> = LruHashMap::with_max_entries(4096, 0);
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
