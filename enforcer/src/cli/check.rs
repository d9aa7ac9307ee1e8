//! `enforcer check`: whether a policy would load.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::{Value, json};

use super::{Exit, findings};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::policy;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  enforcer check policies/\n  enforcer check --deny-lints policies/\n  enforcer check --output github policies/\n  enforcer check --output sarif policies/ > policy.sarif\n\nExit codes: 0 good, 1 errors found, 2 nothing could be read."
)]
pub(super) struct Arguments {
    /// Policy files and folders.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    /// Fail when there are warnings: rules that never decide, that have expired or soon will, things that nothing names.
    #[arg(long)]
    deny_lints: bool,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Format {
    /// For people, with carets.
    #[default]
    Human,
    /// One JSON object, with its version.
    Json,
    /// Annotations of GitHub's workflows.
    Github,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Exit> {
    let errors = match policy::check(&arguments.paths) {
        Ok(summary) => return passed(arguments, &summary),
        Err(errors) => errors,
    };
    match arguments.output {
        Format::Human => return Err(errors.into()),
        Format::Json => println!("{:#}", bad(&errors)),
        Format::Github => print!("{}", findings::github(&errors)),
        Format::Sarif => println!("{:#}", findings::sarif(&errors)),
    }
    Err(Exit::findings(&errors))
}

/// A policy that would load, maybe with warnings.
fn passed(arguments: &Arguments, summary: &policy::Summary) -> Result<(), Exit> {
    let lints = &summary.lints;
    let denied = arguments.deny_lints && !lints.list.is_empty();
    match arguments.output {
        Format::Human => {
            println!("{summary}");
            if !lints.list.is_empty() {
                eprint!("{lints}");
            }
        }
        Format::Json => println!("{:#}", good(summary)),
        Format::Github => print!("{}", findings::github(lints)),
        Format::Sarif => println!("{:#}", findings::sarif(lints)),
    }
    if denied { Err(Exit::findings(lints)) } else { Ok(()) }
}

fn good(summary: &policy::Summary) -> Value {
    let sizes: serde_json::Map<_, _> = summary
        .tables
        .sizes()
        .into_iter()
        .map(|(table, size)| (table.to_owned(), json!(size)))
        .collect();
    let policy = &summary.policy;
    json!({
        "schema_version": 1, "ok": true, "errors": [],
        "zones": policy.zones.len() - 2, "devices": policy.devices.len(), "services": policy.services.len(),
        "rules": policy.rules.len(), "tables": sizes, "warnings": listed(&summary.lints),
    })
}

fn bad(errors: &Diagnostics) -> Value {
    json!({"schema_version": 1, "ok": false, "errors": listed(errors)})
}

fn listed(errors: &Diagnostics) -> Vec<Value> {
    let error = |finding: &Diagnostic| {
        let place = finding
            .at
            .map(|at| (errors.sources.file(at.file).0, errors.sources.position(at)));
        json!({
            "message": finding.message,
            "help": finding.help,
            "file": place.map(|(file, _)| Path::display(file).to_string()),
            "line": place.map(|(_, (line, _))| line),
            "column": place.map(|(_, (_, column))| column),
        })
    };
    errors.list.iter().map(error).collect()
}
