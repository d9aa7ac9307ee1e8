//! Tables of cells that can be sorted, and how a cell looks.

use std::cmp::Ordering;
use std::fmt::{self, Write as _};

use crate::words::short;

/// The head of a column, and whether it holds numbers, which stand at the right.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// What stands over it.
    pub name: &'static str,
    /// Whether it holds numbers.
    pub number: bool,
}

const fn text(name: &'static str) -> Column {
    Column { name, number: false }
}

const fn number(name: &'static str) -> Column {
    Column { name, number: true }
}

pub(super) const ZONES: [Column; 8] = [
    text("ZONE"),
    number("FLOWS"),
    number("SENT b/s"),
    number("RECEIVED b/s"),
    number("DROP/s"),
    number("WOULD-DROP/s"),
    number("DROPPED"),
    number("WOULD-DROP"),
];
pub(super) const DEVICES: [Column; 8] = [
    text("DEVICE"),
    text("ZONE"),
    number("FLOWS"),
    number("SENT f/s"),
    number("SENT b/s"),
    number("RECEIVED b/s"),
    number("REFUSED"),
    text("LAST SEEN"),
];
pub(super) const RULES: [Column; 5] = [
    text("RULE"),
    number("FRAMES/s"),
    number("b/s"),
    number("FRAMES"),
    number("OCTETS"),
];
pub(super) const REASONS: [Column; 5] = [
    text("REASON"),
    text("ZONE"),
    text("VERDICT"),
    number("FRAMES/s"),
    number("FRAMES"),
];
pub(super) const PORTS: [Column; 8] = [
    text("PORT"),
    number("b/s"),
    number("PASS/s"),
    number("WOULD-DROP/s"),
    number("DROP/s"),
    number("PASSED"),
    number("WOULD-DROP"),
    number("DROPPED"),
];

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// A name.
    Text(String),
    /// A count since the counters began.
    Count(u64),
    /// How much a second; `None` where that is not known yet.
    Rate(Option<u64>),
}

impl Cell {
    /// A rate of octets as one of bits.
    #[must_use]
    pub fn bits(self) -> Self {
        match self {
            Self::Rate(Some(octets)) => Self::Rate(Some(octets.saturating_mul(8))),
            other => other,
        }
    }

    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            (Self::Count(one), Self::Count(other)) => one.cmp(other),
            (Self::Rate(one), Self::Rate(other)) => one.cmp(other),
            _ => Ordering::Equal,
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => formatter.pad(text),
            Self::Count(number) | Self::Rate(Some(number)) => formatter.pad(&short(*number)),
            Self::Rate(None) => formatter.pad("-"),
        }
    }
}

/// A table of a view.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its columns.
    pub columns: &'static [Column],
    /// Its rows, each with a cell a column.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(super) fn new(columns: &'static [Column], rows: Vec<Vec<Cell>>) -> Self {
        Self { columns, rows }
    }

    /// Sorts by a column: numbers with the largest first, names from A, or the other way round. Equal rows go by the numbers
    /// right of it, the largest first, then by name.
    pub fn sort(&mut self, column: usize, reverse: bool) {
        let Some(head) = self.columns.get(column) else {
            return;
        };
        let downwards = head.number != reverse;
        self.rows.sort_by(|one, other| {
            let order = one[column].order(&other[column]);
            let order = if downwards { order.reverse() } else { order };
            let right = (column + 1..self.columns.len()).filter(|at| self.columns[*at].number);
            let more = right.fold(Ordering::Equal, |order, at| {
                order.then_with(|| other[at].order(&one[at]))
            });
            order.then(more).then_with(|| one[0].order(&other[0]))
        });
    }

    /// How wide each column has to be.
    pub fn widths(&self) -> Vec<usize> {
        let width = |(at, column): (usize, &Column)| {
            let cells = self.rows.iter().map(|row| row[at].to_string().chars().count());
            cells.max().unwrap_or(0).max(column.name.chars().count())
        };
        self.columns.iter().enumerate().map(width).collect()
    }

    /// The first `rows` rows as text, with the heads and, where rows are left out, how many; 0 for all rows.
    pub fn text(&self, rows: usize) -> String {
        let shown = if rows == 0 {
            self.rows.len()
        } else {
            rows.min(self.rows.len())
        };
        let widths = self.widths();
        let line = |cells: Vec<String>| {
            let cells = cells.into_iter().zip(self.columns).zip(&widths);
            let cells: Vec<String> = cells
                .map(|((text, column), width)| {
                    if column.number {
                        format!("{text:>width$}")
                    } else {
                        format!("{text:width$}")
                    }
                })
                .collect();
            format!("{}\n", cells.join("  ").trim_end())
        };
        let mut text = line(self.columns.iter().map(|column| column.name.to_owned()).collect());
        for row in &self.rows[..shown] {
            text.push_str(&line(row.iter().map(ToString::to_string).collect()));
        }
        if shown < self.rows.len() {
            let _ = writeln!(text, "and {} more", self.rows.len() - shown);
        }
        text
    }
}
