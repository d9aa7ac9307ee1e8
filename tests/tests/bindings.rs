//! Addresses learnt from DHCP, in the kernel program: frames go in by test run, the table of bindings is written by hand. Wants to
//! be root.

use anyhow::{Context as _, Result};
use aya::maps::{HashMap, Map, MapData, RingBuf};
use enforcer::kernel::PortSetup;
use enforcer::kernel::sys::read_pod;
use enforcer::kernel::ticks::TickClock;
use enforcer::object::OBJECT;
use enforcer::policy::{TableSet, compile, load_texts};
use enforcer_common::abi::{Binding, BindingKey, DhcpMessage, NO_RULE};
use enforcer_common::verdict::DropReason;
use enforcer_tests::kernel::Kernel;
use enforcer_tests::packet::{Frame, Mac, arp, packet, tcp_flags};

const PUMP: Mac = [0x02, 0, 0, 0, 0x6e, 0x1e];
const OTHER: Mac = [0x02, 0, 0, 0, 0x6e, 0x42];
const SERVER: Mac = [0x02, 0, 0, 0, 0x14, 0x43];
const LEASED: &str = "10.10.110.30";

fn tables() -> TableSet {
    let text = "zones:
  pumps: {vlan: 110, subnets: [10.10.110.0/24], mode: enforce}
  servers: {vlan: 20, subnets: [10.20.0.0/16], mode: enforce}
devices:
  pump-1: {zone: pumps, mac: '02:00:00:00:6e:1e', dhcp: true}
  pump-2: {zone: pumps, mac: '02:00:00:00:6e:1f', dhcp: true}
  dhcp-1: {zone: servers, mac: '02:00:00:00:14:43', address: 10.20.0.67, roles: [dhcp-server]}
rules:
  the-pump: {from: pump-1, to: servers, services: tcp/443, action: allow}
  back: {from: servers, to: pump-1, services: tcp/80, action: allow}
  leases: {from: servers, to: pumps, services: udp/67-68, action: allow}
";
    let policy = load_texts([("policy.yaml".into(), text.into())]).unwrap_or_else(|errors| panic!("{errors}"));
    compile(&policy).unwrap_or_else(|errors| panic!("{errors}"))
}

/// A loaded program, its table of bindings, and its clock.
struct Fixture {
    kernel: Kernel,
    table: HashMap<MapData, BindingKey, Binding>,
    tables: TableSet,
    clock: TickClock,
}

impl Fixture {
    fn new() -> Result<Self> {
        let tables = tables();
        let kernel = Kernel::load(&tables, &[PortSetup::new("test0", 1)])?;
        let table = HashMap::try_from(Map::HashMap(kernel.generation().map("BINDINGS")?))?;
        let clock = TickClock::measure(OBJECT)?;
        Ok(Self {
            kernel,
            table,
            tables,
            clock,
        })
    }

    fn bind(&mut self, address: &str, device: &str, expires: u64) -> Result<()> {
        let slots = self.kernel.generation().slots();
        let (_, device) = slots
            .devices
            .iter()
            .find(|(name, _)| name == device)
            .context("a device")?;
        let (_, realm) = slots.realms.first().context("a realm")?;
        let address: std::net::Ipv4Addr = address.parse()?;
        let key = BindingKey {
            address: [0, 0, 0, address.into()],
            realm: *realm as u16,
            family: 4,
            reserved: 0,
        };
        let binding = Binding {
            expires,
            device: *device,
            reserved: 0,
        };
        Ok(self.table.insert(key, binding, 0)?)
    }

    /// The reason, and the name of the rule.
    fn decide(&mut self, frame: &Frame) -> Result<(&'static str, &str)> {
        let (_, event) = self.kernel.run(&frame.bytes, 1)?;
        let reason = DropReason::from_code(event.reason).context("a reason")?;
        let rule = if event.rule == NO_RULE {
            ""
        } else {
            &self.tables.names.rules[event.rule as usize].name
        };
        Ok((reason.name(), rule))
    }
}

fn syn(source: Mac, address: &str) -> Frame {
    let frame = packet().from_mac(source).vlan(110).ip(address, "10.20.5.10");
    frame.tcp(40_000, 443, tcp_flags::SYN).build()
}

fn toward(address: &str) -> Frame {
    let frame = packet().from_mac(SERVER).vlan(20).ip("10.20.5.10", address);
    frame.tcp(40_000, 80, tcp_flags::SYN).build()
}

#[test]
fn a_lease_makes_the_address_the_devices_and_nobody_elses() -> Result<()> {
    let mut fixture = Fixture::new()?;
    assert_eq!(fixture.decide(&syn(PUMP, LEASED))?, ("default-deny", "default-deny"));
    assert_eq!(fixture.decide(&toward(LEASED))?, ("default-deny", "default-deny"));
    fixture.bind(LEASED, "pump-1", u64::MAX)?;
    assert_eq!(fixture.decide(&syn(PUMP, LEASED))?, ("none", "the-pump"));
    assert_eq!(fixture.decide(&toward(LEASED))?, ("none", "back"));
    assert_eq!(fixture.decide(&syn(OTHER, LEASED))?, ("source-mac-mismatch", ""));
    let claim = |mac: Mac| {
        packet()
            .from_mac(mac)
            .vlan(110)
            .arp_request(LEASED, "10.10.110.1")
            .build()
    };
    assert_eq!(fixture.decide(&claim(OTHER))?.0, "arp-spoof");
    assert_eq!(fixture.decide(&claim(PUMP))?.0, "none");
    let answer = packet().macs(OTHER, PUMP).vlan(110);
    let answer = answer.arp(arp::REPLY, (OTHER, LEASED), (PUMP, "10.10.110.1")).build();
    assert_eq!(fixture.decide(&answer)?.0, "arp-spoof");
    // Other addresses of the zone are what they were.
    assert_eq!(
        fixture.decide(&syn(PUMP, "10.10.110.31"))?,
        ("default-deny", "default-deny")
    );
    Ok(())
}

#[test]
fn a_rule_that_names_a_device_is_not_for_another_with_a_lease() -> Result<()> {
    let mut fixture = Fixture::new()?;
    fixture.bind(LEASED, "pump-2", u64::MAX)?;
    let mac = [0x02, 0, 0, 0, 0x6e, 0x1f];
    assert_eq!(fixture.decide(&syn(mac, LEASED))?, ("default-deny", "default-deny"));
    fixture.bind(LEASED, "pump-1", u64::MAX)?;
    assert_eq!(fixture.decide(&syn(mac, LEASED))?, ("source-mac-mismatch", ""));
    assert_eq!(fixture.decide(&syn(PUMP, LEASED))?, ("none", "the-pump"));
    Ok(())
}

#[test]
fn a_lease_that_is_over_is_none() -> Result<()> {
    let mut fixture = Fixture::new()?;
    let hour = 3_600_000_000_000;
    let now = fixture.clock.now();
    fixture.bind(LEASED, "pump-1", now + hour)?;
    assert_eq!(fixture.decide(&syn(PUMP, LEASED))?, ("none", "the-pump"));
    // The kernel's clock stands still for the length of a tick.
    fixture.bind(LEASED, "pump-1", now - fixture.clock.tick_nanos)?;
    assert_eq!(fixture.decide(&syn(PUMP, LEASED))?, ("default-deny", "default-deny"));
    // Nor is it held against anybody.
    assert_eq!(fixture.decide(&syn(OTHER, LEASED))?, ("default-deny", "default-deny"));
    Ok(())
}

#[test]
fn the_binding_of_an_unknown_device_is_none() -> Result<()> {
    let mut fixture = Fixture::new()?;
    fixture.bind(LEASED, "pump-1", u64::MAX)?;
    let keys: Vec<_> = fixture.table.keys().collect::<Result<_, _>>()?;
    for device in [2, 100, 16_383, 16_384, u32::MAX] {
        let binding = Binding {
            expires: u64::MAX,
            device,
            reserved: 0,
        };
        fixture.table.insert(keys[0], binding, 0)?;
        assert_eq!(
            fixture.decide(&syn(PUMP, LEASED))?,
            ("default-deny", "default-deny"),
            "{device}"
        );
    }
    Ok(())
}

/// A message of a DHCP server to the relay in the pumps' VLAN.
fn reply(source: Mac, from: &str, ports: (u16, u16), payload: &[u8]) -> Frame {
    let frame = packet().from_mac(source).vlan(20).ip(from, "10.10.110.30");
    frame.udp(ports.0, ports.1).payload(payload).build()
}

#[test]
fn what_declared_servers_send_to_clients_goes_up_the_ring() -> Result<()> {
    let mut fixture = Fixture::new()?;
    let mut ring = RingBuf::try_from(Map::RingBuf(fixture.kernel.generation().map("DHCP")?))?;
    let mut payload = vec![2, 1, 6];
    payload.extend((0..1100_u32).map(|number| number as u8));
    for length in [payload.len(), 1024, 1023, 300, 240] {
        let before = fixture.clock.now();
        let frame = reply(SERVER, "10.20.0.67", (67, 68), &payload[..length]);
        assert_eq!(fixture.decide(&frame)?, ("none", "leases"));
        let record = ring.next().context("a message")?;
        let message = read_pod::<DhcpMessage>(&record).context("a message of its size")?;
        let octets = length.min(1024);
        assert_eq!(message.length as usize, octets);
        assert_eq!(message.data[..octets], payload[..octets]);
        assert_eq!((message.ifindex, message.generation), (1, 1));
        let lan = &fixture.tables.names.lans[message.lan as usize];
        assert_eq!(lan.vlan.map(|vlan| vlan.outer), Some(20));
        let tick = fixture.clock.tick_nanos;
        assert!(
            message.at + tick >= before && message.at <= fixture.clock.now() + tick,
            "{}",
            message.at
        );
    }
    for frame in [
        // Not a declared server; not from a server's port; not with its hardware address.
        reply(SERVER, "10.20.0.68", (67, 68), &payload),
        reply(SERVER, "10.20.0.67", (68, 67), &payload),
        reply(OTHER, "10.20.0.67", (67, 68), &payload),
    ] {
        fixture.decide(&frame)?;
        assert!(ring.next().is_none());
    }
    Ok(())
}
