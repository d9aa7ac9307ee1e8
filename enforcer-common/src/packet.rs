//! What the parser learnt about a frame.

use crate::abi::{Address, Lan};

/// `EtherType` values (IEEE 802 numbers), host order.
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// 802.1Q tag.
    pub const VLAN: u16 = 0x8100;
    /// 802.1ad service tag.
    pub const SERVICE_VLAN: u16 = 0x88a8;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// Slow protocols: LACP and others.
    pub const SLOW: u16 = 0x8809;
    /// EAP over LAN (802.1X).
    pub const EAPOL: u16 = 0x888e;
    /// LLDP.
    pub const LLDP: u16 = 0x88cc;
    /// The smallest type; below, the field is an 802.3 length and an LLC header follows.
    pub const FIRST: u16 = 0x0600;
}

/// IP protocol numbers (IANA).
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
}

/// `ICMPv6` types of neighbour discovery (RFC 4861).
pub mod icmpv6 {
    /// A host looks for routers.
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// A router announces itself.
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    /// Who has this address?
    pub const NEIGHBOUR_SOLICITATION: u8 = 135;
    /// I have.
    pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    /// A router knows a better way.
    pub const REDIRECT: u8 = 137;
}

/// TCP flags, as in octet 13 of the header (RFC 9293, section 3.1).
pub mod tcp_flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset.
    pub const RST: u8 = 0x04;
    /// The acknowledgement number is valid.
    pub const ACK: u8 = 0x10;
}

/// Whether a packet is a part of a larger one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Fragment {
    /// A whole packet.
    #[default]
    None,
    /// The first part, with the transport header.
    First,
    /// A later part, without ports.
    Later,
}

/// The facts of one frame, in host order. Fields of layers that the frame does not have are zero.
///
/// Aligned so that it is cleared eight octets at a time.
#[repr(align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// Source address; the sender's protocol address of an ARP message.
    pub source: Address,
    /// Destination address; the target's protocol address of an ARP message.
    pub destination: Address,
    /// Octets of the whole frame.
    pub length: u32,
    /// Source hardware address.
    pub source_mac: [u8; 6],
    /// Destination hardware address.
    pub destination_mac: [u8; 6],
    /// `EtherType` behind the tags, or an 802.3 length.
    pub ethertype: u16,
    /// VLAN id of the outer tag.
    pub outer_vlan: u16,
    /// VLAN id of the inner tag.
    pub inner_vlan: u16,
    /// Source port; the identifier of ICMP echo.
    pub source_port: u16,
    /// Destination port; type and code of ICMP, `type << 8 | code`.
    pub destination_port: u16,
    /// Number of VLAN tags.
    pub tags: u8,
    /// 4, 6, or 0 for other than IP.
    pub family: u8,
    /// IP protocol number.
    pub protocol: u8,
    /// TCP flags.
    pub tcp_flags: u8,
    /// Hop limit, or time to live.
    pub hop_limit: u8,
    /// Part of a larger packet?
    pub fragment: Fragment,
    /// Offset of the transport header in the frame.
    pub transport_at: u16,
    /// What the parts of one packet have in common.
    pub fragment_id: u32,
    /// Where a later part starts in what was cut into parts, in octets; of the first one, its transport header, which extension headers
    /// may precede.
    pub fragment_offset: u16,
    /// Octets from the transport header to the end of this packet or fragment.
    pub transport_length: u16,
    /// The hardware address that an ARP message or a neighbour discovery option gives for its sender; zero without.
    pub claimed_mac: [u8; 6],
    /// It is a part, and not the last one.
    pub more_fragments: bool,
    /// The address that a neighbour advertisement speaks for.
    pub target: Address,
}

/// Protocol and ports of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// IP protocol number.
    pub protocol: u8,
    /// Source port; the identifier of ICMP echo.
    pub source: u16,
    /// Destination port; type and code of ICMP, `type << 8 | code`.
    pub destination: u16,
}

impl Packet {
    /// Protocol and ports.
    #[inline(always)]
    pub const fn ports(&self) -> Ports {
        Ports {
            protocol: self.protocol,
            source: self.source_port,
            destination: self.destination_port,
        }
    }

    /// The family of the addresses: that of IP, or 4 for ARP, or 0 for a packet without addresses.
    #[inline(always)]
    pub const fn address_family(&self) -> u8 {
        if self.ethertype == ethertype::ARP {
            4
        } else {
            self.family
        }
    }

    /// Type of an ICMP message.
    #[inline(always)]
    pub const fn icmp_type(&self) -> u8 {
        (self.destination_port >> 8) as u8
    }

    /// Sent to a group: multicast or limited broadcast. Answers, if any, come from other addresses.
    #[inline(always)]
    pub const fn to_group(&self) -> bool {
        match self.family {
            4 => {
                self.destination[3] >= 0xe000_0000
                    && (self.destination[3] < 0xf000_0000 || self.destination[3] == u32::MAX)
            }
            _ => self.destination[0] >> 24 == 0xff,
        }
    }
}

/// As in [`FlowKey::link`](crate::abi::FlowKey::link): the VLAN, when one of the addresses has a meaning there only.
#[inline(always)]
pub const fn link(lan: &Lan, family: u8, source: &Address, destination: &Address) -> u32 {
    if is_link_local(family, source) || is_link_local(family, destination) {
        lan.vlan
    } else {
        0
    }
}

/// Link-local or unspecified: 169.254.0.0/16 (RFC 3927), `fe80::/10` (RFC 4291), 0.0.0.0 and `::`.
#[inline(always)]
pub(crate) const fn is_link_local(family: u8, address: &Address) -> bool {
    let [a, b, c, d] = *address;
    if family == 4 {
        d >> 16 == 0xa9fe || d == 0
    } else {
        a >> 22 == 0xfe80 >> 6 || (a | b | c | d) == 0
    }
}
