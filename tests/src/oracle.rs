//! What must become of a frame, read off the policy as a person would: every zone, device and rule looked at in turn.
//!
//! The oracle knows neither the compiled tables nor the engine. It reads the validated policy, and frames as they are
//! meant ([`Sent`]), not their octets. What it shares with the engine are the names of outcomes: verdicts, reasons, stages.
//!
//! ```text
//! sent.rs      what a frame means, and its damage
//! parse.rs     which reason a damaged frame is refused for, and what is still readable
//! beside.rs    management access, leases
//! place.rs     ports, VLANs; addresses -> zone, device, VLAN
//! guard.rs     who speaks for whom
//! rules.rs     which rule settles a pair and a service
//! session.rs   flows, ICMP errors; state.rs: the life of a flow; fragments.rs
//! budget.rs    whose limits a frame comes under, and whether it fits
//! service.rs   which flow and service a packet is about; options.rs: what a TCP header announces
//! ```

mod beside;
mod budget;
mod fragments;
mod guard;
pub mod options;
mod parse;
mod place;
mod rules;
mod sent;
mod service;
mod session;
mod state;

use std::net::IpAddr;

use enforcer::kernel::PortSetup;
use enforcer::policy::valid::{GuardMode, Mode, UNKNOWN, ValidPolicy};
use enforcer_common::abi::control;
use enforcer_common::verdict::{DropReason, Stage, Verdict};

pub use beside::{Beside, Lease, Management};
use budget::{Ledger, Paid, Step};
use fragments::Fragments;
pub use options::TcpOption;
pub use place::{Place, owner};
pub use sent::{About, Arp, Content, Control, Damage, Ip, Neighbour, Part, Quote, Sent, Transport};
use session::{Crossing, Flow};

/// What must become of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome<'p> {
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why.
    pub reason: DropReason,
    /// Where that is settled.
    pub stage: Stage,
    /// Name of the rule that decides; empty when none is involved.
    pub rule: &'p str,
    /// Number of the zone that a refusal is charged to.
    pub zone: usize,
    /// Worth an event although it passes.
    pub log: bool,
}

/// A policy in force on some ports, and what it remembers of the frames so far.
pub struct Oracle<'p> {
    policy: &'p ValidPolicy,
    ports: &'p [PortSetup],
    beside: &'p Beside,
    generation: u32,
    flows: Vec<Flow<'p>>,
    fragments: Fragments<'p>,
    ledger: Ledger,
    /// Flows that were opened so far.
    opened: usize,
}

/// What is known about a frame that is not decided yet. Refusals say `Err`.
struct Way<'p> {
    stage: Stage,
    rule: &'p str,
    zone: usize,
    monitored: bool,
    log: bool,
    /// It crosses to the other port of a pair.
    crosses: bool,
    /// What a guard that only watches found wrong last.
    noted: DropReason,
}

impl Way<'_> {
    /// What a guard finds, in its mode.
    fn watch(&mut self, mode: GuardMode, finding: Result<(), DropReason>) -> Result<(), DropReason> {
        match (mode, finding) {
            (GuardMode::Off, _) => Ok(()),
            (GuardMode::Monitor, Err(reason)) => {
                self.noted = reason;
                Ok(())
            }
            (_, finding) => finding,
        }
    }
}

impl<'p> Oracle<'p> {
    /// Without any flow yet.
    pub fn new(policy: &'p ValidPolicy, ports: &'p [PortSetup], beside: &'p Beside) -> Self {
        Self {
            policy,
            ports,
            beside,
            generation: 1,
            flows: Vec::new(),
            fragments: Fragments::new(),
            ledger: Ledger::default(),
            opened: 0,
        }
    }

    /// Puts another policy in force; flows stay.
    pub fn swap(&mut self, policy: &'p ValidPolicy) {
        self.policy = policy;
        self.generation += 1;
    }

    /// Decides a frame of so many octets at a time, in nanoseconds.
    pub fn decide(&mut self, sent: &Sent, octets: usize, now: u64) -> Outcome<'p> {
        let mut way = Way {
            stage: Stage::Parse,
            rule: "",
            zone: UNKNOWN,
            monitored: false,
            log: false,
            crosses: false,
            noted: DropReason::None,
        };
        let (verdict, reason) = match self.stages(sent, octets, now, &mut way) {
            Ok(()) if way.noted != DropReason::None => (Verdict::WouldDrop, way.noted),
            Ok(()) if way.crosses => (Verdict::Redirect, DropReason::None),
            Ok(()) => (Verdict::Pass, DropReason::None),
            Err(reason) if way.monitored => (Verdict::WouldDrop, reason),
            Err(reason) => (Verdict::Drop, reason),
        };
        Outcome {
            verdict,
            reason,
            stage: way.stage,
            rule: way.rule,
            zone: way.zone,
            log: way.log,
        }
    }

    fn stages(&mut self, sent: &Sent, octets: usize, now: u64, way: &mut Way<'p>) -> Result<(), DropReason> {
        // A port in monitor mode drops nothing, and neither does a VLAN whose zones are all in monitor mode.
        let port = self.ports.iter().find(|port| port.ifindex == sent.ifindex);
        let port = port.ok_or(DropReason::UnknownPort)?;
        way.monitored = port.monitor;
        way.crosses = port.peer.is_some();
        let tags = parse::readable_tags(sent);
        let outer = place::outer_vlan(port, &tags);
        if let Ok(outer) = outer
            && parse::outcome(sent).is_ok()
            && self.beside.is_management(sent, outer)
        {
            (way.stage, way.crosses) = (Stage::Failsafe, false);
            return Ok(());
        }
        let place = Place::of(self.policy, self.beside, port, &tags, now);
        // Where undeclared VLANs pass, they do whatever is wrong with them.
        way.monitored |= port.pass_undeclared && outer.is_ok() && place.is_err();
        if let Ok(place) = &place {
            way.zone = place.zone();
            // Whoever spoofs must not choose the mode: what is refused before the source is verified passes only if
            // neither the VLAN nor the receiver's zone enforces.
            let receiver = destination(sent).map(|address| place.resident(address).zone);
            let enforced = receiver.is_some_and(|zone| self.policy.zones[zone].mode == Some(Mode::Enforce));
            way.monitored |= !place.enforces() && !enforced;
        }
        parse::outcome(sent)?;

        way.stage = Stage::Link;
        if sent.source_mac[0] & 1 == 1 {
            return Err(DropReason::InvalidSource);
        }
        if let Content::Control(kind) = sent.content
            && stays_on_link(kind, sent.destination_mac)
        {
            if !sent.tags.is_empty() && matches!(place, Err(DropReason::VlanNotAllowed)) {
                return Err(DropReason::VlanNotAllowed);
            }
            return if port.control & bit_of(kind) == 0 {
                Err(DropReason::ControlProtocol)
            } else {
                Ok(())
            };
        }
        let place = place?;
        let (guard, finding) = match &sent.content {
            Content::Arp(arp) => (place.guards().arp, guard::arp(&place, arp, sent.source_mac)),
            Content::Ip(ip) if guard::is_router_advertisement(&place, ip) => {
                (place.guards().router, guard::router(&place, sent.source_mac))
            }
            Content::Ip(ip) if guard::is_neighbour_discovery(&place, ip) => {
                let finding = guard::neighbour(&place, ip, sent.source_mac);
                (place.guards().neighbour, finding)
            }
            Content::Ip(ip) => return self.packet(sent, ip, &place, port.monitor, octets, now, way),
            Content::Other(_) | Content::Control(_) => return Err(DropReason::EtherType),
        };
        way.watch(guard, finding)?;
        let paid = Paid {
            octets,
            step: Step::Nothing,
            flow: 0,
            now,
        };
        let limits = budget::group_limit(&place, is_to_group(sent));
        self.ledger
            .pay(&limits, paid)
            .inspect_err(|_| way.stage = Stage::Budget)
    }

    /// A packet that is no address resolution: source, rules and flows, limits.
    #[allow(clippy::too_many_arguments, reason = "the second half of `stages`")]
    fn packet(
        &mut self,
        sent: &Sent,
        ip: &Ip,
        place: &Place<'p>,
        port_monitor: bool,
        octets: usize,
        now: u64,
        way: &mut Way<'p>,
    ) -> Result<(), DropReason> {
        way.stage = Stage::Source;
        let source = place.resident(ip.source);
        let destination = place.resident(ip.destination);
        guard::source_is_possible(place, ip.source, ip.destination)?;
        way.watch(place.guards().source, guard::source(place, ip.source, sent.source_mac))?;
        if guard::is_dhcp_server_message(ip) {
            way.watch(place.guards().dhcp, guard::dhcp(place, ip.source, sent.source_mac))?;
        }
        if guard::is_redirect(ip) {
            way.watch(place.guards().router, guard::router(place, sent.source_mac))?;
        }

        way.stage = Stage::Policy;
        way.zone = source.zone;
        way.monitored = port_monitor || !self.pair_enforces(place, source.zone, destination.zone);
        let ruling = self.session(&Crossing {
            ip,
            place,
            source: &source,
            destination: &destination,
            monitored: way.monitored,
            to_group: is_to_group(sent),
            octets,
            now,
        });
        way.rule = ruling.rule;
        way.log = ruling.log;
        way.stage = ruling.stage;
        way.monitored |= ruling.monitored;
        match ruling.refusal {
            DropReason::None => Ok(()),
            reason => Err(reason),
        }
    }

    /// A pair is enforced when either of its zones is in enforce mode. `unknown` and `self` have no mode: the other
    /// zone decides, and where there is none, the VLAN.
    fn pair_enforces(&self, place: &Place<'_>, source: usize, destination: usize) -> bool {
        let modes = [source, destination].map(|zone| self.policy.zones[zone].mode);
        if modes == [None, None] {
            return place.enforces();
        }
        modes.contains(&Some(Mode::Enforce))
    }
}

/// To a group of stations.
fn is_to_group(sent: &Sent) -> bool {
    sent.destination_mac[0] & 1 == 1
}

/// Whether a control protocol goes to a group that bridges keep to their link.
fn stays_on_link(kind: Control, to: [u8; 6]) -> bool {
    match kind {
        // These have their groups by themselves.
        Control::SpanningTree | Control::PerVlanSpanningTree => true,
        Control::Lldp | Control::Slow | Control::Eapol => to[..5] == [0x01, 0x80, 0xc2, 0, 0] && to[5] < 16,
    }
}

fn bit_of(kind: Control) -> u16 {
    match kind {
        Control::Lldp => control::LLDP,
        Control::Slow => control::LACP,
        Control::Eapol => control::EAPOL,
        Control::SpanningTree | Control::PerVlanSpanningTree => control::STP,
    }
}

/// Where a frame goes to, as far as it still says so.
fn destination(sent: &Sent) -> Option<IpAddr> {
    if sent.tags.len() > 2 {
        return None;
    }
    match &sent.content {
        Content::Arp(arp) => parse::outcome(sent).is_ok().then_some(arp.target.1.into()),
        Content::Ip(ip) => Ip::shows_addresses(sent.damage).then_some(ip.destination),
        Content::Control(_) | Content::Other(_) => None,
    }
}
