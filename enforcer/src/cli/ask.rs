//! What the commands have in common that ask the controller.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use serde_json::Value;

use super::{ConfigArgument, Exit, OutputFormat};
use crate::config::Config;
use crate::control::{self, Change, Order, Verb};
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

/// Arguments of a command that changes what is enforced.
#[derive(clap::Args)]
pub(super) struct ChangeArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Why: a line for the audit trail, such as the number of a ticket.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    comment: String,
}

impl ChangeArguments {
    pub(super) fn config(&self) -> Result<Config, Exit> {
        Ok(self.config.load()?)
    }

    pub(super) fn comment(&self) -> &str {
        &self.comment
    }

    /// The controller's answer to an order.
    pub(super) fn order(&self, config: &Config, order: Order) -> Result<Value, Exit> {
        let comment = self.comment.clone();
        let change = Verb::Change(Change { order, comment });
        Ok(control::call(&config.runtime_directory, change)?)
    }
}

/// Asks whether to go on, if there is somebody to ask.
pub(super) fn consent(question: &str, yes: bool) -> Result<(), Exit> {
    if yes {
        return Ok(());
    }
    let input = io::stdin();
    if !input.is_terminal() {
        return Err(Exit::environment(
            "nobody can be asked, because standard input is no terminal: read the plan, and say --yes. Nothing was changed",
        ));
    }
    let mut answer = String::new();
    eprint!("{question} [y/N] ");
    let read = input.read_line(&mut answer);
    read.map_err(|error| Exit::environment(format!("reading the answer: {error}")))?;
    if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
        return Ok(());
    }
    Err(Exit::input("not confirmed: nothing was changed"))
}

/// Text from elsewhere, without what would disturb a terminal.
pub(super) fn harmless(text: &str) -> String {
    let escaped = |c: char| {
        if c.is_control() {
            c.escape_default().to_string()
        } else {
            c.to_string()
        }
    };
    text.chars().map(escaped).collect()
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

/// `10m`, `90min`, `12h`, `30d`, `6w`.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let seconds: Option<u64> = match unit {
        "s" => Some(1),
        "m" | "min" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        "w" => Some(7 * 86_400),
        _ => None,
    };
    let total = seconds.and_then(|seconds| digits.parse::<u64>().ok()?.checked_mul(seconds));
    total
        .map(Duration::from_secs)
        .ok_or_else(|| "write a number and a unit, such as 90s, 10m, 12h, 30d or 6w".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        let all = ["90min", "10m", "12h", "30d", "6w", "7s"].map(|text| span(text).map(|span| span.as_secs()));
        assert_eq!(all, [5_400, 600, 43_200, 2_592_000, 3_628_800, 7].map(Ok));
        for wrong in [
            "",
            "30",
            "d",
            "-1d",
            "1.5d",
            "30 d",
            "99999999999999999999d",
            "9999999999999999w",
        ] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_have_two_units() {
        let all = [0, 59, 190, 7500, 356_400].map(duration);
        assert_eq!(all, ["0s", "59s", "3m10s", "2h05m", "4d03h"]);
    }
}
