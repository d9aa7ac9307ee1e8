//! What the enforcer's metrics page says.

use std::collections::{BTreeMap, BTreeSet};

/// One scrape.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    samples: Vec<Sample>,
}

/// A line of the page.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Metrics {
    /// Reads the text exposition format; lines that are none are left out.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self {
            samples: lines.filter_map(sample).collect(),
        }
    }

    /// All samples of a metric.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }

    /// All series, values aside.
    pub fn series(&self) -> BTreeSet<String> {
        let series = |sample: &Sample| format!("{}{:?}", sample.name, sample.labels);
        self.samples.iter().map(series).collect()
    }

    /// The sum of a metric over all samples that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has_them = |sample: &&Sample| labels.iter().all(|(label, value)| sample.label(label) == *value);
        self.all(name).filter(has_them).map(|sample| sample.value).sum()
    }
}

impl Sample {
    /// The value of a label, empty when it has none.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (head, value) = line.rsplit_once(' ')?;
    let (name, labels) = match head.split_once('{') {
        Some((name, rest)) => (name, rest.strip_suffix('}')?),
        None => (head, ""),
    };
    // Label values come from names in the configuration, which have neither commas nor quotes.
    let pairs = labels.split(',').filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (label, value) = pair.split_once('=')?;
        Some((label.to_owned(), value.trim_matches('"').to_owned()))
    };
    let labels = pairs.map(pair).collect::<Option<_>>()?;
    Some(Sample {
        name: name.to_owned(),
        labels,
        value: value.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_labels() {
        let page = "# HELP drops x\n# TYPE drops counter\n\
            drops{zone=\"guests\",reason=\"default-deny\"} 3\n\
            drops{zone=\"pumps\",reason=\"default-deny\"} 4\ndrops{zone=\"pumps\",reason=\"fragment\"} 5\nup 1\n";
        let metrics = Metrics::parse(page);
        assert!((metrics.sum("drops", &[("reason", "default-deny")]) - 7.0).abs() < 1e-9);
        assert!((metrics.sum("drops", &[("reason", "fragment"), ("zone", "pumps")]) - 5.0).abs() < 1e-9);
        assert!((metrics.sum("up", &[]) - 1.0).abs() < 1e-9);
        assert_eq!(
            metrics.all("drops").next().map(|sample| sample.label("zone")),
            Some("guests")
        );
    }
}
