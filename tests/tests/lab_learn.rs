//! From monitor to enforce with kernels on both ends: what a real controller saw becomes rules, and by these the same traffic passes and
//! nothing else does. Wants to be root.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use enforcer_tests::lab::enforcer::run;
use enforcer_tests::lab::site::{Plan, Site};
use enforcer_tests::lab::{Enforcer, PATIENCE, Signal, eventually};
use serde_json::Value;

/// Nothing is permitted, and everything passes. The rogue is no device.
const MONITOR: &str = "zones:
  pumps: {vlan: 110, subnets: [10.10.110.0/24, 'fd00:10:110::/64'], gateway: [10.10.110.1, 'fd00:10:110::1'], mode: monitor}
  servers: {vlan: 205, subnets: [10.20.5.0/24, 'fd00:20:5::/64'], gateway: [10.20.5.1, 'fd00:20:5::1'], mode: monitor}
devices:
  pump-1: {zone: pumps, address: [10.10.110.21, 'fd00:10:110::21']}
  server-1: {zone: servers, address: [10.20.5.10, 'fd00:20:5::10']}
services:
  hl7: tcp/2575
";
/// How long to wait for what must not come.
const SILENCE: Duration = Duration::from_millis(300);

const HL7: u16 = 2575;
const TELEMETRY: u16 = 24105;
const LOG: u16 = 514;
/// What is written and comes back.
const WORDS: &[u8] = b"MSH";

fn build() -> Result<Site> {
    Plan::new()
        .segment("pumps", 110, "10.10.110", "fd00:10:110:")
        .host("pump", 21)
        .host("rogue", 22)
        .segment("servers", 205, "10.20.5", "fd00:20:5:")
        .host("server", 10)
        .build()
}

/// One session: the client asks, the server answers.
fn session(site: &Site, [client, server]: [&str; 2], at: SocketAddr, limit: Duration) -> Result<()> {
    let listener = site.inside(server).enter(|| TcpListener::bind(at))?;
    listener.set_nonblocking(true)?;
    let asking = site.inside(client).enter(|| TcpStream::connect_timeout(&at, limit))?;
    let (answering, _) = listener.accept()?;
    answering.set_nonblocking(false)?;
    let mut got = [0; WORDS.len()];
    for (mut from, mut to) in [(&asking, &answering), (&answering, &asking)] {
        to.set_read_timeout(Some(PATIENCE))?;
        from.write_all(WORDS)?;
        to.read_exact(&mut got)?;
        ensure!(got == WORDS, "it was changed");
    }
    Ok(())
}

/// Datagrams from the pump to the server, and back if `answered`.
fn datagrams(site: &Site, port: u16, answered: bool) -> Result<()> {
    let (pump, server) = (site.host("pump").v4, site.host("server").v4);
    let here = site.inside("pump").enter(|| UdpSocket::bind((pump, port)))?;
    let there = site.inside("server").enter(|| UdpSocket::bind((server, port)))?;
    let mut got = [0; WORDS.len()];
    for socket in [&here, &there] {
        socket.set_read_timeout(Some(PATIENCE))?;
    }
    here.send_to(WORDS, (server, port))?;
    there.recv(&mut got).context("a datagram on its way")?;
    if answered {
        there.send_to(WORDS, (pump, port))?;
        here.recv(&mut got).context("a datagram on its way back")?;
    }
    Ok(())
}

/// What a pump does all day.
fn duty(site: &Site) -> Result<()> {
    let server = site.host("server");
    for address in [IpAddr::from(server.v4), server.v6.into()] {
        session(site, ["pump", "server"], (address, HL7).into(), PATIENCE)?;
    }
    datagrams(site, TELEMETRY, true)?;
    datagrams(site, LOG, false)?;
    let socket = site
        .inside("pump")
        .enter(|| UdpSocket::bind((site.host("pump").v4, 0)))?;
    socket.send_to(WORDS, ("239.1.1.1", 5000))?;
    Ok(())
}

/// The rogue tries ports behind which nobody is.
fn scan(site: &Site) {
    let server = site.host("server").v4;
    for port in 8000..8020 {
        let at = SocketAddr::from((server, port));
        let tried = site.inside("rogue").enter(|| TcpStream::connect_timeout(&at, PATIENCE));
        assert!(tried.is_err(), "nobody is there");
    }
}

/// What `enforcer learn` says, as JSON.
fn learnt(site: &Site) -> Result<Value> {
    let output = run(
        site.gateway(),
        &["learn", "--config", Enforcer::CONFIG, "--output", "json"],
    )?;
    if output.status.code() == Some(2) {
        return Ok(Value::Null);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {errors}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Pairs of the proposed rules, with how often they were seen: `pump-1 server-1 tcp/2575`.
fn pairs(learnt: &Value) -> BTreeSet<(String, u64)> {
    let rules = learnt["rules"].as_array().into_iter().flatten();
    let pairs = rules.flat_map(|rule| rule["pairs"].as_array().into_iter().flatten());
    let word = |pair: &Value, key: &str| pair[key].as_str().unwrap_or_default().to_owned();
    pairs
        .map(|pair| {
            let words = ["from", "to", "service"].map(|key| word(pair, key)).join(" ");
            (words, pair["count"].as_u64().unwrap_or_default())
        })
        .collect()
}

/// Waits until what is proposed has these pairs, so often.
fn await_pairs(site: &Site, wanted: &[(&str, u64)]) -> Result<Value> {
    let mut last = Value::Null;
    let done = eventually("what was seen is learnt", || {
        last = learnt(site)?;
        let proposed = pairs(&last);
        let has = |(words, count): &(&str, u64)| proposed.contains(&((*words).to_owned(), *count));
        Ok(wanted.iter().all(has))
    });
    done.with_context(|| format!("{:?}", pairs(&last)))?;
    Ok(last)
}

#[test]
fn what_was_seen_in_monitor_mode_passes_in_enforce_mode_and_nothing_else() -> Result<()> {
    let site = build()?;
    let enforcer = site.start(MONITOR, "")?;
    duty(&site)?;
    scan(&site);
    // A session of each family, each time.
    let seen = |times: u64| {
        [
            ("pump-1 server-1 tcp/2575", 2 * times),
            ("pump-1 server-1 udp/24105", 1),
            ("pump-1 server-1 udp/514", 1),
            ("pump-1 239.1.1.1 udp/5000", 1),
        ]
    };
    await_pairs(&site, &seen(1))?;

    // A controller that is killed and started again counts each session once, and one that ends writes down what it saw.
    enforcer.kill()?;
    let mut enforcer = site.start(MONITOR, "")?;
    let server = site.host("server");
    for address in [IpAddr::from(server.v4), server.v6.into()] {
        session(&site, ["pump", "server"], (address, HL7).into(), PATIENCE)?;
    }
    enforcer.process().signal(Signal::Terminate)?;
    enforcer.process().wait(PATIENCE)?;
    let learnt_now = learnt(&site)?;
    let expected = seen(2).map(|(words, count)| (words.to_owned(), count));
    assert!(pairs(&learnt_now).is_superset(&expected.into()), "{learnt_now:#}");
    assert!(
        !learnt_now["rules"].to_string().contains("10.10.110.22"),
        "the scan is no duty: {learnt_now:#}"
    );
    let findings = learnt_now["findings"].as_array().context("findings")?;
    let scans: Vec<_> = findings.iter().filter(|finding| finding["kind"] == "scan").collect();
    assert_eq!(scans.len(), 1, "{findings:#?}");
    assert_eq!(
        (&scans[0]["subject"], &scans[0]["connections"]),
        (&"10.10.110.22 of pumps".into(), &20.into())
    );

    let rules = learnt_now["policy"].as_str().context("the rules")?;
    let enforce = MONITOR.replace("mode: monitor", "mode: enforce");
    let enforcer = site.start(&format!("{enforce}{rules}"), "")?;
    duty(&site)?;
    let by_default = enforcer.count(Enforcer::DROPPED_FRAMES, &[("zone", "pumps"), ("verdict", "drop")])?;
    let elsewhere: [([&str; 2], SocketAddr); 3] = [
        (["pump", "server"], (server.v4, HL7 + 1).into()),
        (["rogue", "server"], (server.v4, HL7).into()),
        (["server", "pump"], (site.host("pump").v4, HL7).into()),
    ];
    for (ends, at) in elsewhere {
        assert!(session(&site, ends, at, SILENCE).is_err(), "{ends:?} {at}");
    }
    let dropped = enforcer.count(Enforcer::DROPPED_FRAMES, &[("zone", "pumps"), ("verdict", "drop")])?;
    assert!(dropped >= by_default + 2, "{by_default} {dropped}");

    let after = learnt(&site)?;
    assert_eq!(
        after["rules"],
        Value::Array(Vec::new()),
        "nothing more to propose: {after:#}"
    );
    Ok(())
}

#[test]
fn a_session_that_is_older_than_the_monitoring_is_learnt_the_right_way_round() -> Result<()> {
    let site = build()?;
    let at = SocketAddr::from((site.host("server").v4, HL7));
    let listener = site.inside("server").enter(|| TcpListener::bind(at))?;
    let mut pump = site
        .inside("pump")
        .enter(|| TcpStream::connect_timeout(&at, PATIENCE))?;
    let (mut server, _) = listener.accept()?;
    let _enforcer = site.start(MONITOR, "")?;
    // The server speaks first, to a port that only a client has.
    let mut got = [0; WORDS.len()];
    pump.set_read_timeout(Some(PATIENCE))?;
    server.write_all(WORDS)?;
    pump.read_exact(&mut got)?;
    let learnt = await_pairs(&site, &[("pump-1 server-1 tcp/2575", 1)])?;
    let findings = learnt["findings"].as_array().context("findings")?;
    assert_eq!(
        (&findings[0]["kind"], &findings[0]["subject"]),
        (&"turned".into(), &"server-1 of servers".into()),
        "{findings:#?}"
    );
    Ok(())
}

#[test]
fn a_store_that_is_damaged_is_set_aside_and_the_controller_goes_on() -> Result<()> {
    let site = build()?;
    let write = || std::fs::create_dir_all("/run/enforcer-state").and_then(|()| std::fs::write(STORE, "not a store\n"));
    site.gateway().enter(write)?;
    let mut enforcer = site.start(MONITOR, "")?;
    let warned = enforcer
        .process()
        .errors()
        .wait_for(0, PATIENCE, |line| line.contains("is set aside as").then_some(()));
    assert!(warned.is_some(), "{}", enforcer.process().errors().text());
    let aside = || std::fs::read_to_string("/run/enforcer-state/learned.damaged");
    assert_eq!(site.gateway().enter(aside)?, "not a store\n");
    datagrams(&site, LOG, false)?;
    await_pairs(&site, &[("pump-1 server-1 udp/514", 1)])?;
    Ok(())
}

/// Where the controller keeps what it saw, in the gateway's private /run.
const STORE: &str = "/run/enforcer-state/learned.ndjson";
