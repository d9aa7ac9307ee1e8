//! Limits → budgets: what a unit costs in nanoseconds, and how far a bucket may run ahead. Equal budgets are stored once.

use std::collections::HashMap;

use enforcer_common::abi::{Budget, Rate};

use crate::policy::valid::{FULL_FRAME_BITS, Limit, Pace};

/// Bits that [`Rate::cost`] of octets is for.
const KIBIOCTET_BITS: u64 = 1024 * 8;

/// Budgets and the number of each. Budget 0 limits nothing.
pub(super) struct Budgets {
    pub(super) list: Vec<Budget>,
    numbers: HashMap<Budget, u32>,
}

impl Budgets {
    pub(super) fn new() -> Self {
        let without = Budget::default();
        Self {
            list: vec![without],
            numbers: HashMap::from([(without, 0)]),
        }
    }

    /// The number of a limit, new or known.
    pub(super) fn number(&mut self, limit: &Limit) -> u32 {
        let budget = budget(limit);
        let next = self.list.len() as u32;
        let number = *self.numbers.entry(budget).or_insert(next);
        if number == next {
            self.list.push(budget);
        }
        number
    }
}

fn budget(limit: &Limit) -> Budget {
    Budget {
        packets: limit.packets.map(units).unwrap_or_default(),
        octets: limit.bits.map(octets).unwrap_or_default(),
        flows: limit.flows.map(units).unwrap_or_default(),
        concurrent: limit.concurrent.unwrap_or(0),
        ..Budget::default()
    }
}

/// A pace of frames or flows: `(burst - 1) * cost` ahead, so that the last of a burst still starts in time.
fn units(pace: Pace) -> Rate {
    let cost = nanos(1, pace);
    Rate::of_units(cost, (pace.burst - 1).saturating_mul(cost))
}

/// A pace of bits. A frame passes when the bucket is ahead by no more than the tolerance, and then runs ahead by its own
/// length: what is left of the burst beside one full frame.
fn octets(pace: Pace) -> Rate {
    Rate::of_octets(
        nanos(KIBIOCTET_BITS, pace),
        nanos(pace.burst.saturating_sub(FULL_FRAME_BITS), pace),
    )
}

/// The time that so many units take, in nanoseconds, rounded to the nearest.
fn nanos(units: u64, pace: Pace) -> u64 {
    let (units, paced) = (u128::from(units), u128::from(pace.units));
    let nanos = (units * u128::from(pace.seconds) * 1_000_000_000 + paced / 2) / paced;
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000_000;

    fn pace(units: u64, seconds: u64, burst: u64) -> Pace {
        Pace { units, seconds, burst }
    }

    #[test]
    fn frames_from_one_an_hour_to_the_fastest() {
        let rate = |units, seconds, burst| {
            let Rate { cost, tolerance, .. } = super::units(pace(units, seconds, burst));
            (cost, tolerance)
        };
        assert_eq!(rate(1, 3600, 1), (HOUR, 0));
        assert_eq!(rate(1, 1, 10), (1_000_000_000, 9_000_000_000));
        assert_eq!(rate(200, 1, 50), (5_000_000, 245_000_000));
        assert_eq!(rate(3, 1, 1), (333_333_333, 0));
        assert_eq!(rate(20_000_000, 1, 1), (50, 0));
    }

    #[test]
    fn bits_from_one_a_second_to_ten_gigabits() {
        let rate = |units, seconds, burst| {
            let Rate { cost, tolerance, .. } = octets(pace(units, seconds, burst));
            (cost, tolerance)
        };
        assert_eq!(rate(1, 1, FULL_FRAME_BITS), (8_192_000_000_000, 0));
        assert_eq!(rate(8192, 3600, FULL_FRAME_BITS + 8192), (HOUR, HOUR));
        // One megabit a second is 8.192 ms for 1024 octets.
        assert_eq!(
            rate(1_000_000, 1, FULL_FRAME_BITS + 1_000_000),
            (8_192_000, 1_000_000_000)
        );
        assert_eq!(rate(10_000_000_000, 1, FULL_FRAME_BITS), (819, 0));
    }

    /// The longest burst and the longest frame leave the clock arithmetic of the data path room for centuries.
    #[test]
    fn nothing_overflows() {
        let week = 7 * 24 * 3600;
        for rate in [
            super::units(pace(1, 3600, week / 3600)),
            super::units(pace(20_000_000, 1, 20_000_000 * week)),
        ] {
            assert!(rate.tolerance <= week * 1_000_000_000);
        }
        let slowest = octets(pace(1, 1, week));
        assert!(slowest.cost.checked_mul(65_536).is_some(), "Rate::octets overflows");
        assert!(slowest.tolerance <= week * 1_000_000_000);
    }

    #[test]
    fn equal_budgets_are_one() {
        let mut budgets = Budgets::new();
        let frames = |units| Limit {
            packets: Some(pace(units, 1, 10)),
            ..Limit::default()
        };
        let numbers = [Limit::default(), frames(5), frames(6), frames(5)].map(|limit| budgets.number(&limit));
        assert_eq!(numbers, [0, 1, 2, 1]);
        assert_eq!(budgets.list.len(), 3);
    }
}
