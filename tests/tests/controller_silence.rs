//! `must_flow` with `silence`: the real controller tells when promised traffic stops, and when it comes again. Needs root.

mod gateway;

use anyhow::Result;
use enforcer_tests::lab::{Enforcer, PacketSocket};
use gateway::ward::{ACK, SYN, to_pump, to_server, ward};
use gateway::{GOOD, eventually};
use serde_json::Value;

const PROMISE: &str = "devices:\n  pump-1: {zone: pumps, address: 10.10.110.21}\n\
                       must_flow:\n  alarms: {from: pumps, to: servers, services: tcp/443, silence: 1s}\n";

fn gauge(enforcer: &Enforcer<'_>, name: &str) -> Result<u64> {
    enforcer.count(name, &[("must_flow", "alarms")])
}

fn silent(enforcer: &Enforcer<'_>) -> Result<u64> {
    gauge(enforcer, "enforcer_must_flow_silent")
}

/// Of the promise and its devices, the states that events have told, in their order.
fn told(enforcer: &mut Enforcer<'_>) -> Vec<(Option<String>, String)> {
    let lines = enforcer.process().output().lines();
    let events = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let events = events.filter(|event| event["must_flow"] == "alarms");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    events
        .map(|event| (text(&event["device"]), text(&event["state"]).unwrap_or_default()))
        .collect()
}

/// The pump goes on talking until it is heard.
fn talk(switch: &PacketSocket, enforcer: &Enforcer<'_>) -> Result<()> {
    eventually("the pump is heard", || {
        switch.send(&to_server(40_001, 443, ACK))?;
        Ok(silent(enforcer)? == 0)
    })
}

#[test]
fn silence_is_told_and_so_is_its_end() -> Result<()> {
    let (gateway, switch) = ward()?;
    gateway.write_policy(&format!("{GOOD}{PROMISE}"))?;
    let mut enforcer = gateway.start(&["trunk0"])?;
    // Nobody has said anything since the start: the promise is silent, and of the device nobody knows.
    eventually("the promise is silent", || Ok(silent(&enforcer)? == 1))?;
    assert_eq!(gauge(&enforcer, "enforcer_must_flow_silent_devices")?, 0);
    let ask = |words: &[&str]| gateway.run(&[&["status", "--config", Enforcer::CONFIG], words].concat());
    let (code, text, _) = ask(&[])?;
    assert!(code == 0 && text.contains("must_flow alarms: SILENT"), "{text}");
    let told_by_status: Value = serde_json::from_str(&ask(&["--output", "json"])?.1)?;
    assert_eq!(
        told_by_status["must_flow"]["alarms"]["silent"], true,
        "{told_by_status:#}"
    );

    switch.send(&to_server(40_001, 443, SYN))?;
    switch.send(&to_pump(40_001, SYN | ACK))?;
    talk(&switch, &enforcer)?;
    // Its server goes on asking: that is not the pump.
    eventually("the pump is silent", || {
        switch.send(&to_pump(40_001, ACK))?;
        Ok(gauge(&enforcer, "enforcer_must_flow_silent_devices")? == 1)
    })?;
    eventually("the promise is silent", || Ok(silent(&enforcer)? == 1))?;
    talk(&switch, &enforcer)?;

    let states = told(&mut enforcer);
    let of = |device: Option<&str>| -> Vec<&str> {
        let own = states.iter().filter(|(name, _)| name.as_deref() == device);
        own.map(|(_, state)| state.as_str()).collect()
    };
    assert_eq!(of(None)[..4], ["silent", "flowing", "silent", "flowing"], "{states:?}");
    assert_eq!(of(Some("pump-1"))[..2], ["silent", "flowing"], "{states:?}");

    // A policy without the promise has nothing to tell.
    gateway.write_policy(GOOD)?;
    enforcer.reload()?;
    eventually("the metric is gone", || {
        Ok(!enforcer.get("/metrics")?.body.contains("enforcer_must_flow_silent{"))
    })?;
    Ok(())
}
