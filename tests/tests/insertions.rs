//! Entries of the flow tables that cannot be made: what becomes of the session.

use std::cell::Cell;
use std::rc::Rc;

use enforcer::engine::Engine;
use enforcer_common::abi::{
    Access, Address, Binding, BindingKey, Bucket, BucketKey, Budget, CellBlock, Endpoint, Flow, FlowKey, FlowState,
    FragmentKey, FragmentRecord, Host, Lan, Port, ProfileBlock, Rule, ServiceBlock, TrieNode, VlanTable,
};
use enforcer_common::budget::{self, Charge};
use enforcer_common::packet::Packet;
use enforcer_common::pipeline::{Progress, decide};
use enforcer_common::tables::{FlowTable, Tables};
use enforcer_common::verdict::{DropReason, Verdict};
use enforcer_tests::packet::{packet, tcp_flags};
use enforcer_tests::shapes;

/// The engine's tables, of which one takes no entry for a time.
struct Failing {
    engine: Engine,
    fails: Cell<Option<FlowTable>>,
}

/// What the engine's own tables do.
macro_rules! as_the_engine {
    ($(fn $name:ident(&self $(, $argument:ident: $type:ty)*) -> $result:ty;)+) => {
        $(fn $name(&self $(, $argument: $type)*) -> $result {
            Tables::$name(&self.engine $(, $argument)*)
        })+
    };
}

impl Tables for Failing {
    type FlowRef = Rc<Flow>;
    type BucketRef = Rc<Bucket>;
    type FragmentRef = Box<FragmentRecord>;

    as_the_engine! {
        fn flags(&self) -> u32;
        fn generation(&self) -> u32;
        fn port_mask(&self) -> u32;
        fn row_blocks(&self) -> u32;
        fn column_blocks(&self) -> u32;
        fn accesses(&self) -> u32;
        fn idle_nanos(&self, state: FlowState) -> u64;
        fn port(&self, index: u32) -> Option<&Port>;
        fn access(&self, index: u32) -> Option<&Access>;
        fn vlans(&self, index: u32) -> Option<&VlanTable>;
        fn lan(&self, index: u32) -> Option<&Lan>;
        fn node(&self, index: u32) -> Option<&TrieNode>;
        fn host(&self, index: u32) -> Option<&Host>;
        fn endpoint(&self, index: u32) -> Option<&Endpoint>;
        fn binding(&self, key: &BindingKey) -> Option<Binding>;
        fn dynamic(&self, device: u32) -> Option<u32>;
        fn bound(&self, realm: u16, family: u8, address: &Address, now: u64) -> u32;
        fn home(&self, lan: &Lan, family: u8, address: &Address) -> u16;
        fn row(&self, index: u32) -> Option<u32>;
        fn profiles(&self, index: u32) -> Option<&ProfileBlock>;
        fn protocol(&self, protocol: u8) -> Option<u32>;
        fn services(&self, index: u32) -> Option<&ServiceBlock>;
        fn column(&self, index: u32) -> Option<u32>;
        fn cells(&self, index: u32) -> Option<&CellBlock>;
        fn rule(&self, index: u32) -> Option<&Rule>;
        fn flow(&self, table: FlowTable, key: &FlowKey) -> Option<Rc<Flow>>;
        fn remove_flow(&self, table: FlowTable, key: &FlowKey) -> ();
        fn tick_nanos(&self) -> u64;
        fn budget(&self, index: u32) -> Option<&Budget>;
        fn bucket(&self, key: &BucketKey, now: u64) -> Option<Rc<Bucket>>;
        fn fragment(&self, key: &FragmentKey) -> Option<Box<FragmentRecord>>;
        fn insert_fragment(&self, key: &FragmentKey, record: &FragmentRecord, replaces: bool) -> ();
    }

    fn spend(&self, packet: &Packet, charge: Charge, now: u64) -> DropReason {
        budget::spend(self, packet, charge, now)
    }

    fn insert_flow(&self, table: FlowTable, key: &FlowKey, flow: &Flow) -> bool {
        self.fails.get() != Some(table) && self.engine.insert_flow(table, key, flow)
    }
}

impl Failing {
    fn new(fails: FlowTable) -> Self {
        Self {
            engine: Engine::new(shapes::tables(), shapes::port_table()),
            fails: Cell::new(Some(fails)),
        }
    }

    fn passes(&self, frame: &[u8]) -> bool {
        let (mut packet, mut progress) = (Packet::default(), Progress::new());
        decide(frame, shapes::TRUNK, 1, self, &mut packet, &mut progress);
        progress.decision.verdict == Verdict::Pass
    }

    fn places(&self) -> [usize; 2] {
        [FlowTable::HalfOpen, FlowTable::Established].map(|table| self.engine.flows(table).len())
    }
}

fn pump(flags: u8) -> Vec<u8> {
    packet()
        .vlan(110)
        .ip("10.10.110.86", "10.20.5.10")
        .tcp(8008, 443, flags)
        .build()
        .bytes
}

fn server(flags: u8) -> Vec<u8> {
    packet()
        .vlan(205)
        .ip("10.20.5.10", "10.10.110.86")
        .tcp(443, 8008, flags)
        .build()
        .bytes
}

const SYN: u8 = tcp_flags::SYN;
const ACK: u8 = tcp_flags::ACK;

/// Pitfall 10: an insertion failed for a moment. The flow had left its place among the half-open ones all the same, so that nobody
/// knew of it any more, and the server's data was refused.
#[test]
fn a_flow_that_cannot_move_on_stays_where_it_is_until_it_can() {
    let tables = Failing::new(FlowTable::Established);
    for frame in [pump(SYN), server(SYN | ACK), pump(ACK), server(ACK)] {
        assert!(tables.passes(&frame));
    }
    assert_eq!(tables.places(), [1, 0]);
    tables.fails.set(None);
    assert!(tables.passes(&server(ACK)));
    assert_eq!(tables.places(), [0, 1]);
}

/// A flow that cannot be entered costs its opener nothing; answers wait until it can be.
#[test]
fn a_flow_that_cannot_be_entered_is_entered_by_a_later_frame() {
    let tables = Failing::new(FlowTable::HalfOpen);
    assert!(tables.passes(&pump(SYN)));
    assert!(!tables.passes(&server(SYN | ACK)));
    tables.fails.set(None);
    assert!(tables.passes(&pump(SYN)));
    assert!(tables.passes(&server(SYN | ACK)));
}
