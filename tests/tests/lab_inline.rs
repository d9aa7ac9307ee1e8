//! Inline mode on real interfaces: two trunks, paired, with nothing but the enforcer between them. Wants to be root.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use enforcer_tests::lab::{Config, Enforcer, Gateway, Offload, PATIENCE, PacketSocket, eventually, set_offload};
use enforcer_tests::packet::{Builder, Frame, packet, tcp_flags};

const PUMP: &str = "10.10.110.21";
const SERVER: &str = "10.20.5.10";
const POLICY: &str = "/run/policy.yaml";

const ZONES: &str = "zones:
  pumps: {vlan: 110, subnets: [10.10.110.0/24], mode: enforce}
  imaging: {vlan: '2000.130', subnets: [10.10.130.0/24], mode: enforce}
  trial: {vlan: 121, subnets: [10.10.121.0/24], mode: monitor}
  servers: {vlan: 205, subnets: [10.20.5.0/24], mode: enforce}
  archive: {vlan: 206, subnets: [10.20.6.0/24], mode: monitor}
services:
  telemetry: udp/24105
  https: tcp/443
rules:
  to-servers: {from: [pumps, imaging], to: servers, services: [telemetry, https], action: allow}
";

/// The enforcer's two ports, `east` with the devices and `west` with the routers, and a socket beyond each.
struct Pair {
    gateway: Gateway,
    east: PacketSocket,
    west: PacketSocket,
}

impl Pair {
    fn new(mtu: u16) -> Result<Self> {
        let gateway = Gateway::build(&["east", "west"])?;
        for side in ["east", "west"] {
            gateway.inside().ip(&format!("link set {side} mtu {mtu}"))?;
            gateway.outside().ip(&format!("link set x{side} mtu {mtu}"))?;
            // Without an XDP program of its own, a veth takes redirected frames only with GRO.
            gateway
                .outside()
                .enter(|| set_offload(&format!("x{side}"), Offload::Merge, true))?;
        }
        gateway.inside().enter(|| fs::write(POLICY, ZONES))?;
        Ok(Self {
            east: gateway.in_front_of("east")?,
            west: gateway.in_front_of("west")?,
            gateway,
        })
    }

    fn start(&self, east: &str) -> Result<Enforcer<'_>> {
        let mut config = Config::new(&["east", "west"], POLICY);
        let own = [
            ("east", format!("pair = 'west'\n{east}")),
            ("west", "uplink = true".to_owned()),
        ];
        config.own_settings = own.map(|(port, lines)| (port.to_owned(), lines)).into();
        Enforcer::start(self.gateway.inside(), &config)
    }
}

/// Sends a frame by `from` and holds `to` to what came out: exactly that frame.
fn crosses(from: &PacketSocket, to: &PacketSocket, frame: &Frame) -> Result<()> {
    from.send(frame)?;
    let arrived = to.wait_for(PATIENCE, |_| true)?.context("nothing came out")?;
    ensure!(
        arrived == frame.bytes,
        "sent {:02x?}\nbut got {arrived:02x?}",
        frame.bytes
    );
    Ok(())
}

/// Sends frames by `from` that must not come out of `to`, and behind them one that must.
fn stops(from: &PacketSocket, to: &PacketSocket, frames: &[Frame], marker: &Frame) -> Result<()> {
    frames.iter().try_for_each(|frame| from.send(frame))?;
    crosses(from, to, marker)
}

fn telemetry(port: u16) -> Builder {
    packet()
        .vlan(110)
        .ip(PUMP, SERVER)
        .udp(port, 24105)
        .payload([0x5a; 100])
}

fn losses(enforcer: &Enforcer<'_>, port: &str) -> Result<i64> {
    let sum = enforcer
        .metrics()?
        .sum("enforcer_redirect_losses_total", &[("port", port)]);
    Ok(sum as i64)
}

fn is_up(enforcer: &Enforcer<'_>, port: &str) -> Result<bool> {
    Ok(enforcer.metrics()?.sum("enforcer_port_up", &[("port", port)]) > 0.5)
}

#[test]
fn permitted_frames_cross_unchanged_with_their_tags_and_so_do_answers() -> Result<()> {
    let pair = Pair::new(1500)?;
    let enforcer = pair.start("")?;
    let (east, west) = (&pair.east, &pair.west);
    let syn = packet().vlan(110).ip(PUMP, SERVER).tcp(40_000, 443, tcp_flags::SYN);
    // The router's answer comes in the pump's VLAN.
    let answer = packet()
        .vlan(110)
        .ip(SERVER, PUMP)
        .tcp(443, 40_000, tcp_flags::SYN | tcp_flags::ACK);
    crosses(east, west, &syn.build())?;
    crosses(west, east, &answer.build())?;
    // A priority in the tag stays, and so do both tags.
    let urgent = packet()
        .tag(0x8100, 0xa06e)
        .ip(PUMP, SERVER)
        .udp(1, 24105)
        .payload([1; 60]);
    crosses(east, west, &urgent.build())?;
    let tagged_twice = packet().service_vlan(2000).vlan(130);
    crosses(
        east,
        west,
        &tagged_twice.clone().ip("10.10.130.5", SERVER).udp(2, 24105).build(),
    )?;
    crosses(
        west,
        east,
        &tagged_twice.ip(SERVER, "10.10.130.5").udp(24105, 2).build(),
    )?;
    // Address resolution finds the router through the pair, both ways.
    crosses(east, west, &packet().vlan(110).arp_request(PUMP, "10.10.110.1").build())?;

    let redirected = |port| -> Result<f64> {
        let labels = [("port", port), ("verdict", "redirect")];
        Ok(enforcer.metrics()?.sum(Enforcer::PORT_FRAMES, &labels))
    };
    assert!((redirected("east")? - 4.0).abs() < 0.5 && (redirected("west")? - 2.0).abs() < 0.5);
    let passed = enforcer.metrics()?.sum(Enforcer::PORT_FRAMES, &[("verdict", "pass")]);
    assert!(passed < 0.5, "nothing goes to the gateway's own stack");
    assert_eq!((losses(&enforcer, "east")?, losses(&enforcer, "west")?), (0, 0));
    Ok(())
}

#[test]
fn refused_frames_do_not_cross_nor_reach_the_gateways_stack() -> Result<()> {
    let pair = Pair::new(1500)?;
    let enforcer = pair.start("control = ['lldp']")?;
    let (east, west) = (&pair.east, &pair.west);
    let stack = pair.gateway.behind("east")?;
    let spanning_tree = packet()
        .to_mac([0x01, 0x80, 0xc2, 0, 0, 0])
        .llc()
        .payload([0x42; 40])
        .build();
    let refused = [
        packet().vlan(110).ip(PUMP, SERVER).udp(1, 53).build(),
        packet().vlan(110).ip("10.10.130.5", SERVER).udp(1, 24105).build(),
        packet().vlan(666).ip(PUMP, SERVER).udp(1, 24105).build(),
        spanning_tree.clone(),
        telemetry(1).build().truncated(30),
    ];
    stops(east, west, &refused, &telemetry(2).build())?;
    let lldp = packet()
        .to_mac([0x01, 0x80, 0xc2, 0, 0, 0x0e])
        .ethertype(0x88cc)
        .payload([2, 7, 4, 0, 1, 2, 3, 4, 5])
        .build()
        .padded(60);
    crosses(east, west, &lldp)?;
    // The other port's list is its own, and names them all.
    crosses(west, east, &spanning_tree)?;
    // A frame that answers nothing does not come in by the uplink.
    let unasked = packet().vlan(110).ip(SERVER, PUMP).udp(24105, 77).build();
    stops(
        west,
        east,
        &[unasked],
        &packet().vlan(110).ip(SERVER, PUMP).udp(24105, 2).build(),
    )?;
    assert_eq!(stack.receive()?, None, "a paired port passes nothing to the stack");
    let dropped = [("east", 5.0), ("west", 1.0)];
    for (port, frames) in dropped {
        let labels = [("port", port), ("verdict", "drop")];
        let counted = enforcer.metrics()?.sum(Enforcer::PORT_FRAMES, &labels);
        assert!((counted - frames).abs() < 0.5, "{port}: {counted}");
    }
    Ok(())
}

/// Pitfall 11: `would-drop` is a verdict of its own.
#[test]
fn in_monitor_mode_what_would_be_dropped_crosses() -> Result<()> {
    let pair = Pair::new(1500)?;
    let enforcer = pair.start("")?;
    let trial = packet().vlan(121).ip("10.10.121.5", "10.20.6.10").udp(1, 9).build();
    crosses(&pair.east, &pair.west, &trial)?;
    let labels = [("port", "east"), ("verdict", "would-drop")];
    assert!((enforcer.metrics()?.sum(Enforcer::PORT_FRAMES, &labels) - 1.0).abs() < 0.5);
    Ok(())
}

#[test]
fn a_port_that_is_down_is_counted_and_the_pair_recovers() -> Result<()> {
    let pair = Pair::new(1500)?;
    let enforcer = pair.start("")?;
    let inside = pair.gateway.inside();
    eventually("both are up", || {
        Ok(is_up(&enforcer, "east")? && is_up(&enforcer, "west")?)
    })?;
    inside.ip("link set west down")?;
    for port in 1..=20 {
        pair.east.send(&telemetry(port).build())?;
    }
    eventually("20 frames are lost", || Ok(losses(&enforcer, "east")? == 20))?;
    eventually("its state is told", || Ok(!is_up(&enforcer, "west")?))?;
    inside.ip("link set west up")?;
    crosses(&pair.east, &pair.west, &telemetry(30).build())?;
    // The next generation counts on.
    enforcer.reload()?;
    inside.ip("link set west down")?;
    pair.east.send(&telemetry(31).build())?;
    eventually("one more is lost", || Ok(losses(&enforcer, "east")? == 21))?;
    assert_eq!(losses(&enforcer, "west")?, 0);
    Ok(())
}

#[test]
fn a_cable_that_is_out_is_told_and_harms_nobody() -> Result<()> {
    let pair = Pair::new(1500)?;
    let enforcer = pair.start("")?;
    eventually("both are up", || {
        Ok(is_up(&enforcer, "east")? && is_up(&enforcer, "west")?)
    })?;
    pair.gateway.outside().ip("link set xwest down")?;
    eventually("its state is told", || Ok(!is_up(&enforcer, "west")?))?;
    assert!(is_up(&enforcer, "east")?, "the other port is not meant");
    // The driver throws it away: the kernel tells of no error.
    pair.east.send(&telemetry(1).build())?;
    pair.gateway.outside().ip("link set xwest up")?;
    eventually("its state is told again", || is_up(&enforcer, "west"))?;
    // The socket from before reports that its interface was down.
    let west = pair.gateway.in_front_of("west")?;
    crosses(&pair.east, &west, &telemetry(2).build())?;
    assert_eq!(enforcer.get("/readyz")?.status, 200);
    Ok(())
}

#[test]
fn a_port_that_is_deleted_loses_frames_until_it_is_back() -> Result<()> {
    let pair = Pair::new(1500)?;
    let enforcer = pair.start("")?;
    pair.gateway.inside().ip("link del west")?;
    pair.east.send(&telemetry(1).build())?;
    eventually("the frame is lost", || Ok(losses(&enforcer, "east")? == 1))?;
    // A policy that is loaded meanwhile does not open the way to the gateway's stack.
    enforcer.reload()?;
    let stack = pair.gateway.behind("east")?;
    pair.east.send(&telemetry(2).build())?;
    eventually("the next one too", || Ok(losses(&enforcer, "east")? == 2))?;
    assert_eq!(stack.receive()?, None);

    pair.gateway.add("west")?;
    pair.gateway
        .outside()
        .enter(|| set_offload("xwest", Offload::Merge, true))?;
    let west = pair.gateway.in_front_of("west")?;
    eventually("the program is on it", || pair.gateway.has_xdp("west"))?;
    eventually("the pair is whole", || {
        pair.east.send(&telemetry(3).build())?;
        Ok(west.wait_for(Duration::from_millis(200), |_| true)?.is_some())
    })
}

#[test]
fn a_far_end_that_takes_no_redirected_frames_is_counted() -> Result<()> {
    let pair = Pair::new(1500)?;
    let enforcer = pair.start("")?;
    pair.gateway
        .outside()
        .enter(|| set_offload("xwest", Offload::Merge, false))?;
    pair.east.send(&telemetry(1).build())?;
    eventually("the frame is lost", || Ok(losses(&enforcer, "east")? == 1))
}

#[test]
fn jumbo_frames_cross_whole_and_longer_ones_are_counted() -> Result<()> {
    let pair = Pair::new(9000)?;
    let enforcer = pair.start("")?;
    // 9000 octets of IP: Ethernet header and tag come on top.
    let content: Vec<u8> = (0..8972_u32).map(|number| (number % 251) as u8).collect();
    let jumbo = telemetry(1).payload(&content).build();
    assert_eq!(jumbo.len(), 9018);
    crosses(&pair.east, &pair.west, &jumbo)?;
    crosses(
        &pair.west,
        &pair.east,
        &packet()
            .vlan(110)
            .ip(SERVER, PUMP)
            .udp(24105, 1)
            .payload(&content)
            .build(),
    )?;
    assert_eq!(losses(&enforcer, "east")?, 0);

    pair.gateway.inside().ip("link set west mtu 8000")?;
    pair.east.send(&jumbo)?;
    eventually("the frame is lost", || Ok(losses(&enforcer, "east")? == 1))?;
    crosses(&pair.east, &pair.west, &telemetry(2).payload(&content[..7972]).build())
}
