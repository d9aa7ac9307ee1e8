//! The address trie: 256-way nodes, the most specific prefix pushed down to the entry where a walk ends.

use std::net::IpAddr;

use enforcer_common::abi::{Address, Host, TRIE_HOST, TRIE_NODE, TrieNode};
use ipnetwork::IpNetwork;
use std::collections::HashMap;

use super::blocks::Blocks;

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
}

/// A prefix with its address at the upper end of the 128 bits, whatever the family.
///
/// The order puts a prefix behind all those that it lies inside of, so that later ones may overwrite earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Prefix {
    pub(super) start: u128,
    pub(super) length: u8,
}

/// What the addresses of a prefix are, unless a longer one says otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaf {
    pub(super) prefix: Prefix,
    pub(super) endpoint: u32,
}

impl Family {
    /// Bits of an address.
    pub(super) fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// From one address to the next, in the upper end of 128 bits.
    pub(super) fn step(self) -> u128 {
        match self {
            Self::V4 => 1 << 96,
            Self::V6 => 1,
        }
    }

    /// The address that stands in the upper end of 128 bits.
    pub(super) fn ip(self, start: u128) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(((start >> 96) as u32).into()),
            Self::V6 => IpAddr::V6(start.into()),
        }
    }

    fn address(self, start: u128) -> Address {
        let word = |shift: u32| (start >> shift) as u32;
        match self {
            Self::V4 => [0, 0, 0, word(96)],
            Self::V6 => [word(96), word(64), word(32), word(0)],
        }
    }
}

impl Prefix {
    pub(super) fn of(network: IpNetwork) -> (Family, Self) {
        let length = network.prefix();
        match network.network() {
            IpAddr::V4(address) => {
                let start = u128::from(u32::from(address)) << 96;
                (Family::V4, Self { start, length })
            }
            IpAddr::V6(address) => {
                let start = u128::from(address);
                (Family::V6, Self { start, length })
            }
        }
    }

    /// Whether another prefix lies inside of this one, or equals it.
    pub(super) fn covers(self, other: Self) -> bool {
        let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
        self.length <= other.length && other.start & mask == self.start
    }

    /// The last address.
    pub(super) fn end(self, family: Family) -> u128 {
        let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
        (self.start | !mask) & !(family.step() - 1)
    }

    /// The byte of the address that a node at some depth looks at.
    fn byte(self, depth: u8) -> usize {
        (self.start >> (120 - 8 * depth)) as usize & 0xff
    }

    /// Whether the prefix ends inside of the byte of a node, so that it fills entries of that node.
    fn ends_at(self, depth: u8) -> bool {
        self.length <= 8 * (depth + 1)
    }
}

/// Nodes and hosts, each stored once.
pub(super) struct Trie {
    nodes: Blocks,
    hosts: Vec<Host>,
    host_numbers: HashMap<(Family, u128, u32, u32), u32>,
}

/// The finished tables.
pub(super) struct Tables {
    pub(super) nodes: Vec<TrieNode>,
    pub(super) hosts: Vec<Host>,
}

/// The root node of an address space, before the link-scoped addresses of one VLAN are laid over it.
pub(super) struct Root {
    family: Family,
    leaves: Vec<Leaf>,
    /// What each entry holds.
    entries: [u32; 256],
    /// What each entry would hold if no prefix were longer than 8.
    short: [u32; 256],
}

impl Trie {
    pub(super) fn new() -> Self {
        Self {
            nodes: Blocks::new(),
            hosts: Vec::new(),
            host_numbers: HashMap::new(),
        }
    }

    pub(super) fn finish(self) -> Tables {
        let nodes = self.nodes.list.into_iter().map(TrieNode).collect();
        Tables {
            nodes,
            hosts: self.hosts,
        }
    }

    /// Builds everything below the root of an address space. The leaves are sorted, and no prefix occurs twice.
    pub(super) fn root(&mut self, family: Family, leaves: Vec<Leaf>) -> Root {
        let mut short = [0; 256];
        paint(&mut short, &leaves, 0);
        let entries = self.entries(family, &leaves, 0, 0);
        Root {
            family,
            leaves,
            entries,
            short,
        }
    }

    /// The node of a root with more leaves laid over it, which win where they are as long or longer.
    pub(super) fn overlay(&mut self, root: &Root, over: &[Leaf]) -> u32 {
        let mut short = root.short;
        paint(&mut short, over, 0);
        let mut entries = root.entries;
        let mut touched = [0; 256];
        paint(
            &mut touched,
            &over
                .iter()
                .map(|leaf| Leaf { endpoint: 1, ..*leaf })
                .collect::<Vec<_>>(),
            0,
        );
        for leaf in over.iter().filter(|leaf| !leaf.prefix.ends_at(0)) {
            touched[leaf.prefix.byte(0)] = 1;
        }
        for byte in (0..256).filter(|&byte| touched[byte] == 1) {
            let mut below = root.below(byte);
            below.extend(
                over.iter()
                    .filter(|leaf| !leaf.prefix.ends_at(0) && leaf.prefix.byte(0) == byte),
            );
            below.sort_by_key(|leaf| leaf.prefix);
            entries[byte] = self.subtree(root.family, &below, 1, short[byte]);
        }
        self.nodes.number(&entries)
    }

    /// The entry for the leaves below one entry of the parent.
    fn subtree(&mut self, family: Family, leaves: &[Leaf], depth: u8, inherited: u32) -> u32 {
        match leaves {
            [] => inherited,
            [leaf] if leaf.prefix.length == family.bits() => {
                let Leaf { prefix, endpoint } = *leaf;
                if endpoint == inherited {
                    return inherited;
                }
                TRIE_HOST | self.host(family, prefix.start, endpoint, inherited)
            }
            _ => {
                let entries = self.entries(family, leaves, depth, inherited);
                if entries.iter().all(|&entry| entry == entries[0]) && entries[0] & TRIE_NODE == 0 {
                    return entries[0];
                }
                TRIE_NODE | self.nodes.number(&entries)
            }
        }
    }

    fn entries(&mut self, family: Family, leaves: &[Leaf], depth: u8, inherited: u32) -> [u32; 256] {
        let mut entries = [inherited; 256];
        let mut rest = leaves;
        while let Some(leaf) = rest.first() {
            if leaf.prefix.ends_at(depth) {
                paint(&mut entries, std::slice::from_ref(leaf), depth);
                rest = &rest[1..];
                continue;
            }
            // Whatever covers this byte has been painted: shorter prefixes come first.
            let byte = leaf.prefix.byte(depth);
            let below = rest.partition_point(|leaf| leaf.prefix.byte(depth) == byte);
            let (group, others) = rest.split_at(below);
            entries[byte] = self.subtree(family, group, depth + 1, entries[byte]);
            rest = others;
        }
        entries
    }

    fn host(&mut self, family: Family, start: u128, endpoint: u32, otherwise: u32) -> u32 {
        let key = (family, start, endpoint, otherwise);
        *self.host_numbers.entry(key).or_insert_with(|| {
            let address = family.address(start);
            self.hosts.push(Host {
                address,
                endpoint,
                otherwise,
            });
            self.hosts.len() as u32 - 1
        })
    }
}

impl Root {
    /// The leaves that are longer than 8 and start with a byte.
    fn below(&self, byte: usize) -> Vec<Leaf> {
        let start = self.leaves.partition_point(|leaf| leaf.prefix.byte(0) < byte);
        let leaves = self.leaves[start..].iter();
        let leaves = leaves.take_while(|leaf| leaf.prefix.byte(0) == byte);
        leaves.filter(|leaf| !leaf.prefix.ends_at(0)).copied().collect()
    }
}

/// Fills the entries of a node at some depth that are covered by leaves which end there.
fn paint(entries: &mut [u32; 256], leaves: &[Leaf], depth: u8) {
    for leaf in leaves.iter().filter(|leaf| leaf.prefix.ends_at(depth)) {
        let first = leaf.prefix.byte(depth);
        let count = 1 << (8 * (depth + 1) - leaf.prefix.length).min(8);
        entries[first..first + count].fill(leaf.endpoint);
    }
}
