//! The packet engine in userspace: the same `decide` as in the kernel, on the tables of a [`TableSet`] and on
//! ordinary hash maps for the flows. Runs without root; serves tests, explanations and simulations.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use enforcer_common::abi::{
    Access, Address, Binding, BindingKey, Bucket, BucketKey, Budget, CellBlock, Endpoint, Flow, FlowKey, FlowState,
    FragmentKey, FragmentRecord, Host, Lan, Port, ProfileBlock, Rule, ServiceBlock, TrieNode, VlanTable,
    settings_flags,
};
use enforcer_common::budget::{self, Charge};
use enforcer_common::classify;
use enforcer_common::frame::Frame;
use enforcer_common::packet::Packet;
use enforcer_common::pipeline::{self, Decision, Progress};
use enforcer_common::tables::{FlowTable, Tables};
use enforcer_common::verdict::DropReason;

use crate::policy::TableSet;

/// Flows in a table, by key.
type Flows = RefCell<HashMap<FlowKey, Rc<Flow>>>;

/// One policy generation with its own flows.
///
/// Unlike the kernel's tables, the flow tables here have no bound: a flow is forgotten when it expires, never to
/// make room.
pub struct Engine {
    tables: TableSet,
    /// Numbers of rules, by name.
    slots: HashMap<String, u32>,
    ports: Vec<Port>,
    flags: u32,
    generation: u32,
    idle_seconds: [u32; 8],
    established: Flows,
    half_open: Flows,
    fragments: RefCell<HashMap<FragmentKey, FragmentRecord>>,
    buckets: RefCell<HashMap<BucketKey, Rc<Bucket>>>,
    accesses: Vec<Access>,
    /// The number of a device is its place in `tables.dynamic`.
    bindings: HashMap<BindingKey, Binding>,
    tick_nanos: u64,
}

impl Engine {
    /// An engine for `tables`. The slot of an interface in `ports` is its index, cut to the length of `ports`, which
    /// is a power of two.
    ///
    /// # Panics
    /// When it is not.
    pub fn new(tables: TableSet, ports: Vec<Port>) -> Self {
        assert!(ports.len().is_power_of_two(), "the port table is indexed by a mask");
        let mut engine = Self {
            tables,
            slots: HashMap::new(),
            ports,
            flags: settings_flags::FLOWS,
            generation: 1,
            idle_seconds: FlowState::ALL.map(FlowState::default_idle_seconds),
            established: Flows::default(),
            half_open: Flows::default(),
            fragments: RefCell::default(),
            buckets: RefCell::default(),
            accesses: Vec::new(),
            bindings: HashMap::new(),
            tick_nanos: 0,
        };
        engine.number_rules();
        engine
    }

    /// Puts a new generation in force, and keeps the flows, as a swap in the kernel does.
    pub fn swap(&mut self, tables: TableSet) {
        self.tables = tables;
        self.number_rules();
        self.generation += 1;
    }

    /// Gives rules their numbers, by which their budgets are kept, stable by name. Records of one rule share one.
    fn number_rules(&mut self) {
        for (rule, name) in self.tables.rules.iter_mut().zip(&self.tables.names.rules) {
            let next = self.slots.len() as u32;
            rule.slot = *self.slots.entry(name.name.clone()).or_insert(next);
        }
    }

    /// Keeps flows, or decides every frame alone.
    pub fn track_flows(&mut self, track: bool) {
        self.flags = if track { settings_flags::FLOWS } else { 0 };
    }

    /// Makes the clock tick every so many nanoseconds, as the kernel's does; it is exact by default.
    pub fn set_tick(&mut self, nanos: u64) {
        self.tick_nanos = nanos;
    }

    /// Management access to the gateway, as the configuration gives it.
    pub fn set_accesses(&mut self, accesses: Vec<Access>) {
        self.accesses = accesses;
    }

    /// Gives an address to a device: `device` is its place in [`TableSet::dynamic`]. It replaces an earlier one of the key.
    pub fn bind(&mut self, key: BindingKey, device: u32, expires: u64) {
        let binding = Binding {
            expires,
            device,
            reserved: 0,
        };
        self.bindings.insert(key, binding);
    }

    /// The tables in force, without what was added to them.
    pub fn into_tables(self) -> TableSet {
        self.tables
    }

    /// The tables in force.
    pub fn tables(&self) -> &TableSet {
        &self.tables
    }

    /// Decides a frame that came in by interface `ifindex` at `now`, in nanoseconds of any clock that does not jump.
    pub fn decide(&self, frame: &[u8], ifindex: u32, now: u64) -> (Decision, Packet) {
        self.decide_frame(frame, ifindex, now)
    }

    /// The same for a frame of which not all octets may be at hand.
    pub fn decide_frame(&self, frame: &(impl Frame + ?Sized), ifindex: u32, now: u64) -> (Decision, Packet) {
        let (mut packet, mut progress) = (Packet::default(), Progress::new());
        pipeline::decide(frame, ifindex, now, self, &mut packet, &mut progress);
        (progress.decision, packet)
    }

    /// Forgets flows, fragments and what was charged to budgets.
    pub fn forget(&mut self) {
        for flows in [&mut self.established, &mut self.half_open] {
            flows.get_mut().clear();
        }
        self.fragments.get_mut().clear();
        self.buckets.get_mut().clear();
    }

    /// The flows of a table, in no particular order.
    pub fn flows(&self, table: FlowTable) -> Vec<(FlowKey, Rc<Flow>)> {
        self.flow_table(table)
            .borrow()
            .iter()
            .map(|(key, flow)| (*key, Rc::clone(flow)))
            .collect()
    }

    fn flow_table(&self, table: FlowTable) -> &Flows {
        match table {
            FlowTable::Established => &self.established,
            FlowTable::HalfOpen => &self.half_open,
        }
    }
}

impl Tables for Engine {
    type FlowRef = Rc<Flow>;
    type BucketRef = Rc<Bucket>;
    type FragmentRef = Box<FragmentRecord>;

    fn flags(&self) -> u32 {
        self.flags
    }
    fn generation(&self) -> u32 {
        self.generation
    }
    fn port_mask(&self) -> u32 {
        self.ports.len() as u32 - 1
    }
    fn row_blocks(&self) -> u32 {
        self.tables.row_blocks
    }
    fn column_blocks(&self) -> u32 {
        self.tables.column_blocks
    }
    fn accesses(&self) -> u32 {
        self.accesses.len() as u32
    }
    fn idle_nanos(&self, state: FlowState) -> u64 {
        u64::from(self.idle_seconds[state as usize]) * 1_000_000_000
    }

    fn port(&self, index: u32) -> Option<&Port> {
        self.ports.get(index as usize)
    }
    fn access(&self, index: u32) -> Option<&Access> {
        self.accesses.get(index as usize)
    }
    fn vlans(&self, index: u32) -> Option<&VlanTable> {
        self.tables.vlans.get(index as usize)
    }
    fn lan(&self, index: u32) -> Option<&Lan> {
        self.tables.lans.get(index as usize)
    }
    fn node(&self, index: u32) -> Option<&TrieNode> {
        self.tables.trie.get(index as usize)
    }
    fn host(&self, index: u32) -> Option<&Host> {
        self.tables.hosts.get(index as usize)
    }
    fn endpoint(&self, index: u32) -> Option<&Endpoint> {
        self.tables.endpoints.get(index as usize)
    }
    fn binding(&self, key: &BindingKey) -> Option<Binding> {
        self.bindings.get(key).copied()
    }
    fn bound(&self, realm: u16, family: u8, address: &Address, now: u64) -> u32 {
        classify::bound(self, realm, family, address, now)
    }
    fn home(&self, lan: &Lan, family: u8, address: &Address) -> u16 {
        classify::home(self, lan, family, address)
    }
    fn dynamic(&self, device: u32) -> Option<u32> {
        let device = self.tables.dynamic.get(device as usize);
        Some(device.map_or(0, |device| device.endpoint))
    }
    fn row(&self, index: u32) -> Option<u32> {
        self.tables.rows.get(index as usize).copied()
    }
    fn profiles(&self, index: u32) -> Option<&ProfileBlock> {
        self.tables.profiles.get(index as usize)
    }
    fn protocol(&self, protocol: u8) -> Option<u32> {
        Some(self.tables.protocols[usize::from(protocol)])
    }
    fn services(&self, index: u32) -> Option<&ServiceBlock> {
        self.tables.services.get(index as usize)
    }
    fn column(&self, index: u32) -> Option<u32> {
        self.tables.columns.get(index as usize).copied()
    }
    fn cells(&self, index: u32) -> Option<&CellBlock> {
        self.tables.cells.get(index as usize)
    }
    fn rule(&self, index: u32) -> Option<&Rule> {
        self.tables.rules.get(index as usize)
    }

    fn flow(&self, table: FlowTable, key: &FlowKey) -> Option<Rc<Flow>> {
        self.flow_table(table).borrow().get(key).cloned()
    }
    fn insert_flow(&self, table: FlowTable, key: &FlowKey, flow: &Flow) -> bool {
        self.flow_table(table).borrow_mut().insert(*key, Rc::new(flow.clone()));
        true
    }
    fn remove_flow(&self, table: FlowTable, key: &FlowKey) {
        self.flow_table(table).borrow_mut().remove(key);
    }

    fn tick_nanos(&self) -> u64 {
        self.tick_nanos
    }
    fn budget(&self, index: u32) -> Option<&Budget> {
        self.tables.budgets.get(index as usize)
    }
    fn bucket(&self, key: &BucketKey, _now: u64) -> Option<Rc<Bucket>> {
        Some(Rc::clone(self.buckets.borrow_mut().entry(*key).or_default()))
    }
    fn spend(&self, packet: &Packet, charge: Charge, now: u64) -> DropReason {
        budget::spend(self, packet, charge, now)
    }

    fn fragment(&self, key: &FragmentKey) -> Option<Box<FragmentRecord>> {
        self.fragments.borrow().get(key).copied().map(Box::new)
    }
    fn insert_fragment(&self, key: &FragmentKey, record: &FragmentRecord, _replaces: bool) {
        self.fragments.borrow_mut().insert(*key, *record);
    }
}
