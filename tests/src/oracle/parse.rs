//! What the parser makes of a frame: from its meaning and its damage, without its octets.

use enforcer_common::verdict::DropReason;

use super::{Content, Damage, Ip, Part, Sent, Transport};
use crate::packet::protocol;

/// IPv6 extension headers that are followed, the fragment header among them.
const EXTENSIONS: usize = 4;

/// The tags that a damaged frame still shows.
pub(super) fn readable_tags(sent: &Sent) -> Vec<u16> {
    let left = match sent.damage {
        Damage::CutEthernet => 0,
        Damage::CutTag(tag) => tag,
        _ => sent.tags.len(),
    };
    sent.tags[..left.min(2)].to_vec()
}

/// Why a frame cannot be parsed.
pub(super) fn outcome(sent: &Sent) -> Result<(), DropReason> {
    match sent.damage {
        Damage::CutEthernet => return Err(DropReason::TruncatedEthernet),
        Damage::CutTag(_) => return Err(DropReason::TruncatedVlan),
        _ if sent.tags.len() > 2 => return Err(DropReason::TooManyTags),
        _ => {}
    }
    match &sent.content {
        // The operation stands in the part that no cut takes away.
        Content::Arp(arp) if !matches!(arp.operation, 1 | 2) => Err(DropReason::MalformedArp),
        Content::Arp(_) if sent.damage == Damage::CutHeader => Err(DropReason::TruncatedArp),
        Content::Ip(ip) => packet(ip, sent.damage),
        Content::Arp(_) | Content::Control(_) | Content::Other(_) => Ok(()),
    }
}

fn packet(ip: &Ip, damage: Damage) -> Result<(), DropReason> {
    let six = ip.source.is_ipv6();
    let of_family = |four, six_| Err(if six { six_ } else { four });
    match damage {
        Damage::CutHeader | Damage::CutPacket => {
            return of_family(DropReason::TruncatedIpv4, DropReason::TruncatedIpv6);
        }
        Damage::Version => return of_family(DropReason::MalformedIpv4, DropReason::MalformedIpv6),
        Damage::ExtensionLength => return Err(DropReason::MalformedIpv6),
        Damage::SourceRoute if six => return Err(DropReason::SourceRoute),
        _ => {}
    }
    let fragment_header = usize::from(ip.part != Part::Whole);
    if six && ip.extensions + fragment_header > EXTENSIONS {
        return Err(DropReason::TooManyExtensions);
    }
    transport(ip, damage)?;
    if ip.is_impossible() {
        return of_family(DropReason::MalformedIpv4, DropReason::MalformedIpv6);
    }
    if damage == Damage::SourceRoute {
        return Err(DropReason::SourceRoute);
    }
    Ok(())
}

fn transport(ip: &Ip, damage: Damage) -> Result<(), DropReason> {
    if !ip.has_transport() {
        return Ok(());
    }
    match damage {
        // Ports that hide in the next fragment are a way around the rules.
        Damage::CutTransport if ip.part != Part::Whole => return Err(DropReason::TinyFragment),
        Damage::CutTransport => return Err(DropReason::TruncatedTransport),
        Damage::TransportLength => return Err(DropReason::MalformedTransport),
        _ => {}
    }
    // Each family has its own ICMP.
    let foreign = if ip.source.is_ipv6() {
        protocol::ICMP
    } else {
        protocol::ICMPV6
    };
    match ip.transport {
        Transport::Other(number) if number == foreign => Err(DropReason::MalformedTransport),
        _ => Ok(()),
    }
}
