//! Checks with interfaces that distribution kernels have: 802.1Q sub-interfaces, bridges that filter VLANs, long frames.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use enforcer_tests::lab::{
    Config, Enforcer, Gateway, Namespace, Offload, PATIENCE, PacketSocket, eventually, set_offload,
};
use enforcer_tests::packet::{Builder, packet};

const POLICY: &str = "/run/policy.yaml";
const ZONES: &str = "zones:
  pumps: {vlan: 110, subnets: [10.10.110.0/24], mode: enforce}
  servers: {vlan: 205, subnets: [10.20.5.0/24], mode: enforce}
rules:
  to-servers: {from: pumps, to: servers, services: udp/3613, action: allow}
";

fn permitted() -> Builder {
    packet().ip("10.10.110.21", "10.20.5.10").udp(40_000, 3613)
}

/// Rewrites the frame to the VLAN's tag: as it stands on the trunk.
fn tagged(builder: Builder) -> Builder {
    builder.vlan(110)
}

fn arrives(socket: &PacketSocket, frame: &[u8]) -> Result<()> {
    let seen = socket.wait_for(PATIENCE, |seen| seen == frame)?;
    ensure!(seen.is_some(), "a permitted frame did not arrive");
    Ok(())
}

fn refused(enforcer: &Enforcer<'_>) -> Result<f64> {
    Ok(enforcer.metrics()?.sum(Enforcer::DROPPED_FRAMES, &[]))
}

/// Frames that a kernel's own 802.1Q sub-interface sends: hidden tags are noticed and cured.
pub(crate) fn sub_interface() -> Result<String> {
    hidden_from_elsewhere()?;
    cured_where_in_reach()?;
    Ok("hidden, found, cured".into())
}

/// The sender is out of reach: with its offload on the tag is hidden, and the frame is refused and counted, not taken
/// for one of another VLAN; with it off, it passes.
fn hidden_from_elsewhere() -> Result<()> {
    let gateway = Gateway::build(&["east"])?;
    let outside = gateway.outside();
    outside.ip("link add link xeast name v110 type vlan id 110\nlink set v110 up")?;
    gateway.inside().enter(|| fs::write(POLICY, ZONES))?;
    let enforcer = Enforcer::start(gateway.inside(), &Config::new(&["east"], POLICY))?;
    let behind = gateway.behind("east")?;
    let sender = outside.enter(|| PacketSocket::open("v110"))?;
    let switch = |on| outside.enter(|| set_offload("xeast", Offload::TransmitVlan, on));
    switch(true).context("cannot switch txvlan on")?;
    let before = refused(&enforcer)?;
    sender.send(&permitted().build())?;
    eventually("a frame whose tag is hidden is refused", || {
        Ok(refused(&enforcer)? > before)
    })?;
    switch(false).context("cannot switch txvlan off")?;
    sender.send(&permitted().build())?;
    arrives(&behind, &tagged(permitted()).build())
}

/// The sender is in reach: the controller switches its offload off, and on again when it detaches.
fn cured_where_in_reach() -> Result<()> {
    let gateway = Namespace::gateway("gateway")?;
    gateway.ip(
        "link add trunk type veth peer name switch\nlink set trunk up\nlink set switch up\n\
         link add link switch name v110 type vlan id 110\nlink set v110 up",
    )?;
    gateway.enter(|| fs::write(POLICY, ZONES))?;
    let _enforcer = Enforcer::start(&gateway, &Config::new(&["trunk"], POLICY))?;
    let behind = gateway.enter(|| PacketSocket::open("trunk"))?;
    let sender = gateway.enter(|| PacketSocket::open("v110"))?;
    sender.send(&permitted().build())?;
    arrives(&behind, &tagged(permitted()).build())
}

/// Both ports belong to a bridge that filters VLANs: what the enforcer passes crosses the bridge with its tag, what it
/// refuses does not.
pub(crate) fn bridge() -> Result<String> {
    let gateway = Gateway::build(&["east", "west"])?;
    let inside = gateway.inside();
    inside.ip(
        "link add br0 type bridge vlan_filtering 1 vlan_default_pvid 0 mcast_snooping 0\nlink set br0 up\n\
         link set east master br0\nlink set west master br0",
    )?;
    for port in ["east", "west"] {
        let added = inside
            .command("bridge")
            .args(["vlan", "add", "vid", "110", "dev", port])
            .status();
        ensure!(
            added.context("cannot run `bridge`")?.success(),
            "`bridge vlan add` failed"
        );
    }
    inside.enter(|| fs::write(POLICY, ZONES))?;
    let enforcer = Enforcer::start(inside, &Config::new(&["east", "west"], POLICY))?;
    let (east, west) = (gateway.in_front_of("east")?, gateway.in_front_of("west")?);
    let before = refused(&enforcer)?;
    let scan = tagged(packet().ip("10.10.110.21", "10.20.5.10").udp(40_000, 9999)).build();
    east.send(&scan)?;
    let wanted = tagged(permitted()).build();
    east.send(&wanted)?;
    let first = west.wait_for(PATIENCE, |seen| seen == &*scan || seen == &*wanted)?;
    ensure!(first.as_deref() == Some(&*wanted), "the bridge got {first:02x?}");
    ensure!(refused(&enforcer)? > before, "the refused frame was not counted");
    Ok("crosses with its tag".into())
}

/// A frame of 9,018 octets, in several buffers.
pub(crate) fn jumbo() -> Result<String> {
    let gateway = Gateway::build(&["east"])?;
    gateway.inside().ip("link set east mtu 9000")?;
    gateway.outside().ip("link set xeast mtu 9000")?;
    gateway.inside().enter(|| fs::write(POLICY, ZONES))?;
    let _enforcer = Enforcer::start(gateway.inside(), &Config::new(&["east"], POLICY))?;
    let content: Vec<u8> = (0..8972_u32).map(|number| (number % 251) as u8).collect();
    let frame = tagged(permitted().payload(&content)).build();
    let behind = gateway.behind("east")?;
    gateway.in_front_of("east")?.send(&frame)?;
    arrives(&behind, &frame)?;
    Ok(format!("{} octets", frame.len()))
}
