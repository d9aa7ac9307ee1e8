//! A site with nothing but kernels in it: hosts, switches, and a gateway that routes both families with its own stack.
//!
//! ```text
//!  host namespaces         fabric namespace             gateway namespace
//!  pump   eth0 ══ veth ══╗
//!  rogue  eth0 ══ veth ══╬═ bridge ═ xpumps ══ veth ══ pumps    XDP (the enforcer) ─┐
//!  server eth0 ══ veth ════ bridge ═ xservers ═ veth ══ servers XDP (the enforcer) ─┴─ kernel: forwarding
//! ```
//!
//! Each segment is a VLAN with a port of its own at the gateway, untagged there (`native_vlan`), because a kernel without
//! 802.1Q cannot route between tags; [`Lab`](super::Lab) has the tagged trunk. A host has a number, from which its
//! addresses of both families follow. Hosts send whole checksums and cut their own segments, as hardware does for a
//! frame on a wire: what XDP redirects has to be complete.
//!
//! With two segments in one VLAN the gateway is a bump in their cable instead: [`Site::inline`].

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, ensure};

use crate::packet::{Mac, mac_text};

use super::enforcer::{Config, Enforcer};
use super::router::GATEWAY_MAC;
use super::{Namespace, Offload, PacketSocket, eventually, set_offload};

/// A host: a namespace with one interface, `eth0`.
#[derive(Clone, Debug)]
pub struct Host {
    /// What the site calls it.
    pub name: &'static str,
    /// Its hardware address.
    pub mac: Mac,
    /// Its address.
    pub v4: Ipv4Addr,
    /// Its address of the other family.
    pub v6: Ipv6Addr,
    segment: &'static str,
    addressed: bool,
}

/// A VLAN, and the gateway's port to it.
#[derive(Clone, Copy, Debug)]
struct Segment {
    port: &'static str,
    vlan: u16,
    v4: &'static str,
    v6: &'static str,
}

impl Segment {
    fn v4(&self, number: u8) -> String {
        format!("{}.{number}", self.v4)
    }

    fn v6(&self, number: u8) -> String {
        format!("{}:{number}", self.v6)
    }
}

/// A site to build.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    segments: Vec<Segment>,
    hosts: Vec<Host>,
    mtu: Option<u16>,
    bridged: bool,
}

impl Plan {
    /// An empty plan.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a segment: its port at the gateway, its VLAN, and what its addresses begin with: `10.10.110` (a /24) and
    /// `fd00:10:110:` (a /64). The gateway is number 1 in it.
    #[must_use]
    pub fn segment(mut self, port: &'static str, vlan: u16, v4: &'static str, v6: &'static str) -> Self {
        self.segments.push(Segment { port, vlan, v4, v6 });
        self
    }

    /// Adds a host to the segment that was added last: number 21 has the address `10.10.110.21`, and `fd00:10:110::21`.
    ///
    /// # Panics
    /// Without a segment.
    #[must_use]
    pub fn host(mut self, name: &'static str, number: u8) -> Self {
        let segment = self.segments.last().expect("segment() comes before host()");
        let malformed = "a segment's addresses complete to addresses";
        let [_, vlan] = segment.vlan.to_be_bytes();
        self.hosts.push(Host {
            name,
            mac: [0x02, 0, 0, 0, vlan, number],
            v4: segment.v4(number).parse().expect(malformed),
            v6: segment.v6(number).parse().expect(malformed),
            segment: segment.port,
            addressed: true,
        });
        self
    }

    /// Leaves the host that was added last without addresses: it has to ask for them.
    ///
    /// # Panics
    /// Without a host.
    #[must_use]
    pub fn without_address(mut self) -> Self {
        self.hosts
            .last_mut()
            .expect("host() comes before without_address()")
            .addressed = false;
        self
    }

    /// The MTU of everything; 1500 if not said.
    #[must_use]
    pub fn mtu(mut self, mtu: u16) -> Self {
        self.mtu = Some(mtu);
        self
    }

    /// The gateway has no addresses and routes nothing: see [`Site::inline`].
    #[must_use]
    pub fn bridged(mut self) -> Self {
        self.bridged = true;
        self
    }

    /// Builds it. When this returns, hosts reach each other, if nothing stops them; in a bridged site, those of one segment.
    pub fn build(self) -> Result<Site> {
        let site = Site {
            gateway: dual_stack(Namespace::gateway("gateway")?)?,
            fabric: Namespace::new("fabric")?,
            hosts: Vec::new(),
            segments: self.segments.clone(),
        };
        let mtu = self.mtu.unwrap_or(1500);
        for segment in &self.segments {
            site.add_segment(segment, mtu)?;
        }
        if !self.bridged {
            site.route()?;
        }
        let plugged = self.hosts.into_iter().map(|host| {
            let namespace = site.plug_in(&host, mtu, self.bridged);
            Ok((namespace.with_context(|| format!("host {}", host.name))?, host))
        });
        let hosts = plugged.collect::<Result<Vec<_>>>()?;
        site.wait_for_the_switches()?;
        Ok(Site { hosts, ..site })
    }
}

/// A running site. All of it is gone when it is dropped.
#[derive(Debug)]
pub struct Site {
    gateway: Namespace,
    fabric: Namespace,
    hosts: Vec<(Namespace, Host)>,
    segments: Vec<Segment>,
}

impl Site {
    /// The policy file, in the gateway's private /run.
    pub const POLICY: &'static str = "/run/policy.yaml";

    /// The namespace with the ports, for the enforcer.
    pub fn gateway(&self) -> &Namespace {
        &self.gateway
    }

    /// The namespace of a host.
    ///
    /// # Panics
    /// When the plan has no such host.
    pub fn inside(&self, name: &str) -> &Namespace {
        &self.find(name).0
    }

    /// A host of the plan.
    ///
    /// # Panics
    /// When the plan has no such host.
    pub fn host(&self, name: &str) -> &Host {
        &self.find(name).1
    }

    fn find(&self, name: &str) -> &(Namespace, Host) {
        let found = self.hosts.iter().find(|(_, host)| host.name == name);
        found.unwrap_or_else(|| panic!("the site has no host {name}"))
    }

    /// A socket at a host's own interface: for frames that its stack would not send, and to see what reaches it.
    pub fn socket(&self, name: &str) -> Result<PacketSocket> {
        let opened = self.inside(name).enter(|| PacketSocket::open("eth0"));
        opened.with_context(|| format!("cannot open a socket on {name}"))
    }

    /// What a program prints that runs on a host.
    pub fn tool(&self, name: &str, program: &str, arguments: &[&str]) -> Result<String> {
        printed(self.inside(name), program, arguments)
    }

    /// Writes the policy, and starts an enforcer for it on all ports; `settings` are more lines of its configuration.
    pub fn start(&self, policy: &str, settings: &str) -> Result<Enforcer<'_>> {
        self.set_policy(policy)?;
        Enforcer::start(&self.gateway, &self.config(settings, |_| String::new()))
    }

    /// The same for a pair: what comes in by the first segment's port goes out by the second's, the uplink.
    pub fn inline(&self, policy: &str, settings: &str) -> Result<Enforcer<'_>> {
        self.set_policy(policy)?;
        let [east, west] = self.segments[..] else {
            anyhow::bail!("a pair has two ports, and this site {}", self.segments.len());
        };
        for segment in [east, west] {
            // Without an XDP program of its own, a veth takes redirected frames only with GRO.
            self.fabric
                .enter(|| set_offload(&format!("x{}", segment.port), Offload::Merge, true))?;
        }
        let pair = |port: &str| {
            if port == east.port {
                format!("pair = '{}'", west.port)
            } else {
                "uplink = true".to_owned()
            }
        };
        Enforcer::start(&self.gateway, &self.config(settings, pair))
    }

    /// Puts a network with a host of its own behind a host, which becomes its router. It has the subnet that follows the
    /// addresses' own; both ends of the cable have the given MTU, and the new host does not tell anybody of it.
    pub fn extend(&self, router: &str, mtu: u16, v4: [&str; 2], v6: [&str; 2]) -> Result<Namespace> {
        let far = dual_stack(Namespace::new("far")?)?;
        let near = self.inside(router);
        near.ip(&format!("link add far type veth peer name eth0 netns {}", far.path()))?;
        far.enter(|| set_offload("eth0", Offload::Checksum, false))?;
        let ([v4, far_v4], [v6, far_v6]) = (v4, v6);
        near.ip(&format!(
            "link set far mtu {mtu} up\naddr add {v4}/24 dev far\naddr add {v6}/64 dev far"
        ))?;
        sysctl(near, "ipv4/ip_forward", "1")?;
        sysctl(near, "ipv6/conf/all/forwarding", "1")?;
        far.ip(&format!(
            "link set eth0 mtu {mtu} up
             addr add {far_v4}/24 dev eth0
             addr add {far_v6}/64 dev eth0
             route add default via {v4} advmss 1440
             route add default via {v6} dev eth0 advmss 1440"
        ))?;
        let host = self.host(router);
        self.gateway.ip(&format!(
            "route add {far_v4}/32 via {}\nroute add {far_v6}/128 via {}",
            host.v4, host.v6
        ))?;
        Ok(far)
    }

    fn config(&self, settings: &str, of_port: impl Fn(&str) -> String) -> Config {
        let ports: Vec<_> = self.segments.iter().map(|segment| segment.port).collect();
        let mut config = Config::new(&ports, Self::POLICY);
        settings.clone_into(&mut config.settings);
        for segment in &self.segments {
            let own = format!("native_vlan = {}\n{}", segment.vlan, of_port(segment.port));
            config.own_settings.insert(segment.port.to_owned(), own);
        }
        config
    }

    /// Replaces the policy file.
    pub fn set_policy(&self, text: &str) -> Result<()> {
        let write = || fs::write(Self::POLICY, text);
        self.gateway.enter(write).context("cannot write the policy")
    }

    /// The hardware address that a host's own table has for an address of either family, lower case, colons between.
    pub fn neighbour(&self, name: &str, address: &str) -> Result<Option<String>> {
        neighbour(self.inside(name), address)
    }

    /// The same in the gateway's table.
    pub fn gateway_neighbour(&self, address: &str) -> Result<Option<String>> {
        neighbour(&self.gateway, address)
    }

    fn add_segment(&self, segment: &Segment, mtu: u16) -> Result<()> {
        let (port, fabric) = (segment.port, self.fabric.path());
        self.gateway.ip(&format!(
            "link add {port} type veth peer name x{port} netns {fabric}
             link set {port} address {} mtu {mtu}
             link set {port} up",
            mac_text(GATEWAY_MAC)
        ))?;
        self.fabric.ip(&format!(
            "link add br-{port} type bridge forward_delay 0 mcast_snooping 0
             link set x{port} mtu {mtu} master br-{port} up
             link set br-{port} mtu {mtu} up"
        ))
    }

    fn route(&self) -> Result<()> {
        for segment in &self.segments {
            let (port, v4, v6) = (segment.port, segment.v4(1), segment.v6(1));
            self.gateway
                .ip(&format!("addr add {v4}/24 dev {port}\naddr add {v6}/64 dev {port}"))?;
        }
        sysctl(&self.gateway, "ipv4/ip_forward", "1")?;
        sysctl(&self.gateway, "ipv6/conf/all/forwarding", "1")
    }

    /// The kernel tells a bridge of a carrier when it has time, up to a second later; until then the port forwards nothing.
    fn wait_for_the_switches(&self) -> Result<()> {
        eventually("every port of the switches forwards", || {
            let ports = printed(
                &self.fabric,
                "ip",
                &["-d", "-o", "link", "show", "type", "bridge_slave"],
            )?;
            Ok(ports.lines().all(|port| port.contains("state forwarding")))
        })
    }

    fn plug_in(&self, host: &Host, mtu: u16, bridged: bool) -> Result<Namespace> {
        let segment = self.segments.iter().find(|segment| segment.port == host.segment);
        let segment = segment.context("a host is on a segment")?;
        let namespace = dual_stack(Namespace::new(host.name)?)?;
        let (port, fabric) = (format!("x{}", host.name), self.fabric.path());
        namespace.ip(&format!(
            "link add eth0 type veth peer name {port} netns {fabric}\nlink set eth0 address {} mtu {mtu}",
            mac_text(host.mac)
        ))?;
        namespace
            .enter(|| set_offload("eth0", Offload::Checksum, false))
            .context("cannot switch off transmit checksums")?;
        let bridge = segment.port;
        self.fabric
            .ip(&format!("link set {port} mtu {mtu} master br-{bridge} up"))?;
        namespace.ip("link set eth0 up")?;
        if host.addressed {
            let (v4, v6) = (host.v4, host.v6);
            namespace.ip(&format!("addr add {v4}/24 dev eth0\naddr add {v6}/64 dev eth0"))?;
            if !bridged {
                let (v4, v6) = (segment.v4(1), segment.v6(1));
                namespace.ip(&format!(
                    "route add default via {v4}\nroute add default via {v6} dev eth0"
                ))?;
            }
        }
        Ok(namespace)
    }
}

/// Switches IPv6 on, for interfaces to come too, with addresses that serve at once.
fn dual_stack(namespace: Namespace) -> Result<Namespace> {
    for place in ["all", "default"] {
        sysctl(&namespace, &format!("ipv6/conf/{place}/disable_ipv6"), "0")?;
        sysctl(&namespace, &format!("ipv6/conf/{place}/accept_dad"), "0")?;
        sysctl(&namespace, &format!("ipv6/conf/{place}/router_solicitations"), "0")?;
    }
    Ok(namespace)
}

/// Sets a setting of a namespace's stack; the name is a path below /proc/sys/net.
pub fn sysctl(namespace: &Namespace, name: &str, value: &str) -> Result<()> {
    let write = || fs::write(format!("/proc/sys/net/{name}"), value);
    let written = namespace.enter(write);
    written.with_context(|| format!("cannot set net/{name} of {} to {value}", namespace.name()))
}

fn neighbour(namespace: &Namespace, address: &str) -> Result<Option<String>> {
    let table = printed(namespace, "ip", &["neigh", "show", "to", address])?;
    let mac = table
        .split_once("lladdr ")
        .and_then(|(_, rest)| rest.split_whitespace().next());
    Ok(mac.map(str::to_owned))
}

/// What a program prints that runs in a namespace, if it ends well.
fn printed(namespace: &Namespace, program: &str, arguments: &[&str]) -> Result<String> {
    let output = namespace.command(program).args(arguments).output();
    let output = output.with_context(|| format!("cannot run {program}: `cargo xtask setup` installs it"))?;
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    ensure!(
        output.status.success(),
        "{program} {arguments:?} in {}: {}{}",
        namespace.name(),
        text(&output.stdout),
        text(&output.stderr)
    );
    Ok(text(&output.stdout))
}
