//! The engine's [`Tables`] on kernel maps.

use aya_ebpf::helpers::generated::bpf_jiffies64;
use aya_ebpf::maps::LruHashMap;
use enforcer_common::abi::{
    Access, Address, Binding, BindingKey, Bucket, BucketKey, Budget, CellBlock, Endpoint, Flow, FlowKey, FlowState,
    FragmentKey, FragmentRecord, Host, Lan, Port, ProfileBlock, Rule, ServiceBlock, StateTable, TrieNode, VlanTable,
    WAYS, table_counter,
};
use enforcer_common::buckets::{self, Before};
use enforcer_common::budget::{self, Charge};
use enforcer_common::classify;
use enforcer_common::concurrency::Activity;
use enforcer_common::packet::Packet;
use enforcer_common::shared::opaque;
use enforcer_common::tables::{FlowTable, Tables};

use enforcer_common::verdict::DropReason;

use crate::maps;
use crate::report::count_table;

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

/// [`budget::spend`] for the packet in the scratch map, with the fields of a [`Charge`], `flags` being `opens`,
/// `answers` and `activity`. Returns the code of the drop reason.
///
/// A global function: the verifier checks it once, for every value of its arguments, instead of once for each way
/// that leads to the call (658,251 instructions when it was inlined).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn enforcer_spend(rule: u32, source: u32, destination: u32, lan: u32, flags: u32) -> u32 {
    let Some(scratch) = maps::scratch() else {
        return DropReason::TableMiss as u32;
    };
    let charge = Charge {
        rule,
        source,
        destination,
        lan,
        opens: flags & 1 != 0,
        answers: flags & 2 != 0,
        activity: Activity::from_code(flags >> 2),
    };
    budget::spend(&KernelTables, &scratch.packet, charge, now()) as u32
}

/// Makes the bucket with this mark in the set with this number; returns its slot, or [`WAYS`] when it could not be made.
///
/// A global function, likewise.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn enforcer_claim(number: u32, mark: u64, now: u64) -> u32 {
    let claimed = maps::BUCKETS.get(number).and_then(|set| buckets::claim(set, mark, now));
    let Some((way, before)) = claimed else {
        entered(StateTable::Buckets, Err(BUSY));
        return WAYS as u32;
    };
    entered(StateTable::Buckets, Ok(()));
    if matches!(before, Before::Past) {
        count_table(StateTable::Buckets, table_counter::REMOVED);
    }
    way as u32
}

/// A word of the secret of the hash of buckets.
#[inline(always)]
fn bucket_secret(word: usize) -> u32 {
    let secret = (&raw const maps::SETTINGS.bucket_secret)
        .cast::<u32>()
        .wrapping_add(word);
    // SAFETY: `buckets::mark` asks for twelve words, as many as there are; volatile, because the loader replaces them.
    unsafe { secret.read_volatile() }
}

/// A function of its own, so that its key takes no stack of the others.
#[inline(never)]
fn bound(realm: u16, family: u8, address: &Address, now: u64) -> u32 {
    classify::bound(&KernelTables, realm, family, address, now)
}

/// Likewise, for the walk through the trie.
#[inline(never)]
fn home(lan: &Lan, family: u8, address: &Address) -> u16 {
    classify::home(&KernelTables, lan, family, address)
}

/// The drop reason that a global function returned. The compiler has looked inside and knows that it is one; the
/// verifier has not, and wants to see the bound checked.
#[inline(always)]
pub(crate) fn reason(code: u32) -> DropReason {
    DropReason::from_code(core::hint::black_box(code) as u8).unwrap_or(DropReason::TableMiss)
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

#[inline(always)]
const fn state_table(table: FlowTable) -> StateTable {
    match table {
        FlowTable::Established => StateTable::Flows,
        FlowTable::HalfOpen => StateTable::HalfOpen,
    }
}

/// Counts an entry made, or the errno of one that could not be made. One that another CPU made meanwhile is neither.
#[inline(always)]
fn entered(table: StateTable, outcome: Result<(), i32>) {
    let counter = match outcome {
        Ok(()) => table_counter::INSERTED,
        Err(EXISTS) => return,
        Err(errno) => (table_counter::FAILED + errno.unsigned_abs()).min(table_counter::FAILED_OTHERWISE),
    };
    count_table(table, counter);
}

/// `-EEXIST`.
const EXISTS: i32 = -17;
/// `-EBUSY`.
const BUSY: i32 = -16;

impl Tables for KernelTables {
    type FlowRef = &'static Flow;
    type BucketRef = &'static Bucket;
    type FragmentRef = &'static FragmentRecord;

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
    fn accesses(&self) -> u32 {
        setting!(accesses)
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
        Some(maps::port(index))
    }
    #[inline(always)]
    fn access(&self, index: u32) -> Option<&Access> {
        Some(maps::access(index))
    }
    #[inline(always)]
    fn vlans(&self, index: u32) -> Option<&VlanTable> {
        Some(maps::vlans(index))
    }
    #[inline(always)]
    fn lan(&self, index: u32) -> Option<&Lan> {
        Some(maps::lan(index))
    }
    #[inline(always)]
    fn node(&self, index: u32) -> Option<&TrieNode> {
        Some(maps::node(index))
    }
    #[inline(always)]
    fn host(&self, index: u32) -> Option<&Host> {
        Some(maps::host(index))
    }
    #[inline(always)]
    fn endpoint(&self, index: u32) -> Option<&Endpoint> {
        Some(maps::endpoint(index))
    }
    #[inline(always)]
    fn binding(&self, key: &BindingKey) -> Option<Binding> {
        // SAFETY: the element stays mapped while the program runs (RCU); the controller replaces it whole.
        maps::BINDINGS.get_ptr(key).map(|binding| unsafe { binding.read() })
    }
    #[inline(always)]
    fn bound(&self, realm: u16, family: u8, address: &Address, now: u64) -> u32 {
        bound(realm, family, address, now)
    }
    #[inline(always)]
    fn home(&self, lan: &Lan, family: u8, address: &Address) -> u16 {
        home(lan, family, address)
    }
    #[inline(always)]
    fn dynamic(&self, device: u32) -> Option<u32> {
        maps::DYNAMIC.get(device).copied()
    }
    #[inline(always)]
    fn row(&self, index: u32) -> Option<u32> {
        Some(*maps::row(index))
    }
    #[inline(always)]
    fn profiles(&self, index: u32) -> Option<&ProfileBlock> {
        Some(maps::profiles(index))
    }
    #[inline(always)]
    fn protocol(&self, protocol: u8) -> Option<u32> {
        Some(*maps::protocol(u32::from(protocol)))
    }
    #[inline(always)]
    fn services(&self, index: u32) -> Option<&ServiceBlock> {
        Some(maps::services(index))
    }
    #[inline(always)]
    fn column(&self, index: u32) -> Option<u32> {
        Some(*maps::column(index))
    }
    #[inline(always)]
    fn cells(&self, index: u32) -> Option<&CellBlock> {
        Some(maps::cells(index))
    }
    #[inline(always)]
    fn rule(&self, index: u32) -> Option<&Rule> {
        Some(maps::rule(index))
    }

    #[inline(always)]
    fn flow(&self, table: FlowTable, key: &FlowKey) -> Option<&'static Flow> {
        // SAFETY: elements of a preallocated map stay mapped, and RCU keeps this one from being handed out anew
        // while the program runs. Fields that others write are `Shared`.
        flows(table).get_ptr(key).map(|flow| unsafe { &*flow })
    }
    #[inline(always)]
    fn insert_flow(&self, table: FlowTable, key: &FlowKey, flow: &Flow) -> bool {
        let outcome = flows(table).insert(key, flow, 0);
        entered(state_table(table), outcome);
        outcome.is_ok()
    }
    #[inline(always)]
    fn remove_flow(&self, table: FlowTable, key: &FlowKey) {
        if flows(table).remove(key).is_ok() {
            count_table(state_table(table), table_counter::REMOVED);
        }
    }

    #[inline(always)]
    fn tick_nanos(&self) -> u64 {
        setting!(tick_nanos)
    }
    #[inline(always)]
    fn budget(&self, index: u32) -> Option<&Budget> {
        Some(maps::budget(index))
    }
    #[inline(always)]
    fn bucket(&self, key: &BucketKey, now: u64) -> Option<&'static Bucket> {
        let mark = buckets::mark(key, bucket_secret);
        let number = buckets::set_number(mark, setting!(bucket_mask));
        let set = maps::BUCKETS.get(number)?;
        let way = match buckets::find(set, mark) {
            Some(way) => way,
            None => match enforcer_claim(number, mark, now) as usize {
                way if way < WAYS => way,
                _ => return None,
            },
        };
        // The compiler knows that it is a slot's number; the verifier is shown.
        let way = opaque(way as u64) as usize & (WAYS - 1);
        Some(&set.slots[way].bucket)
    }
    #[inline(always)]
    fn spend(&self, _packet: &Packet, charge: Charge, _now: u64) -> DropReason {
        let Charge {
            rule,
            source,
            destination,
            lan,
            opens,
            answers,
            activity,
        } = charge;
        let code = enforcer_spend(
            rule,
            source,
            destination,
            lan,
            u32::from(opens) | u32::from(answers) << 1 | (activity as u32) << 2,
        );
        if code == 0 { DropReason::None } else { reason(code) }
    }

    #[inline(always)]
    fn fragment(&self, key: &FragmentKey) -> Option<&'static FragmentRecord> {
        // SAFETY: as for `flow`; a record that is replaced while it is read has the same first fragment's fields.
        maps::FRAGMENTS.get_ptr(key).map(|record| unsafe { &*record })
    }
    #[inline(always)]
    fn insert_fragment(&self, key: &FragmentKey, record: &FragmentRecord, replaces: bool) {
        let outcome = maps::FRAGMENTS.insert(key, record, 0);
        if !replaces || outcome.is_err() {
            entered(StateTable::Fragments, outcome);
        }
    }
}
