//! What somebody on a ward's VLAN tries who wants to reach a device, or to silence one: each with what it is good for.

mod link;
mod packets;

use super::Case;
use crate::packet::{Builder, packet};

const PUMP: &str = "10.10.110.100";
const PUMP6: &str = "fd00:10:110::100";
const SERVER: &str = "10.20.5.10";
const SERVER6: &str = "fd00:20:5::10";
const RULE: &str = "pumps-to-servers";

pub(super) fn cases() -> Vec<Case> {
    [link::cases(), packets::cases()].concat()
}

fn pump() -> Builder {
    packet().vlan(110).ip(PUMP, SERVER)
}

fn pump6() -> Builder {
    packet().vlan(110).ip(PUMP6, SERVER6)
}
