//! Where a frame may come from: port, VLAN, link-local control protocols, source address.

use crate::abi::{Endpoint, NO_LAN, Port, SELF_ZONE, VLAN_INNER, control, endpoint_flags};
use crate::classify::{is_invalid_source, is_link_scoped};
use crate::packet::{Packet, ethertype, protocol};
use crate::tables::Tables;
use crate::verdict::DropReason;

/// The port of an interface.
#[inline(always)]
pub fn port<T: Tables>(tables: &T, ifindex: u32) -> Option<&Port> {
    tables
        .port(ifindex & tables.port_mask())
        .filter(|port| port.ifindex == ifindex)
}

/// The LAN of the frame's tags; [`NO_LAN`] when no zone declares them.
///
/// A tag with VLAN id 0 carries a priority only (802.1Q): the frame counts as untagged.
#[inline(always)]
pub fn lan_id<T: Tables>(tables: &T, port: &Port, packet: &Packet) -> Result<u16, DropReason> {
    let outer = if packet.outer_vlan == 0 {
        port.native_vlan
    } else {
        packet.outer_vlan
    };
    // Bit 0 is never set, so an untagged frame without a native VLAN ends here.
    if port.vlans[usize::from(outer >> 6) & 63] >> (outer & 63) & 1 == 0 {
        return Err(DropReason::VlanNotAllowed);
    }
    let entry = vlan(tables, 0, outer)?;
    let id = if entry & VLAN_INNER == 0 {
        if packet.tags > 1 { NO_LAN } else { entry }
    } else {
        if packet.tags > 1 {
            vlan(tables, u32::from(entry & !VLAN_INNER), packet.inner_vlan)?
        } else {
            NO_LAN
        }
    };
    if id == NO_LAN {
        Err(DropReason::VlanUndeclared)
    } else {
        Ok(id)
    }
}

#[inline(always)]
fn vlan<T: Tables>(tables: &T, table: u32, vid: u16) -> Result<u16, DropReason> {
    let table = tables.vlans(table).ok_or(DropReason::TableMiss)?;
    Ok(table.0[usize::from(vid & 0xfff)])
}

/// Link-local control frames, which bridges never forward (802.1D): the bit of `control` that stands for them.
#[inline(always)]
pub fn control_protocol(packet: &Packet) -> Option<u16> {
    match packet.ethertype {
        ethertype::LLDP => Some(control::LLDP),
        ethertype::SLOW => Some(control::LACP),
        ethertype::EAPOL => Some(control::EAPOL),
        length if length < ethertype::FIRST && is_spanning_tree(&packet.destination_mac) => Some(control::STP),
        _ => None,
    }
}

/// The bridge group address (802.1D), or the one of per-VLAN spanning tree.
#[inline(always)]
fn is_spanning_tree(mac: &[u8; 6]) -> bool {
    matches!(
        mac,
        [0x01, 0x80, 0xc2, 0x00, 0x00, 0x00] | [0x01, 0x00, 0x0c, 0xcc, 0xcc, 0xcd]
    )
}

/// ARP and neighbour discovery, without which no other frame finds its way.
///
/// RFC 4861: router solicitation to neighbour advertisement (133 to 136) count only with hop limit 255, so they
/// come from this link. Redirects (137) are left to the rules.
#[inline(always)]
pub const fn is_address_resolution(packet: &Packet) -> bool {
    packet.ethertype == ethertype::ARP
        || (packet.family == 6
            && packet.protocol == protocol::ICMPV6
            && packet.hop_limit == 255
            && matches!(packet.icmp_type(), 133..=136))
}

/// The source address must be one that hosts use, belong to the VLAN that the frame came by, and to this MAC where
/// the device declares one.
#[inline(always)]
pub fn source(packet: &Packet, lan: u16, endpoint: &Endpoint) -> Result<(), DropReason> {
    if is_invalid_source(packet.family, &packet.source) {
        return Err(DropReason::InvalidSource);
    }
    if endpoint.lan != lan && !lives_on_every_link(packet, endpoint) {
        return Err(DropReason::SourceNotInVlan);
    }
    if endpoint.flags & endpoint_flags::MAC != 0 && endpoint.mac != packet.source_mac {
        return Err(DropReason::SourceMacMismatch);
    }
    Ok(())
}

/// Link-scoped addresses that no zone declares exist on each VLAN anew. The gateway's own never come from outside.
#[inline(always)]
fn lives_on_every_link(packet: &Packet, endpoint: &Endpoint) -> bool {
    endpoint.lan == NO_LAN && endpoint.zone != SELF_ZONE && is_link_scoped(packet.family, &packet.source)
}
