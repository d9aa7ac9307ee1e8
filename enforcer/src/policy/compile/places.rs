//! An address of each endpoint, for every way in which a frame can meet it: what proofs about the tables walk over.

use std::net::IpAddr;

use enforcer_common::abi::NO_LAN;
use ipnetwork::IpNetwork;

use super::trie::{Family, Leaf, Prefix};
use crate::policy::link_scoped;

/// An endpoint as frames meet it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) endpoint: u32,
    /// One of its addresses here.
    pub(super) address: IpAddr,
    pub(super) realm: u16,
    /// The VLAN of link-scoped addresses; [`NO_LAN`] of the others.
    pub(super) link: u16,
}

/// The places of an address space: those of its leaves that are not all covered by longer ones, and of what no leaf covers.
pub(super) fn of_realm(family: Family, leaves: &[Leaf], realm: u16) -> Vec<Place> {
    // Link-scoped addresses are looked up in leaves of their VLAN.
    let ranges = link_scoped::RANGES.iter().filter_map(|range| {
        let (of, prefix) = Prefix::of(range.network);
        (of == family).then_some((prefix, None))
    });
    let unknown = Prefix { start: 0, length: 0 };
    let uncovered = leaves.first().is_none_or(|leaf| leaf.prefix != unknown);
    let uncovered = uncovered.then_some((unknown, Some(0)));
    let leaves = leaves.iter().map(|leaf| (leaf.prefix, Some(leaf.endpoint)));
    let mut all: Vec<_> = leaves.chain(ranges).chain(uncovered).collect();
    all.sort_unstable_by_key(|(prefix, _)| *prefix);
    places(family, &all, realm, NO_LAN)
}

/// The places of a VLAN's link-scoped addresses.
pub(super) fn of_lan(family: Family, leaves: &[Leaf], realm: u16, lan: u16) -> Vec<Place> {
    let leaves = leaves.iter().map(|leaf| (leaf.prefix, Some(leaf.endpoint)));
    places(family, &leaves.collect::<Vec<_>>(), realm, lan)
}

fn places(family: Family, sorted: &[(Prefix, Option<u32>)], realm: u16, link: u16) -> Vec<Place> {
    let place = |(at, &(prefix, endpoint)): (usize, &(Prefix, Option<u32>))| {
        let endpoint = endpoint?;
        let inside = sorted[at + 1..].iter().map(|(inner, _)| *inner);
        let inside = inside.take_while(|inner| prefix.covers(*inner));
        Some(Place {
            endpoint,
            address: candidate(family, prefix, inside)?,
            realm,
            link,
        })
    };
    sorted.iter().enumerate().filter_map(place).collect()
}

/// An address of a prefix that no prefix inside of it covers. The first one of a range is seldom a station's.
fn candidate(family: Family, prefix: Prefix, inside: impl Iterator<Item = Prefix> + Clone) -> Option<IpAddr> {
    let second = (prefix.length < family.bits()).then(|| prefix.start + family.step());
    let second = second.and_then(|from| free(family, prefix, from, inside.clone()));
    let start = second.or_else(|| free(family, prefix, prefix.start, inside))?;
    Some(family.ip(start))
}

/// The first address of a prefix from one on that no prefix inside of it covers.
fn free(family: Family, prefix: Prefix, from: u128, inside: impl Iterator<Item = Prefix>) -> Option<u128> {
    let mut candidate = from;
    for inner in inside {
        if inner.start > candidate {
            break;
        }
        let end = inner.end(family);
        if end >= candidate {
            candidate = end.checked_add(family.step())?;
        }
    }
    (candidate <= prefix.end(family)).then_some(candidate)
}

/// An address for a device whose address is not known before a frame comes.
pub(super) fn of_lease(endpoint: u32, realm: u16, subnets: &[IpNetwork]) -> Option<Place> {
    let subnet = subnets.first()?;
    Some(Place {
        endpoint,
        address: subnet.iter().nth(1).unwrap_or_else(|| subnet.ip()),
        realm,
        link: NO_LAN,
    })
}

/// Of each network, an address that none of the longer ones covers; none of those that are covered whole. The order is that of
/// the addresses, outer networks before inner ones.
pub(crate) fn uncovered(networks: impl IntoIterator<Item = IpNetwork>) -> Vec<(IpNetwork, IpAddr)> {
    let mut sorted: Vec<_> = networks
        .into_iter()
        .map(|network| (Prefix::of(network), network))
        .collect();
    sorted.sort_unstable();
    sorted.dedup_by_key(|(prefix, _)| *prefix);
    let mut found = Vec::with_capacity(sorted.len());
    for (at, &((family, prefix), network)) in sorted.iter().enumerate() {
        let inside = sorted[at + 1..].iter().map(|((of, inner), _)| (*of, *inner));
        let inside = inside.take_while(|(of, inner)| *of == family && prefix.covers(*inner));
        let address = candidate(family, prefix, inside.map(|(_, inner)| inner));
        found.extend(address.map(|address| (network, address)));
    }
    found
}
