//! What a policy may not exceed. Every excess is an error that names the limit; nothing is cut off in silence.
//!
//! The figures bound the memory of one generation (they are entries of kernel arrays) and the time of a compilation.
//! Raising one needs no other change, as long as it stays under the width of the field that is named beside it.

use crate::diagnostics::{Diagnostic, Diagnostics};
use std::sync::Arc;

use crate::diagnostics::Sources;

/// Octets of one policy file.
pub const FILE_BYTES: u64 = 64 << 20;
/// Octets of all policy files together.
pub const TOTAL_BYTES: u64 = 256 << 20;
/// Policy files.
pub const FILES: usize = 10_000;
/// Levels of nesting in a file; the language needs 4.
pub const NESTING: usize = 16;

/// Zones, `unknown` and `self` among them (a zone number has 16 bits).
pub const ZONES: usize = 4096;
/// VLANs, single and double tagged (a LAN id has 15 bits).
pub const LANS: usize = 4096;
/// Rules, `default-deny` among them (32 bits).
pub const RULES: usize = 65_536;
/// Members of all groups together, and of all services, after those in groups of groups are counted out.
pub const MEMBERS: usize = 1 << 20;
/// Different limits, "without" among them (an endpoint's budgets have 16 bits each).
pub const BUDGETS: usize = 65_536;
/// Endpoints: devices, zones, and prefixes inside of zones (30 bits).
pub const ENDPOINTS: usize = 1 << 20;
/// Nodes of the address trie, 1 KiB each (30 bits).
pub const TRIE_NODES: usize = 1 << 18;
/// Single addresses under trie entries (30 bits).
pub const HOSTS: usize = 1 << 21;
/// Service classes: groups of ports that no rule tells apart (16 bits).
pub const CLASSES: usize = 16_384;
/// Entries of `rows`: source identities times blocks of destination identities.
pub const ROWS: usize = 1 << 23;
/// Blocks of profiles, 1 KiB each.
pub const PROFILE_BLOCKS: usize = 1 << 18;
/// Entries of `columns`: profiles times blocks of service classes.
pub const COLUMNS: usize = 1 << 23;
/// Blocks of cells, 1 KiB each.
pub const CELL_BLOCKS: usize = 1 << 18;

/// An error when `count` exceeds `limit`; `help` says what to do about it.
pub(super) fn check(
    what: &str,
    count: usize,
    limit: usize,
    help: &str,
    sources: &Arc<Sources>,
) -> Result<(), Diagnostics> {
    if count <= limit {
        return Ok(());
    }
    let message = format!("the policy needs {count} {what}, more than the limit of {limit} {what}");
    let finding = Diagnostic::general(message).help(help);
    Err(Diagnostics::new(vec![finding], Arc::clone(sources)))
}
