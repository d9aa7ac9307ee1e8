//! The walk over all pairs of senders and receivers: where the two policies differ.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::rc::Rc;

use super::atoms::Atom;
use super::effects::{Effects, Gate, Numbers};
use super::senders::{Classes, ReceiverKey, SenderKey, Site, Standing, Zones};
use super::services::{Services, Set};
use super::side::Side;

/// What packets of a set of services meet with, by numbers of effects and of the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Difference {
    pub(super) before: u32,
    pub(super) after: u32,
    pub(super) services: u32,
}

/// The senders and the receivers between which a difference is: each of the ones with each of the others.
pub(super) struct Block {
    pub(super) difference: Difference,
    pub(super) senders: Party,
    pub(super) receivers: Party,
    /// The number of their site.
    pub(super) site: usize,
}

/// Addresses of a zone, or of those that were of one zone and are of another.
pub(super) struct Party {
    pub(super) zones: Zones,
    pub(super) link: bool,
    pub(super) six: bool,
    pub(super) atoms: Vec<Atom>,
    /// Those of the zone that are not among them: none, if these are all.
    pub(super) others: Vec<Atom>,
}

/// What is compared, and what is known already.
pub(super) struct Walk<'s, 'p> {
    sides: &'s [Side<'p>; 2],
    services: &'s Services,
    pub(super) effects: Effects,
    pub(super) sets: Numbers<Set>,
    /// By profiles and gates.
    known: HashMap<Cell, Rc<Vec<Difference>>>,
}

/// Profiles, and what stands before them.
type Cell = ([u32; 2], [Gate; 2]);

/// A difference; zones of its senders, and whether they are link-scoped; the same of its receivers; whether the family is IPv6; a list
/// of receivers.
type Place = (Difference, (Zones, bool), (Zones, bool), bool, u32);

/// Senders that only their identities tell apart and whether they are link-scoped, blocks of profiles, and a group of receivers,
/// between which nothing differs.
type Quiet = HashSet<([Standing; 2], bool, [u32; 2], usize)>;

/// The VLAN of a site, before and after.
type Lans = [Option<u16>; 2];

impl<'s, 'p> Walk<'s, 'p> {
    pub(super) fn new(sides: &'s [Side<'p>; 2], services: &'s Services) -> Self {
        Self {
            sides,
            services,
            effects: Effects::new([&sides[0], &sides[1]]),
            sets: Numbers::new(),
            known: HashMap::new(),
        }
    }

    /// All differences between the senders and receivers of a site.
    pub(super) fn site(&mut self, number: usize, site: &Site) -> Vec<Block> {
        let mut lists: Numbers<Vec<u32>> = Numbers::new();
        let mut blocks: BTreeMap<Place, Vec<u32>> = BTreeMap::new();
        for receivers in [&site.stations, &site.groups] {
            let groups = groups(receivers);
            let mut quiet = Quiet::new();
            for (sender, (key, _)) in site.senders.iter().enumerate() {
                for ((difference, zones), reached) in self.of_sender(key, site.lans, receivers, &groups, &mut quiet) {
                    let reached = lists.number(&reached);
                    let link = receivers.first().is_some_and(|(key, _)| key.link);
                    let block = (difference, (key.zones, key.link), (zones, link), key.six, reached);
                    blocks.entry(block).or_default().push(sender as u32);
                }
            }
        }
        let block = |((difference, (from, from_link), (to, to_link), six, reached), senders): (Place, Vec<u32>)| {
            let receivers = if to_link { &site.groups } else { &site.stations };
            let sends = |key: &SenderKey| (key.zones, key.link, key.six) == (from, from_link, six);
            let is_like_these = |key: &ReceiverKey| (key.zones, key.six) == (to, six);
            Block {
                difference,
                senders: party(&site.senders, &senders, sends, (from, from_link, six)),
                receivers: party(
                    receivers,
                    &lists.list[reached as usize],
                    is_like_these,
                    (to, to_link, six),
                ),
                site: number,
            }
        };
        blocks.into_iter().map(block).collect()
    }

    /// The differences of one sender, with the receivers that they concern.
    fn of_sender(
        &mut self,
        sender: &SenderKey,
        lans: Lans,
        receivers: &Classes<ReceiverKey>,
        groups: &[Range<usize>],
        quiet: &mut Quiet,
    ) -> BTreeMap<(Difference, Zones), Vec<u32>> {
        let mut found: BTreeMap<(Difference, Zones), Vec<u32>> = BTreeMap::new();
        for (number, group) in groups.iter().enumerate() {
            let first = &receivers[group.start].0;
            if first.six != sender.six {
                continue;
            }
            let blocks = [0, 1].map(|side| self.block(side, sender.standings[side], first.identities[side]));
            let place = (
                sender.standings.map(Standing::without_identity),
                sender.link,
                blocks,
                number,
            );
            if quiet.contains(&place) {
                continue;
            }
            let mut differs = false;
            for at in group.clone() {
                let receiver = &receivers[at].0;
                let differences = self.of_pair(sender, lans, receiver);
                differs |= !differences.is_empty();
                for difference in differences.iter() {
                    let entry = found.entry((*difference, receiver.zones)).or_default();
                    entry.push(at as u32);
                }
            }
            if !differs {
                quiet.insert(place);
            }
        }
        found
    }

    /// The block of profiles; none behind a closed gate.
    fn block(&self, side: usize, standing: Standing, identity: u32) -> u32 {
        let block = standing
            .source()
            .map(|source| self.sides[side].profile_block(source, identity));
        block.map_or(u32::MAX, |block| block)
    }

    fn of_pair(&mut self, sender: &SenderKey, lans: Lans, receiver: &ReceiverKey) -> Rc<Vec<Difference>> {
        let gates = [0, 1].map(|side| {
            let strays = sender.link && !receiver.is_of_link(side, lans[side]);
            sender.standings[side].gate(receiver.modes[side], strays)
        });
        let profiles = [0, 1].map(|side| {
            let source = sender.standings[side].source();
            source.map_or(0, |source| self.sides[side].profile(source, receiver.identities[side]))
        });
        if let Some(known) = self.known.get(&(profiles, gates)) {
            return Rc::clone(known);
        }
        let differences = Rc::new(self.compare(profiles, gates));
        self.known.insert((profiles, gates), Rc::clone(&differences));
        differences
    }

    /// Service by service.
    fn compare(&mut self, profiles: [u32; 2], gates: [Gate; 2]) -> Vec<Difference> {
        let mut found: BTreeMap<[u32; 2], Set> = BTreeMap::new();
        for (class, classes) in self.services.classes.iter().enumerate() {
            let chains = [0, 1].map(|side| {
                let record = self.sides[side].record(profiles[side], classes[side]);
                self.effects.chain(side, record)
            });
            if gates[0] == gates[1] && chains[0] == chains[1] {
                continue;
            }
            let effects = [0, 1].map(|side| self.effects.of(chains[side], gates[side]));
            if effects[0] != effects[1] {
                found.entry(effects).or_default().push(class as u32);
            }
        }
        let difference = |([before, after], set): ([u32; 2], Set)| Difference {
            before,
            after,
            services: self.sets.number(&set),
        };
        found.into_iter().map(difference).collect()
    }
}

/// Receivers, one after the other, that stand in the same blocks of both policies.
fn groups(receivers: &Classes<ReceiverKey>) -> Vec<Range<usize>> {
    let chunks = receivers.chunk_by(|(a, _), (b, _)| a.group() == b.group());
    let mut start = 0;
    let range = |chunk: &[_]| {
        start += chunk.len();
        start - chunk.len()..start
    };
    chunks.map(range).collect()
}

/// The addresses of some classes, and those of the others that are like them.
fn party<K>(
    classes: &Classes<K>,
    some: &[u32],
    like: impl Fn(&K) -> bool,
    (zones, link, six): (Zones, bool, bool),
) -> Party {
    let atoms = some.iter().flat_map(|class| classes[*class as usize].1.iter().copied());
    let mut chosen = vec![false; classes.len()];
    for class in some {
        chosen[*class as usize] = true;
    }
    let others = classes
        .iter()
        .zip(chosen)
        .filter(|((key, _), chosen)| !chosen && like(key));
    let others = others.flat_map(|((_, atoms), _)| atoms.iter().copied()).collect();
    Party {
        zones,
        link,
        six,
        atoms: atoms.collect(),
        others,
    }
}
