//! `enforcer explain --live`: the program that runs is asked, and must agree with the engine in userspace. Needs root.

mod gateway;

use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result};
use aya::maps::{MapData, MapInfo};
use enforcer::kernel::sys;
use enforcer_tests::lab::Enforcer;
use gateway::Gateway;
use gateway::ward::ward;

/// Explains a pump's frame to the server: exit code, explanation, and what stands beside it.
fn explained(gateway: &Gateway, service: &str, more: &[&str]) -> Result<(i32, String, String)> {
    let words = [
        "explain",
        "--config",
        Enforcer::CONFIG,
        "--live",
        "--src",
        "pump-1",
        "--dst",
        "10.20.0.1",
        "--service",
        service,
    ];
    gateway.run(&[&words[..], more].concat())
}

/// A table of the program that runs on an interface.
fn running_table(gateway: &Gateway, interface: &str, name: &str) -> Result<MapData> {
    let program = gateway.program(interface)?.context("a program runs")?;
    let ids = sys::program_info(program)
        .context("the program")?
        .map_ids()?
        .context("its maps")?;
    let mut infos = ids.into_iter().flat_map(MapInfo::from_id);
    let info = infos
        .find(|info| info.name_as_str() == Some(name))
        .context("the table")?;
    Ok(MapData::from_id(info.id())?)
}

#[test]
fn the_running_program_agrees_and_notices_nothing_and_a_disagreement_is_loud() -> Result<()> {
    let (gateway, _switch) = ward()?;
    let enforcer = gateway.start(&["trunk0", "trunk1"])?;
    for (service, verdict) in [("tcp/443", "pass"), ("tcp/23", "drop: default-deny")] {
        let (code, text, told) = explained(&gateway, service, &[])?;
        assert_eq!(code, 0, "{text}{told}");
        assert!(text.starts_with(verdict), "{text}");
        assert!(told.contains("the running program agrees"), "{told}");
    }
    let (code, text, told) = explained(
        &gateway,
        "tcp/443",
        &["--port", "trunk1", "--mac", "02:00:00:00:00:09", "--vlan", "20"],
    )?;
    assert!(
        code == 0 && text.starts_with("drop: source-not-in-vlan"),
        "{code}: {text}{told}"
    );
    let (code, _, told) = explained(&gateway, "tcp/443", &["--port", "trunk7"])?;
    assert!(code == 1 && told.contains("trunk7"), "{code}: {told}");

    // Nothing was counted, and no flow was made.
    assert_eq!(
        enforcer.count(Enforcer::RULE_FRAMES, &[("rule", "pumps-to-servers")])?,
        0
    );
    assert_eq!(enforcer.count(Enforcer::RULE_FRAMES, &[("rule", "default-deny")])?, 0);
    let (_, flows, _) = gateway.run(&["flows", "--config", Enforcer::CONFIG, "--output", "json"])?;
    assert_eq!(flows.lines().count(), 1, "{flows}");

    // Somebody has written to the tables of the running program: they permit nothing more.
    let cells = running_table(&gateway, "trunk0", ".bss.CELLS")?;
    let octets = cells.info()?.value_size() as usize;
    let before = sys::read_entry(cells.fd().as_fd(), 0, octets)?;
    sys::update_entry(cells.fd().as_fd(), 0, &vec![0; octets])?;
    let (code, text, told) = explained(&gateway, "tcp/443", &[])?;
    assert!(code == 1 && text.starts_with("pass"), "{code}: {text}{told}");
    assert!(told.contains("DISAGREE") && told.contains("the engine pass"), "{told}");
    sys::update_entry(cells.fd().as_fd(), 0, &before)?;
    assert_eq!(explained(&gateway, "tcp/443", &[])?.0, 0);

    drop(enforcer);
    let (code, _, told) = explained(&gateway, "tcp/443", &[])?;
    assert!(code == 2 || told.contains("no enforcer runs here"), "{code}: {told}");
    Ok(())
}
