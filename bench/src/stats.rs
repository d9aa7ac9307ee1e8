//! Medians and spreads over rounds.

use serde::{Deserialize, Serialize};

/// What the rounds of a measurement gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    /// The middle value, or the mean of the two middle ones.
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of the values of all rounds; zeroes of none.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (sorted.first(), sorted.last()) else {
            return Self::default();
        };
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Self { median, min, max }
    }

    /// Of a quotient that is taken within each round, so that a machine that slows down does so above and below the line.
    pub(crate) fn of_rounds(rounds: usize, of_round: impl Fn(usize) -> f64) -> Self {
        let values: Vec<_> = (0..rounds).map(of_round).filter(|value| value.is_finite()).collect();
        Self::of(&values)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::float_cmp, reason = "quotients of small whole numbers")]

    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        let odd = Spread::of(&[9.0, 1.0, 2.0]);
        assert_eq!((odd.median, odd.min, odd.max), (2.0, 1.0, 9.0));
        assert!((Spread::of(&[4.0, 1.0, 2.0, 3.0]).median - 2.5).abs() < 1e-12);
        assert_eq!(Spread::of(&[]), Spread::default());
    }

    #[test]
    fn quotients_are_taken_within_a_round() {
        // The machine is three times as slow in the second round; the ratio stays.
        let (cost, floor) = ([20.0, 60.0, 20.0], [10.0, 30.0, 10.0]);
        let ratio = Spread::of_rounds(3, |round| cost[round] / floor[round]);
        assert_eq!((ratio.median, ratio.min, ratio.max), (2.0, 2.0, 2.0));
        // A round in which the divisor was 0 says nothing.
        assert_eq!(Spread::of_rounds(2, |round| 1.0 / f64::from(round as u8)).max, 1.0);
    }
}
