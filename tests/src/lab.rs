//! A hospital network in network namespaces, with the gateway in the middle.
//!
//! ```text
//!  device namespaces             switch namespace                gateway namespace
//!  pump    eth0 (TAP) ──┐                                       ┌── XDP (the enforcer) ──┐
//!  monitor eth0 (TAP) ──┼── Switch ── xtrunk ══ veth, tagged ══ trunk                   Router
//!  guest   eth0 (TAP) ──┘   (thread)                            └────────────────────────┘ (thread)
//! ```
//!
//! Why like this:
//! - Not every kernel has 802.1Q interfaces, `vlan_filtering` bridges or an unlimited /sys. So the VLAN switch and the
//!   router behind the enforcer are two small threads: the [`Switch`](switch::Switch) adds and takes away tags, the
//!   [`Router`](router::Router) answers ARP for the gateway's addresses and routes between VLANs on one arm.
//!   Everything in between is real: kernel TCP on both ends, tagged frames on a veth, native XDP.
//! - Devices hang on TAP interfaces: the kernel computes all checksums before a frame reaches the file, and neither
//!   merges segments nor keeps tags aside, as a veth would.
//! - A packet socket on the trunk gets what XDP has passed, and nothing else. The router lives on that; so does a
//!   test that wants to see what came through ([`Lab::behind_the_gateway`]).
//! - What goes from one VLAN to another crosses the trunk twice, and enters it through XDP once in each direction.
//!
//! Where kernels have to route in both families, and no tags are needed, there is [`Site`].
//!
//! Namespaces have no names: they live as long as a descriptor, a thread or a process holds them, and so do the
//! interfaces, the private mount namespace with its BPF file system, and what is pinned in it. Nothing is left to clean
//! up, whatever way the test process ends; child processes die with the thread that started them.

pub mod crossing;
pub mod dcmtk;
pub mod dnsmasq;
pub mod enforcer;
pub mod flood;
mod http;
mod metrics;
mod namespace;
mod plan;
mod process;
pub mod router;
mod service;
pub mod site;
pub mod stream;
pub mod switch;
mod sys;
mod trunk;
mod wait;
mod worker;

pub use enforcer::{Config, Enforcer, Event};
pub use http::{HttpResponse, http_get};
pub use metrics::{Metrics, Sample};
pub use namespace::Namespace;
pub use plan::{Device, Lab, Plan};
pub use process::{Output, Process, Signal};
pub use service::Service;
pub use site::{Host, Site};
pub use stream::Stream;
pub use sys::{Offload, PacketSocket, set_offload};
pub use trunk::Gateway;
pub use wait::{PATIENCE, eventually};
