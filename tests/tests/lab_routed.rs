//! Traffic through a gateway that routes with its own stack, in both families: kernels on both ends and in the middle.
//! Wants to be root.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use enforcer_tests::lab::router::GATEWAY_MAC;
use enforcer_tests::lab::site::{Plan, Site};
use enforcer_tests::lab::{self, Config, Enforcer, Lab, Namespace, PATIENCE, eventually};
use enforcer_tests::packet::{Frame, packet, protocol};

/// Pumps start, servers answer; nobody else may do anything, but find their neighbours and talk inside of their VLAN.
const POLICY: &str = "zones:
  pumps:
    {vlan: 110, subnets: [10.10.110.0/24, 'fd00:10:110::/64'], gateway: [10.10.110.1, 'fd00:10:110::1'], mode: enforce}
  servers:
    {vlan: 205, subnets: [10.20.4.0/23, 'fd00:20:4::/47'], gateway: [10.20.5.1, 'fd00:20:5::1'], mode: enforce}
services:
  hl7: tcp/2575
  telemetry: udp/24105
  ping: [icmp/echo, icmpv6/echo]
rules:
  pumps-inside: {from: pumps, to: pumps, services: any, action: allow}
  servers-inside: {from: servers, to: servers, services: any, action: allow}
  report: {from: pumps, to: servers, services: hl7, action: allow}
  telemetry: {from: pumps, to: servers, services: telemetry, action: allow}
  ping: {from: pumps, to: servers, services: ping, action: allow}
";

fn plan() -> Plan {
    Plan::new()
        .segment("pumps", 110, "10.10.110", "fd00:10:110:")
        .host("pump", 21)
        .segment("servers", 205, "10.20.5", "fd00:20:5:")
        .host("server", 10)
}

fn addresses(site: &Site, host: &str) -> [IpAddr; 2] {
    let host = site.host(host);
    [host.v4.into(), host.v6.into()]
}

/// An echo server for one connection.
fn serve_echo(place: &Namespace, at: SocketAddr) -> Result<thread::JoinHandle<Result<()>>> {
    let listener = place.enter(|| TcpListener::bind(at))?;
    Ok(thread::spawn(move || {
        let (stream, _) = listener.accept()?;
        let (mut from, mut to) = (&stream, &stream);
        std::io::copy(&mut from, &mut to)?;
        Ok(())
    }))
}

/// Sends octets through an echo server and holds what comes back to them.
fn echo(mut stream: TcpStream, length: u32) -> Result<()> {
    let text: Vec<u8> = (0..length).map(|number| (number % 251) as u8).collect();
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut writer = stream.try_clone()?;
    let sent = text.clone();
    let writing = thread::spawn(move || -> std::io::Result<()> {
        writer.write_all(&sent)?;
        writer.shutdown(std::net::Shutdown::Write)
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back)?;
    writing.join().expect("writing does not panic")?;
    ensure!(
        back == text,
        "{} of {} octets came back as sent",
        back.len(),
        text.len()
    );
    Ok(())
}

/// Connects to an echo server and sends octets through it.
fn echo_over_tcp(site: &Site, place: &Namespace, server: IpAddr, length: u32) -> Result<()> {
    let to = SocketAddr::from((server, 2575));
    let serving = serve_echo(place, to)?;
    let stream = site
        .inside("pump")
        .enter(|| TcpStream::connect_timeout(&to, PATIENCE))
        .with_context(|| format!("connecting to {to}"))?;
    echo(stream, length).with_context(|| to.to_string())?;
    serving.join().expect("the server does not panic")
}

/// Sends datagrams to the server and back, each when the one before has come back.
fn echo_over_udp(site: &Site, server: IpAddr, length: usize, times: u8) -> Result<()> {
    let bind = |host: &str, address: IpAddr| site.inside(host).enter(|| UdpSocket::bind((address, 24105)));
    let pump = addresses(site, "pump")[usize::from(server.is_ipv6())];
    exchange(&bind("pump", pump)?, &bind("server", server)?, length, times)
}

/// Sends datagrams from one socket to another and back.
fn exchange(here: &UdpSocket, there: &UdpSocket, length: usize, times: u8) -> Result<()> {
    let mut arrived = vec![0; 65_536];
    for number in 0..times {
        let sent: Vec<u8> = (0..length).map(|at| (at % 251) as u8 ^ number).collect();
        here.send_to(&sent, there.local_addr()?)?;
        for (receiver, answer_to) in [(there, Some(here)), (here, None)] {
            receiver.set_read_timeout(Some(PATIENCE))?;
            let got = receiver.recv(&mut arrived);
            let got = got.with_context(|| format!("datagram {number} of {length} octets"))?;
            ensure!(
                arrived[..got] == sent,
                "datagram {number} of {length} octets was changed"
            );
            if let Some(sender) = answer_to {
                receiver.send_to(&sent, sender.local_addr()?)?;
            }
        }
    }
    Ok(())
}

/// How many fragments a kernel cuts a datagram into.
fn fragments(server: IpAddr, mtu: usize, length: usize) -> u64 {
    let headers = if server.is_ipv6() { 40 + 8 } else { 20 };
    let packet = 8 + length;
    if packet + if server.is_ipv6() { 40 } else { 20 } <= mtu {
        return 1;
    }
    packet.div_ceil((mtu - headers) / 8 * 8) as u64
}

fn by_rule(enforcer: &Enforcer<'_>, rule: &str) -> Result<u64> {
    enforcer.count(Enforcer::RULE_FRAMES, &[("rule", rule)])
}

#[test]
fn tcp_is_followed_from_the_handshake_to_its_end_in_both_families() -> Result<()> {
    let site = plan().build()?;
    let enforcer = site.start(POLICY, "")?;
    for server in addresses(&site, "server") {
        echo_over_tcp(&site, site.inside("server"), server, 2_000_000)?;
    }
    enforcer.assert_no_drops()?;
    assert!(
        by_rule(&enforcer, "report")? > 5_000,
        "segments and answers count for the rule"
    );
    let flows = |table| enforcer.count("enforcer_table_entries", &[("table", table)]);
    // Not with each scrape, when the machine is busy.
    eventually("one flow each is counted, both whole", || {
        Ok((flows("flows")?, flows("half_open")?) == (2, 0))
    })
}

#[test]
fn who_may_only_answer_opens_nothing() -> Result<()> {
    let site = plan().build()?;
    let enforcer = site.start(POLICY, "")?;
    for (number, pump) in (1..).zip(addresses(&site, "pump")) {
        let to = SocketAddr::from((pump, 2575));
        let _listening = site.inside("pump").enter(|| TcpListener::bind(to))?;
        let connected = site
            .inside("server")
            .enter(|| TcpStream::connect_timeout(&to, Duration::from_millis(200)));
        assert!(connected.is_err(), "{to}: the server may not start");
        assert_eq!(enforcer.drops("default-deny")?, number, "one SYN to {to}");
    }
    for table in ["flows", "half_open"] {
        let entries = enforcer.count("enforcer_table_entries", &[("table", table)])?;
        assert_eq!(entries, 0, "{table}");
    }
    Ok(())
}

/// Pitfall 5: datagrams over the MTU vanished, fragments of pings were misread.
#[test]
fn datagrams_and_pings_over_the_mtu_arrive_in_both_families() -> Result<()> {
    const TIMES: u8 = 25;
    let site = plan().build()?;
    let enforcer = site.start(POLICY, "")?;
    let mut expected = 0;
    for server in addresses(&site, "server") {
        for length in [1_000, 1_473, 4_000, 60_000] {
            echo_over_udp(&site, server, length, TIMES)?;
            expected += 2 * u64::from(TIMES) * fragments(server, 1500, length);
        }
    }
    assert_eq!(by_rule(&enforcer, "telemetry")?, expected, "every fragment counts");
    for server in addresses(&site, "server") {
        let ping = ["-c", "5", "-i", "0.01", "-W", "10", "-s", "8000", &server.to_string()];
        let said = site.tool("pump", "ping", &ping)?;
        assert!(said.contains(" 5 received"), "{said}");
    }
    let expected = 2 * 5 * (6 + 6);
    assert_eq!(
        by_rule(&enforcer, "ping")?,
        expected,
        "six fragments each way, five times"
    );
    enforcer.assert_no_drops()
}

/// A datagram of UDP in two fragments, cut behind so many octets of the transport header and payload.
fn in_two(site: &Site, server: IpAddr, id: u32, text: &[u8]) -> [Frame; 2] {
    const CUT: u16 = 1_200;
    let source = addresses(site, "pump")[usize::from(server.is_ipv6())].to_string();
    let frame = packet()
        .macs(site.host("pump").mac, GATEWAY_MAC)
        .ip(&source, &server.to_string());
    // Built whole first, so that the checksum covers all of it.
    let whole = frame.clone().udp(24105, 24105).payload(text).build();
    let (first, later) = whole[whole.transport..].split_at(usize::from(CUT));
    let part = |offset, more, octets: &[u8]| {
        let part = frame.clone().protocol(protocol::UDP).payload(octets);
        part.fragment(id, offset, more).build()
    };
    [part(0, true, first), part(CUT, false, later)]
}

/// Pitfall 5: drops depended on timing. A later fragment that comes before its first one is refused by name; the order
/// of the sender's stack always passes.
#[test]
fn fragments_pass_in_order_and_orphans_are_refused_by_name() -> Result<()> {
    let site = plan().build()?;
    let enforcer = site.start(POLICY, "")?;
    let pump = site.socket("pump")?;
    for (number, server) in (1..).zip(addresses(&site, "server")) {
        // The kernel finds its neighbours by this one.
        echo_over_udp(&site, server, 10, 1)?;
        let receiver = site.inside("server").enter(|| UdpSocket::bind((server, 24105)))?;
        receiver.set_read_timeout(Some(PATIENCE))?;
        let [first, later] = in_two(&site, server, 1, &[b'x'; 2_000]);
        pump.send(&later)?;
        pump.send(&first)?;
        let [first, later] = in_two(&site, server, 2, &[b'y'; 2_000]);
        pump.send(&first)?;
        pump.send(&later)?;
        let mut text = [0; 4_000];
        let length = receiver.recv(&mut text)?;
        assert_eq!(text[..length], [b'y'; 2_000], "{server}: what came in order");
        assert_eq!(enforcer.drops("fragment-orphan")?, number, "{server}");
    }
    Ok(())
}

/// Pitfall 5: without the ICMP error of a narrow link behind, a connection starves.
#[test]
fn a_narrow_link_behind_is_learnt_from_its_icmp_errors() -> Result<()> {
    let site = plan().host("inner", 20).build()?;
    let far = ("10.20.4.2", "fd00:20:4::2");
    let beyond = site.extend("inner", 1300, ["10.20.4.1", far.0], ["fd00:20:4::1", far.1])?;
    let enforcer = site.start(POLICY, "")?;
    for address in [far.0, far.1] {
        let server: IpAddr = address.parse()?;
        echo_over_tcp(&site, &beyond, server, 300_000)?;
        let route = site.tool("pump", "ip", &["route", "get", address])?;
        assert!(
            route.contains(" mtu 1300"),
            "{address}: the error did not arrive: {route}"
        );
    }
    enforcer.assert_no_drops()
}

#[test]
fn jumbo_frames_pass_whole_and_longer_datagrams_in_fragments() -> Result<()> {
    const TIMES: u8 = 10;
    let site = plan().mtu(9_000).build()?;
    let enforcer = site.start(POLICY, "")?;
    let mut expected = 0;
    for server in addresses(&site, "server") {
        for length in [8_900, 30_000] {
            echo_over_udp(&site, server, length, TIMES)?;
            expected += 2 * u64::from(TIMES) * fragments(server, 9_000, length);
        }
        echo_over_tcp(&site, site.inside("server"), server, 2_000_000)?;
    }
    assert_eq!(
        by_rule(&enforcer, "telemetry")?,
        expected,
        "one frame, or four fragments"
    );
    enforcer.assert_no_drops()
}

/// Pitfall 5, with tags: on a trunk each full fragment is four octets longer than the MTU says.
#[test]
fn datagrams_over_the_mtu_cross_a_tagged_trunk() -> Result<()> {
    let lab = lab::Plan::new()
        .device("pump", 110, [2, 0, 0, 0, 110, 21], "10.10.110.21/24")
        .device("server", 205, [2, 0, 0, 0, 205, 10], "10.20.5.10/24")
        .build()?;
    let write = || std::fs::write(Site::POLICY, POLICY);
    lab.gateway().enter(write)?;
    let enforcer = Enforcer::start(lab.gateway(), &Config::new(&[Lab::TRUNK], Site::POLICY))?;
    let bind = |device: &str| {
        let at = (lab.device(device).address, 24105);
        lab.inside(device).enter(|| UdpSocket::bind(at))
    };
    let (pump, server) = (bind("pump")?, bind("server")?);
    let mut expected = 0;
    for length in [1_000, 1_472, 1_473, 20_000] {
        exchange(&pump, &server, length, 5)?;
        expected += 2 * 5 * fragments(server.local_addr()?.ip(), 1500, length);
    }
    assert_eq!(by_rule(&enforcer, "telemetry")?, expected, "every fragment counts");
    enforcer.assert_no_drops()
}
