//! What is in force beside the policy: management access, which the configuration declares, and leases of addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use enforcer::policy::valid::VlanId;
use ipnetwork::IpNetwork;

use super::guard::speaks_of_neighbours;
use super::place::holds;
use super::service::asked_for;
use super::{Content, Ip, Sent};

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Who reaches the gateway itself, whatever the policy says.
    pub management: Vec<Management>,
    /// Who got which address by DHCP.
    pub leases: Vec<Lease>,
}

/// Access to one service at one address of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Management {
    /// The senders.
    pub from: IpNetwork,
    /// The gateway's address.
    pub to: IpAddr,
    /// By which VLAN.
    pub vlan: VlanId,
    /// IP protocol number.
    pub protocol: u8,
    /// First and last port; type and code of ICMP.
    pub ports: (u16, u16),
}

/// An address that a device has for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Number of the address space.
    pub realm: usize,
    /// The address.
    pub address: Ipv4Addr,
    /// Number of the device in the policy.
    pub device: usize,
    /// When it ends, in nanoseconds.
    pub end: u64,
}

impl Beside {
    /// Whether a frame without damage is management access. `outer` is its VLAN, by the port if it has no tag that says one.
    pub(super) fn is_management(&self, sent: &Sent, outer: u16) -> bool {
        let inner = sent.tags.get(1).map_or(0, |tag| tag & 0xfff);
        let mut entries = self.management.iter();
        entries.any(|entry| {
            (entry.vlan.outer, entry.vlan.inner.unwrap_or(0)) == (outer, inner)
                && match &sent.content {
                    Content::Arp(arp) => {
                        let (mac, sender) = arp.sender;
                        holds(entry.from, sender.into())
                            && entry.to == IpAddr::V4(arp.target.1)
                            && mac == sent.source_mac
                    }
                    Content::Ip(ip) => holds(entry.from, ip.source) && entry.is_reached_by(ip),
                    Content::Control(_) | Content::Other(_) => false,
                }
        })
    }

    /// Which device has an address by a lease that has not ended.
    pub(super) fn holder(&self, realm: usize, address: IpAddr, now: u64) -> Option<usize> {
        let mut leases = self.leases.iter();
        let lease = leases.find(|lease| lease.realm == realm && IpAddr::V4(lease.address) == address)?;
        (now < lease.end).then_some(lease.device)
    }
}

impl Management {
    fn is_reached_by(&self, ip: &Ip) -> bool {
        if speaks_of_neighbours(ip) {
            return ip.destination == self.to || ip.destination == solicited_node(self.to);
        }
        let wanted = asked_for(ip);
        let (first, last) = self.ports;
        ip.destination == self.to
            && ip.has_transport()
            && wanted.protocol == self.protocol
            && (first..=last).contains(&wanted.port)
    }
}

/// The group that is asked for who has an address (RFC 4291): the last 24 bits of it behind `ff02::1:ff00:0`.
fn solicited_node(address: IpAddr) -> IpAddr {
    let IpAddr::V6(address) = address else {
        return address;
    };
    let [.., a, b, c] = address.octets();
    let [ab, c] = [u16::from_be_bytes([0xff, a]), u16::from_be_bytes([b, c])];
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, ab, c).into()
}
