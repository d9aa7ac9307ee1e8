//! `enforcer check`: whether a policy would load.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::{Exit, findings};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::{config, policy};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  enforcer check policies/\n  enforcer check --deny-lints --config /etc/enforcer/enforcer.toml policies/\n  enforcer check --output github policies/\n  enforcer check --output sarif policies/ > policy.sarif\n\nExit codes: 0 good, 1 errors found, 2 nothing could be read."
)]
pub(super) struct Arguments {
    /// Policy files and folders.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    /// Fail when there are warnings, such as rules that never decide or that have expired. docs/policy.md names them all.
    #[arg(long)]
    deny_lints: bool,
    /// The configuration of the gateway: warn also when the policy would lock its operators out.
    #[arg(long, short)]
    config: Option<PathBuf>,
    /// Judge rules that expire as of this time, such as 2027-01-31T00:00:00Z; without, of now.
    #[arg(long, value_name = "TIME", value_parser = policy::parts::time)]
    as_of: Option<SystemTime>,
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
    let config = arguments.config.as_deref().map(config::load).transpose()?;
    let now = arguments.as_of.unwrap_or_else(SystemTime::now);
    let errors = match policy::check(&arguments.paths, config.as_ref(), now) {
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
        Format::Json => println!("{:#}", good(summary, !denied)),
        Format::Github => print!("{}", findings::github(lints)),
        Format::Sarif => println!("{:#}", findings::sarif(lints)),
    }
    if denied { Err(Exit::findings(lints)) } else { Ok(()) }
}

fn good(summary: &policy::Summary, ok: bool) -> Value {
    let sizes: serde_json::Map<_, _> = summary
        .tables
        .sizes()
        .into_iter()
        .map(|(table, size)| (table.to_owned(), json!(size)))
        .collect();
    let policy = &summary.policy;
    json!({
        "schema_version": 1, "ok": ok, "errors": [],
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
            "code": finding.lint.map(|lint| lint.code),
            "message": finding.message,
            "help": finding.help,
            "file": place.map(|(file, _)| Path::display(file).to_string()),
            "line": place.map(|(_, (line, _))| line),
            "column": place.map(|(_, (_, column))| column),
        })
    };
    errors.list.iter().map(error).collect()
}
