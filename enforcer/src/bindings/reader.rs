//! Reading the ring of DHCP messages.

use std::io;
use std::sync::Arc;

use aya::maps::{MapData, RingBuf};
use enforcer_common::abi::DhcpMessage;
use tokio::io::unix::AsyncFd;

use super::{Ignored, now};
use crate::kernel::sys;
use crate::state::State;

/// Reads messages for as long as the task lives. Those that came while no controller ran are still in the ring.
pub async fn read(ring: RingBuf<MapData>, state: Arc<State>) -> io::Result<()> {
    // SAFETY: the descriptor belongs to the map inside of the ring, which `AsyncFd` owns and never lets go of.
    let mut ring = unsafe { AsyncFd::register(ring) }?;
    loop {
        let mut ready = ring.readable_mut().await?;
        let now = now().map_err(io::Error::other)?.ticks;
        // The ring is small, and a message takes microseconds: it is emptied at once.
        while let Some(record) = ready.get_inner_mut().next() {
            take(&record, &state, now);
        }
        ready.clear_ready();
    }
}

fn take(record: &[u8], state: &State, now: u64) {
    let message = sys::read_pod::<DhcpMessage>(record);
    let octets = message
        .as_ref()
        .and_then(|message| message.data.get(..message.length as usize));
    let (Some(message), Some(octets)) = (&message, octets) else {
        state.bindings.count(Ignored::Malformed);
        return;
    };
    let names = state.names(message.generation);
    let realm = names.as_ref().and_then(|names| {
        let lan = names.tables.lans.get(message.lan as usize)?;
        names.tables.names.realms.get(usize::from(lan.realm))
    });
    state.bindings.hear(octets, realm.map(String::as_str), message.at, now);
}
