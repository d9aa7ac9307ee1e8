//! The table of ports: interface index to settings, by a mask that keeps the indices apart.

use enforcer_common::abi::{Port, control, port_flags};

/// Entries that the table may grow to: 528 octets each.
const LARGEST_TABLE: u32 = 1 << 16;

/// A port of the gateway, as the kernel program has to see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSetup {
    /// The interface's name, under which the port is counted.
    pub name: String,
    /// The interface's index.
    pub ifindex: u32,
    /// Outer VLAN ids that are allowed.
    pub vlans: VlanSet,
    /// The VLAN of untagged frames; 0 refuses them.
    pub native_vlan: u16,
    /// Nothing is dropped here, only counted as `would-drop`.
    pub monitor: bool,
    /// What comes in an allowed VLAN that no zone declares passes, counted as `would-drop`.
    pub pass_undeclared: bool,
    /// Bits of [`control`]: link-local control protocols that pass.
    pub control: u16,
    /// Inline mode: where permitted frames leave; `None` passes them to the gateway's stack.
    pub peer: Option<Peer>,
    /// The side of an inline pair that leads to the routers: source addresses of every VLAN come by it.
    pub uplink: bool,
}

/// Where the frames of a port in inline mode leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The port's entry in the device map, its own: its number in the configuration.
    pub key: u32,
    /// Index of the paired port's interface; 0 while there is none, and frames are lost.
    pub ifindex: u32,
}

impl PortSetup {
    /// A port that allows all VLANs and the usual control protocols.
    pub fn new(name: impl Into<String>, ifindex: u32) -> Self {
        Self {
            name: name.into(),
            ifindex,
            vlans: VlanSet::all(),
            native_vlan: 0,
            monitor: false,
            pass_undeclared: false,
            control: control::LLDP | control::STP | control::LACP | control::EAPOL,
            peer: None,
            uplink: false,
        }
    }

    /// The entry of the kernel table. `slot` is the port's counter slot.
    pub fn entry(&self, slot: u16) -> Port {
        Port {
            ifindex: self.ifindex,
            slot,
            flags: self.flags(),
            control: self.control,
            native_vlan: self.native_vlan,
            peer: self.peer.map_or(0, |peer| peer.key + 1),
            vlans: self.vlans.0,
        }
    }

    fn flags(&self) -> u16 {
        let bits = [
            (self.monitor, port_flags::MONITOR),
            (self.uplink, port_flags::UPLINK),
            (self.pass_undeclared, port_flags::PASS_UNDECLARED),
        ];
        bits.iter()
            .filter(|(set, _)| *set)
            .fold(0, |flags, (_, bit)| flags | bit)
    }
}

/// A set of VLAN ids, 0 to 4095.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanSet([u64; 64]);

impl Default for VlanSet {
    fn default() -> Self {
        Self([0; 64])
    }
}

impl VlanSet {
    /// Every id that a tag can name, 1 to 4094.
    pub fn all() -> Self {
        (1..=4094).collect()
    }

    /// Adds an id; only its low 12 bits count.
    pub fn insert(&mut self, id: u16) {
        self.0[usize::from(id >> 6 & 63)] |= 1 << (id & 63);
    }

    /// Whether the id is in the set.
    pub fn contains(&self, id: u16) -> bool {
        self.0[usize::from(id >> 6 & 63)] >> (id & 63) & 1 == 1
    }

    /// The ids, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0..4096).filter(|&id| self.contains(id))
    }
}

impl FromIterator<u16> for VlanSet {
    fn from_iter<T: IntoIterator<Item = u16>>(ids: T) -> Self {
        let mut set = Self::default();
        ids.into_iter().for_each(|id| set.insert(id));
        set
    }
}

/// Interface indices that no table keeps apart.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Two ports are one interface.
    #[error("interface index {0} is configured twice: two [[port]] sections name one interface")]
    Twice(u32),
    /// The indices agree in too many low bits.
    #[error(
        "the interface indices {0:?} agree in their low 16 bits, which the port table cannot keep apart: delete one of the interfaces and make it anew, so that it gets another index"
    )]
    Collision(Vec<u32>),
}

/// Lays out the table: entry `ifindex & (length - 1)` is the port's, all others are empty. The length is the smallest
/// power of two that gives every port an entry of its own.
pub fn table(ports: &[Port]) -> Result<Vec<Port>, PortError> {
    let mut sorted: Vec<u32> = ports.iter().map(|port| port.ifindex).collect();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(PortError::Twice(pair[0]));
    }
    let mut length = (ports.len().max(1) as u32).next_power_of_two();
    while length <= LARGEST_TABLE {
        if let Some(table) = placed(ports, length) {
            return Ok(table);
        }
        length *= 2;
    }
    Err(PortError::Collision(sorted))
}

/// The table of this length, unless two ports meet in it.
fn placed(ports: &[Port], length: u32) -> Option<Vec<Port>> {
    let mut table = vec![PortSetup::new("", 0).entry(0); length as usize];
    for empty in &mut table {
        empty.vlans = [0; 64];
        empty.control = 0;
    }
    for port in ports {
        let entry = &mut table[(port.ifindex & (length - 1)) as usize];
        if entry.ifindex != 0 {
            return None;
        }
        *entry = *port;
    }
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(ifindex: u32) -> Port {
        PortSetup::new(format!("port{ifindex}"), ifindex).entry(0)
    }

    #[test]
    fn every_port_is_found_by_its_masked_index() {
        for indices in [&[1][..], &[3, 4, 5], &[2, 66, 1026], &[7, 1031, 4103]] {
            let ports: Vec<_> = indices.iter().map(|&index| port(index)).collect();
            let table = table(&ports).unwrap();
            assert!(table.len().is_power_of_two());
            for &index in indices {
                assert_eq!(table[index as usize & (table.len() - 1)].ifindex, index);
            }
            let used = table.iter().filter(|entry| entry.ifindex != 0).count();
            assert_eq!(used, indices.len());
        }
    }

    #[test]
    fn an_empty_table_has_one_empty_entry() {
        let table = table(&[]).unwrap();
        assert_eq!(table.len(), 1);
        assert_eq!((table[0].ifindex, table[0].control, table[0].vlans), (0, 0, [0; 64]));
    }

    #[test]
    fn indices_that_cannot_be_kept_apart_are_refused() {
        assert_eq!(table(&[port(9), port(9)]), Err(PortError::Twice(9)));
        let far = [port(5), port(5 + (1 << 16))];
        assert_eq!(table(&far), Err(PortError::Collision(vec![5, 65541])));
    }

    #[test]
    fn a_pair_is_in_the_entry() {
        let port = PortSetup {
            peer: Some(Peer { key: 3, ifindex: 8 }),
            uplink: true,
            monitor: true,
            ..PortSetup::new("east", 7)
        };
        let entry = port.entry(0);
        assert_eq!((entry.peer, entry.flags), (4, port_flags::UPLINK | port_flags::MONITOR));
        assert_eq!(PortSetup::new("trunk", 7).entry(0).peer, 0);
    }

    #[test]
    fn vlan_sets_hold_what_was_put_in() {
        let set: VlanSet = [1, 63, 64, 110, 4094].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [1, 63, 64, 110, 4094]);
        assert!(!set.contains(0) && !set.contains(109));
        assert_eq!(VlanSet::all().iter().count(), 4094);
        // The layout that `Port::vlans` promises to the kernel program.
        assert_eq!(set.0[1] >> (110 - 64) & 1, 1);
    }
}
