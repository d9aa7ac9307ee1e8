//! Every shape of frame that the engine tells apart, with the verdict that it must get.
//!
//! The list is data: the userspace engine and the kernel program are both held to it, under the policy in
//! `fixtures/shapes`. A case is a sequence of frames on flows of its own, so cases do not disturb each other.

mod attacks;
mod budgets;
mod customs;
mod found;
mod fragments;
mod guards;
mod icmp;
mod in_kernel;
mod inline;
mod links;
mod parses;
mod sessions;
mod words;

pub use in_kernel::InKernel;
pub use words::{accesses, bindings};

use std::path::PathBuf;

use enforcer::kernel::{Peer, PortSetup, ports};
use enforcer::policy::{self, TableSet};
use enforcer_common::abi::{Port, control};
use enforcer_common::verdict::{DropReason, Stage, Verdict};

use crate::packet::Frame;

/// The interface of the port that enforces.
pub const TRUNK: u32 = 1;
/// The interface of the port in monitor mode.
pub const MONITOR_TRUNK: u32 = 2;
/// The interface of a port without VLAN 666 and without control protocols, whose untagged frames are VLAN 110.
pub const ACCESS: u32 = 3;
/// The interface of a port that is paired with [`WEST`].
pub const EAST: u32 = 4;
/// The interface of the uplink of the pair, paired with [`EAST`].
pub const WEST: u32 = 5;
/// The interface of a port in monitor mode, whose frames leave by [`WEST`].
pub const MONITOR_EAST: u32 = 6;
/// The interface of a port that lets undeclared VLANs pass, all but 667.
pub const OPEN: u32 = 7;
/// An interface that is no port.
pub const NO_PORT: u32 = 8;

/// The expected outcome of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why.
    pub reason: DropReason,
    /// Where that was settled.
    pub stage: Stage,
    /// Name of the rule that decided; empty when none was involved.
    pub rule: &'static str,
}

/// A frame and what must become of it.
#[derive(Clone, Debug)]
pub struct Step {
    /// Interface that it comes in by.
    pub ifindex: u32,
    /// Its octets.
    pub frame: Frame,
    /// The rule [`ENDING`] is over by now.
    pub ended: bool,
    /// The outcome.
    pub expected: Expected,
}

/// The rule that comes to its end within a case.
pub const ENDING: &str = "ending";
/// When it ends, in nanoseconds of the clock of the userspace engine.
const END: u64 = 1000;

impl Step {
    /// When the frame comes, in nanoseconds of the clock of the userspace engine.
    pub const fn time(&self) -> u64 {
        if self.ended { END } else { 1 }
    }
}

/// A named sequence of frames.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it shows.
    pub name: &'static str,
    /// In order.
    pub steps: Vec<Step>,
}

/// A case of one frame on the trunk.
fn case(name: &'static str, frame: impl Into<Frame>, expected: Expected) -> Case {
    sequence(name, [(frame.into(), expected)])
}

/// A case of several frames on the trunk.
fn sequence(name: &'static str, frames: impl IntoIterator<Item = (Frame, Expected)>) -> Case {
    let steps = frames
        .into_iter()
        .map(|(frame, expected)| Step {
            ifindex: TRUNK,
            frame,
            ended: false,
            expected,
        })
        .collect();
    Case { name, steps }
}

impl Case {
    /// The same by another interface.
    fn on(mut self, ifindex: u32) -> Self {
        self.steps.iter_mut().for_each(|step| step.ifindex = ifindex);
        self
    }

    /// The same; the rule [`ENDING`] ends after so many frames.
    fn ending_after(mut self, frames: usize) -> Self {
        self.steps.iter_mut().skip(frames).for_each(|step| step.ended = true);
        self
    }
}

/// Passes without a rule.
const fn passes_at(stage: Stage) -> Expected {
    Expected {
        verdict: Verdict::Pass,
        reason: DropReason::None,
        stage,
        rule: "",
    }
}

/// Passes by a rule.
const fn allowed(rule: &'static str) -> Expected {
    Expected {
        verdict: Verdict::Pass,
        reason: DropReason::None,
        stage: Stage::Policy,
        rule,
    }
}

/// Passes in a flow that a rule permitted.
const fn in_flow(rule: &'static str) -> Expected {
    Expected {
        stage: Stage::Flow,
        ..allowed(rule)
    }
}

/// Dropped without a rule.
const fn dropped(stage: Stage, reason: DropReason) -> Expected {
    Expected {
        verdict: Verdict::Drop,
        reason,
        stage,
        rule: "",
    }
}

/// Dropped because nothing permits it.
const fn default_denied() -> Expected {
    Expected {
        verdict: Verdict::Drop,
        reason: DropReason::DefaultDeny,
        stage: Stage::Policy,
        rule: "default-deny",
    }
}

/// What would be dropped, in monitor mode.
const fn monitored(expected: Expected) -> Expected {
    Expected {
        verdict: Verdict::WouldDrop,
        ..expected
    }
}

/// All cases.
pub fn all() -> Vec<Case> {
    [
        parses::cases(),
        links::cases(),
        fragments::cases(),
        guards::cases(),
        inline::cases(),
        budgets::cases(),
        sessions::cases(),
        icmp::cases(),
        found::cases(),
        attacks::cases(),
        customs::cases(),
        words::cases(),
    ]
    .concat()
}

/// The compiled policy of the cases, in `fixtures/shapes`.
///
/// # Panics
/// With the compiler's findings, when it has any.
pub fn tables() -> TableSet {
    let policy = policy::load(&[PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/shapes")]);
    let policy = policy.unwrap_or_else(|findings| panic!("{findings}"));
    let mut tables = policy::compile(&policy).unwrap_or_else(|findings| panic!("{findings}"));
    // The compiler leaves out what has ended already, so these rules end after it.
    for (rule, name) in tables.rules.iter_mut().zip(&tables.names.rules) {
        match &*name.name {
            "ended" => rule.deadline = 1,
            ENDING => rule.deadline = END,
            _ => {}
        }
    }
    tables
}

/// A lease without an end.
pub const NO_END: u64 = u64::MAX;

/// The ports of the cases as the engine takes them, their slots in their order.
///
/// # Panics
/// Never: a mask keeps these ports apart.
pub fn port_table() -> Vec<Port> {
    let entries: Vec<_> = ports().iter().zip(0..).map(|(port, slot)| port.entry(slot)).collect();
    ports::table(&entries).expect("ports that a mask keeps apart")
}

/// The ports of the cases.
pub fn ports() -> Vec<PortSetup> {
    let trunk = PortSetup::new("trunk", TRUNK);
    let monitor = PortSetup {
        monitor: true,
        ..PortSetup::new("monitor", MONITOR_TRUNK)
    };
    let mut access = PortSetup {
        native_vlan: 110,
        control: 0,
        ..PortSetup::new("access", ACCESS)
    };
    access.vlans = (1..=4094).filter(|&id| id != 666).collect();
    let paired = |name, key, ifindex, to| PortSetup {
        peer: Some(Peer { key, ifindex: to }),
        ..PortSetup::new(name, ifindex)
    };
    let mut east = paired("east", 0, EAST, WEST);
    east.control = control::LLDP;
    let west = PortSetup {
        uplink: true,
        ..paired("west", 1, WEST, EAST)
    };
    let monitor_east = PortSetup {
        monitor: true,
        ..paired("monitor-east", 2, MONITOR_EAST, WEST)
    };
    let mut open = PortSetup {
        pass_undeclared: true,
        ..PortSetup::new("open", OPEN)
    };
    open.vlans = (1..=4094).filter(|&id| id != 667).collect();
    vec![trunk, monitor, access, east, west, monitor_east, open]
}
