//! Every shape of frame, in both builds of the engine, with verdict, reason, stage, rule and counters.

use std::collections::{BTreeMap, BTreeSet};

use enforcer::engine::Engine;
use enforcer::policy::TableSet;
use enforcer_common::abi::{Counter, NO_RULE, REASONS};
use enforcer_common::verdict::{DropReason, Stage, Verdict};
use enforcer_tests::kernel::{Kernel, SHORTEST, action};
use enforcer_tests::shapes::{self, Expected, InKernel};

fn engine(tables: &TableSet) -> Engine {
    let mut engine = Engine::new(tables.clone(), shapes::port_table());
    engine.set_accesses(shapes::accesses());
    for (key, device, end) in shapes::bindings() {
        engine.bind(key, device, end);
    }
    engine
}

fn rule_name(tables: &TableSet, rule: u32) -> &str {
    if rule == NO_RULE {
        ""
    } else {
        &tables.names.rules[rule as usize].name
    }
}

#[test]
fn the_engine_gives_every_shape_its_verdict() {
    let tables = shapes::tables();
    let engine = engine(&tables);
    let mut wrong = Vec::new();
    for case in shapes::all() {
        for (index, step) in case.steps.iter().enumerate() {
            let (decision, _) = engine.decide(&step.frame, step.ifindex, step.time());
            let Expected {
                verdict,
                reason,
                stage,
                rule,
            } = step.expected;
            let got = (
                decision.verdict,
                decision.reason,
                decision.stage,
                rule_name(&tables, decision.rule),
            );
            if got != (verdict, reason, stage, rule) {
                wrong.push(format!(
                    "{}, frame {}: {got:?}, expected {:?}",
                    case.name,
                    index + 1,
                    step.expected
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What the shapes must have shown between them. A reason that no shape reaches is a reason that nobody tests.
///
/// Pitfall 3: what is not understood has a reason of its own, and none goes untested.
#[test]
fn the_shapes_reach_every_outcome() {
    let expected: Vec<_> = shapes::all()
        .into_iter()
        .flat_map(|case| case.steps)
        .map(|step| step.expected)
        .collect();
    let reasons: BTreeSet<_> = expected.iter().map(|outcome| outcome.reason.name()).collect();
    // A miss is a defect of the compiler, which no frame brings about.
    let unreached: Vec<_> = DropReason::ALL
        .iter()
        .filter(|&&reason| reason != DropReason::TableMiss && !reasons.contains(reason.name()))
        .collect();
    assert!(unreached.is_empty(), "no shape is refused for {unreached:?}");
    for verdict in Verdict::ALL {
        assert!(
            expected.iter().any(|outcome| outcome.verdict == verdict),
            "no shape gets {verdict:?}"
        );
    }
    for stage in [
        Stage::Parse,
        Stage::Link,
        Stage::Source,
        Stage::Flow,
        Stage::Policy,
        Stage::Failsafe,
        Stage::Budget,
    ] {
        assert!(
            expected.iter().any(|outcome| outcome.stage == stage),
            "no shape is settled by {stage:?}"
        );
    }
}

/// The kernel's verdict, reason, stage, rule, endpoints and counters are those of the userspace build.
///
/// Pitfalls 12 and 17: the tracer of policies disagreed with the data path; here it is the data path. A verdict was computed, and
/// another one returned; here the action is held to the decision.
#[test]
fn the_kernel_program_agrees_in_everything() {
    let mut kernel = InKernel::load().expect("the kernel takes the program: this test wants root");
    let engine = engine(&kernel.tables);
    let mut wrong = Vec::new();
    let mut count = Counts::default();
    for case in shapes::all() {
        for (index, step) in case.steps.iter().enumerate() {
            if step.frame.len() < SHORTEST {
                continue;
            }
            let (decision, packet) = engine.decide(&step.frame, step.ifindex, step.time());
            let (action, event) = kernel.run(step).expect("a test run");
            let expected_action = match (decision.verdict, decision.peer) {
                (Verdict::Drop, _) => action::DROP,
                (_, 0) => action::PASS,
                _ => action::REDIRECT,
            };
            let wanted =
                enforcer_common::abi::Event::new(&decision, &packet, step.ifindex, event.generation, event.boot_nanos);
            if event != wanted || action != expected_action {
                wrong.push(format!(
                    "{}, frame {}: action {action}\n kernel {event:?}\n engine {wanted:?}",
                    case.name,
                    index + 1
                ));
            }
            count.add(&kernel.tables, &decision, packet.length);
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    count.compare(&kernel.kernel);
}

/// The counters that the kernel program must have kept.
#[derive(Default)]
struct Counts {
    ports: BTreeMap<u32, Counter>,
    drops: BTreeMap<u32, Counter>,
    rules: BTreeMap<u32, Counter>,
    zones: Vec<u32>,
}

impl Counts {
    fn add(&mut self, tables: &TableSet, decision: &enforcer_common::pipeline::Decision, length: u32) {
        let count = |map: &mut BTreeMap<u32, Counter>, index: u32| {
            let counter = map.entry(index).or_default();
            counter.packets += 1;
            counter.bytes += u64::from(length);
        };
        if let Some(port) = decision.port {
            count(
                &mut self.ports,
                u32::from(port) * Verdict::ALL.len() as u32 + decision.verdict as u32,
            );
        }
        if decision.rule != NO_RULE {
            count(&mut self.rules, decision.rule);
        }
        if decision.reason != DropReason::None {
            let would = u32::from(decision.verdict == Verdict::WouldDrop);
            count(
                &mut self.drops,
                (u32::from(decision.zone) * REASONS as u32 + decision.reason as u32) * 2 + would,
            );
        }
        self.zones = (0..tables.zones.len() as u32).collect();
    }

    /// A first generation with fresh maps numbers zones and ports by their order, so slots are indices. Records of one
    /// rule share its slot.
    fn compare(&self, kernel: &Kernel) {
        let slots = kernel.generation().slots();
        let numbers = |names: &[(String, u32)]| names.iter().map(|(_, slot)| *slot).collect::<Vec<_>>();
        assert_eq!(numbers(&slots.zones), self.zones);
        let mut rules: BTreeMap<u32, Counter> = BTreeMap::new();
        for (rule, counter) in &self.rules {
            let sum = rules.entry(slots.rules[*rule as usize].1).or_default();
            sum.packets += counter.packets;
            sum.bytes += counter.bytes;
        }
        assert_eq!(kernel.counters("PORT_COUNTERS").unwrap(), self.ports);
        assert_eq!(kernel.counters("DROP_COUNTERS").unwrap(), self.drops);
        assert_eq!(kernel.counters("RULE_COUNTERS").unwrap(), rules);
    }
}
