//! Plots as SVG: bars with their spread, and lines over a size.

use std::fmt::Write as _;

use crate::results::{Case, Part, Results, figure};
use crate::table::groups;

const WIDTH: f64 = 760.0;
const LABELS: f64 = 330.0;
const ROW: f64 = 20.0;
const TOP: f64 = 34.0;

/// All plots, by file name: one for each group of cases.
pub(crate) fn all(results: &Results) -> Vec<(String, String)> {
    let mut plots = Vec::new();
    for (part, outcome) in &results.outcomes {
        for (group, cases) in groups(&outcome.cases) {
            let units = cases.iter().all(|case| case.unit == cases[0].unit);
            if units && cases.len() > 1 {
                plots.push((file(*part, group), bars(group, &cases)));
            }
        }
    }
    plots
}

/// The name of the file of a group's plot.
pub(crate) fn file(part: Part, group: &str) -> String {
    let word: String = group
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    let words: Vec<_> = word.split('-').filter(|word| !word.is_empty()).collect();
    format!("{}-{}.svg", part.name(), words.join("-"))
}

/// Horizontal bars of the medians; a line from the least to the greatest round.
fn bars(title: &str, cases: &[&Case]) -> String {
    let most = cases
        .iter()
        .map(|case| case.value.max)
        .fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LABELS - 80.0) / most;
    let height = TOP + ROW * f64::from(cases.len() as u32) + 10.0;
    let mut svg = head(height, &format!("{title} ({})", cases[0].unit));
    for (number, case) in (0_u32..).zip(cases) {
        let top = TOP + ROW * f64::from(number);
        let middle = top + ROW / 2.0;
        let [median, min, max] =
            [case.value.median, case.value.min, case.value.max].map(|value| value.max(0.0) * scale);
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LABELS}\" y=\"{:.1}\" width=\"{median:.1}\" height=\"{:.1}\" fill=\"#4c78a8\"/>\
             <line x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\" stroke=\"#222\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LABELS - 6.0,
            middle + 4.0,
            escaped(&case.name),
            top + 3.0,
            ROW - 6.0,
            LABELS + min,
            LABELS + max,
            LABELS + max + 5.0,
            middle + 4.0,
            figure(case.value.median),
        );
    }
    svg + "</svg>\n"
}

fn head(height: f64, title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"20\" font-size=\"13\" font-weight=\"bold\">{}</text>\n",
        escaped(title)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::results::Outcome;

    #[test]
    fn a_bar_for_each_case_as_long_as_its_value() {
        let mut results = Results::new(Machine::default());
        let cases = vec![
            Case::new("refused, all", "one & only", "ns", &[10.0]),
            Case::new("refused, all", "two", "ns", &[20.0]),
            Case::new("alone", "three", "s", &[1.0]),
        ];
        let outcome = Outcome {
            cases,
            ..Outcome::default()
        };
        results.outcomes.insert(Part::Frames, outcome);
        let plots = all(&results);
        assert_eq!(plots.len(), 1, "a single case is no plot");
        let (name, svg) = &plots[0];
        assert_eq!(name, "frames-refused-all.svg");
        assert!(
            svg.contains("width=\"175.0\"") && svg.contains("width=\"350.0\""),
            "{svg}"
        );
        assert!(svg.contains("one &amp; only") && svg.ends_with("</svg>\n"));
    }
}
