//! What events teach: only of what forms no flow.

use std::net::IpAddr;

use enforcer_common::abi::Event;
use enforcer_common::packet::protocol;
use enforcer_common::verdict::{DropReason, Stage, Verdict};

use super::store::{End, Key, Observation, Refusal, Refused};
use crate::policy::link_scoped;
use crate::policy::valid::VlanId;
use crate::state::GenerationNames;
use crate::words;

/// What an event teaches.
pub(super) enum News {
    /// A connection.
    Seen(Key, Observation),
    /// What no rule would change.
    Refused(Refusal, Refused),
}

/// What an event teaches that no flow does.
pub(super) fn teaches(event: &Event, at: u64, names: &GenerationNames) -> Option<News> {
    if event.verdict != Verdict::WouldDrop as u8 {
        return None;
    }
    let reason = DropReason::from_code(event.reason)?;
    let stage = Stage::from_code(event.stage)?;
    match (reason, stage) {
        (DropReason::DefaultDeny | DropReason::DeniedByRule, Stage::Policy) => seen(event, at, names),
        // By a flow: later frames of what is known.
        (DropReason::None | DropReason::DefaultDeny | DropReason::DeniedByRule, _) => None,
        _ => Some(refused(event, reason, at)),
    }
}

fn seen(event: &Event, at: u64, names: &GenerationNames) -> Option<News> {
    let from = words::address(event.family, event.source_address)?;
    let to = words::address(event.family, event.destination_address)?;
    if !(is_group(to) || is_lone_icmp(event)) {
        return None;
    }
    let tables = &names.tables;
    let lan = tables.lans.get(usize::from(event.lan))?;
    let realm = tables.names.realms.get(usize::from(lan.realm))?;
    let vlan = tables.names.lans.get(usize::from(event.lan))?.vlan?;
    let end = |endpoint: u32, address: IpAddr| {
        let device = tables.names.endpoints.get(endpoint as usize);
        let device = device.and_then(|name| tables.dynamic_device(name.device.as_deref()?));
        let leased = device.filter(|device| address.is_ipv4() && device.endpoint == endpoint);
        leased.map_or(End::Address(address), |device| End::Device(device.name.clone()))
    };
    let is_of_link = [from, to].into_iter().any(link_scoped::contains);
    let key = Key {
        realm: realm.clone(),
        link: is_of_link.then(|| vlan.to_string()),
        from: end(event.source, from),
        to: end(event.destination, to),
        protocol: event.protocol,
        port: if words::has_ports(event.protocol) || is_icmp(event.protocol) {
            event.destination_port
        } else {
            0
        },
    };
    let seen = Observation {
        answered: false,
        turned: false,
        first: at,
        last: at,
        count: 1,
    };
    Some(News::Seen(key, seen))
}

fn refused(event: &Event, reason: DropReason, at: u64) -> News {
    let vlan = VlanId {
        outer: event.outer_vlan,
        inner: Some(event.inner_vlan).filter(|inner| *inner != 0),
    };
    let address = |words| words::address(event.family, words).map_or("-".to_owned(), |address| address.to_string());
    let service = if event.family == 0 {
        format!("ethertype 0x{:04x}", event.ethertype)
    } else {
        words::service(event.protocol, event.destination_port)
    };
    let refusal = Refusal {
        vlan: if vlan.outer == 0 {
            String::new()
        } else {
            vlan.to_string()
        },
        reason: reason.name().to_owned(),
    };
    let refused = Refused {
        first: at,
        last: at,
        count: 1,
        example: format!(
            "{} ({}) to {}, {service}",
            address(event.source_address),
            words::mac(event.source_mac),
            address(event.destination_address)
        ),
    };
    News::Refused(refusal, refused)
}

fn is_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_multicast(),
    }
}

fn is_icmp(protocol: u8) -> bool {
    matches!(protocol, protocol::ICMP | protocol::ICMPV6)
}

/// ICMP that forms no flow: not an echo, nor its answer, which means nothing alone.
fn is_lone_icmp(event: &Event) -> bool {
    let echo = matches!(
        (event.protocol, event.destination_port >> 8),
        (protocol::ICMP, 0 | 8) | (protocol::ICMPV6, 128 | 129)
    );
    is_icmp(event.protocol) && !echo
}

#[cfg(test)]
mod tests;
