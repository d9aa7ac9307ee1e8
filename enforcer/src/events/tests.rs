use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::policy::{TableSet, ValidPolicy, compile, load};
use crate::state::GenerationNames;

/// A small hospital: pumps with one device on VLAN 110, servers on VLAN 20, and what else is given.
pub(crate) fn policy(more: &str) -> ValidPolicy {
    let folder = tempfile::TempDir::new().unwrap();
    let zones = "zones:\n  pumps: {vlan: 110, subnets: [10.10.110.0/24], mode: enforce}\n  \
                 servers: {vlan: 20, subnets: [10.20.0.0/16, \"fd00:20::/64\"], mode: enforce}\n\
                 devices:\n  pump-1: {zone: pumps, address: 10.10.110.21}\n";
    std::fs::write(folder.path().join("p.yaml"), zones.to_owned() + more).unwrap();
    load(&[folder.path().to_path_buf()]).unwrap()
}

/// The same with a rule.
pub(crate) fn tables() -> TableSet {
    let rules = "rules:\n  pumps-to-servers: {from: pumps, to: servers, services: [tcp/443], action: allow}\n";
    compile(&policy(rules)).unwrap()
}

pub(crate) fn names() -> GenerationNames {
    let tables = Arc::new(tables());
    GenerationNames {
        number: 7,
        tables,
        ports: BTreeMap::from([(3, "trunk0".to_owned())]),
    }
}

fn endpoint(names: &GenerationNames, wanted: impl Fn(&crate::policy::tables::EndpointName) -> bool) -> u32 {
    names.tables.names.endpoints.iter().position(wanted).unwrap() as u32
}

fn parsed(event: &Event, names: Option<&GenerationNames>) -> Value {
    serde_json::from_str(&line::text(&line::record(
        event,
        SystemTime::UNIX_EPOCH + Duration::from_millis(1500),
        names,
    )))
    .unwrap()
}

pub(crate) fn drop_event(names: &GenerationNames) -> Event {
    Event {
        generation: 7,
        rule: 0,
        source: endpoint(names, |name| name.device.as_deref() == Some("pump-1")),
        destination: endpoint(names, |name| {
            name.zone == 3 && name.prefix.is_some_and(|prefix| prefix.is_ipv4()) && name.device.is_none()
        }),
        ifindex: 3,
        length: 64,
        source_address: [0, 0, 0, 0x0a0a_6e15],
        destination_address: [0, 0, 0, 0x0a14_0001],
        source_port: 40000,
        destination_port: 23,
        outer_vlan: 110,
        ethertype: 0x0800,
        lan: 1,
        source_mac: [0, 0x1e, 0x3d, 0, 1, 2],
        verdict: 2,
        reason: 22,
        stage: 5,
        family: 4,
        protocol: 6,
        tcp_flags: 0x12,
        ..Event::default()
    }
}

#[test]
fn a_drop_has_names_instead_of_numbers() {
    let names = names();
    let value = parsed(&drop_event(&names), Some(&names));
    let zones = &names.tables.names.zones;
    assert_eq!((zones[2].as_str(), zones[3].as_str()), ("pumps", "servers"));
    assert_eq!(
        value,
        json!({
            "schema_version": 1, "time": "1970-01-01T00:00:01.5Z", "generation": 7,
            "verdict": "drop", "reason": "default-deny", "stage": "policy",
            "rule": "default-deny", "rule_at": null, "port": "trunk0", "ifindex": 3,
            "vlan": 110, "inner_vlan": null,
            "source": {"zone": "pumps", "device": "pump-1", "address": "10.10.110.21", "port": 40000,
                       "mac": "00:1e:3d:00:01:02"},
            "destination": {"zone": "servers", "device": null, "address": "10.20.0.1", "port": 23,
                            "mac": "00:00:00:00:00:00"},
            "ethertype": "0x0800", "protocol": "tcp", "service": "tcp/23", "tcp_flags": "SA", "length": 64
        })
    );
}

#[test]
fn a_rule_is_named_with_its_place() {
    let names = names();
    let event = Event {
        rule: 1,
        reason: 0,
        verdict: 0,
        ..drop_event(&names)
    };
    let value = parsed(&event, Some(&names));
    assert_eq!(
        (&value["rule"], &value["reason"]),
        (&json!("pumps-to-servers"), &json!("none"))
    );
    assert!(value["rule_at"].as_str().unwrap().ends_with("p.yaml:7"), "{value}");
}

#[test]
fn a_generation_that_is_forgotten_has_no_names() {
    let names = names();
    let value = parsed(&drop_event(&names), None);
    assert_eq!(value["generation"], 7);
    assert!(value["rule"].is_null() && value["port"].is_null() && value["source"]["zone"].is_null());
    assert_eq!(value["source"]["address"], "10.10.110.21");
}

#[test]
fn a_frame_that_is_not_ip_has_the_zone_of_its_vlan_only() {
    let names = names();
    let lan = names.tables.names.lans.iter().position(|lan| lan.zones == [2]).unwrap() as u16;
    let event = Event {
        stage: 1,
        family: 0,
        rule: u32::MAX,
        lan,
        source: 0,
        reason: 14,
        ..drop_event(&names)
    };
    let event = Event {
        destination: 0,
        ..event
    };
    let value = parsed(&event, Some(&names));
    assert_eq!(value["source"]["zone"], "pumps");
    for absent in ["rule", "protocol", "service", "tcp_flags"] {
        assert!(value[absent].is_null(), "{absent}: {value}");
    }
    assert!(value["destination"]["zone"].is_null() && value["source"]["address"].is_null());
}

#[test]
fn numbers_that_no_table_has_do_no_harm() {
    let names = names();
    let event = Event {
        rule: 9999,
        source: 9999,
        destination: 9999,
        lan: 9999,
        verdict: 99,
        reason: 99,
        stage: 99,
        family: 6,
        protocol: 58,
        destination_port: 128 << 8,
        source_address: [0xfe80_0000, 0, 0, 1],
        ..drop_event(&names)
    };
    let value = parsed(&event, Some(&names));
    assert_eq!(
        (&value["service"], &value["source"]["address"]),
        (&json!("icmpv6/128/0"), &json!("fe80::1"))
    );
    assert!(value["verdict"].is_null() && value["source"]["port"].is_null());
}
