//! `enforcer check`: whether a policy would load.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Exit, OutputFormat};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::policy;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Policy files and folders.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Exit> {
    match (policy::check(&arguments.paths), arguments.output) {
        (Ok(summary), OutputFormat::Human) => println!("{summary}"),
        (Ok(summary), OutputFormat::Json) => println!("{:#}", good(&summary)),
        (Err(errors), OutputFormat::Human) => return Err(errors.into()),
        (Err(errors), OutputFormat::Json) => {
            println!("{:#}", bad(&errors));
            return Err(Exit::findings(&errors));
        }
    }
    Ok(())
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
