//! The policy: text in files → [`ValidPolicy`] → [`TableSet`].
//!
//! ```text
//! files.rs      paths -> texts                  bounded, UTF-8, no endless links
//! yaml.rs       text -> tree with places        refuses aliases, tags, depth
//! fields.rs     tree -> known keys, lists       unknown keys are errors
//! grammar.rs    words -> names, VLANs, addresses; services.rs: tcp/443
//! rates.rs      limits: 200/s, 2Mbit/s, bursts
//! cases.rs      tests: frames and what becomes of them; probe.rs: {vlan: 110, src: …}
//! file/         all of it -> PolicyFile         what is written, before names are looked up
//! validate.rs   PolicyFile -> ValidPolicy       names.rs: references, duplicates; groups.rs: names of names;
//!               addresses.rs: who owns which address; lans.rs: what the zones of a VLAN share; library.rs: classes and
//!               templates that are built in; dynamic.rs: devices with leased addresses; unused.rs: what nothing names
//! schema.rs      what a file may hold, for editors
//! salvage.rs    files that are not valid -> zones
//! compile/      ValidPolicy -> TableSet         recursive flow classification
//! ```
//!
//! Every step adds its complaints to one list and goes on, so that a user sees all of them at once.

mod addresses;
pub mod cases;
mod check;
mod compile;
mod dynamic;
mod fields;
mod file;
mod files;
mod grammar;
mod groups;
mod lans;
mod library;
pub mod limits;
pub mod link_scoped;
mod lints;
mod names;
mod offers;
pub(crate) mod parts;
pub mod probe;
mod rates;
mod salvage;
mod schema;
mod services;
pub mod tables;
mod unused;
pub mod valid;
mod validate;
mod yaml;

use std::{collections::HashSet, path::PathBuf, sync::Arc, time::SystemTime};

use crate::config::Config;
use crate::diagnostics::{Diagnostic, Diagnostics};
pub use check::{Summary, check};
pub(crate) use compile::uncovered;
pub(crate) use fields::nearest;
pub use lints::LINTS;
pub use salvage::{salvage, salvage_texts};
pub use schema::schema;
pub use tables::TableSet;
pub use valid::ValidPolicy;

/// The name of what happens when no rule matches.
pub const DEFAULT_RULE_NAME: &str = "default-deny";

/// Reads, merges and validates policy files and folders (`*.yaml` and `*.yml`, recursively; names that start with a
/// dot are skipped). Neither the order of the paths nor that of the declarations matters.
pub fn load(paths: &[PathBuf]) -> Result<ValidPolicy, Diagnostics> {
    let mut findings = Vec::new();
    let texts = files::read(paths, &mut findings);
    validated(texts, findings)
}

/// Merges and validates policy texts that are no files; their paths serve messages only.
pub fn load_texts(texts: impl IntoIterator<Item = (PathBuf, String)>) -> Result<ValidPolicy, Diagnostics> {
    validated(files::Texts::new(texts), Vec::new())
}

fn validated(texts: files::Texts, mut findings: Vec<Diagnostic>) -> Result<ValidPolicy, Diagnostics> {
    let sources = Arc::new(texts.sources);
    let mut complete = findings.is_empty();
    let broken: HashSet<_> = findings
        .iter()
        .filter_map(|finding| finding.at)
        .map(|at| at.file)
        .collect();
    let mut file = file::PolicyFile::default();
    for number in (0..sources.len() as u32).filter(|number| !broken.contains(number)) {
        match yaml::parse(&sources, number, &mut findings) {
            Ok(root) => root.iter().for_each(|root| file.add(root, &mut findings)),
            Err(yaml::Unusable) => complete = false,
        }
    }
    let origin = (Arc::clone(&sources), texts.hash);
    let policy = validate::validate(file, complete, origin, &mut findings);
    if findings.is_empty() {
        Ok(policy)
    } else {
        Err(Diagnostics::new(findings, sources))
    }
}

/// Compiles a policy into the tables of one generation. The only errors are exceeded [`limits`],
/// and `never` and `must_flow` that do not hold.
///
/// No rule has ended yet: those that expire are all there, with their times.
pub fn compile(policy: &ValidPolicy) -> Result<TableSet, Diagnostics> {
    compile::compile(policy, 0)
}

/// Compiles a policy at a time: rules that have ended by then are left out.
pub fn compile_at(policy: &ValidPolicy, now: SystemTime) -> Result<TableSet, Diagnostics> {
    compile::compile(policy, nanos(now))
}

/// Compiles a policy at a time, to compare another with it: whether it keeps its promises by then does not matter.
pub(crate) fn compile_for_comparison(policy: &ValidPolicy, now: SystemTime) -> Result<TableSet, Diagnostics> {
    compile::compile_unproven(policy, nanos(now))
}

/// The same with the warnings about the policy, in the order of files and lines.
///
/// With the configuration of the gateway, whether its operators would be locked out.
pub fn compile_with_lints(
    policy: &ValidPolicy,
    config: Option<&Config>,
    now: SystemTime,
) -> Result<(TableSet, Diagnostics), Diagnostics> {
    let now = nanos(now);
    let (tables, usage) = compile::compile_with_usage(policy, now)?;
    let lints = lints::find(policy, &usage, config, now);
    Ok((tables, Diagnostics::warnings(lints, Arc::clone(&policy.sources))))
}

/// Nanoseconds of Unix time.
pub(crate) fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
