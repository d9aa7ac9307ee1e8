//! `enforcer doctor`: what of the machine, the ports and the files would keep the enforcer from its work, and the cure.
//!
//! It only looks: nothing is attached or changed; a program that tells the kernel's tick is loaded and gone at once. What it may not see is a finding too.

mod files;
mod machine;
mod ports;
#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::config::Config;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Works, and could be better; or it could not be seen.
    Warning,
    /// The enforcer does not work so.
    Error,
}

impl Severity {
    /// What the command line prints.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What was looked at: `kernel`, `policy`, `port eth1`.
    pub subject: String,
    /// What was found.
    pub what: String,
    /// What to do, a command where there is one; `None` when all is well.
    pub cure: Option<String>,
}

impl Finding {
    fn ok(subject: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            severity: Severity::Ok,
            subject: subject.into(),
            what: what.into(),
            cure: None,
        }
    }

    fn warning(subject: impl Into<String>, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            cure: Some(cure.into()),
            ..Self::ok(subject, what)
        }
    }

    fn error(subject: impl Into<String>, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            ..Self::warning(subject, what, cure)
        }
    }
}

/// Looks at everything that a configuration needs.
pub fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = machine::examine(&config.pin_directory);
    findings.extend(files::examine(config));
    findings.extend(config.ports.iter().flat_map(|port| ports::examine(config, port)));
    findings
}
