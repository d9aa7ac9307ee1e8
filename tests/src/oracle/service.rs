//! Which flow and which service a packet is about.

use std::net::IpAddr;

use super::rules::Wanted;
use super::{Ip, Transport};

/// One end of a flow.
pub(super) type End = (IpAddr, u16);

pub(super) fn is_echo_request(ip: &Ip) -> bool {
    matches!(
        (&ip.transport, ip.source),
        (Transport::Icmp { kind: 8, .. }, IpAddr::V4(_)) | (Transport::Icmp { kind: 128, .. }, IpAddr::V6(_))
    )
}

pub(super) fn is_echo_reply(ip: &Ip) -> bool {
    matches!(
        (&ip.transport, ip.source),
        (Transport::Icmp { kind: 0, .. }, IpAddr::V4(_)) | (Transport::Icmp { kind: 129, .. }, IpAddr::V6(_))
    )
}

/// The ends of the flow that a frame belongs to; `None` for ICMP other than echo.
pub(super) fn ends(ip: &Ip) -> Option<(End, End)> {
    let (source, destination) = match ip.transport {
        Transport::Tcp {
            source, destination, ..
        }
        | Transport::Udp { source, destination } => (source, destination),
        Transport::Icmp { id, .. } if is_echo_request(ip) || is_echo_reply(ip) => (id, id),
        Transport::Icmp { .. } => return None,
        Transport::Other(_) => (0, 0),
    };
    Some(((ip.source, source), (ip.destination, destination)))
}

/// The service that a frame asks for.
pub(super) fn asked_for(ip: &Ip) -> Wanted {
    let port = match ip.transport {
        Transport::Tcp { destination, .. } | Transport::Udp { destination, .. } => destination,
        Transport::Icmp { kind, code, .. } => u16::from_be_bytes([kind, code]),
        Transport::Other(_) => 0,
    };
    Wanted {
        protocol: ip.protocol(),
        port,
    }
}

/// The service that the other end must have asked for, if the frame is an answer.
pub(super) fn answered_by(ip: &Ip) -> Option<Wanted> {
    let port = match ip.transport {
        Transport::Tcp { source, .. } | Transport::Udp { source, .. } => source,
        Transport::Icmp { .. } if !is_echo_reply(ip) => return None,
        Transport::Icmp { .. } if ip.source.is_ipv4() => u16::from_be_bytes([8, 0]),
        Transport::Icmp { .. } => u16::from_be_bytes([128, 0]),
        Transport::Other(_) => 0,
    };
    Some(Wanted {
        protocol: ip.protocol(),
        port,
    })
}
