//! How many refused calls are recorded.

use std::time::{Duration, Instant};

/// For so long an allowance lasts.
const PERIOD: Duration = Duration::from_hours(1);

/// Lines that some callers may cause in an hour.
#[derive(Debug)]
pub(super) struct Allowance {
    most: u32,
    used: u32,
    since: Option<Instant>,
    left_out: u64,
}

impl Allowance {
    pub(super) fn new(most: u32) -> Self {
        Self {
            most,
            used: 0,
            since: None,
            left_out: 0,
        }
    }

    /// Whether a line may be written at this moment: then with the number of those before it that were not.
    pub(super) fn take(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.duration_since(since) >= PERIOD) {
            (self.since, self.used) = (Some(now), 0);
        }
        if self.used == self.most {
            self.left_out += 1;
            return None;
        }
        self.used += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_counted_and_told_with_the_next() {
        let mut allowance = Allowance::new(2);
        let now = Instant::now();
        let taken = [0, 1, 2, 3, 4].map(|second| allowance.take(now + Duration::from_secs(second)));
        assert_eq!(taken, [Some(0), Some(0), None, None, None]);
        assert_eq!(allowance.take(now + PERIOD), Some(3));
        assert_eq!(allowance.take(now + PERIOD), Some(0));
        assert_eq!(allowance.take(now + PERIOD), None);
    }
}
