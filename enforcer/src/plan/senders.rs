//! Who sends, from where, and who can receive it: addresses in classes that neither policy can tell apart.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use enforcer_common::abi::{NO_LAN, SELF_ZONE, UNKNOWN_ZONE, guard, guard_mode, mode};
use enforcer_common::classify::is_invalid_source;

use super::atoms::{self, Atom, Leases};
use super::effects::Gate;
use super::side::Side;

/// How a sender stands in one of the policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Its VLAN is not declared.
    Nowhere,
    /// It sends on a VLAN.
    On {
        /// Its identity.
        source: u32,
        /// The mode of its zone.
        mode: u32,
        /// The mode of the VLAN.
        lan_mode: u32,
        /// What the source guard does about it.
        guard: u32,
    },
}

impl Standing {
    /// What stands between the sender and its rule towards a receiver whose zone has this mode. `strays`: it may not send there.
    pub(super) fn gate(self, receiver_mode: u32, strays: bool) -> Gate {
        match self {
            Self::Nowhere => Gate::Closed { monitored: false },
            Self::On { lan_mode, guard, .. } if strays || guard == guard_mode::ENFORCE => Gate::Closed {
                monitored: is_monitor(lan_mode | receiver_mode),
            },
            Self::On {
                mode, lan_mode, guard, ..
            } => {
                let modes = match mode | receiver_mode {
                    0 => lan_mode,
                    modes => modes,
                };
                Gate::Open {
                    monitored: is_monitor(modes),
                    noted: guard == guard_mode::MONITOR,
                }
            }
        }
    }

    /// Its identity, where the rules are asked.
    pub(super) fn source(self) -> Option<u32> {
        match self {
            Self::On { source, guard, .. } if guard != guard_mode::ENFORCE => Some(source),
            _ => None,
        }
    }

    /// The same for all senders that only their identities tell apart.
    pub(super) fn without_identity(self) -> Self {
        match self {
            Self::Nowhere => self,
            Self::On {
                mode, lan_mode, guard, ..
            } => Self::On {
                source: 0,
                mode,
                lan_mode,
                guard,
            },
        }
    }
}

/// The zones of an address, before and after.
pub(super) type Zones = [u16; 2];

/// What tells senders apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SenderKey {
    pub(super) zones: Zones,
    /// Addresses that every VLAN has.
    pub(super) link: bool,
    pub(super) six: bool,
    pub(super) standings: [Standing; 2],
}

/// What tells receivers apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ReceiverKey {
    /// First, so that those of a family and a block stand together.
    pub(super) six: bool,
    /// Identities over 256. 0 where there is no address space.
    blocks: [u32; 2],
    pub(super) identities: [u32; 2],
    pub(super) modes: [u32; 2],
    pub(super) zones: Zones,
    /// Where they live.
    lans: [u16; 2],
    pub(super) link: bool,
}

impl ReceiverKey {
    /// Whether what is sent to them stays on this VLAN of one of the policies, or ends at the gateway.
    pub(super) fn is_of_link(&self, side: usize, lan: Option<u16>) -> bool {
        self.link || self.zones[side] == SELF_ZONE || Some(self.lans[side]) == lan
    }

    /// Receivers with equal groups are in the same blocks of the tables.
    pub(super) fn group(&self) -> ([u32; 2], bool) {
        (self.blocks, self.six)
    }
}

/// Atoms by what tells them apart.
pub(super) type Classes<K> = Vec<(K, Vec<Atom>)>;

/// Senders that see the same receivers.
pub(super) struct Site {
    /// Their VLAN, before and after.
    pub(super) lans: [Option<u16>; 2],
    /// They live on no VLAN: the gateway, and strangers.
    pub(super) homeless: bool,
    pub(super) senders: Classes<SenderKey>,
    /// Empty where they are another site's matter.
    pub(super) stations: Rc<Classes<ReceiverKey>>,
    /// Link-scoped addresses of the VLAN.
    pub(super) groups: Rc<Classes<ReceiverKey>>,
}

/// An address space.
struct Space {
    atoms: Vec<Atom>,
    /// Those that live on no VLAN in either policy.
    strangers: Vec<Atom>,
    receivers: Rc<Classes<ReceiverKey>>,
}

/// All senders, with those whom they can reach.
pub(super) fn sites(sides: &[Side<'_>; 2], leases: &Leases) -> Vec<Site> {
    let mut builder = Builder {
        sides,
        leases,
        spaces: HashMap::new(),
    };
    builder.build()
}

type Lans = [Option<u16>; 2];

struct Builder<'s, 'p> {
    sides: &'s [Side<'p>; 2],
    leases: &'s Leases,
    /// By names of address spaces.
    spaces: HashMap<[Option<&'p str>; 2], Rc<Space>>,
}

impl<'p> Builder<'_, 'p> {
    fn build(&mut self) -> Vec<Site> {
        let mut senders: BTreeMap<Lans, BTreeMap<SenderKey, Vec<Atom>>> = BTreeMap::new();
        let mut lans: Vec<Lans> = self.declared();
        for realm in self.realms() {
            let seen = self.sides.each_ref().map(|side| side.lan_in(realm));
            for atom in &self.space(seen).atoms {
                if let Some((lans, key)) = self.resident(atom) {
                    senders.entry(lans).or_default().entry(key).or_default().push(*atom);
                }
            }
        }
        lans.extend(senders.keys().copied());
        lans.sort_unstable();
        lans.dedup();
        // A VLAN whose stations move has its place beside the one that they move to.
        let moved: Vec<Lans> = lans
            .iter()
            .copied()
            .filter(|lans| lans.iter().all(Option::is_some))
            .collect();
        let has_moved = |lans: &Lans| {
            moved
                .iter()
                .any(|pair| (0..2).any(|side| lans[side].is_some() && lans[side] == pair[side]))
        };
        lans.retain(|lans| senders.contains_key(lans) || lans.iter().all(Option::is_some) || !has_moved(lans));
        let mut sites = Vec::new();
        let mut strangers_told = Vec::new();
        for lans in lans {
            let link = atoms::of_link(self.sides, lans);
            let mut own = senders.remove(&lans).unwrap_or_default();
            for atom in &link {
                if let Some(key) = self.neighbour(atom, lans) {
                    own.entry(key).or_default().push(*atom);
                }
            }
            let space = self.space(lans);
            let groups = Rc::new(self.receivers(&link, true));
            sites.push(Site {
                lans,
                homeless: false,
                senders: own.into_iter().collect(),
                stations: Rc::clone(&space.receivers),
                groups: Rc::clone(&groups),
            });
            // A VLAN that comes or goes is told of by itself.
            let [Some(_), Some(_)] = lans else { continue };
            let senders = self.strangers(&space.strangers, lans);
            // What strangers may do towards stations is the same on all VLANs of a kind.
            let kind = (
                self.names(lans),
                senders.first().map(|(key, _)| key.standings.map(modes)),
            );
            let told = strangers_told.contains(&kind);
            strangers_told.push(kind);
            sites.push(Site {
                lans,
                homeless: true,
                senders,
                stations: if told {
                    Rc::default()
                } else {
                    Rc::clone(&space.receivers)
                },
                groups,
            });
        }
        sites
    }

    /// The VLANs that either policy declares, by their tags.
    fn declared(&self) -> Vec<Lans> {
        let tags = |side: &Side<'_>| -> Vec<_> {
            let lans = 1..side.tables().names.lans.len() as u16;
            lans.filter_map(|lan| side.tags(lan)).collect()
        };
        let all = self.sides.iter().flat_map(tags);
        all.map(|tags| self.sides.each_ref().map(|side| side.lan_of(tags)))
            .collect()
    }

    fn realms(&self) -> Vec<&'p str> {
        let mut names: Vec<&'p str> = self
            .sides
            .iter()
            .flat_map(|side| side.policy.realms.iter().map(String::as_str))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn names(&self, lans: Lans) -> [Option<&'p str>; 2] {
        [0, 1].map(|side| lans[side].map(|lan| self.sides[side].realm_of(lan)))
    }

    fn space(&mut self, lans: Lans) -> Rc<Space> {
        let names = self.names(lans);
        if let Some(known) = self.spaces.get(&names) {
            return Rc::clone(known);
        }
        let atoms = atoms::of_space(self.sides, lans, self.leases);
        let at_home = |side: usize, atom: &Atom| {
            let endpoint = atom.endpoints[side];
            endpoint.is_some_and(|number| self.sides[side].is_home(number))
        };
        let strangers = atoms.iter().filter(|atom| !at_home(0, atom) && !at_home(1, atom));
        let space = Rc::new(Space {
            strangers: strangers.filter(|atom| !is_nobody(atom)).copied().collect(),
            receivers: Rc::new(self.receivers(&atoms, false)),
            atoms,
        });
        self.spaces.insert(names, Rc::clone(&space));
        space
    }

    /// Where a station of either policy sends from, before and after, and how it stands there. Where one policy does not know it, it
    /// sends from where the other one does.
    fn resident(&self, atom: &Atom) -> Option<(Lans, SenderKey)> {
        let home = |side: usize| atom.endpoints[side].filter(|endpoint| self.sides[side].is_home(*endpoint));
        let homes = [home(0), home(1)];
        let lan = |side: usize| homes[side].map(|endpoint| self.sides[side].endpoint(endpoint).lan);
        let mut lans = [lan(0), lan(1)];
        let tags = [0, 1].map(|side| lans[side].and_then(|lan| self.sides[side].tags(lan)));
        for side in [0, 1] {
            if lans[side].is_none() {
                lans[side] = self.sides[side].lan_of(tags[1 - side]?);
            }
        }
        if is_nobody(atom) {
            return None;
        }
        let endpoints = [0, 1]
            .map(|side| homes[side].or_else(|| lans[side].map(|lan| self.sides[side].look_up(lan, atom.address))));
        Some((lans, self.sender(atom, endpoints, lans, false, false)))
    }

    /// How a link-scoped address stands on its VLAN, unless it is one of a group.
    fn neighbour(&self, atom: &Atom, lans: Lans) -> Option<SenderKey> {
        let gateway = |side: usize| atom.endpoints[side].is_some_and(|number| !self.sides[side].is_home(number));
        if is_nobody(atom) || gateway(0) || gateway(1) {
            return None;
        }
        Some(self.sender(atom, atom.endpoints, lans, true, false))
    }

    /// The gateway, and addresses that neither policy declares: they come by the uplink.
    fn strangers(&self, strangers: &[Atom], lans: Lans) -> Classes<SenderKey> {
        let mut classes: BTreeMap<SenderKey, Vec<Atom>> = BTreeMap::new();
        for atom in strangers {
            let key = self.sender(atom, atom.endpoints, lans, false, true);
            classes.entry(key).or_default().push(*atom);
        }
        classes.into_iter().collect()
    }

    fn sender(&self, atom: &Atom, endpoints: [Option<u32>; 2], lans: Lans, link: bool, uplink: bool) -> SenderKey {
        let standing = |side: usize| {
            let (Some(endpoint), Some(lan)) = (endpoints[side], lans[side]) else {
                return Standing::Nowhere;
            };
            let side = &self.sides[side];
            let (endpoint, place) = (side.endpoint(endpoint), side.lan(lan));
            let guard = if uplink || endpoint.lan == lan {
                guard_mode::OFF
            } else {
                place.guards >> guard::SOURCE & guard_mode::MASK
            };
            Standing::On {
                source: endpoint.source,
                mode: endpoint.mode,
                lan_mode: place.mode,
                guard,
            }
        };
        SenderKey {
            zones: self.zones(endpoints),
            link,
            six: atom.address.is_ipv6(),
            standings: [standing(0), standing(1)],
        }
    }

    fn zones(&self, endpoints: [Option<u32>; 2]) -> Zones {
        [0, 1].map(|side| endpoints[side].map_or(UNKNOWN_ZONE, |number| self.sides[side].endpoint(number).zone))
    }

    fn receivers(&self, atoms: &[Atom], link: bool) -> Classes<ReceiverKey> {
        let mut classes: BTreeMap<ReceiverKey, Vec<Atom>> = BTreeMap::new();
        for atom in atoms.iter().filter(|atom| !atom.address.is_unspecified()) {
            let endpoint = |side: usize| atom.endpoints[side].map(|number| self.sides[side].endpoint(number));
            let ends = [endpoint(0), endpoint(1)];
            let identities = ends.map(|end| end.map_or(0, |end| end.destination));
            let key = ReceiverKey {
                blocks: identities.map(|identity| identity >> 8),
                identities,
                modes: ends.map(|end| end.map_or(0, |end| end.mode)),
                zones: self.zones(atom.endpoints),
                lans: ends.map(|end| end.map_or(NO_LAN, |end| end.lan)),
                link,
                six: atom.address.is_ipv6(),
            };
            classes.entry(key).or_default().push(*atom);
        }
        classes.into_iter().collect()
    }
}

fn modes(standing: Standing) -> Option<u32> {
    match standing {
        Standing::Nowhere => None,
        Standing::On { lan_mode, .. } => Some(lan_mode),
    }
}

/// An address that no frame comes from.
fn is_nobody(atom: &Atom) -> bool {
    let (family, words) = super::side::words(atom.address);
    is_invalid_source(family, &words)
}

/// Whether what would be dropped between zones of these modes passes.
const fn is_monitor(modes: u32) -> bool {
    modes & (mode::MONITOR | mode::ENFORCE) == mode::MONITOR
}

/// Whether a zone is built in.
pub(super) fn is_built_in(zone: u16) -> bool {
    zone == UNKNOWN_ZONE || zone == SELF_ZONE
}
