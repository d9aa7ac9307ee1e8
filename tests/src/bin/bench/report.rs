//! The table.

use crate::measure::Series;

/// Prints all series. The first is the empty program, the second the LPM look-up.
pub(crate) fn print(all: &[Series], rounds: u32, repeat: u32) {
    let [empty, look_up, ..] = all else { return };
    println!("{rounds} rounds of {repeat} frames each");
    println!(
        "{:<29} {:>9} {:>9} {:>9} {:>8} {:>8} {:>14}",
        "ns a frame", "median", "min", "max", "/ empty", "/ LPM", "instructions"
    );
    for series in all {
        let over_empty = ratio(series, |round| series.nanos[round] / empty.nanos[round]);
        let instructions = if series.instructions.is_empty() {
            "no counter".to_owned()
        } else {
            // What disturbs a round only ever adds to it.
            format!("{:.1}", least(&series.instructions))
        };
        println!(
            "{:<29} {:>9.1} {:>9.1} {:>9.1} {over_empty:>8.2} {:>8.2} {instructions:>14}",
            series.name,
            median(&series.nanos),
            least(&series.nanos),
            series.nanos.iter().copied().fold(0.0, f64::max),
            above_empty(series, empty, look_up),
        );
    }
    println!(
        "/ empty: times the empty program. / LPM: cost above the empty program, as a share of what one look-up in the"
    );
    println!("kernel's LPM trie with 100,000 prefixes costs above it. Medians of the ratios of each round.");
    for series in all
        .iter()
        .filter(|series| series.name.ends_with(", stateless") && !series.name.starts_with("other"))
    {
        let share = above_empty(series, empty, look_up);
        let verdict = if share < 1.0 { "met" } else { "missed" };
        println!(
            "aim: {} costs less than that look-up: {verdict} ({share:.2})",
            series.name
        );
    }
}

/// The cost of a case above the empty program, as a share of the look-up's.
fn above_empty(series: &Series, empty: &Series, look_up: &Series) -> f64 {
    ratio(series, |round| {
        (series.nanos[round] - empty.nanos[round]) / (look_up.nanos[round] - empty.nanos[round])
    })
}

/// The median over the rounds of a ratio within each.
fn ratio(series: &Series, of_round: impl Fn(usize) -> f64) -> f64 {
    let ratios: Vec<_> = (0..series.nanos.len()).map(of_round).collect();
    median(&ratios)
}

/// The middle value, or the mean of the two middle ones; 0 of none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        length if length % 2 == 1 => sorted[upper],
        _ => f64::midpoint(sorted[upper - 1], sorted[upper]),
    }
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(nanos: &[f64]) -> Series {
        Series {
            name: "x".into(),
            nanos: nanos.to_vec(),
            instructions: Vec::new(),
        }
    }

    #[test]
    fn median_of_odd_and_even() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The second round ran at half the speed; the ratio stays.
        let (empty, look_up, case) = (series(&[10.0, 20.0]), series(&[110.0, 220.0]), series(&[60.0, 120.0]));
        assert!((above_empty(&case, &empty, &look_up) - 0.5).abs() < 1e-9);
        assert!((above_empty(&look_up, &empty, &look_up) - 1.0).abs() < 1e-9);
    }
}
