//! A promise of a policy, as flows are held against it.

use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;

use crate::policy::link_scoped;
use crate::policy::valid::{MustFlow, Selector, ServiceMatch, ValidPolicy};

/// A `must_flow` with its `silence`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Its name.
    pub must_flow: String,
    /// For how long nobody may be silent.
    pub silence: Duration,
    from: Vec<Ends>,
    to: Vec<Ends>,
    services: Vec<ServiceMatch>,
}

/// A selector without the policy around it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ends {
    Any,
    Zone(usize),
    Device(String),
    Prefix(IpNetwork),
}

/// One end of a flow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Party<'n> {
    pub(crate) zone: usize,
    pub(crate) device: Option<&'n str>,
    pub(crate) address: IpAddr,
}

impl Watch {
    /// Those of a policy.
    pub(crate) fn all(policy: &ValidPolicy) -> Vec<Self> {
        let watches = policy.must_flow.iter();
        watches.filter_map(|promise| Self::of(promise, policy)).collect()
    }

    fn of(promise: &MustFlow, policy: &ValidPolicy) -> Option<Self> {
        let ends = |selectors: &[Selector]| {
            let end = |selector: &Selector| match *selector {
                Selector::Any => Ends::Any,
                Selector::Zone(zone) => Ends::Zone(zone),
                Selector::Device(device) => Ends::Device(policy.devices[device].name.clone()),
                Selector::Prefix(prefix) => Ends::Prefix(prefix),
            };
            selectors.iter().map(end).collect()
        };
        Some(Self {
            must_flow: promise.kept.name.clone(),
            silence: promise.silence?,
            from: ends(&promise.kept.from),
            to: ends(&promise.kept.to),
            services: promise.kept.services.clone(),
        })
    }

    /// Whether a flow between these is promised.
    pub(crate) fn covers(&self, [from, to]: [Party<'_>; 2], protocol: u8, port: u16) -> bool {
        let service = |service: &ServiceMatch| service.covers(protocol, port);
        self.services.iter().any(service)
            && self.from.iter().any(|ends| ends.hold(from))
            && self.to.iter().any(|ends| ends.hold(to))
    }
}

impl Ends {
    fn hold(&self, party: Party<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::Zone(zone) => *zone == party.zone,
            Self::Device(name) => party.device == Some(name),
            Self::Prefix(prefix) => link_scoped::prefix_matches(*prefix, party.address),
        }
    }
}
