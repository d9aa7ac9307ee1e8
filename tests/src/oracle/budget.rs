//! Limits: whose they are, and whether one more frame fits. Read off docs/data-path.md, in whole nanoseconds of 128 bits.

use std::collections::HashMap;
use std::net::IpAddr;

use enforcer::policy::valid::{Limit, Pace, Scope, VlanId};
use enforcer_common::verdict::DropReason;

use super::Oracle;
use super::place::{Place, Resident, is_group};
use super::rules::Ruling;

const SECOND: u128 = 1_000_000_000;
/// Bits of a full frame, for which a bucket of bits must have room.
const FULL_FRAME: u64 = 1514 * 8;
/// Nanoseconds of a window in which concurrent flows are counted: 17.2 seconds.
const WINDOW: u64 = 1 << 34;

/// Whose limit it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// A rule's: of all, of a source, or of a pair, in a realm; of an address that every VLAN has, on one VLAN.
    Rule(String, Option<(usize, IpAddr, Option<IpAddr>, Option<VlanId>)>),
    /// What an address sends; of an address that every VLAN has, on one VLAN.
    From(usize, IpAddr, Option<VlanId>),
    /// What is sent toward it.
    Toward(usize, IpAddr, Option<VlanId>),
    /// What is sent to groups on a VLAN.
    Group(VlanId),
}

/// When the next of each is due.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    packets: u128,
    octets: u128,
    flows: u128,
}

/// A flow that took a place among those that run at the same time.
#[derive(Debug)]
struct Holder {
    flow: usize,
    owner: Owner,
    windows: Vec<u64>,
}

/// What has been charged so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    due: HashMap<Owner, Due>,
    holders: Vec<Holder>,
}

/// What a frame does with its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It opens it.
    Opens,
    /// Its initiator goes on.
    GoesOn,
    /// Its initiator closes it.
    Closes,
    /// None of these.
    Nothing,
}

/// A frame that is to be paid for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paid {
    pub(super) octets: usize,
    pub(super) step: Step,
    /// Number of the flow.
    pub(super) flow: usize,
    pub(super) now: u64,
}

/// Limits that a frame comes under, in the order in which they are asked.
pub(super) type Limits = Vec<(Owner, Limit, DropReason)>;

impl Ledger {
    /// Charges all of them, or none: then why.
    pub(super) fn pay(&mut self, limits: &Limits, paid: Paid) -> Result<(), DropReason> {
        for (owner, limit, reason) in limits {
            if !self.has_room(owner, limit, paid) {
                return Err(*reason);
            }
        }
        for (owner, limit, _) in limits {
            self.charge(owner, limit, paid);
        }
        Ok(())
    }

    fn has_room(&self, owner: &Owner, limit: &Limit, paid: Paid) -> bool {
        let due = self.due.get(owner).copied().unwrap_or_default();
        let now = u128::from(paid.now);
        let opens = paid.step == Step::Opens;
        let in_time = |due: u128, patience: u128| due.max(now) <= now + patience;
        limit.packets.is_none_or(|pace| in_time(due.packets, patience(pace)))
            && limit.bits.is_none_or(|pace| in_time(due.octets, spare(pace)))
            && (!opens || limit.flows.is_none_or(|pace| in_time(due.flows, patience(pace))))
            && (!opens
                || limit
                    .concurrent
                    .is_none_or(|most| self.running(owner, paid.now) < most as usize))
    }

    fn charge(&mut self, owner: &Owner, limit: &Limit, paid: Paid) {
        let due = self.due.entry(owner.clone()).or_default();
        let now = u128::from(paid.now);
        let later = |due: &mut u128, cost: u128| *due = (*due).max(now) + cost;
        if let Some(pace) = limit.packets {
            later(&mut due.packets, time_of(1, pace));
        }
        if let Some(pace) = limit.bits {
            later(&mut due.octets, time_of_octets(paid.octets, pace));
        }
        if let Some(pace) = limit.flows
            && paid.step == Step::Opens
        {
            later(&mut due.flows, time_of(1, pace));
        }
        if limit.concurrent.is_some() {
            self.hold(owner, paid);
        }
    }

    fn hold(&mut self, owner: &Owner, paid: Paid) {
        let mut holders = self.holders.iter_mut();
        let holder = holders.find(|holder| holder.flow == paid.flow && holder.owner == *owner);
        match (paid.step, holder) {
            (Step::Nothing, _) => {}
            (Step::Closes, _) => self
                .holders
                .retain(|holder| holder.flow != paid.flow || holder.owner != *owner),
            (_, Some(holder)) => holder.windows.push(paid.now / WINDOW),
            (_, None) => self.holders.push(Holder {
                flow: paid.flow,
                owner: owner.clone(),
                windows: vec![paid.now / WINDOW],
            }),
        }
    }

    /// Flows with a frame in this window, or in the one before, whichever are more.
    fn running(&self, owner: &Owner, now: u64) -> usize {
        let own = || self.holders.iter().filter(|holder| holder.owner == *owner);
        let of = |window: u64| own().filter(|holder| holder.windows.contains(&window)).count();
        let window = now / WINDOW;
        of(window).max(window.checked_sub(1).map_or(0, of))
    }
}

/// The time that so many units take, rounded to the nearest nanosecond.
fn time_of(units: u64, pace: Pace) -> u128 {
    let exact = u128::from(units) * u128::from(pace.seconds) * SECOND;
    (2 * exact + u128::from(pace.units)) / (2 * u128::from(pace.units))
}

/// The time of a frame: its part of that of 1024 octets, rounded down, and up to an odd number.
fn time_of_octets(octets: usize, pace: Pace) -> u128 {
    let down = time_of(1024 * 8, pace) * octets as u128 / 1024;
    if down.is_multiple_of(2) { down + 1 } else { down }
}

/// How early a unit may come: by the rest of the burst.
fn patience(pace: Pace) -> u128 {
    u128::from(pace.burst - 1) * time_of(1, pace)
}

/// How early a frame may come under a limit of bits: by what the burst has beside a full frame.
fn spare(pace: Pace) -> u128 {
    time_of(pace.burst - FULL_FRAME, pace)
}

/// The limit of frames to groups, if the frame is one.
pub(super) fn group_limit(place: &Place<'_>, to_group: bool) -> Limits {
    let limit = place.broadcast();
    if to_group && limit != Limit::default() {
        vec![(Owner::Group(place.vlan()), limit, DropReason::GroupLimit)]
    } else {
        Limits::new()
    }
}

impl<'p> Oracle<'p> {
    /// Every limit that a permitted frame comes under.
    pub(super) fn limits(
        &self,
        ruling: &Ruling<'p>,
        place: &Place<'_>,
        ends: [&Resident; 2],
        to_group: bool,
    ) -> Limits {
        let [source, destination] = ends;
        let realm = place.realm();
        let rule = self.policy.rules.iter().find(|rule| rule.name == ruling.rule);
        let mut limits = Limits::new();
        if let Some(rule) = rule.filter(|_| !ruling.answers) {
            let whom = match rule.scope {
                Scope::Rule => None,
                Scope::Source => Some((realm, source.address, None, place.only_here(source.address))),
                Scope::Pair => {
                    let here = place.only_here(source.address).or(place.only_here(destination.address));
                    Some((realm, source.address, Some(destination.address), here))
                }
            };
            limits.push((Owner::Rule(rule.name.clone(), whom), rule.limit, DropReason::RuleLimit));
        }
        if !rule.is_some_and(|rule| rule.alarm) {
            let of = |whom: &Resident| match whom.device {
                Some(device) => self.policy.devices[device].limits,
                None => self.policy.zones[whom.zone].limits,
            };
            for (whom, limit, reason) in [
                (source, of(source).from, DropReason::FromLimit),
                (destination, of(destination).toward, DropReason::TowardLimit),
            ] {
                let address = whom.address;
                if is_group(address) || address.is_unspecified() {
                    continue;
                }
                let here = place.only_here(address);
                let owner = match reason {
                    DropReason::FromLimit => Owner::From(realm, address, here),
                    _ => Owner::Toward(realm, address, here),
                };
                limits.push((owner, limit, reason));
            }
        }
        limits.extend(group_limit(place, to_group));
        limits
    }
}
