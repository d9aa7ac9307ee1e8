//! A frame as it is meant: what whoever sends it wants to say, not the octets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::options::{self, TcpOption};
use super::place::is_link_scoped;
use crate::packet::{Mac, protocol};

/// A frame, its way in, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Interface that it comes in by.
    pub ifindex: u32,
    /// Sender's hardware address.
    pub source_mac: Mac,
    /// Receiver's hardware address.
    pub destination_mac: Mac,
    /// Control fields of the tags, outermost first: VLAN id, and priority above it.
    pub tags: Vec<u16>,
    /// What follows the tags.
    pub content: Content,
    /// Where its octets betray it.
    pub damage: Damage,
}

/// What an Ethernet frame carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A link-local control protocol.
    Control(Control),
    /// Something of another `EtherType`.
    Other(u16),
    /// An ARP message for IPv4.
    Arp(Arp),
    /// An IP packet.
    Ip(Ip),
}

/// Control protocols between neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// LLDP.
    Lldp,
    /// LACP, and the other slow protocols.
    Slow,
    /// 802.1X.
    Eapol,
    /// Spanning tree, to the bridge group.
    SpanningTree,
    /// Spanning tree a VLAN.
    PerVlanSpanningTree,
}

/// An ARP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arp {
    /// 1 asks, 2 answers; others mean nothing.
    pub operation: u16,
    /// Who says to be where.
    pub sender: (Mac, Ipv4Addr),
    /// Who is asked for.
    pub target: (Mac, Ipv4Addr),
}

/// An IP packet, or a part of one. Both addresses are of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Sender.
    pub source: IpAddr,
    /// Receiver.
    pub destination: IpAddr,
    /// Hop limit.
    pub hops: u8,
    /// IPv6: extension headers before that of the fragment; IPv4: words of options.
    pub extensions: usize,
    /// Whole, or which part.
    pub part: Part,
    /// What it carries. A later fragment carries only the protocol's number.
    pub transport: Transport,
    /// Octets after the transport header.
    pub payload: usize,
}

/// Which part of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The first fragment of the packet with this number.
    First(u32),
    /// A later fragment.
    Later {
        /// Number of the packet.
        id: u32,
        /// Where it starts, in octets.
        offset: u16,
        /// Whether more follows.
        more: bool,
    },
}

/// What IP carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A TCP segment.
    Tcp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// Flags.
        flags: u8,
        /// Options, as many as fit.
        options: Vec<TcpOption>,
    },
    /// A UDP datagram.
    Udp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// The ICMP of the address family.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// Identifier of echo.
        id: u16,
        /// What the message is about.
        about: About,
    },
    /// Another protocol by its number.
    Other(u8),
}

/// What an ICMP message says beyond its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// Nothing.
    Nothing,
    /// An error.
    Quote(Box<Quote>),
    /// Neighbour discovery.
    Neighbour(Box<Neighbour>),
}

/// The body of a neighbour discovery message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Whom it is about; a router solicitation (133) has none.
    pub target: Ipv6Addr,
    /// Hardware addresses, each in an option of its own.
    pub options: Vec<Mac>,
    /// A number before them, by which the sender knows its message again (RFC 7527).
    pub nonce: bool,
}

/// The packet in an ICMP error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The packet.
    pub ip: Ip,
    /// Octets of its transport header that the quote leaves, at least; 8 and more are enough.
    pub left: usize,
}

/// What is wrong with the octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Nothing.
    None,
    /// The frame ends inside of the Ethernet header.
    CutEthernet,
    /// The frame ends inside of this tag (0 or 1).
    CutTag(usize),
    /// The frame ends inside of the ARP message or of the IP header.
    CutHeader,
    /// The frame ends before the IP packet does.
    CutPacket,
    /// Another IP version in the header.
    Version,
    /// An IPv6 extension header longer than the packet.
    ExtensionLength,
    /// The IP packet ends inside of its transport header.
    CutTransport,
    /// A TCP or UDP length that is shorter than the header.
    TransportLength,
    /// A route of its own: among the IPv4 options, or in place of the first IPv6 extension header.
    SourceRoute,
}

impl Damage {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::None,
        Self::CutEthernet,
        Self::CutTag(0),
        Self::CutTag(1),
        Self::CutHeader,
        Self::CutPacket,
        Self::Version,
        Self::ExtensionLength,
        Self::CutTransport,
        Self::TransportLength,
        Self::SourceRoute,
    ];

    /// Whether a frame can be damaged in this way.
    pub fn suits(self, sent: &Sent) -> bool {
        match (self, &sent.content) {
            (Self::None | Self::CutEthernet, _) => true,
            (Self::CutTag(tag), _) => tag < sent.tags.len(),
            (Self::CutHeader, content) => matches!(content, Content::Arp(_) | Content::Ip(_)),
            (_, Content::Ip(ip)) => match self {
                Self::ExtensionLength => ip.source.is_ipv6() && (1..4).contains(&ip.extensions),
                // Without anything behind it, the header would be cut.
                Self::CutPacket => ip.payload > 0 || (ip.has_transport() && ip.header() > 0),
                Self::SourceRoute if ip.source.is_ipv4() => ip.extensions >= 2,
                Self::SourceRoute => ip.extensions > 0,
                Self::CutTransport => ip.has_transport() && !matches!(ip.transport, Transport::Other(_)),
                Self::TransportLength => {
                    ip.has_transport() && matches!(ip.transport, Transport::Tcp { .. } | Transport::Udp { .. })
                }
                _ => true,
            },
            _ => false,
        }
    }
}

impl Sent {
    /// An IP packet from or to an address that means the same on every VLAN.
    pub fn is_link_scoped(&self) -> bool {
        match &self.content {
            Content::Ip(ip) => [ip.source, ip.destination].into_iter().any(is_link_scoped),
            _ => false,
        }
    }
}

impl Ip {
    /// The packet that answers this one.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let transport = match self.transport.clone() {
            Transport::Tcp {
                source,
                destination,
                flags,
                options,
            } => Transport::Tcp {
                source: destination,
                destination: source,
                flags,
                options,
            },
            Transport::Udp { source, destination } => Transport::Udp {
                source: destination,
                destination: source,
            },
            Transport::Icmp { kind, code, id, about } => Transport::Icmp {
                kind: match kind {
                    8 => 0,
                    128 => 129,
                    other => other,
                },
                code,
                id,
                about,
            },
            Transport::Other(number) => Transport::Other(number),
        };
        Ip {
            source: self.destination,
            destination: self.source,
            transport,
            ..self.clone()
        }
    }

    /// Not a later fragment.
    pub fn has_transport(&self) -> bool {
        !matches!(self.part, Part::Later { .. })
    }

    /// A fragment that no packet has room for: it ends behind the longest one, or it is not the last and would leave a gap.
    pub fn is_impossible(&self) -> bool {
        let (offset, header, more) = match self.part {
            Part::Whole => return false,
            Part::First(_) => (0, self.header(), true),
            Part::Later { offset, more, .. } => (usize::from(offset), 0, more),
        };
        let octets = header + self.payload;
        let longest = if self.source.is_ipv4() { 65_535 - 20 } else { 65_535 };
        offset + octets > longest || (more && !octets.is_multiple_of(8))
    }

    /// Number of the transport protocol.
    pub fn protocol(&self) -> u8 {
        match self.transport {
            Transport::Tcp { .. } => protocol::TCP,
            Transport::Udp { .. } => protocol::UDP,
            Transport::Icmp { .. } if self.source.is_ipv6() => protocol::ICMPV6,
            Transport::Icmp { .. } => protocol::ICMP,
            Transport::Other(number) => number,
        }
    }

    /// Octets of the transport header.
    pub fn header(&self) -> usize {
        match &self.transport {
            Transport::Tcp { options, .. } => 20 + options::octets(options).len(),
            Transport::Udp { .. } | Transport::Icmp { .. } => 8,
            Transport::Other(_) => 0,
        }
    }

    /// Whether the frame that carries the packet, damaged so, still shows both addresses.
    pub fn shows_addresses(damage: Damage) -> bool {
        !matches!(
            damage,
            Damage::CutEthernet | Damage::CutTag(_) | Damage::CutHeader | Damage::Version
        )
    }

    /// The `ICMPv6` type, of a packet that shows one.
    pub fn icmp6_type(&self) -> Option<u8> {
        match self.transport {
            Transport::Icmp { kind, .. } if self.source.is_ipv6() && self.has_transport() => Some(kind),
            _ => None,
        }
    }
}
