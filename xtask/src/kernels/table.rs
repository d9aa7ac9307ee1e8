//! The table of kernels, for the terminal and for `docs/kernels.md`.

use super::guest::Report;
use std::fmt::Write as _;

/// The checks, as the guest names them and as the table heads them.
const COLUMNS: [(&str, &str); 8] = [
    ("loads", "loads (verifier instructions)"),
    ("attach", "attached, pinned, replaced"),
    ("verdicts", "verdicts right"),
    ("hospital", "reference hospital"),
    ("reload", "reload under traffic"),
    ("8021q", "802.1Q sub-interface"),
    ("bridge", "bridge, vlan_filtering"),
    ("jumbo", "jumbo"),
];

/// Whether a report is as it should be: all checks held, or the kernel is too old and said to be.
pub(crate) fn is_right(report: &Report) -> bool {
    !report.outcomes.is_empty() && (report.outcomes.iter().all(|outcome| outcome.passed) || refusal(report).is_some())
}

/// Why a kernel is refused by name.
pub(crate) fn refusal(report: &Report) -> Option<&str> {
    let first = report.outcomes.first()?;
    (!first.passed && first.text.contains("too old")).then_some(&first.text)
}

/// The table in Markdown.
pub(crate) fn markdown(reports: &[Report]) -> String {
    let mut text = String::from("| kernel |");
    for (_, title) in COLUMNS {
        // Writing to a string cannot fail.
        let _ = write!(text, " {title} |");
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(COLUMNS.len()));
    text.push('\n');
    for report in reports {
        let _ = write!(text, "| {} |", report.release);
        for (check, _) in COLUMNS {
            let _ = write!(text, " {} |", cell(report, check));
        }
        text.push('\n');
    }
    text
}

fn cell(report: &Report, check: &str) -> String {
    let outcome = report.outcomes.iter().find(|outcome| outcome.check == check);
    match outcome {
        None => "-".into(),
        Some(outcome) if outcome.passed => outcome.text.clone(),
        Some(_) if refusal(report).is_some() => "refused".into(),
        Some(_) => "**failed**".into(),
    }
}

/// What went wrong, a paragraph a check.
pub(crate) fn failures(report: &Report) -> String {
    let mut text = String::new();
    for outcome in report.outcomes.iter().filter(|outcome| !outcome.passed) {
        let _ = writeln!(text, "{}, {}: {}", report.release, outcome.check, outcome.text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::guest::Outcome;
    use super::*;
    use std::time::Duration;

    fn report(passed: bool, text: &str) -> Report {
        Report {
            release: "6.1.0".into(),
            outcomes: vec![Outcome {
                check: "loads".into(),
                passed,
                text: text.into(),
            }],
            took: Duration::ZERO,
        }
    }

    #[test]
    fn a_kernel_that_is_too_old_is_right_to_be_refused_and_any_other_failure_is_not() {
        assert!(is_right(&report(true, "100")));
        assert!(is_right(&report(false, "Linux 5.10 is too old: ...")));
        assert!(!is_right(&report(false, "invalid read from stack")));
        assert!(!is_right(&Report {
            outcomes: Vec::new(),
            ..report(true, "")
        }));
    }

    #[test]
    fn a_check_that_did_not_run_is_a_dash() {
        let table = markdown(&[report(true, "100")]);
        assert!(
            table.ends_with("| 6.1.0 | 100 | - | - | - | - | - | - | - |\n"),
            "{table}"
        );
    }
}
