//! Holds what became of a step against what must become of it.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::lab::{Enforcer, Event, Lab, Metrics, PacketSocket};

use super::act::{Outcome, act};
use super::step::{Action, Expect, Step};

/// How long an event may take from the kernel to the log.
const EVENT: Duration = Duration::from_millis(1500);

/// What became of a step.
#[derive(Debug)]
pub struct Finding {
    /// What to show: `passed`, `dropped`, `noted`, `held`.
    pub word: &'static str,
    /// Why: the rule, or reason and rule.
    pub why: String,
    /// Frames of it that the kernel counted.
    pub counted: u64,
    /// What was not as expected; empty when all was.
    pub wrong: Vec<String>,
}

/// Does a step and judges it. An error means that it could not be tried.
pub fn try_step(lab: &Lab, enforcer: &Enforcer<'_>, step: &Step) -> Result<Finding> {
    let before = enforcer.metrics()?;
    let first_event = enforcer.event_count();
    let behind = lab.behind_the_gateway()?;
    let outcome = act(lab, step)?;
    let trial = Trial {
        lab,
        enforcer,
        step,
        outcome,
        before,
        first_event,
        behind,
    };
    match step.expect {
        Expect::Pass { rule } => trial.passed(rule),
        Expect::Drop { reason, rule } => trial.refused("drop", reason.name(), rule),
        Expect::Held {
            rule,
            reason,
            rate,
            burst,
        } => trial.held(rule, reason.name(), [rate, burst].map(f64::from)),
        Expect::WouldDrop { reason, rule } => trial.refused("would-drop", reason.name(), rule),
    }
}

struct Trial<'a> {
    lab: &'a Lab,
    enforcer: &'a Enforcer<'a>,
    step: &'a Step,
    outcome: Outcome,
    before: Metrics,
    first_event: usize,
    behind: PacketSocket,
}

impl Trial<'_> {
    fn passed(&self, rule: &str) -> Result<Finding> {
        let mut wrong = Vec::new();
        if !self.outcome.worked {
            wrong.push(format!("it did not work: {}", self.outcome.complaint));
            let event = self
                .enforcer
                .wait_for_event(self.first_event, EVENT, |event| self.is_about(event));
            wrong.extend(event.map(|event| format!("the enforcer says: {event}")));
        }
        let counted = self.growth(&self.enforcer.metrics()?, Enforcer::RULE_FRAMES, &[("rule", rule)]);
        if counted == 0 {
            wrong.push(format!("the counter of rule {rule} did not grow"));
        }
        Ok(Finding {
            word: "passed",
            why: rule.to_owned(),
            counted,
            wrong,
        })
    }

    fn refused(&self, verdict: &str, reason: &str, rule: Option<&str>) -> Result<Finding> {
        let mut wrong = Vec::new();
        let enforced = verdict == "drop";
        if self.outcome.worked == enforced {
            wrong.push(format!(
                "it {} work: {}",
                if enforced { "did" } else { "did not" },
                self.outcome.complaint
            ));
        }
        let event = self
            .enforcer
            .wait_for_event(self.first_event, EVENT, |event| self.is_about(event));
        match &event {
            None => wrong.push("no event tells of it".to_owned()),
            Some(event) => {
                let seen = (event.verdict(), event.reason(), event.rule());
                if seen != (verdict, reason, rule) {
                    wrong.push(format!(
                        "expected {verdict} for {reason} by {rule:?}, but the enforcer says: {event}"
                    ));
                }
            }
        }
        let labels = [("reason", reason), ("verdict", verdict)];
        let counted = self.growth(&self.enforcer.metrics()?, Enforcer::DROPPED_FRAMES, &labels);
        if counted == 0 {
            wrong.push(format!("the {verdict} counter of {reason} did not grow"));
        }
        if enforced
            && let Some(frame) = self
                .behind
                .wait_for(Duration::from_millis(1), |frame| self.leaked(frame))?
        {
            wrong.push(format!("a frame of {} octets got behind the enforcer", frame.len()));
        }
        let word = if enforced { "dropped" } else { "noted" };
        let why = rule.map_or(reason.to_owned(), |rule| {
            if rule == reason {
                rule.to_owned()
            } else {
                format!("{reason} by {rule}")
            }
        });
        Ok(Finding {
            word,
            why,
            counted,
            wrong,
        })
    }

    /// A flood that a limit holds to its rate. Within a tenth: sender and receiver are threads of a busy machine.
    fn held(&self, rule: &str, reason: &str, [rate, burst]: [f64; 2]) -> Result<Finding> {
        let mut wrong = Vec::new();
        let (offered, arrived) = self.outcome.flood.as_ref().context("a limit is for floods")?;
        let (right, offered) = (offered.within(rate, burst), offered.frames());
        #[expect(clippy::cast_precision_loss, reason = "a few thousand frames")]
        let share = *arrived as f64 / right;
        if !(0.9..1.1).contains(&share) {
            wrong.push(format!("{arrived} frames arrived instead of {right:.0}"));
        }
        let labels = [("reason", reason), ("verdict", "drop")];
        let counted = self.growth(&self.enforcer.metrics()?, Enforcer::DROPPED_FRAMES, &labels);
        if counted + arrived != offered {
            wrong.push(format!(
                "of {offered} frames {arrived} arrived, and {counted} were counted"
            ));
        }
        let told = |event: &Event| self.is_about(event) && (event.reason(), event.rule()) == (reason, Some(rule));
        if self.enforcer.wait_for_event(self.first_event, EVENT, told).is_none() {
            wrong.push("no event tells of it".to_owned());
        }
        Ok(Finding {
            word: "held",
            why: format!("{reason}: {arrived} of {offered} arrived"),
            counted,
            wrong,
        })
    }

    fn growth(&self, after: &Metrics, name: &str, labels: &[(&str, &str)]) -> u64 {
        // Counters are whole numbers far below 2^53.
        #[expect(clippy::cast_sign_loss, reason = "counters do not shrink")]
        let growth = (after.sum(name, labels) - self.before.sum(name, labels)).max(0.0) as u64;
        growth
    }

    /// Whether an event is about this step: the same sender, and the same receiver where there is one.
    fn is_about(&self, event: &Event) -> bool {
        if let Some(frame) = self.outcome.frames.first() {
            return event.source_mac() == mac(&frame[6..12]);
        }
        let address = |device: &str| self.lab.device(device).address.to_string();
        event.source_address() == address(self.step.from)
            && (self.step.to.is_empty() || event.destination_address() == address(self.step.to))
    }

    /// Whether a frame behind the enforcer is one that this step sent.
    fn leaked(&self, frame: &[u8]) -> bool {
        if matches!(self.step.action, Action::Frames(_) | Action::TrunkFrames(_)) {
            return self.outcome.frames.iter().any(|sent| sent == frame);
        }
        let address = |device: &str| self.lab.device(device).address.octets();
        frame.len() >= 38
            && frame[16..18] == [0x08, 0x00]
            && frame[30..34] == address(self.step.from)
            && frame[34..38] == address(self.step.to)
    }
}

fn mac(octets: &[u8]) -> String {
    octets
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect::<Vec<_>>()
        .join(":")
}
