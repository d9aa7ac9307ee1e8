//! Who speaks for whom: ARP and neighbour discovery.

use std::net::{IpAddr, Ipv6Addr};

use enforcer_common::verdict::DropReason;

use super::{About, Arp, Ip, Place, Transport};
use crate::packet::Mac;

/// Neighbour discovery messages (RFC 4861).
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

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
    if *kind == ROUTER_ADVERTISEMENT {
        // No policy has a word for routers yet.
        return Ok(());
    }
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
