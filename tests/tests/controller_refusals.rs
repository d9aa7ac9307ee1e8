//! What the controller refuses: it says what is wrong and what to do, and leaves nothing half-attached. Needs root.

mod gateway;

use anyhow::Result;
use enforcer_tests::lab::Enforcer;
use enforcer_tests::lab::enforcer::{binary, configure};
use gateway::{GOOD, Gateway, occupy};

#[test]
fn a_missing_interface_is_named() -> Result<()> {
    let gateway = Gateway::new()?;
    let (code, text) = gateway.refused(&gateway.config(&["trunk0", "trunk7"]))?;
    assert_eq!(
        (code, text.contains("there is no interface trunk7")),
        (2, true),
        "{text}"
    );
    gateway.assert_untouched()
}

/// Pitfall 8: an occupied hook meant no filtering, in silence.
#[test]
fn an_occupied_hook_is_refused_and_no_port_is_half_attached() -> Result<()> {
    let gateway = Gateway::new()?;
    let foreign = occupy(&gateway, "trunk1")?;
    let (code, text) = gateway.refused(&gateway.config(&["trunk0", "trunk1"]))?;
    assert_eq!(code, 2, "{text}");
    assert!(
        text.contains(&format!("trunk1 already runs XDP program {foreign}")),
        "{text}"
    );
    assert_eq!(gateway.program("trunk0")?, None, "rolled back");
    assert_eq!(gateway.program("trunk1")?, Some(foreign), "not ours to remove");
    assert_eq!(gateway.pinned(), [""; 0]);
    assert!(gateway.feature("switch0", "tx-vlan-offload")?);
    Ok(())
}

#[test]
fn a_failed_start_puts_back_what_an_earlier_controller_left() -> Result<()> {
    let gateway = Gateway::new()?;
    gateway.start(&["trunk0"])?.kill()?;
    let left = gateway.program("trunk0")?;
    occupy(&gateway, "trunk1")?;
    let (code, text) = gateway.refused(&gateway.config(&["trunk0", "trunk1"]))?;
    assert_eq!((code, text.contains("trunk1 already runs")), (2, true), "{text}");
    assert_eq!(gateway.program("trunk0")?, left, "the earlier program runs again");
    assert!(
        !gateway.feature("switch0", "tx-vlan-offload")?,
        "and still needs its tags"
    );
    Ok(())
}

#[test]
fn a_port_in_use_is_found_before_anything_is_attached() -> Result<()> {
    let gateway = Gateway::new()?;
    let _taken = gateway
        .namespace
        .enter(|| std::net::TcpListener::bind("127.0.0.1:9469"))?;
    let (code, text) = gateway.refused(&gateway.config(&["trunk0"]))?;
    assert_eq!(
        (code, text.contains("cannot serve metrics at 127.0.0.1:9469")),
        (2, true),
        "{text}"
    );
    gateway.assert_untouched()
}

#[test]
fn bad_configurations_are_refused_with_their_place() -> Result<()> {
    let gateway = Gateway::new()?;
    let mut config = gateway.config(&["trunk0"]);
    config.settings = "keep_enforcing = true".into();
    let (code, text) = gateway.refused(&config)?;
    assert_eq!((code, text.contains("enforcer.toml:")), (1, true), "{text}");

    gateway.assert_untouched()
}

/// Pitfalls 9 and 19: a full table is found before anything is attached, and named with the setting to raise.
#[test]
fn a_table_that_is_too_small_is_named_with_the_setting_to_raise() -> Result<()> {
    let gateway = Gateway::new()?;
    let rule = |number| format!("  r{number}: {{from: pumps, to: servers, services: tcp/{number}, action: allow}}\n");
    let rules: String = (1000..1020).map(rule).collect();
    gateway.write_policy(&format!("{GOOD}{rules}"))?;
    let mut config = gateway.config(&["trunk0"]);
    config.settings = "tables.rule_slots = 8".into();
    let (code, text) = gateway.refused(&config)?;
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("raise `rule_slots` under [tables]"), "{text}");
    assert!(!text.contains("Argument list too long"), "{text}");
    gateway.assert_untouched()
}

#[test]
fn without_capabilities_it_says_which() -> Result<()> {
    let gateway = Gateway::new()?;
    configure(&gateway.namespace, &gateway.config(&["trunk0"]))?;
    let binary = binary()?;
    let output = gateway
        .namespace
        .command("setpriv")
        .args(["--bounding-set=-all", "--inh-caps=-all"])
        .arg(binary)
        .args(["run", "--config", Enforcer::CONFIG])
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("CAP_BPF") && text.contains("not permitted"), "{text}");
    gateway.assert_untouched()
}

#[test]
fn a_second_controller_is_refused() -> Result<()> {
    let gateway = Gateway::new()?;
    let enforcer = gateway.start(&["trunk0"])?;
    let (code, _, text) = gateway.command("run")?;
    assert_eq!(
        (code, text.contains("another enforcer is at work")),
        (2, true),
        "{text}"
    );
    assert_eq!(enforcer.get("/readyz")?.status, 200);
    Ok(())
}

#[test]
fn another_mode_for_a_port_that_runs_is_refused_and_generic_works_from_the_start() -> Result<()> {
    let gateway = Gateway::new()?;
    gateway.start(&["trunk0"])?.kill()?;
    let mut config = gateway.config(&["trunk0"]);
    config.port_settings = "mode = 'generic'".into();
    let (code, text) = gateway.refused(&config)?;
    assert_eq!(
        (code, text.contains("native mode and is configured for generic mode")),
        (2, true),
        "{text}"
    );
    assert_eq!(gateway.command("detach")?.0, 0);
    let enforcer = Enforcer::start(&gateway.namespace, &config)?;
    let mode = enforcer
        .metrics()?
        .sum("enforcer_xdp_mode", &[("port", "trunk0"), ("mode", "generic")]);
    assert!((mode - 1.0).abs() < 0.1);
    Ok(())
}
