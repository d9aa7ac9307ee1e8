//! Results as tables: for the terminal, and for the page.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::results::{Aim, Case, Part, Results, figure, with_space};
use crate::stats::Spread;

/// A table of text: the first row is the head.
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    fn new(head: Vec<String>) -> Self {
        Self(vec![head])
    }

    /// The cases of a group: value, and each ratio and figure that one of them has.
    pub(crate) fn of_cases(group: &str, cases: &[&Case]) -> Self {
        let ratios: BTreeSet<_> = cases.iter().flat_map(|case| case.ratios.keys()).collect();
        let figures: BTreeSet<_> = cases.iter().flat_map(|case| case.figures.keys()).collect();
        let units: BTreeSet<_> = cases.iter().map(|case| case.unit.as_str()).collect();
        // One unit goes to the head, several to the values.
        let unit = (units.len() == 1).then(|| units.first().copied().unwrap_or_default());
        let head = [
            group.to_owned(),
            unit.map_or_else(|| "median".into(), |unit| format!("median, {unit}")),
            "min".into(),
            "max".into(),
        ];
        let mut table = Self::new(
            head.into_iter()
                .chain(ratios.iter().map(|ratio| format!("/ {ratio}")))
                .chain(figures.iter().map(ToString::to_string))
                .collect(),
        );
        for case in cases {
            let Spread { median, min, max } = case.value;
            let own = if unit.is_some() {
                String::new()
            } else {
                with_space(&case.unit)
            };
            let mut row = vec![case.name.clone(), figure(median) + &own, figure(min), figure(max)];
            let ratio = |name| {
                case.ratios
                    .get(name)
                    .map_or(String::new(), |ratio: &Spread| figure(ratio.median))
            };
            row.extend(ratios.iter().map(|name| ratio(*name)));
            let single = |name| case.figures.get(name).map_or(String::new(), |value| figure(*value));
            row.extend(figures.iter().map(|name| single(*name)));
            table.0.push(row);
        }
        table
    }

    /// Aims, with met or missed.
    pub(crate) fn of_aims<'a>(aims: impl Iterator<Item = &'a Aim>) -> Self {
        let head = ["aim", "limit", "measured", "rounds from", "to", ""];
        let mut table = Self::new(head.map(str::to_owned).to_vec());
        for aim in aims {
            let Spread { median, min, max } = aim.value;
            let verdict = if aim.is_met() { "met" } else { "missed" };
            table.0.push(vec![
                aim.what.clone(),
                aim.limit_text(),
                figure(median),
                figure(min),
                figure(max),
                verdict.into(),
            ]);
        }
        table
    }

    /// With columns aligned, the first to the left.
    pub(crate) fn text(&self) -> String {
        let columns = self.0[0].len();
        let width = |column: usize| self.0.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<_> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.0 {
            let mut line = format!("{:<width$}", row[0], width = widths[0]);
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                let _ = write!(line, "  {cell:>width$}");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// As Markdown.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = line(&self.0[0]);
        text.push_str("|---|");
        text.push_str(&"---:|".repeat(self.0[0].len() - 1));
        text.push('\n');
        self.0[1..].iter().for_each(|row| text.push_str(&line(row)));
        text
    }
}

/// The groups of a part, in the order of their first cases.
pub(crate) fn groups(cases: &[Case]) -> Vec<(&str, Vec<&Case>)> {
    let mut groups: Vec<(&str, Vec<&Case>)> = Vec::new();
    for case in cases {
        match groups.iter_mut().find(|(name, _)| *name == case.group) {
            Some((_, members)) => members.push(case),
            None => groups.push((&case.group, vec![case])),
        }
    }
    groups
}

/// All of it for the terminal.
pub(crate) fn text(results: &Results, parts: &BTreeSet<Part>) -> String {
    let mut text = String::new();
    for (part, outcome) in results.outcomes.iter().filter(|(part, _)| parts.contains(part)) {
        let _ = writeln!(text, "== {}: {}\n", part.name(), outcome.how);
        for (group, cases) in groups(&outcome.cases) {
            let _ = writeln!(text, "{}", Table::of_cases(group, &cases).text());
        }
        for note in &outcome.notes {
            let _ = writeln!(text, "{note}");
        }
        for skipped in &outcome.skipped {
            let _ = writeln!(text, "skipped: {}: {}", skipped.what, skipped.why);
        }
        if !outcome.aims.is_empty() {
            let _ = writeln!(text, "\n{}", Table::of_aims(outcome.aims.iter()).text());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_those_that_a_case_of_the_group_has() {
        let first = Case::new("refused", "a", "ns", &[12.5]).ratio("empty", Spread::of(&[2.0]));
        let second = Case::new("refused", "longer", "ns", &[1500.0]).figure("instructions", 97.0);
        let table = Table::of_cases("refused", &[&first, &second]);
        assert_eq!(
            table.text(),
            "refused  median, ns   min   max  / empty  instructions\n\
             a              12.5  12.5  12.5     2.00\n\
             longer         1500  1500  1500                   97.0\n"
        );
        let markdown = table.markdown();
        assert!(
            markdown.starts_with("| refused | median, ns |") && markdown.contains("\n|---|---:|"),
            "{markdown}"
        );
        assert_eq!(markdown.lines().count(), 4);
    }

    #[test]
    fn aims_say_met_or_missed() {
        let aims = [
            Aim::at_most("fast", 0.6, "", Spread::of(&[0.5])),
            Aim::at_least("wide", 4.0, Spread::of(&[3.0])),
        ];
        let text = Table::of_aims(aims.iter()).text();
        assert!(text.lines().nth(1).is_some_and(|line| line.ends_with("met")), "{text}");
        assert!(
            text.lines().nth(2).is_some_and(|line| line.ends_with("missed")),
            "{text}"
        );
    }

    #[test]
    fn groups_keep_their_order() {
        let case = |group: &str, name: &str| Case::new(group, name, "", &[]);
        let cases = [case("b", "1"), case("a", "2"), case("b", "3")];
        let names: Vec<_> = groups(&cases)
            .into_iter()
            .map(|(name, members)| (name, members.len()))
            .collect();
        assert_eq!(names, [("b", 2), ("a", 1)]);
    }
}
