//! A device that gets its address from a real dnsmasq through an inline enforcer, and is known by it. Wants to be root.

use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use enforcer_tests::lab::dnsmasq::{Dnsmasq, ask_for_address};
use enforcer_tests::lab::site::{Plan, Site};
use enforcer_tests::lab::{Enforcer, PATIENCE, enforcer, eventually};
use enforcer_tests::packet::{Mac, packet};
use serde_json::Value;

const LEASED: &str = "10.10.110.30";

/// A pair in the cable of a VLAN: the pump and an impostor on one side, the server on the other.
fn site() -> Result<Site> {
    let plan = Plan::new().bridged();
    let plan = plan.segment("east", 110, "10.10.110", "fd00:10:110:");
    let plan = plan.host("pump", 30).without_address();
    let plan = plan.host("impostor", 66).without_address();
    let plan = plan.segment("west", 110, "10.10.110", "fd00:10:110:");
    plan.host("server", 1).build()
}

/// Only the pump may ping the server; `more` are further devices.
fn policy(pump: &str, more: &str) -> String {
    format!(
        "zones:
  pumps: {{vlan: 110, subnets: [10.10.110.0/24, 'fd00:10:110::/64'], mode: enforce}}
devices:
  server: {{zone: pumps, mac: '02:00:00:00:6e:01', address: 10.10.110.1, roles: [dhcp-server]}}
  {pump}: {{zone: pumps, mac: '02:00:00:00:6e:1e', dhcp: true}}
{more}
rules:
  leases: {{from: pumps, to: pumps, services: udp/67-68, action: allow}}
  the-pump: {{from: {pump}, to: server, services: icmp/echo, action: allow}}
"
    )
}

fn server(site: &Site) -> Result<Dnsmasq> {
    let only = format!("--dhcp-host=02:00:00:00:6e:1e,{LEASED}");
    Dnsmasq::dhcp(site.inside("server"), "10.10.110.30,10.10.110.50,1h", &[&only])
}

/// Whether the server answers, after one try and one answer.
fn ping(site: &Site, name: &str) -> Result<bool> {
    let mut command = site.inside(name).command("ping");
    let output = command.args(["-c", "1", "-W", "1", "10.10.110.1"]).output()?;
    Ok(output.status.success())
}

fn held(enforcer: &Enforcer<'_>) -> Result<u64> {
    enforcer.count("enforcer_bindings", &[])
}

/// What `enforcer devices` says of a device.
fn device(site: &Site, name: &str) -> Result<Value> {
    let arguments = ["devices", "--output", "json", "--config", Enforcer::CONFIG];
    let Output { status, stdout, stderr } = enforcer::run(site.gateway(), &arguments)?;
    ensure!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    let answer: Value = serde_json::from_slice(&stdout)?;
    ensure!(answer["schema_version"] == 1, "{answer}");
    let devices = answer["devices"].as_array().context("devices")?;
    let found = devices.iter().find(|device| device["name"] == name);
    found.cloned().with_context(|| format!("no {name} in {answer}"))
}

/// Sends a DHCPACK as the server, with its own addresses, whatever dnsmasq says.
fn acknowledge(site: &Site, client: Mac, address: [u8; 4], seconds: u32) -> Result<()> {
    let mut payload = vec![0; 240];
    payload[..3].copy_from_slice(&[2, 1, 6]);
    payload[16..20].copy_from_slice(&address);
    payload[28..34].copy_from_slice(&client);
    payload[236..].copy_from_slice(&[99, 130, 83, 99]);
    payload.extend([53, 1, 5, 51, 4]);
    payload.extend(seconds.to_be_bytes());
    payload.push(255);
    let frame = packet().macs(site.host("server").mac, client).ip("10.10.110.1", LEASED);
    Ok(site
        .socket("server")?
        .send(&frame.udp(67, 68).payload(&payload).build())?)
}

#[test]
fn a_device_is_known_by_the_address_that_a_server_gave_it() -> Result<()> {
    let site = site()?;
    let _server = server(&site)?;
    let enforcer = site.inline(&policy("pump", ""), "")?;
    assert_eq!(device(&site, "pump")?["learnt"], Value::Null);
    // The address alone is a stranger's.
    site.inside("pump").ip(&format!("addr add {LEASED}/24 dev eth0"))?;
    assert!(!ping(&site, "pump")?);
    assert!(enforcer.drops("default-deny")? > 0);
    site.inside("pump").ip("addr flush dev eth0 scope global")?;

    let lease = ask_for_address(site.inside("pump"))?.context("a lease")?;
    assert_eq!(lease.address, LEASED);
    eventually("the lease is learnt", || Ok(held(&enforcer)? == 1))?;
    assert!(ping(&site, "pump")?, "the rule that names the pump");
    let pump = device(&site, "pump")?;
    assert_eq!(pump["learnt"]["address"], LEASED);
    assert!(
        pump["learnt"]["until"]
            .as_str()
            .is_some_and(|until| until.ends_with('Z')),
        "{pump}"
    );
    assert_eq!(
        (&pump["zone"], &pump["mac"]),
        (&"pumps".into(), &"02:00:00:00:6e:1e".into())
    );

    site.inside("impostor").ip(&format!("addr add {LEASED}/24 dev eth0"))?;
    site.inside("impostor")
        .ip("neigh add 10.10.110.1 lladdr 02:00:00:00:6e:01 dev eth0")?;
    assert!(!ping(&site, "impostor")?);
    assert!(enforcer.drops("source-mac-mismatch")? > 0);
    assert!(ping(&site, "pump")?);
    Ok(())
}

#[test]
fn a_lease_survives_reloads_the_controller_and_a_reboot() -> Result<()> {
    let site = site()?;
    let _server = server(&site)?;
    let enforcer = site.inline(&policy("pump", ""), "")?;
    ask_for_address(site.inside("pump"))?.context("a lease")?;
    eventually("the lease is learnt", || Ok(held(&enforcer)? == 1))?;
    let until = device(&site, "pump")?["learnt"]["until"].clone();

    // A device before it in the alphabet, so that every number of the policy changes.
    let more = "  a-pump: {zone: pumps, mac: '02:00:00:00:6e:1f', dhcp: true}";
    site.set_policy(&policy("pump", more))?;
    enforcer.reload()?;
    assert_eq!(held(&enforcer)?, 1);
    assert!(ping(&site, "pump")?, "after a reload");

    enforcer.kill()?;
    assert!(ping(&site, "pump")?, "without a controller");
    let mut adopted = Enforcer::spawn(site.gateway())?;
    adopted.wait_until_ready()?;
    assert_eq!(held(&adopted)?, 1);
    assert!(ping(&site, "pump")?, "with the next controller");
    adopted.process().signal(enforcer_tests::lab::Signal::Terminate)?;
    adopted.process().wait(PATIENCE)?;

    // As after a reboot: nothing is left in the kernel, and the file is.
    let detached = enforcer::run(site.gateway(), &["detach", "--config", Enforcer::CONFIG])?;
    ensure!(detached.status.success(), "{detached:?}");
    let rebooted = site.inline(&policy("pump", more), "")?;
    assert_eq!(held(&rebooted)?, 1);
    assert!(ping(&site, "pump")?, "after a reboot");
    let later = device(&site, "pump")?["learnt"]["until"].clone();
    let seconds = |until: &Value| until.as_str().map(|until| until[..16].to_owned());
    assert_eq!(seconds(&later), seconds(&until), "to the minute");

    // The device is gone from the policy, and its lease with it; it does not come back by itself.
    site.set_policy(&policy("another", ""))?;
    rebooted.reload()?;
    assert_eq!(held(&rebooted)?, 0);
    site.set_policy(&policy("pump", ""))?;
    rebooted.reload()?;
    assert!(!ping(&site, "pump")?);
    Ok(())
}

#[test]
fn a_damaged_file_is_said_and_not_used() -> Result<()> {
    let site = site()?;
    let write = || {
        std::fs::create_dir_all("/run/enforcer-state")?;
        std::fs::write("/run/enforcer-state/bindings.json", "{\"schema_version\":1,")
    };
    site.gateway().enter(write)?;
    let mut enforcer = site.inline(&policy("pump", ""), "")?;
    assert_eq!(held(&enforcer)?, 0);
    let log = enforcer.process().errors().text();
    assert!(log.contains("bindings.json is not used: it is damaged"), "{log}");
    Ok(())
}

#[test]
fn a_lease_ends_with_its_time_and_what_is_ignored_is_counted() -> Result<()> {
    let site = site()?;
    let enforcer = site.inline(&policy("pump", ""), "")?;
    let pump = site.host("pump").mac;
    site.inside("pump").ip(&format!("addr add {LEASED}/24 dev eth0"))?;
    acknowledge(&site, pump, [10, 10, 110, 30], 3)?;
    eventually("the lease is learnt", || Ok(held(&enforcer)? == 1))?;
    eventually("the lease is over", || Ok(held(&enforcer)? == 0))?;
    assert!(!ping(&site, "pump")?);

    for (client, address, seconds) in [
        (pump, [10, 10, 111, 30], 60),
        (pump, [10, 10, 110, 1], 60),
        (pump, [0; 4], 60),
        (pump, [10, 10, 110, 30], 0),
        ([2; 6], [10, 10, 110, 31], 60),
    ] {
        acknowledge(&site, client, address, seconds)?;
    }
    for reason in [
        "outside-zone",
        "declared-address",
        "no-address",
        "no-lease-time",
        "unknown-device",
    ] {
        let ignored = || enforcer.count("enforcer_dhcp_messages_ignored_total", &[("reason", reason)]);
        eventually(reason, || Ok(ignored()? == 1))?;
    }
    assert_eq!(held(&enforcer)?, 0);
    Ok(())
}
