//! Every policy that comes into force is kept as a revision, and every change of what is in force is recorded.
//!
//! ```text
//! revision ─▶ pointer ─▶ swap ─▶ audit trail      a change: what fails before the swap, or in it, leaves all as it was
//!             swap ─▶ pointer ─▶ audit trail      on a full disk, where the way back must not depend on it
//! ```
//!
//! A kill between two steps is made up for at the next start: the pointer says what is to be in force, and has the line of the trail.

use std::time::SystemTime;

use super::compiled::Compiled;
use super::report::hexadecimal;
use super::{Controller, Failure};
use crate::audit::{Deed, What, Who};
use crate::revisions::{self, Pending, Pointer, Staged, StoreError};
use crate::state::{PendingStatus, PolicySource, rfc3339_seconds, unix};

/// What is to be said of a change.
pub(super) struct Step {
    pub(super) what: What,
    /// Who asked; `None` for the controller itself.
    pub(super) by: Option<Who>,
    pub(super) comment: String,
    pub(super) confirm_seconds: Option<u64>,
}

impl Step {
    /// A change that the controller makes by itself.
    pub(super) fn own(what: What) -> Self {
        Self {
            what,
            by: None,
            comment: String::new(),
            confirm_seconds: None,
        }
    }

    /// It must come into force where it cannot be kept: a gateway has to start, and there has to be a way back.
    fn goes_unkept(&self) -> bool {
        matches!(self.what, What::Start | What::Rollback | What::Expiry)
    }

    /// What comes into force is not what the files say.
    fn holds(&self) -> bool {
        matches!(self.what, What::Rollback | What::Expiry)
    }
}

impl Controller {
    /// Opens the store and the audit trail. Without them, policies come into force all the same at a start, and status and log say so.
    pub(super) fn open_store(&mut self) {
        if let Err(error) = self.store.prepare() {
            self.tell_not_kept(Some(&error));
        }
        let pointer = self.store.pointer();
        self.changes = self.state.audit.open(pointer.last.as_ref());
        self.point_at(pointer);
    }

    /// Puts a policy in force and keeps it, or leaves the running one in force and the store as it was.
    pub(super) fn change(&mut self, policy: Compiled, step: &Step) -> Result<(), Failure> {
        match self.keep(&policy, step) {
            Ok(kept) => self.put_kept_in_force(policy, kept),
            Err(error) if step.goes_unkept() => {
                let revision = policy.revision;
                self.put_in_force(policy)?;
                if let Some(revision) = revision {
                    let pointer = self.pointer_to(revision, step);
                    self.enter(pointer);
                    self.owes_pointer = true;
                }
                self.tell_not_kept(Some(&error));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn put_kept_in_force(&mut self, policy: Compiled, kept: Kept) -> Result<(), Failure> {
        let policy = Compiled {
            revision: Some(kept.pointer.in_force),
            ..policy
        };
        match self.put_in_force(policy) {
            Ok(()) => {
                self.enter(self.with_all_its_time(kept.pointer));
                self.owes_pointer = false;
                self.tell_not_kept(None);
                Ok(())
            }
            Err(error) => {
                self.undo(kept);
                Err(error.into())
            }
        }
    }

    /// Loading a large policy takes its time, and that is not taken from who has to confirm it. If it cannot be written, it is.
    fn with_all_its_time(&self, pointer: Pointer) -> Pointer {
        let seconds = pointer.last.as_ref().and_then(|last| last.confirm_seconds);
        let (Some(pending), Some(seconds)) = (&pointer.pending, seconds) else {
            return pointer;
        };
        let later = Pointer {
            pending: Some(Pending::after(pending.previous, seconds)),
            ..pointer.clone()
        };
        match self.store.point(&later) {
            Ok(()) => later,
            Err(_) => pointer,
        }
    }

    /// What waits to be confirmed stays.
    pub(super) fn keep_pending(&mut self, step: &Step) -> Result<(), StoreError> {
        let pointer = self.pointer_to(self.pointer.in_force, step);
        self.store.point(&pointer)?;
        self.enter(pointer);
        Ok(())
    }

    /// Keeps a policy on the disk and points at it, ahead of the swap: what can fail here leaves everything as it was.
    fn keep(&self, policy: &Compiled, step: &Step) -> Result<Kept, StoreError> {
        let known = policy.revision.or_else(|| self.known(policy));
        let is_new = known.is_none();
        let revision = known.map_or_else(|| self.add(policy, step), Ok)?;
        let mut pointer = self.pointer_to(revision, step);
        if step.what == What::Start && !is_new {
            // The same files as before: nothing has changed.
            pointer.last.clone_from(&self.pointer.last);
        }
        let way_back = self.store.stage("back", &self.pointer).and_then(|back| {
            self.store.point(&pointer)?;
            Ok(back)
        });
        match way_back {
            Ok(back) => Ok(Kept { pointer, is_new, back }),
            Err(error) => {
                if is_new {
                    self.store.remove(revision);
                }
                Err(error)
            }
        }
    }

    /// The revision in force, if this is its policy.
    fn known(&self, policy: &Compiled) -> Option<u32> {
        let hash = hexadecimal(&policy.tables.policy_hash);
        let header = self.store.read(self.pointer.in_force).ok()?.header;
        (header.policy_hash == hash).then_some(header.number)
    }

    /// Keeps a policy as a new revision.
    fn add(&self, policy: &Compiled, step: &Step) -> Result<u32, StoreError> {
        let change = revisions::Change {
            at: unix(SystemTime::now()),
            uid: step.by.as_ref().map(|who| who.uid),
            comment: step.comment.clone(),
            replaced: Some(self.before()).filter(|number| *number > 0),
            policy_hash: hexadecimal(&policy.tables.policy_hash),
            files: policy.files(),
        };
        self.store.add(&change, &self.pointer)
    }

    /// What the store says when a step has led to a revision.
    fn pointer_to(&self, revision: u32, step: &Step) -> Pointer {
        let before = self.before();
        Pointer {
            in_force: revision,
            newest: self.pointer.newest.max(revision),
            held: step.holds(),
            pending: step.confirm_seconds.map(|seconds| Pending::after(before, seconds)),
            last: Some(Deed {
                change: Some(self.changes + 1),
                time: rfc3339_seconds(SystemTime::now()),
                by: step.by.clone(),
                what: step.what,
                replaced: Some(before).filter(|number| *number > 0),
                revision: Some(revision),
                confirm_seconds: step.confirm_seconds,
                comment: step.comment.clone(),
            }),
        }
    }

    /// The revision in force. What comes into force without being kept is none, and follows the one before it.
    fn before(&self) -> u32 {
        let running = self.running.as_ref().and_then(|running| running.policy.revision);
        running.unwrap_or(self.pointer.in_force)
    }

    /// What the store says is so from now on.
    fn enter(&mut self, pointer: Pointer) {
        let change = pointer.last.as_ref().and_then(|last| last.change);
        if let (Some(last), true) = (&pointer.last, change > Some(self.changes)) {
            self.changes += 1;
            self.state.audit.done(last.clone());
        }
        self.point_at(pointer);
        self.tell_of_audit();
    }

    fn point_at(&mut self, pointer: Pointer) {
        let pending = pointer.pending.as_ref().map(|pending| PendingStatus {
            revision: pointer.in_force,
            previous: pending.previous,
            left: pending.clone(),
        });
        self.state.update(|status| {
            status.held = pointer.held;
            status.pending = pending;
        });
        self.pointer = pointer;
    }

    /// Writes what found no room on the disk before.
    pub(super) fn make_up(&mut self) {
        if self.owes_pointer && self.store.point(&self.pointer).is_ok() {
            self.owes_pointer = false;
            self.tell_not_kept(None);
        }
        if let Some(kept) = self.keep_running() {
            let revision = Some(kept.pointer.in_force);
            if let Some(running) = &mut self.running {
                running.policy.revision = revision;
            }
            self.state.update(|status| status.revision = revision);
            self.enter(kept.pointer);
            self.owes_pointer = false;
            self.tell_not_kept(None);
        }
        self.tell_of_audit();
    }

    /// The files came into force at a start that could not keep them: they are kept as soon as they can be.
    fn keep_running(&self) -> Option<Kept> {
        let policy = &self.running.as_ref()?.policy;
        if policy.source != PolicySource::Files || policy.revision.is_some() {
            return None;
        }
        self.store.prepare().ok()?;
        self.keep(policy, &Step::own(What::Start)).ok()
    }

    /// Writes what the audit trail lacks, and tells whether it could be written.
    pub(super) fn tell_of_audit(&self) {
        let error = self.state.audit.flush().err();
        if self.state.status().not_recorded != error {
            self.state.update(|status| status.not_recorded = error);
        }
    }

    /// After a swap that failed.
    fn undo(&self, kept: Kept) {
        if let Err(error) = kept.back.commit() {
            tracing::error!("{error}");
        } else if kept.is_new {
            self.store.remove(kept.pointer.in_force);
        }
    }

    fn tell_not_kept(&self, error: Option<&StoreError>) {
        if let Some(error) = error {
            tracing::error!("policies are not kept: {error}");
        }
        let error = error.map(ToString::to_string);
        self.state.update(|status| status.not_kept = error);
    }
}

/// A policy on the disk, and the way back.
struct Kept {
    pointer: Pointer,
    is_new: bool,
    /// The pointer before, for which no room is needed any more.
    back: Staged,
}
