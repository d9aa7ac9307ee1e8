//! Services that neither policy can tell apart, and how sets of them are written.

use std::collections::HashMap;

use enforcer_common::packet::{icmpv6, protocol};

use super::side::Side;
use crate::words;

/// Protocols that IPv6 has as headers of its own, so that no packet asks for them.
const EXTENSIONS: [u8; 7] = [0, 43, 44, 51, 60, 135, 139];
/// More protocols than people name: a set of so many is told by what it leaves out.
const MOST: usize = 128;

/// A set of classes, sorted.
pub(super) type Set = Vec<u32>;

/// Ports of one protocol, and their class; all of 0 to 65535 for a protocol without ports.
#[derive(Clone, Copy)]
struct Piece {
    protocol: u8,
    first: u16,
    last: u16,
    class: u32,
}

/// The classes of both policies together.
pub(super) struct Services {
    pieces: Vec<Piece>,
    /// By class: its class before and after.
    pub(super) classes: Vec<[u32; 2]>,
}

impl Services {
    pub(super) fn new(sides: [&Side<'_>; 2]) -> Self {
        let mut numbers: HashMap<[u32; 2], u32> = HashMap::new();
        let mut services = Self {
            pieces: Vec::new(),
            classes: Vec::new(),
        };
        for protocol in 0..=u8::MAX {
            let ports = sides.iter().any(|side| side.has_ports(protocol));
            let last = if ports { u16::MAX } else { 0 };
            let mut before = None;
            for port in 0..=last {
                let pair = sides.map(|side| side.class(protocol, port));
                if before.replace(pair) == Some(pair) {
                    services
                        .pieces
                        .last_mut()
                        .into_iter()
                        .for_each(|piece| piece.last = port);
                    continue;
                }
                let next = services.classes.len() as u32;
                let class = *numbers.entry(pair).or_insert(next);
                if class == next {
                    services.classes.push(pair);
                }
                services.extend(protocol, port, class);
            }
            if let Some(piece) = services.pieces.last_mut().filter(|_| !ports) {
                piece.last = u16::MAX;
            }
        }
        services
    }

    fn extend(&mut self, protocol: u8, port: u16, class: u32) {
        match self.pieces.last_mut() {
            Some(piece) if piece.protocol == protocol && piece.class == class => piece.last = port,
            _ => self.pieces.push(Piece {
                protocol,
                first: port,
                last: port,
                class,
            }),
        }
    }

    /// Protocol and port of a packet of the set, one that people know first; `None` when packets of the family have none.
    /// `redirects` says whether ICMPv6 redirects meet no guard.
    pub(super) fn example(&self, set: &[u32], six: bool, redirects: bool) -> Option<(u8, u16)> {
        let inside = |piece: &&Piece| set.binary_search(&piece.class).is_ok();
        let candidates = self.pieces.iter().filter(inside);
        let possible = candidates.filter_map(|piece| possible(*piece, six, redirects));
        possible.min_by_key(|&(protocol, port)| match protocol {
            protocol::TCP if port > 0 => 0,
            protocol::UDP if port > 0 => 1,
            protocol::ICMP | protocol::ICMPV6 => 2,
            _ => 3,
        })
    }

    /// The set in words, and what it leaves out: nearly everything is told by what is missing.
    pub(super) fn text(&self, set: &[u32]) -> (Vec<String>, Vec<String>) {
        let inside = |piece: &&Piece| set.binary_search(&piece.class).is_ok();
        let whole = |piece: &&Piece| piece.first == 0 && piece.last == u16::MAX;
        if self.pieces.iter().filter(inside).filter(whole).count() < MOST {
            return (listed(self.pieces.iter().filter(inside)), Vec::new());
        }
        let outside = self.pieces.iter().filter(|piece| !inside(piece));
        (vec!["any".to_owned()], listed(outside))
    }
}

/// A service of a piece that packets of a family can ask for.
fn possible(piece: Piece, six: bool, redirects: bool) -> Option<(u8, u16)> {
    let Piece {
        protocol, first, last, ..
    } = piece;
    let service = |port| Some((protocol, port));
    match protocol {
        // A connection to port 0 is nothing that people know.
        protocol::TCP | protocol::UDP => service(first.max(1).min(last)),
        protocol::ICMP if six => None,
        protocol::ICMPV6 if !six => None,
        // Neighbour discovery is never a matter of rules.
        protocol::ICMPV6 => {
            let discovery = |kind: u16| match kind as u8 {
                icmpv6::ROUTER_SOLICITATION..=icmpv6::NEIGHBOUR_ADVERTISEMENT => true,
                icmpv6::REDIRECT => !redirects,
                _ => false,
            };
            let echo = 128 << 8;
            if (first..=last).contains(&echo) {
                return service(echo);
            }
            (first..=last).find(|port| !discovery(port >> 8)).and_then(service)
        }
        protocol::ICMP => {
            let echo = 8 << 8;
            service(if (first..=last).contains(&echo) { echo } else { first })
        }
        _ if six && EXTENSIONS.contains(&protocol) => None,
        _ => service(0),
    }
}

fn listed<'s>(pieces: impl Iterator<Item = &'s Piece>) -> Vec<String> {
    let mut joined: Vec<Piece> = Vec::new();
    for piece in pieces {
        match joined.last_mut() {
            Some(last) if last.protocol == piece.protocol && last.last.checked_add(1) == Some(piece.first) => {
                last.last = piece.last;
            }
            _ => joined.push(*piece),
        }
    }
    joined.sort_by_key(|piece| ![protocol::TCP, protocol::UDP].contains(&piece.protocol));
    let text = |piece: &Piece| written(piece.protocol, piece.first, piece.last);
    joined.iter().map(text).collect()
}

/// `tcp/443`, `tcp/1-1023`, `icmp/8`, `gre`.
pub(super) fn written(protocol: u8, first: u16, last: u16) -> String {
    let name = words::protocol(protocol);
    match protocol {
        _ if first == 0 && last == u16::MAX => name,
        protocol::ICMP | protocol::ICMPV6 if first.trailing_zeros() >= 8 && last.trailing_ones() >= 8 => {
            match (first >> 8, last >> 8) {
                (first, last) if first == last => format!("{name}/{first}"),
                (first, last) => format!("{name}/{first}-{last}"),
            }
        }
        protocol::ICMP | protocol::ICMPV6 if first == last => words::service(protocol, first),
        protocol::ICMP | protocol::ICMPV6 => {
            let bound = |port: u16| format!("{}/{}", port >> 8, port & 0xff);
            format!("{name}/{}-{}", bound(first), bound(last))
        }
        _ if first == last => format!("{name}/{first}"),
        _ => format!("{name}/{first}-{last}"),
    }
}
