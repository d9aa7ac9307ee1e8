//! A made-up policy for other firewalls, as best practice has it: sets of address, address, protocol and port.

use std::fmt::Write as _;

use crate::policy::{Rule, Size};

/// What the policies permit between the measured frames' ends, beside the made-up rules.
const PROBES: [(&str, &str, &str, u16); 2] = [
    ("172.16.0.0/16", "172.17.0.0/16", "tcp", 443),
    ("172.16.0.0/16", "172.17.0.0/16", "udp", 24105),
];

/// Rules that permit, as far as they do not overlap: sets of concatenated ranges refuse those that do.
pub(super) fn permitted(size: Size) -> Vec<Rule> {
    let mut kept: Vec<(Ends, Rule)> = Vec::new();
    for rule in (0..size.rules)
        .map(|number| size.rule(number))
        .filter(|rule| rule.allow)
    {
        let Some(ends) = Ends::of(&rule) else { continue };
        if !kept.iter().any(|(other, _)| other.overlaps(&ends)) {
            kept.push((ends, rule));
        }
    }
    kept.into_iter().map(|(_, rule)| rule).collect()
}

/// Prefixes as ranges.
struct Ends {
    from: (u32, u32),
    to: (u32, u32),
    port: usize,
}

impl Ends {
    fn of(rule: &Rule) -> Option<Self> {
        Some(Self {
            from: range(&rule.from)?,
            to: range(&rule.to)?,
            port: rule.port,
        })
    }

    fn overlaps(&self, other: &Self) -> bool {
        let meet = |a: (u32, u32), b: (u32, u32)| a.0 <= b.1 && b.0 <= a.1;
        self.port == other.port && meet(self.from, other.from) && meet(self.to, other.to)
    }
}

fn range(prefix: &str) -> Option<(u32, u32)> {
    let (address, length) = prefix.split_once('/')?;
    let address: std::net::Ipv4Addr = address.parse().ok()?;
    let host = u32::MAX.checked_shr(length.parse().ok()?).unwrap_or(0);
    Some((u32::from(address) & !host, u32::from(address) | host))
}

fn elements(size: Size, mut write: impl FnMut(&str, &str, &str, usize)) {
    for rule in permitted(size) {
        for protocol in ["tcp", "udp"] {
            write(&rule.from, &rule.to, protocol, rule.port);
        }
    }
    for (from, to, protocol, port) in PROBES {
        write(from, to, protocol, port.into());
    }
}

/// The elements of a set or verdict map of nftables.
fn concatenated(size: Size, verdict: &str) -> String {
    let mut text = String::new();
    elements(size, |from, to, protocol, port| {
        let _ = writeln!(text, "{from} . {to} . {protocol} . {port}{verdict},");
    });
    text
}

/// The declared pairs of hardware address and address.
fn devices(size: Size) -> String {
    let mut text = String::from("02:00:00:00:00:01 . 172.16.0.21,\n");
    for device in (0..size.devices).map(|number| size.device(number)) {
        let _ = writeln!(text, "{} . {},", device.mac, device.address);
    }
    text
}

/// At the ingress of the port, before anything else: sources, then a set of what is permitted.
pub(super) fn netdev(size: Size) -> String {
    format!(
        "table netdev bench {{
  set known {{ type ether_addr . ipv4_addr; elements = {{ {} }} }}
  set permitted {{ type ipv4_addr . ipv4_addr . inet_proto . inet_service; flags interval; elements = {{ {} }} }}
  chain ingress {{
    type filter hook ingress device p0 priority 0; policy drop;
    ether type arp accept
    ether saddr . ip saddr != @known drop
    ip saddr . ip daddr . meta l4proto . th dport @permitted accept
  }}
}}",
        devices(size),
        concatenated(size, "")
    )
}

/// In the forward hook of a family (`inet`, `bridge`): flows first where `states`, then a verdict map.
pub(super) fn forward(family: &str, size: Size, states: bool) -> String {
    let states = if states {
        "ct state vmap { established : accept, related : accept, invalid : drop }"
    } else {
        "iifname p1 accept"
    };
    format!(
        "table {family} bench {{
  map permitted {{ type ipv4_addr . ipv4_addr . inet_proto . inet_service : verdict; flags interval; elements = {{ {} }} }}
  chain forward {{
    type filter hook forward priority 0; policy drop;
    {states}
    ip saddr . ip daddr . meta l4proto . th dport vmap @permitted
  }}
}}",
        concatenated(size, " : accept")
    )
}

/// For `ipset restore`.
pub(super) fn ipset(size: Size) -> String {
    let mut text = String::from("create permitted hash:net,port,net maxelem 1000000\n");
    elements(size, |from, to, protocol, port| {
        let _ = writeln!(text, "add permitted {from},{protocol}:{port},{to} -exist");
    });
    text
}

/// For `iptables-restore`: refuses before conntrack, permits flows and the set.
pub(super) const IPTABLES: &str = "*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -i p0 -m set ! --match-set permitted src,dst,dst -j DROP
COMMIT
*filter
:FORWARD DROP [0:0]
-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A FORWARD -m set --match-set permitted src,dst,dst -j ACCEPT
COMMIT
";

/// The same without ipset: a rule for each element, one after the other.
pub(super) fn iptables_list(size: Size) -> String {
    let mut list = String::new();
    elements(size, |from, to, protocol, port| {
        let _ = writeln!(
            list,
            "-A PERMITTED -s {from} -d {to} -p {protocol} --dport {port} -j ACCEPT"
        );
    });
    format!(
        "*raw
:PREROUTING ACCEPT [0:0]
:PERMITTED - [0:0]
{list}-A PERMITTED -j DROP
-A PREROUTING -i p0 -j PERMITTED
COMMIT
*filter
:FORWARD DROP [0:0]
:PERMITTED - [0:0]
-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
{list}-A FORWARD -j PERMITTED
COMMIT
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_elements_overlap_and_most_rules_are_there() {
        let size = Size::MEDIUM;
        let rules = permitted(size);
        assert!(rules.len() > size.rules / 2, "{}", rules.len());
        assert!(rules.iter().all(|rule| rule.allow));
        let ends: Vec<_> = rules.iter().filter_map(Ends::of).collect();
        for (number, one) in ends.iter().enumerate() {
            assert!(!ends[number + 1..].iter().any(|other| other.overlaps(one)));
        }
        assert_eq!(range("10.0.16.0/20"), Some((0x0a00_1000, 0x0a00_1fff)));
        assert_eq!(range("10.0.0.7/32"), Some((0x0a00_0007, 0x0a00_0007)));
    }

    #[test]
    fn each_firewall_gets_the_measured_pair() {
        let size = Size::SMALL;
        assert!(netdev(size).contains("172.16.0.0/16 . 172.17.0.0/16 . udp . 24105,"));
        assert!(forward("inet", size, true).contains(". udp . 24105 : accept,"));
        assert!(iptables_list(size).contains("-d 172.17.0.0/16 -p udp --dport 24105 -j ACCEPT"));
        assert!(ipset(size).contains("add permitted 172.16.0.0/16,udp:24105,172.17.0.0/16"));
    }
}
