//! The first policy: the files, or what there is without them.
//!
//! ```text
//! a change waits to be confirmed ───────────────▶ it, for the rest of its time; then what was before it
//! a revision is held since a rollback ──────────▶ it
//! files valid ──────────────────────────────────▶ the files
//! an earlier controller's program on a port ────▶ its policy, if it was kept; else it goes on untouched
//! a revision that can be read and compiled ─────▶ the newest one
//! otherwise ────────────────────────────────────▶ zones and undeclared VLANs follow `on_no_policy`
//! ```

use super::compiled::Compiled;
use super::keep::Step;
use super::report::{adopted_status, hexadecimal};
use super::{Controller, Failure};
use crate::audit::What;
use crate::diagnostics::Diagnostics;
use crate::kernel::links::{self, PortLink};
use crate::kernel::{Error, netdev};
use crate::policy::{self, ValidPolicy};
use crate::state::PolicySource;

/// Entries of `ValidPolicy::zones` that are built in.
const BUILT_IN: usize = 2;

impl Controller {
    /// Puts the first policy in force, `files` being what the configuration names. What an earlier controller left in place
    /// is adopted: every port goes from its policy to this one in one step. Without valid files the chain above holds.
    ///
    /// # Errors
    /// When the kernel or the interfaces refuse; all is left as it was found then.
    pub fn start(&mut self, files: Result<Compiled, Diagnostics>) -> Result<(), Failure> {
        self.open_store();
        self.state.bindings.adopt(&self.pins.maps());
        let mut error = None;
        let started = match (self.start_with_store(&files), files) {
            (Some(started), _) => started,
            (None, Ok(policy)) => self.change(policy, &Step::own(What::Start)),
            (None, Err(errors)) => {
                tracing::error!("the policy files are not valid:\n{errors}");
                error = Some(errors.to_string());
                self.start_without_files()
            }
        };
        match &started {
            Ok(()) => self.tell_of_reload(error),
            Err(_) => self.leave_as_found(),
        }
        started
    }

    /// What goes before the files: a change that waits to be confirmed, and a revision that is held. `None` where the files count.
    fn start_with_store(&mut self, files: &Result<Compiled, Diagnostics>) -> Option<Result<(), Failure>> {
        let number = self.pointer.in_force;
        if let Some(pending) = self.pointer.pending.clone() {
            if pending.remaining() > 0
                && let Some(policy) = self.revision(number)
            {
                tracing::warn!(
                    revision = number,
                    left = pending.remaining(),
                    "a change waits to be confirmed"
                );
                return Some(self.put_in_force(policy).map_err(Failure::from));
            }
            tracing::warn!(revision = number, "a change that nobody confirmed in time goes back");
            return Some(match self.go_back(&pending) {
                // What is in the way of this policy is in the way of any.
                Ok(()) => Ok(()),
                Err(error @ Failure::Kernel(_)) => Err(error),
                Err(error) => {
                    tracing::error!("{error}");
                    self.start_without_files()
                }
            });
        }
        if !self.pointer.held {
            return None;
        }
        let held = self.revision(number);
        let hash = |policy: &Compiled| policy.tables.policy_hash;
        if held
            .as_ref()
            .is_some_and(|held| files.as_ref().is_ok_and(|files| hash(files) == hash(held)))
        {
            return None;
        }
        tracing::warn!(
            revision = number,
            "a revision is held since a change went back: the files do not count until `enforcer apply` or `enforcer reload`"
        );
        Some(match held {
            Some(policy) => self.put_in_force(policy).map_err(Failure::from),
            None => self.start_without_files(),
        })
    }

    fn start_without_files(&mut self) -> Result<(), Failure> {
        let links = self.enforcing_links()?;
        if !links.is_empty() {
            return self.go_on(links);
        }
        let newest = self.pointer.in_force;
        if let Some(policy) = self.newest_compiling(newest) {
            tracing::error!(
                revision = policy.revision,
                "a policy from before is put in force instead"
            );
            return Ok(self.put_in_force(policy)?);
        }
        tracing::error!("there is no policy from before either: zones and undeclared VLANs follow on_no_policy");
        let fallback = self.fallback()?;
        Ok(self.put_in_force(fallback)?)
    }

    /// An earlier controller's policy stays in force: by its revision, or untouched where it is known to the kernel only.
    fn go_on(&mut self, links: Vec<PortLink>) -> Result<(), Failure> {
        let meta = self.meta()?.unwrap_or_default();
        let hash = hexadecimal(&meta.policy_hash);
        let headers = self.store.list().into_iter().filter_map(Result::ok);
        let same = headers
            .filter(|header| header.policy_hash == hash)
            .map(|header| header.number);
        let same: Vec<u32> = same.collect();
        if let Some(policy) = same.into_iter().find_map(|number| self.revision(number)) {
            tracing::error!(revision = policy.revision, "the policy that was in force stays");
            return Ok(self.put_in_force(policy)?);
        }
        tracing::error!("what an earlier controller enforced goes on untouched, until a valid policy is loaded");
        self.links = links;
        self.state.update(|status| {
            status.generation = Some(adopted_status(&meta));
            status.policy_source = Some(PolicySource::Adopted);
            status.revision = None;
        });
        self.tell_of_ports();
        Ok(())
    }

    /// The links of earlier controllers that still enforce on a configured port.
    fn enforcing_links(&self) -> Result<Vec<PortLink>, Error> {
        let mut enforcing = Vec::new();
        for port in &self.config.ports {
            if let Some(device) = netdev::by_name(&port.interface)? {
                enforcing.extend(links::alive(&self.pins, &device, port.mode)?);
            }
        }
        Ok(enforcing)
    }

    /// A revision, compiled; `None` when it is damaged, or not valid for this enforcer: the log says why.
    fn revision(&self, number: u32) -> Option<Compiled> {
        let compiled = self.compiled_revision(number);
        compiled.inspect_err(|error| tracing::error!("{error}")).ok()
    }

    /// The newest revision from `number` downward that can be used.
    pub(super) fn newest_compiling(&self, mut number: u32) -> Option<Compiled> {
        loop {
            let revision = self.store.newest_good(number)?;
            number = revision.header.number;
            if let Some(policy) = self.revision(number) {
                return Some(policy);
            }
            number = number.checked_sub(1)?;
        }
    }

    /// What holds without any policy.
    fn fallback(&self) -> Result<Compiled, Diagnostics> {
        let has_zones = |zones: &ValidPolicy| zones.zones.len() > BUILT_IN;
        let of_revision = || {
            let revision = self.store.newest_good(self.pointer.in_force);
            let revision = revision.map(|revision| policy::salvage_texts(revision.files));
            revision.filter(has_zones)
        };
        let files = Some(policy::salvage(&self.config.policy)).filter(has_zones);
        let zones = files.or_else(of_revision);
        let zones = zones.unwrap_or_else(|| policy::salvage_texts([]));
        let undeclared = self.config.on_no_policy;
        Compiled::fallback(&zones, undeclared).or_else(|errors| {
            tracing::error!("{errors}");
            Compiled::fallback(&policy::salvage_texts([]), undeclared)
        })
    }
}
