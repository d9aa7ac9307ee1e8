//! `ValidPolicy` → `TableSet`: recursive flow classification (Gupta and `McKeown`, SIGCOMM 1999).
//!
//! ```text
//! budgets.rs     limits, in nanoseconds
//! space.rs       who owns which address -> endpoints         trie.rs: the walk over an address's bytes
//! dynamic.rs     devices with leased addresses -> endpoints
//! identity.rs    endpoints that no rule tells apart          per side: a sender's, a receiver's
//! classes.rs     services that no rule tells apart
//! profiles.rs    (sender's, receiver's identity) -> the rules for this pair
//! cells.rs       (rules of a pair, service class) -> the rule that wins
//! records.rs     rules that end, and what decides then
//! places.rs      an address of each endpoint                 proofs.rs: `never` and `must_flow` over all pairs and cells
//! usage.rs       what each rule decides, for the lints
//! ```
//!
//! Precedence is settled here, once for all: a higher priority first; then deny before allow; then the more specific
//! sender, the more specific receiver, the more specific service; then the name.

mod blocks;
mod budgets;
mod cells;
mod classes;
mod dynamic;
mod identity;
mod places;
mod profiles;
mod proofs;
mod records;
mod space;
#[cfg(test)]
mod tests;
mod trie;
mod usage;

use std::{collections::BTreeMap, sync::Arc};

use enforcer_common::abi::{self, Lan, NO_LAN, SELF_ZONE, UNKNOWN_ZONE, VLAN_INNER, VlanTable, rule_flags};

use budgets::Budgets;
pub(crate) use places::uncovered;
use records::Records;
pub(super) use usage::Usage;

use super::{
    DEFAULT_RULE_NAME, limits,
    tables::{LanName, Names, RuleName, TableSet},
    valid::{Action, GuardMode, Guards, Mode, SELF, Scope, UNKNOWN, ValidPolicy, VlanId},
};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::silence::Watch;

const _: () = assert!(UNKNOWN == UNKNOWN_ZONE as usize && SELF == SELF_ZONE as usize);

/// Compiles a policy for `now`, in nanoseconds of Unix time. The only errors are exceeded limits
/// and broken promises.
pub(super) fn compile(policy: &ValidPolicy, now: u64) -> Result<TableSet, Diagnostics> {
    build(policy, now, true, |_| ()).map(|(tables, ())| tables)
}

/// The same for a policy that is in force already: its promises are not looked at.
pub(super) fn compile_unproven(policy: &ValidPolicy, now: u64) -> Result<TableSet, Diagnostics> {
    build(policy, now, false, |_| ()).map(|(tables, ())| tables)
}

/// The tables, and what its rules do in them.
pub(super) fn compile_with_usage(policy: &ValidPolicy, now: u64) -> Result<(TableSet, Usage), Diagnostics> {
    build(policy, now, true, |ground| usage::find(ground, now))
}

fn build<T>(
    policy: &ValidPolicy,
    now: u64,
    proven: bool,
    look: impl FnOnce(&proofs::Ground<'_>) -> T,
) -> Result<(TableSet, T), Diagnostics> {
    let within =
        |what: &str, count: usize, limit: usize, help: &str| limits::check(what, count, limit, help, &policy.sources);
    let lans = Lans::collect(policy);
    within("zones", policy.zones.len(), limits::ZONES, "use fewer, larger zones")?;
    within("VLANs", lans.by_tags.len() + 1, limits::LANS, "use fewer VLANs")?;
    within(
        "rules",
        policy.rules.len() + 1,
        limits::RULES,
        "merge rules that differ in one word",
    )?;

    let prefixes = identity::rule_prefixes(policy);
    let mut budgets = Budgets::new();
    let rules = rules(policy, &mut budgets);
    let space = space::build(policy, &lans, &prefixes, &mut budgets);
    let alike = "give more zones, devices and rules the same limits";
    within("different limits", budgets.list.len(), limits::BUDGETS, alike)?;
    let fewer = "declare fewer devices, or fewer prefixes in rules";
    within("endpoints", space.endpoints.len(), limits::ENDPOINTS, fewer)?;
    within("address trie nodes", space.trie.nodes.len(), limits::TRIE_NODES, fewer)?;
    within("single addresses", space.trie.hosts.len(), limits::HOSTS, fewer)?;

    let identities = identity::assign(policy, &prefixes, &space);
    let classes = classes::build(policy);
    within(
        "service classes",
        classes.count,
        limits::CLASSES,
        "use fewer overlapping port ranges",
    )?;

    let row_blocks = identities.destinations.sets.len().div_ceil(256);
    let rows = row_blocks * identities.sources.sets.len();
    let merge = "name zones instead of single devices in rules where that will do";
    within("rows of identities", rows, limits::ROWS, merge)?;
    let profiles = profiles::build(policy, &identities, now);
    within("profile blocks", profiles.blocks.len(), limits::PROFILE_BLOCKS, merge)?;
    let column_blocks = classes.count.div_ceil(256);
    let columns = column_blocks * profiles.lists.len();
    within("columns of services", columns, limits::COLUMNS, merge)?;
    let mut records = Records::new(rules);
    let cells = cells::build(policy, &profiles, &classes, &mut records);
    within("cell blocks", cells.blocks.len(), limits::CELL_BLOCKS, merge)?;
    let sooner = "let fewer rules for the same addresses and services expire";
    within("records of rules", records.list.len(), limits::RULES, sooner)?;
    if let Some(chain) = records.excess(policy) {
        return Err(too_many_deadlines(policy, &chain));
    }

    let mut endpoints = space.endpoints;
    for (endpoint, pair) in endpoints.iter_mut().zip(&identities.of_endpoint) {
        (endpoint.source, endpoint.destination) = *pair;
    }
    let tables = TableSet {
        watches: Watch::all(policy),
        vlans: lans.tables(),
        lans: space.lans,
        trie: space.trie.nodes,
        hosts: space.trie.hosts,
        endpoints,
        zones: zones(policy),
        rows: profiles.rows,
        profiles: profiles.blocks.into_iter().map(abi::ProfileBlock).collect(),
        row_blocks: row_blocks as u32,
        protocols: classes.protocols,
        services: classes.services,
        columns: cells.columns,
        column_blocks: column_blocks as u32,
        cells: cells.blocks.into_iter().map(abi::CellBlock).collect(),
        rules: records.list,
        budgets: budgets.list,
        dynamic: space.dynamic,
        names: Names {
            zones: policy.zones.iter().map(|zone| zone.name.clone()).collect(),
            endpoints: space.names,
            rules: rule_names(policy, &records.rule_of),
            lans: lans.names,
            realms: policy.realms.clone(),
        },
        policy_hash: policy.hash,
    };
    let ground = proofs::Ground {
        policy,
        tables: &tables,
        facts: &space.facts,
        sets: &space.sets,
        prefixes: &prefixes,
        places: &space.places,
        rule_of: &records.rule_of,
        identities: &identities,
        lists: &profiles.lists,
        services: &cells.services,
    };
    let broken = if proven { proofs::check(&ground) } else { Vec::new() };
    if broken.is_empty() {
        let seen = look(&ground);
        Ok((tables, seen))
    } else {
        Err(Diagnostics::new(broken, Arc::clone(&policy.sources)))
    }
}

/// The VLANs of a policy, numbered from 1 in the order of their tags.
struct Lans {
    by_tags: BTreeMap<VlanId, u16>,
    /// By LAN id; entry 0 stands for none.
    names: Vec<LanName>,
    /// By LAN id: the address space.
    realms: Vec<usize>,
}

impl Lans {
    fn collect(policy: &ValidPolicy) -> Self {
        let mut zones_of: BTreeMap<VlanId, Vec<u16>> = BTreeMap::new();
        for (number, zone) in policy.zones.iter().enumerate() {
            if let Some(vlan) = zone.vlan {
                zones_of.entry(vlan).or_default().push(number as u16);
            }
        }
        let mut lans = Self {
            by_tags: BTreeMap::new(),
            names: vec![LanName::default()],
            realms: vec![0],
        };
        for (vlan, zones) in zones_of {
            lans.by_tags.insert(vlan, lans.names.len() as u16);
            lans.realms.push(policy.zones[zones[0] as usize].realm);
            lans.names.push(LanName {
                vlan: Some(vlan),
                zones,
            });
        }
        lans
    }

    /// The LAN of a zone; none for the built-in ones.
    fn of(&self, vlan: Option<VlanId>) -> u16 {
        vlan.map_or(NO_LAN, |vlan| self.by_tags[&vlan])
    }

    /// The zone that answers for addresses of a VLAN that belong to none: its only one.
    fn zone(&self, lan: u16) -> u16 {
        match self.names[lan as usize].zones[..] {
            [zone] => zone,
            _ => UNKNOWN_ZONE,
        }
    }

    fn tables(&self) -> Vec<VlanTable> {
        let mut tables = vec![VlanTable([0; 4096])];
        for (vlan, &lan) in &self.by_tags {
            let outer = vlan.outer as usize;
            let Some(inner) = vlan.inner else {
                tables[0].0[outer] = lan;
                continue;
            };
            if tables[0].0[outer] == 0 {
                tables[0].0[outer] = VLAN_INNER | tables.len() as u16;
                tables.push(VlanTable([0; 4096]));
            }
            let table = tables[0].0[outer] & !VLAN_INNER;
            tables[table as usize].0[inner as usize] = lan;
        }
        tables
    }
}

fn zones(policy: &ValidPolicy) -> Vec<abi::Zone> {
    vec![abi::Zone { slot: 0 }; policy.zones.len()]
}

/// The mode of a zone as bits of `abi::mode`.
fn mode_bits(mode: Option<Mode>) -> u32 {
    match mode {
        None => 0,
        Some(Mode::Monitor) => abi::mode::MONITOR,
        Some(Mode::Enforce) => abi::mode::ENFORCE,
    }
}

/// The modes of the guards, as in `abi::Lan::guards`.
fn guard_bits(guards: Guards) -> u32 {
    let bits = |mode: GuardMode, guard: u32| {
        let mode = match mode {
            GuardMode::Off => abi::guard_mode::OFF,
            GuardMode::Monitor => abi::guard_mode::MONITOR,
            GuardMode::Enforce => abi::guard_mode::ENFORCE,
        };
        mode << guard
    };
    bits(guards.source, abi::guard::SOURCE)
        | bits(guards.arp, abi::guard::ARP)
        | bits(guards.neighbour, abi::guard::NEIGHBOUR)
        | bits(guards.dhcp, abi::guard::DHCP)
        | bits(guards.router, abi::guard::ROUTER)
}

fn rules(policy: &ValidPolicy, budgets: &mut Budgets) -> Vec<abi::Rule> {
    let mut rule = |rule: &super::valid::Rule| {
        let allow = if rule.action == Action::Allow {
            rule_flags::ALLOW
        } else {
            0
        };
        let log = if rule.log_new { rule_flags::LOG } else { 0 };
        let alarm = if rule.alarm { rule_flags::ALARM } else { 0 };
        let monitor = if rule.monitor { rule_flags::MONITOR } else { 0 };
        let scope = match rule.scope {
            Scope::Rule => abi::scope::RULE,
            Scope::Source => abi::scope::SOURCE,
            Scope::Pair => abi::scope::PAIR,
        };
        abi::Rule {
            slot: 0,
            flags: allow | log | alarm | monitor,
            budget: budgets.number(&rule.limit),
            scope,
            deadline: rule.expires.unwrap_or(0),
            ..abi::Rule::default()
        }
    };
    let default = abi::Rule::default();
    std::iter::once(default)
        .chain(policy.rules.iter().map(&mut rule))
        .collect()
}

/// The names of records: all those of a rule have its name.
fn rule_names(policy: &ValidPolicy, rule_of: &[u32]) -> Vec<RuleName> {
    let default = || RuleName {
        name: DEFAULT_RULE_NAME.to_owned(),
        ..RuleName::default()
    };
    let name = |rule: &super::valid::Rule| RuleName {
        name: rule.name.clone(),
        place: policy.sources.place(rule.at),
        location: Some(rule.at),
    };
    let rule = |number: &u32| number.checked_sub(1).map(|number| &policy.rules[number as usize]);
    rule_of
        .iter()
        .map(|number| rule(number).map_or_else(default, name))
        .collect()
}

fn too_many_deadlines(policy: &ValidPolicy, chain: &[&super::valid::Rule]) -> Diagnostics {
    let count = chain.len();
    let message = format!(
        "{count} rules that expire decide about the same packets, one after the other; {} can",
        abi::DEADLINES
    );
    let mut finding = Diagnostic::at(chain[0].at, message).label("this one expires first");
    for rule in &chain[1..] {
        finding = finding.related(rule.at, "then this one");
    }
    let finding = finding.help("give some of them the same time, or narrow them");
    Diagnostics::new(vec![finding], Arc::clone(&policy.sources))
}

/// LAN 0: nobody's.
fn no_lan() -> Lan {
    Lan::default()
}
