//! Every policy that comes into force is kept as a revision.

use std::time::SystemTime;

use super::compiled::Compiled;
use super::report::hexadecimal;
use super::{Controller, Failure};
use crate::revisions::{Change, Deed, Pointer, Staged, StoreError, What};
use crate::state::unix;

impl Controller {
    /// Opens the store. Without one, policies come into force all the same at a start, and status and log say so.
    pub(super) fn open_store(&mut self) {
        if let Err(error) = self.store.prepare() {
            self.tell_not_kept(Some(&error));
        }
        self.pointer = self.store.pointer();
    }

    /// At a start the policy of the files comes into force even where the disk is full.
    pub(super) fn start_with(&mut self, policy: Compiled) -> Result<(), Failure> {
        match self.keep(&policy, What::Start) {
            Ok(kept) => self.put_kept_in_force(policy, kept),
            Err(error) => {
                self.tell_not_kept(Some(&error));
                Ok(self.put_in_force(policy)?)
            }
        }
    }

    /// Puts a policy in force and keeps it, or leaves the running one in force and the store as it was.
    pub(super) fn change(&mut self, policy: Compiled, what: What) -> Result<(), Failure> {
        let kept = self.keep(&policy, what)?;
        self.put_kept_in_force(policy, kept)
    }

    fn put_kept_in_force(&mut self, policy: Compiled, kept: Kept) -> Result<(), Failure> {
        let policy = Compiled {
            revision: Some(kept.pointer.in_force),
            ..policy
        };
        match self.put_in_force(policy) {
            Ok(()) => {
                self.pointer = kept.pointer;
                self.tell_not_kept(None);
                Ok(())
            }
            Err(error) => {
                self.undo(kept);
                Err(error.into())
            }
        }
    }

    /// Keeps a policy on the disk and points at it, ahead of the swap: what can fail here leaves everything as it was.
    fn keep(&self, policy: &Compiled, what: What) -> Result<Kept, StoreError> {
        let at = unix(SystemTime::now());
        let policy_hash = hexadecimal(&policy.tables.policy_hash);
        let known = self.store.read(self.pointer.in_force);
        let is_new = !known.is_ok_and(|revision| revision.header.policy_hash == policy_hash);
        let revision = if is_new {
            let change = Change {
                at,
                uid: None,
                comment: String::new(),
                policy_hash,
                files: policy.files(),
            };
            self.store.add(&change, &self.pointer)?
        } else {
            self.pointer.in_force
        };
        let pointer = Pointer {
            in_force: revision,
            newest: self.pointer.newest.max(revision),
            held: false,
            pending: None,
            deeds: self.pointer.deeds.clone(),
        };
        let pointer = if is_new || what != What::Start {
            pointer.with(Deed {
                at,
                uid: None,
                what,
                revision,
            })
        } else {
            pointer
        };
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
