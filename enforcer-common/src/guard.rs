//! Where a frame may come from: port, VLAN, link-local control protocols, source address.

use crate::abi::{Address, Endpoint, Lan, NO_LAN, Port, VLAN_INNER, control, endpoint_flags};
use crate::classify::is_invalid_source;
use crate::packet::{Packet, ethertype, icmpv6, is_link_local, protocol};
use crate::tables::Tables;
use crate::verdict::DropReason;

/// The port of an interface.
#[inline(always)]
pub fn port<T: Tables>(tables: &T, ifindex: u32) -> Option<&Port> {
    tables
        .port(ifindex & tables.port_mask())
        .filter(|port| port.ifindex == ifindex)
}

/// The VLAN of the outer tag, if the port allows it.
///
/// A tag with VLAN id 0 carries a priority only (802.1Q): the frame counts as untagged.
#[inline(always)]
pub fn outer_vlan(port: &Port, packet: &Packet) -> Result<u16, DropReason> {
    let outer = if packet.outer_vlan == 0 {
        port.native_vlan
    } else {
        packet.outer_vlan
    };
    // Bit 0 is never set, so an untagged frame without a native VLAN ends here.
    if port.vlans[usize::from(outer >> 6) & 63] >> (outer & 63) & 1 == 0 {
        return Err(DropReason::VlanNotAllowed);
    }
    Ok(outer)
}

/// The LAN of the frame's tags, `outer` being the first; an error when no zone declares them.
#[inline(always)]
pub fn lan_id<T: Tables>(tables: &T, outer: u16, packet: &Packet) -> Result<u16, DropReason> {
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

/// Link-local control frames: the bit of `control` that stands for them. They go to groups that bridges never forward
/// (802.1D): what else calls itself by their type would pass without a rule.
#[inline(always)]
pub fn control_protocol(packet: &Packet) -> Option<u16> {
    let (protocol, stays) = match packet.ethertype {
        ethertype::LLDP => (control::LLDP, is_for_bridges(&packet.destination_mac)),
        ethertype::SLOW => (control::LACP, is_for_bridges(&packet.destination_mac)),
        ethertype::EAPOL => (control::EAPOL, is_for_bridges(&packet.destination_mac)),
        length if length < ethertype::FIRST => (control::STP, is_spanning_tree(&packet.destination_mac)),
        _ => return None,
    };
    stays.then_some(protocol)
}

/// The group addresses that bridges do not pass on (802.1D, table 7-10).
#[inline(always)]
const fn is_for_bridges(mac: &[u8; 6]) -> bool {
    matches!(mac, [0x01, 0x80, 0xc2, 0x00, 0x00, 0x00..=0x0f])
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
/// RFC 4861: its messages (133 to 136) count only with hop limit 255, so they come from this link. Redirects (137)
/// are not needed to find a way, and stay a matter of rules.
#[inline(always)]
pub const fn is_address_resolution(packet: &Packet) -> bool {
    packet.ethertype == ethertype::ARP
        || (packet.family == 6
            && packet.protocol == protocol::ICMPV6
            && packet.hop_limit == 255
            && matches!(
                packet.icmp_type(),
                icmpv6::ROUTER_SOLICITATION..=icmpv6::NEIGHBOUR_ADVERTISEMENT
            ))
}

/// A sender is one station (802.3, section 3.2.3).
#[inline(always)]
pub const fn valid_sender(packet: &Packet) -> Result<(), DropReason> {
    if packet.source_mac[0] & 1 == 0 {
        Ok(())
    } else {
        Err(DropReason::InvalidSource)
    }
}

/// A source address that no host may use; or one that means something on its link only (RFC 3927, RFC 4291) unless
/// the packet `stays` there or ends at the gateway: elsewhere an answer would not find back.
#[inline(always)]
pub fn valid_source(packet: &Packet, stays: bool) -> Result<(), DropReason> {
    let lost = !stays && is_link_local(packet.family, &packet.source);
    if lost || is_invalid_source(packet.family, &packet.source) {
        Err(DropReason::InvalidSource)
    } else {
        Ok(())
    }
}

/// Where a sender stands: the port and the LAN that its frame came by.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The LAN id.
    pub id: u16,
    /// The LAN.
    pub lan: &'a Lan,
    /// By the uplink of an inline pair: senders of every VLAN come by it.
    pub uplink: bool,
}

impl Place<'_> {
    /// Whether an address lives here. The gateway's own live on no LAN, so nobody may send from them.
    #[inline(always)]
    fn is_home_of(&self, endpoint: &Endpoint) -> bool {
        self.uplink || endpoint.lan == self.id
    }

    /// Whether a router stands between here and where it lives: then a frame has the router's hardware address.
    #[inline(always)]
    fn is_behind_router(&self, endpoint: &Endpoint) -> bool {
        self.uplink && endpoint.lan != self.id
    }

    #[inline(always)]
    fn is_router(&self, mac: [u8; 6]) -> bool {
        let [a, b, c, d] = self.lan.routers;
        // An unused place is zero, which is nobody's address.
        mac != [0; 6] && (mac == a || mac == b || mac == c || mac == d)
    }
}

/// Whether a frame may come from this hardware address, as far as the device declares one.
#[inline(always)]
fn is_mac_of(endpoint: &Endpoint, mac: &[u8; 6]) -> bool {
    endpoint.flags & endpoint_flags::MAC == 0 || endpoint.mac == *mac
}

/// The source address must belong to the VLAN that the frame came by, and to this MAC where the device declares one.
#[inline(always)]
pub fn source(packet: &Packet, place: &Place<'_>, source: &Endpoint) -> Result<(), DropReason> {
    if !place.is_home_of(source) {
        return Err(DropReason::SourceNotInVlan);
    }
    if place.is_behind_router(source) || is_mac_of(source, &packet.source_mac) {
        Ok(())
    } else {
        Err(DropReason::SourceMacMismatch)
    }
}

/// Whether an ARP message is a probe (RFC 5227): it has no sender address, and speaks for the one that it asks for. Who
/// hears a probe for the address that it is about to take does not take it.
#[inline(always)]
pub const fn is_probe(packet: &Packet) -> bool {
    packet.source[3] == 0
}

/// An ARP sender must be who it says, in the Ethernet header and in the message: gratuitous announcements too. Groups and loopback
/// addresses are nobody's.
#[inline(always)]
pub fn arp(packet: &Packet, place: &Place<'_>, speaker: &Endpoint) -> Result<(), DropReason> {
    let honest = packet.claimed_mac == packet.source_mac
        && !is_invalid_source(4, &packet.source)
        && place.is_home_of(speaker)
        && is_mac_of(speaker, &packet.source_mac);
    if honest { Ok(()) } else { Err(DropReason::ArpSpoof) }
}

/// Who a neighbour discovery message speaks for: the target of an advertisement, and of a solicitation without a sender
/// (RFC 4862: who hears that somebody else wants its address does not take it); else the sender.
#[inline(always)]
pub const fn spoken_for(packet: &Packet) -> &Address {
    let [a, b, c, d] = packet.source;
    let wants = packet.icmp_type() == icmpv6::NEIGHBOUR_SOLICITATION && (a | b | c | d) == 0;
    if wants || packet.icmp_type() == icmpv6::NEIGHBOUR_ADVERTISEMENT {
        &packet.target
    } else {
        &packet.source
    }
}

/// A neighbour discovery message must speak for an address of this VLAN. For a device with a declared hardware
/// address, it must come from there, and carry no option but that address.
#[inline(always)]
pub fn neighbour(packet: &Packet, place: &Place<'_>, speaker: &Endpoint) -> Result<(), DropReason> {
    let bare = if packet.icmp_type() == icmpv6::ROUTER_SOLICITATION {
        8
    } else {
        24
    };
    let claims_nothing_else = packet.transport_length == bare
        || (packet.transport_length == bare + 8 && packet.claimed_mac == packet.source_mac);
    let honest = place.is_home_of(speaker)
        && (speaker.flags & endpoint_flags::MAC == 0 || (speaker.mac == packet.source_mac && claims_nothing_else));
    if honest {
        Ok(())
    } else {
        Err(DropReason::NeighbourSpoof)
    }
}

/// Router advertisements and redirects come from declared routers only.
#[inline(always)]
pub fn router(packet: &Packet, place: &Place<'_>) -> Result<(), DropReason> {
    if place.is_router(packet.source_mac) {
        Ok(())
    } else {
        Err(DropReason::RouterAdvertisement)
    }
}

/// A redirect, which only routers send.
#[inline(always)]
pub const fn is_redirect(packet: &Packet) -> bool {
    packet.protocol == protocol::ICMPV6 && packet.icmp_type() == icmpv6::REDIRECT
}

/// What only DHCP servers and relays send: from port 67 (RFC 2131), or 547 (RFC 8415); and to the ports of clients, which
/// take an answer from any port.
#[inline(always)]
pub const fn is_dhcp_server_message(packet: &Packet) -> bool {
    let (server, client) = if packet.family == 4 { (67, 68) } else { (547, 546) };
    packet.protocol == protocol::UDP && (packet.source_port == server || packet.destination_port == client)
}

/// A message of a declared DHCP server for IPv4, by which devices get their addresses.
#[inline(always)]
pub const fn is_lease(packet: &Packet, source: &Endpoint) -> bool {
    packet.family == 4 && source.flags & endpoint_flags::DHCP_SERVER != 0
}

/// Such messages come from declared servers; over IPv6, whose servers answer from link-local addresses, from declared
/// routers too.
#[inline(always)]
pub fn dhcp(packet: &Packet, place: &Place<'_>, source: &Endpoint) -> Result<(), DropReason> {
    let declared =
        source.flags & endpoint_flags::DHCP_SERVER != 0 || (packet.family == 6 && place.is_router(packet.source_mac));
    if declared { Ok(()) } else { Err(DropReason::DhcpServer) }
}
