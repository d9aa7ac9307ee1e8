//! A VLAN switch: untagged access ports, one tagged uplink.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use crate::packet::Mac;

use super::sys::{PacketSocket, readable};
use super::worker::{PATIENCE, Worker};

/// An access port: the far end of a device's cable, and the VLAN that its frames belong to.
#[derive(Debug)]
pub struct AccessPort {
    /// The file of the device's TAP interface.
    pub cable: File,
    /// The VLAN id.
    pub vlan: u16,
}

/// A running switch.
///
/// It is as trusting as a real one with default settings: a frame that a device sends with tags of its own gets the
/// access VLAN's tag in front, and the rest is none of the switch's business. That is what makes double tagging an
/// attack to try.
#[derive(Debug)]
pub struct Switch {
    #[expect(dead_code, reason = "held for its drop, which stops the thread")]
    worker: Worker,
}

impl Switch {
    /// Starts switching between access ports and an uplink.
    pub fn start(ports: Vec<AccessPort>, uplink: PacketSocket) -> io::Result<Self> {
        let mut fabric = Fabric {
            ports,
            uplink,
            learned: HashMap::new(),
        };
        let worker = Worker::start("switch", move || fabric.step())?;
        Ok(Self { worker })
    }
}

/// Where a frame came from or goes to: an access port, or the uplink.
type Place = Option<usize>;

struct Fabric {
    ports: Vec<AccessPort>,
    uplink: PacketSocket,
    learned: HashMap<(u16, Mac), Place>,
}

impl Fabric {
    fn step(&mut self) {
        let mut sources: Vec<BorrowedFd<'_>> = self.ports.iter().map(|port| port.cable.as_fd()).collect();
        sources.push(self.uplink.as_fd());
        let ready = readable(&sources, PATIENCE).expect("polling the switch ports");
        for (source, _) in ready.iter().enumerate().filter(|(_, ready)| **ready) {
            if source < self.ports.len() {
                self.arrived_at(source);
            } else {
                self.arrived_by_uplink();
            }
        }
    }

    fn arrived_at(&mut self, port: usize) {
        let mut buffer = vec![0; 66_000];
        while let Ok(length) = self.ports[port].cable.read(&mut buffer) {
            if length >= 14 {
                self.forward(Some(port), self.ports[port].vlan, &buffer[..length]);
            }
        }
    }

    fn arrived_by_uplink(&mut self) {
        while let Ok(Some(frame)) = self.uplink.receive() {
            let Some((vlan, frame)) = without_tag(frame) else {
                continue;
            };
            self.forward(None, vlan, &frame);
        }
    }

    /// Sends an untagged frame of a VLAN on: to where its destination was seen, or everywhere in the VLAN.
    fn forward(&mut self, from: Place, vlan: u16, frame: &[u8]) {
        let (destination, source) = (mac(&frame[..6]), mac(&frame[6..12]));
        self.learned.insert((vlan, source), from);
        match self.learned.get(&(vlan, destination)) {
            Some(to) if *to == from => {}
            Some(to) => self.send(*to, vlan, frame),
            None => {
                let members = (0..self.ports.len())
                    .filter(|port| self.ports[*port].vlan == vlan)
                    .map(Some);
                for to in members.chain([None]).filter(|to| *to != from) {
                    self.send(to, vlan, frame);
                }
            }
        }
    }

    /// A device that is down, or a frame that its cable does not take, is the sender's loss, as on a real switch.
    fn send(&self, to: Place, vlan: u16, frame: &[u8]) {
        let _ = match to {
            Some(port) => (&self.ports[port].cable).write(frame).map(|_| ()),
            None => self.uplink.send(&with_tag(vlan, frame)),
        };
    }
}

fn mac(octets: &[u8]) -> Mac {
    octets.try_into().expect("six octets")
}

/// The frame with an 802.1Q tag put in.
pub fn with_tag(vlan: u16, frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &[0x81, 0], &vlan.to_be_bytes(), &frame[12..]].concat()
}

/// The VLAN id of a tagged frame and the frame without its outer tag; `None` when it has none.
pub fn without_tag(mut frame: Vec<u8>) -> Option<(u16, Vec<u8>)> {
    if frame.len() < 18 || frame[12..14] != [0x81, 0] {
        return None;
    }
    let vlan = u16::from_be_bytes([frame[14], frame[15]]) & 0xfff;
    frame.drain(12..16);
    Some((vlan, frame))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::packet;

    #[test]
    fn tags_are_put_in_and_taken_out() {
        let plain = packet().ip("10.0.0.1", "10.0.0.2").udp(1, 2).payload(b"x").build();
        let tagged = packet()
            .vlan(110)
            .ip("10.0.0.1", "10.0.0.2")
            .udp(1, 2)
            .payload(b"x")
            .build();
        assert_eq!(with_tag(110, &plain), tagged.bytes);
        assert_eq!(without_tag(tagged.bytes), Some((110, plain.bytes.clone())));
        assert_eq!(without_tag(plain.bytes), None);
    }
}
