//! Policies that were read and compiled, and where they come from.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use crate::bindings::Inventory;
use crate::config::Config;
use crate::diagnostics::{Diagnostics, Sources};
use crate::kernel::VlanSet;
use crate::policy::valid::OnNoPolicy;
use crate::policy::{self, TableSet, ValidPolicy};
use crate::state::PolicySource;

/// A policy that was read and compiled.
#[derive(Clone)]
pub struct Compiled {
    pub(super) tables: Arc<TableSet>,
    /// Outer VLANs that a port without a list of its own lets in.
    pub(super) vlans: VlanSet,
    /// Some of its rules expire.
    pub(super) expires: bool,
    /// What no zone declares passes.
    pub(super) pass_undeclared: bool,
    pub(super) inventory: Arc<Inventory>,
    pub(super) sources: Arc<Sources>,
    pub(super) source: PolicySource,
    /// The revision that it is kept as.
    pub(super) revision: Option<u32>,
}

impl Compiled {
    fn new(policy: &ValidPolicy, source: PolicySource) -> Result<Self, Diagnostics> {
        let tables = Arc::new(policy::compile_at(policy, SystemTime::now())?);
        Ok(Self {
            inventory: Arc::new(Inventory::new(policy, &tables)),
            vlans: declared_vlans(policy),
            expires: policy.rules.iter().any(|rule| rule.expires.is_some()),
            pass_undeclared: false,
            sources: Arc::clone(&policy.sources),
            tables,
            source,
            revision: None,
        })
    }

    /// A policy that is in force.
    pub(crate) fn of_running(policy: &ValidPolicy) -> Result<Self, Diagnostics> {
        Self::new(policy, PolicySource::Files)
    }

    /// Its tables.
    pub(crate) fn tables(&self) -> &Arc<TableSet> {
        &self.tables
    }

    /// The policy of a revision.
    pub(super) fn of_revision(number: u32, files: Vec<(PathBuf, String)>) -> Result<Self, Diagnostics> {
        let compiled = Self::new(&policy::load_texts(files)?, PolicySource::Revision)?;
        Ok(Self {
            revision: Some(number),
            ..compiled
        })
    }

    /// What holds while no policy does, by the zones that could be saved and the configuration's word for the rest.
    pub(super) fn fallback(zones: &ValidPolicy, undeclared: OnNoPolicy) -> Result<Self, Diagnostics> {
        let compiled = Self::new(zones, PolicySource::Fallback)?;
        Ok(match undeclared {
            OnNoPolicy::Drop => compiled,
            OnNoPolicy::Pass => Self {
                vlans: VlanSet::all(),
                pass_undeclared: true,
                ..compiled
            },
        })
    }

    /// The same, compiled at this time.
    pub(super) fn anew(&self) -> Result<Self, Diagnostics> {
        let compiled = Self::new(&policy::load_texts(self.files())?, self.source)?;
        Ok(Self {
            vlans: self.vlans,
            pass_undeclared: self.pass_undeclared,
            revision: self.revision,
            ..compiled
        })
    }

    /// Paths and texts of its files.
    pub(super) fn files(&self) -> Vec<(PathBuf, String)> {
        let file = |number| {
            let (path, text) = self.sources.file(number);
            (path.to_owned(), text.to_owned())
        };
        (0..self.sources.len() as u32).map(file).collect()
    }
}

/// Reads and compiles the policy that the configuration names.
pub fn read_policy(config: &Config) -> Result<Compiled, Diagnostics> {
    Compiled::new(&policy::load(&config.policy)?, PolicySource::Files)
}

/// The outer VLANs that a policy declares.
fn declared_vlans(policy: &ValidPolicy) -> VlanSet {
    let vlans = policy.zones.iter().filter_map(|zone| zone.vlan);
    vlans.map(|vlan| vlan.outer).collect()
}
