//! Management access to the gateway itself, which the configuration declares.
//!
//! It is matched before any guard of addresses and before any rule, so that no wrong policy locks the operators out. What
//! they need to find the gateway counts too: ARP (RFC 826) and neighbour discovery (RFC 4861) between both.

use crate::abi::{ACCESSES, Access, Address};
use crate::guard;
use crate::packet::{Fragment, Packet, ethertype};
use crate::tables::Tables;

/// Whether a frame with this outer VLAN is management access.
#[inline(always)]
pub fn is_access<T: Tables>(tables: &T, outer: u16, packet: &Packet) -> bool {
    for index in 0..ACCESSES {
        // Of a program without any, the verifier drops all of this.
        if index >= tables.accesses() {
            break;
        }
        if let Some(access) = tables.access(index)
            && permits(access, outer, packet)
        {
            return true;
        }
    }
    false
}

#[inline(always)]
fn permits(access: &Access, outer: u16, packet: &Packet) -> bool {
    if access.outer_vlan != outer
        || access.inner_vlan != packet.inner_vlan
        || access.family != packet.address_family()
        || !is_under(access, &packet.source)
    {
        return false;
    }
    if packet.ethertype == ethertype::ARP {
        return packet.destination == access.gateway && packet.claimed_mac == packet.source_mac;
    }
    if guard::is_address_resolution(packet) {
        return packet.destination == access.gateway || packet.destination == solicited(&access.gateway);
    }
    // The parts of a packet behind the first have no ports.
    packet.destination == access.gateway
        && !matches!(packet.fragment, Fragment::Later)
        && packet.protocol == access.protocol
        && access.first_port <= packet.destination_port
        && packet.destination_port <= access.last_port
}

#[inline(always)]
const fn is_under(access: &Access, address: &Address) -> bool {
    let differing = (address[0] ^ access.prefix[0]) & access.mask[0]
        | (address[1] ^ access.prefix[1]) & access.mask[1]
        | (address[2] ^ access.prefix[2]) & access.mask[2]
        | (address[3] ^ access.prefix[3]) & access.mask[3];
    differing == 0
}

/// The solicited-node group of an address (RFC 4291, section 2.7.1).
#[inline(always)]
const fn solicited(address: &Address) -> Address {
    [0xff02_0000, 0, 1, 0xff00_0000 | address[3]]
}
