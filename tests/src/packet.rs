//! Frames, written as one reads them.
//!
//! ```
//! use enforcer_tests::packet::{packet, tcp_flags};
//!
//! let syn = packet().vlan(110).ip("10.10.110.21", "10.20.5.10").tcp(40_000, 443, tcp_flags::SYN).build();
//! let cut = syn.clone().truncated(syn.transport + 10);
//! let wrong_version = syn.patched(syn.network, &[0x65]);
//! # assert_eq!(cut.len(), 14 + 4 + 20 + 10);
//! # assert_eq!(wrong_version[18], 0x65);
//! ```
//!
//! Lengths and checksums come out right by themselves; what a test wants wrong it cuts or patches afterwards, at the
//! offsets that [`Frame`] remembers. Nothing here uses the engine, so that its mistakes cannot hide.

mod bytes;
mod frame;
mod numbers;
mod transport;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use bytes::{checksum, fold};
pub use frame::Frame;
pub use numbers::{arp, ethertype, protocol, tcp_flags};

/// A hardware address.
pub type Mac = [u8; 6];

/// The source address of frames that name none.
pub const SOURCE_MAC: Mac = [0x02, 0, 0, 0, 0, 0x01];
/// The destination address of frames that name none.
pub const DESTINATION_MAC: Mac = [0x02, 0, 0, 0, 0, 0xfe];
/// To everyone.
pub const BROADCAST: Mac = [0xff; 6];

/// Starts a frame from [`SOURCE_MAC`] to [`DESTINATION_MAC`], without tags and without content.
pub fn packet() -> Builder {
    Builder::default()
}

/// An address from its text.
///
/// # Panics
/// When the text is not an IP address: tests write addresses as literals.
pub fn address(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("not an IP address: {text}"))
}

/// A frame in the making. Each method adds or sets one part, and the order of calls does not matter, except among
/// tags and among extension headers, which follow each other as they were added.
#[derive(Clone, Debug)]
pub struct Builder {
    source: Mac,
    destination: Mac,
    tags: Vec<(u16, u16)>,
    network: Network,
    time_to_live: u8,
    traffic_class: u8,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    fragment: Option<Fragment>,
    transport: Transport,
    payload: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Network {
    /// This EtherType, then the payload.
    Raw(u16),
    /// 802.3: a length instead of an EtherType, then the payload.
    Length,
    Arp {
        operation: u16,
        sender: (Mac, Ipv4Addr),
        target: (Mac, Ipv4Addr),
    },
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

#[derive(Clone, Copy, Debug)]
struct Fragment {
    id: u32,
    /// In units of eight octets.
    offset: u16,
    more: bool,
}

#[derive(Clone, Debug)]
enum Transport {
    /// Only the payload, under this protocol number.
    Raw(u8),
    Tcp {
        ports: [u16; 2],
        flags: u8,
        sequence: u32,
        acknowledgement: u32,
        options: Vec<u8>,
    },
    Udp {
        ports: [u16; 2],
        length: Option<u16>,
    },
    /// ICMP or ICMPv6 by the family of the addresses; `rest` is the second word of the header.
    Icmp {
        kind: u8,
        code: u8,
        rest: [u8; 4],
    },
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            source: SOURCE_MAC,
            destination: DESTINATION_MAC,
            tags: Vec::new(),
            network: Network::Raw(0x88b5),
            time_to_live: 64,
            traffic_class: 0,
            options: Vec::new(),
            extensions: Vec::new(),
            fragment: None,
            transport: Transport::Raw(253),
            payload: Vec::new(),
        }
    }
}

/// Ethernet.
impl Builder {
    /// Hardware addresses, source first.
    #[must_use]
    pub fn macs(mut self, source: Mac, destination: Mac) -> Self {
        (self.source, self.destination) = (source, destination);
        self
    }

    /// The source hardware address.
    #[must_use]
    pub fn from_mac(mut self, source: Mac) -> Self {
        self.source = source;
        self
    }

    /// The destination hardware address.
    #[must_use]
    pub fn to_mac(mut self, destination: Mac) -> Self {
        self.destination = destination;
        self
    }

    /// Adds an 802.1Q tag inside of those that are there.
    #[must_use]
    pub fn vlan(self, id: u16) -> Self {
        self.tag(ethertype::VLAN, id)
    }

    /// Adds an 802.1ad tag inside of those that are there.
    #[must_use]
    pub fn service_vlan(self, id: u16) -> Self {
        self.tag(ethertype::SERVICE_VLAN, id)
    }

    /// Adds a tag with any type and any control field (priority, drop bit, VLAN id).
    #[must_use]
    pub fn tag(mut self, tag_type: u16, control: u16) -> Self {
        self.tags.push((tag_type, control));
        self
    }

    /// The payload follows this EtherType directly.
    #[must_use]
    pub fn ethertype(mut self, ethertype: u16) -> Self {
        self.network = Network::Raw(ethertype);
        self
    }

    /// An 802.3 frame: the length of the payload stands where the EtherType would be.
    #[must_use]
    pub fn llc(mut self) -> Self {
        self.network = Network::Length;
        self
    }

    /// An ARP message. `sender` and `target` are IPv4 addresses as text.
    #[must_use]
    pub fn arp(mut self, operation: u16, sender: (Mac, &str), target: (Mac, &str)) -> Self {
        self.network = Network::Arp {
            operation,
            sender: (sender.0, ipv4(sender.1)),
            target: (target.0, ipv4(target.1)),
        };
        self
    }

    /// A broadcast ARP request from the frame's source address.
    #[must_use]
    pub fn arp_request(self, sender: &str, target: &str) -> Self {
        let mac = self.source;
        self.to_mac(BROADCAST)
            .arp(arp::REQUEST, (mac, sender), ([0; 6], target))
    }
}

/// IP.
impl Builder {
    /// Addresses, source first, of either family.
    ///
    /// # Panics
    /// When they are no addresses, or of two families.
    #[must_use]
    pub fn ip(mut self, source: &str, destination: &str) -> Self {
        self.network = match (address(source), address(destination)) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Network::V4(source, destination),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Network::V6(source, destination),
            _ => panic!("addresses of two families: {source}, {destination}"),
        };
        self
    }

    /// Time to live, or hop limit.
    #[must_use]
    pub fn ttl(mut self, hops: u8) -> Self {
        self.time_to_live = hops;
        self
    }

    /// Type of service, or traffic class.
    #[must_use]
    pub fn traffic_class(mut self, class: u8) -> Self {
        self.traffic_class = class;
        self
    }

    /// IPv4 options, padded to whole words.
    #[must_use]
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options = bytes::padded(options, 4);
        self
    }

    /// Adds an IPv6 extension header with this body (what follows the next-header and length octets), padded.
    #[must_use]
    pub fn extension(mut self, kind: u8, body: &[u8]) -> Self {
        self.extensions.push((kind, body.to_vec()));
        self
    }

    /// Makes it a fragment: `offset` in octets, a multiple of 8. In IPv6 the fragment header comes last. A later
    /// fragment (offset above 0) carries the transport header only if one was asked for.
    ///
    /// # Panics
    /// When `offset` is no multiple of 8.
    #[must_use]
    pub fn fragment(mut self, id: u32, offset: u16, more: bool) -> Self {
        assert_eq!(offset % 8, 0, "fragments start at multiples of 8");
        self.fragment = Some(Fragment {
            id,
            offset: offset / 8,
            more,
        });
        self
    }
}

/// A hardware address as people write it: `00:1e:3d:00:01:01`.
pub fn mac_text(mac: Mac) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

fn ipv4(text: &str) -> Ipv4Addr {
    text.parse().unwrap_or_else(|_| panic!("not an IPv4 address: {text}"))
}
