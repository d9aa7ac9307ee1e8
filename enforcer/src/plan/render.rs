//! A plan as people read it.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::{Change, Decided, End, Example, Fate, FlowGroup, Flows, Inventory, Kind, Plan, Station, Terms};
use crate::flows::{FlowEnd, FlowRecord};
use crate::words::short;

/// Names of a list that are shown.
const SHOWN: usize = 8;
/// Groups of flows that are shown.
const GROUPS: usize = 50;
/// Tables fuller than this part of their limit are shown, in per cent.
const FULL: usize = 50;

impl Kind {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Enforced => "enforced",
            Self::Monitored => "monitored",
            Self::Allowed => "allowed",
            Self::Limited => "limited",
            Self::Lasting => "lasting",
            Self::Logged => "logged",
        }
    }

    const fn sign(self) -> char {
        match self {
            Self::Denied | Self::Enforced => '-',
            Self::Allowed => '+',
            Self::Monitored | Self::Limited | Self::Lasting | Self::Logged => '~',
        }
    }
}

/// The whole plan, with a line of counts at its end.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, inventory) in self.inventories() {
            f.write_str(&listed(what, inventory))?;
        }
        for change in self.grouped() {
            f.write_str(&change)?;
        }
        let full = self.tables.iter().filter_map(|table| Some((table, table.limit?)));
        for (table, limit) in full.filter(|(table, limit)| table.after * 100 > limit * FULL) {
            let (name, before, after) = (table.name, table.before, table.after);
            writeln!(f, "! table {name} grows from {before} to {after} entries of {limit}")?;
        }
        let flows = self.flows.as_ref();
        if let Some(flows) = flows {
            f.write_str(&told_flows(flows))?;
        }
        let counts = if self.is_empty() {
            "no differences".to_owned()
        } else {
            self.counts()
        };
        writeln!(f, "{counts}{}", flows.map_or_else(String::new, flow_counts))
    }
}

impl Plan {
    /// `2 allowed, 1 denied; zones: 1 changed; devices: 3 added`.
    fn counts(&self) -> String {
        let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
        for change in &self.changes {
            *kinds.entry(change.kind).or_default() += 1;
        }
        let kinds: Vec<_> = kinds
            .iter()
            .map(|(kind, count)| format!("{count} {}", kind.name()))
            .collect();
        let mut text = if kinds.is_empty() {
            "no packet meets with anything else".to_owned()
        } else {
            kinds.join(", ")
        };
        for (what, inventory) in self.inventories() {
            let counts = [
                (inventory.added.len(), "added"),
                (inventory.removed.len(), "removed"),
                (inventory.changed.len(), "changed"),
            ];
            let counts = counts.iter().filter(|(count, _)| *count > 0);
            let counts: Vec<_> = counts.map(|(count, word)| format!("{count} {word}")).collect();
            if !counts.is_empty() {
                let _ = write!(text, "; {what}s: {}", counts.join(", "));
            }
        }
        text
    }

    /// Lines that differ in their receivers only are told together.
    fn grouped(&self) -> Vec<String> {
        let mut groups: Vec<(&Change, Vec<String>)> = Vec::new();
        let mut numbers = BTreeMap::new();
        for change in &self.changes {
            let Change {
                kind,
                from,
                services,
                except,
                before,
                after,
                ..
            } = change;
            let next = groups.len();
            let number = *numbers
                .entry((kind, from, services, except, before, after))
                .or_insert(next);
            if number == next {
                groups.push((change, Vec::new()));
            }
            groups[number].1.push(end(&change.to));
        }
        groups
            .iter()
            .map(|(change, receivers)| told_change(change, receivers))
            .collect()
    }
}

fn told_change(change: &Change, receivers: &[String]) -> String {
    let mut text = String::new();
    let services = services(change);
    let to = few(receivers, "; ");
    let (sign, kind) = (change.kind.sign(), change.kind.name());
    let _ = writeln!(text, "{sign} {kind}: {} to {to}, {services}", end(&change.from));
    let _ = writeln!(text, "    before: {}", terms(&change.before));
    let _ = writeln!(text, "    after:  {}", terms(&change.after));
    let Example {
        source,
        destination,
        service,
        before,
        after,
    } = &change.example;
    let vlan = if before.vlan == after.vlan {
        format!("VLAN {}", after.vlan)
    } else {
        format!("VLAN {}, then {}", before.vlan, after.vlan)
    };
    let (source, destination) = (station(source), station(destination));
    let _ = writeln!(text, "    such as {vlan}, {source} to {destination}, {service}:");
    let _ = writeln!(text, "      {}; then {}", decided(before), decided(after));
    text
}

/// `- cut: 3 flows of pumps to servers, tcp/443, until now by rule pumps-to-servers; …`.
fn told_flows(flows: &Flows) -> String {
    let mut text = String::new();
    for (sign, word, groups) in [('-', "cut", &flows.cut), ('~', "limited", &flows.limited)] {
        for group in groups.iter().take(GROUPS) {
            text.push_str(&told_group(sign, word, group));
        }
        if let Some(more) = groups.len().checked_sub(GROUPS).filter(|more| *more > 0) {
            let _ = writeln!(
                text,
                "{sign} {word}: {more} more groups of flows; `--output json` has them all"
            );
        }
    }
    if !flows.monitoring_ports.is_empty() {
        let ports = few(&flows.monitoring_ports, ", ");
        let _ = writeln!(text, "! what comes by ports in monitor mode passes: {ports}");
    }
    text
}

fn told_group(sign: char, word: &str, group: &FlowGroup) -> String {
    let mut text = String::new();
    let zone = |zone: &Option<String>| zone.clone().unwrap_or_else(|| "?".to_owned());
    let (from, to) = (zone(&group.from), zone(&group.to));
    let s = if group.flows == 1 { "" } else { "s" };
    let services: Vec<_> = group.services.iter().cloned().collect();
    let services = few(&services, ", ");
    let _ = writeln!(
        text,
        "{sign} {word}: {} flow{s} of {from} to {to}, {services}",
        group.flows
    );
    let rule = group.rule.as_deref();
    let rule = rule.map_or_else(String::new, |rule| format!("by {rule} until now, "));
    let (packets, octets) = (short(group.packets), short(group.octets));
    let (established, seen) = (group.established, &group.last_seen);
    let _ = writeln!(
        text,
        "    {rule}{established} answered, {packets} frames, {octets} octets, last seen {seen}"
    );
    let limit = group
        .limit
        .as_ref()
        .map_or_else(String::new, |limit| format!(", {limit}"));
    let _ = writeln!(
        text,
        "    such as {}: {}{limit}",
        flow(&group.example),
        decided(&group.after)
    );
    text
}

/// `pump-icu-01 10.10.110.21:40001 to 10.20.5.10:443`.
fn flow(flow: &FlowRecord) -> String {
    let end = |end: &FlowEnd| {
        let device = end.device.as_ref().map_or_else(String::new, |name| format!("{name} "));
        let address = match (end.address, end.port) {
            (Some(address), Some(port)) => std::net::SocketAddr::new(address, port).to_string(),
            (Some(address), None) => address.to_string(),
            (None, _) => "?".to_owned(),
        };
        format!("{device}{address}")
    };
    format!("{} to {}", end(&flow.initiator), end(&flow.responder))
}

/// `; of 1203 flows: 2 cut, 1 limited`.
fn flow_counts(flows: &Flows) -> String {
    let sum = |groups: &[FlowGroup]| groups.iter().map(|group| group.flows).sum::<u64>();
    let (kept, cut, limited) = (flows.kept, sum(&flows.cut), sum(&flows.limited));
    let already = match flows.refused_already {
        0 => String::new(),
        many => format!(", {many} ended already"),
    };
    format!("; of {kept} flows: {cut} cut, {limited} under another limit{already}")
}

fn services(change: &Change) -> String {
    let named = few(&change.services, ", ");
    let named = if named == "any" {
        "any service".to_owned()
    } else {
        named
    };
    if change.except.is_empty() {
        return named;
    }
    format!("{named} but {}", few(&change.except, ", "))
}

fn few(names: &[String], between: &str) -> String {
    let shown = names.len().min(SHOWN);
    let mut text = names[..shown].join(between);
    if names.len() > SHOWN {
        let _ = write!(text, "{between}{} more", names.len() - SHOWN);
    }
    text
}

/// `imaging`, `ct-01 of imaging`, `imaging but ct-01`, `imaging (groups and link-local)`.
fn end(end: &End) -> String {
    let mut text = String::new();
    match (end.whole, end.names.is_empty(), end.except.is_empty()) {
        (true, ..) => text.push_str(&end.zone),
        (false, false, _) => {
            let _ = write!(text, "{} of {}", few(&end.names, ", "), end.zone);
        }
        (false, true, false) => {
            let _ = write!(text, "{} but {}", end.zone, few(&end.except, ", "));
        }
        (false, true, true) => {
            let _ = write!(text, "{} endpoints of {}", end.endpoints, end.zone);
        }
    }
    let mut notes = Vec::new();
    if let Some(was) = &end.was {
        notes.push(format!("before: {was}"));
    }
    if !end.stations {
        notes.push("groups and link-local addresses".to_owned());
    }
    if end.whole && end.endpoints > 1 {
        notes.push(format!("{} endpoints", end.endpoints));
    }
    if !notes.is_empty() {
        let _ = write!(text, " ({})", notes.join("; "));
    }
    text
}

/// `allowed, 200 packets/s (burst 50), each source, until 2027-01-31T00:00:00Z; then denied`.
fn terms(terms: &Terms) -> String {
    let mut text = span(terms);
    for later in &terms.then {
        let _ = write!(text, "; then {}", span(later));
    }
    text
}

fn span(terms: &Terms) -> String {
    let mut text = match terms.fate {
        Fate::Allowed => "allowed",
        Fate::Monitored => "refused, but passes (monitored)",
        Fate::Denied => "denied",
    }
    .to_owned();
    if let Some(limit) = &terms.limit {
        let _ = write!(text, ", {limit}");
    }
    for (set, word) in [(terms.alarm, ", as alarm traffic"), (terms.log, ", logged")] {
        text.push_str(if set { word } else { "" });
    }
    if let Some(until) = &terms.until {
        let _ = write!(text, ", until {until}");
    }
    text
}

fn station(station: &Station) -> String {
    match &station.device {
        Some(device) => format!("{} ({device})", station.address),
        None => station.address.to_string(),
    }
}

fn decided(decided: &Decided) -> String {
    let reason = decided.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let rule = match (&decided.rule, &decided.at) {
        (Some(rule), Some(at)) => format!(" by {rule} ({at})"),
        (Some(rule), None) if decided.reason != Some(rule) => format!(" by {rule}"),
        _ => String::new(),
    };
    format!("{}{reason}{rule}", decided.verdict)
}

fn listed(what: &str, inventory: &Inventory) -> String {
    let mut text = String::new();
    for (sign, word, names) in [('+', "added", &inventory.added), ('-', "removed", &inventory.removed)] {
        if !names.is_empty() {
            let s = if names.len() == 1 { "" } else { "s" };
            let _ = writeln!(text, "{sign} {what}{s} {word}: {}", few(names, ", "));
        }
    }
    for change in inventory.changed.iter().take(SHOWN) {
        let (name, key, before, after) = (&change.name, change.key, &change.before, &change.after);
        let _ = writeln!(text, "~ {what} {name}: {key} was {before}, becomes {after}");
    }
    if let Some(more) = inventory.changed.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(text, "~ {more} more changes of {what}s; `--output json` has them all");
    }
    text
}
