//! What another policy would change: the exact difference in meaning, from the compiled tables.
//!
//! ```text
//! side.rs       one of the policies: tables, and an engine for examples
//! atoms.rs      what both declare -> addresses that neither can tell apart
//! senders.rs    addresses -> classes of senders and receivers     who stands how where
//! services.rs   services that neither can tell apart
//! effects.rs    records of rules -> what becomes of packets, now and later
//! pairs.rs      all pairs of classes -> where effects differ
//! changes.rs    where effects differ -> lines for people, each with an example that both engines confirm
//! flows.rs      flows that a running enforcer keeps -> which would be cut, which limited
//! inventory.rs  zones, devices and watched promises that come, go, or say something else
//! render.rs     all of it as text; words.rs: limits and times
//! ```
//!
//! Precedence is settled when a policy is compiled, so nothing here knows rules: two policies differ where their tables lead to
//! something else. The work is done on identities and classes, not on addresses.
//!
//! Compared is the first packet of a flow, by a sender that is who it says. What guards, address limits, `tcp` and `least_mss` make of
//! other packets is told by the zones and devices that say so.

mod atoms;
mod changes;
mod effects;
mod flows;
mod inventory;
mod pairs;
mod render;
mod senders;
mod services;
mod side;
#[cfg(test)]
mod tests;
mod words;

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::policy::valid::ValidPolicy;
use crate::policy::{self, TableSet, limits};
pub use effects::Fate;
pub use flows::{FlowGroup, Flows, Sieve};
pub use inventory::{Attribute, Inventory};
use pairs::Walk;
use services::Services;
use side::Side;

/// What a policy changes when it follows another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// What becomes of packets otherwise than before, by kind and zones.
    pub changes: Vec<Change>,
    /// Zones, by name.
    pub zones: Inventory,
    /// Devices, by name.
    pub devices: Inventory,
    /// What `must_flow` lets the controller watch for silence, by name.
    pub watched: Inventory,
    /// How full the tables are.
    pub tables: Vec<Table>,
    /// What becomes of the flows of a running enforcer; `None` where none was asked.
    pub flows: Option<Flows>,
}

impl Plan {
    /// What one of each list is called, and the list.
    fn inventories(&self) -> [(&'static str, &Inventory); 3] {
        [
            ("zone", &self.zones),
            ("device", &self.devices),
            ("watched promise", &self.watched),
        ]
    }

    /// Whether the policies mean the same. The sizes of tables do not matter.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.inventories().iter().all(|(_, inventory)| inventory.is_empty())
    }
}

/// Packets of which something else becomes than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What kind of change it is.
    pub kind: Kind,
    /// Who sends them.
    pub from: End,
    /// Whom they are for.
    pub to: End,
    /// What they ask for: `tcp/443`, `udp/1-1023`, `icmp/8`; `any` for all but `except`.
    pub services: Vec<String>,
    /// Services that `any` leaves out.
    pub except: Vec<String>,
    /// What becomes of them before.
    pub before: Terms,
    /// What becomes of them after.
    pub after: Terms,
    /// One of them.
    pub example: Example,
}

/// Kinds of changes, in the order in which they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// They passed, and are dropped.
    Denied,
    /// They were counted as `would-drop`, and are dropped.
    Enforced,
    /// They passed or were dropped, and are counted as `would-drop`.
    Monitored,
    /// They were dropped or counted as `would-drop`, and pass.
    Allowed,
    /// They pass under another limit.
    Limited,
    /// The same becomes of them for another time.
    Lasting,
    /// They pass, and become events or not.
    Logged,
}

/// Some or all addresses of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct End {
    /// The zone after; where no zone has them, the one before.
    pub zone: String,
    /// The zone before, if it is another.
    pub was: Option<String>,
    /// The zone's own addresses.
    pub stations: bool,
    /// Addresses that every VLAN has: link-local ones, groups, broadcast.
    pub link: bool,
    /// All of them.
    pub whole: bool,
    /// How many: each device counts, and each prefix with what it has beside the devices.
    pub endpoints: usize,
    /// Devices and prefixes, if they are not all, and few; else empty.
    pub names: Vec<String>,
    /// Those that are left out, if they are fewer; else empty.
    pub except: Vec<String>,
}

/// What becomes of packets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Terms {
    /// Whether they pass.
    pub fate: Fate,
    /// The limit of their rule, in words.
    pub limit: Option<String>,
    /// They are alarm traffic.
    pub alarm: bool,
    /// The first of a flow becomes an event.
    pub log: bool,
    /// Until when (RFC 3339); `None` for good.
    pub until: Option<String>,
    /// What becomes of them then, one after the other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<Terms>,
}

/// A packet, and what both engines make of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Example {
    /// Who sends it.
    pub source: Station,
    /// Whom it is for.
    pub destination: Station,
    /// What it asks for.
    pub service: String,
    /// What becomes of it before.
    pub before: Decided,
    /// What becomes of it after.
    pub after: Decided,
}

/// One end of an example.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Station {
    /// The address.
    pub address: std::net::IpAddr,
    /// The device, if one declares it.
    pub device: Option<String>,
}

/// What an engine makes of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decided {
    /// The VLAN that the packet comes by.
    pub vlan: String,
    /// The verdict.
    pub verdict: &'static str,
    /// Why it is refused; `None` if it is not.
    pub reason: Option<&'static str>,
    /// The rule that decides.
    pub rule: Option<String>,
    /// Where the rule stands, `file:line`; `None` for `default-deny`.
    pub at: Option<String>,
}

/// How full a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Entries before.
    pub before: usize,
    /// Entries after.
    pub after: usize,
    /// Entries that a policy may have; `None` for tables that others bound.
    pub limit: Option<usize>,
}

/// Compares two policies at `now`. Without a policy before, everything is new.
///
/// # Errors
/// When one of them does not compile, or the one after breaks its promises; and when an engine disagrees with the plan, which is a
/// defect of this program.
pub fn plan(before: Option<&ValidPolicy>, after: &ValidPolicy, now: SystemTime) -> Result<Plan, Diagnostics> {
    let nothing = nothing(after);
    Comparison::new(before.unwrap_or(&nothing), after, now)?.plan()
}

/// Two compiled policies at a time.
pub struct Comparison<'p> {
    policies: [Side<'p>; 2],
    now: SystemTime,
}

impl<'p> Comparison<'p> {
    /// Compiles both.
    ///
    /// # Errors
    /// As of [`plan`].
    pub fn new(before: &'p ValidPolicy, after: &'p ValidPolicy, now: SystemTime) -> Result<Self, Diagnostics> {
        let new = policy::compile_at(after, now)?;
        let old = policy::compile_for_comparison(before, now)?;
        Ok(Self {
            policies: [Side::new(before, old), Side::new(after, new)],
            now,
        })
    }

    /// What differs.
    ///
    /// # Errors
    /// When an engine disagrees with the plan, which is a defect of this program.
    pub fn plan(&mut self) -> Result<Plan, Diagnostics> {
        let [before, after] = self.policies.each_ref().map(|side| side.policy);
        let changes = changes(&mut self.policies, policy::nanos(self.now)).map_err(|what| {
            let message = format!("the plan and the engine disagree: {what}");
            let finding =
                Diagnostic::general(message).help("this is a defect of enforcer: report it with both policies");
            Diagnostics::new(vec![finding], Arc::clone(&after.sources))
        })?;
        Ok(Plan {
            changes,
            zones: inventory::zones([before, after]),
            devices: inventory::devices([before, after]),
            watched: inventory::watched([before, after]),
            tables: tables(self.policies[0].tables(), self.policies[1].tables()),
            flows: None,
        })
    }

    /// Takes flows that an enforcer keeps which runs the policy before, and tells what becomes of them. `ports` are its ports, and
    /// whether each is in monitor mode: when all are, nothing is cut.
    pub fn sieve(self, ports: &[(String, bool)]) -> Sieve<'p> {
        Sieve::new(self, ports)
    }
}

/// What differs; or an example that an engine decides otherwise.
fn changes(policies: &mut [Side<'_>; 2], now: u64) -> Result<Vec<Change>, String> {
    let leases = atoms::lease(policies);
    let services = Services::new([&policies[0], &policies[1]]);
    let sites = senders::sites(policies, &leases);
    let mut walk = Walk::new(policies, &services);
    let blocks = sites.iter().enumerate();
    let blocks: Vec<_> = blocks.flat_map(|(number, site)| walk.site(number, site)).collect();
    let lines = changes::Lines {
        sites: &sites,
        services: &services,
        effects: walk.effects.list.list,
        sets: walk.sets.list,
        now,
    };
    lines.of(policies, &blocks)
}

/// A policy without any declaration.
fn nothing(like: &ValidPolicy) -> ValidPolicy {
    ValidPolicy {
        zones: like.zones.iter().take(2).cloned().collect(),
        devices: Vec::new(),
        classes: Vec::new(),
        services: Vec::new(),
        rules: Vec::new(),
        never: Vec::new(),
        must_flow: Vec::new(),
        unused: Vec::new(),
        cases: Vec::new(),
        realms: vec!["default".to_owned()],
        sources: Arc::clone(&like.sources),
        hash: [0; 32],
    }
}

fn tables(before: &TableSet, after: &TableSet) -> Vec<Table> {
    let limit = |name: &str| match name {
        "lans" => Some(limits::LANS),
        "trie" => Some(limits::TRIE_NODES),
        "hosts" => Some(limits::HOSTS),
        "endpoints" => Some(limits::ENDPOINTS),
        "zones" => Some(limits::ZONES),
        "rows" => Some(limits::ROWS),
        "profiles" => Some(limits::PROFILE_BLOCKS),
        "columns" => Some(limits::COLUMNS),
        "cells" => Some(limits::CELL_BLOCKS),
        "rules" => Some(limits::RULES),
        "budgets" => Some(limits::BUDGETS),
        _ => None,
    };
    let sizes = before.sizes().into_iter().zip(after.sizes());
    let table = |((name, before), (_, after))| Table {
        name,
        before,
        after,
        limit: limit(name),
    };
    sizes.map(table).collect()
}
