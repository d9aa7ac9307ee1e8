//! The whole path of a frame, in order.

use crate::abi::{Endpoint, NO_LAN, NO_RULE, UNKNOWN_ENDPOINT, UNKNOWN_ZONE, port_flags};
use crate::frame::Frame;
use crate::packet::Packet;
use crate::session::{Session, is_monitor};
use crate::tables::Tables;
use crate::verdict::{DropReason, Stage, Verdict};
use crate::{classify, guard, parse};

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
    /// Worth an event although it passes.
    pub log: bool,
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
            log: false,
        }
    }
}

/// Decides one frame that came in by interface `ifindex` at `now` (nanoseconds of the tick clock), and leaves what
/// the parser learnt in `packet`. Every sequence of octets gets a verdict, and every refusal a reason.
#[inline(always)]
pub fn decide<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    ifindex: u32,
    now: u64,
    tables: &T,
    packet: &mut Packet,
) -> Decision {
    let mut decision = Decision::undecided();
    // Until the zones are known, refusing is the rule; port and VLAN may say otherwise on the way.
    let mut monitored = false;
    let outcome = stages(frame, ifindex, now, tables, packet, &mut decision, &mut monitored);
    (decision.verdict, decision.reason) = match outcome {
        Ok(()) => (Verdict::Pass, DropReason::None),
        Err(reason) if monitored => (Verdict::WouldDrop, reason),
        Err(reason) => (Verdict::Drop, reason),
    };
    decision
}

/// The order of the stages. An early `Ok` passes the frame.
#[inline(always)]
fn stages<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    ifindex: u32,
    now: u64,
    tables: &T,
    packet: &mut Packet,
    decision: &mut Decision,
    monitored: &mut bool,
) -> Result<(), DropReason> {
    // 1. Parse. Port and VLAN are looked up before an error counts: their mode decides what a refusal means.
    let parsed = parse::parse(frame, packet);
    let port = guard::port(tables, ifindex).ok_or(DropReason::UnknownPort)?;
    decision.port = Some(port.slot);
    let port_monitored = port.flags & port_flags::MONITOR != 0;
    *monitored = port_monitored;
    let lan_id = guard::lan_id(tables, port, packet);
    if let Ok(id) = lan_id {
        let lan = tables.lan(u32::from(id)).ok_or(DropReason::TableMiss)?;
        (decision.lan, decision.zone) = (id, lan.zone);
        *monitored = port_monitored || is_monitor(lan.flags);
    }
    parsed?;

    // 2. Link guard.
    decision.stage = Stage::Link;
    if let Some(bit) = guard::control_protocol(packet) {
        return if port.control & bit != 0 {
            Ok(())
        } else {
            Err(DropReason::ControlProtocol)
        };
    }
    let lan_id = lan_id?;
    if guard::is_address_resolution(packet) {
        return Ok(());
    }
    if packet.family == 0 {
        return Err(DropReason::EtherType);
    }

    // 3. Source guard.
    decision.stage = Stage::Source;
    let lan = tables.lan(u32::from(lan_id)).ok_or(DropReason::TableMiss)?;
    let (source_id, source) = endpoint(
        tables,
        classify::endpoint_id(tables, lan, packet.family, &packet.source),
    )?;
    decision.source = source_id;
    guard::source(packet, lan_id, source)?;

    // 4. Rules and flows.
    decision.stage = Stage::Policy;
    let (destination_id, destination) = endpoint(
        tables,
        classify::endpoint_id(tables, lan, packet.family, &packet.destination),
    )?;
    decision.destination = destination_id;
    (decision.zone, decision.destination_zone) = (source.zone, destination.zone);
    *monitored = port_monitored || is_monitor(pair_flags(tables, source, destination)?);
    let session = Session {
        frame,
        tables,
        packet,
        source,
        destination,
        realm: lan.realm,
        monitored: *monitored,
        now,
    };
    let ruling = session.decide();
    decision.rule = ruling.rule;
    decision.log = ruling.log;
    if ruling.by_flow {
        decision.stage = Stage::Flow;
    }
    match ruling.refusal {
        DropReason::None => Ok(()),
        reason => Err(reason),
    }
}

#[inline(always)]
fn endpoint<T: Tables>(tables: &T, id: Option<u32>) -> Result<(u32, &Endpoint), DropReason> {
    let id = id.ok_or(DropReason::TableMiss)?;
    Ok((id, tables.endpoint(id).ok_or(DropReason::TableMiss)?))
}

/// The modes of both zones.
#[inline(always)]
fn pair_flags<T: Tables>(tables: &T, source: &Endpoint, destination: &Endpoint) -> Result<u32, DropReason> {
    let source = tables.zone(u32::from(source.zone)).ok_or(DropReason::TableMiss)?;
    let destination = tables.zone(u32::from(destination.zone)).ok_or(DropReason::TableMiss)?;
    Ok(source.flags | destination.flags)
}
