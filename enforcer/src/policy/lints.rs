//! What is allowed, and still seldom meant: rules that never decide, rules that have ended or soon will, rules about everything,
//! things that nothing names.

use super::valid::{Action, Rule, Selector, ServiceMatch, ValidPolicy};
use crate::diagnostics::{Diagnostic, quote};

/// Rules that end within so many nanoseconds get a warning: two weeks.
const SOON: u64 = 14 * 24 * 3_600 * 1_000_000_000;

/// The warnings about a policy at `now`, in nanoseconds of Unix time. `idle` are the numbers of the rules that decide about no packet.
pub(super) fn find(policy: &ValidPolicy, idle: &[u32], now: u64) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (rule, number) in policy.rules.iter().zip(1..) {
        let name = quote(&rule.name);
        let over = rule.expires.is_some_and(|expires| expires <= now);
        if over {
            let finding = Diagnostic::at(rule.at, format!("rule {name} has expired"));
            found.push(finding.help("remove it, or give it a new end"));
        } else if rule.expires.is_some_and(|expires| expires - now < SOON) {
            let finding = Diagnostic::at(rule.at, format!("rule {name} expires within two weeks"));
            found.push(finding.help("let its owner know"));
        }
        if !over && idle.binary_search(&number).is_ok() {
            let message = format!("rule {name} never decides: others go before it wherever it matches");
            found.push(Diagnostic::at(rule.at, message).help("remove it, or give it a higher priority"));
        }
        if allows_everything(rule) {
            let finding = Diagnostic::at(
                rule.at,
                format!("rule {name} allows everything from anybody to anybody"),
            );
            found.push(finding.help("name ends and services; to watch first, let the zones monitor"));
        }
    }
    for unused in &policy.unused {
        let message = format!("nothing names the {} {}", unused.what, quote(&unused.name));
        found.push(Diagnostic::at(unused.at, message).help("remove it, or use it"));
    }
    found
}

fn allows_everything(rule: &Rule) -> bool {
    rule.action == Action::Allow
        && rule.from.contains(&Selector::Any)
        && rule.to.contains(&Selector::Any)
        && rule.services.contains(&ServiceMatch::Any)
}
