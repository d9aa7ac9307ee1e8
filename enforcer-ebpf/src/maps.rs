//! The maps. Private ones belong to one generation and are sized at load; shared ones are pinned and outlive it.
//!
//! `enforcer_common::abi` explains what they hold.

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, DevMap, HashMap, LruHashMap, PerCpuArray, RingBuf};
use enforcer_common::abi::{
    self, Access, Binding, BindingKey, Bucket, BucketKey, Budget, CellBlock, Counter, EVENT_BUCKETS, Endpoint, Flow,
    FlowKey, FragmentKey, FragmentRecord, Host, Lan, Meta, Name, PeerSource, Port, ProfileBlock, Rule, ServiceBlock,
    Settings, Stat, StateTable, TrieNode, VlanTable, Zone,
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
};

// Private to a generation. One entry here; the controller sets the real size at load.
#[map]
pub(crate) static PORTS: Array<Port> = Array::with_max_entries(1, 0);
/// Management access to the gateway itself.
#[map]
pub(crate) static ACCESSES: Array<Access> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static VLANS: Array<VlanTable> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static LANS: Array<Lan> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static TRIE: Array<TrieNode> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static HOSTS: Array<Host> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static ENDPOINTS: Array<Endpoint> = Array::with_max_entries(1, 0);
/// Endpoints of the devices that get their addresses by DHCP, by their number.
#[map]
pub(crate) static DYNAMIC: Array<u32> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static ZONES: Array<Zone> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static ROWS: Array<u32> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static PROFILES: Array<ProfileBlock> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static PROTOCOLS: Array<u32> = Array::with_max_entries(256, 0);
#[map]
pub(crate) static SERVICES: Array<ServiceBlock> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static COLUMNS: Array<u32> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static CELLS: Array<CellBlock> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static RULES: Array<Rule> = Array::with_max_entries(1, 0);
/// Inline mode: the interfaces that frames leave by.
#[map]
pub(crate) static PEERS: DevMap = DevMap::with_max_entries(1, 0);
/// Beside each entry of `PEERS`, whose frames leave by it.
#[map]
pub(crate) static PEER_SOURCES: Array<PeerSource> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static BUDGETS: Array<Budget> = Array::with_max_entries(1, 0);

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
