//! `enforcer monitor`, `flows` and `devices` with the real controller on the kernel. Needs root.

mod gateway;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aya::maps::{HashMap, Map, MapData};
use enforcer::control::{self, Lines, Verb};
use enforcer::events::watch::Filter;
use enforcer::flows::{self, Query};
use enforcer_common::abi::{FlowKey, FlowState};
use enforcer_tests::lab::enforcer::binary;
use enforcer_tests::lab::{Enforcer, PacketSocket, Process};
use enforcer_tests::packet::{packet, tcp_flags};
use gateway::{GOOD, Gateway, PATIENCE, eventually};
use serde_json::Value;

const RUNTIME: &str = "/run/enforcer";
const PUMP: &str = "10.10.110.21";
const SERVER: &str = "10.20.0.1";
const ACK: u8 = tcp_flags::ACK;
const SYN: u8 = tcp_flags::SYN;

/// A gateway with a policy that names a device, and its switch.
fn ward() -> Result<(Gateway, PacketSocket)> {
    let gateway = Gateway::new()?;
    gateway.write_policy(&format!(
        "{GOOD}devices:\n  pump-1: {{zone: pumps, address: {PUMP}}}\n  pump-2: {{zone: pumps, address: 10.10.110.22}}\n"
    ))?;
    let switch = gateway.namespace.enter(|| PacketSocket::open("switch0"))?;
    Ok((gateway, switch))
}

/// A segment of the pump, from this port to this one of the server.
fn to_server(from: u16, to: u16, flags: u8) -> Vec<u8> {
    packet().vlan(110).ip(PUMP, SERVER).tcp(from, to, flags).build().bytes
}

/// A segment of the server's HTTPS.
fn to_pump(to: u16, flags: u8) -> Vec<u8> {
    packet().vlan(20).ip(SERVER, PUMP).tcp(443, to, flags).build().bytes
}

fn monitor(gateway: &Gateway, arguments: &[&str]) -> Result<Process> {
    let mut command = gateway.namespace.command(binary()?);
    command.args(["monitor", "--config", Enforcer::CONFIG]).args(arguments);
    Process::start(command)
}

/// Sends until the command has ended, and returns what it printed.
fn until_ended(mut process: Process, mut send: impl FnMut() -> Result<()>) -> Result<Vec<String>> {
    eventually("the command has enough", || {
        send()?;
        Ok(!process.is_running())
    })?;
    let status = process.wait(PATIENCE)?;
    ensure!(status.success(), "{status}: {}", process.errors().text());
    Ok(process.output().lines())
}

#[test]
fn monitor_shows_the_events_that_are_asked_for_and_ends_after_enough() -> Result<()> {
    let (gateway, switch) = ward()?;
    let _enforcer = gateway.start(&["trunk0"])?;
    let process = monitor(
        &gateway,
        &[
            "--device",
            "pump-1",
            "--vlan",
            "110",
            "--reason",
            "default-deny",
            "--output",
            "json",
            "--count",
            "3",
        ],
    )?;
    let lines = until_ended(process, || {
        switch.send(&[0xff; 64])?;
        switch.send(
            &packet()
                .vlan(110)
                .ip("10.10.110.22", SERVER)
                .tcp(1, 23, SYN)
                .build()
                .bytes,
        )?;
        Ok(switch.send(&to_server(40_000, 23, SYN))?)
    })?;
    let events: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line))
        .collect::<Result<_, _>>()?;
    let events: Vec<_> = events.iter().filter(|event| event["lost"].is_null()).collect();
    assert_eq!(events.len(), 3);
    for event in events {
        assert_eq!(
            (&event["schema_version"], &event["reason"]),
            (&1.into(), &"default-deny".into())
        );
        assert_eq!(event["source"]["device"], "pump-1");
    }

    let process = monitor(&gateway, &["--zone", "servers", "--verdict", "drop", "--count", "1"])?;
    let lines = until_ended(process, || Ok(switch.send(&to_server(40_000, 23, SYN))?))?;
    let line = lines.iter().find(|line| !line.contains("LOST")).context("an event")?;
    let expected = "drop       default-deny  pumps pump-1 10.10.110.21:40000 > servers 10.20.0.1:23  tcp/23 S  VLAN 110 trunk0  rule default-deny";
    assert!(line.ends_with(expected), "{line}");

    let (code, _, text) = gateway.run(&["monitor", "--config", Enforcer::CONFIG, "--zone", "pmups"])?;
    assert_eq!((code, text.contains("did you mean `pumps`?")), (1, true), "{text}");
    let (code, _, text) = gateway.run(&["monitor", "--config", Enforcer::CONFIG, "--verdict", "lost"])?;
    assert_eq!((code, text.contains("would-drop")), (2, true), "{text}");
    Ok(())
}

#[test]
fn monitor_says_when_there_is_nothing_to_watch() -> Result<()> {
    let (gateway, _) = ward()?;
    let mut config = gateway.config(&["trunk0"]);
    config.settings = "events.output = 'none'".into();
    let enforcer = Enforcer::start(&gateway.namespace, &config)?;
    let (code, _, text) = gateway.command("monitor")?;
    assert_eq!((code, text.contains("[events]")), (1, true), "{text}");
    enforcer.kill()?;
    let (code, _, text) = gateway.command("monitor")?;
    assert_eq!((code, text.contains("no enforcer runs here")), (2, true), "{text}");
    Ok(())
}

/// What stands in a stream until it is quiet: events, and those that are told to be lost in the client's queue.
fn count(mut lines: Lines, all: u64) -> Result<(u64, u64)> {
    let (mut events, mut lost) = (0, 0);
    while events + lost < all {
        let line = lines.next_line()?.context("the stream has ended")?;
        let line: Value = serde_json::from_str(&line)?;
        match line["lost"]["queue"].as_u64() {
            Some(more) => lost += more,
            None => events += 1,
        }
    }
    Ok((events, lost))
}

#[test]
fn a_client_that_does_not_read_stalls_nobody_and_is_told_what_it_lost() -> Result<()> {
    // More than the queue and the socket take.
    const EVENTS: u64 = 8000;
    let (gateway, switch) = ward()?;
    let mut config = gateway.config(&["trunk0"]);
    config.settings = "events.rate = 100000".into();
    let enforcer = Enforcer::start(&gateway.namespace, &config)?;
    let watch = || control::stream(Path::new(RUNTIME), Verb::Monitor(Filter::default()));
    let slow = gateway.namespace.enter(watch)?;
    // Each reason and pair of zones may send some events a tick.
    let frames = [
        vec![0xff; 64],
        to_server(40_000, 23, SYN),
        packet().vlan(20).ip(PUMP, SERVER).tcp(1, 443, SYN).build().bytes,
        packet().vlan(110).ip(PUMP, PUMP).tcp(1, 23, SYN).build().bytes,
    ];
    eventually("enough events", || {
        for _ in 0..500 {
            frames.iter().try_for_each(|frame| switch.send(frame))?;
            std::thread::sleep(Duration::from_micros(500));
        }
        Ok(enforcer.count("enforcer_events_sent_total", &[])? >= EVENTS)
    })?;
    eventually("all events are written", || {
        let sent = enforcer.count("enforcer_events_sent_total", &[])?;
        let written = enforcer.count("enforcer_events_written_total", &[])?;
        Ok(written + enforcer.count("enforcer_events_output_lost_total", &[])? == sent)
    })?;
    // All others are served meanwhile.
    assert_eq!(gateway.command("status")?.0, 0);
    let sent = enforcer.count("enforcer_events_sent_total", &[])?;
    let (events, lost) = count(slow, sent)?;
    assert_eq!(events + lost, sent);
    assert!(lost > 0 && events > 1000, "{events} shown, {lost} lost of {sent}");
    Ok(())
}

#[test]
fn there_are_few_watchers_at_a_time_and_their_places_come_free() -> Result<()> {
    let (gateway, _) = ward()?;
    let _enforcer = gateway.start(&["trunk0"])?;
    let watch = || {
        gateway
            .namespace
            .enter(|| control::stream(Path::new(RUNTIME), Verb::Monitor(Filter::default())))
    };
    let all = (0..8).map(|_| watch()).collect::<Result<Vec<_>, _>>()?;
    let error = watch().err().context("one too many")?.to_string();
    assert!(error.contains("8 clients are watching already"), "{error}");
    assert_eq!(gateway.command("status")?.0, 0);
    drop(all);
    eventually("a place is free again", || Ok(watch().is_ok()))
}

fn json_lines(gateway: &Gateway, arguments: &[&str]) -> Result<Vec<Value>> {
    let mut all = vec!["flows", "--config", Enforcer::CONFIG, "--output", "json"];
    all.extend(arguments);
    let (code, text, errors) = gateway.run(&all)?;
    ensure!(code == 0, "{code}: {errors}");
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
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
    let open = || MapData::from_pin("/sys/fs/bpf/enforcer/v3/maps/FLOWS");
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
