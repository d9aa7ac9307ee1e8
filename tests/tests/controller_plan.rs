//! `enforcer plan` against a controller that runs: which of its open flows another policy would cut. Needs root.

mod gateway;

use anyhow::{Context as _, Result};
use aya::maps::{HashMap, Map, MapData};
use enforcer_common::abi::FlowKey;
use enforcer_tests::lab::Enforcer;
use enforcer_tests::lab::enforcer::configure;
use gateway::ward::{ACK, SYN, to_pump, to_server, ward};
use gateway::{GOOD, Gateway, eventually};
use serde_json::Value;

/// Plans the policy that the configuration names: the exit code, the plan, and what stands beside it.
fn planned(gateway: &Gateway) -> Result<(i32, Value, String)> {
    let arguments = [
        "plan",
        "--config",
        Enforcer::CONFIG,
        "--detailed-exitcode",
        "--output",
        "json",
    ];
    let (code, text, told) = gateway.run(&arguments)?;
    Ok((code, serde_json::from_str(&text).with_context(|| told.clone())?, told))
}

/// Policies of the ward with another rule, or another mode of its zones.
fn other(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from));
    format!(
        "{}devices:\n  pump-1: {{zone: pumps, address: 10.10.110.21}}\n  pump-2: {{zone: pumps, address: 10.10.110.22}}\n",
        GOOD.replace(from, to)
    )
}

#[test]
fn open_flows_that_the_files_would_cut_or_limit_are_told() -> Result<()> {
    let (gateway, switch) = ward()?;
    // Before the first start, where it said that there is nothing to compare with.
    configure(&gateway.namespace, &gateway.config(&["trunk0"]))?;
    let (code, plan, told) = planned(&gateway)?;
    assert_eq!((code, &plan["zones"]["added"][0]), (2, &"pumps".into()), "{plan:#}");
    assert!(told.contains("compared with an empty one"), "{told}");

    let enforcer = gateway.start(&["trunk0"])?;
    switch.send(&to_server(40_001, 443, SYN))?;
    switch.send(&to_pump(40_001, SYN | ACK))?;
    switch.send(&to_server(40_001, 443, ACK))?;
    eventually("three frames are permitted", || {
        Ok(enforcer.count(Enforcer::RULE_FRAMES, &[("rule", "pumps-to-servers")])? == 3)
    })?;
    let (code, plan, told) = planned(&gateway)?;
    assert_eq!(code, 0, "{told}");
    assert_eq!(
        (&plan["flows"]["kept"], &plan["flows"]["cut"]),
        (&1.into(), &Value::from(Vec::<Value>::new()))
    );

    gateway.write_policy(&other("tcp/443", "tcp/8443"))?;
    let (code, plan, _) = planned(&gateway)?;
    let [group] = plan["flows"]["cut"].as_array().context("a list")?.as_slice() else {
        anyhow::bail!("{plan:#}")
    };
    assert_eq!(
        (code, &group["flows"], &group["established"]),
        (2, &1.into(), &1.into())
    );
    assert_eq!(
        (&group["from"], &group["to"], &group["rule"]),
        (&"pumps".into(), &"servers".into(), &"pumps-to-servers".into())
    );
    assert_eq!(
        (&group["packets"], &group["services"][0]),
        (&3.into(), &"tcp/443".into())
    );
    assert_eq!(group["example"]["initiator"]["device"], "pump-1");
    assert_eq!(
        (&group["after"]["verdict"], &group["after"]["reason"]),
        (&"drop".into(), &"default-deny".into())
    );
    assert!(
        group["last_seen"].as_str().is_some_and(|at| at.starts_with("20")),
        "{group}"
    );
    let (_, text, _) = gateway.command("plan")?;
    assert!(text.contains("- cut: 1 flow of pumps to servers, tcp/443"), "{text}");
    assert!(text.contains("of 1 flows: 1 cut"), "{text}");

    gateway.write_policy(&other("action: allow", "action: allow, limit: {rate: 200pps}"))?;
    let (_, plan, _) = planned(&gateway)?;
    assert_eq!(plan["flows"]["limited"][0]["flows"], 1, "{plan:#}");
    assert_eq!(plan["flows"]["cut"], Value::from(Vec::<Value>::new()));

    // The plan did not lie: what it called cut is refused once that policy is in force.
    gateway.write_policy(&other("tcp/443", "tcp/8443"))?;
    enforcer.reload()?;
    switch.send(&to_server(40_001, 443, ACK))?;
    eventually("the next frame of the flow is refused", || {
        Ok(enforcer.count(Enforcer::RULE_FRAMES, &[("rule", "default-deny")])? == 1)
    })?;
    Ok(())
}

#[test]
fn where_ports_monitor_nothing_is_cut_and_without_an_enforcer_nothing_is_asked() -> Result<()> {
    let (gateway, switch) = ward()?;
    let mut config = gateway.config(&["trunk0"]);
    config.port_settings = "monitor = true".into();
    let enforcer = Enforcer::start(&gateway.namespace, &config)?;
    switch.send(&to_server(40_001, 443, SYN))?;
    eventually("a frame is permitted", || {
        Ok(enforcer.count(Enforcer::RULE_FRAMES, &[("rule", "pumps-to-servers")])? == 1)
    })?;
    gateway.write_policy(&other("tcp/443", "tcp/8443"))?;
    let (code, plan, _) = planned(&gateway)?;
    assert_eq!(code, 2);
    assert_eq!(
        (&plan["flows"]["kept"], &plan["flows"]["cut"]),
        (&1.into(), &Value::from(Vec::<Value>::new()))
    );
    assert_eq!(plan["flows"]["monitoring_ports"][0], "trunk0");
    enforcer.kill()?;
    let (code, plan, told) = planned(&gateway)?;
    assert_eq!((code, &plan["flows"]), (2, &Value::Null), "{told}");
    assert!(told.contains("no enforcer runs here"), "{told}");
    Ok(())
}

#[test]
fn a_hundred_thousand_flows_are_all_judged() -> Result<()> {
    const MANY: u64 = 200_000;
    let (gateway, switch) = ward()?;
    let mut config = gateway.config(&["trunk0"]);
    config.settings = "tables.flows = 300000".into();
    let _enforcer = Enforcer::start(&gateway.namespace, &config)?;
    switch.send(&to_server(40_001, 443, SYN))?;
    switch.send(&to_pump(40_001, SYN | ACK))?;
    switch.send(&to_server(40_001, 443, ACK))?;
    let open = || MapData::from_pin("/sys/fs/bpf/enforcer/v4/maps/FLOWS");
    let mut table: HashMap<_, FlowKey, [u64; 8]> = Map::LruHashMap(gateway.namespace.enter(open)?).try_into()?;
    eventually("a flow is established", || Ok(table.keys().count() == 1))?;
    let real = table.keys().next().context("a flow")??;
    let value = table.get(&real, 0)?;
    for number in 1..MANY {
        let key = FlowKey {
            low: [0, 0, 0, 0x0a0a_6e00 + (number % 250) as u32],
            low_port: (number / 250 + 1) as u16,
            ..real
        };
        table.insert(key, value, 0)?;
    }
    gateway.write_policy(&other("tcp/443", "tcp/8443"))?;
    let (_, plan, _) = planned(&gateway)?;
    let kept = plan["flows"]["kept"].as_u64().context("a number")?;
    assert!(kept > MANY * 9 / 10, "{kept}: a table that is nearly full forgets some");
    assert_eq!(plan["flows"]["cut"][0]["flows"], kept);
    Ok(())
}
