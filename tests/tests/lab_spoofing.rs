//! Somebody on a VLAN claims another's address; the tables of the victims' kernels show whether it was believed. Each
//! attack is tried in monitor mode first, where it must succeed: an attack that fails by itself proves nothing. Wants to
//! be root.

use anyhow::{Context, Result, ensure};
use enforcer_tests::lab::router::GATEWAY_MAC;
use enforcer_tests::lab::site::{Plan, Site, sysctl};
use enforcer_tests::lab::{Enforcer, eventually};
use enforcer_tests::packet::{BROADCAST, Builder, Frame, Mac, arp, mac_text, packet};

const PUMP: [&str; 2] = ["10.10.110.21", "fd00:10:110::21"];
const GATEWAY: [&str; 2] = ["10.10.110.1", "fd00:10:110::1"];
const ALL_NODES: &str = "ff02::1";

/// The pump is declared with its hardware address, and so is whoever has the gateway's addresses.
fn policy(gateway: &str, devices: &str, mode: &str) -> String {
    format!(
        "zones:
  pumps: {{vlan: 110, subnets: [10.10.110.0/24, 'fd00:10:110::/64'], {gateway} mode: {mode}}}
devices:
  pump: {{zone: pumps, mac: '02:00:00:00:6e:15', address: [10.10.110.21, 'fd00:10:110::21']}}
{devices}
rules:
  inside: {{from: pumps, to: [pumps, self], services: any, action: allow}}
"
    )
}

/// An ARP announcement, or an unsolicited neighbour advertisement that overrides what is known.
fn announcement(mac: Mac, address: &str) -> Frame {
    let frame = packet().from_mac(mac).to_mac(BROADCAST);
    if address.contains(':') {
        advertisement(frame.to_mac([0x33, 0x33, 0, 0, 0, 1]), mac, address, ALL_NODES)
    } else {
        frame.arp(arp::REQUEST, (mac, address), ([0; 6], address)).build()
    }
}

fn advertisement(frame: Builder, mac: Mac, address: &str, to: &str) -> Frame {
    const OVERRIDE: u16 = 0x2000;
    let message = [&octets(address)[..], &[2, 1], &mac].concat();
    let frame = frame.ip(address, to).ttl(255).icmp(136, 0).identifier(OVERRIDE);
    frame.payload(message).build()
}

fn octets(address: &str) -> [u8; 16] {
    let address: std::net::Ipv6Addr = address.parse().expect("an IPv6 address");
    address.octets()
}

/// Everything that an attacker can say to make a victim believe that an address is his.
fn claims(attacker: Mac, owner: Mac, address: &str, victim: (Mac, &str)) -> Vec<Frame> {
    let to_victim = packet().macs(attacker, victim.0);
    let announced = announcement(attacker, address);
    if address.contains(':') {
        let asked = [&octets(victim.1)[..], &[1, 1], &attacker].concat();
        let asking = to_victim.clone().ip(address, victim.1).ttl(255).icmp(135, 0);
        return vec![
            announced,
            advertisement(to_victim, attacker, address, victim.1),
            asking.payload(asked).build(),
        ];
    }
    let reply = to_victim.clone().arp(arp::REPLY, (attacker, address), victim);
    // The owner's address outside, for those who only look there.
    let disguised = reply.clone().from_mac(owner);
    let request = to_victim.arp(arp::REQUEST, (attacker, address), ([0; 6], victim.1));
    vec![announced, reply.build(), disguised.build(), request.build()]
}

/// Who claims whose address, and whose table shows it.
struct Trial<'a> {
    site: &'a Site,
    enforcer: &'a Enforcer<'a>,
    /// The claimed addresses, and who has them.
    claimed: [&'a str; 2],
    owner: Mac,
    /// The victim.
    victim: (Mac, [&'a str; 2]),
    /// What its table has for an address.
    table: &'a dyn Fn(&str) -> Result<Option<String>>,
}

const REASONS: [&str; 2] = ["arp-spoof", "neighbour-spoof"];

impl Trial<'_> {
    fn believes(&self, family: usize, mac: Mac) -> Result<bool> {
        Ok((self.table)(self.claimed[family])? == Some(mac_text(mac)))
    }

    fn attack(&self, family: usize) -> Result<u64> {
        let attacker = self.site.socket("attacker")?;
        let victim = (self.victim.0, self.victim.1[family]);
        let mac = self.site.host("attacker").mac;
        let claims = claims(mac, self.owner, self.claimed[family], victim);
        claims.iter().try_for_each(|claim| attacker.send(claim))?;
        // Behind them, on the same way, something honest: when that is answered, all before it has had its effect.
        self.site.tool("attacker", "ping", &["-c", "1", "-W", "10", victim.1])?;
        Ok(claims.len() as u64)
    }

    fn counted(&self, family: usize, verdict: &str) -> Result<u64> {
        let labels = [("reason", REASONS[family]), ("verdict", verdict), ("zone", "pumps")];
        self.enforcer.count(Enforcer::DROPPED_FRAMES, &labels)
    }

    /// In monitor mode: it works, and is noted.
    fn succeeds(&self) -> Result<()> {
        let attacker = self.site.host("attacker").mac;
        for family in 0..2 {
            let claims = self.attack(family)?;
            ensure!(self.believes(family, attacker)?, "{}", self.claimed[family]);
            let noted = self.counted(family, "would-drop")?;
            ensure!(noted == claims, "{noted} of {claims} claims noted");
        }
        Ok(())
    }

    /// In enforce mode: the owner is believed, the attacker is not.
    fn fails(&self, speaker: &str) -> Result<()> {
        for (family, address) in self.claimed.iter().enumerate() {
            self.site.socket(speaker)?.send(&announcement(self.owner, address))?;
            eventually("the owner is believed", || self.believes(family, self.owner))?;
            let claims = self.attack(family)?;
            ensure!(
                self.believes(family, self.owner)?,
                "{address} is {:?} now",
                (self.table)(address)?
            );
            let dropped = self.counted(family, "drop")?;
            ensure!(dropped == claims, "{dropped} of {claims} claims counted");
        }
        Ok(())
    }
}

#[test]
fn a_device_s_address_cannot_be_claimed_toward_the_gateway() -> Result<()> {
    let gateway = "gateway: [10.10.110.1, 'fd00:10:110::1'],";
    let plan = Plan::new().segment("pumps", 110, "10.10.110", "fd00:10:110:");
    let site = plan.host("pump", 21).host("attacker", 66).build()?;
    // Linux believes a change at most once a second otherwise.
    sysctl(site.gateway(), "ipv4/neigh/pumps/locktime", "0")?;
    let enforcer = site.start(&policy(gateway, "", "monitor"), "")?;
    for address in GATEWAY {
        site.tool("pump", "ping", &["-c", "1", "-W", "10", address])?;
    }
    let trial = Trial {
        site: &site,
        enforcer: &enforcer,
        claimed: PUMP,
        owner: site.host("pump").mac,
        victim: (GATEWAY_MAC, GATEWAY),
        table: &|address| site.gateway_neighbour(address),
    };
    trial.succeeds()?;
    site.set_policy(&policy(gateway, "", "enforce"))?;
    enforcer.reload()?;
    trial.fails("pump")
}

/// Pitfall 11: in monitor mode, the attack works and is a `would-drop`.
#[test]
fn the_gateway_s_address_cannot_be_claimed_across_a_pair() -> Result<()> {
    let device = "  router: {zone: pumps, mac: '02:00:00:00:6e:01', address: [10.10.110.1, 'fd00:10:110::1']}";
    let plan = Plan::new().bridged();
    let plan = plan
        .segment("east", 110, "10.10.110", "fd00:10:110:")
        .host("attacker", 66);
    let plan = plan.segment("west", 110, "10.10.110", "fd00:10:110:");
    let site = plan.host("router", 1).host("pump", 21).build()?;
    sysctl(site.inside("pump"), "ipv4/neigh/eth0/locktime", "0")?;
    let enforcer = site.inline(&policy("", device, "monitor"), "")?;
    for address in GATEWAY {
        site.tool("pump", "ping", &["-c", "1", "-W", "10", address])?;
    }
    let trial = Trial {
        site: &site,
        enforcer: &enforcer,
        claimed: GATEWAY,
        owner: site.host("router").mac,
        victim: (site.host("pump").mac, PUMP),
        table: &|address| site.neighbour("pump", address),
    };
    trial.succeeds().context("in monitor mode")?;
    site.set_policy(&policy("", device, "enforce"))?;
    enforcer.reload()?;
    trial.fails("router")
}
