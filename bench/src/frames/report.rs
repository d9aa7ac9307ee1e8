//! From rounds to ratios and aims.

use super::cases::EMPTY;
use super::measure::Series;
use crate::results::{Aim, Case, Outcome};
use crate::stats::Spread;

const LPM: &str = "one LPM-trie look-up";
const LRU: &str = "one LRU-hash look-up";

/// Names of ratios: each is cost above the floor, as a share of the reference's cost above the empty program.
const TO_LPM: &str = "LPM look-ups";
const TO_LRU: &str = "LRU look-ups";

/// Adds all series as cases, with ratios within each round, and the aims that they decide.
pub(super) fn report(all: &[Series], outcome: &mut Outcome) {
    let all = All(all);
    let Some(empty) = all.find(EMPTY) else { return };
    outcome.cases = all.0.iter().map(|series| all.case(series, empty)).collect();
    outcome.aims = aims(&all);
    outcome.notes.push(
        "Caches are warm and branches foreseen, for the references as for the enforcer, except where frames differ."
            .into(),
    );
}

struct All<'a>(&'a [Series]);

impl All<'_> {
    fn find(&self, name: &str) -> Option<&Series> {
        self.0.iter().find(|series| series.name == name)
    }

    /// Cost above the floor in a round.
    fn above(&self, series: &Series, round: usize) -> f64 {
        let floor = self.find(series.floor).map_or(0.0, |floor| floor.nanos[round]);
        series.nanos[round] - floor
    }

    /// How many of this reference a series costs.
    fn in_units(&self, series: &Series, reference: &Series) -> Spread {
        Spread::of_rounds(series.nanos.len(), |round| {
            self.above(series, round) / self.above(reference, round)
        })
    }

    fn case(&self, series: &Series, empty: &Series) -> Case {
        let over_empty = Spread::of_rounds(series.nanos.len(), |round| series.nanos[round] / empty.nanos[round]);
        let above = Spread::of_rounds(series.nanos.len(), |round| self.above(series, round));
        let mut case = Case::new(series.group, &series.name, "ns", &series.nanos)
            .ratio("empty program", over_empty)
            .figure("ns above the floor", above.median);
        for (reference, name) in [(LRU, TO_LRU), (LPM, TO_LPM)] {
            if let Some(reference) = self.find(reference) {
                case = case.ratio(name, self.in_units(series, reference));
            }
        }
        if !series.instructions.is_empty() {
            // What disturbs a round only ever adds to it.
            case = case.figure("instructions", Spread::of(&series.instructions).min);
        }
        case
    }
}

fn aims(all: &All<'_>) -> Vec<Aim> {
    let units = |name: &str, reference: &str| Some(all.in_units(all.find(name)?, all.find(reference)?));
    let of = |name: &str, other: &str| {
        let (series, other) = (all.find(name)?, all.find(other)?);
        Some(Spread::of_rounds(series.nanos.len(), |round| {
            series.nanos[round] / other.nanos[round]
        }))
    };
    let mut aims = Vec::new();
    let mut at_most = |what: &str, limit, value: Option<Spread>| {
        aims.extend(value.map(|value| Aim::at_most(what, limit, "", value)));
    };
    let denied = "denied new flow, UDP";
    at_most(
        "denied new flow (UDP), 10,000 rules and 100,000 devices, above empty, in LPM-trie look-ups",
        0.6,
        units(denied, LPM),
    );
    at_most(
        "denied new flow (TCP SYN), the same",
        0.6,
        units("denied new flow, TCP SYN", LPM),
    );
    for name in [
        "established TCP with two budgets, to the responder",
        "established TCP with two budgets, to the initiator",
        "established TCP, to the responder",
        "established TCP, to the initiator",
    ] {
        at_most(
            &format!("{name}, above empty, in LRU-hash look-ups"),
            3.0,
            units(name, LRU),
        );
        at_most(
            &format!("{name}, above empty, in LPM-trie look-ups"),
            2.0,
            units(name, LPM),
        );
        for filter in [
            "xdp-filter, all passes but what is listed",
            "xdp-filter, only what is listed passes",
        ] {
            at_most(&format!("{name}, against {filter}"), 1.0, of(name, filter));
        }
    }
    at_most(
        "denied new flow, 10,000 rules and 100,000 devices against 10 and 10",
        1.2,
        of(denied, "denied new flow, 10 rules and 10 devices"),
    );
    at_most(
        "established TCP, 10,000 rules and 100,000 devices against 10 and 10",
        1.2,
        of(
            "established TCP, to the responder",
            "established TCP, 10 rules and 10 devices, to the responder",
        ),
    );
    aims
}

#[cfg(test)]
mod tests {
    #![expect(clippy::float_cmp, reason = "quotients of small whole numbers")]

    use super::*;

    fn series(name: &str, nanos: [f64; 3]) -> Series {
        Series {
            group: "g",
            name: name.into(),
            floor: EMPTY,
            nanos: nanos.to_vec(),
            instructions: vec![98.0, 97.0, 105.0],
        }
    }

    #[test]
    fn costs_are_related_above_the_floor_and_within_a_round() {
        let all = [
            series(EMPTY, [10.0, 20.0, 10.0]),
            series(LPM, [110.0, 220.0, 110.0]),
            series(LRU, [40.0, 80.0, 40.0]),
            series("denied new flow, UDP", [60.0, 120.0, 60.0]),
        ];
        let mut outcome = Outcome::default();
        report(&all, &mut outcome);
        let case = outcome.case("denied new flow, UDP").expect("it was measured");
        assert_eq!(case.ratios[TO_LPM].median, 0.5);
        assert!((case.ratios[TO_LRU].max - 50.0 / 30.0).abs() < 1e-9);
        assert_eq!(case.ratios["empty program"].median, 6.0);
        assert_eq!(case.figures["instructions"], 97.0);
        let aim = &outcome.aims[0];
        assert!(
            aim.is_met() && aim.what.contains("UDP") && aim.value.max == 0.5,
            "{aim:?}"
        );
        // Without xdp-filter there is no aim about it.
        assert!(!outcome.aims.iter().any(|aim| aim.what.contains("xdp-filter")));
    }
}
