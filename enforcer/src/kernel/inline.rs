//! Inline mode: the device map by which permitted frames leave, and the count of those that its devices did not take.

use aya::Ebpf;
use aya::maps::{DevMap, IterableMap as _};
use aya::programs::RawTracePoint;
use enforcer_common::abi::PeerSource;

use super::error::Error;
use super::fill;
use super::ports::{Peer, PortSetup};

/// Entries of the device map: one up to the largest key.
pub(super) fn entries(ports: &[PortSetup]) -> usize {
    peers(ports).map(|(_, peer)| peer.key as usize + 1).max().unwrap_or(0)
}

fn peers(ports: &[PortSetup]) -> impl Iterator<Item = (usize, Peer)> {
    ports
        .iter()
        .enumerate()
        .filter_map(|(number, port)| Some((number, port.peer?)))
}

/// Fills the device map and reads it back. `slots`: names and counter slots of the ports.
///
/// The interfaces are looked up in the network namespace of the calling thread.
pub(super) fn fill(ebpf: &mut Ebpf, ports: &[PortSetup], slots: &[(String, u32)]) -> Result<(), Error> {
    const NAME: &str = "PEERS";
    let map = ebpf
        .map_mut(NAME)
        .ok_or_else(|| Error::Object(format!("it has no map {NAME}")))?;
    let mut devices: DevMap<_> = map
        .try_into()
        .map_err(|error| Error::aya(format!("map {NAME}"), &error))?;
    let number = devices
        .map()
        .info()
        .map_err(|error| Error::aya(format!("map {NAME}"), &error))?
        .id();
    let mut sources = vec![PeerSource::default(); entries(ports)];
    for (port, peer) in peers(ports) {
        if let (Some(source), Some((_, slot))) = (sources.get_mut(peer.key as usize), slots.get(port)) {
            *source = PeerSource {
                map: number,
                slot: *slot,
            };
        }
        if peer.ifindex == 0 {
            continue;
        }
        devices
            .set(peer.key, peer.ifindex, None, 0)
            .map_err(|error| Error::aya(format!("writing table {NAME}"), &error))?;
        let back = devices
            .get(peer.key, 0)
            .map_err(|error| Error::aya(format!("reading table {NAME}"), &error))?;
        if back.if_index != peer.ifindex {
            return Err(Error::ReadBack {
                table: NAME,
                entry: peer.key as usize,
            });
        }
    }
    fill::fill(ebpf, "PEER_SOURCES", &sources)
}

/// Counts frames that the kernel could not redirect, for as long as this program instance is held. Without the count
/// enforcement is the same, so a kernel that refuses it is no error.
pub(super) fn watch_losses(ebpf: &mut Ebpf) {
    if let Err(error) = attach(ebpf) {
        tracing::warn!("frames that the paired port does not take will not be counted: {error}");
    }
}

fn attach(ebpf: &mut Ebpf) -> Result<(), Error> {
    const NAME: &str = "redirect_err";
    let program: &mut RawTracePoint = ebpf
        .program_mut(NAME)
        .ok_or_else(|| Error::Object(format!("it has no program `{NAME}`")))?
        .try_into()
        .map_err(|error| Error::aya(format!("program `{NAME}`"), &error))?;
    program
        .load()
        .and_then(|()| program.attach("xdp_redirect_err"))
        .map(|_| ())
        .map_err(|error| Error::aya(format!("program `{NAME}`"), &error))
}
