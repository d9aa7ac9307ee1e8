//! Who speaks for whom: source addresses, ARP, neighbour discovery, DHCP servers, routers.

use std::net::{IpAddr, Ipv6Addr};

use enforcer_common::verdict::DropReason;

use super::place::is_group;
use super::{About, Arp, Ip, Place, Transport};
use crate::packet::Mac;

/// Neighbour discovery messages (RFC 4861).
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;

/// No host sends from loopback, multicast, broadcast, or IPv4 in IPv6 clothes; nor from an address that every VLAN has to
/// where that does not mean it.
pub(super) fn source_is_possible(place: &Place<'_>, address: IpAddr, to: IpAddr) -> Result<(), DropReason> {
    if place.only_here(address).is_some() && !place.is_link_of(to) {
        return Err(DropReason::InvalidSource);
    }
    let mapped = matches!(address, IpAddr::V6(six) if six.to_ipv4_mapped().is_some());
    if address.is_loopback() || is_group(address) || mapped {
        Err(DropReason::InvalidSource)
    } else {
        Ok(())
    }
}

/// The source lives here, and has the hardware address that its device declares.
pub(super) fn source(place: &Place<'_>, address: IpAddr, mac: Mac) -> Result<(), DropReason> {
    if !place.is_home_of(address) {
        Err(DropReason::SourceNotInVlan)
    } else if !place.is_behind_router(address) && !place.allows_mac(address, mac) {
        Err(DropReason::SourceMacMismatch)
    } else {
        Ok(())
    }
}

/// What DHCP servers and relays send: from port 67 or to port 68, or from 547 or to 546 over IPv6.
pub(super) fn is_dhcp_server_message(ip: &Ip) -> bool {
    let (server, client) = if ip.source.is_ipv4() { (67, 68) } else { (547, 546) };
    ip.has_transport()
        && matches!(ip.transport, Transport::Udp { source, destination } if source == server || destination == client)
}

/// From a device with that role; over IPv6 from a router of the VLAN too.
pub(super) fn dhcp(place: &Place<'_>, address: IpAddr, mac: Mac) -> Result<(), DropReason> {
    if place.is_dhcp_server(address) || (address.is_ipv6() && place.is_router(mac)) {
        Ok(())
    } else {
        Err(DropReason::DhcpServer)
    }
}

/// A redirect, from anywhere.
pub(super) fn is_redirect(ip: &Ip) -> bool {
    ip.icmp6_type() == Some(REDIRECT)
}

/// A router advertisement, from this link.
pub(super) fn is_router_advertisement(place: &Place<'_>, ip: &Ip) -> bool {
    is_neighbour_discovery(place, ip) && ip.icmp6_type() == Some(ROUTER_ADVERTISEMENT)
}

/// From a router of the VLAN.
pub(super) fn router(place: &Place<'_>, mac: Mac) -> Result<(), DropReason> {
    if place.is_router(mac) {
        Ok(())
    } else {
        Err(DropReason::RouterAdvertisement)
    }
}

/// RFC 4861: from router solicitation to neighbour advertisement, from this link and for it.
pub(super) fn is_neighbour_discovery(place: &Place<'_>, ip: &Ip) -> bool {
    speaks_of_neighbours(ip) && place.is_link_of(ip.destination)
}

/// From router solicitation to neighbour advertisement, from this link.
pub(super) fn speaks_of_neighbours(ip: &Ip) -> bool {
    let kinds = ROUTER_SOLICITATION..=NEIGHBOUR_ADVERTISEMENT;
    ip.hops == 255 && ip.icmp6_type().is_some_and(|kind| kinds.contains(&kind))
}

/// The same sender inside and outside, at home here, with the declared hardware address. A probe (RFC 5227) speaks
/// for the address that it asks for.
pub(super) fn arp(place: &Place<'_>, arp: &Arp, mac: Mac) -> Result<(), DropReason> {
    let (claimed, address) = arp.sender;
    let speaks_for = if address.is_unspecified() {
        arp.target.1
    } else {
        address
    };
    let nobody = is_group(address.into()) || address.is_loopback();
    if claimed == mac && !nobody && place.is_home_of(speaks_for.into()) && place.allows_mac(speaks_for.into(), mac) {
        Ok(())
    } else {
        Err(DropReason::ArpSpoof)
    }
}

/// For an address that is at home here; for a device with a hardware address, from there and about nothing else.
pub(super) fn neighbour(place: &Place<'_>, ip: &Ip, mac: Mac) -> Result<(), DropReason> {
    let Transport::Icmp { kind, about, .. } = &ip.transport else {
        return Ok(());
    };
    let (target, options, nonce) = match about {
        About::Neighbour(neighbour) => (neighbour.target, &neighbour.options[..], neighbour.nonce),
        About::Nothing | About::Quote(_) => (Ipv6Addr::UNSPECIFIED, &[][..], false),
    };
    let wants = *kind == NEIGHBOUR_SOLICITATION && ip.source.is_unspecified();
    let speaks_for: IpAddr = if wants || *kind == NEIGHBOUR_ADVERTISEMENT {
        target.into()
    } else {
        ip.source
    };
    // Zeroes where the target belongs are a target; what follows is an option that nobody knows.
    let unnamed = match about {
        About::Nothing if *kind != ROUTER_SOLICITATION => ip.payload.abs_diff(16),
        _ => ip.payload,
    };
    let honest_claims = unnamed == 0 && (options.is_empty() || (options == [mac] && !nonce));
    let honest = place.is_home_of(speaks_for)
        && (!place.declares_mac(speaks_for) || (place.allows_mac(speaks_for, mac) && honest_claims));
    if honest {
        Ok(())
    } else {
        Err(DropReason::NeighbourSpoof)
    }
}
