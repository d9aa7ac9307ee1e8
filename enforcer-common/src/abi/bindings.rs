//! Addresses that devices got by DHCP.

use super::Address;

/// An address in an address space.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BindingKey {
    /// The address.
    pub address: Address,
    /// Address space.
    pub realm: u16,
    /// 4 or 6.
    pub family: u8,
    /// Padding.
    pub reserved: u8,
}

/// Who has it, and until when. The controller writes them; they outlive generations.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// When the lease ends, in nanoseconds of the tick clock; `u64::MAX` for never.
    pub expires: u64,
    /// Number of the device in `dynamic`, stable over generations. There stands its endpoint; 0 when this generation does
    /// not know it.
    pub device: u32,
    /// Padding.
    pub reserved: u32,
}

/// Octets of a DHCP message that go up the ring: RFC 2131 asks for 576 at least, and servers fill in little more.
pub const DHCP_OCTETS: usize = 1024;

/// A DHCP server message that passed, sent up the ring `dhcp` for the controller to read.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DhcpMessage {
    /// When it came, in nanoseconds of the tick clock: a lease begins then, however long the message waits in the ring.
    pub at: u64,
    /// LAN id that it came by, in the numbering of `generation`.
    pub lan: u32,
    /// Generation of the program that saw it.
    pub generation: u32,
    /// Octets of `data` that hold something.
    pub length: u32,
    /// Interface that it came in by.
    pub ifindex: u32,
    /// The UDP payload, cut off at [`DHCP_OCTETS`].
    pub data: [u8; DHCP_OCTETS],
}
