//! Random policies, and random frames that aim at what they say.
//!
//! Policies come as text, so that the parser takes part. Frames come as they are meant ([`crate::oracle::Sent`]), for
//! the oracle, and as octets ([`frame`]), for the engine. Everything follows from a seed.

mod aims;
mod beside;
mod limits;
mod policy;
mod rng;
mod traffic;
mod wire;

use anyhow::{Result, anyhow};
use enforcer::kernel::{Peer, PortSetup};
use enforcer::policy::{self as policies, ValidPolicy};
use enforcer_common::abi::control;

use crate::packet::Mac;

pub use beside::{accesses, beside, bindings};
pub use limits::{per_hour, without_limits};
pub use policy::text;
pub use rng::Random;
pub use traffic::{Step, Traffic};
pub use wire::frame;

/// The interface of the port that enforces.
pub const TRUNK: u32 = 1;
/// The interface of the port in monitor mode.
pub const MONITOR_TRUNK: u32 = 2;
/// The interface of a port with a native VLAN, without another VLAN, and with LLDP only.
pub const ACCESS: u32 = 3;
/// The interface of a port that is paired with [`WEST`].
pub const EAST: u32 = 4;
/// The interface of the uplink of the pair.
pub const WEST: u32 = 5;
/// The interface of a port that lets undeclared VLANs pass.
pub const OPEN: u32 = 6;
/// An interface that is no port.
pub const NO_PORT: u32 = 7;
/// When sequences of frames begin, in nanoseconds of Unix time: with the year 2026.
pub const BEGIN: u64 = 1_767_225_600 * 1_000_000_000;
/// The hardware address of a router.
pub const ROUTER_MAC: Mac = [0x02, 0, 0, 0, 0, 0x99];
/// VLAN of untagged frames on [`ACCESS`].
pub const NATIVE_VLAN: u16 = 100;
/// The VLAN that [`ACCESS`] leaves out.
pub const CLOSED_VLAN: u16 = 101;

/// The ports of all random policies.
pub fn ports() -> Vec<PortSetup> {
    let paired = |name, key, ifindex, to| PortSetup {
        peer: Some(Peer { key, ifindex: to }),
        ..PortSetup::new(name, ifindex)
    };
    vec![
        PortSetup::new("trunk", TRUNK),
        PortSetup {
            monitor: true,
            ..PortSetup::new("monitor", MONITOR_TRUNK)
        },
        PortSetup {
            native_vlan: NATIVE_VLAN,
            control: control::LLDP,
            vlans: (1..=4094).filter(|&id| id != CLOSED_VLAN).collect(),
            ..PortSetup::new("access", ACCESS)
        },
        paired("east", 0, EAST, WEST),
        PortSetup {
            uplink: true,
            ..paired("west", 1, WEST, EAST)
        },
        PortSetup {
            pass_undeclared: true,
            vlans: (1..=4094).filter(|&id| id != CLOSED_VLAN).collect(),
            ..PortSetup::new("open", OPEN)
        },
    ]
}

/// Reads a policy from its text, as the controller does from its files.
pub fn load(text: &str) -> Result<ValidPolicy> {
    policies::load_texts([("policy.yaml".into(), text.to_owned())]).map_err(|errors| anyhow!("{errors}"))
}
