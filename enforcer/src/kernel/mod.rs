//! From compiled tables to a kernel program that runs on the ports.
//!
//! [`Generation::load`] makes one policy into one program instance with tables of its own, beside whatever runs.
//! [`links`] puts it on the interfaces in one step each. State that outlives a generation (flows, counters, the
//! event ring) is in maps that all generations share: [`shared`].

mod direct;
pub mod error;
pub(crate) mod ethtool;
mod fill;
pub mod generation;
mod inline;
pub mod links;
pub mod netdev;
pub mod offload;
pub(crate) mod oldest;
pub mod pins;
pub mod ports;
pub mod privileges;
pub mod replica;
pub mod shared;
pub mod slots;
pub mod sys;
pub mod ticks;

pub use direct::DIRECT_TABLES;
pub use error::Error;
pub use generation::{Generation, LoadOptions, SlotNames};
pub use ports::{Peer, PortSetup, VlanSet};
pub use shared::{SharedMaps, Sizes};
