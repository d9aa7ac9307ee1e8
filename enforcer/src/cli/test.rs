//! `enforcer test`: the tests of a policy.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::Exit;
use crate::diagnostics::Sources;
use crate::offline::suite::{self, Report, Verdicts};
use crate::offline::{self, Rig};
use crate::policy;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  enforcer test policies/\n  enforcer test --output junit policies/ > report.xml\n\nExit codes: 0 all as expected, 1 a test failed or the policy is wrong, 2 nothing could be read."
)]
pub(super) struct Arguments {
    /// Policy files and folders, with the tests in them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Format {
    /// For people: what failed, and which rules no test reaches.
    #[default]
    Human,
    /// One JSON object, with its version.
    Json,
    /// `JUnit` XML, for continuous integration.
    Junit,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Exit> {
    let mut rig = Rig::new(policy::load(&arguments.paths)?, 0)?;
    let sources = rig.policy().sources.clone();
    let rules = rig.policy().rules.len();
    if rig.policy().cases.is_empty() {
        return Err(Exit::input(
            "the policy has no tests; write some under `tests:`, docs/policy.md shows how",
        ));
    }
    let started = Instant::now();
    let report = suite::run(&mut rig, offline::now());
    match arguments.output {
        Format::Human => print!("{}", human(&report, rules, &sources)),
        Format::Json => println!("{:#}", machine(&report, rules, &sources)),
        Format::Junit => print!("{}", junit(&report, started.elapsed().as_secs_f64(), &sources)),
    }
    match report.failed() {
        0 => Ok(()),
        failed => Err(Exit::input(format!(
            "{failed} of {} tests failed",
            report.results.len()
        ))),
    }
}

fn human(report: &Report<'_>, rules: usize, sources: &Sources) -> String {
    let mut text = String::new();
    for result in report.results.iter().filter(|result| !result.failures.is_empty()) {
        let _ = writeln!(text, "FAILED  {}", result.case.name);
        for line in failures(result, sources) {
            let _ = writeln!(text, "  {line}");
        }
    }
    let tests = report.results.len();
    let failed = report.failed();
    let reached = rules - report.unreached.len();
    let _ = writeln!(text, "{tests} tests: {} passed, {failed} failed", tests - failed);
    let _ = writeln!(text, "{reached} of {rules} rules reached");
    for rule in &report.unreached {
        let _ = writeln!(text, "  not reached: {} ({})", rule.name, sources.place(rule.at));
    }
    text
}

/// One line a failure.
fn failures(result: &Verdicts<'_>, sources: &Sources) -> Vec<String> {
    let line = |failure: &suite::Failure| {
        let step = match result.case.steps.len() {
            1 => String::new(),
            _ => format!("step {}: ", failure.step),
        };
        let (place, expected, outcome) = (sources.place(failure.at), &failure.expected, &failure.outcome);
        format!("{place}: {step}expected {expected}, got {outcome}")
    };
    result.failures.iter().map(line).collect()
}

fn machine(report: &Report<'_>, rules: usize, sources: &Sources) -> Value {
    let failure = |failure: &suite::Failure| {
        json!({
            "step": failure.step, "at": sources.place(failure.at),
            "expected": failure.expected, "got": failure.outcome,
        })
    };
    let test = |result: &Verdicts<'_>| {
        let failures: Vec<_> = result.failures.iter().map(failure).collect();
        json!({
            "name": result.case.name, "at": sources.place(result.case.at),
            "passed": failures.is_empty(), "failures": failures,
        })
    };
    let unreached = report.unreached.iter();
    let unreached: Vec<_> = unreached
        .map(|rule| json!({"name": rule.name, "at": sources.place(rule.at)}))
        .collect();
    json!({
        "schema_version": 1, "ok": report.failed() == 0,
        "passed": report.results.len() - report.failed(), "failed": report.failed(),
        "tests": report.results.iter().map(test).collect::<Vec<_>>(),
        "rules": rules, "unreached_rules": unreached,
    })
}

/// The format that continuous integration systems read.
fn junit(report: &Report<'_>, seconds: f64, sources: &Sources) -> String {
    let (tests, failed) = (report.results.len(), report.failed());
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    let _ = writeln!(
        text,
        "  <testsuite name=\"policy\" tests=\"{tests}\" failures=\"{failed}\" errors=\"0\" time=\"{seconds:.3}\">"
    );
    for result in &report.results {
        let name = xml(&result.case.name);
        let place = xml(&sources.place(result.case.at));
        let _ = write!(text, "    <testcase classname=\"{place}\" name=\"{name}\"");
        if result.failures.is_empty() {
            text.push_str("/>\n");
            continue;
        }
        let lines = failures(result, sources);
        let message = xml(&lines[0]);
        let all = xml(&lines.join("\n"));
        let _ = writeln!(
            text,
            ">\n      <failure message=\"{message}\">{all}</failure>\n    </testcase>"
        );
    }
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

/// Text as XML takes it, in attributes too. What XML 1.0 cannot hold becomes a question mark.
fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push('\n'),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::xml;

    #[test]
    fn names_of_tests_cannot_break_the_report() {
        assert_eq!(xml("a <b> & \"c\"\u{1}\u{ffff}é"), "a &lt;b&gt; &amp; &quot;c&quot;??é");
    }
}
