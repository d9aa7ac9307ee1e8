//! The compiled policy: exactly the tables of one generation, as the engine and the kernel program index them.
//!
//! How they chain together is described in [`enforcer_common::abi`].

use enforcer_common::abi::{
    Budget, CellBlock, Endpoint, Host, Lan, ProfileBlock, Rule, ServiceBlock, TrieNode, VlanTable, Zone,
};
use ipnetwork::IpNetwork;

use super::valid::{Location, VlanId};
use crate::silence::Watch;

/// The tables of one policy generation. Every index inside is within the table that it points to.
///
/// `slot` fields are 0: the controller assigns the counter slots by name when it loads the tables. Likewise, realms are
/// numbered in the order of their names here, and get stable numbers at load; and [`Rule::deadline`] is in nanoseconds of
/// Unix time here, and in those of the tick clock in the kernel.
/// Entry 0 of `zones` is `unknown`, entry 1 is `self`; rule 0 is `default-deny`; endpoint 0 is the unknown address;
/// LAN 0 is nobody's (LAN ids start at 1).
#[derive(Debug, Clone)]
pub struct TableSet {
    /// Table 0 is for the outer (or only) tag, the others for inner tags.
    pub vlans: Vec<VlanTable>,
    /// By LAN id; entry 0 is unused.
    pub lans: Vec<Lan>,
    /// By node number; node 0 answers "unknown" everywhere.
    pub trie: Vec<TrieNode>,
    /// Single addresses under trie entries. May be empty.
    pub hosts: Vec<Host>,
    /// By endpoint id.
    pub endpoints: Vec<Endpoint>,
    /// By zone number.
    pub zones: Vec<Zone>,
    /// Profile block numbers, `row_blocks` a source identity.
    pub rows: Vec<u32>,
    /// By block number.
    pub profiles: Vec<ProfileBlock>,
    /// Destination identities over 256, rounded up: at least 1.
    pub row_blocks: u32,
    /// By IP protocol: a service class, or with `PROTOCOL_PORTS` the first of 256 entries of `services`.
    pub protocols: Box<[u32; 256]>,
    /// By first block of the protocol plus port over 256. May be empty.
    pub services: Vec<ServiceBlock>,
    /// Cell block numbers, `column_blocks` a profile.
    pub columns: Vec<u32>,
    /// Service classes over 256, rounded up: at least 1.
    pub column_blocks: u32,
    /// By block number.
    pub cells: Vec<CellBlock>,
    /// By rule id.
    pub rules: Vec<Rule>,
    /// Limits; entry 0 is "without".
    pub budgets: Vec<Budget>,
    /// Devices that get their addresses by DHCP, by name.
    pub dynamic: Vec<DynamicDevice>,
    /// Promises that traffic comes, for the controller to watch.
    pub watches: Vec<Watch>,
    /// What the numbers mean, for events, metrics and messages.
    pub names: Names,
    /// SHA-256 of the sources: see [`super::ValidPolicy::hash`].
    pub policy_hash: [u8; 32],
}

/// A device that gets its IPv4 address by DHCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicDevice {
    /// Its name.
    pub name: String,
    /// Its hardware address: the `chaddr` of its leases.
    pub mac: [u8; 6],
    /// Its address space, by number.
    pub realm: u16,
    /// The IPv4 subnets of its zone: a lease of another address is not for this policy.
    pub subnets: Vec<IpNetwork>,
    /// Its endpoint, whatever address it has.
    pub endpoint: u32,
}

/// The names behind the numbers of a [`TableSet`].
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// By zone number: `unknown`, `self`, then the declared zones by name.
    pub zones: Vec<String>,
    /// By endpoint id.
    pub endpoints: Vec<EndpointName>,
    /// By rule id: `default-deny`, then the rules by name, then again those that expire, for what stands behind them.
    pub rules: Vec<RuleName>,
    /// By LAN id; entry 0 is empty.
    pub lans: Vec<LanName>,
    /// By realm number.
    pub realms: Vec<String>,
}

/// What an endpoint stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointName {
    /// Zone number.
    pub zone: u16,
    /// The device, when one declares the address.
    pub device: Option<String>,
    /// The most specific declared prefix around its addresses; `None` for unknown and for link-scoped addresses.
    pub prefix: Option<IpNetwork>,
}

/// A rule's name and where it stands in the policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleName {
    /// Name, unique in a policy.
    pub name: String,
    /// `file:line`; empty for `default-deny`.
    pub place: String,
    /// Where the rule stands, for carets; `None` for `default-deny`.
    pub location: Option<Location>,
}

/// What a LAN id stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LanName {
    /// The VLAN tags; `None` for LAN 0.
    pub vlan: Option<VlanId>,
    /// The zones that live there, by number.
    pub zones: Vec<u16>,
}

impl TableSet {
    /// The device of a name that gets its address by DHCP.
    pub fn dynamic_device(&self, name: &str) -> Option<&DynamicDevice> {
        let found = self.dynamic.binary_search_by(|device| device.name.as_str().cmp(name));
        found.ok().and_then(|place| self.dynamic.get(place))
    }

    /// Name and number of entries of each table, in the order of the maps.
    pub fn sizes(&self) -> [(&'static str, usize); 14] {
        [
            ("vlans", self.vlans.len()),
            ("lans", self.lans.len()),
            ("trie", self.trie.len()),
            ("hosts", self.hosts.len()),
            ("endpoints", self.endpoints.len()),
            ("zones", self.zones.len()),
            ("rows", self.rows.len()),
            ("profiles", self.profiles.len()),
            ("protocols", self.protocols.len()),
            ("services", self.services.len()),
            ("columns", self.columns.len()),
            ("cells", self.cells.len()),
            ("rules", self.rules.len()),
            ("budgets", self.budgets.len()),
        ]
    }
}
