//! From the numbers of a flow to names.

use std::collections::HashMap;

use enforcer_common::abi::{Address, BindingKey, Flow, FlowKey, FlowState, UNKNOWN_ENDPOINT, endpoint_flags};
use enforcer_common::classify;
use enforcer_common::packet::protocol;
use enforcer_common::tables::Tables as _;
use enforcer_common::verdict::DropReason;

use super::{FlowEnd, FlowRecord, Traffic};
use crate::engine::Engine;
use crate::kernel::PortSetup;
use crate::policy::TableSet;
use crate::policy::tables::EndpointName;
use crate::policy::valid::VlanId;
use crate::state::State;
use crate::words;

/// What it takes to name flows: the policy in force, and who has which address by DHCP.
pub(super) struct Namer<'s> {
    state: &'s State,
    engine: Engine,
    /// Numbers of realms by the numbers that they have in the keys of flows.
    realms: HashMap<u16, u16>,
}

/// The ends of a flow as endpoint ids.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub(super) initiator: u32,
    pub(super) responder: u32,
}

impl<'s> Namer<'s> {
    /// With the policy in force; `None` when there is none.
    pub(super) fn new(state: &'s State) -> Option<Self> {
        let (number, slots) = {
            let status = state.status();
            let generation = status.generation.as_ref()?;
            (generation.number, std::sync::Arc::clone(&generation.slots))
        };
        let tables = TableSet::clone(&state.names(number)?.tables);
        let realms = slots.realms.iter().zip(0..);
        Some(Self {
            state,
            engine: engine(tables, &state.bindings.leases()),
            realms: realms.map(|((_, slot), number)| (*slot as u16, number)).collect(),
        })
    }

    /// The tables of the policy in force.
    pub(super) fn tables(&self) -> &TableSet {
        self.engine.tables()
    }

    /// Who talks to whom.
    pub(super) fn ends(&self, key: &FlowKey, flow: &Flow) -> Ends {
        let [low, high] = [&key.low, &key.high].map(|address| self.endpoint(key, address));
        let low_first = flow.initiator_low == 1;
        let (initiator, responder) = if low_first { (low, high) } else { (high, low) };
        Ends { initiator, responder }
    }

    /// The names of an endpoint.
    pub(super) fn endpoint_name(&self, endpoint: u32) -> Option<&EndpointName> {
        self.tables().names.endpoints.get(endpoint as usize)
    }

    /// The zone of an endpoint.
    pub(super) fn zone(&self, endpoint: u32) -> Option<&str> {
        let zone = self.endpoint_name(endpoint)?.zone;
        self.tables().names.zones.get(usize::from(zone)).map(String::as_str)
    }

    /// The device of an endpoint.
    pub(super) fn device(&self, endpoint: u32) -> Option<&str> {
        self.endpoint_name(endpoint)?.device.as_deref()
    }

    /// Whether the rule that permitted a flow has one of these names.
    pub(super) fn has_rule(&self, flow: &Flow, wanted: &[String]) -> bool {
        self.rule(flow).is_some_and(|(name, _)| wanted.contains(&name))
    }

    /// Name and place of the rule that permitted a flow.
    fn rule(&self, flow: &Flow) -> Option<(String, String)> {
        let names = self.state.names(flow.generation.get())?;
        let rule = names.tables.names.rules.get(flow.rule.get() as usize)?;
        Some((rule.name.clone(), rule.place.clone()))
    }

    /// The endpoint of an address of a flow.
    fn endpoint(&self, key: &FlowKey, address: &Address) -> u32 {
        let Some(&realm) = self.realms.get(&key.realm) else {
            return UNKNOWN_ENDPOINT;
        };
        // Addresses mean the same on all VLANs of a realm, but for link-local ones.
        let lans = self.tables().lans.iter().skip(1);
        let lan = lans
            .into_iter()
            .find(|lan| lan.realm == realm && (key.link == 0 || lan.vlan == key.link));
        let found = lan.and_then(|lan| classify::endpoint_id(&self.engine, lan, key.family, address));
        let endpoint = found.unwrap_or(UNKNOWN_ENDPOINT);
        let flags = self.engine.endpoint(endpoint).map_or(0, |endpoint| endpoint.flags);
        if flags & endpoint_flags::DYNAMIC == 0 {
            return endpoint;
        }
        match classify::bound(&self.engine, realm, key.family, address, 0) {
            UNKNOWN_ENDPOINT => endpoint,
            bound => bound,
        }
    }

    /// The flow at `now` on the tick clock, with names.
    pub(super) fn record(&self, key: &FlowKey, flow: &Flow, established: bool, now: u64) -> FlowRecord {
        let ends = self.ends(key, flow);
        let low_first = flow.initiator_low == 1;
        let [low, high] = [(key.low, key.low_port), (key.high, key.high_port)];
        let (from, to) = if low_first { (low, high) } else { (high, low) };
        let has_ports = words::has_ports(key.protocol);
        let end = |endpoint: u32, (address, port): (Address, u16)| FlowEnd {
            zone: self.zone(endpoint).map(str::to_owned),
            device: self.device(endpoint).map(str::to_owned),
            address: words::address(key.family, address),
            port: has_ports.then_some(port),
        };
        let (rule, rule_at) = self.rule(flow).unzip();
        let traffic = |way: usize| Traffic {
            packets: flow.packets[way].get(),
            octets: flow.bytes[way].get(),
        };
        let realm = self.realms.get(&key.realm);
        FlowRecord {
            schema_version: 1,
            established,
            state: state(flow).map_or("unknown", FlowState::name).to_owned(),
            realm: realm.and_then(|realm| self.tables().names.realms.get(usize::from(*realm)).cloned()),
            link: link(key.link),
            initiator: end(ends.initiator, from),
            responder: end(ends.responder, to),
            service: words::service(key.protocol, asked(key.protocol, to.1)),
            rule,
            rule_at: rule_at.filter(|place| !place.is_empty()),
            would_drop: DropReason::from_code(flow.refusal.get())
                .filter(|reason| *reason != DropReason::None)
                .map(|reason| reason.name().to_owned()),
            generation: flow.generation.get(),
            age_seconds: now.saturating_sub(flow.created) / SECOND,
            idle_seconds: now.saturating_sub(flow.seen.get()) / SECOND,
            sent: traffic(0),
            received: traffic(1),
        }
    }
}

/// Nanoseconds a second.
const SECOND: u64 = 1_000_000_000;

/// The state of a flow.
pub(super) fn state(flow: &Flow) -> Option<FlowState> {
    FlowState::ALL.get(usize::from(flow.state.get())).copied()
}

/// The engine on these tables, with these leases: device, realm and address.
fn engine(tables: TableSet, leases: &[(String, String, std::net::Ipv4Addr)]) -> Engine {
    let mut engine = Engine::new(tables, vec![PortSetup::new("flows", 0).entry(0)]);
    for (device, realm, address) in leases {
        let tables = engine.tables();
        let place = tables.dynamic.iter().position(|known| known.name == *device);
        let realm = tables.names.realms.iter().position(|known| known == realm);
        if let (Some(place), Some(realm)) = (place, realm) {
            let key = BindingKey {
                address: [0, 0, 0, (*address).into()],
                realm: realm as u16,
                family: 4,
                reserved: 0,
            };
            engine.bind(key, place as u32, u64::MAX);
        }
    }
    engine
}

/// The port of a service; of ICMP, whose flows are echoes, type and code of the question.
pub(super) fn asked(protocol: u8, port: u16) -> u16 {
    match protocol {
        protocol::ICMP => 8 << 8,
        protocol::ICMPV6 => 128 << 8,
        _ => port,
    }
}

/// The VLAN of a key's link, as policies write it.
pub(super) fn link(link: u32) -> Option<String> {
    let vlan = VlanId {
        outer: (link >> 16) as u16,
        inner: Some(link as u16).filter(|inner| *inner != 0),
    };
    (link != 0).then(|| vlan.to_string())
}
