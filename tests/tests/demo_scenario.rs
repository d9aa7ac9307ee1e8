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
        Action::Flood { frame, .. } => vec![with_tag(find(step.from).vlan, &frame())],
        Action::Frames(frames) => {
            let vlan = find(step.from).vlan;
            frames().iter().map(|frame| with_tag(vlan, frame)).collect()
        }
        Action::TrunkFrames(frames) => frames().into_iter().map(|frame| frame.bytes).collect(),
    }
}

/// The engine with the reference policies, on the demo's trunk.
fn engine() -> Engine {
    let tables = reference::tables().unwrap_or_else(|error| panic!("{error}"));
    let mut trunk = PortSetup::new("trunk", TRUNK);
    trunk.control = control::LLDP;
    trunk.vlans = (1..=4094)
        .filter(|vlan| tables.vlans[0].0[usize::from(*vlan)] != 0)
        .collect();
    let ports = ports::table(&[trunk.entry(0)]).expect("one port");
    Engine::new(tables, ports)
}

/// What a limit lets through at once, and what becomes of the next frame.
#[test]
fn the_reference_policies_shield_a_pump_as_the_demo_says() {
    let engine = engine();
    for step in scenario::chapters().iter().flat_map(|chapter| &chapter.steps) {
        let Expect::Held {
            rule, reason, burst, ..
        } = step.expect
        else {
            continue;
        };
        let [frame] = &opening(step)[..] else {
            panic!("a flood is of one frame");
        };
        let passed = (0..10 * burst).take_while(|_| engine.decide(frame, TRUNK, 1).0.verdict == Verdict::Pass);
        // What the rate earns in one tick of the clock comes on top of the burst.
        let passed = passed.count();
        assert!(
            (burst as usize..burst as usize + 3).contains(&passed),
            "{passed} at once"
        );
        let (decision, _) = engine.decide(frame, TRUNK, 1);
        let decided = &engine.tables().names.rules[decision.rule as usize].name;
        assert_eq!(
            (decision.verdict, decision.reason, decided.as_str()),
            (Verdict::Drop, reason, rule)
        );
    }
}

#[test]
fn the_reference_policies_give_every_step_its_verdict() {
    let engine = engine();
    let mut wrong = Vec::new();
    for step in scenario::chapters().iter().flat_map(|chapter| &chapter.steps) {
        let expected = match step.expect {
            Expect::Pass { rule } | Expect::Held { rule, .. } => (Verdict::Pass, DropReason::None, Some(rule)),
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
