//! `enforcer doctor`: what is in the way of enforcement, and the cure.

use serde_json::json;

use super::{ConfigArgument, Exit, OutputFormat};
use crate::doctor::{self, Finding, Severity};
use crate::words::counted;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  enforcer doctor\n  enforcer doctor --config enforcer.toml --output json\n\nExit codes: 0 no error, 1 errors found, 2 usage or environment."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// How to print the findings.
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Exit> {
    let findings = doctor::examine(&arguments.config.load()?);
    let errors = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .count();
    match arguments.output {
        OutputFormat::Json => println!(
            "{:#}",
            json!({"schema_version": 1, "ok": errors == 0, "findings": findings})
        ),
        OutputFormat::Human => findings.iter().for_each(|finding| println!("{}", line(finding))),
    }
    match errors {
        0 => Ok(()),
        _ => Err(Exit::input(format!("{} found", counted(errors, "error")))),
    }
}

fn line(finding: &Finding) -> String {
    let Finding { subject, what, .. } = finding;
    let line = format!("{:<9}{subject}: {what}", finding.severity.name());
    match &finding.cure {
        Some(cure) => format!("{line}\n         cure: {cure}"),
        None => line,
    }
}
