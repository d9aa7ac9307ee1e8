//! The policy: text in files → [`ValidPolicy`] → [`TableSet`].

pub mod tables;
pub mod valid;

use std::{path::PathBuf, sync::Arc};

use crate::diagnostics::{Diagnostic, Diagnostics};
pub use tables::TableSet;
pub use valid::ValidPolicy;

/// Reads, merges and validates policy files and folders (`*.yaml` and `*.yml`, recursively).
pub fn load(paths: &[PathBuf]) -> Result<ValidPolicy, Diagnostics> {
    Err(later(&format!("{} paths", paths.len())))
}

/// Compiles a policy into the tables of one generation.
pub fn compile(policy: &ValidPolicy) -> Result<TableSet, Diagnostics> {
    Err(later(&format!("{} rules", policy.rules.len())))
}

fn later(what: &str) -> Diagnostics {
    let finding = Diagnostic::general(format!("the policy compiler is not merged yet ({what})"));
    Diagnostics::new(vec![finding], Arc::default())
}
