//! Addresses to endpoints, endpoints and services to rules: array look-ups only, whatever the number of rules.
//!
//! Recursive Flow Classification (Pankaj Gupta, Nick `McKeown`, "Packet Classification on Multiple Fields", 1999):
//! each field is first reduced to the set of rules that it satisfies, numbered; pairs of numbers then index tables
//! that the policy compiler has filled. Precedence is settled there.

use crate::abi::{
    Address, BindingKey, DEADLINES, DEFAULT_RULE, Endpoint, Lan, NO_LAN, NO_RULES, OWN_LAN, PROTOCOL_PORTS, Rule,
    SELF_ZONE, TRIE_HOST, TRIE_NODE, UNKNOWN_ENDPOINT,
};
use crate::packet::{Ports, protocol};
use crate::tables::Tables;

/// A protocol and its port (ICMP: type and code).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// IP protocol number.
    pub protocol: u8,
    /// Destination port; `type << 8 | code` of ICMP; 0 for protocols without ports.
    pub port: u16,
}

impl Service {
    /// The service that a packet asks for.
    #[inline(always)]
    pub const fn of(ports: Ports) -> Self {
        Self {
            protocol: ports.protocol,
            port: ports.destination,
        }
    }

    /// The service that the other end asked for, if the packet is an answer; `None` when it cannot be one.
    #[inline(always)]
    pub const fn answered_by(ports: Ports) -> Option<Self> {
        let port = match ports.protocol {
            protocol::ICMP | protocol::ICMPV6 => match Echo::of(ports) {
                Some(Echo::Reply) => Echo::request_service(ports.protocol),
                _ => return None,
            },
            _ => ports.source,
        };
        Some(Self {
            protocol: ports.protocol,
            port,
        })
    }
}

/// ICMP echo (RFC 792, RFC 4443), the ICMP messages that form flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// The question.
    Request,
    /// The answer, with the same identifier.
    Reply,
}

impl Echo {
    /// What a message of either ICMP is.
    #[inline(always)]
    pub const fn of(ports: Ports) -> Option<Self> {
        match (ports.protocol, ports.destination >> 8) {
            (protocol::ICMP, 8) | (protocol::ICMPV6, 128) => Some(Self::Request),
            (protocol::ICMP, 0) | (protocol::ICMPV6, 129) => Some(Self::Reply),
            _ => None,
        }
    }

    const fn request_service(icmp: u8) -> u16 {
        match icmp {
            protocol::ICMP => 8 << 8,
            _ => 128 << 8,
        }
    }
}

/// The endpoint id of an address as seen from `lan`. `None` is a defect of the tables.
#[inline(always)]
pub fn endpoint_id<T: Tables>(tables: &T, lan: &Lan, family: u8, address: &Address) -> Option<u32> {
    let entry = if family == 4 {
        walk(tables, TRIE_NODE | lan.root4, address[3])?
    } else {
        let mut entry = TRIE_NODE | lan.root6;
        entry = walk(tables, entry, address[0])?;
        entry = walk(tables, entry, address[1])?;
        entry = walk(tables, entry, address[2])?;
        walk(tables, entry, address[3])?
    };
    if entry & TRIE_HOST == 0 {
        return Some(entry);
    }
    let host = tables.host(entry & !TRIE_HOST)?;
    Some(if host.address == *address {
        host.endpoint
    } else {
        host.otherwise
    })
}

/// The LAN where an address lives, as seen from `lan`; [`OWN_LAN`] for the gateway's own, [`NO_LAN`] for those that no zone declares.
#[inline(always)]
pub fn home<T: Tables>(tables: &T, lan: &Lan, family: u8, address: &Address) -> u16 {
    let endpoint = endpoint_id(tables, lan, family, address).and_then(|id| tables.endpoint(id));
    endpoint.map_or(NO_LAN, |endpoint| match endpoint.zone {
        SELF_ZONE => OWN_LAN,
        _ => endpoint.lan,
    })
}

/// The endpoint id of the device that got an address by DHCP, if its lease runs; else the unknown one.
#[inline(always)]
pub fn bound<T: Tables>(tables: &T, realm: u16, family: u8, address: &Address, now: u64) -> u32 {
    let binding = tables.binding(&BindingKey {
        address: *address,
        realm,
        family,
        reserved: 0,
    });
    match binding {
        Some(binding) if now < binding.expires => tables.dynamic(binding.device).unwrap_or(UNKNOWN_ENDPOINT),
        _ => UNKNOWN_ENDPOINT,
    }
}

/// Up to four steps down the trie, by the octets of `word`; a finished walk stays where it is. Written out, because the
/// compiler for BPF would count the steps.
#[inline(always)]
fn walk<T: Tables>(tables: &T, entry: u32, word: u32) -> Option<u32> {
    let mut entry = entry;
    entry = step(tables, entry, word >> 24)?;
    entry = step(tables, entry, word >> 16 & 0xff)?;
    entry = step(tables, entry, word >> 8 & 0xff)?;
    step(tables, entry, word & 0xff)
}

#[inline(always)]
fn step<T: Tables>(tables: &T, entry: u32, octet: u32) -> Option<u32> {
    if entry & TRIE_NODE == 0 {
        return Some(entry);
    }
    Some(tables.node(entry & !TRIE_NODE)?.0[octet as usize])
}

/// An address that no host may send from: loopback, multicast, limited broadcast, an IPv4 address in IPv6 clothes.
#[inline(always)]
pub const fn is_invalid_source(family: u8, address: &Address) -> bool {
    if family == 4 {
        let word = address[3];
        word >> 24 == 127 || word >> 28 == 0xe || word == u32::MAX
    } else {
        let embedded = address[0] | address[1] == 0;
        let loopback = embedded && address[2] == 0 && address[3] == 1;
        let mapped = embedded && address[2] == 0xffff;
        loopback || mapped || address[0] >> 24 == 0xff
    }
}

/// The rule that settles `service` from `source` to `destination` at `now`, and its number. `None` is a defect of the tables.
#[inline(always)]
pub fn rule<'t, T: Tables>(
    tables: &'t T,
    source: &Endpoint,
    destination: &Endpoint,
    service: Service,
    now: u64,
) -> Option<(u32, &'t Rule)> {
    let row = tables.row(source.source * tables.row_blocks() + (destination.destination >> 8))?;
    let profile = tables.profiles(row)?.0[(destination.destination & 0xff) as usize];
    if profile == NO_RULES {
        return Some((DEFAULT_RULE, tables.rule(DEFAULT_RULE)?));
    }
    let class = service_class(tables, service)?;
    let column = tables.column(profile * tables.column_blocks() + (class >> 8))?;
    in_force(tables, tables.cells(column)?.0[(class & 0xff) as usize], now)
}

/// The rule itself, or what stands behind it when its time is over.
#[inline(always)]
pub fn in_force<T: Tables>(tables: &T, mut rule: u32, now: u64) -> Option<(u32, &Rule)> {
    for _ in 0..DEADLINES {
        let record = tables.rule(rule)?;
        if record.deadline == 0 || now < record.deadline {
            return Some((rule, record));
        }
        rule = record.otherwise;
    }
    Some((rule, tables.rule(rule)?))
}

#[inline(always)]
fn service_class<T: Tables>(tables: &T, service: Service) -> Option<u32> {
    let entry = tables.protocol(service.protocol)?;
    if entry & PROTOCOL_PORTS == 0 {
        return Some(entry);
    }
    let block = (entry & !PROTOCOL_PORTS) + u32::from(service.port >> 8);
    Some(u32::from(tables.services(block)?.0[(service.port & 0xff) as usize]))
}
