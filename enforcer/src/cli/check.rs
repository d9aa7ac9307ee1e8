//! `enforcer check`: whether a policy would load.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::{Value, json};

use super::{Exit, findings};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::policy;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  enforcer check policies/\n  enforcer check --output github policies/\n  enforcer check --output sarif policies/ > policy.sarif\n\nExit codes: 0 good, 1 errors found, 2 nothing could be read."
)]
pub(super) struct Arguments {
    /// Policy files and folders.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
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
        Ok(summary) => {
            match arguments.output {
                Format::Human => println!("{summary}"),
                Format::Json => println!("{:#}", good(&summary)),
                Format::Github => {}
                Format::Sarif => println!("{:#}", findings::sarif(&Diagnostics::default())),
            }
            return Ok(());
        }
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
        "rules": policy.rules.len(), "tables": sizes,
    })
}

fn bad(errors: &Diagnostics) -> Value {
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
    json!({"schema_version": 1, "ok": false, "errors": errors.list.iter().map(error).collect::<Vec<_>>()})
}
