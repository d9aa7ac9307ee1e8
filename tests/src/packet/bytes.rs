//! From the parts of a frame to its octets.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Builder, Fragment, Frame, Network, Transport, ethertype, protocol};

/// Fills up with zero octets to a multiple of `unit`.
pub(super) fn padded(octets: &[u8], unit: usize) -> Vec<u8> {
    let mut octets = octets.to_vec();
    octets.resize(octets.len().next_multiple_of(unit), 0);
    octets
}

/// The one's-complement sum of 16-bit words, an odd last octet counted as the high half of a word.
pub fn fold(octets: &[u8]) -> u32 {
    let sum: u32 = octets
        .chunks(2)
        .map(|word| (word[0] as u32) << 8 | word.get(1).copied().unwrap_or(0) as u32)
        .sum();
    (sum & 0xffff) + (sum >> 16)
}

/// The internet checksum of several stretches, each of even length but the last.
pub fn checksum(stretches: &[&[u8]]) -> u16 {
    let mut sum: u32 = stretches.iter().map(|stretch| fold(stretch)).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

pub(super) fn assemble(parts: &Builder) -> Frame {
    let mut bytes = [parts.destination, parts.source].concat();
    for (tag_type, control) in &parts.tags {
        bytes.extend(tag_type.to_be_bytes());
        bytes.extend(control.to_be_bytes());
    }
    let network = bytes.len() + 2;
    let (kind, header, body) = match &parts.network {
        Network::Raw(kind) => (*kind, Vec::new(), parts.payload.clone()),
        Network::Length => (parts.payload.len() as u16, Vec::new(), parts.payload.clone()),
        Network::Arp {
            operation,
            sender,
            target,
        } => (ethertype::ARP, Vec::new(), arp(*operation, *sender, *target)),
        Network::V4(source, destination) => {
            let body = transport(parts, &[source.octets(), destination.octets()].concat(), false);
            (ethertype::IPV4, ipv4(parts, *source, *destination, body.len()), body)
        }
        Network::V6(source, destination) => {
            let body = transport(parts, &[source.octets(), destination.octets()].concat(), true);
            (ethertype::IPV6, ipv6(parts, *source, *destination, body.len()), body)
        }
    };
    bytes.extend(kind.to_be_bytes());
    bytes.extend(&header);
    let transport = bytes.len();
    bytes.extend(&body);
    let payload = match parts.network {
        Network::Arp { .. } => bytes.len(),
        _ => bytes.len() - parts.payload.len(),
    };
    Frame {
        bytes,
        network,
        transport,
        payload,
    }
}

fn arp(operation: u16, sender: (super::Mac, Ipv4Addr), target: (super::Mac, Ipv4Addr)) -> Vec<u8> {
    let mut bytes = vec![0, 1, 8, 0, 6, 4];
    bytes.extend(operation.to_be_bytes());
    for (mac, address) in [sender, target] {
        bytes.extend(mac);
        bytes.extend(address.octets());
    }
    bytes
}

fn protocol_number(parts: &Builder, six: bool) -> u8 {
    match parts.transport {
        Transport::Raw(number) => number,
        Transport::Tcp { .. } => protocol::TCP,
        Transport::Udp { .. } => protocol::UDP,
        Transport::Icmp { .. } if six => protocol::ICMPV6,
        Transport::Icmp { .. } => protocol::ICMP,
    }
}

fn ipv4(parts: &Builder, source: Ipv4Addr, destination: Ipv4Addr, body: usize) -> Vec<u8> {
    let length = 20 + parts.options.len();
    assert!(length <= 60, "an IPv4 header has at most 40 octets of options");
    let fragment = parts.fragment.unwrap_or(Fragment {
        id: 0,
        offset: 0,
        more: false,
    });
    let mut header = vec![0x40 | (length / 4) as u8, parts.traffic_class];
    header.extend(((length + body) as u16).to_be_bytes());
    header.extend((fragment.id as u16).to_be_bytes());
    header.extend((fragment.offset | u16::from(fragment.more) << 13).to_be_bytes());
    header.extend([parts.time_to_live, protocol_number(parts, false), 0, 0]);
    header.extend(source.octets());
    header.extend(destination.octets());
    header.extend(&parts.options);
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

fn ipv6(parts: &Builder, source: Ipv6Addr, destination: Ipv6Addr, body: usize) -> Vec<u8> {
    let mut chain = parts.extensions.clone();
    if let Some(fragment) = parts.fragment {
        let place = fragment.offset << 3 | u16::from(fragment.more);
        let body = [&place.to_be_bytes()[..], &fragment.id.to_be_bytes()].concat();
        chain.push((protocol::FRAGMENT, body));
    }
    let last = protocol_number(parts, true);
    let mut extensions = Vec::new();
    for (index, (kind, body)) in chain.iter().enumerate() {
        let next = chain.get(index + 1).map_or(last, |(kind, _)| *kind);
        extensions.extend(extension(*kind, next, body));
    }
    let class = parts.traffic_class;
    let mut header = vec![0x60 | class >> 4, class << 4, 0, 0];
    header.extend(((extensions.len() + body) as u16).to_be_bytes());
    header.extend([chain.first().map_or(last, |(kind, _)| *kind), parts.time_to_live]);
    header.extend(source.octets());
    header.extend(destination.octets());
    header.extend(extensions);
    header
}

/// One extension header. The length octet counts units of 8 beyond the first, in the authentication header units of
/// 4 beyond the second; in the fragment header it is reserved.
fn extension(kind: u8, next: u8, body: &[u8]) -> Vec<u8> {
    let mut header = padded(&[&[next, 0][..], body].concat(), 8);
    header[1] = match kind {
        protocol::FRAGMENT => 0,
        protocol::AUTHENTICATION => (header.len() / 4 - 2) as u8,
        _ => (header.len() / 8 - 1) as u8,
    };
    header
}

fn transport(parts: &Builder, addresses: &[u8], six: bool) -> Vec<u8> {
    let (mut bytes, sum_at) = match &parts.transport {
        Transport::Raw(_) => (Vec::new(), None),
        Transport::Tcp {
            ports,
            flags,
            sequence,
            acknowledgement,
            options,
        } => {
            let mut header = [ports[0].to_be_bytes(), ports[1].to_be_bytes()].concat();
            header.extend(sequence.to_be_bytes());
            header.extend(acknowledgement.to_be_bytes());
            header.extend([(((20 + options.len()) / 4) << 4) as u8, *flags, 0xff, 0xff, 0, 0, 0, 0]);
            header.extend(options);
            (header, Some(16))
        }
        Transport::Udp { ports, length } => {
            let length = length.unwrap_or(8 + parts.payload.len() as u16);
            ([ports[0], ports[1], length, 0].map(u16::to_be_bytes).concat(), Some(6))
        }
        Transport::Icmp { kind, code, rest } => ([&[*kind, *code, 0, 0][..], rest].concat(), Some(2)),
    };
    bytes.extend(&parts.payload);
    if let Some(at) = sum_at {
        let with_addresses = six || !matches!(parts.transport, Transport::Icmp { .. });
        let mut pseudo = addresses.to_vec();
        pseudo.extend((bytes.len() as u32).to_be_bytes());
        pseudo.extend([0, 0, 0, protocol_number(parts, six)]);
        let sum = if with_addresses {
            checksum(&[&pseudo, &bytes])
        } else {
            checksum(&[&bytes])
        };
        let sum = if sum == 0 && matches!(parts.transport, Transport::Udp { .. }) {
            0xffff
        } else {
            sum
        };
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    bytes
}
