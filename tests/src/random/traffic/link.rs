//! What passes between neighbours: address resolution, control protocols, and what nobody asked for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use enforcer::policy::valid::VlanId;

use super::Traffic;
use crate::oracle::{About, Arp, Content, Control, Ip, Neighbour, Part, Sent, Transport};
use crate::packet::tcp_flags::SYN;
use crate::packet::{BROADCAST, Mac, SOURCE_MAC, protocol};
use crate::random::aims::boundary;

/// The group that LLDP goes to.
const NEIGHBOURS: Mac = [0x01, 0x80, 0xc2, 0, 0, 0x0e];

impl Traffic<'_> {
    /// ARP and neighbour discovery.
    pub(super) fn resolution(&mut self) -> Sent {
        let (ifindex, vlan) = (self.ifindex(), self.aims.vlan(&mut self.random));
        let six = self.random.percent(50);
        let source = self.aims.source(&mut self.random, vlan, six);
        let target = if self.random.percent(50) {
            self.aims.source(&mut self.random, vlan, six)
        } else {
            self.aims.address(&mut self.random, six)
        };
        match (source, target) {
            (IpAddr::V4(source), IpAddr::V4(target)) => self.arp(ifindex, vlan, source, target),
            (IpAddr::V6(_), IpAddr::V6(target)) => self.neighbour(ifindex, vlan, source, target),
            _ => self.control(),
        }
    }

    fn arp(&mut self, ifindex: u32, vlan: VlanId, source: Ipv4Addr, target: Ipv4Addr) -> Sent {
        let probe = self.random.percent(10);
        let speaker = if probe { target } else { source };
        let mac = self.aims.mac(&mut self.random, speaker.into());
        let arp = Arp {
            operation: self.random.pick(&[1, 1, 1, 2, 2, 2, 1, 2, 0, 3]),
            sender: (mac, if probe { Ipv4Addr::UNSPECIFIED } else { source }),
            target: ([0; 6], target),
        };
        let mut sent = self.sent(ifindex, vlan, Content::Arp(arp));
        sent.destination_mac = BROADCAST;
        if self.random.percent(85) {
            sent.source_mac = mac;
        }
        sent
    }

    fn neighbour(&mut self, ifindex: u32, vlan: VlanId, source: IpAddr, target: Ipv6Addr) -> Sent {
        let source = if self.random.percent(12) {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            source
        };
        let speaker = if self.random.percent(50) { source } else { target.into() };
        let mac = self.aims.mac(&mut self.random, speaker);
        let options = match self.random.below(6) {
            0..2 => vec![],
            2..5 => vec![mac],
            _ => vec![mac, SOURCE_MAC],
        };
        let nonce = self.random.percent(20);
        let neighbour = Neighbour { target, options, nonce };
        let destination = match self.random.below(4) {
            // The group of those whose address ends so.
            3 => {
                let [.., a, b, c] = target.octets();
                let [high, low] = [u16::from_be_bytes([0xff, a]), u16::from_be_bytes([b, c])];
                Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, high, low).into()
            }
            0 => self.aims.address(&mut self.random, true),
            1 => self.aims.source(&mut self.random, vlan, true),
            _ => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).into(),
        };
        let ip = Ip {
            source,
            destination,
            hops: if self.random.percent(85) { 255 } else { 254 },
            extensions: 0,
            part: Part::Whole,
            transport: Transport::Icmp {
                kind: self.random.pick(&[133, 135, 136, 135, 136, 134, 132, 137]),
                code: 0,
                id: 0,
                about: About::Neighbour(Box::new(neighbour)),
            },
            payload: if self.random.percent(10) { 8 } else { 0 },
        };
        let mut sent = self.sent(ifindex, vlan, Content::Ip(ip));
        if self.random.percent(85) {
            sent.source_mac = mac;
        }
        sent
    }

    /// To the gateway, by management access that there is, or nearly.
    pub(super) fn management(&mut self) -> Option<Sent> {
        let access = self.aims.management(&mut self.random)?;
        let (ifindex, six) = (self.ifindex(), access.to.is_ipv6());
        let vlan = if self.random.percent(90) {
            access.vlan
        } else {
            self.aims.vlan(&mut self.random)
        };
        let source = if self.random.percent(90) {
            boundary(&mut self.random, access.from)
        } else {
            self.aims.address(&mut self.random, six)
        };
        match (source, access.to) {
            (IpAddr::V4(source), IpAddr::V4(to)) if self.random.percent(20) => {
                return Some(self.arp(ifindex, vlan, source, to));
            }
            (IpAddr::V6(_), IpAddr::V6(to)) if self.random.percent(20) => {
                return Some(self.neighbour(ifindex, vlan, source, to));
            }
            _ => {}
        }
        let (first, last) = access.ports;
        let port = self
            .random
            .pick(&[first, first, last, last, first.wrapping_sub(1), last.wrapping_add(1)]);
        let [kind, code] = port.to_be_bytes();
        let transport = match access.protocol {
            protocol::TCP => Transport::Tcp {
                source: 40_000,
                destination: port,
                flags: SYN,
                options: vec![],
            },
            protocol::UDP => Transport::Udp {
                source: 40_000,
                destination: port,
            },
            _ => self.icmp(kind, code),
        };
        let ip = Ip {
            source,
            destination: if self.random.percent(90) {
                access.to
            } else {
                self.aims.address(&mut self.random, six)
            },
            hops: 64,
            extensions: 0,
            part: self.random.pick(&[
                Part::Whole,
                Part::Whole,
                Part::Whole,
                Part::First(1),
                Part::Later {
                    id: 1,
                    offset: 64,
                    more: false,
                },
            ]),
            transport,
            payload: 32,
        };
        Some(self.sent(ifindex, vlan, Content::Ip(ip)))
    }

    /// Control protocols, and what nobody asked for.
    pub(super) fn control(&mut self) -> Sent {
        let (ifindex, vlan) = (self.ifindex(), self.aims.vlan(&mut self.random));
        let kinds = [
            Control::Lldp,
            Control::Slow,
            Control::Eapol,
            Control::SpanningTree,
            Control::PerVlanSpanningTree,
        ];
        let content = if self.random.percent(70) {
            Content::Control(self.random.pick(&kinds))
        } else {
            Content::Other(self.random.pick(&[0x88b5, 0x8137, 0x88f7, 0x0600, 0x0100]))
        };
        let mut sent = self.sent(ifindex, vlan, content);
        if self.random.percent(80) {
            sent.destination_mac = NEIGHBOURS;
        }
        if self.random.percent(50) {
            sent.tags.clear();
        }
        sent
    }
}
