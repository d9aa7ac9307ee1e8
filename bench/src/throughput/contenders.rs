//! What stands in the way of the frames.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use aya::programs::Xdp;
use enforcer::kernel::{Generation, LoadOptions, Peer, PortSetup};
use enforcer::policy::TableSet;
use enforcer_tests::lab::site::sysctl;
use enforcer_tests::packet::{Frame, Mac, packet};

use super::path::{END, Mode, NEAR, SENDER, Way};
use super::rules;
use crate::policy::Size;
use crate::reference::{Frames, Reference};

/// Flows of a stream.
const FLOWS: u16 = 1024;
const FIRST_PORT: u16 = 30_000;
const PERMITTED: u16 = 24_105;
const DENIED: u16 = 9;

/// A way with something on it. Links hold the programs that they run, and those their tables.
pub(super) struct Contender {
    pub(super) name: String,
    pub(super) way: Way,
    /// Whether it refuses what the policy does, and forwards.
    pub(super) refuses: bool,
    pub(super) forwards: bool,
    ends: Ends,
}

/// Who talks to whom.
#[derive(Clone, Copy)]
struct Ends {
    sender: Mac,
    to: Mac,
    source: &'static str,
    destination: &'static str,
}

/// The devices of made-up policies.
const MADE_UP: Ends = Ends {
    sender: SENDER,
    to: END,
    source: "172.16.0.21",
    destination: "172.17.0.10",
};

/// A monitor of the reference hospital, and its central station.
const HOSPITAL: Ends = Ends {
    sender: [0, 9, 0xfb, 0, 2, 1],
    source: "10.10.120.21",
    destination: "10.20.12.10",
    ..MADE_UP
};

impl Ends {
    fn frame(self, source: u16, port: u16) -> Frame {
        let frame = packet().macs(self.sender, self.to).ip(self.source, self.destination);
        unchecked(&frame.udp(source, port).payload([0; 22]).build())
    }

    fn answer(self, source: u16) -> Frame {
        let frame = packet().macs(self.to, self.sender).ip(self.destination, self.source);
        unchecked(&frame.udp(PERMITTED, source).payload([0; 22]).build())
    }
}

/// Without a checksum of UDP, so that the port may change without one; conntrack would look.
fn unchecked(frame: &Frame) -> Frame {
    let at = frame.transport + 6;
    frame.patched(at, &[0, 0])
}

impl Contender {
    fn new(name: impl Into<String>, way: Way, ends: Ends) -> Self {
        Self {
            name: name.into(),
            way,
            refuses: true,
            forwards: true,
            ends,
        }
    }

    /// Frames of many flows that the policy refuses, or permits.
    pub(super) fn frames(&self, permitted: bool) -> Frames {
        let frame = self.ends.frame(FIRST_PORT, if permitted { PERMITTED } else { DENIED });
        Frames::one(&frame).patch(frame.transport, FIRST_PORT, 0, FLOWS - 1)
    }

    /// Answers all flows, so that they are established.
    pub(super) fn establish(&self) -> Result<()> {
        let answers: Vec<_> = (0..FLOWS).map(|flow| self.ends.answer(FIRST_PORT + flow)).collect();
        self.way.answer(&answers)
    }
}

/// The ceilings: a program that drops, and one that redirects.
pub(super) fn ceiling(forwards: bool) -> Result<Contender> {
    let mut way = Way::build("empty")?;
    let (name, program) = if forwards {
        ("plain XDP redirect", "forward")
    } else {
        ("empty XDP drop", "empty")
    };
    let reference = Reference::load(&[program])?;
    if forwards {
        let port = way.index("p1")?;
        way.gateway.enter(|| reference.out(port))?;
    }
    way.attach(reference.program(program)?, "p0", Mode::Native)?;
    let mut contender = Contender::new(name, way, MADE_UP);
    (contender.refuses, contender.forwards) = (!forwards, forwards);
    Ok(contender)
}

/// The enforcer as a bump in the wire. `vlan` is that of the untagged frames.
fn enforcer(name: String, tables: &TableSet, vlan: u16, ends: Ends, mode: Mode) -> Result<Contender> {
    let mut way = Way::build("empty")?;
    let port = |name: &str, key, ifindex, peer, uplink| PortSetup {
        native_vlan: vlan,
        peer: Some(Peer { key, ifindex: peer }),
        uplink,
        ..PortSetup::new(name, ifindex)
    };
    let (p0, p1) = (way.index("p0")?, way.index("p1")?);
    let ports = [port("p0", 0, p0, p1, false), port("p1", 1, p1, p0, true)];
    let generation = way
        .gateway
        .enter(|| Generation::load(&LoadOptions::new(tables, &ports)))?;
    let program: &Xdp = generation.program()?;
    way.attach(program, "p0", mode)?;
    way.attach(program, "p1", mode)?;
    Ok(Contender::new(name, way, ends))
}

pub(super) fn enforcer_made_up(size: Size, tables: &TableSet, mode: Mode) -> Result<Contender> {
    let mode_name = if mode == Mode::Generic { ", generic XDP" } else { "" };
    let name = format!("enforcer, {} rules, {} devices{mode_name}", size.rules, size.devices);
    enforcer(name, tables, 4001, MADE_UP, mode)
}

pub(super) fn enforcer_hospital(tables: &TableSet) -> Result<Contender> {
    let name = "enforcer, reference hospital".to_owned();
    enforcer(name, tables, 120, HOSPITAL, Mode::Native)
}

/// nftables at the ingress of the port, a bridge behind it.
pub(super) fn nft_netdev(size: Size) -> Result<Contender> {
    let way = bridged()?;
    feed(way.gateway.command("nft").args(["-f", "-"]), &rules::netdev(size))?;
    let name = format!(
        "nftables, netdev ingress with sets, bridge; {} rules, {} devices",
        size.rules, size.devices
    );
    Ok(Contender::new(name, way, MADE_UP))
}

/// nftables in a bridge.
pub(super) fn nft_bridge(size: Size) -> Result<Contender> {
    let way = bridged()?;
    let text = rules::forward("bridge", size, false);
    feed(way.gateway.command("nft").args(["-f", "-"]), &text)?;
    let name = format!("nftables, bridge with verdict map, {} rules", size.rules);
    Ok(Contender::new(name, way, MADE_UP))
}

/// nftables on a router, with conntrack.
pub(super) fn nft_route(size: Size) -> Result<Contender> {
    let way = routed()?;
    let text = rules::forward("inet", size, true);
    feed(way.gateway.command("nft").args(["-f", "-"]), &text)?;
    let name = format!("nftables, route with conntrack and verdict map, {} rules", size.rules);
    Ok(through_router(name, way))
}

/// iptables on a router, with a rule for each pair and conntrack.
pub(super) fn iptables_list(size: Size) -> Result<Contender> {
    let way = routed()?;
    feed(
        &mut way.gateway.command("iptables-restore"),
        &rules::iptables_list(size),
    )?;
    let name = format!("iptables, route with conntrack, a list of {} rules", size.rules);
    Ok(through_router(name, way))
}

/// The same with ipset.
pub(super) fn iptables_set(size: Size) -> Result<Contender> {
    let way = routed()?;
    feed(way.gateway.command("ipset").arg("restore"), &rules::ipset(size))?;
    feed(&mut way.gateway.command("iptables-restore"), rules::IPTABLES)?;
    let name = format!("iptables, route with conntrack and ipset, {} rules", size.rules);
    Ok(through_router(name, way))
}

fn through_router(name: String, way: Way) -> Contender {
    let ends = Ends { to: NEAR, ..MADE_UP };
    Contender::new(name, way, ends)
}

/// A bridge, nothing else.
pub(super) fn bridge() -> Result<Contender> {
    let mut contender = Contender::new("bridge, no rules", bridged()?, MADE_UP);
    contender.refuses = false;
    Ok(contender)
}

fn bridged() -> Result<Way> {
    let way = Way::build("empty")?;
    way.gateway
        .ip("link add br0 type bridge\nlink set p0 master br0\nlink set p1 master br0\nlink set br0 up")?;
    let fdb = |mac: Mac, port: &str| {
        let mac = mac.map(|octet| format!("{octet:02x}")).join(":");
        feed(
            way.gateway
                .command("bridge")
                .args(["fdb", "replace", &mac, "dev", port, "master", "static"]),
            "",
        )
    };
    fdb(END, "p1")?;
    fdb(SENDER, "p0")?;
    Ok(way)
}

fn routed() -> Result<Way> {
    let way = Way::build("empty")?;
    let mac = |mac: Mac| mac.map(|octet| format!("{octet:02x}")).join(":");
    way.gateway.ip(&format!(
        "addr add 172.16.0.1/16 dev p0\naddr add 172.17.0.1/16 dev p1\n\
         neigh replace {} lladdr {} dev p0 nud permanent\nneigh replace {} lladdr {} dev p1 nud permanent",
        MADE_UP.source,
        mac(SENDER),
        MADE_UP.destination,
        mac(END)
    ))?;
    sysctl(&way.gateway, "ipv4/ip_forward", "1")?;
    Ok(way)
}

/// Runs a tool with text on its standard input.
fn feed(command: &mut Command, text: &str) -> Result<()> {
    let name = command.get_program().display().to_string();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {name}: is its package installed?"))?;
    let mut input = child.stdin.take().context("no standard input")?;
    // A tool that refuses the first lines may not read the others: its own message says more.
    let written = input.write_all(text.as_bytes());
    drop(input);
    let output = child.wait_with_output()?;
    let message = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{name}: {}", message.lines().next().unwrap_or("it failed"));
    }
    ensure!(written.is_ok(), "{name} did not read its rules");
    Ok(())
}
