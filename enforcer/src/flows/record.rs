//! A flow with names.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Summary, Traffic};

/// A flow that the kernel program keeps. What is not known is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowRecord {
    /// Version of this record.
    pub schema_version: u32,
    /// Whether it is in the table of flows that have been answered.
    pub established: bool,
    /// Where it is in its life: `established`, `syn-sent`, `unanswered`, …
    pub state: String,
    /// Its address space.
    pub realm: Option<String>,
    /// The VLAN that its link-local addresses belong to, `110` or `2000.110`; `None` with addresses that mean the same everywhere.
    pub link: Option<String>,
    /// Who opened it.
    pub initiator: FlowEnd,
    /// The other end.
    pub responder: FlowEnd,
    /// What the initiator asked for: `tcp/443`, `icmp/8/0`.
    pub service: String,
    /// The rule that permitted it; `None` when the policy that did so is forgotten.
    pub rule: Option<String>,
    /// `file:line` of the rule.
    pub rule_at: Option<String>,
    /// In monitor mode, the reason for which enforce mode would refuse it.
    pub would_drop: Option<String>,
    /// The generation that decided its last frame.
    pub generation: u32,
    /// Seconds since its first frame.
    pub age_seconds: u64,
    /// Seconds since its last frame.
    pub idle_seconds: u64,
    /// From the initiator.
    pub sent: Traffic,
    /// To the initiator.
    pub received: Traffic,
}

/// An end of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowEnd {
    /// The zone of the address in the policy in force.
    pub zone: Option<String>,
    /// The device that has the address.
    pub device: Option<String>,
    /// The address.
    pub address: Option<IpAddr>,
    /// The port, of protocols that have ports.
    pub port: Option<u16>,
}

/// A line of the answer: a flow, or at the end the summary.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Line {
    Summary { summary: Summary },
    Flow(Box<FlowRecord>),
}

impl FlowRecord {
    /// Octets both ways.
    pub fn octets(&self) -> u64 {
        self.sent.octets + self.received.octets
    }
}
