//! Floods: of openers beside sessions that must live, and toward a device that must be spared. Wants to be root.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use enforcer_tests::clinical::dicom;
use enforcer_tests::lab::dcmtk::{self, Archive};
use enforcer_tests::lab::flood::Flood;
use enforcer_tests::lab::router::GATEWAY_MAC;
use enforcer_tests::lab::site::{Plan, Site};
use enforcer_tests::lab::{Enforcer, Event, PATIENCE, PacketSocket, eventually};
use enforcer_tests::packet::{packet, tcp_flags};

/// Guests may open the archive, so that it is the flow tables and nothing else that stands up to them.
const ARCHIVE: &str = "zones:
  imaging: {vlan: 130, subnets: [10.10.130.0/24], gateway: [10.10.130.1], mode: enforce}
  archive: {vlan: 211, subnets: [10.20.11.0/24], gateway: [10.20.11.1], mode: enforce}
  guests: {vlan: 666, subnets: [10.66.0.0/24], gateway: [10.66.0.1], mode: enforce}
services:
  dicom: tcp/11112
  worklist: tcp/2575
rules:
  imaging-to-archive: {from: imaging, to: archive, services: [dicom, worklist], action: allow}
  guests-to-archive: {from: guests, to: archive, services: dicom, action: allow}
";
/// Rows of an image, of 2,000 octets each.
const ROWS: usize = 2_000;
/// Small tables, so that the flood is many times as large.
const TABLES: &str = "tables.flows = 4096\ntables.half_open = 1024";

fn archive() -> Result<Site> {
    Plan::new()
        .segment("imaging", 130, "10.10.130", "fd00:10:130:")
        .host("ct", 21)
        .segment("archive", 211, "10.20.11", "fd00:20:11:")
        .host("pacs", 10)
        .segment("guests", 666, "10.66.0", "fd00:66:")
        .host("guest", 42)
        .build()
}

/// SYNs from 250 addresses and all ports, no two alike for a long time.
fn openers(site: &Site) -> Result<Flood> {
    let (mac, pacs) = (site.host("guest").mac, site.host("pacs").v4.to_string());
    let socket = site.socket("guest")?;
    Ok(Flood::start(socket, 30_000, move |number| {
        let source = Ipv4Addr::new(10, 66, 0, 2 + (number % 250) as u8).to_string();
        let port = 1024 + (number / 250 % 64_000) as u16;
        let frame = packet().macs(mac, GATEWAY_MAC).ip(&source, &pacs);
        let syn = frame.tcp(port, dcmtk::PORT, tcp_flags::SYN);
        syn.numbers(number as u32, 0).build().bytes
    }))
}

/// So many images of 4 MB, each with other pixels.
fn images(folder: &Path, count: u32) -> Result<()> {
    for instance in 0..count {
        let row: Vec<u8> = (0..2_000).map(|at| ((at * (instance + 7)) >> 5) as u8).collect();
        fs::write(
            folder.join(instance.to_string()),
            dicom::image(instance, &row.repeat(ROWS)),
        )?;
    }
    Ok(())
}

/// Connections that have been quiet since before the flood; the server's end first.
fn quiet_sessions(site: &Site, count: usize) -> Result<Vec<(TcpStream, TcpStream)>> {
    let at = SocketAddr::from((site.host("pacs").v4, 2575));
    let listener = site.inside("pacs").enter(|| TcpListener::bind(at))?;
    let sessions = (0..count).map(|_| {
        let client = site.inside("ct").enter(|| TcpStream::connect_timeout(&at, PATIENCE))?;
        Ok((listener.accept()?.0, client))
    });
    sessions.collect()
}

/// Pitfall 9: a table that is full has a documented way out, and no established flow pays for it.
#[test]
fn a_syn_flood_disturbs_neither_a_transfer_nor_sessions_that_are_quiet() -> Result<()> {
    let site = archive()?;
    let pacs = site.host("pacs").v4;
    let archive = Archive::start(site.inside("pacs"), pacs)?;
    let enforcer = site.start(ARCHIVE, TABLES)?;
    let mut quiet = quiet_sessions(&site, 20)?;
    let outbox = tempfile::tempdir()?;
    images(outbox.path(), 30)?;

    let mut sending = dcmtk::start_sending(site.inside("ct"), pacs, outbox.path())?;
    eventually("the transfer is under way", || Ok(archive.count()? > 0))?;
    let flood = openers(&site)?;
    eventually("the flood is under way", || Ok(flood.sent() > 4 * 1024))?;
    assert!(
        sending.is_running(),
        "the transfer was there before the flood, and still is"
    );
    let status = sending.wait(3 * PATIENCE)?;
    assert!(
        status.success(),
        "{}\n{}",
        sending.errors().text(),
        archive.complaints()
    );
    let expected = fs::read_dir(outbox.path())?.count();
    let stored = archive.images()?;
    assert_eq!(stored.len(), expected, "{:?}", stored.keys());
    for sent in fs::read_dir(outbox.path())? {
        let sent = fs::read(sent?.path())?;
        let pixels = &sent[sent.len() - 2_000 * ROWS..];
        assert!(
            stored.values().any(|image| image.ends_with(pixels)),
            "an image was changed"
        );
    }
    // Many times as many openers as either table has room for.
    eventually("the flood was a flood", || Ok(flood.sent() > 20 * 4096))?;
    let offered = flood.stop()?;

    // Their servers speak first: that passes only while the flow is known.
    for (server, client) in &mut quiet {
        client.set_read_timeout(Some(PATIENCE))?;
        server.write_all(b"still there?")?;
        let mut text = [0; 12];
        client.read_exact(&mut text)?;
        assert_eq!(&text, b"still there?");
    }
    // An opener whose flow had to make room is not answered any more; nothing else is refused.
    let refused = |zone| enforcer.count(Enforcer::DROPPED_FRAMES, &[("zone", zone)]);
    assert_eq!((refused("imaging")?, refused("guests")?), (0, 0));
    let to_care = |event: &Event| event.verdict() == "drop" && !event.destination_address().starts_with("10.66.0.");
    let event = enforcer.wait_for_event(0, Duration::from_millis(300), to_care);
    assert!(event.is_none(), "{event:?}");
    let rule = |name| enforcer.count(Enforcer::RULE_FRAMES, &[("rule", name)]);
    assert!(
        rule("guests-to-archive")? >= offered.frames(),
        "all of the flood was permitted"
    );
    let entries = |table| enforcer.count("enforcer_table_entries", &[("table", table)]);
    assert!(entries("half_open")? <= 1024);
    assert!(entries("flows")? < 100, "no opener is among the established flows");
    Ok(())
}

/// Pitfall 13: a port scan made a series of metrics of each port and address that it tried.
#[test]
fn a_port_scan_adds_no_series() -> Result<()> {
    const FRAMES: u32 = 10_000;
    let site = archive()?;
    let enforcer = site.start(ARCHIVE, TABLES)?;
    let guest = site.socket("guest")?;
    let probe = |number: u32| {
        let source = Ipv4Addr::new(10, 66, 0, 2 + (number % 250) as u8).to_string();
        let target = Ipv4Addr::new(10, 10, 130, (number % 251) as u8).to_string();
        let frame = packet().macs(site.host("guest").mac, GATEWAY_MAC).ip(&source, &target);
        let (from, to) = (number as u16, (number % 9_973) as u16);
        let frame = match number % 3 {
            0 => frame.tcp(from, to, tcp_flags::SYN),
            1 => frame.udp(from, to),
            _ => frame.protocol((number % 100) as u8 + 100).payload([0; 20]),
        };
        guest.send(&frame.build())
    };
    probe(0)?;
    eventually("it is counted", || Ok(enforcer.drops("default-deny")? == 1))?;
    // The tables are counted one after the other, soon after the start; this one last.
    let mut before = enforcer.metrics()?.series();
    eventually("all tables are counted", || {
        before = enforcer.metrics()?.series();
        Ok(before
            .iter()
            .any(|series| series.starts_with("enforcer_table_pressure{\"table\": \"bindings\"")))
    })?;
    (1..FRAMES).try_for_each(probe)?;
    let counted = || enforcer.count(Enforcer::DROPPED_FRAMES, &[("zone", "guests")]);
    eventually("all are counted", || Ok(counted()? == u64::from(FRAMES)))?;
    let after = enforcer.metrics()?.series();
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:?}");
    Ok(())
}

/// The shield holds what is permitted toward a pump to 500 frames a second, whatever is offered. Alarms are none of its
/// business.
const SHIELD: &str = "zones:
  pumps:
    vlan: 110
    subnets: [10.10.110.0/24]
    gateway: [10.10.110.1]
    mode: enforce
    limits: {toward: {packets: 500/s, burst: 50}}
  servers: {vlan: 205, subnets: [10.20.5.0/24], gateway: [10.20.5.1], mode: enforce}
rules:
  commands: {from: servers, to: pumps, services: udp/3613, action: allow}
  alarms: {from: servers, to: pumps, services: udp/3614, action: allow, class: alarm}
";
const RATE: f64 = 500.0;
const BURST: f64 = 50.0;

/// Counts datagrams to a port among what reaches an interface.
fn arrived(socket: &PacketSocket, port: u16) -> Result<u64> {
    let mut count = 0;
    while let Some(frame) = socket.receive()? {
        let to_port = frame.len() > 37 && frame[12..14] == [8, 0] && frame[36..38] == port.to_be_bytes();
        count += u64::from(to_port);
    }
    assert_eq!(socket.lost()?, 0, "the receiving socket was too slow");
    Ok(count)
}

/// Pitfall 15: of a limit of 1000, 550 passed; a window let twice the rate through. Held here within 5 %: 2 %
/// of the limit itself, the rest for the time between a frame's sending and its arrival on a busy machine.
#[test]
fn a_shield_holds_a_flood_toward_a_pump_to_its_rate_and_lets_alarms_through() -> Result<()> {
    const OFFERED: u32 = 5_000;
    let site = Plan::new()
        .segment("pumps", 110, "10.10.110", "fd00:10:110:")
        .host("pump", 21)
        .segment("servers", 205, "10.20.5", "fd00:20:5:")
        .host("server", 10)
        .host("station", 11)
        .build()?;
    let enforcer = site.start(SHIELD, "")?;
    let (server, pump) = (site.host("server"), site.host("pump"));
    let frame = packet().macs(server.mac, GATEWAY_MAC);
    let frame = frame.ip(&server.v4.to_string(), &pump.v4.to_string()).udp(3613, 3613);
    let command = frame.payload([0x55; 100]).build().bytes;
    let station = site
        .inside("station")
        .enter(|| UdpSocket::bind((site.host("station").v4, 0)))?;
    // Somebody listens, so that the pump does not answer with ICMP errors.
    let listen = |port| site.inside("pump").enter(|| UdpSocket::bind((pump.v4, port)));
    let _commands = listen(3613)?;
    let alarms = listen(3614)?;
    alarms.set_read_timeout(Some(PATIENCE))?;
    let alarm = || station.send_to(b"alarm", (pump.v4, 3614));
    let alarm_arrives = || alarms.recv(&mut [0; 16]);
    // The kernels find their neighbours by this one.
    alarm()?;
    alarm_arrives()?;
    let at_the_pump = site.socket("pump")?;

    let flood = Flood::start(site.socket("server")?, OFFERED, move |_| command.clone());
    for number in 0..40 {
        alarm()?;
        alarm_arrives().with_context(|| format!("alarm {number}"))?;
        std::thread::sleep(Duration::from_millis(50));
    }
    let offered = flood.stop()?;
    let rule = |name| enforcer.count(Enforcer::RULE_FRAMES, &[("rule", name)]);
    eventually("all is counted", || Ok(rule("commands")? == offered.frames()))?;
    assert_eq!(rule("alarms")?, 41);
    let refused = enforcer.drops("toward-limit")?;
    let got = arrived(&at_the_pump, 3613)?;
    assert_eq!(got + refused, offered.frames(), "each frame arrived or was counted");
    let permitted = offered.within(RATE, BURST);
    #[expect(clippy::cast_precision_loss, reason = "a few thousand frames")]
    let share = got as f64 / permitted;
    assert!(
        (0.95..1.05).contains(&share),
        "{got} instead of {permitted} of {} frames in {:?}",
        offered.frames(),
        offered.time()
    );
    Ok(())
}
