//! What the engine looks up, and where it keeps flows: kernel maps in one build, ordinary collections in the other.

use core::ops::Deref;

use crate::abi::{
    Access, Address, Binding, BindingKey, Bucket, BucketKey, Budget, CellBlock, Endpoint, Flow, FlowKey, FlowState,
    FragmentKey, FragmentRecord, Host, Lan, Port, ProfileBlock, Rule, ServiceBlock, TrieNode, VlanTable,
};
use crate::budget::Charge;
use crate::packet::Packet;
use crate::verdict::DropReason;

/// Which of the two flow tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowTable {
    /// Flows that have been answered.
    Established,
    /// Flows that have not: a flood of these evicts none of the others.
    HalfOpen,
}

/// The maps of one policy generation, and the flow tables that all generations share.
///
/// A policy table answers `None` outside of its bounds, which the compiler rules out.
/// [`abi`](crate::abi) explains how the tables hang together.
pub trait Tables {
    /// A flow that stays valid while it is looked at, even when another CPU removes it meanwhile.
    type FlowRef: Deref<Target = Flow>;
    /// A bucket, likewise.
    type BucketRef: Deref<Target = Bucket>;
    /// What a first fragment settled, likewise.
    type FragmentRef: Deref<Target = FragmentRecord>;

    /// Bits of `settings_flags`.
    fn flags(&self) -> u32;
    /// Number of this generation.
    fn generation(&self) -> u32;
    /// `port_mask` of the settings.
    fn port_mask(&self) -> u32;
    /// `row_blocks` of the settings.
    fn row_blocks(&self) -> u32;
    /// `column_blocks` of the settings.
    fn column_blocks(&self) -> u32;
    /// `accesses` of the settings.
    fn accesses(&self) -> u32;
    /// Nanoseconds without a frame after which a flow in `state` is forgotten.
    fn idle_nanos(&self, state: FlowState) -> u64;

    /// A slot of the port table.
    fn port(&self, index: u32) -> Option<&Port>;
    /// Management access to the gateway.
    fn access(&self, index: u32) -> Option<&Access>;
    /// A table of VLAN ids.
    fn vlans(&self, index: u32) -> Option<&VlanTable>;
    /// A LAN.
    fn lan(&self, index: u32) -> Option<&Lan>;
    /// A trie node.
    fn node(&self, index: u32) -> Option<&TrieNode>;
    /// A single address under a trie entry.
    fn host(&self, index: u32) -> Option<&Host>;
    /// An endpoint.
    fn endpoint(&self, index: u32) -> Option<&Endpoint>;
    /// Who got an address by DHCP.
    fn binding(&self, key: &BindingKey) -> Option<Binding>;
    /// The endpoint of a device that gets its address by DHCP; 0 when this generation does not know it.
    fn dynamic(&self, device: u32) -> Option<u32>;
    /// [`classify::bound`](crate::classify::bound) on these tables, which an implementation may put into a function of its
    /// own.
    fn bound(&self, realm: u16, family: u8, address: &Address, now: u64) -> u32;
    /// [`classify::home`](crate::classify::home) on these tables, likewise.
    fn home(&self, lan: &Lan, family: u8, address: &Address) -> u16;
    /// The block of profiles for a source identity and 256 destination identities.
    fn row(&self, index: u32) -> Option<u32>;
    /// A block of profiles.
    fn profiles(&self, index: u32) -> Option<&ProfileBlock>;
    /// The service class of a protocol, or its first block of ports.
    fn protocol(&self, protocol: u8) -> Option<u32>;
    /// A block of service classes.
    fn services(&self, index: u32) -> Option<&ServiceBlock>;
    /// The block of cells for a profile and 256 service classes.
    fn column(&self, index: u32) -> Option<u32>;
    /// A block of cells.
    fn cells(&self, index: u32) -> Option<&CellBlock>;
    /// A rule.
    fn rule(&self, index: u32) -> Option<&Rule>;

    /// The flow with this key.
    fn flow(&self, table: FlowTable, key: &FlowKey) -> Option<Self::FlowRef>;
    /// Enters a flow, in place of one with the same key, and tells whether it could. A failure is counted there, and changes no
    /// verdict.
    fn insert_flow(&self, table: FlowTable, key: &FlowKey, flow: &Flow) -> bool;
    /// Removes a flow, if it is there.
    fn remove_flow(&self, table: FlowTable, key: &FlowKey);

    /// Nanoseconds a tick of the clock: `now` is as coarse.
    fn tick_nanos(&self) -> u64;
    /// A budget.
    fn budget(&self, index: u32) -> Option<&Budget>;
    /// The bucket with this key, a full one if there was none. `None` when it cannot be entered: that is counted
    /// there, and limits nothing.
    fn bucket(&self, key: &BucketKey, now: u64) -> Option<Self::BucketRef>;

    /// Charges a permitted frame: [`budget::spend`](crate::budget::spend) on these tables, which an implementation may
    /// put into a function of its own.
    fn spend(&self, packet: &Packet, charge: Charge, now: u64) -> DropReason;

    /// What the first fragment of a packet settled.
    fn fragment(&self, key: &FragmentKey) -> Option<Self::FragmentRef>;
    /// Remembers a first fragment; `replaces` says that one with this key is there. A failure is counted there, and changes no
    /// verdict.
    fn insert_fragment(&self, key: &FragmentKey, record: &FragmentRecord, replaces: bool);
}
