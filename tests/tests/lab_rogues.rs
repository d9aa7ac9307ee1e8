//! Rogue servers of a VLAN: a DHCP server and an IPv6 router, each a real dnsmasq beside the declared one. Each is tried in
//! monitor mode first, where it must succeed: a rogue that fails by itself proves nothing. Wants to be root.

use anyhow::{Result, ensure};
use enforcer_tests::lab::dnsmasq::{Dnsmasq, Lease, ask_for_address};
use enforcer_tests::lab::site::{Plan, Site, sysctl};
use enforcer_tests::lab::{Enforcer, eventually};
use enforcer_tests::packet::packet;

/// A pair in the cable of a VLAN: the device on one side, servers and rogue on the other.
fn site() -> Result<Site> {
    let plan = Plan::new().bridged();
    let plan = plan.segment("east", 110, "10.10.110", "fd00:10:110:");
    let plan = plan.host("pump", 30).without_address();
    let plan = plan.segment("west", 110, "10.10.110", "fd00:10:110:");
    plan.host("server", 1).host("rogue", 66).build()
}

/// The server is declared as a DHCP server and as the router.
fn policy(mode: &str) -> String {
    format!(
        "zones:
  pumps:
    vlan: 110
    subnets: [10.10.110.0/24, 'fd00:10:110::/64']
    mode: {mode}
    routers: ['02:00:00:00:6e:01']
devices:
  server:
    {{zone: pumps, mac: '02:00:00:00:6e:01', address: [10.10.110.1, 'fd00:10:110::1'], roles: [dhcp-server]}}
rules:
  inside: {{from: pumps, to: pumps, services: any, action: allow}}
"
    )
}

fn counted(enforcer: &Enforcer<'_>, reason: &str, verdict: &str) -> Result<u64> {
    let labels = [("reason", reason), ("verdict", verdict), ("zone", "pumps")];
    enforcer.count(Enforcer::DROPPED_FRAMES, &labels)
}

#[test]
fn a_lease_comes_from_the_declared_server_only() -> Result<()> {
    let site = site()?;
    let pump = site.inside("pump");
    let rogue = Dnsmasq::dhcp(site.inside("rogue"), "10.10.110.200,10.10.110.250,1h", &[])?;
    let enforcer = site.inline(&policy("monitor"), "")?;
    let lease = ask_for_address(pump)?.expect("in monitor mode, the rogue is believed");
    assert_eq!(
        (lease.server.as_str(), lease.router.as_str()),
        ("10.10.110.66", "10.10.110.66")
    );
    assert_eq!(
        counted(&enforcer, "dhcp-server", "would-drop")?,
        2,
        "offer and acknowledgement"
    );
    pump.ip("addr flush dev eth0 scope global")?;

    site.set_policy(&policy("enforce"))?;
    enforcer.reload()?;
    assert_eq!(ask_for_address(pump)?, None, "{:?}", rogue.log());
    let offered = counted(&enforcer, "dhcp-server", "drop")?;
    assert!(offered >= 1, "the rogue's offers are dropped: {:?}", rogue.log());
    let only = "--dhcp-host=02:00:00:00:6e:1e,10.10.110.30";
    let _server = Dnsmasq::dhcp(site.inside("server"), "10.10.110.100,10.10.110.150,1h", &[only])?;
    let expected = Lease {
        address: "10.10.110.30".into(),
        server: "10.10.110.1".into(),
        router: "10.10.110.1".into(),
        seconds: 3600,
    };
    assert_eq!(ask_for_address(pump)?, Some(expected));
    assert!(
        counted(&enforcer, "dhcp-server", "drop")? > offered,
        "the rogue had tried again"
    );
    site.tool("pump", "ping", &["-c", "1", "-W", "10", "10.10.110.1"])?;
    Ok(())
}

/// What the pump's kernel has taken from router advertisements: addresses, and default routes.
fn taken(site: &Site) -> Result<String> {
    let addresses = site.tool("pump", "ip", &["-6", "-o", "addr", "show", "dev", "eth0", "dynamic"])?;
    let routes = site.tool("pump", "ip", &["-6", "route", "show", "default"])?;
    Ok(format!("{addresses}{routes}"))
}

/// Asks for routers, as a stack does that comes up.
fn solicit(site: &Site) -> Result<()> {
    let all_routers = [0x33, 0x33, 0, 0, 0, 2];
    let frame = packet().macs(site.host("pump").mac, all_routers);
    let frame = frame.ip("::", "ff02::2").ttl(255).icmp(133, 0).build();
    Ok(site.socket("pump")?.send(&frame)?)
}

#[test]
fn a_prefix_and_a_route_come_from_the_declared_router_only() -> Result<()> {
    const ROGUE: &str = "fe80::ff:fe00:6e42";
    let site = site()?;
    sysctl(site.inside("pump"), "ipv6/conf/eth0/accept_ra", "1")?;
    site.inside("rogue").ip("addr add fd00:bad::1/64 dev eth0")?;
    let _rogue = Dnsmasq::router(site.inside("rogue"), "fd00:bad::")?;
    let enforcer = site.inline(&policy("monitor"), "")?;
    eventually("in monitor mode, the rogue is believed", || {
        solicit(&site)?;
        let taken = taken(&site)?;
        Ok(taken.contains("fd00:bad::") && taken.contains(ROGUE))
    })?;
    assert!(counted(&enforcer, "router-advertisement", "would-drop")? > 0);

    site.set_policy(&policy("enforce"))?;
    enforcer.reload()?;
    for what in [
        ["addr", "flush", "dev", "eth0", "dynamic"],
        ["route", "flush", "default", "proto", "ra"],
    ] {
        site.tool("pump", "ip", &[&["-6"][..], &what].concat())?;
    }
    ensure!(taken(&site)?.is_empty(), "a fresh start: {}", taken(&site)?);
    eventually("the rogue's answers are dropped", || {
        solicit(&site)?;
        Ok(counted(&enforcer, "router-advertisement", "drop")? >= 3)
    })?;
    assert_eq!(taken(&site)?, "", "nothing of the rogue");
    let _router = Dnsmasq::router(site.inside("server"), "fd00:10:110::")?;
    eventually("the declared router is believed", || {
        solicit(&site)?;
        let taken = taken(&site)?;
        Ok(taken.contains("fd00:10:110::ff:fe00:6e1e") && taken.contains("fe80::ff:fe00:6e01"))
    })?;
    let taken = taken(&site)?;
    assert!(!taken.contains("bad") && !taken.contains(ROGUE), "{taken}");
    Ok(())
}
