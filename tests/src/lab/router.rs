//! The gateway's stack behind the enforcer: routes IPv4 between VLANs on one arm.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use crate::packet::{Mac, arp, checksum, ethertype, packet};

use super::switch::{with_tag, without_tag};
use super::sys::{PacketSocket, readable};
use super::worker::{PATIENCE, Worker};

/// The gateway's hardware address in every VLAN.
pub const GATEWAY_MAC: Mac = [0x02, 0, 0, 0, 0xff, 0xfe];

/// What the router knows: its own addresses, and where hosts are. Nothing is learned, so nothing can be spoofed.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// The gateway's address in a VLAN.
    pub own: HashMap<u16, Vec<Ipv4Addr>>,
    /// VLAN and hardware address of a host.
    pub hosts: HashMap<Ipv4Addr, (u16, Mac)>,
}

/// A running router.
#[derive(Debug)]
pub struct Router {
    #[expect(dead_code, reason = "held for its drop, which stops the thread")]
    worker: Worker,
}

impl Router {
    /// Starts routing what comes in on a trunk.
    ///
    /// # Panics
    /// Its thread, when the trunk's socket cannot be polled.
    pub fn start(trunk: PacketSocket, routes: Routes) -> io::Result<Self> {
        let step = move || {
            readable(&[trunk.as_fd()], PATIENCE).expect("polling the trunk");
            while let Ok(Some(frame)) = trunk.receive() {
                if let Some(answer) = without_tag(frame).and_then(|(vlan, frame)| routes.answer(vlan, frame)) {
                    // A trunk that goes down loses frames, as a real one does.
                    let _ = trunk.send(&answer);
                }
            }
        };
        Ok(Self {
            worker: Worker::start("router", step)?,
        })
    }
}

impl Routes {
    /// The frame to send for an untagged frame that came in by a VLAN, if any.
    pub fn answer(&self, vlan: u16, frame: Vec<u8>) -> Option<Vec<u8>> {
        match u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]) {
            ethertype::ARP => self.answer_arp(vlan, &frame),
            ethertype::IPV4 if frame[..6] == GATEWAY_MAC => self.route(vlan, frame),
            _ => None,
        }
    }

    fn is_own(&self, vlan: u16, address: Ipv4Addr) -> bool {
        self.own.get(&vlan).is_some_and(|own| own.contains(&address))
    }

    fn answer_arp(&self, vlan: u16, frame: &[u8]) -> Option<Vec<u8>> {
        let message = frame.get(14..42)?;
        let target = ipv4(&message[24..28]);
        if message[6..8] != arp::REQUEST.to_be_bytes() || !self.is_own(vlan, target) {
            return None;
        }
        let asker: Mac = message[8..14].try_into().ok()?;
        let (own, theirs) = (target.to_string(), ipv4(&message[14..18]).to_string());
        let reply = packet().vlan(vlan).macs(GATEWAY_MAC, asker);
        Some(
            reply
                .arp(arp::REPLY, (GATEWAY_MAC, &own), (asker, &theirs))
                .build()
                .bytes,
        )
    }

    fn route(&self, vlan: u16, mut frame: Vec<u8>) -> Option<Vec<u8>> {
        let header = 14..14 + usize::from(*frame.get(14)? & 0xf) * 4;
        if frame.len() < header.end || header.len() < 20 || frame[22] <= 1 {
            return None;
        }
        let (source, destination) = (ipv4(&frame[26..30]), ipv4(&frame[30..34]));
        if self.is_own(vlan, destination) {
            return echo_reply(vlan, &frame, header.end);
        }
        let (to, mac) = *self.hosts.get(&destination)?;
        if source == destination {
            return None;
        }
        frame[..6].copy_from_slice(&mac);
        frame[6..12].copy_from_slice(&GATEWAY_MAC);
        frame[22] -= 1;
        frame[24..26].fill(0);
        let sum = checksum(&[&frame[header]]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        Some(with_tag(to, &frame))
    }
}

/// The gateway answers `ping` and nothing else.
fn echo_reply(vlan: u16, frame: &[u8], transport: usize) -> Option<Vec<u8>> {
    let length = 14 + usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let message = frame.get(transport..length)?;
    if frame[23] != 1 || message.len() < 8 || message[0] != 8 {
        return None;
    }
    let number = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    let asker: Mac = frame[6..12].try_into().ok()?;
    let (from, to) = (ipv4(&frame[30..34]).to_string(), ipv4(&frame[26..30]).to_string());
    let reply = packet().vlan(vlan).macs(GATEWAY_MAC, asker).ip(&from, &to);
    Some(
        reply
            .echo_reply(number(4), number(6))
            .payload(&message[8..])
            .build()
            .bytes,
    )
}

fn ipv4(octets: &[u8]) -> Ipv4Addr {
    let octets: [u8; 4] = octets.try_into().expect("four octets");
    octets.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::SOURCE_MAC;

    const PUMP: Mac = [0, 0x1e, 0x3d, 0, 1, 1];

    fn routes() -> Routes {
        let own = [(110, vec![Ipv4Addr::new(10, 10, 110, 1)])].into();
        let hosts = [(Ipv4Addr::new(10, 20, 5, 10), (205, PUMP))].into();
        Routes { own, hosts }
    }

    fn answer(frame: &[u8]) -> Option<Vec<u8>> {
        without_tag(frame.to_vec()).and_then(|(vlan, frame)| routes().answer(vlan, frame))
    }

    #[test]
    fn routes_to_a_known_host_with_one_hop_less() {
        let incoming = packet()
            .to_mac(GATEWAY_MAC)
            .vlan(110)
            .ip("10.10.110.21", "10.20.5.10")
            .udp(7, 8);
        let outgoing = packet()
            .macs(GATEWAY_MAC, PUMP)
            .vlan(205)
            .ip("10.10.110.21", "10.20.5.10")
            .ttl(63)
            .udp(7, 8);
        assert_eq!(answer(&incoming.build()), Some(outgoing.build().bytes));
        assert_eq!(
            answer(&incoming.clone().ttl(1).build()),
            None,
            "its time to live is over"
        );
        assert_eq!(
            answer(&incoming.ip("10.10.110.21", "10.20.5.11").build()),
            None,
            "nobody has that address"
        );
    }

    #[test]
    fn answers_for_its_own_address_in_the_right_vlan_only() {
        let request = packet().vlan(110).arp_request("10.10.110.21", "10.10.110.1").build();
        let reply = packet().macs(GATEWAY_MAC, SOURCE_MAC).vlan(110).arp(
            arp::REPLY,
            (GATEWAY_MAC, "10.10.110.1"),
            (SOURCE_MAC, "10.10.110.21"),
        );
        assert_eq!(answer(&request), Some(reply.build().bytes));
        assert_eq!(
            answer(&packet().vlan(205).arp_request("10.10.110.21", "10.10.110.1").build()),
            None
        );
        let request = packet()
            .to_mac(GATEWAY_MAC)
            .vlan(110)
            .ip("10.10.110.21", "10.10.110.1")
            .echo(5, 6)
            .payload(b"abc");
        let answered = packet()
            .macs(GATEWAY_MAC, SOURCE_MAC)
            .vlan(110)
            .ip("10.10.110.1", "10.10.110.21");
        assert_eq!(
            answer(&request.build()),
            Some(answered.echo_reply(5, 6).payload(b"abc").build().bytes)
        );
    }
}
