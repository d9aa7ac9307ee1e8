//! Budgets: which buckets a permitted frame is charged to.
//!
//! All of them are asked first and charged afterwards, so that a frame that one refuses costs the others nothing.

use core::ops::Deref;

use crate::abi::{Address, Bucket, BucketKey, Budget, Endpoint, Lan, NO_RULE, Rule, bucket_kind, rule_flags, scope};
use crate::concurrency::Activity;
use crate::packet::{Packet, link};
use crate::ratelimit;
use crate::tables::Tables;
use crate::verdict::DropReason;

/// Who pays for a permitted frame. Numbers only: the kernel program hands it to a function that the verifier checks
/// apart from its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The rule that permits it; [`NO_RULE`] for address resolution, which only VLANs limit.
    pub rule: u32,
    /// Endpoint of the source.
    pub source: u32,
    /// Endpoint of the destination.
    pub destination: u32,
    /// The LAN that it came by.
    pub lan: u32,
    /// It opens a flow.
    pub opens: bool,
    /// It answers in a flow: the rule's budget is the initiator's.
    pub answers: bool,
    /// What it does to the count of concurrent flows.
    pub activity: Activity,
}

/// A bucket and its limits, both or neither. Two options, and not an option of two: the half of an absent pair that
/// the compiler leaves undefined would be read from the stack all the same, which kernels before 6.3 refuse.
struct Account<'t, B> {
    bucket: Option<B>,
    budget: Option<&'t Budget>,
}

impl<B> Account<'_, B> {
    const NONE: Self = Self {
        bucket: None,
        budget: None,
    };
}

/// The frame and the tables.
struct Spending<'a, T> {
    tables: &'a T,
    packet: &'a Packet,
    lan: &'a Lan,
    opens: bool,
    activity: Activity,
    now: u64,
}

/// Charges a frame to the budgets of its rule, source, destination and VLAN, or to none of them: then the reason is
/// that of the first that refuses.
#[inline(always)]
pub fn spend<T: Tables>(tables: &T, packet: &Packet, charge: Charge, now: u64) -> DropReason {
    try_spend(tables, packet, charge, now).err().unwrap_or(DropReason::None)
}

#[inline(always)]
fn try_spend<T: Tables>(tables: &T, packet: &Packet, charge: Charge, now: u64) -> Result<(), DropReason> {
    let lan = tables.lan(charge.lan).ok_or(DropReason::TableMiss)?;
    let spending = Spending {
        tables,
        packet,
        lan,
        opens: charge.opens,
        activity: charge.activity,
        now,
    };
    let group = spending.group();
    if charge.rule == NO_RULE {
        spending.admit(&group, DropReason::GroupLimit)?;
        spending.charge(&group);
        return Ok(());
    }
    let rule = tables.rule(charge.rule).ok_or(DropReason::TableMiss)?;
    let source = tables.endpoint(charge.source).ok_or(DropReason::TableMiss)?;
    let destination = tables.endpoint(charge.destination).ok_or(DropReason::TableMiss)?;
    let by_rule = if charge.answers {
        Account::NONE
    } else {
        spending.account(rule.budget, || spending.rule_key(rule))
    };
    let (from, toward) = spending.addresses(rule, source, destination);
    spending.admit(&by_rule, DropReason::RuleLimit)?;
    spending.admit(&from, DropReason::FromLimit)?;
    spending.admit(&toward, DropReason::TowardLimit)?;
    spending.admit(&group, DropReason::GroupLimit)?;
    spending.charge(&by_rule);
    spending.charge(&from);
    spending.charge(&toward);
    spending.charge(&group);
    Ok(())
}

/// The VLAN's budget for frames to a group of hardware addresses (broadcast or multicast); 0 for others.
#[inline(always)]
pub(crate) const fn of_group(packet: &Packet, lan: &Lan) -> u32 {
    if packet.destination_mac[0] & 1 == 0 {
        0
    } else {
        lan.group_budget
    }
}

impl<'a, T: Tables> Spending<'a, T> {
    /// The bucket of a budget; none without a limit.
    #[inline(always)]
    fn account(&self, budget: u32, key: impl FnOnce() -> BucketKey) -> Account<'a, T::BucketRef> {
        if budget == 0 {
            return Account::NONE;
        }
        let Some(budget) = self.tables.budget(budget) else {
            return Account::NONE;
        };
        Account {
            budget: Some(budget),
            bucket: self.tables.bucket(&key(), self.now),
        }
    }

    /// The accounts of both addresses; none for alarm traffic, which no shared budget holds up.
    #[inline(always)]
    fn addresses(
        &self,
        rule: &Rule,
        source: &Endpoint,
        destination: &Endpoint,
    ) -> (Account<'a, T::BucketRef>, Account<'a, T::BucketRef>) {
        if rule.flags & rule_flags::ALARM != 0 {
            return (Account::NONE, Account::NONE);
        }
        let key = |kind, owner: Address| BucketKey {
            owner,
            subject: link(self.lan, self.packet.family, &owner, &owner).into(),
            space: BucketKey::space(self.lan.realm, kind, self.packet.family),
            ..BucketKey::default()
        };
        let from = self.account(source.from_budget.into(), || key(bucket_kind::FROM, self.packet.source));
        let toward = self.account(destination.toward_budget.into(), || {
            key(bucket_kind::TOWARD, self.packet.destination)
        });
        (from, toward)
    }

    /// The account of the VLAN.
    #[inline(always)]
    fn group(&self) -> Account<'a, T::BucketRef> {
        self.account(of_group(self.packet, self.lan), || BucketKey {
            subject: self.lan.vlan.into(),
            space: BucketKey::space(0, bucket_kind::GROUP, 0),
            ..BucketKey::default()
        })
    }

    #[inline(always)]
    fn rule_key(&self, rule: &Rule) -> BucketKey {
        let slot = u64::from(rule.slot) << 32;
        if rule.scope == scope::RULE {
            return BucketKey {
                subject: slot,
                space: BucketKey::space(0, bucket_kind::RULE, 0),
                ..BucketKey::default()
            };
        }
        let packet = self.packet;
        let mut here = link(self.lan, packet.family, &packet.source, &packet.source);
        let mut peer = Address::default();
        if rule.scope == scope::PAIR {
            here = link(self.lan, packet.family, &packet.source, &packet.destination);
            peer = packet.destination;
        }
        BucketKey {
            owner: packet.source,
            peer,
            subject: slot | u64::from(here),
            space: BucketKey::space(self.lan.realm, bucket_kind::RULE, packet.family),
        }
    }

    #[inline(always)]
    fn admit<B: Deref<Target = Bucket>>(&self, account: &Account<'_, B>, reason: DropReason) -> Result<(), DropReason> {
        let (Some(bucket), Some(budget)) = (&account.bucket, account.budget) else {
            return Ok(());
        };
        let (tick, now) = (self.tables.tick_nanos(), self.now);
        let admitted = ratelimit::admits(&bucket.packets, budget.packets.one(), tick, now)
            && ratelimit::admits(&bucket.octets, budget.octets.octets(self.packet.length), tick, now)
            && (!self.opens
                || (ratelimit::admits(&bucket.flows, budget.flows.one(), tick, now)
                    && bucket.has_room(budget.concurrent, now)));
        if admitted { Ok(()) } else { Err(reason) }
    }

    #[inline(always)]
    fn charge<B: Deref<Target = Bucket>>(&self, account: &Account<'_, B>) {
        let (Some(bucket), Some(budget)) = (&account.bucket, account.budget) else {
            return;
        };
        ratelimit::charge(&bucket.packets, budget.packets.one(), self.now);
        ratelimit::charge(&bucket.octets, budget.octets.octets(self.packet.length), self.now);
        if self.opens {
            ratelimit::charge(&bucket.flows, budget.flows.one(), self.now);
        }
        if budget.concurrent != 0 && !matches!(self.activity, Activity::None) {
            bucket.follow(self.activity, self.now);
        }
    }
}
