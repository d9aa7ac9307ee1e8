//! `enforcer check`: reads and compiles a policy without touching the kernel.

use std::{
    fmt,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use super::{TableSet, ValidPolicy, compile_with_lints, load};
use crate::config::Config;
use crate::diagnostics::Diagnostics;
use crate::words::counted;

/// What a good policy holds.
#[derive(Debug)]
pub struct Summary {
    /// The validated policy.
    pub policy: ValidPolicy,
    /// Its tables.
    pub tables: TableSet,
    /// What is allowed, and still seldom meant.
    pub lints: Diagnostics,
    /// How long reading and compiling took.
    pub elapsed: Duration,
}

/// Reads, validates and compiles policy files and folders. The findings are for the user; with none, the policy would
/// load as it is, as far as the kernel has room for its tables. Of the gateway's configuration, it matters who may administer it; `now`
/// tells which rules have expired.
pub fn check(paths: &[PathBuf], config: Option<&Config>, now: SystemTime) -> Result<Summary, Diagnostics> {
    let started = Instant::now();
    let policy = load(paths)?;
    let (tables, lints) = compile_with_lints(&policy, config, now)?;
    let elapsed = started.elapsed();
    Ok(Summary {
        policy,
        tables,
        lints,
        elapsed,
    })
}

/// One paragraph for people: what was read, how large the tables are.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policy = &self.policy;
        writeln!(
            f,
            "policy is good: {}, {}, {}, {}, {} ({:.0?})",
            counted(policy.sources.len(), "file"),
            counted(policy.zones.len() - 2, "zone"),
            counted(policy.devices.len(), "device"),
            counted(policy.services.len(), "service"),
            counted(policy.rules.len(), "rule"),
            self.elapsed
        )?;
        let sizes = self.tables.sizes();
        let sizes: Vec<_> = sizes.iter().map(|(name, size)| format!("{name} {size}")).collect();
        writeln!(f, "tables: {}", sizes.join(", "))?;
        write!(f, "sha256: ")?;
        policy.hash.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}
