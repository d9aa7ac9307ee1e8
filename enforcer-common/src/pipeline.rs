//! The whole path of a frame, in order.

use crate::abi::{
    Address, Endpoint, Lan, NO_LAN, NO_RULE, SELF_ZONE, UNKNOWN_ENDPOINT, UNKNOWN_ZONE, endpoint_flags, guard as bits,
    guard_mode, port_flags,
};
use crate::budget::{self, Charge};
use crate::concurrency::Activity;
use crate::frame::Frame;
use crate::guard::Place;
use crate::packet::{Packet, ethertype, icmpv6};
use crate::session::{Keys, Session, is_monitor};
use crate::tables::Tables;
use crate::verdict::{DropReason, Stage, Verdict};
use crate::{classify, guard, management};

/// What becomes of a frame, and everything that counters and events say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Decision {
    /// What becomes of the frame.
    pub verdict: Verdict,
    /// Why it is refused; [`DropReason::None`] otherwise.
    pub reason: DropReason,
    /// The stage that settled it.
    pub stage: Stage,
    /// The rule that decided, or [`NO_RULE`].
    pub rule: u32,
    /// Endpoint of the source, as far as known.
    pub source: u32,
    /// Endpoint of the destination, as far as known.
    pub destination: u32,
    /// The zone that a refusal is charged to: the one of the VLAN, and once the source is verified, its own.
    pub zone: u16,
    /// The zone of the destination, as far as known.
    pub destination_zone: u16,
    /// The LAN of the frame's tags, or [`NO_LAN`].
    pub lan: u16,
    /// Counter slot of the port; `None` for interfaces that are no ports.
    pub port: Option<u16>,
    /// Inline mode: 1 plus the key of the port that frames leave by; 0 for the gateway's own stack.
    pub peer: u32,
    /// Worth an event although it passes.
    pub log: bool,
    /// It is a message of a declared DHCP server, which the controller wants to read.
    pub lease: bool,
}

impl Decision {
    const fn undecided() -> Self {
        Self {
            verdict: Verdict::Drop,
            reason: DropReason::None,
            stage: Stage::Parse,
            rule: NO_RULE,
            source: UNKNOWN_ENDPOINT,
            destination: UNKNOWN_ENDPOINT,
            zone: UNKNOWN_ZONE,
            destination_zone: UNKNOWN_ZONE,
            lan: NO_LAN,
            port: None,
            peer: 0,
            log: false,
            lease: false,
        }
    }

    /// Who pays for the frame, before a rule has permitted it.
    #[inline(always)]
    pub(crate) const fn charge(&self) -> Charge {
        Charge {
            rule: NO_RULE,
            source: self.source,
            destination: self.destination,
            lan: self.lan as u32,
            opens: false,
            answers: false,
            activity: Activity::None,
        }
    }
}

/// What is known about a frame, as the stages go on.
///
/// The caller owns it, and the [`Packet`]: the kernel program keeps both in a map, because the verifier forgets the values
/// that it has seen stored there. On the stack, every way through the parser and the guards would be followed through
/// the rest of the program.
#[derive(Clone, Copy, Debug)]
#[repr(align(8))]
pub struct Progress {
    /// What has been decided.
    pub decision: Decision,
    /// A refusal lets the frame pass. Until port, VLAN and zones are known, refusing is the rule.
    monitored: bool,
    /// It is for somebody on the VLAN that it came by, or for the gateway.
    stays: bool,
    /// What a guard in monitor mode found wrong: counted, if nothing else refuses the frame.
    noted: DropReason,
    /// The keys that it is looked up by.
    keys: Keys,
}

impl Progress {
    /// Nothing is known yet.
    #[inline(always)]
    pub const fn new() -> Self {
        Self {
            decision: Decision::undecided(),
            monitored: false,
            stays: false,
            noted: DropReason::None,
            keys: Keys::EMPTY,
        }
    }
}

impl Progress {
    /// Forgets the last frame. Its keys stay: they are written before they are read.
    #[inline(always)]
    pub const fn begin(&mut self) {
        self.decision = Decision::undecided();
        self.monitored = false;
        self.stays = false;
        self.noted = DropReason::None;
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// Decides one frame that came in by interface `ifindex` at `now` (nanoseconds of the tick clock). `packet` and
/// `progress` are new; afterwards they hold what the parser learnt, and the decision. Every sequence of octets gets a
/// verdict, and every refusal a reason.
#[inline(always)]
pub fn decide<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    ifindex: u32,
    now: u64,
    tables: &T,
    packet: &mut Packet,
    progress: &mut Progress,
) {
    let outcome = stages(frame, ifindex, now, tables, packet, progress);
    let decision = &mut progress.decision;
    (decision.verdict, decision.reason) = match outcome {
        Ok(()) if !matches!(progress.noted, DropReason::None) => (Verdict::WouldDrop, progress.noted),
        Ok(()) if decision.peer != 0 => (Verdict::Redirect, DropReason::None),
        Ok(()) => (Verdict::Pass, DropReason::None),
        Err(reason) if progress.monitored => (Verdict::WouldDrop, reason),
        Err(reason) => (Verdict::Drop, reason),
    };
}

/// The order of the stages. An early `Ok` passes the frame.
#[inline(always)]
fn stages<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    ifindex: u32,
    now: u64,
    tables: &T,
    packet: &mut Packet,
    progress: &mut Progress,
) -> Result<(), DropReason> {
    // 1. Parse. Before an error counts, port, VLAN and addresses are looked up: their mode decides what it means.
    let parsed = frame.parse(packet);
    let port = guard::port(tables, ifindex).ok_or(DropReason::UnknownPort)?;
    let port_monitored = port.flags & port_flags::MONITOR != 0;
    (progress.decision.port, progress.decision.peer) = (Some(port.slot), port.peer);
    progress.keys.uplink = port.flags & port_flags::UPLINK != 0;
    let outer = guard::outer_vlan(port, packet);
    // Until a zone is known, the port's word counts.
    progress.monitored = port_monitored || (outer.is_ok() && port.flags & port_flags::PASS_UNDECLARED != 0);
    if let (Ok(()), Ok(outer)) = (parsed, outer)
        && management::is_access(tables, outer, packet)
    {
        // 3. Failsafe, ahead of whatever a policy says.
        (progress.decision.stage, progress.decision.peer) = (Stage::Failsafe, 0);
        return Ok(());
    }
    let lan_id = outer.and_then(|outer| guard::lan_id(tables, outer, packet));
    let ends = match lan_id {
        Ok(id) => Some(locate(tables, id, packet, now, port_monitored, progress)?),
        Err(_) => None,
    };
    parsed?;

    // 2. Link guard: VLAN, control protocols, address resolution.
    progress.decision.stage = Stage::Link;
    guard::valid_sender(packet)?;
    if let Some(bit) = guard::control_protocol(packet) {
        if packet.tags != 0 && matches!(lan_id, Err(DropReason::VlanNotAllowed)) {
            return Err(DropReason::VlanNotAllowed);
        }
        return if port.control & bit != 0 {
            Ok(())
        } else {
            Err(DropReason::ControlProtocol)
        };
    }
    let lan_id = lan_id?;
    let Some(Ends {
        lan,
        source,
        destination,
    }) = ends
    else {
        return Err(DropReason::TableMiss);
    };
    let place = Place {
        id: lan_id,
        lan,
        uplink: progress.keys.uplink,
    };
    // Neighbour discovery to elsewhere is a matter of rules, like all that leaves the link.
    if guard::is_address_resolution(packet) && (packet.family == 0 || progress.stays) {
        let speaker = if guard::is_probe(packet) { destination } else { source };
        resolution(tables, packet, &place, speaker, now, progress)?;
        if budget::of_group(packet, lan) == 0 {
            return Ok(());
        }
        return match tables.spend(packet, progress.decision.charge(), now) {
            DropReason::None => Ok(()),
            refusal => {
                progress.decision.stage = Stage::Budget;
                Err(refusal)
            }
        };
    }
    if packet.family == 0 {
        return Err(DropReason::EtherType);
    }

    // 4. Source guard.
    progress.decision.stage = Stage::Source;
    guard::valid_source(packet, progress.stays)?;
    progress.watch(lan, bits::SOURCE, || guard::source(packet, &place, source))?;
    if guard::is_dhcp_server_message(packet) {
        progress.watch(lan, bits::DHCP, || guard::dhcp(packet, &place, source))?;
        progress.decision.lease = matches!(progress.noted, DropReason::None) && guard::is_lease(packet, source);
    }
    if guard::is_redirect(packet) {
        progress.watch(lan, bits::ROUTER, || guard::router(packet, &place))?;
    }

    // 5. Rules and flows, and limits.
    progress.decision.stage = Stage::Policy;
    progress.decision.zone = source.zone;
    let modes = match source.mode | destination.mode {
        // Neither end has one, as between link-scoped addresses of a VLAN that zones share: the VLAN's.
        0 => lan.mode,
        modes => modes,
    };
    progress.monitored = port_monitored || is_monitor(modes);
    let monitored = progress.monitored;
    let ruling = Session {
        frame,
        tables,
        packet,
        source,
        destination,
        lan,
        decision: &progress.decision,
        monitored,
        now,
    }
    .decide(&mut progress.keys);
    progress.monitored |= ruling.monitored();
    let decision = &mut progress.decision;
    (decision.rule, decision.log, decision.stage) = (ruling.rule, ruling.log(), ruling.stage);
    match ruling.refusal {
        DropReason::None => Ok(()),
        reason => Err(reason),
    }
}

/// The LAN, and both endpoints as far as the packet has addresses; else the unknown one.
struct Ends<'t> {
    lan: &'t Lan,
    source: &'t Endpoint,
    destination: &'t Endpoint,
}

/// Looks up LAN and endpoints. What is refused before the source is verified passes only if neither the VLAN nor the
/// destination enforces: whoever spoofs must not choose the mode.
#[inline(always)]
fn locate<'t, T: Tables>(
    tables: &'t T,
    lan_id: u16,
    packet: &Packet,
    now: u64,
    port_monitored: bool,
    progress: &mut Progress,
) -> Result<Ends<'t>, DropReason> {
    let lan = tables.lan(u32::from(lan_id)).ok_or(DropReason::TableMiss)?;
    let family = packet.address_family();
    let (source_id, source) = endpoint(tables, lan, family, &packet.source, now)?;
    let (destination_id, destination) = endpoint(tables, lan, family, &packet.destination, now)?;
    let decision = &mut progress.decision;
    (decision.lan, decision.zone, decision.destination_zone) = (lan_id, lan.zone, destination.zone);
    (decision.source, decision.destination) = (source_id, destination_id);
    progress.monitored = port_monitored || is_monitor(lan.mode | destination.mode);
    progress.stays = destination.lan == lan_id || destination.zone == SELF_ZONE;
    Ok(Ends {
        lan,
        source,
        destination,
    })
}

/// The endpoint of an address, and its number; the unknown one for packets without addresses.
#[inline(always)]
fn endpoint<'t, T: Tables>(
    tables: &'t T,
    lan: &Lan,
    family: u8,
    address: &Address,
    now: u64,
) -> Result<(u32, &'t Endpoint), DropReason> {
    let id = if family == 0 {
        UNKNOWN_ENDPOINT
    } else {
        classify::endpoint_id(tables, lan, family, address).ok_or(DropReason::TableMiss)?
    };
    let endpoint = tables.endpoint(id).ok_or(DropReason::TableMiss)?;
    if endpoint.flags & endpoint_flags::DYNAMIC != 0
        && let id = tables.bound(lan.realm, family, address, now)
        && id != UNKNOWN_ENDPOINT
    {
        return Ok((id, tables.endpoint(id).ok_or(DropReason::TableMiss)?));
    }
    Ok((id, endpoint))
}

/// ARP and neighbour discovery: under guard, and never a matter of rules.
#[inline(always)]
fn resolution<T: Tables>(
    tables: &T,
    packet: &Packet,
    place: &Place<'_>,
    arp_speaker: &Endpoint,
    now: u64,
    progress: &mut Progress,
) -> Result<(), DropReason> {
    let lan = place.lan;
    if packet.ethertype == ethertype::ARP {
        return progress.watch(lan, bits::ARP, || guard::arp(packet, place, arp_speaker));
    }
    if packet.icmp_type() == icmpv6::ROUTER_ADVERTISEMENT {
        return progress.watch(lan, bits::ROUTER, || guard::router(packet, place));
    }
    let (_, speaker) = endpoint(tables, lan, 6, guard::spoken_for(packet), now)?;
    progress.watch(lan, bits::NEIGHBOUR, || guard::neighbour(packet, place, speaker))
}

impl Progress {
    /// Runs a guard in the mode that the LAN has for it.
    #[inline(always)]
    fn watch(
        &mut self,
        lan: &Lan,
        guard: u32,
        check: impl FnOnce() -> Result<(), DropReason>,
    ) -> Result<(), DropReason> {
        let mode = lan.guards >> guard & guard_mode::MASK;
        if mode == guard_mode::OFF {
            return Ok(());
        }
        match check() {
            Err(reason) if mode == guard_mode::MONITOR => {
                self.noted = reason;
                Ok(())
            }
            outcome => outcome,
        }
    }
}
