//! A list of checks that run one after the other, each reported in one line, and all of them again at the end.

use crate::process::CheckFailed;
use anyhow::Result;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// The checks so far.
pub(crate) struct Steps {
    started: Instant,
    done: Vec<Step>,
    colour: bool,
}

struct Step {
    name: &'static str,
    took: Duration,
    passed: bool,
}

impl Steps {
    /// Starts the clock.
    pub(crate) fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            started: Instant::now(),
            done: Vec::new(),
            colour: wanted && std::io::stderr().is_terminal(),
        }
    }

    /// Runs a check; a failure is shown, noted, and does not keep the next ones from running.
    pub(crate) fn run<T>(&mut self, name: &'static str, check: impl FnOnce() -> Result<T>) -> Option<T> {
        eprintln!("{}", self.paint("1", &format!("── {name}")));
        let started = Instant::now();
        let outcome = check();
        if let Err(error) = &outcome {
            eprintln!("error: {error:#}");
        }
        let step = Step {
            name,
            took: started.elapsed(),
            passed: outcome.is_ok(),
        };
        eprintln!("{}", self.line(&step));
        self.done.push(step);
        outcome.ok()
    }

    /// Prints the summary; an error if any check failed.
    pub(crate) fn finish(self, command: &str) -> Result<()> {
        let failed: Vec<_> = self.done.iter().filter(|step| !step.passed).collect();
        let total = self.started.elapsed().as_secs_f64();
        let mut summary = self.paint("1", &format!("── {command}"));
        for step in &self.done {
            // Writing to a string cannot fail.
            let _ = write!(summary, "\n{}", self.line(step));
        }
        eprintln!("{summary}");
        if failed.is_empty() {
            eprintln!("{command}: all {} steps passed in {total:.1} s", self.done.len());
            return Ok(());
        }
        let names: Vec<_> = failed.iter().map(|step| step.name).collect();
        Err(CheckFailed(format!(
            "{} of {} steps failed in {total:.1} s: {}. Their messages stand above",
            failed.len(),
            self.done.len(),
            names.join(", ")
        ))
        .into())
    }

    fn line(&self, step: &Step) -> String {
        let verdict = if step.passed {
            self.paint("32", "ok  ")
        } else {
            self.paint("31;1", "FAIL")
        };
        format!("{verdict} {:<12} {:>7.1} s", step.name, step.took.as_secs_f64())
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn a_failure_is_remembered_and_the_rest_runs() {
        let mut steps = Steps::new();
        assert_eq!(steps.run("first", || Ok(1)), Some(1));
        assert_eq!(steps.run("second", || -> Result<()> { bail!("broken") }), None);
        assert_eq!(steps.run("third", || Ok(3)), Some(3));
        let error = steps.finish("test").expect_err("one failed");
        assert!(error.is::<CheckFailed>());
        assert!(error.to_string().starts_with("1 of 3 steps failed"), "{error}");
        assert!(error.to_string().contains(": second."), "{error}");
    }

    #[test]
    fn all_passed_is_success() {
        let mut steps = Steps::new();
        steps.run("only", || Ok(()));
        assert!(steps.finish("check").is_ok());
    }
}
