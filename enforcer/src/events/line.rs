//! An event as a line of JSON.

use std::net::IpAddr;
use std::time::SystemTime;

use enforcer_common::abi::{Address, Event, NO_LAN, NO_RULE, UNKNOWN_ENDPOINT};
use enforcer_common::packet::protocol as number;
use enforcer_common::verdict::{DropReason, Stage, Verdict};
use serde::Serialize;

use crate::state::{GenerationNames, rfc3339};
use crate::words;

/// The record. What is not known of a frame is null.
#[derive(Serialize)]
pub(super) struct Record<'a> {
    schema_version: u32,
    time: String,
    generation: u32,
    pub(super) verdict: Option<&'static str>,
    pub(super) reason: Option<&'static str>,
    stage: Option<&'static str>,
    pub(super) rule: Option<&'a str>,
    rule_at: Option<&'a str>,
    port: Option<&'a str>,
    ifindex: u32,
    pub(super) vlan: Option<u16>,
    pub(super) inner_vlan: Option<u16>,
    pub(super) source: End<'a>,
    pub(super) destination: End<'a>,
    ethertype: String,
    protocol: Option<String>,
    service: Option<String>,
    tcp_flags: Option<String>,
    length: u32,
}

/// One end of a frame.
#[derive(Serialize)]
pub(super) struct End<'a> {
    pub(super) zone: Option<&'a str>,
    pub(super) device: Option<&'a str>,
    address: Option<IpAddr>,
    port: Option<u16>,
    mac: String,
}

/// The record as one line, without its end.
pub(super) fn text(record: &Record<'_>) -> String {
    serde_json::to_string(record).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
}

/// What an event says. Without the names of its generation, names are `None`.
pub(super) fn record<'a>(event: &Event, at: SystemTime, names: Option<&'a GenerationNames>) -> Record<'a> {
    let stage = Stage::from_code(event.stage);
    let rule = names.filter(|_| event.rule != NO_RULE);
    let rule = rule.and_then(|names| names.tables.names.rules.get(event.rule as usize));
    Record {
        schema_version: 1,
        time: rfc3339(at),
        generation: event.generation,
        verdict: Verdict::from_code(event.verdict).map(Verdict::name),
        reason: DropReason::from_code(event.reason).map(DropReason::name),
        stage: stage.map(Stage::name),
        rule: rule.map(|rule| rule.name.as_str()),
        rule_at: rule.map(|rule| rule.place.as_str()).filter(|place| !place.is_empty()),
        port: names
            .and_then(|names| names.ports.get(&event.ifindex))
            .map(String::as_str),
        ifindex: event.ifindex,
        vlan: tag(event.outer_vlan),
        inner_vlan: tag(event.inner_vlan),
        source: end(event, names, &Side::source(event)),
        destination: end(event, names, &Side::destination(event)),
        ethertype: format!("0x{:04x}", event.ethertype),
        protocol: (event.family != 0).then(|| words::protocol(event.protocol)),
        service: (event.family != 0).then(|| words::service(event.protocol, event.destination_port)),
        tcp_flags: (event.family != 0 && event.protocol == number::TCP).then(|| words::tcp_flags(event.tcp_flags)),
        length: event.length,
    }
}

fn tag(vlan: u16) -> Option<u16> {
    Some(vlan).filter(|&vlan| vlan != 0)
}

/// What an event says of one end.
struct Side {
    endpoint: u32,
    address: Address,
    port: u16,
    mac: [u8; 6],
    /// The end that came in on the event's VLAN.
    is_source: bool,
}

impl Side {
    fn source(event: &Event) -> Self {
        Self {
            endpoint: event.source,
            address: event.source_address,
            port: event.source_port,
            mac: event.source_mac,
            is_source: true,
        }
    }

    fn destination(event: &Event) -> Self {
        Self {
            endpoint: event.destination,
            address: event.destination_address,
            port: event.destination_port,
            mac: event.destination_mac,
            is_source: false,
        }
    }
}

fn end<'a>(event: &Event, names: Option<&'a GenerationNames>, side: &Side) -> End<'a> {
    let endpoint = names.and_then(|names| names.tables.names.endpoints.get(side.endpoint as usize));
    let has_ports = words::has_ports(event.protocol) && event.family != 0;
    End {
        zone: names.and_then(|names| zone(event, names, side)),
        device: endpoint.and_then(|endpoint| endpoint.device.as_deref()),
        address: words::address(event.family, side.address),
        port: has_ports.then_some(side.port),
        mac: words::mac(side.mac),
    }
}

/// The zone of an end: that of its address; before addresses are looked at, that of the VLAN for the source.
fn zone<'a>(event: &Event, names: &'a GenerationNames, side: &Side) -> Option<&'a str> {
    let table = &names.tables.names;
    let looked_at = !matches!(Stage::from_code(event.stage), Some(Stage::Parse | Stage::Link) | None);
    let number = if looked_at || side.endpoint != UNKNOWN_ENDPOINT {
        table.endpoints.get(side.endpoint as usize)?.zone
    } else if side.is_source && event.lan != NO_LAN {
        match table.lans.get(usize::from(event.lan))?.zones.as_slice() {
            [only] => *only,
            _ => return None,
        }
    } else {
        return None;
    };
    table.zones.get(usize::from(number)).map(String::as_str)
}
