//! The generic cell rate algorithm (ITU-T I.371, annex A, virtual scheduling): one word of state a bucket.
//!
//! A bucket holds the theoretical arrival time of the next unit. A unit that comes no more than the tolerance before
//! that time is admitted, and moves it on by its cost. Idle time earns no more than the burst, a refusal leaves the
//! bucket as it was, and what is charged is exact to the nanosecond, so no fraction is ever lost.

use crate::abi::Rate;
use crate::shared::Shared;

/// Nanoseconds that a bucket may be ahead beyond what its rate explains, before it counts as left by another rate.
const LEFTOVER: u64 = 1_000_000_000;
/// CPUs that may admit a unit each before one of them has charged the bucket.
const RACING: u64 = 16;

/// What one frame or flow costs of a limit, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The cost of this one; 0: no limit.
    pub cost: u64,
    /// How early one may come.
    pub tolerance: u64,
    /// How far ahead of now only another rate leaves the bucket.
    pub longest: u64,
}

impl Rate {
    /// Of packets or flows.
    #[inline(always)]
    #[must_use]
    pub const fn of_units(cost: u64, tolerance: u64) -> Self {
        Self::whose_most_costs(cost, tolerance, cost)
    }

    /// Of octets; `cost` is that of 1024.
    #[inline(always)]
    #[must_use]
    pub const fn of_octets(cost: u64, tolerance: u64) -> Self {
        // 65,536 octets.
        Self::whose_most_costs(cost, tolerance, cost << 6)
    }

    /// With the most that one frame or flow can cost.
    #[inline(always)]
    const fn whose_most_costs(cost: u64, tolerance: u64, most: u64) -> Self {
        Self {
            cost,
            tolerance,
            longest: 2 * tolerance + (RACING + 1) * most + LEFTOVER,
        }
    }

    /// One unit: a packet, a flow.
    #[inline(always)]
    #[must_use]
    pub const fn one(self) -> Charge {
        Charge {
            cost: self.cost,
            tolerance: self.tolerance,
            longest: self.longest,
        }
    }

    /// A frame of so many octets, at most 65,536; [`Rate::cost`] is that of 1024. The remainder of under a nanosecond
    /// a frame is 2 % of the smallest frame at 10 Gbit/s, and less elsewhere.
    #[inline(always)]
    #[must_use]
    pub const fn octets(self, octets: u32) -> Charge {
        // A limit never becomes none by rounding down.
        let cost = if self.cost == 0 {
            0
        } else {
            ((self.cost * octets as u64) >> 10) | 1
        };
        Charge {
            cost,
            tolerance: self.tolerance,
            longest: self.longest,
        }
    }
}

/// Whether the bucket admits one unit at `now`, which is coarse: units of a whole `tick` seem to come at once, and
/// the tolerance grows by that tick, so that a steady offer at the rate passes.
#[inline(always)]
pub fn admits(bucket: &Shared<u64>, charge: Charge, tick: u64, now: u64) -> bool {
    charge.cost == 0 || start(bucket.get(), charge, now) <= now + charge.tolerance + tick
}

/// Charges one unit, admitted or not: what another CPU admitted at the same moment is owed, not given away.
///
/// A busy bucket moves on by one atomic addition. A bucket that was idle starts from `now`; when another CPU has
/// started it meanwhile, it is a busy one.
#[inline(always)]
pub fn charge(bucket: &Shared<u64>, charge: Charge, now: u64) {
    if charge.cost == 0 {
        return;
    }
    let arrival = bucket.get();
    let start = start(arrival, charge, now);
    if start == arrival || !bucket.replace(arrival, start + charge.cost) {
        bucket.add(charge.cost);
    }
}

/// Admits and charges in one.
#[inline(always)]
pub fn take(bucket: &Shared<u64>, rate: Rate, now: u64) -> bool {
    let admitted = admits(bucket, rate.one(), 0, now);
    if admitted {
        charge(bucket, rate.one(), now);
    }
    admitted
}

/// When the next unit is due: not before now, and not so late that only another rate can have left the bucket so.
#[inline(always)]
const fn start(arrival: u64, charge: Charge, now: u64) -> u64 {
    if arrival < now || arrival > now + charge.longest {
        now
    } else {
        arrival
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames that pass when one is offered every `gap` nanoseconds, `offered` times.
    fn passed(limit: Rate, gap: u64, offered: u64) -> u64 {
        let bucket = Shared::new(0);
        (0..offered)
            .filter(|frame| take(&bucket, limit, 1_000_000_000 + frame * gap))
            .count() as u64
    }

    #[test]
    fn an_offer_under_the_rate_passes_whole() {
        let limit = Rate::of_units(1_000_000, 0);
        assert_eq!(passed(limit, 2_000_000, 1_000), 1_000);
        assert_eq!(passed(limit, 1_000_000, 1_000), 1_000);
    }

    /// Pitfall 15: fractional tokens thrown away let 550 pass of 1100 offered against 1000.
    #[test]
    fn an_offer_over_the_rate_passes_at_the_rate() {
        let limit = Rate::of_units(1_000_000, 9_000_000);
        for tenths in [11, 15, 20, 50, 100] {
            let gap = 10_000_000 / tenths;
            let offered = 10_000_000_000 / gap;
            let rate = passed(limit, gap, offered);
            assert!(
                (9_990..=10_020).contains(&rate),
                "{tenths} tenths of the rate: {rate} passed in ten seconds"
            );
        }
    }

    /// A clock that ticks every ten milliseconds, and a burst of one: still the rate, from half of it to ten times.
    #[test]
    fn a_coarse_clock_keeps_the_rate() {
        const TICK: u64 = 10_000_000;
        let rate = Rate::of_units(1_000_000, 0);
        for tenths in [5, 10, 20, 100] {
            let bucket = Shared::new(0);
            let gap = 10_000_000 / tenths;
            let mut passed = 0_u64;
            for frame in 0..10_000_000_000 / gap {
                let now = (1_000_000_000 + frame * gap) / TICK * TICK;
                if admits(&bucket, rate.one(), TICK, now) {
                    charge(&bucket, rate.one(), now);
                    passed += 1;
                }
            }
            let expected = 1000 * tenths.min(10);
            assert!(
                passed.abs_diff(expected) * 50 <= expected,
                "{tenths} tenths: {passed} passed, {expected} expected"
            );
        }
    }

    #[test]
    fn a_bucket_left_by_a_slower_rate_does_not_block() {
        let slow = Rate::of_units(60_000_000_000, 600_000_000_000);
        let bucket = Shared::new(0);
        let now = 1_000_000_000_000;
        (0..10).for_each(|_| charge(&bucket, slow.one(), now));
        assert!(take(&bucket, Rate::of_units(1_000_000, 0), now));
    }

    /// Several CPUs admit a unit in the same moment, and the others' is owed. Four of them left a slow limit so far ahead that it
    /// was taken for one of another rate, and began anew: who could make them race, every time.
    #[test]
    fn what_cpus_admit_in_the_same_moment_is_owed() {
        const HOUR: u64 = 3_600_000_000_000;
        let hourly = Rate::of_units(HOUR, 0);
        let bucket = Shared::new(0);
        let now = 1_000_000_000_000;
        let admitted = (0..RACING).filter(|_| admits(&bucket, hourly.one(), 0, now)).count() as u64;
        (0..admitted).for_each(|_| charge(&bucket, hourly.one(), now));
        assert_eq!(admitted, RACING);
        for hours in 0..RACING {
            assert!(!take(&bucket, hourly, now + hours * HOUR), "after {hours} hours");
        }
        assert!(take(&bucket, hourly, now + RACING * HOUR));
    }

    #[test]
    fn octets_cost_by_the_kibioctet() {
        // One megabit a second is 8.192 ms for 1024 octets.
        let rate = Rate::of_octets(8_192_000, 0);
        assert_eq!(rate.octets(1024).cost, 8_192_001);
        assert_eq!(rate.octets(64).cost, 512_001);
        assert_eq!(Rate::default().octets(64).cost, 0);
    }

    /// The bucket was taken for one left by another rate, because the small frame was measured by its own cost.
    #[test]
    fn small_frames_wait_for_a_large_one_under_a_slow_limit() {
        // Eight kilobits a second: a second for 1000 octets, and a burst of one full frame.
        let rate = Rate::of_octets(1_024_000_000, 0);
        let bucket = Shared::new(0);
        let now = 1_000_000_000_000;
        charge(&bucket, rate.octets(9_018), now);
        for early in [0, 1_000_000_000, 8_900_000_000] {
            assert!(!admits(&bucket, rate.octets(64), 0, now + early), "{early} ns later");
        }
        assert!(admits(&bucket, rate.octets(64), 0, now + 9_100_000_000));
    }

    /// Pitfall 15: a refill of 16 bits wrapped after 33 seconds without traffic.
    #[test]
    fn idle_time_earns_one_burst() {
        let limit = Rate::of_units(1_000_000, 4_000_000);
        let bucket = Shared::new(0);
        for pause in [0, 33_000_000_000, 3_600_000_000_000_u64] {
            let now = 1_000_000_000_000 + pause;
            let passed = (0..100).filter(|_| take(&bucket, limit, now)).count();
            assert_eq!(passed, 5, "after a pause of {pause} ns");
        }
    }
}
