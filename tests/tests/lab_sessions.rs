//! An HL7 session that is open while the policy changes: sessions of laboratories last for days. Wants to be root.
//!
//! Pitfall 14 of comparable systems: established sessions survived a new deny. And the reverse: a change that does not
//! concern a session must not break it.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use enforcer_tests::clinical::hl7;
use enforcer_tests::lab::site::{Plan, Site};
use enforcer_tests::lab::{Enforcer, PATIENCE, eventually};

/// Rules are what changes.
fn policy(rules: &str) -> String {
    format!(
        "zones:
  analysers: {{vlan: 140, subnets: [10.10.140.0/24, 'fd00:10:140::/64'], mode: enforce}}
  laboratory: {{vlan: 214, subnets: [10.20.14.0/24, 'fd00:20:14::/64'], mode: enforce}}
rules:
  analysers-inside: {{from: analysers, to: analysers, services: any, action: allow}}
  laboratory-inside: {{from: laboratory, to: laboratory, services: any, action: allow}}
{rules}"
    )
}

const PERMITTED: &str = "  results: {from: analysers, to: laboratory, services: tcp/2575, action: allow}\n";
/// As much, by other rules, so that every number in the tables changes.
const PERMITTED_OTHERWISE: &str = "  a-web-page: {from: analysers, to: laboratory, services: tcp/8080, action: allow}
  hl7-anywhere: {from: any, to: laboratory, services: tcp/2000-3000, action: allow, priority: 5}
";
const DENIED: &str = "  results: {from: analysers, to: laboratory, services: tcp/2575, action: allow}
  laboratory-is-closed: {from: any, to: laboratory, services: any, action: deny, priority: 9}
";

/// An open session, and the server that acknowledges its messages until it ends.
struct Session {
    stream: TcpStream,
    server: JoinHandle<std::io::Result<()>>,
}

impl Session {
    fn open(site: &Site, address: IpAddr) -> Result<Self> {
        let at = SocketAddr::from((address, 2575));
        let listener = site.inside("lis").enter(|| TcpListener::bind(at))?;
        let server = thread::spawn(move || hl7::acknowledge(listener.accept()?.0));
        let connect = || TcpStream::connect_timeout(&at, PATIENCE);
        let stream = site.inside("analyser").enter(connect).context("connecting")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, server })
    }

    fn exchange(&self, id: &str) -> Result<()> {
        hl7::send_observation(&self.stream, id).with_context(|| format!("message {id}"))
    }

    fn close(self) -> Result<()> {
        drop(self.stream);
        Ok(self.server.join().expect("the server does not panic")?)
    }
}

fn plan() -> Plan {
    Plan::new()
        .segment("analysers", 140, "10.10.140", "fd00:10:140:")
        .host("analyser", 21)
        .segment("laboratory", 214, "10.20.14", "fd00:20:14:")
        .host("lis", 10)
}

fn servers(site: &Site) -> [IpAddr; 2] {
    let host = site.host("lis");
    [host.v4.into(), host.v6.into()]
}

fn change(site: &Site, enforcer: &Enforcer<'_>, rules: &str) -> Result<()> {
    site.set_policy(&policy(rules))?;
    enforcer.reload()
}

#[test]
fn a_session_that_the_new_policy_permits_goes_on() -> Result<()> {
    let site = plan().build()?;
    let enforcer = site.start(&policy(PERMITTED), "")?;
    let sessions = servers(&site).map(|server| Session::open(&site, server));
    let sessions = sessions.into_iter().collect::<Result<Vec<_>>>()?;
    let exchange = |id: &str| sessions.iter().try_for_each(|session| session.exchange(id));
    exchange("1")?;
    for (rules, rule, id) in [
        (PERMITTED_OTHERWISE, "hl7-anywhere", "2"),
        (PERMITTED, "results", "3"),
        (PERMITTED_OTHERWISE, "hl7-anywhere", "4"),
    ] {
        let by_rule = || enforcer.count(Enforcer::RULE_FRAMES, &[("rule", rule)]);
        change(&site, &enforcer, rules)?;
        let before = by_rule()?;
        exchange(id)?;
        let counted = by_rule()? - before;
        assert!(
            counted >= 4,
            "message and answer, twice, count for {rule}, not {counted}"
        );
    }
    // Not with each scrape, when the machine is busy.
    eventually("still the same two flows are counted", || {
        Ok(enforcer.count("enforcer_table_entries", &[("table", "flows")])? == 2)
    })?;
    enforcer.assert_no_drops()?;
    sessions.into_iter().try_for_each(Session::close)
}

/// Pitfall 14: established sessions survived a new deny.
#[test]
fn a_session_that_the_new_policy_denies_is_cut_at_its_next_frame() -> Result<()> {
    let site = plan().build()?;
    for server in servers(&site) {
        let enforcer = site.start(&policy(PERMITTED), "")?;
        let mut session = Session::open(&site, server)?;
        session.exchange("1")?;
        let (events, dropped) = (enforcer.event_count(), enforcer.drops("denied-by-rule")?);
        change(&site, &enforcer, DENIED)?;
        session.stream.set_read_timeout(Some(Duration::from_millis(300)))?;
        let answer = hl7::send_observation(&session.stream, "2");
        let silence = answer.expect_err("nobody answers").kind();
        ensure!(
            matches!(silence, ErrorKind::WouldBlock | ErrorKind::TimedOut),
            "{silence}"
        );
        assert!(enforcer.drops("denied-by-rule")? > dropped);
        let event = enforcer.wait_for_event(events, PATIENCE, |event| event.verdict() == "drop");
        let event = event.context("no event tells of it")?;
        let told = (event.reason(), event.rule(), event.destination_address().parse()?);
        assert_eq!(told, ("denied-by-rule", Some("laboratory-is-closed"), server));

        // A deny that is taken back heals what has not been given up: the message is sent again by the kernel.
        change(&site, &enforcer, PERMITTED)?;
        session.stream.set_read_timeout(Some(PATIENCE))?;
        hl7::await_acknowledgement(&mut session.stream, "2").context("after the deny")?;
        session.exchange("3")?;
        session.close()?;
        let detach = ["detach", "--config", Enforcer::CONFIG];
        ensure!(
            enforcer_tests::lab::enforcer::run(site.gateway(), &detach)?
                .status
                .success()
        );
    }
    Ok(())
}
