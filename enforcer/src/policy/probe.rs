//! A frame in words: `{vlan: 110, src: pump-icu-01, dst: 10.20.5.10, service: tcp/443}`.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use enforcer_common::packet::{protocol, tcp_flags};
use ipnetwork::IpNetwork;

use super::{
    fields::{Complaint, Fields, Known, nearest, text},
    grammar, link_scoped, services,
    valid::{Device, ServiceMatch, ValidPolicy, VlanId, Zone},
    yaml::Node,
};
use crate::diagnostics::{Diagnostic, Location, quote};

const SEND: Known = Known {
    what: "`send`",
    keys: &[
        "vlan", "src", "dst", "service", "sport", "mac", "dst_mac", "flags", "size",
    ],
    later: &[],
};
const REPLY: Known = Known {
    what: "`reply`",
    keys: &["vlan", "mac", "dst_mac", "flags", "size"],
    later: &[],
};

/// Source port, and identifier of ICMP echo, of frames that do not say.
const SOURCE_PORT: u16 = 50_000;
/// Hardware addresses of stations that do not say: locally administered.
const SOURCE_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
const DESTINATION_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];
/// Octets behind the transport header at most, so that a frame keeps to 65,535 octets with all headers.
const SIZE: u16 = 65_000;

/// A frame by what matters to a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Its tags.
    pub vlan: VlanId,
    /// Who sends it.
    pub source: IpAddr,
    /// Whom it is sent to, of the same family.
    pub destination: IpAddr,
    /// Hardware address of the sender.
    pub source_mac: [u8; 6],
    /// Hardware address that it is sent to.
    pub destination_mac: [u8; 6],
    /// IP protocol number.
    pub protocol: u8,
    /// Source port; the identifier of ICMP echo.
    pub source_port: u16,
    /// Destination port; type and code of ICMP, `type << 8 | code`; 0 for protocols without ports.
    pub port: u16,
    /// TCP flags; `None` for SYN alone.
    pub flags: Option<u8>,
    /// Octets behind the transport header.
    pub size: u16,
}

/// What is wrong, and with which of the words.
pub(super) type Wrong = (&'static str, Complaint);

/// Keys and their texts, from a policy or from the command line.
#[derive(Debug, Default)]
pub struct Words(Vec<(&'static str, String, Option<Location>)>);

impl Words {
    /// Words that stand in no file. Keys: `vlan`, `src`, `dst`, `service`, `sport`, `mac`, `dst_mac`, `flags`, `size`.
    pub fn new(words: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self(words.into_iter().map(|(key, text)| (key, text, None)).collect())
    }

    pub(super) fn read(node: &Node<'_>, reply: bool, findings: &mut Vec<Diagnostic>) -> Self {
        let known = if reply { &REPLY } else { &SEND };
        let fields = Fields::read(node, node.at, known, findings);
        let word = |&key: &&'static str| {
            let node = fields.get(key)?;
            Some((key, text(node, findings)?.to_owned(), Some(node.at)))
        };
        Self(known.keys.iter().filter_map(word).collect())
    }

    /// Where a word stands.
    pub(super) fn place(&self, key: &str) -> Option<Location> {
        self.0.iter().find(|word| word.0 == key)?.2
    }

    fn get<T>(&self, key: &'static str, grammar: impl Fn(&str) -> Result<T, Complaint>) -> Result<Option<T>, Wrong> {
        let word = self.0.iter().find(|word| word.0 == key);
        word.map(|(_, text, _)| grammar(text).map_err(|complaint| (key, complaint)))
            .transpose()
    }

    fn require<T>(
        &self,
        key: &'static str,
        example: &str,
        grammar: impl Fn(&str) -> Result<T, Complaint>,
    ) -> Result<T, Wrong> {
        self.get(key, grammar)?.ok_or_else(|| {
            let message = format!("a frame needs {}", quote(key));
            (key, Complaint::new(message, format!("for example {example}")))
        })
    }
}

/// One end of a frame, as it is written.
enum End<'p> {
    Address(IpAddr),
    Device(&'p Device),
}

impl End<'_> {
    fn addresses(&self, policy: &ValidPolicy) -> Vec<IpAddr> {
        match self {
            Self::Address(address) => vec![*address],
            Self::Device(device) => {
                let own = leases(policy)
                    .into_iter()
                    .filter(|(owner, _)| owner.name == device.name);
                let own = own.map(|(_, address)| address.into());
                device.addresses.iter().copied().chain(own).collect()
            }
        }
    }
}

/// The addresses that devices with `dhcp: true` have in tests and explanations, where nobody leases any: for each, a free
/// one of its zone's first IPv4 subnet, from the end.
pub fn leases(policy: &ValidPolicy) -> Vec<(&Device, Ipv4Addr)> {
    let dynamic: Vec<_> = policy.devices.iter().filter(|device| device.dynamic).collect();
    if dynamic.is_empty() {
        return Vec::new();
    }
    let devices = policy.devices.iter().flat_map(|device| &device.addresses);
    let declared: HashSet<_> = devices
        .chain(policy.zones.iter().flat_map(|zone| &zone.gateways))
        .collect();
    let mut free: HashMap<usize, _> = HashMap::new();
    let lease = |device: &'_ Device| {
        let addresses = free.entry(device.zone).or_insert_with(|| {
            let subnets = policy.zones[device.zone].subnets.iter();
            let mut subnets = subnets.filter_map(|subnet| match subnet {
                IpNetwork::V4(subnet) => Some(u32::from(subnet.network()) + 1..u32::from(subnet.broadcast())),
                IpNetwork::V6(_) => None,
            });
            subnets.next().unwrap_or_default().rev().map(Ipv4Addr::from)
        });
        addresses.find(|address| !declared.contains(&IpAddr::V4(*address)))
    };
    let leases: Vec<_> = dynamic.iter().copied().map(lease).collect();
    let leases = dynamic.into_iter().zip(leases);
    leases
        .filter_map(|(device, address)| Some((device, address?)))
        .collect()
}

impl Probe {
    /// A frame of these words. Errors name the word, and what is wrong with it.
    ///
    /// What is not said follows from the rest: the VLAN is that of the source, and so is the hardware address; of two
    /// devices with addresses in both families, the first family that they share is taken.
    pub(super) fn from_words(words: &Words, policy: &ValidPolicy) -> Result<Self, Wrong> {
        let from = words.require("src", "10.10.110.21", |text| end(text, policy))?;
        let to = words.require("dst", "10.20.5.10", |text| end(text, policy))?;
        let (protocol, port) = words.require("service", "tcp/443", |text| service(text, policy))?;
        let (source, destination) = pair(&from.addresses(policy), &to.addresses(policy), protocol)?;
        let vlan = match words.get("vlan", grammar::vlan)? {
            Some(vlan) => vlan,
            None => home(&from, source, policy).ok_or_else(|| homeless("vlan", source))?,
        };
        let probe = Self {
            vlan,
            source,
            destination,
            source_mac: mac_of(source, vlan, policy).unwrap_or(SOURCE_MAC),
            destination_mac: group_mac(destination).unwrap_or(DESTINATION_MAC),
            protocol,
            source_port: words.get("sport", number)?.unwrap_or(SOURCE_PORT),
            port,
            flags: None,
            size: 0,
        };
        probe.with(words)
    }

    /// The same for people who typed it: `Err` says what is wrong, in one line.
    pub fn from_command_line(words: &Words, policy: &ValidPolicy) -> Result<Self, String> {
        Self::from_words(words, policy)
            .map_err(|(key, complaint)| format!("--{}: {}", key.replace('_', "-"), complaint.in_one_line()))
    }

    /// A frame between two addresses of one family, as honest stations send it, for a protocol and a port. Of TCP, it is no SYN, so that
    /// it announces no segment size. `mac` is the sender's, if it is known.
    pub(crate) fn between(
        vlan: VlanId,
        (source, destination): (IpAddr, IpAddr),
        (protocol, port): (u8, u16),
        mac: Option<[u8; 6]>,
    ) -> Self {
        Self {
            vlan,
            source,
            destination,
            source_mac: mac.filter(|mac| *mac != [0; 6]).unwrap_or(SOURCE_MAC),
            destination_mac: group_mac(destination).unwrap_or(DESTINATION_MAC),
            protocol,
            source_port: SOURCE_PORT,
            port,
            flags: (protocol == protocol::TCP).then_some(tcp_flags::ACK),
            size: 0,
        }
    }

    /// The answer of the other end.
    pub(super) fn reply(&self, words: &Words, policy: &ValidPolicy) -> Result<Self, Wrong> {
        let vlan = match words.get("vlan", grammar::vlan)? {
            Some(vlan) => vlan,
            None => home(&End::Address(self.destination), self.destination, policy)
                .ok_or_else(|| homeless("vlan", self.destination))?,
        };
        let (source_port, port) = match self.protocol {
            protocol::ICMP => (self.source_port, 0),
            protocol::ICMPV6 => (self.source_port, 129 << 8),
            _ => (self.port, self.source_port),
        };
        let opens = self.flags.unwrap_or(tcp_flags::SYN) & tcp_flags::SYN;
        let reply = Self {
            vlan,
            source: self.destination,
            destination: self.source,
            source_mac: mac_of(self.destination, vlan, policy).unwrap_or(SOURCE_MAC),
            destination_mac: DESTINATION_MAC,
            source_port,
            port,
            flags: (self.protocol == protocol::TCP).then_some(tcp_flags::ACK | opens),
            size: 0,
            ..*self
        };
        reply.with(words)
    }

    fn with(self, words: &Words) -> Result<Self, Wrong> {
        Ok(Self {
            source_mac: words.get("mac", hardware)?.unwrap_or(self.source_mac),
            destination_mac: words.get("dst_mac", hardware)?.unwrap_or(self.destination_mac),
            flags: words.get("flags", flags)?.or(self.flags),
            size: words.get("size", size)?.unwrap_or(self.size),
            ..self
        })
    }
}

/// An address, or the name of a device.
fn end<'p>(text: &str, policy: &'p ValidPolicy) -> Result<End<'p>, Complaint> {
    if text.contains(['.', ':', '/']) {
        return grammar::address(text).map(End::Address);
    }
    if let Some(device) = policy.devices.iter().find(|device| device.name == text) {
        return Ok(End::Device(device));
    }
    let message = format!("{} is neither an address nor a device", quote(text));
    let help = if policy.zones.iter().any(|zone| zone.name == text) {
        "it is a zone: name one of its addresses".to_owned()
    } else {
        match nearest(text, policy.devices.iter().map(|device| device.name.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write such as 10.10.110.21, or the name of a device".to_owned(),
        }
    };
    Err(Complaint::new(message, help))
}

/// Addresses of one family: the first that both ends have, and that the protocol belongs to.
fn pair(from: &[IpAddr], to: &[IpAddr], protocol: u8) -> Result<(IpAddr, IpAddr), Wrong> {
    let fits = |address: &&IpAddr| match protocol {
        protocol::ICMP => address.is_ipv4(),
        protocol::ICMPV6 => address.is_ipv6(),
        _ => true,
    };
    for &source in from.iter().filter(fits) {
        let mut addresses = to.iter().filter(fits);
        if let Some(&destination) = addresses.find(|address| address.is_ipv4() == source.is_ipv4()) {
            return Ok((source, destination));
        }
    }
    let message = "source and destination have no address of the same family that goes with the service";
    let help = "take two IPv4 or two IPv6 addresses, `icmp` with IPv4, and `icmpv6` with IPv6";
    Err(("dst", Complaint::new(message, help)))
}

/// The VLAN where an end lives.
fn home(end: &End<'_>, address: IpAddr, policy: &ValidPolicy) -> Option<VlanId> {
    match end {
        End::Device(device) => policy.zones[device.zone].vlan,
        End::Address(_) => zone_of(address, policy)?.vlan,
    }
}

/// The zone of an address by its longest prefix; `None` when it has none, or several in different address spaces.
fn zone_of(address: IpAddr, policy: &ValidPolicy) -> Option<&Zone> {
    let length = |zone: &Zone| {
        let subnets = zone.subnets.iter().filter(|subnet| subnet.contains(address));
        subnets.map(IpNetwork::prefix).max()
    };
    let found = || policy.zones.iter().filter_map(|zone| Some((length(zone)?, zone)));
    let (_, best) = found().max_by_key(|(length, _)| *length)?;
    found().all(|(_, zone)| zone.realm == best.realm).then_some(best)
}

fn homeless(key: &'static str, address: IpAddr) -> Wrong {
    let message = if link_scoped::contains(address) {
        format!("{address} is an address of every VLAN")
    } else {
        format!("the policy does not say on which VLAN {address} lives")
    };
    (key, Complaint::new(message, "say which: `vlan`, for example 110"))
}

/// The hardware address of the device that has an address on a VLAN.
fn mac_of(address: IpAddr, vlan: VlanId, policy: &ValidPolicy) -> Option<[u8; 6]> {
    let here = |device: &&Device| policy.zones[device.zone].vlan == Some(vlan);
    let declared = policy.devices.iter().filter(here);
    if let Some(device) = declared.into_iter().find(|device| device.addresses.contains(&address)) {
        return device.mac;
    }
    let mut leased = leases(policy).into_iter().filter(|(device, _)| here(device));
    leased.find(|(_, leased)| address == *leased)?.0.mac
}

/// Where frames to groups go on Ethernet (RFC 1112, RFC 2464).
fn group_mac(address: IpAddr) -> Option<[u8; 6]> {
    match address {
        IpAddr::V4(address) if address.is_broadcast() => Some([0xff; 6]),
        IpAddr::V4(address) if address.is_multicast() => {
            let [_, b, c, d] = address.octets();
            Some([0x01, 0x00, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V6(address) if address.is_multicast() => {
            let [.., a, b, c, d] = address.octets();
            Some([0x33, 0x33, a, b, c, d])
        }
        _ => None,
    }
}

/// Protocol and port of a service that is one: `tcp/443`, `icmp/echo`, `gre`, or the name of such a service.
fn service(text: &str, policy: &ValidPolicy) -> Result<(u8, u16), Complaint> {
    if services::is_expression(text) {
        return single(services::expression(text)?, text);
    }
    let Some(service) = policy.services.iter().find(|service| service.name == text) else {
        let names = policy.services.iter().map(|service| service.name.as_str());
        let help = match nearest(text, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write such as tcp/443, or the name of a service".to_owned(),
        };
        return Err(Complaint::new(format!("no service is named {}", quote(text)), help));
    };
    if let &[one] = service.matches.as_slice() {
        return single(one, text);
    }
    let message = format!("{} is more than one service, and a frame has one", quote(text));
    Err(Complaint::new(message, "write one of them, such as tcp/443"))
}

fn single(service: ServiceMatch, text: &str) -> Result<(u8, u16), Complaint> {
    match service {
        // All codes of a message type: a frame has code 0, as those with one code do.
        ServiceMatch::Ports { protocol, first, last }
            if first == last || matches!(protocol, protocol::ICMP | protocol::ICMPV6) && last - first <= 0xff =>
        {
            Ok((protocol, first))
        }
        ServiceMatch::Protocol(protocol)
            if !matches!(
                protocol,
                protocol::TCP | protocol::UDP | protocol::ICMP | protocol::ICMPV6
            ) =>
        {
            Ok((protocol, 0))
        }
        _ => {
            let message = format!("{} is more than one port, and a frame has one", quote(text));
            Err(Complaint::new(message, "write such as tcp/443 or icmp/echo"))
        }
    }
}

fn number(text: &str) -> Result<u16, Complaint> {
    let message = || format!("{} is not a port", quote(text));
    text.parse()
        .map_err(|_| Complaint::new(message(), "write a number from 0 to 65535"))
}

fn size(text: &str) -> Result<u16, Complaint> {
    let size = text.parse().ok().filter(|size| *size <= SIZE);
    size.ok_or_else(|| {
        let message = format!("{} is not a number of octets", quote(text));
        Complaint::new(message, format!("write a whole number, {SIZE} at most"))
    })
}

/// Any hardware address: frames may be wrong, so that policies can be tested on them.
fn hardware(text: &str) -> Result<[u8; 6], Complaint> {
    let octets: Option<Vec<u8>> = text
        .split([':', '-'])
        .map(|octet| u8::from_str_radix(octet, 16).ok().filter(|_| octet.len() == 2))
        .collect();
    octets.and_then(|octets| octets.try_into().ok()).ok_or_else(|| {
        let message = format!("{} is not a hardware address", quote(text));
        Complaint::new(
            message,
            "write six octets in hexadecimal, such as \"00:1e:3d:00:01:01\"",
        )
    })
}

/// `syn`, `syn-ack`, `ack`, `fin-ack`, `rst`, or none at all.
fn flags(text: &str) -> Result<u8, Complaint> {
    let flag = |word: &str| match word {
        "none" if text == "none" => Some(0),
        "fin" => Some(tcp_flags::FIN),
        "syn" => Some(tcp_flags::SYN),
        "rst" => Some(tcp_flags::RST),
        "psh" => Some(0x08),
        "ack" => Some(tcp_flags::ACK),
        "urg" => Some(0x20),
        _ => None,
    };
    let all = text.split('-').map(flag).try_fold(0, |all, flag| Some(all | flag?));
    all.ok_or_else(|| {
        let message = format!("{} are not TCP flags", quote(text));
        Complaint::new(
            message,
            "write such as syn, syn-ack, ack, psh-ack, fin-ack, rst or none",
        )
    })
}

/// A hardware address that somebody typed: `Err` says what is wrong, in one line.
pub fn hardware_address(text: &str) -> Result<[u8; 6], String> {
    hardware(text).map_err(|complaint| complaint.in_one_line())
}
