//! Differences between classes of addresses become lines for people, each with an example that both engines confirm.

use std::collections::{BTreeMap, BTreeSet};

use enforcer_common::abi::{NO_RULE, guard, guard_mode};
use enforcer_common::pipeline::Decision;
use enforcer_common::verdict::{DropReason, Verdict};

use super::atoms::Atom;
use super::effects::Effect;
use super::pairs::{Block, Party};
use super::senders::{Site, is_built_in};
use super::services::{Services, Set};
use super::side::Side;
use super::{Change, Decided, End, Example, Fate, Kind, Station, Terms, words};
use crate::policy::probe::Probe;
use crate::policy::valid::VlanId;

/// Names of devices and prefixes that a line has.
const NAMED: usize = 20;
/// The ends of a line.
const FROM: usize = 0;
const TO: usize = 1;

/// What the differences refer to by number.
pub(super) struct Lines<'w> {
    pub(super) sites: &'w [Site],
    pub(super) services: &'w Services,
    pub(super) effects: Vec<Effect>,
    pub(super) sets: Vec<Set>,
    pub(super) now: u64,
}

/// What makes two differences one line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    kind: Kind,
    from: Names,
    to: Names,
    services: Vec<String>,
    except: Vec<String>,
    before: Terms,
    after: Terms,
}

/// Some addresses of a zone, by the names that people know them by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Names {
    zone: String,
    was: Option<String>,
    stations: bool,
    link: bool,
    part: Part,
}

/// Which addresses of a zone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    All,
    /// All but these, which are fewer.
    But(BTreeSet<String>),
    Only(BTreeSet<String>),
}

/// What is no part of what makes a line.
struct Rest {
    /// Names of all that send and receive.
    members: [BTreeSet<String>; 2],
    example: Example,
}

impl Lines<'_> {
    /// The lines in their order; what is wrong if an engine decides an example otherwise.
    pub(super) fn of(&self, sides: &mut [Side<'_>; 2], blocks: &[Block]) -> Result<Vec<Change>, String> {
        let mut lines: BTreeMap<Line, Rest> = BTreeMap::new();
        for block in blocks {
            let Some(example) = self.example(sides, block)? else {
                continue;
            };
            let line = self.line(sides, block);
            let members = [names(sides, &block.senders.atoms), names(sides, &block.receivers.atoms)];
            add(&mut lines, line, Rest { members, example });
        }
        let lines = joined(joined(lines, TO, |line| &mut line.to), FROM, |line| &mut line.from);
        Ok(lines.into_iter().map(|(line, rest)| change(line, rest)).collect())
    }

    fn line(&self, sides: &[Side<'_>; 2], block: &Block) -> Line {
        let effect = |number: u32| words::terms(&self.effects[number as usize]);
        let (before, after) = (effect(block.difference.before), effect(block.difference.after));
        let (services, except) = self.services.text(&self.sets[block.difference.services as usize]);
        Line {
            kind: kind(&before, &after),
            from: party(sides, &block.senders),
            to: party(sides, &block.receivers),
            services,
            except,
            before,
            after,
        }
    }

    /// A packet of a block, decided by both engines. `None` if packets of the family cannot ask for any of the services.
    fn example(&self, sides: &mut [Side<'_>; 2], block: &Block) -> Result<Option<Example>, String> {
        let site = &self.sites[block.site];
        let redirects = [0, 1].iter().all(|&side| {
            let lan = site.lans[side].map(|lan| sides[side].lan(lan).guards >> guard::ROUTER & guard_mode::MASK);
            lan.is_none_or(|mode| mode == guard_mode::OFF)
        });
        let set = &self.sets[block.difference.services as usize];
        let Some((protocol, port)) = self.services.example(set, block.senders.six, redirects) else {
            return Ok(None);
        };
        let (source, destination) = ends(sides, block);
        let tags = [0, 1].map(|side| site.lans[side].and_then(|lan| sides[side].tags(lan)));
        let mut decided = Vec::with_capacity(2);
        for side in [0, 1] {
            let Some(vlan) = tags[side].or(tags[1 - side]) else {
                return Ok(None);
            };
            let mac = source.endpoints[side].filter(|_| !block.senders.link);
            let mac = mac.map(|endpoint| sides[side].endpoint(endpoint).mac);
            let probe = Probe::between(vlan, (source.address, destination.address), (protocol, port), mac);
            let decision = sides[side].decide(&probe, site.homeless, self.now);
            let effect = [block.difference.before, block.difference.after][side];
            let expected = self.effects[effect as usize].first().map(|span| span.fate);
            if expected != Some(fate(decision.verdict)) {
                let when = ["before", "after"][side];
                return Err(format!(
                    "{probe:?} should be {expected:?} {when}, and is {} ({})",
                    decision.verdict.name(),
                    decision.reason.name()
                ));
            }
            decided.push(self::decided(&sides[side], vlan, &decision));
        }
        let station = |atom: &Atom| Station {
            address: atom.address,
            device: device(sides, atom),
        };
        let after = decided.pop();
        let example = decided.pop().zip(after).map(|(before, after)| Example {
            source: station(&source),
            destination: station(&destination),
            service: crate::words::service(protocol, port),
            before,
            after,
        });
        Ok(example)
    }
}

fn add(lines: &mut BTreeMap<Line, Rest>, line: Line, rest: Rest) {
    match lines.entry(line) {
        std::collections::btree_map::Entry::Vacant(entry) => {
            entry.insert(rest);
        }
        std::collections::btree_map::Entry::Occupied(mut entry) => {
            let known = entry.get_mut();
            for (all, more) in known.members.iter_mut().zip(rest.members) {
                all.extend(more);
            }
        }
    }
}

/// One line for the stations of a zone, all or nearly all, and for the addresses that every VLAN has, where they agree in all else.
fn joined(lines: BTreeMap<Line, Rest>, side: usize, end: fn(&mut Line) -> &mut Names) -> BTreeMap<Line, Rest> {
    let mut alike: BTreeMap<Line, Vec<(Names, Rest)>> = BTreeMap::new();
    for (mut line, rest) in lines {
        let names = end(&mut line);
        let plain = Names {
            stations: false,
            link: false,
            part: Part::All,
            ..names.clone()
        };
        let names = std::mem::replace(names, plain);
        alike.entry(line).or_default().push((names, rest));
    }
    let mut joined = BTreeMap::new();
    for (mut line, ends) in alike {
        let of_link = |names: &Names| names.link && !names.stations && names.part == Part::All;
        let of_zone = |names: &Names| names.stations && !matches!(names.part, Part::Only(_));
        let (of_vlan, mut stations): (Vec<_>, Vec<_>) = ends.into_iter().partition(|(names, _)| of_link(names));
        match stations.iter_mut().find(|(names, _)| of_zone(names)) {
            Some((names, rest)) => {
                names.link |= !of_vlan.is_empty();
                // Those addresses are nobody's own: they do not count as endpoints of the zone.
                let others = of_vlan.into_iter().map(|(_, link)| link.members);
                others.for_each(|mut members| rest.members[1 - side].append(&mut members[1 - side]));
            }
            None => stations.extend(of_vlan),
        }
        for (names, rest) in stations {
            *end(&mut line) = names;
            add(&mut joined, line.clone(), rest);
        }
    }
    joined
}

fn change(line: Line, rest: Rest) -> Change {
    let [senders, receivers] = rest.members.map(|names| names.len());
    Change {
        kind: line.kind,
        from: end(line.from, senders),
        to: end(line.to, receivers),
        services: line.services,
        except: line.except,
        before: line.before,
        after: line.after,
        example: rest.example,
    }
}

fn end(names: Names, endpoints: usize) -> End {
    let few = |names: BTreeSet<String>| match names.len() {
        0..=NAMED => names.into_iter().collect(),
        _ => Vec::new(),
    };
    let whole = matches!(names.part, Part::All);
    let (only, except) = match names.part {
        Part::All => (Vec::new(), Vec::new()),
        Part::But(others) => (Vec::new(), few(others)),
        Part::Only(names) => (few(names), Vec::new()),
    };
    End {
        zone: names.zone,
        was: names.was,
        stations: names.stations,
        link: names.link,
        whole,
        endpoints,
        names: only,
        except,
    }
}

fn kind(before: &Terms, after: &Terms) -> Kind {
    let without_log = |terms: &Terms| (terms.limit.clone(), terms.alarm);
    match (before.fate, after.fate) {
        (Fate::Allowed, Fate::Denied) => Kind::Denied,
        (Fate::Monitored, Fate::Denied) => Kind::Enforced,
        (Fate::Denied | Fate::Allowed, Fate::Monitored) => Kind::Monitored,
        (Fate::Denied | Fate::Monitored, Fate::Allowed) => Kind::Allowed,
        _ if without_log(before) != without_log(after) => Kind::Limited,
        _ if (&before.until, &before.then) != (&after.until, &after.then) => Kind::Lasting,
        _ => Kind::Logged,
    }
}

fn fate(verdict: Verdict) -> Fate {
    match verdict {
        Verdict::Pass | Verdict::Redirect => Fate::Allowed,
        Verdict::WouldDrop => Fate::Monitored,
        Verdict::Drop => Fate::Denied,
    }
}

pub(super) fn decided(side: &Side<'_>, vlan: VlanId, decision: &Decision) -> Decided {
    let rule = side.tables().names.rules.get(decision.rule as usize);
    let rule = rule.filter(|_| decision.rule != NO_RULE);
    Decided {
        vlan: vlan.to_string(),
        verdict: decision.verdict.name(),
        reason: (decision.reason != DropReason::None).then(|| decision.reason.name()),
        rule: rule.map(|rule| rule.name.clone()),
        at: rule.map(|rule| rule.place.clone()).filter(|place| !place.is_empty()),
    }
}

/// A sender and a receiver, devices if there are some, and not the same where there is another.
fn ends(sides: &[Side<'_>; 2], block: &Block) -> (Atom, Atom) {
    let best = |atoms: &[Atom], not: Option<Atom>| {
        let rank = |atom: &&Atom| {
            let taken = not.is_some_and(|not| not.address == atom.address);
            (taken, device(sides, atom).is_none())
        };
        *atoms.iter().min_by_key(rank).unwrap_or(&atoms[0])
    };
    let destination = best(&block.receivers.atoms, None);
    let source = best(&block.senders.atoms, Some(destination));
    (source, best(&block.receivers.atoms, Some(source)))
}

/// The device that declares an address, after or before.
fn device(sides: &[Side<'_>; 2], atom: &Atom) -> Option<String> {
    let name = |side: usize| sides[side].name(atom.endpoints[side]?).device.clone();
    name(1).or_else(|| name(0))
}

fn names(sides: &[Side<'_>; 2], atoms: &[Atom]) -> BTreeSet<String> {
    let name = |atom: &Atom| device(sides, atom).unwrap_or_else(|| atom.prefix.to_string());
    atoms.iter().map(name).collect()
}

fn party(sides: &[Side<'_>; 2], party: &Party) -> Names {
    let zone = |side: usize| sides[side].policy.zones[usize::from(party.zones[side])].name.clone();
    let [before, after] = party.zones;
    let (zone, was) = match (is_built_in(before), is_built_in(after)) {
        (false, true) => (zone(0), None),
        (true, false) => (zone(1), None),
        _ if zone(0) == zone(1) => (zone(1), None),
        _ => (zone(1), Some(zone(0))),
    };
    Names {
        zone,
        was,
        stations: !party.link,
        link: party.link,
        part: part(sides, party),
    }
}

fn part(sides: &[Side<'_>; 2], party: &Party) -> Part {
    if party.others.is_empty() {
        return Part::All;
    }
    let (own, others) = (names(sides, &party.atoms), names(sides, &party.others));
    if others.len() < own.len() && others.len() <= NAMED {
        Part::But(others)
    } else {
        Part::Only(own)
    }
}
