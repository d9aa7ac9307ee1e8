//! What was measured: `target/bench/results.json`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::stats::Spread;

/// Version of the file's layout.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    /// What a frame costs, by test runs
    Frames,
    /// Frames a second over veth
    Throughput,
    /// Against the size of policy and tables
    Scale,
    /// Offered against passed
    Limiter,
    /// Reloads under load, and events
    Control,
}

impl Part {
    pub(crate) const ALL: [Self; 5] = [
        Self::Frames,
        Self::Throughput,
        Self::Scale,
        Self::Limiter,
        Self::Control,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::Throughput => "throughput",
            Self::Scale => "scale",
            Self::Limiter => "limiter",
            Self::Control => "control",
        }
    }
}

/// The whole file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) schema_version: u32,
    pub(crate) machine: Machine,
    pub(crate) outcomes: BTreeMap<Part, Outcome>,
}

/// What a part found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Fewer or shorter rounds than usual.
    pub(crate) quick: bool,
    /// Seconds since 1970 when it ended.
    pub(crate) finished: u64,
    pub(crate) took_seconds: f64,
    /// How it was measured, in a sentence for readers.
    pub(crate) how: String,
    pub(crate) cases: Vec<Case>,
    pub(crate) aims: Vec<Aim>,
    /// What could not be measured here, and why.
    pub(crate) skipped: Vec<Skipped>,
    /// What a reader of these figures has to know.
    pub(crate) notes: Vec<String>,
}

/// A case: a value a round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Case {
    /// Cases of a group are shown in one table.
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) unit: String,
    #[serde(flatten)]
    pub(crate) value: Spread,
    /// Rounds that the value was taken over.
    pub(crate) rounds: usize,
    /// By the name of what it is related to.
    pub(crate) ratios: BTreeMap<String, Spread>,
    /// Single figures beside the value, by name with unit.
    #[serde(default)]
    pub(crate) figures: BTreeMap<String, f64>,
}

impl Case {
    /// A case without ratios yet.
    pub(crate) fn new(group: &str, name: &str, unit: &str, values: &[f64]) -> Self {
        Self {
            group: group.into(),
            name: name.into(),
            unit: unit.into(),
            value: Spread::of(values),
            rounds: values.len(),
            ..Self::default()
        }
    }

    #[must_use]
    pub(crate) fn ratio(mut self, to: &str, ratio: Spread) -> Self {
        self.ratios.insert(to.into(), ratio);
        self
    }

    #[must_use]
    pub(crate) fn figure(mut self, name: &str, value: f64) -> Self {
        self.figures.insert(name.into(), value);
        self
    }
}

/// One of the issue's aims.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Aim {
    /// What is compared with what.
    pub(crate) what: String,
    /// `at most` or `at least`.
    pub(crate) bound: Bound,
    pub(crate) limit: f64,
    pub(crate) unit: String,
    pub(crate) value: Spread,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Bound {
    AtMost,
    AtLeast,
}

impl Aim {
    /// `unit` is empty for ratios.
    pub(crate) fn at_most(what: &str, limit: f64, unit: &str, value: Spread) -> Self {
        Self {
            what: what.into(),
            bound: Bound::AtMost,
            limit,
            unit: unit.into(),
            value,
        }
    }

    pub(crate) fn at_least(what: &str, limit: f64, value: Spread) -> Self {
        Self {
            bound: Bound::AtLeast,
            ..Self::at_most(what, limit, "", value)
        }
    }

    /// Whether the median keeps to it.
    pub(crate) fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtMost => self.value.median <= self.limit,
            Bound::AtLeast => self.value.median >= self.limit,
        }
    }

    /// The limit in words: `at most 0.60`.
    pub(crate) fn limit_text(&self) -> String {
        let bound = match self.bound {
            Bound::AtMost => "at most",
            Bound::AtLeast => "at least",
        };
        format!("{bound} {}{}", figure(self.limit), with_space(&self.unit))
    }
}

/// Something that could not be measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Skipped {
    pub(crate) what: String,
    pub(crate) why: String,
}

impl Outcome {
    pub(crate) fn skip(&mut self, what: impl Into<String>, why: impl Into<String>) {
        let (what, why) = (what.into(), why.into());
        eprintln!("bench: skipped: {what}: {why}");
        self.skipped.push(Skipped { what, why });
    }

    pub(crate) fn case(&self, name: &str) -> Option<&Case> {
        self.cases.iter().find(|case| case.name == name)
    }
}

impl Results {
    /// Nothing measured yet.
    pub(crate) fn new(machine: Machine) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            machine,
            outcomes: BTreeMap::new(),
        }
    }

    /// What earlier runs on this machine have left, for parts that this one does not measure. Results of another kernel
    /// or another processor are not mixed in.
    pub(crate) fn load(path: &Path, machine: Machine) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::new(machine)),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        match serde_json::from_str::<Self>(&text) {
            Ok(earlier) if earlier.schema_version == SCHEMA_VERSION && earlier.machine == machine => Ok(earlier),
            _ => Ok(Self::new(machine)),
        }
    }

    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        ensure!(!text.is_empty(), "nothing to write");
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }

    pub(crate) fn aims(&self) -> impl Iterator<Item = &Aim> {
        self.outcomes.values().flat_map(|outcome| &outcome.aims)
    }
}

/// A number with as many places as its size deserves.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.2} M", value / 1e6),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A unit behind a figure.
pub(crate) fn with_space(unit: &str) -> String {
    if unit.is_empty() {
        String::new()
    } else {
        format!(" {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let mut results = Results::new(Machine::default());
        let case = Case::new("g", "denied", "ns", &[3.0, 1.0, 2.0])
            .ratio("empty", Spread::of(&[2.0]))
            .figure("instructions", 97.0);
        let outcome = Outcome {
            cases: vec![case],
            aims: vec![Aim::at_most("denied", 0.6, "", Spread::of(&[0.5]))],
            ..Outcome::default()
        };
        results.outcomes.insert(Part::Frames, outcome);
        results
    }

    #[test]
    fn the_file_has_what_the_issue_asks_for() -> Result<()> {
        let json = serde_json::to_value(results())?;
        assert_eq!(json["schema_version"], 1);
        assert!(json["machine"]["kernel"].is_string(), "{json}");
        let case = &json["outcomes"]["frames"]["cases"][0];
        for key in ["median", "min", "max", "unit", "ratios"] {
            assert!(!case[key].is_null(), "no {key}: {case}");
        }
        assert_eq!(case["ratios"]["empty"]["median"], 2.0);
        Ok(())
    }

    #[test]
    fn what_another_run_measured_is_kept_but_not_of_another_machine() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("results.json");
        assert!(Results::load(&path, Machine::default())?.outcomes.is_empty());
        results().save(&path)?;
        let back = Results::load(&path, Machine::default())?;
        assert_eq!(
            back.outcomes[&Part::Frames].cases,
            results().outcomes[&Part::Frames].cases
        );
        let other = Machine {
            kernel: "7.0".into(),
            ..Machine::default()
        };
        assert!(Results::load(&path, other)?.outcomes.is_empty());
        fs::write(&path, "{}")?;
        assert!(Results::load(&path, Machine::default())?.outcomes.is_empty());
        Ok(())
    }

    #[test]
    fn an_aim_is_met_by_the_median_on_its_side() {
        let value = Spread {
            median: 0.6,
            min: 0.5,
            max: 0.9,
        };
        assert!(Aim::at_most("a", 0.6, "", value).is_met());
        assert!(!Aim::at_most("a", 0.59, "", value).is_met());
        assert!(Aim::at_least("a", 0.6, value).is_met());
        assert!(!Aim::at_least("a", 0.61, value).is_met());
        assert_eq!(Aim::at_most("a", 2.0, "s", value).limit_text(), "at most 2.00 s");
    }
}
