//! Who speaks for whom: source addresses, ARP, neighbour discovery, DHCP servers, routers.

use std::net::{IpAddr, Ipv6Addr};

use enforcer_common::verdict::DropReason;

use super::place::is_group;
use super::{About, Arp, Ip, Place, Transport};
use crate::packet::Mac;

/// Neighbour discovery messages (RFC 4861).
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;

/// No host sends from loopback, multicast, broadcast, or IPv4 in IPv6 clothes.
pub(super) fn source_is_possible(address: IpAddr) -> Result<(), DropReason> {
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
    } else if !place.allows_mac(address, mac) {
        Err(DropReason::SourceMacMismatch)
    } else {
        Ok(())
    }
}

/// What DHCP servers and relays send: from port 67, or 547 over IPv6.
pub(super) fn is_dhcp_server_message(ip: &Ip) -> bool {
    let port = if ip.source.is_ipv4() { 67 } else { 547 };
    ip.has_transport() && matches!(ip.transport, Transport::Udp { source, .. } if source == port)
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
pub(super) fn is_router_advertisement(ip: &Ip) -> bool {
    is_neighbour_discovery(ip) && ip.icmp6_type() == Some(ROUTER_ADVERTISEMENT)
}

/// From a router of the VLAN.
pub(super) fn router(place: &Place<'_>, mac: Mac) -> Result<(), DropReason> {
    if place.is_router(mac) {
        Ok(())
    } else {
        Err(DropReason::RouterAdvertisement)
    }
}

/// RFC 4861: from router solicitation to neighbour advertisement, from this link.
pub(super) fn is_neighbour_discovery(ip: &Ip) -> bool {
    let kinds = ROUTER_SOLICITATION..=NEIGHBOUR_ADVERTISEMENT;
    ip.hops == 255 && ip.icmp6_type().is_some_and(|kind| kinds.contains(&kind))
}

/// The same sender inside and outside, at home here, with the declared hardware address. A probe (RFC 5227) speaks
/// for nobody yet.
pub(super) fn arp(place: &Place<'_>, arp: &Arp, mac: Mac) -> Result<(), DropReason> {
    let (claimed, address) = arp.sender;
    let probe = address.is_unspecified();
    if claimed == mac && (probe || (place.is_home_of(address.into()) && place.allows_mac(address.into(), mac))) {
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
    let (target, options) = match about {
        About::Neighbour(neighbour) => (neighbour.target, &neighbour.options[..]),
        About::Nothing | About::Quote(_) => (Ipv6Addr::UNSPECIFIED, &[][..]),
    };
    let speaks_for: IpAddr = if *kind == NEIGHBOUR_ADVERTISEMENT {
        target.into()
    } else {
        ip.source
    };
    // Zeroes where the target belongs are a target; what follows is an option that nobody knows.
    let unnamed = match about {
        About::Nothing if *kind != ROUTER_SOLICITATION => ip.payload.abs_diff(16),
        _ => ip.payload,
    };
    let honest_claims = unnamed == 0 && (options.is_empty() || options == [mac]);
    let honest = place.is_home_of(speaks_for)
        && (!place.declares_mac(speaks_for) || (place.allows_mac(speaks_for, mac) && honest_claims));
    if honest {
        Ok(())
    } else {
        Err(DropReason::NeighbourSpoof)
    }
}
