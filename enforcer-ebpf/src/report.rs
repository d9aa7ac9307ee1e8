//! A decision becomes counters, and where it is worth one, an event.

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use aya_ebpf::maps::PerCpuArray;
use enforcer_common::abi::{
    Counter, EVENT_BUCKETS, EVENT_BURST, Event, NO_RULE, REASONS, Rate, Stat, StateTable, TABLE_COUNTERS,
    settings_flags,
};
use enforcer_common::packet::Packet;
use enforcer_common::pipeline::Decision;
use enforcer_common::ratelimit;
use enforcer_common::verdict::{DropReason, Stage, Verdict};

use crate::maps;
use crate::tables::setting;

/// Counts the decision, and sends an event for refused frames and for what a rule logs.
#[inline(always)]
pub(crate) fn report(decision: &Decision, packet: &Packet, ifindex: u32, now: u64) {
    if let Some(port) = decision.port {
        add(
            &maps::PORT_COUNTERS,
            u32::from(port) * Verdict::ALL.len() as u32 + decision.verdict as u32,
            packet,
        );
    }
    if decision.rule != NO_RULE {
        add(&maps::RULE_COUNTERS, maps::rule(decision.rule).slot, packet);
    }
    if decision.stage as u8 == Stage::Failsafe as u8 {
        count(Stat::Failsafe);
    }
    let refused = decision.reason as u8 != DropReason::None as u8;
    if refused {
        let zone = maps::zone(u32::from(decision.zone));
        let would = u32::from(decision.verdict as u8 == Verdict::WouldDrop as u8);
        add(
            &maps::DROP_COUNTERS,
            (zone.slot * REASONS as u32 + decision.reason as u32) * 2 + would,
            packet,
        );
    }
    let traced = setting!(flags) & settings_flags::TRACE != 0;
    if traced || ((refused || decision.log) && is_within_limit(decision, now)) {
        send(decision, packet, ifindex);
    }
}

#[inline(always)]
fn add(counters: &PerCpuArray<Counter>, index: u32, packet: &Packet) {
    if let Some(counter) = counters.get_ptr_mut(index) {
        // SAFETY: this CPU's copy; nothing else writes it while an XDP program runs here.
        unsafe {
            (*counter).packets += 1;
            (*counter).bytes += u64::from(packet.length);
        }
    }
}

/// Counts one of the single things.
#[inline(always)]
pub(crate) fn count(stat: Stat) {
    if let Some(counter) = maps::STATS.get_ptr_mut(stat as u32) {
        // SAFETY: as in `add`.
        unsafe { *counter += 1 };
    }
}

/// Counts what happened to a table: one of `table_counter`.
#[inline(always)]
pub(crate) fn count_table(table: StateTable, counter: u32) {
    if let Some(sum) = maps::TABLE_COUNTERS.get_ptr_mut(table as u32 * TABLE_COUNTERS + counter) {
        // SAFETY: as in `add`.
        unsafe { *sum += 1 };
    }
}

/// A flood of one kind of frame between one pair of zones must not fill the ring, or hide the events of others.
#[inline(always)]
fn is_within_limit(decision: &Decision, now: u64) -> bool {
    let interval = u64::from(setting!(event_interval));
    if interval == 0 {
        return false;
    }
    // Multipliers are odd, so every bit of each part reaches the bucket number.
    let hash = u32::from(decision.zone).wrapping_mul(0x9e37_79b1)
        ^ u32::from(decision.destination_zone).wrapping_mul(0x85eb_ca6b)
        ^ (decision.reason as u32).wrapping_mul(0xc2b2_ae35);
    let Some(bucket) = maps::EVENT_LIMITS.get((hash >> 16) % EVENT_BUCKETS) else {
        return false;
    };
    let allowed = ratelimit::take(bucket, Rate::of_units(interval, interval * (EVENT_BURST - 1)), now);
    if !allowed {
        count(Stat::EventSuppressed);
    }
    allowed
}

/// A function of its own, so that the event takes no stack of the others.
#[inline(never)]
fn send(decision: &Decision, packet: &Packet, ifindex: u32) {
    let Some(mut entry) = maps::EVENTS.reserve::<Event>(0) else {
        count(Stat::EventLost);
        return;
    };
    // SAFETY: the helper takes no arguments and is always available to XDP programs.
    let boot_nanos = unsafe { bpf_ktime_get_boot_ns() };
    entry.write(Event::new(decision, packet, ifindex, setting!(generation), boot_nanos));
    entry.submit(0);
    count(Stat::EventSent);
}
