//! The demo's expectations against the reference policies, by the engine in userspace: no root, no kernel.

use enforcer::engine::Engine;
use enforcer::kernel::{PortSetup, ports};
use enforcer_common::abi::{NO_RULE, control};
use enforcer_common::verdict::{DropReason, Verdict};
use enforcer_tests::demo::step::{Action, Expect, Step};
use enforcer_tests::demo::{hospital, scenario};
use enforcer_tests::lab::Device;
use enforcer_tests::lab::router::GATEWAY_MAC;
use enforcer_tests::lab::switch::with_tag;
use enforcer_tests::packet::{packet, tcp_flags};
use enforcer_tests::reference;

const TRUNK: u32 = 1;

/// The frames that a step begins with, as they come in by the trunk.
fn opening(step: &Step) -> Vec<Vec<u8>> {
    let plan = hospital::plan();
    let find = |name: &str| -> Device {
        let found = plan.devices().iter().find(|device| device.name == name);
        found.unwrap_or_else(|| panic!("no device {name:?}")).clone()
    };
    let start = || {
        let from = find(step.from);
        let to = if step.to.is_empty() {
            from.gateway
        } else {
            find(step.to).address
        };
        let frame = packet().macs(from.mac, GATEWAY_MAC).vlan(from.vlan);
        frame.ip(&from.address.to_string(), &to.to_string())
    };
    let syn = |port| vec![start().tcp(40_000, port, tcp_flags::SYN).build().bytes];
    match &step.action {
        Action::Tcp { port, .. } => syn(*port),
        Action::Scan { ports } => ports.clone().flat_map(syn).collect(),
        Action::Waveforms { .. } => vec![start().udp(24_105, 24_105).build().bytes],
        Action::Resolve => vec![start().udp(40_000, 53).build().bytes],
        Action::Ping => vec![start().echo(1, 1).build().bytes],
        Action::Frames(frames) => {
            let vlan = find(step.from).vlan;
            frames().iter().map(|frame| with_tag(vlan, frame)).collect()
        }
        Action::TrunkFrames(frames) => frames().into_iter().map(|frame| frame.bytes).collect(),
    }
}

#[test]
fn the_reference_policies_give_every_step_its_verdict() {
    let tables = reference::tables().unwrap_or_else(|error| panic!("{error}"));
    let mut trunk = PortSetup::new("trunk", TRUNK);
    trunk.control = control::LLDP;
    trunk.vlans = (1..=4094)
        .filter(|vlan| tables.vlans[0].0[usize::from(*vlan)] != 0)
        .collect();
    let ports = ports::table(&[trunk.entry(0)]).expect("one port");
    let engine = Engine::new(tables, ports);
    let mut wrong = Vec::new();
    for step in scenario::chapters().iter().flat_map(|chapter| &chapter.steps) {
        let expected = match step.expect {
            Expect::Pass { rule } => (Verdict::Pass, DropReason::None, Some(rule)),
            Expect::Drop { reason, rule } => (Verdict::Drop, reason, rule),
            Expect::WouldDrop { reason, rule } => (Verdict::WouldDrop, reason, rule),
        };
        for frame in opening(step) {
            let (decision, _) = engine.decide(&frame, TRUNK, 1);
            let rule = &engine.tables().names.rules;
            let rule = (decision.rule != NO_RULE).then(|| rule[decision.rule as usize].name.as_str());
            let found = (decision.verdict, decision.reason, rule);
            if found != expected {
                wrong.push(format!("{}: {found:?} instead of {expected:?}", step.title));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
