//! The shapes in the kernel program.

use anyhow::Result;
use enforcer::policy::TableSet;
use enforcer_common::abi::Event;

use super::{ENDING, Step, accesses, bindings, ports, tables};
use crate::kernel::Kernel;

/// The kernel program under the policy of the shapes, with its leases and accesses.
pub struct InKernel {
    /// The program.
    pub kernel: Kernel,
    /// The tables that it was loaded with.
    pub tables: TableSet,
    /// What the rule [`ENDING`] was set to last.
    ended: Option<bool>,
}

impl InKernel {
    /// Loads the program with private maps.
    pub fn load() -> Result<Self> {
        let tables = tables();
        let mut kernel = Kernel::load_with(&tables, &ports(), &accesses())?;
        for (key, device, end) in bindings() {
            kernel.bind(key, device, end)?;
        }
        Ok(Self {
            kernel,
            tables,
            ended: None,
        })
    }

    /// Runs the program on the frame of a step; returns its action and the decision. Nobody turns the kernel's clock, so it is
    /// the deadline that moves.
    pub fn run(&mut self, step: &Step) -> Result<(u32, Event)> {
        if self.ended.replace(step.ended) != Some(step.ended) {
            let deadline = if step.ended { 1 } else { u64::MAX };
            let names = self.tables.names.rules.iter().zip(0..);
            for (_, rule) in names.filter(|(name, _)| name.name == ENDING) {
                self.kernel.set_deadline(rule, deadline)?;
            }
        }
        self.kernel.run(&step.frame, step.ifindex)
    }
}
