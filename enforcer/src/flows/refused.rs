//! The flows that no rule permits and that monitor mode let pass, as addresses: for who learns rules of them.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;

use enforcer_common::abi::{Flow, FlowKey, FlowState};
use enforcer_common::verdict::DropReason;

use super::names::{asked, link};
use super::select::walk;
use crate::state::State;
use crate::words;

/// Such a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedFlow {
    /// Its address space.
    pub realm: String,
    /// The VLAN of its link-local addresses, `110` or `2000.110`; `None` with addresses that mean the same everywhere.
    pub link: Option<String>,
    /// Address and port of who opened it; the port is 0 of protocols without ports.
    pub from: (IpAddr, u16),
    /// Address and port of the other end; type and code of ICMP.
    pub to: (IpAddr, u16),
    /// IP protocol number.
    pub protocol: u8,
    /// It is a TCP session of which the middle was seen first, so that the other end may have opened it.
    pub picked_up: bool,
    /// Whether both ends have spoken.
    pub answered: bool,
    /// When its first frame came, on the tick clock.
    pub created: u64,
    /// When its last frame came.
    pub seen: u64,
}

/// Walks over all of them that are in the tables, those too that are over, with a frame later than `after` on the tick clock; without
/// an order. May take seconds.
///
/// # Errors
/// When the tables cannot be read.
pub fn refused(state: &State, after: u64, mut visit: impl FnMut(RefusedFlow)) -> io::Result<()> {
    let realms: HashMap<u16, String> = {
        let status = state.status();
        let generation = status.generation.as_ref();
        let realms = generation.iter().flat_map(|generation| &generation.slots.realms);
        realms.map(|(name, slot)| (*slot as u16, name.clone())).collect()
    };
    walk(state, |key, flow, answered| {
        if flow.seen.get() > after
            && is_refused(flow)
            && let Some(realm) = realms.get(&key.realm)
            && let Some(flow) = told(key, flow, realm, answered)
        {
            visit(flow);
        }
        ControlFlow::Continue(())
    })
}

/// For want of a rule, or by one: what limits and guards refuse, no rule would permit.
fn is_refused(flow: &Flow) -> bool {
    let reason = DropReason::from_code(flow.refusal.get());
    matches!(reason, Some(DropReason::DefaultDeny | DropReason::DeniedByRule))
}

fn told(key: &FlowKey, flow: &Flow, realm: &str, answered: bool) -> Option<RefusedFlow> {
    let low = (words::address(key.family, key.low)?, key.low_port);
    let high = (words::address(key.family, key.high)?, key.high_port);
    let (from, to) = if flow.initiator_low == 1 {
        (low, high)
    } else {
        (high, low)
    };
    let has_ports = words::has_ports(key.protocol);
    Some(RefusedFlow {
        realm: realm.to_owned(),
        link: link(key.link),
        from: (from.0, if has_ports { from.1 } else { 0 }),
        to: (to.0, asked(key.protocol, to.1)),
        protocol: key.protocol,
        picked_up: flow.entered_as == FlowState::PickedUp as u8,
        answered,
        created: flow.created,
        seen: flow.seen.get(),
    })
}

#[cfg(test)]
mod tests {
    use enforcer_common::shared::Shared;

    use super::*;

    #[test]
    fn who_opened_it_comes_first_and_an_echo_is_its_question() {
        let key = FlowKey {
            low: [0, 0, 0, 0x0a00_0001],
            high: [0, 0, 0, 0x0a00_0002],
            link: 110 << 16,
            low_port: 7,
            high_port: !7,
            protocol: 1,
            family: 4,
            ..FlowKey::EMPTY
        };
        let flow = |refusal: DropReason, initiator_low| Flow {
            refusal: Shared::new(refusal as u8),
            initiator_low,
            created: 5,
            ..Flow::default()
        };
        assert!(is_refused(&flow(DropReason::DefaultDeny, 0)));
        for other in [DropReason::None, DropReason::RuleLimit, DropReason::NoSession] {
            assert!(!is_refused(&flow(other, 0)), "{other:?}");
        }
        let told = told(&key, &flow(DropReason::DefaultDeny, 0), "default", true).unwrap();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(
            (told.from, told.to),
            ((address("10.0.0.2"), 0), (address("10.0.0.1"), 0x0800))
        );
        assert_eq!((told.link.as_deref(), told.created), (Some("110"), 5));
    }
}
