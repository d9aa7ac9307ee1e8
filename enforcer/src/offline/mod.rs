//! What a policy does, without a network and without root: the engine behind one port of a trunk.
//!
//! ```text
//! build.rs      a frame in words -> octets
//! outcome.rs    the engine's numbers -> names
//! suite.rs      the tests of a policy
//! ```

pub mod build;
pub mod capture;
pub mod explain;
pub mod misses;
mod outcome;
pub mod simulate;
pub mod suite;

use std::net::Ipv4Addr;
use std::time::SystemTime;

use enforcer_common::abi::BindingKey;
use enforcer_common::frame::Frame;
use enforcer_common::packet::Packet;
use enforcer_common::pipeline::Decision;

use crate::diagnostics::Diagnostics;
use crate::engine::Engine;
use crate::kernel::PortSetup;
use crate::policy::probe;
use crate::policy::{self, TableSet, ValidPolicy};
pub use outcome::{End, Outcome, RulePlace};

/// The interface that frames come in by.
const IFINDEX: u32 = 1;

/// A policy in force behind one port that allows every VLAN and the usual control protocols, in gateway mode.
pub struct Rig {
    policy: ValidPolicy,
    engine: Engine,
    ifindex: u32,
}

impl Rig {
    /// Compiles a policy. Untagged frames belong to VLAN `native_vlan`; 0 refuses them.
    pub fn new(policy: ValidPolicy, native_vlan: u16) -> Result<Self, Diagnostics> {
        let tables = policy::compile(&policy)?;
        let port = PortSetup {
            native_vlan,
            ..PortSetup::new("trunk", IFINDEX)
        };
        let mut engine = Engine::new(tables, vec![port.entry(0)]);
        for (device, address) in probe::leases(&policy) {
            lease(&mut engine, &device.name, address);
        }
        Ok(Self {
            policy,
            engine,
            ifindex: IFINDEX,
        })
    }

    /// A policy in an engine that is set up already, with frames that come in by an interface of its own.
    pub fn of_engine(policy: ValidPolicy, engine: Engine, ifindex: u32) -> Self {
        Self {
            policy,
            engine,
            ifindex,
        }
    }

    /// Decides a frame that comes at `now`, in nanoseconds of Unix time, because rules can expire. Times do not go back.
    pub fn decide(&self, frame: &(impl Frame + ?Sized), now: u64) -> (Decision, Packet) {
        self.engine.decide_frame(frame, self.ifindex, now)
    }

    /// The same, with names.
    pub fn outcome(&self, frame: &(impl Frame + ?Sized), now: u64) -> Outcome<'_> {
        let (decision, packet) = self.decide(frame, now);
        Outcome::new(&decision, &packet, self.tables())
    }

    /// Forgets flows, fragments and what was charged to budgets.
    pub fn forget(&mut self) {
        self.engine.forget();
    }

    /// The policy in force.
    pub fn policy(&self) -> &ValidPolicy {
        &self.policy
    }

    /// Its tables.
    pub fn tables(&self) -> &TableSet {
        self.engine.tables()
    }
}

/// The time in nanoseconds of Unix time, as [`Rig::decide`] takes it.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Gives a device an address for good.
fn lease(engine: &mut Engine, name: &str, address: Ipv4Addr) {
    let devices = &engine.tables().dynamic;
    let Some(device) = devices.iter().position(|device| device.name == name) else {
        return;
    };
    let key = BindingKey {
        address: [0, 0, 0, address.into()],
        realm: devices[device].realm,
        family: 4,
        reserved: 0,
    };
    engine.bind(key, device as u32, u64::MAX);
}
