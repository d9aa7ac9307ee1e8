//! Sequences of frames: conversations with answers, errors and pieces, noise between them, and pauses.

mod link;
mod options;

use enforcer::policy::ValidPolicy;
use enforcer::policy::valid::VlanId;

use super::aims::Aims;
use super::{ACCESS, EAST, MONITOR_TRUNK, NATIVE_VLAN, NO_PORT, OPEN, Random, TRUNK, WEST};
use crate::oracle::{About, Beside, Content, Damage, Ip, Part, Quote, Sent, Transport};
use crate::packet::tcp_flags::{ACK, FIN, PSH, RST, SYN};
use crate::packet::{DESTINATION_MAC, SOURCE_MAC, protocol};

/// Flags that TCP sends, and some that it does not.
const FLAGS: [u8; 15] = [
    SYN,
    SYN,
    SYN | ACK,
    SYN | ACK,
    ACK,
    ACK,
    ACK | PSH,
    FIN | ACK,
    FIN,
    RST,
    RST | ACK,
    0,
    PSH,
    SYN | FIN,
    SYN | RST,
];
/// What most segments have.
const USUAL_FLAGS: [u8; 4] = [SYN, SYN | ACK, ACK, ACK];
/// Idle seconds at which something is forgotten.
const PATIENCE: [u64; 8] = [10, 30, 30, 60, 60, 120, 180, 5 * 24 * 60 * 60];
/// Conversations that go on beside each other.
const CONVERSATIONS: usize = 12;
const SECOND: u64 = 1_000_000_000;

/// A frame, and how long after the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Nanoseconds.
    pub pause: u64,
    /// The frame.
    pub sent: Sent,
    /// Before it, another policy comes into force.
    pub swap: bool,
}

impl Step {
    fn new(pause: u64, sent: Sent) -> Self {
        let swap = false;
        Self { pause, sent, swap }
    }
}

/// Two ends that speak.
#[derive(Clone, Debug)]
struct Conversation {
    ifindex: u32,
    /// Tags at either end.
    vlans: [VlanId; 2],
    /// The packet that the first end sends.
    ip: Ip,
    /// Octets of the last first fragment, transport header included.
    first: usize,
    id: u32,
}

/// An endless source of frames for a policy.
pub struct Traffic<'p> {
    random: Random,
    aims: Aims<'p>,
    conversations: Vec<Conversation>,
    /// The conversation that the last frame was of.
    last: usize,
}

impl<'p> Traffic<'p> {
    /// Frames for a policy.
    pub fn new(policy: &'p ValidPolicy, beside: &'p Beside, random: Random) -> Self {
        Self {
            random,
            aims: Aims::new(policy, beside),
            conversations: Vec::new(),
            last: 0,
        }
    }

    /// The next frame.
    pub fn step(&mut self) -> Step {
        let pause = match self.random.below(100) {
            // Exactly when something is forgotten, or just before or after, and then about that same thing.
            0..4 if !self.conversations.is_empty() => {
                let pause = self.random.pick(&PATIENCE) * SECOND - 1 + self.random.below(3) as u64;
                let sent = self.go_on(self.last);
                return Step::new(pause, sent);
            }
            4..8 => self.random.bits() % (4 * SECOND),
            8..40 => self.random.bits() % 1_000_000,
            _ => 0,
        };
        let mut sent = match self.random.below(100) {
            0..62 if !self.conversations.is_empty() => {
                if self.random.percent(50) {
                    self.last = self.random.below(self.conversations.len());
                }
                self.go_on(self.last)
            }
            62..68 => self.resolution(),
            68..72 => self.control(),
            72..75 => match self.management() {
                Some(sent) => sent,
                None => self.begin(),
            },
            _ => self.begin(),
        };
        if self.random.percent(1) {
            sent.source_mac[0] |= 1;
        }
        if self.random.percent(4) {
            let damage = self.random.pick(&Damage::ALL);
            if damage.suits(&sent) {
                sent.damage = damage;
            }
        }
        Step::new(pause, sent)
    }

    fn ifindex(&mut self) -> u32 {
        match self.random.below(100) {
            0..8 => MONITOR_TRUNK,
            8..18 => ACCESS,
            18..20 => NO_PORT,
            20..28 => EAST,
            28..36 => WEST,
            36..40 => OPEN,
            _ => TRUNK,
        }
    }

    fn tags(&mut self, ifindex: u32, vlan: VlanId) -> Vec<u16> {
        let priority = if self.random.percent(10) { 0xf000 } else { 0 };
        let mut tags = vec![vlan.outer | priority];
        tags.extend(vlan.inner.map(|inner| inner | priority));
        if ifindex == ACCESS && vlan.outer == NATIVE_VLAN && self.random.percent(60) {
            // Untagged, or with a priority alone.
            tags = if self.random.percent(80) { vec![] } else { vec![0xe000] };
        }
        if self.random.percent(2) {
            tags.push(self.random.pick(&[0, 10, 11, 100]));
        }
        if self.random.percent(1) {
            tags.extend([100, 10]);
        }
        tags
    }

    fn sent(&mut self, ifindex: u32, vlan: VlanId, content: Content) -> Sent {
        let source = match &content {
            Content::Ip(ip) => self.aims.mac(&mut self.random, ip.source),
            Content::Arp(arp) => self.aims.mac(&mut self.random, arp.sender.1.into()),
            _ => SOURCE_MAC,
        };
        Sent {
            ifindex,
            source_mac: source,
            destination_mac: DESTINATION_MAC,
            tags: self.tags(ifindex, vlan),
            content,
            damage: Damage::None,
        }
    }

    /// A new conversation and its first frame.
    fn begin(&mut self) -> Sent {
        let ifindex = self.ifindex();
        let vlan = self.aims.vlan(&mut self.random);
        let six = self.random.percent(45);
        let source = if self.random.percent(85) {
            self.aims.source(&mut self.random, vlan, six)
        } else {
            self.aims.address(&mut self.random, six)
        };
        let destination = self.aims.address(&mut self.random, six);
        let transport = self.transport(six);
        let ip = Ip {
            source,
            destination,
            hops: if self.random.percent(10) { 255 } else { 64 },
            extensions: if self.random.percent(10) {
                self.random.below(6)
            } else {
                0
            },
            part: Part::Whole,
            transport,
            payload: self.random.pick(&[32, 32, 32, 32, 0, 300, 1_400]),
        };
        let back = self.aims.vlan_of(vlan, destination).unwrap_or(vlan);
        let conversation = Conversation {
            ifindex,
            vlans: [vlan, back],
            ip,
            first: 0,
            id: self.random.below(6) as u32,
        };
        if self.conversations.len() < CONVERSATIONS {
            self.last = self.conversations.len();
            self.conversations.push(conversation);
        } else {
            self.last = self.random.below(CONVERSATIONS);
            self.conversations[self.last] = conversation;
        }
        let Conversation { ip, .. } = self.conversations[self.last].clone();
        if self.random.percent(12) {
            return self.part(self.last);
        }
        self.sent(ifindex, vlan, Content::Ip(ip))
    }

    fn transport(&mut self, six: bool) -> Transport {
        let (number, port) = loop {
            let service = self.aims.service(&mut self.random);
            // Seldom the other family's ICMP.
            let foreign = if six { protocol::ICMP } else { protocol::ICMPV6 };
            if service.0 != foreign || self.random.percent(3) {
                break service;
            }
        };
        let client = self.random.pick(&[40_000, 40_001, 47_808, 443, 67, 547, 0]);
        let [kind, code] = port.to_be_bytes();
        match number {
            protocol::TCP => Transport::Tcp {
                source: client,
                destination: port,
                flags: if self.random.percent(75) {
                    SYN
                } else {
                    self.random.pick(&FLAGS)
                },
                options: options::of(&mut self.random),
            },
            protocol::UDP => Transport::Udp {
                source: client,
                destination: port,
            },
            protocol::ICMP if !six => self.icmp(kind, code),
            protocol::ICMPV6 if six => self.icmp(kind, code),
            // These are extension headers of IPv6, not what follows them.
            0 | 43 | 44 | 51 | 60 | 135 | 139 | 140 if six => Transport::Other(253),
            number => Transport::Other(number),
        }
    }

    fn icmp(&mut self, kind: u8, code: u8) -> Transport {
        Transport::Icmp {
            kind,
            code,
            id: self.random.pick(&[0, 1, 2]),
            about: About::Nothing,
        }
    }

    /// One more frame of a conversation: the same again, an answer, an error, or a piece.
    fn go_on(&mut self, index: usize) -> Sent {
        let conversation = self.conversations[index].clone();
        let Conversation { ifindex, vlans, ip, .. } = conversation;
        match self.random.below(100) {
            0..34 => {
                let ip = self.varied(ip);
                self.sent(ifindex, vlans[0], Content::Ip(ip))
            }
            34..78 => {
                let ip = self.varied(ip.reversed());
                self.sent(ifindex, vlans[1], Content::Ip(ip))
            }
            78..88 => self.error(ifindex, vlans, &ip),
            _ => self.part(index),
        }
    }

    /// With other TCP flags and options, and seldom to another port or by the other end's identifier.
    fn varied(&mut self, mut ip: Ip) -> Ip {
        let new_options = options::of(&mut self.random);
        match &mut ip.transport {
            Transport::Tcp {
                flags, source, options, ..
            } => {
                *options = new_options;
                let usual = self.random.percent(70);
                *flags = if usual {
                    self.random.pick(&USUAL_FLAGS)
                } else {
                    self.random.pick(&FLAGS)
                };
                if self.random.percent(3) {
                    *source ^= 1;
                }
            }
            Transport::Icmp { kind, .. } if self.random.percent(10) => {
                // Both ends may ask at the same time.
                *kind = match *kind {
                    0 => 8,
                    129 => 128,
                    other => other,
                };
            }
            _ => {}
        }
        ip
    }

    /// An ICMP error about a packet of the conversation, from its other end or from a router on the way.
    fn error(&mut self, ifindex: u32, vlans: [VlanId; 2], ip: &Ip) -> Sent {
        let six = ip.source.is_ipv6();
        let answers = self.random.percent(30);
        let about = if answers { ip.reversed() } else { ip.clone() };
        let vlan = vlans[usize::from(!answers)];
        let source = if self.random.percent(60) {
            about.destination
        } else {
            self.aims.source(&mut self.random, vlan, six)
        };
        let destination = if self.random.percent(85) {
            about.source
        } else {
            self.aims.address(&mut self.random, six)
        };
        let kind = if six {
            self.random.pick(&[1, 2, 3, 4, 137])
        } else {
            self.random.pick(&[3, 11, 12, 5])
        };
        let left = self.random.pick(&[8, 8, 8, 20, 7, 0]);
        let error = Ip {
            source,
            destination,
            hops: 64,
            extensions: 0,
            part: Part::Whole,
            transport: Transport::Icmp {
                kind,
                code: 0,
                id: 0,
                about: About::Quote(Box::new(Quote { ip: about, left })),
            },
            payload: 0,
        };
        self.sent(ifindex, vlan, Content::Ip(error))
    }

    /// A fragment: a first one, or one that follows the last first one more or less well.
    fn part(&mut self, index: usize) -> Sent {
        let conversation = self.conversations[index].clone();
        let Conversation {
            ifindex,
            vlans,
            mut ip,
            first,
            id,
        } = conversation;
        if matches!(ip.transport, Transport::Tcp { .. }) {
            ip = self.varied(ip);
        }
        ip.payload = 64 - ip.header();
        if first == 0 || self.random.percent(35) {
            ip.payload += 8 * self.random.below(3);
            let id = if self.random.percent(70) { id + 1 } else { id };
            (self.conversations[index].first, self.conversations[index].id) = (ip.header() + ip.payload, id);
            // Now and then one that leaves a gap.
            ip.payload += usize::from(self.random.percent(4));
            ip.part = Part::First(id);
        } else {
            let offset = match self.random.below(6) {
                0 => first - 8,
                1 => 8,
                2 => first + 8,
                3 => self.random.pick(&[65_528, 65_400]),
                _ => first,
            };
            ip.payload = if self.random.percent(85) { 64 } else { 61 };
            ip.part = Part::Later {
                id: if self.random.percent(90) { id } else { id + 1 },
                offset: offset as u16,
                more: self.random.percent(50),
            };
            if self.random.percent(10) {
                // RFC 8200: the next headers of later fragments say nothing.
                ip.transport = Transport::Other(self.random.pick(&[17, 6, 253, 60]));
            }
            if self.random.percent(5) {
                (ip.source, ip.destination) = (ip.destination, ip.source);
            }
        }
        self.sent(ifindex, vlans[0], Content::Ip(ip))
    }
}
