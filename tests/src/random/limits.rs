//! Limits of random policies.

use super::Random;

/// What a zone or a device says about limits of each address.
pub(super) fn limits(random: &mut Random, counted: bool) -> String {
    if !random.percent(25) {
        return String::new();
    }
    let (from, toward) = (limit(random, counted), limit(random, counted));
    match random.below(3) {
        0 => format!(", limits: {{from: {{{from}}}}}"),
        1 => format!(", limits: {{toward: {{{toward}}}}}"),
        _ => format!(", limits: {{from: {{{from}}}, toward: {{{toward}}}}}"),
    }
}

pub(super) fn limit(random: &mut Random, counted: bool) -> String {
    if counted && random.percent(40) {
        return format!("concurrent: {}", 1 + random.below(3));
    }
    pace(random)
}

/// A limit of one measure. Fast ones, slow ones, and such that do not divide a second.
pub(super) fn pace(random: &mut Random) -> String {
    match random.below(4) {
        0 => format!(
            "bits: {}, burst: {}",
            random.pick(&["1M/s", "9000/s", "100/s", "3600/h", "7777/s"]),
            random.pick(&[12_112, 12_113, 15_000, 40_000])
        ),
        1 => format!("flows: {}, burst: {}", random.pick(&FREQUENCIES), 1 + random.below(4)),
        _ => format!("packets: {}, burst: {}", random.pick(&FREQUENCIES), 1 + random.below(8)),
    }
}

/// How often something may come.
const FREQUENCIES: [&str; 6] = ["1/h", "7/h", "1/s", "3/s", "70/s", "30000/s"];

/// The text of a policy with other limits: `change` gets what stands in the braces of each.
pub fn without_limits(text: &str, change: impl Fn(&str) -> Option<String>) -> String {
    let mut changed = text.to_owned();
    for (key, close) in [("limits", "}}"), ("limit", "}"), ("broadcast", "}")] {
        let open = format!(", {key}: {{");
        let mut from = 0;
        while let Some(start) = changed[from..].find(&open).map(|at| from + at) {
            let body = start + open.len();
            let end = changed[body..].find(close).map_or(changed.len(), |at| body + at);
            let end_of_body = end + close.len() - 1;
            let new = change(&changed[body..end_of_body]).map_or_else(String::new, |new| format!("{open}{new}}}"));
            changed.replace_range(start..=end_of_body, &new);
            from = start + new.len();
        }
    }
    changed
}

/// A limit of frames or flows, one an hour in place of its rate.
pub fn per_hour(limit: &str) -> String {
    FREQUENCIES.iter().fold(limit.to_owned(), |limit, rate| {
        limit.replace(&format!(": {rate}"), ": 1/h")
    })
}
