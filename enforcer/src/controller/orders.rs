//! What is asked of a running controller: `reload`, `apply`, `confirm`, `rollback`; and what it does by itself when nobody confirms.

use std::sync::Arc;
use std::time::Instant;

use super::compiled::{Compiled, read_policy};
use super::keep::Step;
use super::report::hexadecimal;
use super::{Controller, Failure, RETRY_PAUSE};
use crate::audit::{Deed, Outcome, What, Who};
use crate::control::{CONFIRM, Change, Order};
use crate::kernel::Error;
use crate::revisions::Pending;

impl Controller {
    /// Does what is asked for, and records it; the running policy stays if anything is wrong. `by` is nobody for a signal.
    pub fn obey(&mut self, by: Option<Who>, change: &Change) -> Result<(), Failure> {
        let step = Step {
            what: change.order.what(),
            by,
            comment: change.comment.clone(),
            confirm_seconds: match change.order {
                Order::Apply { confirm_seconds, .. } => confirm_seconds,
                _ => None,
            },
        };
        let result = match &change.order {
            Order::Reload => self.reload(&step),
            Order::Apply {
                policy_hash, in_force, ..
            } => self.apply(policy_hash, in_force, &step),
            Order::Confirm { revision } => self.confirm(*revision, &step),
            Order::Rollback { revision, in_force } => self.roll_back(*revision, in_force, &step),
            Order::Detach => Err(refused("detaching ends the controller")),
        };
        match &result {
            Ok(()) if step.what == What::Confirm => {}
            Ok(()) => self.tell_of_reload(None),
            // Asked for at the wrong time: nothing is wrong with what is in force, or with the files.
            Err(error @ (Failure::Refused(_) | Failure::Unfit { .. })) => {
                self.tell_not_done(&step, Outcome::Refused, error);
            }
            Err(error) => {
                let is_policy = matches!(error, Failure::Policy(_));
                let outcome = if is_policy { Outcome::Refused } else { Outcome::Failed };
                self.tell_not_done(&step, outcome, error);
                self.tell_of_reload(Some(error.to_string()));
            }
        }
        result
    }

    /// Takes the program off all ports, and removes all that was kept. Recorded before it is done, as nobody may be there afterwards.
    pub fn detach(self, by: Option<Who>, comment: &str) -> Result<Vec<String>, Error> {
        let state = Arc::clone(&self.state);
        state.audit.done(Deed::now(by.clone(), What::Detach, comment));
        let detached = self.take_off();
        if let Err(error) = &detached {
            let error = error.to_string();
            state.audit.not_done(by, What::Detach, comment, Outcome::Failed, &error);
        }
        detached
    }

    fn tell_not_done(&self, step: &Step, outcome: Outcome, error: &Failure) {
        let (by, error) = (step.by.clone(), error.to_string());
        self.state.audit.not_done(by, step.what, &step.comment, outcome, &error);
        self.tell_of_audit();
    }

    /// The policy of the files, whatever it is.
    fn reload(&mut self, step: &Step) -> Result<(), Failure> {
        self.check_pending()?;
        if self.pointer.held && step.by.is_none() {
            return Err(refused(format!(
                "revision {} is held, and a signal does not end that: `enforcer apply` or `enforcer reload` take the files again",
                self.pointer.in_force
            )));
        }
        self.check_recorded()?;
        let policy = read_policy(&self.config)?;
        self.change(policy, step)
    }

    /// The policy of the files, if it is what was planned, against what was in force then.
    fn apply(&mut self, planned: &str, against: &str, step: &Step) -> Result<(), Failure> {
        self.check_pending()?;
        self.check_in_force(against)?;
        self.check_recorded()?;
        let policy = read_policy(&self.config)?;
        if hexadecimal(&policy.tables.policy_hash) != planned {
            return Err(refused(
                "the policy that the enforcer reads is not the one that was planned: the files have changed since, or \
                 the enforcer was started with another enforcer.toml. Plan it again: `enforcer apply`",
            ));
        }
        if let Some(seconds) = step.confirm_seconds {
            if !CONFIRM.contains(&seconds) {
                return Err(refused("a change waits from one second to 24 hours to be confirmed"));
            }
            self.check_way_back()?;
        }
        self.change(policy, step)
    }

    fn confirm(&mut self, revision: u32, step: &Step) -> Result<(), Failure> {
        let pending = self.pointer.pending.as_ref();
        let Some(pending) = pending.filter(|pending| pending.remaining() > 0) else {
            return Err(refused(
                "no change waits to be confirmed; one that nobody confirmed in time has gone back: `enforcer history` tells",
            ));
        };
        if revision != self.pointer.in_force {
            return Err(refused(format!(
                "revision {} waits to be confirmed, not {revision}, and goes back in {} s: `enforcer history` tells whose it is",
                self.pointer.in_force,
                pending.remaining()
            )));
        }
        self.check_recorded()?;
        let kept = self.keep_pending(step);
        kept.map_err(|error| refused(format!("this cannot be written, so the change will go back: {error}")))
    }

    /// A revision from before, if what it was planned against is still in force. A change that waits goes back with that.
    fn roll_back(&mut self, revision: u32, against: &str, step: &Step) -> Result<(), Failure> {
        self.check_in_force(against)?;
        if self.pointer.pending.is_some() && revision == self.pointer.in_force {
            return Err(refused(format!(
                "revision {revision} is in force and waits to be confirmed: `enforcer confirm` makes it stay"
            )));
        }
        let policy = self.compiled_revision(revision)?;
        self.change(policy, step)
    }

    /// Goes back when nobody has confirmed the change in time. Whether it did.
    pub(super) fn expire(&mut self) -> bool {
        let Some(pending) = self.pointer.pending.clone() else {
            return false;
        };
        if pending.remaining() > 0 || self.next_expiry > Instant::now() {
            return false;
        }
        tracing::warn!(
            revision = self.pointer.in_force,
            previous = pending.previous,
            "nobody confirmed the change in time: it goes back"
        );
        match self.go_back(&pending) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!("the change that nobody confirmed could not go back, and is still in force: {error}");
                self.tell_of_reload(Some(format!("the unconfirmed change could not go back: {error}")));
                self.next_expiry = Instant::now() + RETRY_PAUSE;
                false
            }
        }
    }

    /// To what was in force before a change, or to what was before that, if the disk has lost it.
    pub(super) fn go_back(&mut self, pending: &Pending) -> Result<(), Failure> {
        let policy = match self.compiled_revision(pending.previous) {
            Ok(policy) => policy,
            Err(error) => self.newest_compiling(pending.previous).ok_or(error)?,
        };
        self.change(policy, &Step::own(What::Expiry))?;
        self.tell_of_reload(None);
        Ok(())
    }

    /// A revision, compiled.
    pub(super) fn compiled_revision(&self, number: u32) -> Result<Compiled, Failure> {
        let revision = self.store.read(number).map_err(|error| refused(error.to_string()))?;
        Compiled::of_revision(number, revision.files).map_err(|errors| Failure::Unfit { number, errors })
    }

    fn check_pending(&self) -> Result<(), Failure> {
        match &self.pointer.pending {
            None => Ok(()),
            Some(pending) => Err(refused(format!(
                "revision {} waits to be confirmed, and goes back in {} s. First `enforcer confirm`, or `enforcer rollback`",
                self.pointer.in_force,
                pending.remaining()
            ))),
        }
    }

    fn check_in_force(&self, planned: &str) -> Result<(), Failure> {
        let status = self.state.status();
        let hash = status.generation.as_ref().map_or("", |status| &status.policy_hash);
        if hash == planned {
            return Ok(());
        }
        let last = self.pointer.last.as_ref();
        let by = last.map_or_else(String::new, |last| match &last.by {
            Some(who) => format!(" by {who} ({})", last.what.name()),
            None => format!(" ({})", last.what.name()),
        });
        Err(refused(format!(
            "another policy has come into force since this was planned: revision {}{by}. Nothing was changed: plan it again",
            self.pointer.in_force
        )))
    }

    /// A change that is to go back by itself needs something to go back to.
    fn check_way_back(&self) -> Result<(), Failure> {
        let running = self.running.as_ref().and_then(|running| running.policy.revision);
        let kept = running.and_then(|number| self.store.read(number).ok());
        kept.map(drop).ok_or_else(|| {
            refused(
                "what is in force is not kept as a revision, so a change could not go back by itself. Apply it without --confirm",
            )
        })
    }

    /// What cannot be recorded is not done, unless it is a way back.
    fn check_recorded(&self) -> Result<(), Failure> {
        let recorded = self.state.audit.flush();
        recorded.map_err(|error| {
            refused(format!(
                "the audit trail cannot be written, so nothing is changed: {error}"
            ))
        })
    }
}

fn refused(why: impl Into<String>) -> Failure {
    Failure::Refused(why.into())
}
