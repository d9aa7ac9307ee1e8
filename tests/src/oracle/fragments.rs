//! Fragments: later ones share the fate of their first.

use std::net::IpAddr;

use enforcer_common::verdict::{DropReason, Stage};

use super::Oracle;
use super::place::Space;
use super::rules::{self, Ruling, Wanted};
use super::service::{answered_by, asked_for};
use super::session::{Crossing, SECOND};

/// Seconds that a first fragment is remembered.
const FRAGMENT_SECONDS: u64 = 30;

/// What first fragments settled.
pub(super) type Fragments<'p> = Vec<Leader<'p>>;

#[derive(Clone, Debug)]
pub(super) struct Leader<'p> {
    space: Space,
    ends: (IpAddr, IpAddr),
    id: u32,
    /// IPv4 numbers packets a protocol apart (RFC 791), IPv6 does not (RFC 8200, section 4.5).
    protocol: Option<u8>,
    octets: usize,
    seen: u64,
    ruling: Ruling<'p>,
    generation: u32,
    /// What the session is about, by the first fragment's ports.
    service: Option<Wanted>,
}

impl Leader<'_> {
    fn is_same_packet(&self, other: &Self) -> bool {
        (self.space, self.ends, self.id, self.protocol) == (other.space, other.ends, other.id, other.protocol)
    }
}

impl<'p> Oracle<'p> {
    /// Remembers a first fragment.
    pub(super) fn lead(&mut self, frame: &Crossing<'_>, id: u32, ruling: Ruling<'p>) {
        let mut leader = Leader {
            space: frame.space(),
            ends: (frame.ip.source, frame.ip.destination),
            id,
            protocol: frame.ip.source.is_ipv4().then(|| frame.ip.protocol()),
            octets: frame.ip.header() + frame.ip.payload,
            seen: frame.now,
            ruling,
            generation: self.generation,
            service: if ruling.answers {
                answered_by(frame.ip)
            } else {
                Some(asked_for(frame.ip))
            },
        };
        // One that comes again does not give back what the one before covered.
        let fresh = |other: &&Leader<'_>| frame.now - other.seen <= FRAGMENT_SECONDS * SECOND;
        let before = self
            .fragments
            .iter()
            .filter(fresh)
            .find(|other| other.is_same_packet(&leader));
        leader.octets = leader.octets.max(before.map_or(0, |before| before.octets));
        self.fragments.retain(|other| !other.is_same_packet(&leader));
        self.fragments.push(leader);
    }

    /// A later fragment shares the fate of its first one.
    pub(super) fn follow(&self, frame: &Crossing<'_>, id: u32, offset: usize) -> Ruling<'p> {
        let refused = |refusal| Ruling {
            rule: "",
            refusal,
            log: false,
            stage: Stage::Flow,
            answers: false,
            monitored: false,
            question: None,
        };
        let protocol = frame.ip.source.is_ipv4().then(|| frame.ip.protocol());
        let ends = (frame.ip.source, frame.ip.destination);
        let first = self.fragments.iter().find(|first| {
            (first.space, first.ends, first.id, first.protocol) == (frame.space(), ends, id, protocol)
                && frame.now - first.seen <= FRAGMENT_SECONDS * SECOND
        });
        let Some(first) = first else {
            return refused(DropReason::FragmentOrphan);
        };
        if offset < first.octets {
            return refused(DropReason::OverlappingFragment);
        }
        if first.generation == self.generation {
            return Ruling {
                answers: first.ruling.answers,
                ..first.ruling.still(self.policy, frame.now).known()
            };
        }
        // The policy has changed since.
        let ruling = match first.service {
            Some(service) if !first.ruling.answers => {
                rules::ruling(self.policy, frame.source, frame.destination, service, frame.now)
            }
            service => self.answer(frame, service),
        };
        Ruling {
            answers: first.ruling.answers,
            ..ruling.known()
        }
    }
}
