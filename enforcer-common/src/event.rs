//! A decision as a record for the ring buffer.

use crate::abi::Event;
use crate::packet::Packet;
use crate::pipeline::Decision;

impl Event {
    /// The record of `decision` about `packet`, which came in by `ifindex`.
    #[inline(always)]
    pub fn new(decision: &Decision, packet: &Packet, ifindex: u32, generation: u32, boot_nanos: u64) -> Self {
        Self {
            boot_nanos,
            generation,
            rule: decision.rule,
            source: decision.source,
            destination: decision.destination,
            ifindex,
            length: packet.length,
            source_address: packet.source,
            destination_address: packet.destination,
            source_port: packet.source_port,
            destination_port: packet.destination_port,
            outer_vlan: packet.outer_vlan,
            inner_vlan: packet.inner_vlan,
            ethertype: packet.ethertype,
            lan: decision.lan,
            source_mac: packet.source_mac,
            destination_mac: packet.destination_mac,
            verdict: decision.verdict as u8,
            reason: decision.reason as u8,
            stage: decision.stage as u8,
            family: packet.family,
            protocol: packet.protocol,
            tcp_flags: packet.tcp_flags,
            reserved: [0; 2],
        }
    }

    /// The record that the kernel program put into the ring; `None` when it has another length.
    pub fn decode(record: &[u8]) -> Option<Self> {
        if record.len() != size_of::<Self>() {
            return None;
        }
        // SAFETY: as long as an event, of which every bit pattern is a value; read without regard to alignment.
        Some(unsafe { record.as_ptr().cast::<Self>().read_unaligned() })
    }
}
