//! `enforcer flows` and `devices` with the real controller on the kernel. Needs root.

mod gateway;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use aya::maps::{HashMap, Map, MapData};
use enforcer::flows::{self, Query};
use enforcer_common::abi::{FlowKey, FlowState};
use enforcer_tests::lab::Enforcer;
use enforcer_tests::packet::packet;
use gateway::ward::{ACK, RUNTIME, SERVER, SYN, to_pump, to_server, ward};
use gateway::{Gateway, MAPS, eventually};
use serde_json::Value;
fn json_lines(gateway: &Gateway, arguments: &[&str]) -> Result<Vec<Value>> {
    let mut all = vec!["flows", "--config", Enforcer::CONFIG, "--output", "json"];
    all.extend(arguments);
    let (code, text, errors) = gateway.run(&all)?;
    ensure!(code == 0, "{code}: {errors}");
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Else a reload would begin without flows, and number its policy as an earlier one was: what that permitted would go on.
#[test]
fn tables_whose_pins_somebody_removes_are_kept_with_what_they_hold() -> Result<()> {
    let (gateway, switch) = ward()?;
    let enforcer = gateway.start(&["trunk0"])?;
    switch.send(&to_server(40_001, 443, SYN))?;
    switch.send(&to_pump(40_001, SYN | ACK))?;
    let flow = || Ok::<_, anyhow::Error>(json_lines(&gateway, &[])?.len() == 2);
    eventually("a flow and the summary are told", flow)?;
    // At once, and by the reload itself.
    for generation in 2..4 {
        gateway.namespace.enter(|| fs::remove_dir_all(MAPS))?;
        let (code, _, text) = gateway.command("reload")?;
        assert_eq!(
            (code, text.contains(&format!("generation {generation}"))),
            (0, true),
            "{text}"
        );
        assert!(flow()?, "the flow is kept");
    }
    // In its own time.
    gateway
        .namespace
        .enter(|| fs::remove_file(Path::new(MAPS).join("META")))?;
    let pinned = || gateway.namespace.enter(|| Path::new(MAPS).join("META").exists());
    eventually("the table is pinned again", || Ok(pinned()))?;

    // While no controller runs, nobody makes it again; numbers go on all the same.
    enforcer.kill()?;
    gateway
        .namespace
        .enter(|| fs::remove_file(Path::new(MAPS).join("META")))?;
    let _enforcer = gateway.start(&["trunk0"])?;
    let (_, text, _) = gateway.run(&["status", "--config", Enforcer::CONFIG, "--output", "json"])?;
    let status: Value = serde_json::from_str(&text)?;
    assert!(status["generation"]["number"].as_u64() > Some(1_000_000), "{status:#}");
    assert!(flow()?, "the flow is kept");
    Ok(())
}

#[test]
fn flows_are_told_with_names_and_counts() -> Result<()> {
    let (gateway, switch) = ward()?;
    let enforcer = gateway.start(&["trunk0"])?;
    switch.send(&to_server(40_001, 443, SYN))?;
    switch.send(&to_pump(40_001, SYN | ACK))?;
    switch.send(&to_server(40_001, 443, ACK))?;
    switch.send(&to_server(40_002, 443, SYN))?;
    eventually("four frames are permitted", || {
        Ok(enforcer.count(Enforcer::RULE_FRAMES, &[("rule", "pumps-to-servers")])? == 4)
    })?;

    let lines = json_lines(&gateway, &[])?;
    let [flow, half_open, end] = lines.as_slice() else {
        anyhow::bail!("{lines:?}")
    };
    assert_eq!(
        (&flow["state"], &flow["established"]),
        (&"established".into(), &true.into())
    );
    assert_eq!(
        (
            &flow["initiator"]["device"],
            &flow["initiator"]["zone"],
            &flow["responder"]["zone"]
        ),
        (&"pump-1".into(), &"pumps".into(), &"servers".into())
    );
    assert_eq!(
        (&flow["initiator"]["port"], &flow["service"]),
        (&40_001.into(), &"tcp/443".into())
    );
    assert_eq!(
        (&flow["rule"], &flow["generation"]),
        (&"pumps-to-servers".into(), &1.into())
    );
    assert!(
        flow["rule_at"].as_str().is_some_and(|at| at.ends_with("policy.yaml:5")),
        "{flow}"
    );
    assert_eq!(
        (&flow["sent"]["packets"], &flow["received"]["packets"]),
        (&2.into(), &1.into())
    );
    assert_eq!(
        (&half_open["state"], &half_open["received"]["packets"]),
        (&"syn-sent".into(), &0.into())
    );
    let summary = serde_json::json!({"established": 1, "half_open": 1, "matched": 2, "shown": 2});
    assert_eq!(end["summary"], summary);

    for (arguments, shown) in [
        (&["--half-open"][..], 1),
        (&["--established", "--state", "syn-sent"], 0),
        (&["--zone", "servers", "--device", "pump-1"], 2),
        (&["--device", "pump-2"], 0),
        (&["--rule", "default-deny"], 0),
        (&["--limit", "1"], 1),
        (&["--limit", "0"], 2),
    ] {
        assert_eq!(json_lines(&gateway, arguments)?.len(), shown + 1, "{arguments:?}");
    }
    let (code, _, text) = gateway.run(&["flows", "--config", Enforcer::CONFIG, "--rule", "pump-to-servers"])?;
    assert_eq!(
        (code, text.contains("did you mean `pumps-to-servers`?")),
        (1, true),
        "{text}"
    );

    let (code, text, told) = gateway.command("flows")?;
    assert_eq!(code, 0);
    assert!(
        text.contains("pumps/pump-1 10.10.110.21  servers 10.20.0.1  tcp/443  established"),
        "{text}"
    );
    assert!(
        told.contains("2 shown; there are 1 flows that have been answered, 1 that have not"),
        "{told}"
    );

    // Names of flows and rules go on after a reload.
    enforcer.reload()?;
    assert_eq!(json_lines(&gateway, &["--rule", "pumps-to-servers"])?.len(), 3);
    Ok(())
}

/// A map of flows as the controller has pinned it.
fn pinned_flows(gateway: &Gateway) -> Result<HashMap<MapData, FlowKey, [u64; 8]>> {
    let open = || MapData::from_pin("/sys/fs/bpf/enforcer/v4/maps/FLOWS");
    Ok(Map::LruHashMap(gateway.namespace.enter(open)?).try_into()?)
}

#[test]
fn of_a_million_flows_the_busiest_are_told_or_those_of_a_device() -> Result<()> {
    const MANY: u64 = 1_000_000;
    let (gateway, switch) = ward()?;
    let mut config = gateway.config(&["trunk0"]);
    config.settings = "tables.flows = 1100000".into();
    let _enforcer = Enforcer::start(&gateway.namespace, &config)?;
    // One that is real, for its numbers.
    switch.send(&to_server(40_001, 443, SYN))?;
    switch.send(&to_pump(40_001, SYN | ACK))?;
    switch.send(&to_server(40_001, 443, ACK))?;
    let mut table = pinned_flows(&gateway)?;
    eventually("a flow is established", || Ok(table.keys().count() == 1))?;
    let real = table.keys().next().context("a flow")??;
    let value = table.get(&real, 0)?;
    for number in 1..MANY {
        let pump = (number % 250) as u32;
        let low = [0, 0, 0, 0x0a0a_6e00 + pump];
        let key = FlowKey {
            low,
            low_port: (number / 250 + 1) as u16,
            ..real
        };
        // Octets from the initiator: the third word.
        let value = [
            value[0],
            value[1],
            number * 1000,
            value[3],
            value[4],
            value[5],
            value[6],
            value[7],
        ];
        table.insert(key, value, 0)?;
    }
    let mut shown = Vec::new();
    let busiest = Query {
        limit: 3,
        ..Query::default()
    };
    let summary = gateway
        .namespace
        .enter(|| flows::fetch(Path::new(RUNTIME), &busiest, |flow| shown.push(flow)))?;
    assert!(summary.established > MANY * 9 / 10 && summary.shown == 3, "{summary:?}");
    assert!(shown[0].octets() >= shown[1].octets() && shown[1].octets() >= shown[2].octets());
    assert!(shown[0].octets() > (MANY - 1) * 900, "{:?}", shown[0]);
    assert_eq!(
        (shown[0].state.as_str(), shown[0].rule.as_deref()),
        (FlowState::Established.name(), Some("pumps-to-servers"))
    );

    let one = Query {
        devices: vec!["pump-2".to_owned()],
        ..Query::default()
    };
    let mut ports = BTreeSet::new();
    let all = gateway.namespace.enter(|| {
        flows::fetch(Path::new(RUNTIME), &one, |flow| {
            ports.insert(flow.initiator.port);
        })
    })?;
    assert_eq!([all.shown, ports.len() as u64], [all.matched; 2], "{all:?}");
    assert!(all.shown > 3000 && all.established == summary.established, "{all:?}");
    Ok(())
}

#[test]
fn devices_have_been_seen_by_their_flows_or_by_what_was_refused() -> Result<()> {
    let (gateway, switch) = ward()?;
    let _enforcer = gateway.start(&["trunk0"])?;
    let device = |name: &str| -> Result<Value> {
        let (_, json, _) = gateway.run(&["devices", "--config", Enforcer::CONFIG, "--output", "json"])?;
        let devices: Value = serde_json::from_str(&json)?;
        let mut list = devices["devices"].as_array().context("a list")?.iter();
        Ok(list
            .find(|device| device["name"] == name)
            .context("the device")?
            .clone())
    };
    let before = device("pump-1")?;
    assert!(before["last_seen"].is_null() && before["flows"] == 0, "{before}");
    // Somebody else with the pump's address, on another VLAN: the pump was not seen.
    switch.send(
        &packet()
            .vlan(20)
            .ip("10.10.110.22", SERVER)
            .tcp(1, 443, SYN)
            .build()
            .bytes,
    )?;
    switch.send(&to_server(40_001, 23, SYN))?;
    eventually("the refusal is told", || Ok(device("pump-1")?["refused_events"] == 1))?;
    let refused = device("pump-1")?;
    assert_eq!((&refused["seen_by"], &refused["flows"]), (&"event".into(), &0.into()));
    assert!(device("pump-2")?["last_seen"].is_null());

    switch.send(&to_server(40_001, 443, SYN))?;
    eventually("the flow is told", || Ok(device("pump-1")?["flows"] == 1))?;
    let active = device("pump-1")?;
    assert!(
        active["last_seen"].is_string() && active["sent"]["packets"] == 1,
        "{active}"
    );
    assert_eq!(active["received"]["packets"], 0);
    let (_, text, _) = gateway.command("devices")?;
    assert!(text.contains("LAST SEEN") && text.contains("pump-2"), "{text}");
    Ok(())
}
