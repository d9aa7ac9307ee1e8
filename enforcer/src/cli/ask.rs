//! What the commands have in common that ask the controller.

use std::io::{self, Write as _};

use serde_json::Value;

use super::{ConfigArgument, Exit, OutputFormat};
use crate::control::{self, Verb};
pub(super) use crate::words::short;

/// Arguments of a command with one answer.
#[derive(clap::Args)]
pub(super) struct AskArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    pub(super) output: OutputFormat,
}

impl AskArguments {
    /// The controller's answer.
    pub(super) fn ask(&self, verb: Verb) -> Result<Value, Exit> {
        Ok(control::call(&self.config.load()?.runtime_directory, verb)?)
    }
}

/// Prints a line at once. False when nobody reads any more, as behind `| head`.
pub(super) fn print_line(line: &str) -> Result<bool, Exit> {
    let mut output = io::stdout().lock();
    let written = writeln!(output, "{line}").and_then(|()| output.flush());
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Exit::environment(format!("writing to standard output: {error}"))),
    }
}

/// Rows in columns, each as wide as its widest cell; the last one ends where its text ends.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |text: &String| text.chars().count();
    let widest = |column: usize| rows.iter().map(|row| width(&row[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(widest).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells.map(|(text, width)| format!("{text:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// Seconds for people: `5s`, `3m10s`, `2h05m`, `4d03h`.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units() {
        let all = [0, 59, 190, 7500, 356_400].map(duration);
        assert_eq!(all, ["0s", "59s", "3m10s", "2h05m", "4d03h"]);
    }
}
