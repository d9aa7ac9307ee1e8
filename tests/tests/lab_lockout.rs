//! A policy that shuts everybody out leaves the way in for those who have to mend it. Wants to be root.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use enforcer_tests::clinical::hl7;
use enforcer_tests::lab::site::{Plan, Site};
use enforcer_tests::lab::{Enforcer, PATIENCE, eventually};

const MANAGEMENT: &str = "management = [{from = ['10.99.0.0/24', 'fd00:99:0::/64', 'fe80::/10'], \
                          to = ['10.99.0.1', 'fd00:99:0::1'], vlan = 99, services = ['tcp/22']}]";
const OPEN: &str = "zones:
  office: {vlan: 99, subnets: [10.99.0.0/24, 'fd00:99:0::/64'], gateway: [10.99.0.1, 'fd00:99:0::1'], mode: enforce}
  pumps: {vlan: 110, subnets: [10.10.110.0/24, 'fd00:10:110::/64'], gateway: [10.10.110.1, 'fd00:10:110::1'], mode: enforce}
rules:
  to-the-gateway: {from: any, to: self, services: any, action: allow}
";
/// Denies everything that a rule can deny.
const CLOSED: &str = "zones:
  office: {vlan: 99, subnets: [10.99.0.0/24, 'fd00:99:0::/64'], gateway: [10.99.0.1, 'fd00:99:0::1'], mode: enforce}
  pumps: {vlan: 110, subnets: [10.10.110.0/24, 'fd00:10:110::/64'], gateway: [10.10.110.1, 'fd00:10:110::1'], mode: enforce}
rules:
  nothing: {from: any, to: any, services: any, action: deny, priority: 9}
  not-even-the-gateway: {from: any, to: self, services: any, action: deny, priority: 9}
";
/// Somebody has forgotten the office, so its VLAN is declared by nobody.
const FORGOTTEN: &str = "zones:
  pumps: {vlan: 110, subnets: [10.10.110.0/24, 'fd00:10:110::/64'], gateway: [10.10.110.1, 'fd00:10:110::1'], mode: enforce}
rules:
  nothing: {from: any, to: any, services: any, action: deny}
";
/// How long to wait for what must not come.
const SILENCE: Duration = Duration::from_millis(300);

/// Both families' addresses of the gateway where the office is.
const OFFICE: [&str; 2] = ["10.99.0.1", "fd00:99:0::1"];

fn build() -> Result<Site> {
    let site = Plan::new()
        .segment("office", 99, "10.99.0", "fd00:99:0:")
        .host("console", 21)
        .segment("pumps", 110, "10.10.110", "fd00:10:110:")
        .host("pump", 21)
        .build()?;
    for port in [22, 23] {
        let any = SocketAddr::from(([0_u16; 8], port));
        let listener = site.gateway().enter(|| TcpListener::bind(any))?;
        // Each session has a server of its own, and ends with it.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || hl7::acknowledge(stream));
            }
        });
    }
    Ok(site)
}

/// A session of the console with the gateway, as one of a remote shell would be.
fn open(site: &Site, from: &str, to: &str, port: u16, limit: Duration) -> Result<TcpStream> {
    let at = SocketAddr::from((to.parse::<IpAddr>()?, port));
    let stream = site.inside(from).enter(|| TcpStream::connect_timeout(&at, limit))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Nobody else, and nothing else, has a way in.
fn ensure_closed_otherwise(site: &Site) -> Result<()> {
    for (from, to, port) in [
        ("console", "10.99.0.1", 23),
        ("pump", "10.10.110.1", 22),
        ("pump", "10.99.0.1", 22),
    ] {
        ensure!(
            open(site, from, to, port, SILENCE).is_err(),
            "{from} reaches port {port} of {to}"
        );
    }
    Ok(())
}

#[test]
fn neither_a_deny_of_everything_nor_a_forgotten_vlan_locks_management_out() -> Result<()> {
    let site = build()?;
    let enforcer = site.start(OPEN, MANAGEMENT)?;
    let sessions = OFFICE.map(|to| open(&site, "console", to, 22, PATIENCE));
    let sessions = sessions.into_iter().collect::<Result<Vec<_>>>()?;
    let failsafe = || enforcer.count("enforcer_failsafe_frames_total", &[]);
    for (number, policy) in [CLOSED, FORGOTTEN, OPEN, FORGOTTEN, CLOSED].into_iter().enumerate() {
        site.set_policy(policy)?;
        enforcer.reload()?;
        let before = failsafe()?;
        for (to, session) in OFFICE.iter().zip(&sessions) {
            hl7::send_observation(session, &number.to_string()).with_context(|| format!("open session to {to}"))?;
            let again = open(&site, "console", to, 22, PATIENCE).with_context(|| format!("new session to {to}"))?;
            hl7::send_observation(&again, "1")?;
        }
        eventually("they are counted", || Ok(failsafe()? >= before + 16))?;
        if policy != OPEN {
            ensure_closed_otherwise(&site)?;
        }
    }
    Ok(())
}

/// Not the stack, nor anything else, but the management entry is what keeps the way open.
#[test]
fn without_the_entry_the_same_policies_shut_the_console_out() -> Result<()> {
    let site = build()?;
    let enforcer: Enforcer<'_> = site.start(OPEN, "")?;
    open(&site, "console", "10.99.0.1", 22, PATIENCE)?;
    for policy in [CLOSED, FORGOTTEN] {
        site.set_policy(policy)?;
        enforcer.reload()?;
        for to in OFFICE {
            ensure!(open(&site, "console", to, 22, SILENCE).is_err(), "{to} is open");
        }
    }
    Ok(())
}
