//! What is declared: zones, devices and watched promises that come, go, or say something else than before.

use serde::Serialize;

use super::{services, words};
use crate::policy::valid::{
    Device, GuardMode, Guards, Mode, MustFlow, OnNoPolicy, Selector, ServiceMatch, ValidPolicy, Zone,
};
use crate::words as written;

/// Zones, devices or promises, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Inventory {
    /// Those that only the policy after has.
    pub added: Vec<String>,
    /// Those that only the policy before has.
    pub removed: Vec<String>,
    /// What those that both have say otherwise.
    pub changed: Vec<Attribute>,
}

/// Something that one of them says otherwise than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attribute {
    /// The zone, device or promise.
    pub name: String,
    /// The key in the policy.
    pub key: &'static str,
    /// What it says before.
    pub before: String,
    /// What it says after.
    pub after: String,
}

impl Inventory {
    /// Whether nothing comes, goes or changes.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// Compares two lists that are sorted by name.
    fn of<T>(lists: [&[T]; 2], name: impl Fn(&T) -> &str, attributes: impl Fn(&T, usize) -> Attributes) -> Self {
        let mut inventory = Self::default();
        let [mut before, mut after] = lists;
        loop {
            let order = match (before.first(), after.first()) {
                (None, None) => return inventory,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(old), Some(new)) => name(old).cmp(name(new)),
            };
            if order.is_lt() {
                inventory.removed.push(name(&before[0]).to_owned());
            } else if order.is_gt() {
                inventory.added.push(name(&after[0]).to_owned());
            } else {
                let told = name(&after[0]);
                let pairs = attributes(&before[0], 0).into_iter().zip(attributes(&after[0], 1));
                let changed = pairs.filter(|((_, old), (_, new))| old != new);
                let changed = changed.map(|((key, before), (_, after))| Attribute {
                    name: told.to_owned(),
                    key,
                    before,
                    after,
                });
                inventory.changed.extend(changed);
            }
            before = &before[usize::from(order.is_le())..];
            after = &after[usize::from(order.is_ge())..];
        }
    }
}

/// Keys and what they say, always the same keys in the same order.
type Attributes = Vec<(&'static str, String)>;

/// The declared zones of two policies. The class is left out: what it says is filled in.
pub(super) fn zones(policies: [&ValidPolicy; 2]) -> Inventory {
    let declared = policies.map(|policy| policy.zones.get(2..).unwrap_or_default());
    Inventory::of(
        declared,
        |zone: &Zone| &zone.name,
        |zone, side| of_zone(zone, policies[side]),
    )
}

/// The devices of two policies.
pub(super) fn devices(policies: [&ValidPolicy; 2]) -> Inventory {
    let declared = policies.map(|policy| policy.devices.as_slice());
    Inventory::of(
        declared,
        |device: &Device| &device.name,
        |device, side| of_device(device, policies[side]),
    )
}

/// What two policies let the controller watch for silence. Promises without it change nothing that runs: they are proven
/// when a policy is read.
pub(super) fn watched(policies: [&ValidPolicy; 2]) -> Inventory {
    let [before, after] = policies.map(|policy| {
        let mut watched: Vec<_> = policy.must_flow.iter().filter(|one| one.silence.is_some()).collect();
        watched.sort_by_key(|one| &one.kept.name);
        watched
    });
    Inventory::of(
        [&before, &after],
        |one: &&MustFlow| &one.kept.name,
        |one, side| of_promise(one, policies[side]),
    )
}

fn of_promise(promise: &MustFlow, policy: &ValidPolicy) -> Attributes {
    let ends = |selectors: &[Selector]| {
        let name = |selector: &Selector| match *selector {
            Selector::Any => "any".to_owned(),
            Selector::Zone(zone) => policy.zones[zone].name.clone(),
            Selector::Device(device) => policy.devices[device].name.clone(),
            Selector::Prefix(prefix) => prefix.to_string(),
        };
        sorted(selectors.iter().map(name).collect())
    };
    let service = |service: &ServiceMatch| match *service {
        ServiceMatch::Any => "any".to_owned(),
        ServiceMatch::Protocol(protocol) => written::protocol(protocol),
        ServiceMatch::Ports { protocol, first, last } => services::written(protocol, first, last),
    };
    vec![
        ("silence", format!("{:?}", promise.silence.unwrap_or_default())),
        ("from", ends(&promise.kept.from)),
        ("to", ends(&promise.kept.to)),
        ("services", sorted(promise.kept.services.iter().map(service).collect())),
    ]
}

fn of_zone(zone: &Zone, policy: &ValidPolicy) -> Attributes {
    let mode = match zone.mode {
        Some(Mode::Enforce) => "enforce",
        _ => "monitor",
    };
    let on_no_policy = match zone.on_no_policy {
        OnNoPolicy::Pass => "pass",
        OnNoPolicy::Drop => "drop",
    };
    let tcp = if zone.strict_tcp { "strict" } else { "loose" };
    vec![
        ("vlan", zone.vlan.map(|vlan| vlan.to_string()).unwrap_or_default()),
        ("realm", policy.realms[zone.realm].clone()),
        ("subnets", listed(&zone.subnets)),
        ("gateway", listed(&zone.gateways)),
        ("mode", mode.to_owned()),
        ("guards", guards(zone.guards)),
        (
            "routers",
            joined(&zone.routers.iter().map(|mac| written::mac(*mac)).collect::<Vec<_>>()),
        ),
        ("broadcast", words::limit(zone.broadcast)),
        ("tcp", tcp.to_owned()),
        ("limits", words::limits(zone.limits)),
        ("least_mss", zone.least_mss.to_string()),
        ("on_no_policy", on_no_policy.to_owned()),
    ]
}

fn of_device(device: &Device, policy: &ValidPolicy) -> Attributes {
    let mac = device.mac.map_or_else(|| "none".to_owned(), written::mac);
    vec![
        ("zone", policy.zones[device.zone].name.clone()),
        ("mac", mac),
        ("address", listed(&device.addresses)),
        ("dhcp", device.dynamic.to_string()),
        (
            "roles",
            if device.dhcp_server { "dhcp-server" } else { "none" }.to_owned(),
        ),
        ("limits", words::limits(device.limits)),
        ("least_mss", device.least_mss.to_string()),
    ]
}

/// In no order of its own, so that only what is said counts.
fn listed<T: ToString + Ord + Copy>(items: &[T]) -> String {
    let mut items = items.to_vec();
    items.sort_unstable();
    items.dedup();
    joined(&items.iter().map(T::to_string).collect::<Vec<_>>())
}

fn sorted(mut items: Vec<String>) -> String {
    items.sort_unstable();
    items.dedup();
    joined(&items)
}

fn joined(items: &[String]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items.join(", ")
}

fn guards(guards: Guards) -> String {
    let word = |mode: GuardMode| match mode {
        GuardMode::Off => "off",
        GuardMode::Monitor => "monitor",
        GuardMode::Enforce => "enforce",
    };
    let all = [
        ("source", guards.source),
        ("arp", guards.arp),
        ("neighbour", guards.neighbour),
        ("dhcp", guards.dhcp),
        ("router", guards.router),
    ];
    let all = all.iter().map(|(name, mode)| format!("{name} {}", word(*mode)));
    joined(&all.collect::<Vec<_>>())
}
