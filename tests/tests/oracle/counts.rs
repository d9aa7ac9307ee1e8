//! The counters that the kernel program must have kept.

use std::collections::BTreeMap;

use enforcer_common::abi::{Counter, NO_RULE, REASONS};
use enforcer_common::pipeline::Decision;
use enforcer_common::verdict::{DropReason, Verdict};
use enforcer_tests::kernel::Kernel;

/// The counters that the kernel program must have kept. In a first generation with maps of its own, slots of zones and ports are indices.
#[derive(Default)]
pub(crate) struct Counts {
    ports: BTreeMap<u32, Counter>,
    drops: BTreeMap<u32, Counter>,
    rules: BTreeMap<u32, Counter>,
}

impl Counts {
    pub(crate) fn add(&mut self, decision: &Decision, length: u32) {
        let count = |map: &mut BTreeMap<u32, Counter>, index: u32| {
            let counter = map.entry(index).or_default();
            counter.packets += 1;
            counter.bytes += u64::from(length);
        };
        if let Some(port) = decision.port {
            let verdicts = Verdict::ALL.len() as u32;
            count(&mut self.ports, u32::from(port) * verdicts + decision.verdict as u32);
        }
        if decision.rule != NO_RULE {
            count(&mut self.rules, decision.rule);
        }
        if decision.reason != DropReason::None {
            let would = u32::from(decision.verdict == Verdict::WouldDrop);
            let reason = u32::from(decision.zone) * REASONS as u32 + decision.reason as u32;
            count(&mut self.drops, reason * 2 + would);
        }
    }

    /// Records of one rule share its slot: those until its end, and those behind it.
    pub(crate) fn compare(&self, kernel: &Kernel) {
        let slots = &kernel.generation().slots().rules;
        let mut rules: BTreeMap<u32, Counter> = BTreeMap::new();
        for (rule, counter) in &self.rules {
            let sum = rules.entry(slots[*rule as usize].1).or_default();
            sum.packets += counter.packets;
            sum.bytes += counter.bytes;
        }
        let read = |map: &str| kernel.counters(map).expect("a map of counters");
        assert_eq!(read("PORT_COUNTERS"), self.ports);
        assert_eq!(read("DROP_COUNTERS"), self.drops);
        assert_eq!(read("RULE_COUNTERS"), rules);
    }
}
