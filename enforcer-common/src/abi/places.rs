//! Where a frame comes from: ports and VLANs, and the guards that stand there.

use super::Address;

/// A port of the gateway.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// The interface; 0 in an empty slot.
    pub ifindex: u32,
    /// Number of the port in the counters.
    pub slot: u16,
    /// `port_flags`.
    pub flags: u16,
    /// Bits of `control`: link-local control protocols that pass.
    pub control: u16,
    /// The VLAN of untagged frames; 0 refuses them.
    pub native_vlan: u16,
    /// Inline mode: 1 plus this port's key in the device map, where the paired port stands; 0 passes frames to the
    /// gateway's stack.
    pub peer: u32,
    /// Outer VLAN ids that are allowed, bit `vid & 63` of word `vid >> 6`.
    pub vlans: [u64; 64],
}

/// Management access to the gateway itself, from the configuration and not from the policy: no wrong policy locks the
/// operators out.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The prefix of the senders: the bits that count.
    pub prefix: Address,
    /// Which bits count.
    pub mask: Address,
    /// The gateway's address.
    pub gateway: Address,
    /// The outer VLAN id that the frame must carry; that of the port for untagged frames.
    pub outer_vlan: u16,
    /// The inner VLAN id, 0 without a second tag.
    pub inner_vlan: u16,
    /// First destination port.
    pub first_port: u16,
    /// Last destination port.
    pub last_port: u16,
    /// Padding.
    pub reserved: u32,
    /// IP protocol number.
    pub protocol: u8,
    /// 4 or 6.
    pub family: u8,
    /// More padding.
    pub spare: u16,
}

/// Entries of `accesses` that the kernel program looks through.
pub const ACCESSES: u32 = 16;

/// Inline mode: whose frames leave by an entry of the device map. Each port has an entry, and so a key, of its own.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerSource {
    /// Number that the kernel gave to the device map; 0 in an unused entry.
    pub map: u32,
    /// Number of the port in the counters.
    pub slot: u32,
}

/// Bits of [`Port::flags`].
pub mod port_flags {
    /// Nothing is dropped on this port: what would be is counted as `would-drop`.
    pub const MONITOR: u16 = 1;
    /// The side of an inline pair that leads to the routers: source addresses of every VLAN come by it.
    pub const UPLINK: u16 = 2;
    /// Frames of VLANs that the port allows and no zone declares pass, counted as `would-drop`: while no policy is in force.
    pub const PASS_UNDECLARED: u16 = 4;
}

/// Bits of [`Port::control`].
pub mod control {
    /// LLDP, EtherType 0x88cc.
    pub const LLDP: u16 = 1;
    /// Spanning tree: LLC to 01:80:c2:00:00:00 or the per-VLAN address 01:00:0c:cc:cc:cd.
    pub const STP: u16 = 2;
    /// LACP and the other slow protocols, EtherType 0x8809.
    pub const LACP: u16 = 4;
    /// EAPOL (802.1X), EtherType 0x888e.
    pub const EAPOL: u16 = 8;
}

/// VLAN ids of one tag position. An entry is 0 (undeclared), a LAN id, or with [`VLAN_INNER`] the number of the
/// table for the inner tag.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanTable(pub [u16; 4096]);

/// Marks an entry of a [`VlanTable`] that leads to the table of the inner tag.
pub const VLAN_INNER: u16 = 1 << 15;

/// A VLAN (one tag or two) that a zone declares.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lan {
    /// The zone of the VLAN; [`UNKNOWN_ZONE`](super::UNKNOWN_ZONE) when several zones share it.
    pub zone: u16,
    /// Number of the address space.
    pub realm: u16,
    /// Its VLAN ids, `outer << 16 | inner`.
    pub vlan: u32,
    /// `mode` of frames whose source zone is not verified: [`mode::ENFORCE`](super::mode::ENFORCE) when any zone of the VLAN enforces, else
    /// [`mode::MONITOR`](super::mode::MONITOR).
    pub mode: u32,
    /// A `guard_mode` for each guard of `guard`.
    pub guards: u32,
    /// Trie node where IPv4 look-ups start. Each LAN has its own, with its link-scoped addresses (unspecified,
    /// link-local, broadcast, multicast) laid over those of the realm.
    pub root4: u32,
    /// Trie node where IPv6 look-ups start.
    pub root6: u32,
    /// Index into `budgets` for frames to groups, of all senders together; 0 without a limit.
    pub group_budget: u32,
    /// Hardware addresses of the declared IPv6 routers; zero in unused places.
    pub routers: [[u8; 6]; 4],
}

/// Guards, by the position of their two bits in [`Lan::guards`].
pub mod guard {
    /// Source addresses belong to the VLAN and to the declared hardware address.
    pub const SOURCE: u32 = 0;
    /// ARP senders are who they say.
    pub const ARP: u32 = 2;
    /// Neighbour discovery senders are who they say.
    pub const NEIGHBOUR: u32 = 4;
    /// DHCP server messages come from declared servers.
    pub const DHCP: u32 = 6;
    /// Router advertisements and redirects come from declared routers.
    pub const ROUTER: u32 = 8;
}

/// What a guard does with a frame that it finds wrong.
pub mod guard_mode {
    /// It does not look.
    pub const OFF: u32 = 0;
    /// The frame goes on to the rules; if they permit it, it is counted as `would-drop`.
    pub const MONITOR: u32 = 1;
    /// The frame is refused.
    pub const ENFORCE: u32 = 2;
    /// The bits of one guard.
    pub const MASK: u32 = 3;
}
