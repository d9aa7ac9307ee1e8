//! `enforcer doctor` on a gateway with real ports. Needs root.

mod gateway;

use anyhow::{Context as _, Result};
use enforcer_tests::lab::Enforcer;
use enforcer_tests::lab::enforcer::configure;
use gateway::Gateway;
use serde_json::Value;

/// Severity, what was found, and the cure, of each finding on this subject.
fn found(gateway: &Gateway, subject: &str) -> Result<Vec<(String, String, String)>> {
    let (_, text, errors) = gateway.run(&["doctor", "--config", Enforcer::CONFIG, "--output", "json"])?;
    let told: Value = serde_json::from_str(&text).with_context(|| errors)?;
    let findings = told["findings"].as_array().context("findings")?.iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of_subject = findings.filter(|finding| finding["subject"] == subject);
    Ok(of_subject
        .map(|finding| {
            (
                text(&finding["severity"]),
                text(&finding["what"]),
                text(&finding["cure"]),
            )
        })
        .collect())
}

fn has(found: &[(String, String, String)], severity: &str, what: &str, cure: &str) -> bool {
    let mut found = found.iter();
    found.any(|(how, text, help)| how == severity && text.contains(what) && help.contains(cure))
}

#[test]
fn what_is_wrong_with_ports_and_pins_is_told_with_its_cure() -> Result<()> {
    let gateway = Gateway::new()?;
    let config = gateway.config(&["trunk0"]);
    configure(&gateway.namespace, &config)?;
    let clock = found(&gateway, "clock")?;
    assert!(has(&clock, "ok", "ticks a second", ""), "{clock:?}");
    let port = found(&gateway, "port trunk0")?;
    assert!(has(&port, "ok", "driver veth, for native mode", ""), "{port:?}");
    assert!(has(&port, "ok", "no program is on it", ""), "{port:?}");
    // A veth strips no tags, whatever its features say.
    assert!(has(&port, "ok", "no offload hides tags", ""), "{port:?}");
    assert!(!port.iter().any(|(_, what, _)| what.starts_with("MTU ")), "{port:?}");

    gateway.namespace.ip("link set trunk0 mtu 9000")?;
    let port = found(&gateway, "port trunk0")?;
    assert!(
        has(&port, "warning", "MTU 9000", "ip link set dev trunk0 mtu 1500"),
        "{port:?}"
    );

    let mut pair = gateway.config(&["trunk0", "trunk1"]);
    pair.own_settings.insert("trunk1".into(), "pair = 'trunk0'".into());
    configure(&gateway.namespace, &pair)?;
    let port = found(&gateway, "port trunk1")?;
    assert!(
        has(
            &port,
            "error",
            "trunk0 of the pair has 9000",
            "ip link set dev trunk1 mtu 9000"
        ),
        "{port:?}"
    );
    gateway.namespace.ip("link set trunk0 mtu 1500")?;

    gateway.tool(
        "mkdir",
        &["-p", "/sys/fs/bpf/enforcer/v2/links", "/sys/fs/bpf/enforcer/v4/maps"],
    )?;
    let pins = found(&gateway, "pins /sys/fs/bpf/enforcer/v2")?;
    assert!(
        has(&pins, "warning", "another version", "rm -r /sys/fs/bpf/enforcer/v2"),
        "{pins:?}"
    );
    assert!(found(&gateway, "pins /sys/fs/bpf/enforcer/v4")?.is_empty());

    let _enforcer = Enforcer::start(&gateway.namespace, &config)?;
    let port = found(&gateway, "port trunk0")?;
    assert!(has(&port, "ok", "enforced, in native mode", ""), "{port:?}");

    // Under another configuration: what enforces is not to be taken off as something foreign.
    let mut other = config;
    other.settings = "pin_directory = '/sys/fs/bpf/elsewhere'".into();
    configure(&gateway.namespace, &other)?;
    let port = found(&gateway, "port trunk0")?;
    assert!(
        has(&port, "error", "an enforcer's", "do not take the program off"),
        "{port:?}"
    );
    Ok(())
}
