//! `enforcer run`, `reload`, `status` and `detach` against real interfaces. Needs root.

mod gateway;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use anyhow::{Context as _, Result};
use enforcer_tests::lab::enforcer::{binary, configure, repository};
use enforcer_tests::lab::{Enforcer, PacketSocket, Process, Signal};
use gateway::{GOOD, Gateway, LINKS, PATIENCE, eventually};
use serde_json::Value;
use tempfile::TempDir;

/// Pitfall 2: offloads that hide tags are off before anything is enforced, and on again afterwards.
#[test]
fn attach_reload_and_detach_leave_the_machine_as_it_was() -> Result<()> {
    let gateway = Gateway::new()?;
    assert!(
        gateway.feature("switch0", "tx-vlan-offload")?,
        "a veth hides tags by default"
    );
    let enforcer = gateway.start(&["trunk0", "trunk1"])?;
    let before = [gateway.program("trunk0")?, gateway.program("trunk1")?];
    assert!(
        before[0].is_some() && before[0] == before[1],
        "{before:?}: one program on both ports"
    );
    assert!(!gateway.feature("switch0", "tx-vlan-offload")?);
    assert_eq!(gateway.pinned(), ["trunk0", "trunk1"]);

    let (code, _, text) = gateway.command("reload")?;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("generation 2"), "{text}");
    let after = [gateway.program("trunk0")?, gateway.program("trunk1")?];
    assert!(
        after[0] != before[0] && after[0] == after[1],
        "{after:?}: replaced on both"
    );

    // While it runs, `detach` tells it to.
    let (code, _, text) = gateway.command("detach")?;
    assert_eq!(
        (code, text.contains("detached from trunk0, trunk1")),
        (0, true),
        "{text}"
    );
    let mut enforcer = enforcer;
    assert!(enforcer.process().wait(PATIENCE)?.success());
    gateway.assert_untouched()
}

#[test]
fn the_status_is_for_people_and_programs() -> Result<()> {
    let gateway = Gateway::new()?;
    configure(&gateway.namespace, &gateway.config(&["trunk0"]))?;
    let (code, _, text) = gateway.command("status")?;
    assert_eq!((code, text.contains("no enforcer runs here")), (2, true), "{text}");

    let _enforcer = gateway.start(&["trunk0"])?;
    let (code, text, _) = gateway.command("status")?;
    assert_eq!(
        (code, text.contains("port trunk0: attached, native")),
        (0, true),
        "{text}"
    );
    let (_, json, _) = gateway.run(&["status", "--config", Enforcer::CONFIG, "--output", "json"])?;
    let status: Value = serde_json::from_str(&json)?;
    assert_eq!(status["schema_version"], 1);
    assert_eq!(status["generation"]["number"], 1);
    assert_eq!(status["ready"], true);
    Ok(())
}

#[test]
fn a_bad_policy_leaves_the_running_one_in_force() -> Result<()> {
    let gateway = Gateway::new()?;
    let enforcer = gateway.start(&["trunk0"])?;
    let before = gateway.program("trunk0")?;
    gateway.write_policy(&GOOD.replace("servers, services", "nobody, services"))?;
    let (code, _, text) = gateway.command("reload")?;
    assert_eq!((code, text.contains("nobody")), (1, true), "{text}");
    assert_eq!(gateway.program("trunk0")?, before);
    let ready = enforcer.get("/readyz")?;
    assert_eq!(
        (ready.status, ready.body.contains("last reload failed")),
        (503, true),
        "{}",
        ready.body
    );
    let metrics = enforcer.metrics()?;
    assert!(metrics.sum("enforcer_last_reload_successful", &[]).abs() < 0.5);
    assert!((metrics.sum("enforcer_reloads_total", &[("result", "failure")]) - 1.0).abs() < 0.5);

    gateway.write_policy(GOOD)?;
    enforcer.reload()?;
    assert_eq!(enforcer.get("/readyz")?.status, 200);
    Ok(())
}

#[test]
fn a_killed_controller_leaves_enforcement_that_the_next_one_adopts_or_detach_removes() -> Result<()> {
    let gateway = Gateway::new()?;
    gateway.start(&["trunk0"])?.kill()?;
    let left = gateway.program("trunk0")?;
    assert!(left.is_some());
    let enforcer = gateway.start(&["trunk0"])?;
    let adopted = gateway.program("trunk0")?;
    assert!(
        adopted.is_some() && adopted != left,
        "the new policy replaced the one that was left"
    );
    assert!((enforcer.generation()? - 2.0).abs() < 0.1, "generations go on counting");
    enforcer.kill()?;
    let (code, _, text) = gateway.command("detach")?;
    assert_eq!(code, 0, "{text}");
    gateway.assert_untouched()?;
    assert!(gateway.command("detach")?.2.contains("nothing was attached"));
    Ok(())
}

#[test]
fn a_pin_that_somebody_removes_is_made_again_so_that_a_crash_does_not_end_enforcement() -> Result<()> {
    let gateway = Gateway::new()?;
    let enforcer = gateway.start(&["trunk0"])?;
    let running = gateway.program("trunk0")?;
    for _ in 0..2 {
        gateway.namespace.enter(|| fs::remove_dir_all(LINKS))?;
        assert!(gateway.pinned().is_empty());
        eventually("the link is pinned again", || Ok(gateway.pinned() == ["trunk0"]))?;
    }
    assert_eq!(gateway.program("trunk0")?, running, "nothing else changed");
    // A reload does not wait for that.
    gateway.namespace.enter(|| fs::remove_dir_all(LINKS))?;
    let (code, _, text) = gateway.command("reload")?;
    assert_eq!(code, 0, "{text}");
    assert_eq!(gateway.pinned(), ["trunk0"]);
    let running = gateway.program("trunk0")?;
    enforcer.kill()?;
    assert_eq!(gateway.program("trunk0")?, running);
    Ok(())
}

/// Else `status` would say that no enforcer runs, and `run` that one does.
#[test]
fn a_control_socket_that_somebody_removes_is_made_again() -> Result<()> {
    let gateway = Gateway::new()?;
    let _enforcer = gateway.start(&["trunk0"])?;
    for _ in 0..2 {
        gateway
            .namespace
            .enter(|| fs::remove_file("/run/enforcer/control.sock"))?;
        eventually("it answers again", || Ok(gateway.command("status")?.0 == 0))?;
    }
    let (code, _, text) = gateway.command("detach")?;
    assert_eq!(code, 0, "{text}");
    // Until the controller has ended, it says what is so.
    let (code, text, told) = gateway.command("status")?;
    assert!(code != 0 && !text.contains("attached,"), "{code}: {text}{told}");
    Ok(())
}

#[test]
fn the_end_by_signal_keeps_or_ends_enforcement_as_configured() -> Result<()> {
    let gateway = Gateway::new()?;
    let mut enforcer = gateway.start(&["trunk0"])?;
    enforcer.process().signal(Signal::Terminate)?;
    assert!(enforcer.process().wait(PATIENCE)?.success());
    assert!(gateway.program("trunk0")?.is_some());

    let mut config = gateway.config(&["trunk0"]);
    config.settings = "keep_enforcing_on_exit = false".into();
    let mut enforcer = Enforcer::start(&gateway.namespace, &config)?;
    enforcer.process().signal(Signal::Terminate)?;
    assert!(enforcer.process().wait(PATIENCE)?.success());
    gateway.assert_untouched()
}

#[test]
fn an_interface_that_is_made_anew_gets_the_program_again() -> Result<()> {
    let gateway = Gateway::new()?;
    let enforcer = gateway.start(&["trunk0", "trunk1"])?;
    gateway.namespace.ip("link del trunk0")?;
    eventually("readiness notices", || Ok(enforcer.get("/readyz")?.status == 503))?;
    gateway.namespace.ip("link add trunk0 type veth peer name switch0")?;
    eventually("ready again", || Ok(enforcer.get("/readyz")?.status == 200))?;
    assert!(gateway.program("trunk0")?.is_some());
    assert_eq!(gateway.program("trunk0")?, gateway.program("trunk1")?);
    assert!(!gateway.feature("switch0", "tx-vlan-offload")?);
    Ok(())
}

/// Pitfall 2: an offload hides the tags from XDP, where tcpdump still shows them.
#[test]
fn an_offload_that_is_switched_on_while_it_runs_is_switched_off_again() -> Result<()> {
    let gateway = Gateway::new()?;
    let _enforcer = gateway.start(&["trunk0"])?;
    gateway.tool("ethtool", &["-K", "switch0", "txvlan", "on"])?;
    eventually("tags are visible again", || {
        Ok(!gateway.feature("switch0", "tx-vlan-offload")?)
    })
}

#[test]
fn a_port_that_is_not_configured_any_more_is_detached_at_the_next_start() -> Result<()> {
    let gateway = Gateway::new()?;
    gateway.start(&["trunk0", "trunk1"])?.kill()?;
    let _enforcer = gateway.start(&["trunk1"])?;
    gateway.await_bare("trunk0")?;
    assert_eq!(gateway.pinned(), ["trunk1"]);
    Ok(())
}

#[test]
fn a_missing_bpffs_is_mounted() -> Result<()> {
    let gateway = Gateway::new()?;
    let mut config = gateway.config(&["trunk0"]);
    config.settings = "pin_directory = '/run/pins/enforcer'".into();
    let enforcer = Enforcer::start(&gateway.namespace, &config)?;
    let pinned = || {
        gateway
            .namespace
            .enter(|| Path::new("/run/pins/enforcer/v4/links/trunk0").exists())
    };
    assert!(pinned());
    drop(enforcer);
    assert!(
        pinned() && gateway.program("trunk0")?.is_some(),
        "enforcement outlives the controller"
    );
    assert_eq!(gateway.command("detach")?.0, 0);
    assert!(!pinned());
    gateway.assert_untouched()
}

#[test]
fn every_metric_is_documented_and_every_documented_metric_exists() -> Result<()> {
    let gateway = Gateway::new()?;
    // A promise that is watched, so that its metrics are there.
    let watched = "must_flow:\n  alarms: {from: pumps, to: servers, services: tcp/443, silence: 1s}\n";
    gateway.write_policy(&format!("{GOOD}{watched}"))?;
    let enforcer = gateway.start(&["trunk0"])?;
    eventually("the promise is watched", || {
        Ok(enforcer.get("/metrics")?.body.contains("enforcer_must_flow_silent{"))
    })?;
    // So that a drop is counted.
    let switch = gateway.namespace.enter(|| PacketSocket::open("switch0"))?;
    switch.send(&[0xff; 64])?;
    eventually("the drop is counted", || {
        Ok(enforcer.metrics()?.sum("enforcer_drops_total", &[]) > 0.5)
    })?;
    let page = enforcer.get("/metrics")?.body;
    let exported: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let text = fs::read_to_string(repository().join("docs/operations.md"))?;
    let table = text
        .split("## Metrics")
        .nth(1)
        .and_then(|rest| rest.split("`/healthz`").next())
        .context("the table")?;
    let documented: BTreeSet<&str> = table.split('`').filter(|word| word.starts_with("enforcer_")).collect();
    assert_eq!(exported, documented);
    Ok(())
}

#[test]
fn the_service_manager_is_told_of_start_reload_watchdog_and_end() -> Result<()> {
    let gateway = Gateway::new()?;
    configure(&gateway.namespace, &gateway.config(&["trunk0"]))?;
    let folder = TempDir::new()?;
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path)?;
    manager.set_read_timeout(Some(PATIENCE))?;
    let told = || -> Result<String> {
        let mut message = [0; 4096];
        let length = manager.recv(&mut message).context("nothing was told")?;
        Ok(String::from_utf8_lossy(&message[..length]).into_owned())
    };
    let until = |word: &str| -> Result<String> {
        loop {
            let message = told()?;
            if message.contains(word) {
                return Ok(message);
            }
        }
    };
    let mut command = gateway.namespace.command(binary()?);
    command.args(["run", "--config", Enforcer::CONFIG]);
    command.env("NOTIFY_SOCKET", &path);
    let mut process = Process::start(command)?;

    assert!(until("READY=1")?.contains("STATUS=enforcing generation 1 on trunk0"));
    until("WATCHDOG=1")?;
    process.signal(Signal::Hangup)?;
    assert!(until("RELOADING=1")?.contains("MONOTONIC_USEC="));
    assert!(until("READY=1")?.contains("generation 2"));
    process.signal(Signal::Terminate)?;
    until("STOPPING=1")?;
    assert!(process.wait(PATIENCE)?.success());
    Ok(())
}

#[test]
fn events_go_to_a_file_that_is_opened_anew_on_a_hangup() -> Result<()> {
    let gateway = Gateway::new()?;
    let folder = TempDir::new()?;
    let (file, rotated) = (folder.path().join("events"), folder.path().join("events.1"));
    let mut config = gateway.config(&["trunk0"]);
    config.settings = format!("events.output = 'file'\nevents.path = '{}'", file.display());
    let enforcer = Enforcer::start(&gateway.namespace, &config)?;
    let switch = gateway.namespace.enter(|| PacketSocket::open("switch0"))?;
    let event = |path: &Path| -> Result<Value> {
        switch.send(&[0xff; 64])?;
        eventually("a line", || {
            Ok(fs::read_to_string(path).is_ok_and(|text| text.ends_with('\n')))
        })?;
        let text = fs::read_to_string(path)?;
        Ok(serde_json::from_str(text.lines().next().context("a line")?)?)
    };
    let first = event(&file)?;
    assert_eq!(
        (&first["port"], &first["reason"]),
        (&"trunk0".into(), &"invalid-source".into())
    );
    assert_eq!(first["generation"], 1);
    fs::rename(&file, &rotated)?;
    enforcer.reload()?;
    let second = event(&file)?;
    assert_eq!(second["generation"], 2);
    assert_eq!(second["source"]["mac"], "ff:ff:ff:ff:ff:ff");
    Ok(())
}

#[test]
fn a_port_may_have_a_dot_in_its_name() -> Result<()> {
    let gateway = Gateway::new()?;
    gateway.namespace.ip("link set trunk0 name trunk0.7")?;
    let enforcer = gateway.start(&["trunk0.7", "trunk1"])?;
    enforcer.reload()?;
    enforcer.kill()?;
    let _enforcer = gateway.start(&["trunk0.7"])?;
    assert!(gateway.program("trunk0.7")?.is_some());
    gateway.await_bare("trunk1")?;
    let (_, _, text) = gateway.command("detach")?;
    assert!(text.contains("detached from trunk0.7"), "{text}");
    gateway.await_bare("trunk0.7")?;
    Ok(())
}
