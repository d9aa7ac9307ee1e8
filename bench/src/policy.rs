//! Made-up policies of any size, and in each the same few zones that frames are measured with.

use std::fmt::Write as _;

use anyhow::{Result, anyhow};
use enforcer::diagnostics::Diagnostics;
use enforcer::policy::{self, TableSet};

/// How large a policy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) rules: usize,
    pub(crate) devices: usize,
    /// At most 4,000, of which each is a VLAN.
    pub(crate) zones: usize,
    /// Services that the rules speak of, at most 4,000.
    pub(crate) services: usize,
}

impl Size {
    /// What a hospital group might have: the size that most cases are measured with.
    pub(crate) const LARGE: Self = Self {
        rules: 10_000,
        devices: 100_000,
        zones: 100,
        services: 100,
    };
    /// A ward.
    pub(crate) const SMALL: Self = Self {
        rules: 10,
        devices: 10,
        zones: 2,
        services: 10,
    };
    /// In between.
    pub(crate) const MEDIUM: Self = Self {
        rules: 1_000,
        devices: 1_000,
        zones: 20,
        services: 100,
    };
}

/// First port of the services; below it no rule permits anything.
const FIRST_PORT: usize = 1024;

/// A rule of the made-up part, for the other firewalls that get the same policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Prefixes in text.
    pub(crate) from: String,
    pub(crate) to: String,
    /// Of TCP and of UDP.
    pub(crate) port: usize,
    pub(crate) allow: bool,
}

/// A device of the made-up part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) zone: usize,
    pub(crate) mac: String,
    pub(crate) address: String,
    pub(crate) address6: String,
}

impl Size {
    /// 4,096 addresses for each zone.
    fn subnet(zone: usize) -> String {
        format!("10.{}.{}.0/20", zone / 16, zone % 16 * 16)
    }

    /// Device `number`; they are spread evenly over the zones.
    pub(crate) fn device(&self, number: usize) -> Device {
        let (zone, host) = (number % self.zones, number / self.zones + 10);
        let [high, low] = (host as u16).to_be_bytes();
        let [above, below] = (zone as u16).to_be_bytes();
        Device {
            zone,
            mac: format!("02:00:{above:02x}:{below:02x}:{high:02x}:{low:02x}"),
            address: format!("10.{}.{}.{}", zone / 16, zone % 16 * 16 + usize::from(high), low),
            address6: format!("fd00:0:0:{zone:x}::{host:x}"),
        }
    }

    /// Rule `number`, between zones, or to or from single devices.
    pub(crate) fn rule(&self, number: usize) -> Rule {
        let (from, to) = self.ends(number);
        let prefix = |end| match end {
            End::Zone(zone) => Self::subnet(zone),
            End::Device(device) => format!("{}/32", self.device(device).address),
        };
        Rule {
            from: prefix(from),
            to: prefix(to),
            port: self.port(number),
            allow: !number.is_multiple_of(7),
        }
    }

    fn ends(&self, number: usize) -> (End, End) {
        let zone = |salt: usize| End::Zone((number * 31 + salt * 17) % self.zones);
        let device = |salt: usize| End::Device((number * 7919 + salt * 104_729) % self.devices);
        match number % 5 {
            0 | 1 => (zone(1), zone(2)),
            2 => (device(1), zone(2)),
            3 => (zone(1), device(2)),
            _ => (device(1), device(2)),
        }
    }

    fn port(&self, number: usize) -> usize {
        FIRST_PORT + number % self.services * 8
    }

    /// The policy as YAML.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from("zones:\n");
        for zone in 0..self.zones {
            let _ = writeln!(
                text,
                "  zone-{zone}: {{vlan: {}, subnets: [{}, \"fd00:0:0:{zone:x}::/64\"], mode: enforce}}",
                zone + 2,
                Self::subnet(zone)
            );
        }
        text.push_str(PROBE_ZONES);
        text.push_str("devices:\n");
        for number in 0..self.devices {
            let Device {
                zone,
                mac,
                address,
                address6,
            } = self.device(number);
            let _ = writeln!(
                text,
                "  device-{number}: {{zone: zone-{zone}, mac: \"{mac}\", address: [{address}, \"{address6}\"]}}"
            );
        }
        text.push_str(PROBE_DEVICES);
        text.push_str("rules:\n");
        for number in 0..self.rules {
            let (from, to) = self.ends(number);
            let Rule { port, allow, .. } = self.rule(number);
            let action = if allow { "allow" } else { "deny" };
            let _ = writeln!(
                text,
                "  rule-{number}: {{from: {}, to: {}, services: [tcp/{port}, udp/{port}], action: {action}}}",
                from.name(),
                to.name()
            );
        }
        text.push_str(PROBE_RULES);
        text
    }

    /// The policy, compiled.
    pub(crate) fn tables(&self) -> Result<TableSet> {
        compiled(self.text())
    }
}

/// Reads and compiles a policy.
pub(crate) fn compiled(text: String) -> Result<TableSet> {
    let readable = |errors: Diagnostics| anyhow!("the made-up policy is broken:\n{}", errors.render(false));
    let policy = policy::load_texts([("made-up.yaml".into(), text)]).map_err(readable)?;
    policy::compile(&policy).map_err(readable)
}

/// An end of a rule.
#[derive(Clone, Copy)]
enum End {
    Zone(usize),
    Device(usize),
}

impl End {
    fn name(self) -> String {
        match self {
            Self::Zone(zone) => format!("zone-{zone}"),
            Self::Device(device) => format!("device-{device}"),
        }
    }
}

/// `near` and `far` have no limits; `guarded` and `served` have, on what each address sends and is sent, and a storm budget. All
/// are at the fastest that a policy may say, so that they are charged and refuse nothing; those called `slow` refuse nearly
/// everything.
const PROBE_ZONES: &str = r#"
  near: {vlan: 4001, subnets: [172.16.0.0/16, "fd01:0:0:1::/64"], mode: enforce}
  far: {vlan: 4002, subnets: [172.17.0.0/16, "fd01:0:0:2::/64"], mode: enforce}
  stacked: {vlan: "4003.7", subnets: [172.18.0.0/16], mode: enforce}
  guarded:
    vlan: 4004
    subnets: [172.19.0.0/16]
    mode: enforce
    limits: {from: {packets: 20M/s}, toward: {packets: 20M/s}}
    broadcast: {packets: 20M/s}
  served:
    vlan: 4005
    subnets: [172.20.0.0/16]
    mode: enforce
    limits: {from: {packets: 20M/s}, toward: {packets: 20M/s}}
  stormy: {vlan: 4006, subnets: [172.21.0.0/16], mode: enforce, broadcast: {packets: 10/s}}
  watched: {vlan: 4007, subnets: [172.22.0.0/16], mode: monitor}
  watched-too: {vlan: 4008, subnets: [172.23.0.0/16], mode: monitor}
"#;

const PROBE_DEVICES: &str = r#"
  near-1: {zone: near, mac: "02:00:00:00:00:01", address: [172.16.0.21, "fd01:0:0:1::21"]}
  far-1: {zone: far, address: [172.17.0.10, "fd01:0:0:2::10"]}
"#;

const PROBE_RULES: &str = "
  probe-web: {from: near, to: far, services: [tcp/443, udp/24105, icmp/echo-request], action: allow}
  probe-groups: {from: near, to: 239.1.1.1/32, services: udp/5000, action: allow}
  probe-stacked: {from: stacked, to: far, services: tcp/443, action: allow}
  probe-guarded: {from: guarded, to: served, services: [tcp/443, udp/24105], action: allow}
  probe-fast: {from: near, to: far, services: udp/7001, action: allow, limit: {packets: 20M/s, scope: source}}
  probe-slow: {from: near, to: far, services: udp/7002, action: allow, limit: {packets: 10/s, scope: source}}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_compiles_and_has_what_was_asked_for() -> Result<()> {
        for size in [
            Size::SMALL,
            Size {
                zones: 3,
                services: 1,
                ..Size::SMALL
            },
        ] {
            let tables = size.tables()?;
            let named = |prefix: &str| {
                tables
                    .names
                    .rules
                    .iter()
                    .filter(|rule| rule.name.starts_with(prefix))
                    .count()
            };
            assert_eq!(named("rule-"), size.rules);
            let devices = tables.names.endpoints.iter().filter_map(|end| end.device.as_ref());
            let numbered: std::collections::BTreeSet<_> = devices.filter(|name| name.starts_with("device-")).collect();
            assert_eq!(numbered.len(), size.devices);
        }
        Ok(())
    }

    #[test]
    fn devices_have_addresses_of_their_own_inside_of_their_zones() {
        let size = Size::LARGE;
        let all: std::collections::BTreeSet<_> = (0..size.devices).map(|number| size.device(number).address).collect();
        assert_eq!(all.len(), size.devices);
        assert_eq!(size.device(99_999).address, "10.6.51.241");
        assert_eq!(Size::subnet(99), "10.6.48.0/20");
    }
}
