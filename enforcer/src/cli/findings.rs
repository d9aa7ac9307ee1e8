//! Findings in the formats that code hosts and editors read.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::diagnostics::{Diagnostic, Diagnostics, Location};
use crate::policy::LINTS;

/// The name of what is no lint.
const WRONG: &str = "policy";

/// Annotations of GitHub's workflow commands, one line a finding.
pub(super) fn github(errors: &Diagnostics) -> String {
    let mut text = String::new();
    for finding in &errors.list {
        let place = finding.at.map(|at| {
            let (line, column) = errors.sources.position(at);
            let file = property(&path(errors, at));
            format!(" file={file},line={line},col={column}")
        });
        let title = match (finding.lint, &place) {
            (None, _) => String::new(),
            (Some(lint), None) => format!(" title={}", lint.code),
            (Some(lint), Some(_)) => format!(",title={}", lint.code),
        };
        let message = data(&with_help(finding));
        let _ = writeln!(
            text,
            "::{}{}{title}::{message}",
            errors.level(),
            place.unwrap_or_default()
        );
    }
    text
}

/// SARIF 2.1.0, the format of code scanning.
pub(super) fn sarif(errors: &Diagnostics) -> Value {
    let results: Vec<_> = errors.list.iter().map(|finding| result(errors, finding)).collect();
    json!({
        "version": "2.1.0",
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "runs": [{
            "tool": {"driver": {
                "name": "enforcer", "version": env!("CARGO_PKG_VERSION"),
                "rules": rules(),
            }},
            "results": results,
        }],
    })
}

/// What is wrong has one name; each lint has its own.
fn rules() -> Vec<Value> {
    let rule = |id: &str, text: &str| json!({"id": id, "shortDescription": {"text": text}});
    let lints = LINTS.iter().map(|lint| rule(lint.code, lint.finds));
    std::iter::once(rule(WRONG, "The policy is wrong here."))
        .chain(lints)
        .collect()
}

fn result(errors: &Diagnostics, finding: &Diagnostic) -> Value {
    let locations = finding.at.map(|at| location(errors, at));
    let related = finding.related.iter().map(|(at, label)| {
        let mut related = location(errors, *at);
        related["message"] = json!({"text": label});
        related
    });
    json!({
        "ruleId": finding.lint.map_or(WRONG, |lint| lint.code), "level": errors.level(),
        "message": {"text": with_help(finding)},
        "locations": locations.into_iter().collect::<Vec<_>>(),
        "relatedLocations": related.collect::<Vec<_>>(),
    })
}

fn location(errors: &Diagnostics, at: Location) -> Value {
    let (line, column) = errors.sources.position(at);
    json!({"physicalLocation": {
        "artifactLocation": {"uri": uri(&path(errors, at))},
        "region": {"startLine": line, "startColumn": column},
    }})
}

fn path(errors: &Diagnostics, at: Location) -> String {
    Path::display(errors.sources.file(at.file).0).to_string()
}

fn with_help(finding: &Diagnostic) -> String {
    match finding.help.as_str() {
        "" => finding.message.clone(),
        help => format!("{}; {help}", finding.message),
    }
}

/// Text behind the colons of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Text in front of them.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// A path as a relative reference (RFC 3986), or from the root.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for octet in path.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~/".contains(&octet) {
            uri.push(char::from(octet));
        } else {
            let _ = write!(uri, "%{octet:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::{data, property, uri};

    #[test]
    fn what_ends_a_field_is_escaped() {
        assert_eq!(data("50 %\nof: it, all"), "50 %25%0Aof: it, all");
        assert_eq!(property("a,b:c%"), "a%2Cb%3Ac%25");
        assert_eq!(uri("policy of ward/é.yaml"), "policy%20of%20ward/%C3%A9.yaml");
    }
}
