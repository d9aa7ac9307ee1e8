//! Who has spoken in the flows that promises of the policy cover.

use std::io;
use std::ops::ControlFlow;

use enforcer_common::abi::{Flow, FlowKey};

use super::names::{Namer, asked};
use super::select::walk;
use crate::silence::{Party, Voices, Watch};
use crate::state::State;
use crate::words;

/// What the sources of all promises have sent, in the flows that are kept, those too that are over. May take seconds.
///
/// # Errors
/// When the tables cannot be read.
pub(crate) fn spoken(state: &State, watches: &[Watch]) -> io::Result<Voices> {
    let mut voices = Voices::new();
    let Some(namer) = Namer::new(state) else {
        return Ok(voices);
    };
    walk(state, |key, flow, _| {
        hear(&namer, watches, key, flow, &mut voices);
        ControlFlow::Continue(())
    })?;
    Ok(voices)
}

fn hear(namer: &Namer<'_>, watches: &[Watch], key: &FlowKey, flow: &Flow, voices: &mut Voices) -> Option<()> {
    let ends = namer.ends(key, flow);
    let (low, high) = ((key.low, key.low_port), (key.high, key.high_port));
    let (from, to) = if flow.initiator_low == 1 {
        (low, high)
    } else {
        (high, low)
    };
    let party = |endpoint: u32, address| {
        let zone = usize::from(namer.endpoint_name(endpoint)?.zone);
        let address = words::address(key.family, address)?;
        Some(Party {
            zone,
            device: namer.device(endpoint),
            address,
        })
    };
    let parties = [party(ends.initiator, from.0)?, party(ends.responder, to.0)?];
    let port = asked(key.protocol, to.1);
    for (number, watch) in watches.iter().enumerate() {
        if watch.covers(parties, key.protocol, port) {
            let voice = voices.entry((number, parties[0].device.map(str::to_owned)));
            let spoken = voice.or_default();
            spoken.frames += flow.packets[0].get();
            spoken.seen = spoken.seen.max(flow.seen.get());
        }
    }
    Some(())
}
