//! A proposal as policy text, and its findings for people.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use serde::Serializer;

use super::findings::Finding;
use super::propose::{Evidence, Proposal, Rule};
use crate::state::rfc3339_seconds;
use crate::words::counted;

/// Pairs that are told of a rule.
const PAIRS: usize = 12;
/// Findings that are told of a kind.
const FINDINGS: usize = 10;
/// A list that is longer than this stands in lines of its own.
const LINE: usize = 90;

/// The rules as a file of the policy.
pub fn text(proposal: &Proposal) -> String {
    let Some(evidence) = span(proposal) else {
        return "# Nothing was seen that a rule should permit and none does.\n".to_owned();
    };
    let mut text = format!(
        "# Proposed by `enforcer learn`, for what was seen from {} to {} and no rule permits.\n\
         # Review each rule with who knows the devices, give it a name that says what it is for, and keep it with the policy.\n\
         rules:\n",
        moment(evidence.first),
        moment(evidence.last)
    );
    proposal.rules.iter().for_each(|rule| add(&mut text, rule));
    text
}

/// What is left out, for people.
pub fn findings(proposal: &Proposal) -> String {
    let mut text = String::new();
    for of_kind in proposal.findings.chunk_by(|one, next| one.kind == next.kind) {
        of_kind
            .iter()
            .take(FINDINGS)
            .for_each(|finding| tell(&mut text, finding));
        if of_kind.len() > FINDINGS {
            let more = of_kind.len() - FINDINGS;
            let _ = writeln!(text, "{}: and {more} more; --output json has all", of_kind[0].kind);
        }
    }
    let Proposal {
        seen,
        permitted,
        proposed,
        rules,
        ..
    } = proposal;
    let _ = writeln!(
        text,
        "{seen} different connections: {} rules proposed for {proposed}, {permitted} permitted already, {} left out",
        rules.len(),
        seen - proposed - permitted
    );
    text
}

fn tell(text: &mut String, finding: &Finding) {
    let _ = write!(text, "{}: {}: {}", finding.kind, finding.subject, finding.text);
    if let Some(evidence) = &finding.evidence {
        let _ = write!(
            text,
            "; {}, last {}, such as {}",
            times(evidence.count),
            moment(evidence.last),
            finding.example
        );
    }
    text.push('\n');
}

fn span(proposal: &Proposal) -> Option<Evidence> {
    let all = proposal.rules.iter().map(|rule| rule.evidence);
    all.reduce(|sum, one| sum.and(&one))
}

fn add(text: &mut String, rule: &Rule) {
    let Rule { name, evidence, .. } = rule;
    for pair in rule.pairs.iter().take(PAIRS) {
        let _ = writeln!(
            text,
            "  # {} to {}, {}: {}, {} to {}{}",
            pair.from,
            pair.to,
            pair.service,
            times(pair.evidence.count),
            moment(pair.evidence.first),
            moment(pair.evidence.last),
            if pair.answered { "" } else { ", never answered" }
        );
    }
    if rule.pairs.len() > PAIRS {
        let _ = writeln!(text, "  # and {} more; --output json has all", rule.pairs.len() - PAIRS);
    }
    let _ = writeln!(text, "  {name}:");
    list(text, "from", &rule.from);
    list(text, "to", &rule.to);
    list(text, "services", &rule.services);
    let senders: std::collections::BTreeSet<_> = rule.pairs.iter().map(|pair| &pair.from).collect();
    let _ = writeln!(
        text,
        "    action: allow\n    comment: \"seen {} from {}, {} to {}\"",
        times(evidence.count),
        counted(senders.len(), "sender"),
        moment(evidence.first),
        moment(evidence.last)
    );
}

fn list(text: &mut String, key: &str, values: &[String]) {
    let quoted = |value: &String| {
        if value.contains(':') {
            format!("\"{value}\"")
        } else {
            value.clone()
        }
    };
    let values: Vec<_> = values.iter().map(quoted).collect();
    let line = values.join(", ");
    let _ = match values.as_slice() {
        [one] => writeln!(text, "    {key}: {one}"),
        _ if line.len() <= LINE => writeln!(text, "    {key}: [{line}]"),
        _ => writeln!(text, "    {key}:\n      - {}", values.join("\n      - ")),
    };
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

fn moment(unix: u64) -> String {
    rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(unix.min(253_402_300_799)))
}

/// Unix seconds as RFC 3339.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(super) fn time<S: Serializer>(unix: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&moment(*unix))
}
