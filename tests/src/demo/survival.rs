//! The controller is killed, and enforcement goes on.

use anyhow::Result;

use crate::lab::{Enforcer, Lab};

use super::act::act;
use super::step::{Expect, Step};

/// Something that was looked at, and what was not as expected.
#[derive(Debug)]
pub struct Check {
    /// What should be so.
    pub title: String,
    /// Why it is not; empty when it is.
    pub wrong: String,
}

/// Kills the controller, tries the steps while nobody is in control, then starts another controller and returns it.
pub fn kill_and_adopt<'a>(lab: &'a Lab, enforcer: Enforcer<'a>, steps: &[&Step]) -> Result<(Enforcer<'a>, Vec<Check>)> {
    let before = enforcer.metrics()?;
    enforcer.kill()?;
    let mut checks = Vec::new();
    for step in steps {
        let outcome = act(lab, step)?;
        let refused = matches!(step.expect, Expect::Drop { .. });
        let title = format!("{}: still {}", step.title, if refused { "dropped" } else { "passed" });
        let wrong = match (refused, outcome.worked) {
            (true, true) => "it got through".to_owned(),
            (false, false) => outcome.complaint,
            _ => String::new(),
        };
        checks.push(Check { title, wrong });
    }
    let mut adopted = Enforcer::spawn(lab.gateway())?;
    adopted.wait_until_ready()?;
    let after = adopted.metrics()?;
    let counters = [Enforcer::PORT_FRAMES, Enforcer::DROPPED_FRAMES, Enforcer::RULE_FRAMES];
    let stuck: Vec<_> = counters
        .into_iter()
        .filter(|name| after.sum(name, &[]) <= before.sum(name, &[]))
        .collect();
    checks.push(Check {
        title: "a new controller takes over; the counters missed nothing".to_owned(),
        wrong: stuck.join(", "),
    });
    Ok((adopted, checks))
}
