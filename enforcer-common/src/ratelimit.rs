//! The generic cell rate algorithm (ITU-T I.371, annex A, virtual scheduling): one word of state a bucket.

use crate::shared::Shared;

/// How often a bucket is tried again when other CPUs are faster. Every failure is another CPU's success.
const ATTEMPTS: u32 = 8;

/// A limit: one frame every `interval` nanoseconds, and up to `tolerance` nanoseconds ahead of that pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Nanoseconds that one frame costs.
    pub interval: u64,
    /// How far ahead of `now` the theoretical arrival time may be: `(burst - 1) * interval`.
    pub tolerance: u64,
}

/// Charges one frame to the bucket at `now`; false when the limit is used up, which charges nothing.
///
/// The bucket holds the theoretical arrival time of the next frame. Idle time earns no more than the burst, and
/// a refusal leaves the bucket as it was, so no fraction of a frame is ever lost.
#[inline(always)]
pub fn charge(bucket: &Shared<u64>, limit: Limit, now: u64) -> bool {
    for _ in 0..ATTEMPTS {
        let arrival = bucket.get();
        // A bucket ahead of any pace that the limit allows was left by another limit: it starts afresh.
        let longest = now + limit.tolerance + limit.interval;
        let start = if arrival < now || arrival > longest {
            now
        } else {
            arrival
        };
        if start > now + limit.tolerance {
            return false;
        }
        if bucket.replace(arrival, start + limit.interval) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames that pass when one is offered every `gap` nanoseconds, `offered` times.
    fn passed(limit: Limit, gap: u64, offered: u64) -> u64 {
        let bucket = Shared::new(0);
        (0..offered)
            .filter(|frame| charge(&bucket, limit, 1_000_000_000 + frame * gap))
            .count() as u64
    }

    #[test]
    fn an_offer_under_the_rate_passes_whole() {
        let limit = Limit {
            interval: 1_000_000,
            tolerance: 0,
        };
        assert_eq!(passed(limit, 2_000_000, 1_000), 1_000);
        assert_eq!(passed(limit, 1_000_000, 1_000), 1_000);
    }

    /// `PITFALLS` 15: fractional tokens thrown away let 550 pass of 1100 offered against 1000.
    #[test]
    fn an_offer_over_the_rate_passes_at_the_rate() {
        let limit = Limit {
            interval: 1_000_000,
            tolerance: 9_000_000,
        };
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

    #[test]
    fn idle_time_earns_one_burst() {
        let limit = Limit {
            interval: 1_000_000,
            tolerance: 4_000_000,
        };
        let bucket = Shared::new(0);
        for pause in [0, 33_000_000_000, 3_600_000_000_000_u64] {
            let now = 1_000_000_000_000 + pause;
            let passed = (0..100).filter(|_| charge(&bucket, limit, now)).count();
            assert_eq!(passed, 5, "after a pause of {pause} ns");
        }
    }
}
