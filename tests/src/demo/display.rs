//! The demo on the terminal.

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use crate::lab::{Enforcer, Metrics};

use super::judge::Finding;
use super::step::{Action, Step};

/// Prints, with colour where it can be seen.
#[derive(Clone, Copy, Debug)]
pub struct Display {
    colour: bool,
}

const GREEN: &str = "32";
const RED: &str = "31";
const YELLOW: &str = "33";
const BOLD: &str = "1";
const FAINT: &str = "2";

impl Display {
    /// Colour on a terminal, unless `NO_COLOR` is set.
    pub fn new() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            colour: stdout().is_terminal() && !unwanted,
        }
    }

    fn paint(self, style: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{style}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// A heading.
    pub fn heading(self, text: &str) {
        println!("\n{}", self.paint(BOLD, text));
    }

    /// A line of explanation.
    pub fn note(self, text: &str) {
        println!("{}", self.paint(FAINT, text));
    }

    /// A step and what became of it: the verdict, frames counted, and the rule or the reason.
    pub fn finding(self, step: &Step, finding: &Finding) {
        let style = match finding.word {
            "passed" => GREEN,
            "noted" | "held" => YELLOW,
            _ => RED,
        };
        println!(
            "  {} {:>4}  {:<42} {} {}",
            self.paint(style, &format!("{:<8}", finding.word)),
            finding.counted,
            step.title,
            self.paint(FAINT, &format!("{:<36}", route(step))),
            self.paint(style, &finding.why),
        );
        for wrong in &finding.wrong {
            println!("  {} {wrong}", self.paint("1;31", "WRONG   "));
        }
    }

    /// Something that was looked at, and why it is not as it should be, if so.
    pub fn check(self, title: &str, wrong: &str) {
        if wrong.is_empty() {
            println!("  {} {title}", self.paint(GREEN, "right   "));
        } else {
            println!("  {} {title}: {wrong}", self.paint("1;31", "WRONG   "));
        }
    }

    /// What the metrics page says after all of it.
    pub fn metrics(self, metrics: &Metrics) {
        self.heading("Frames by verdict, as the metrics count them");
        let mut verdicts: Vec<_> = metrics
            .all(Enforcer::PORT_FRAMES)
            .filter(|sample| sample.value > 0.0)
            .collect();
        verdicts.sort_by(|one, other| other.value.total_cmp(&one.value));
        for sample in verdicts {
            println!(
                "  {:>7}  {:<12} {}",
                sample.value,
                sample.label("verdict"),
                sample.label("port")
            );
        }
        self.heading("Drops by zone and reason");
        for sample in metrics
            .all(Enforcer::DROPPED_FRAMES)
            .filter(|sample| sample.value > 0.0)
        {
            let (zone, reason, verdict) = (sample.label("zone"), sample.label("reason"), sample.label("verdict"));
            println!("  {:>7}  {zone:<20} {reason:<22} {verdict}", sample.value);
        }
        self.heading("Frames by rule");
        for sample in metrics.all(Enforcer::RULE_FRAMES).filter(|sample| sample.value > 0.0) {
            println!("  {:>7}  {}", sample.value, sample.label("rule"));
        }
    }

    /// The last line.
    pub fn summary(self, steps: usize, wrong: usize, took: Duration) {
        let seconds = took.as_secs_f32();
        if wrong == 0 {
            let text = format!("All {steps} verdicts were right ({seconds:.1} s).");
            println!("\n{}", self.paint("1;32", &text));
        } else {
            let text = format!("{wrong} of {steps} verdicts were wrong ({seconds:.1} s).");
            println!("\n{}", self.paint("1;31", &text));
        }
    }
}

impl Default for Display {
    fn default() -> Self {
        Self::new()
    }
}

/// From whom to whom.
fn route(step: &Step) -> String {
    let from = match (&step.action, step.from) {
        (Action::TrunkFrames(_), _) => "trunk",
        (_, from) => from,
    };
    if step.to.is_empty() {
        from.to_owned()
    } else {
        format!("{from} → {}", step.to)
    }
}
