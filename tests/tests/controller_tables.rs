//! What the tables of the kernel program tell of themselves when they are full, or fail. Needs root.

mod gateway;

use anyhow::{Context as _, Result};
use aya::maps::{Map, MapData, PerCpuArray, PerCpuValues};
use enforcer_common::abi::{StateTable, TABLE_COUNTERS, table_counter};
use enforcer_tests::lab::{Enforcer, PacketSocket};
use enforcer_tests::packet::packet;
use gateway::ward::{ACK, SERVER, SYN, to_pump, to_server, ward};
use gateway::{GOOD, Gateway, eventually};

/// A gateway whose tables of flows have room for so many.
fn small(gateway: &Gateway, flows: u32) -> Result<Enforcer<'_>> {
    let mut config = gateway.config(&["trunk0"]);
    config.settings = format!("tables.flows = {flows}\ntables.half_open = {flows}");
    Enforcer::start(&gateway.namespace, &config)
}

fn permitted(enforcer: &Enforcer<'_>, frames: u64) -> Result<()> {
    let rule = [("rule", "pumps-to-servers")];
    eventually("all frames are permitted", || {
        Ok(enforcer.count(Enforcer::RULE_FRAMES, &rule)? == frames)
    })
}

fn handshake(switch: &PacketSocket, port: u16) -> Result<()> {
    switch.send(&to_server(port, 443, SYN))?;
    switch.send(&to_pump(port, SYN | ACK))?;
    Ok(switch.send(&to_server(port, 443, ACK))?)
}

/// Pitfall 9: a table overflowed, nothing said so, and its pressure was shown as 0.
#[test]
fn a_table_that_is_full_makes_room_and_tells_its_pressure_and_whom_it_gave_up() -> Result<()> {
    const ROOM: u32 = 512;
    const OPENERS: u16 = 4096;
    let (gateway, switch) = ward()?;
    let enforcer = small(&gateway, ROOM)?;
    handshake(&switch, 1)?;
    permitted(&enforcer, 3)?;
    for port in 0..OPENERS {
        switch.send(&to_server(10_000 + port, 443, SYN))?;
        if port % 64 == 63 {
            // As many as a socket holds.
            permitted(&enforcer, 3 + u64::from(port) + 1)?;
        }
    }
    let of = |metric: &str, table: &str| enforcer.metrics().map(|all| all.sum(metric, &[("table", table)]));
    let given_up = f64::from(OPENERS) - f64::from(ROOM);
    eventually("what made room is told", || {
        Ok(of("enforcer_table_evicted_total", "half_open")? >= given_up)
    })?;
    let pressure = of("enforcer_table_pressure", "half_open")?;
    assert!(pressure > 0.5 && pressure <= 1.0, "{pressure}");
    // The established flow is where no opener comes.
    assert!(of("enforcer_table_evicted_total", "flows")?.abs() < 0.5);
    assert!((of("enforcer_table_entries", "flows")? - 1.0).abs() < 0.5);
    switch.send(&to_pump(1, ACK))?;
    permitted(&enforcer, 4 + u64::from(OPENERS))
}

/// It was counted as one more, and so as an eviction of none.
#[test]
fn a_first_fragment_that_comes_again_is_no_insertion_and_no_eviction() -> Result<()> {
    let (gateway, switch) = ward()?;
    let enforcer = gateway.start(&["trunk0"])?;
    let first = packet().vlan(110).ip("10.10.110.21", SERVER).tcp(40_001, 443, SYN);
    let first = first.fragment(7, 0, true).payload([0; 44]).build();
    for _ in 0..3 {
        switch.send(&first.bytes)?;
    }
    permitted(&enforcer, 3)?;
    let of = |metric: &str| enforcer.metrics().map(|all| all.sum(metric, &[("table", "fragments")]));
    eventually("one entry is counted", || {
        Ok((of("enforcer_table_entries")? - 1.0).abs() < 0.5)
    })?;
    assert!((of("enforcer_table_inserted_total")? - 1.0).abs() < 0.5);
    assert!(of("enforcer_table_evicted_total")?.abs() < 0.5);
    Ok(())
}

/// A failure of the table of half-open flows, as the kernel program counts it.
fn fail(gateway: &Gateway, errno: i32, times: u64) -> Result<()> {
    let open = || MapData::from_pin("/sys/fs/bpf/enforcer/v4/maps/TABLE_COUNTERS");
    let map = gateway.namespace.enter(open).context("the pinned counters")?;
    let mut counters: PerCpuArray<MapData, u64> = Map::PerCpuArray(map).try_into()?;
    let index = StateTable::HalfOpen as u32 * TABLE_COUNTERS + table_counter::FAILED + errno.unsigned_abs();
    let each = vec![times; aya::util::nr_cpus().map_err(|(_, error)| error)?];
    Ok(counters.set(index, PerCpuValues::try_from(each)?, 0)?)
}

/// Pitfall 10: "insertion failed" was a transient `EBUSY` and not a full table, and nobody could tell. The kernel fails an
/// insertion when no test wants it to, so here the counters are written that the kernel program would write.
#[test]
fn an_insertion_that_fails_is_told_with_its_errno() -> Result<()> {
    let (gateway, _switch) = ward()?;
    let enforcer = small(&gateway, 512)?;
    let failures = |errno: &str| {
        let labels = [("table", "half_open"), ("errno", errno)];
        enforcer.count("enforcer_table_insert_failures_total", &labels)
    };
    assert_eq!((failures("EBUSY")?, failures("ENOMEM")?), (0, 0));
    let cpus = aya::util::nr_cpus().map_err(|(_, error)| error)? as u64;
    fail(&gateway, libc::EBUSY, 3)?;
    fail(&gateway, libc::EPERM, 1)?;
    assert_eq!(
        (failures("EBUSY")?, failures("ENOMEM")?, failures("EPERM")?),
        (3 * cpus, 0, cpus)
    );
    Ok(())
}

/// A ward whose pumps may each send two frames an hour.
fn limited_ward() -> Result<(Gateway, PacketSocket)> {
    let (gateway, switch) = ward()?;
    let limited = "action: allow, limit: {packets: 2/h, burst: 2, scope: source}}";
    gateway.write_policy(&GOOD.replace("action: allow}", limited))?;
    Ok((gateway, switch))
}

/// What a limit counts by is found again, by a secret that is chosen once for the pinned tables.
#[test]
fn a_reload_and_a_restart_give_no_limit_back() -> Result<()> {
    let (gateway, switch) = limited_ward()?;
    let start = || gateway.start(&["trunk0"]);
    let refused = |enforcer: &Enforcer<'_>, frames: u64| -> Result<()> {
        switch.send(&to_server(1, 443, SYN))?;
        eventually("the limit is used up", || Ok(enforcer.drops("rule-limit")? == frames))
    };
    let enforcer = start()?;
    for frames in 1..=2 {
        switch.send(&to_server(1, 443, SYN))?;
        permitted(&enforcer, frames)?;
    }
    refused(&enforcer, 1)?;
    enforcer.reload()?;
    refused(&enforcer, 2)?;
    enforcer.kill()?;
    let enforcer = start()?;
    refused(&enforcer, 3)?;
    let of = |metric: &str| enforcer.count(metric, &[("table", "buckets")]);
    // Not with each scrape, when the machine is busy.
    eventually("one bucket is counted", || Ok(of("enforcer_table_entries")? == 1))?;
    assert_eq!(of("enforcer_table_inserted_total")?, 1);
    Ok(())
}

#[test]
fn a_full_table_of_buckets_gives_up_some_and_tells_how_many() -> Result<()> {
    const PUMPS: u64 = 200;
    let (gateway, switch) = limited_ward()?;
    let mut config = gateway.config(&["trunk0"]);
    // Rounded up to 16.
    config.settings = "tables.buckets = 13".into();
    let enforcer = Enforcer::start(&gateway.namespace, &config)?;
    for pump in 1..=PUMPS {
        let source = format!("10.10.110.{pump}");
        let frame = packet().vlan(110).ip(&source, SERVER).tcp(1, 443, SYN).build();
        switch.send(&frame.bytes)?;
        if pump % 50 == 0 {
            permitted(&enforcer, pump)?;
        }
    }
    let of = |metric: &str| enforcer.count(metric, &[("table", "buckets")]);
    eventually("what was given up is told", || {
        Ok(of("enforcer_table_evicted_total")? == PUMPS - 16)
    })?;
    let told = (
        of("enforcer_table_inserted_total")?,
        of("enforcer_table_removed_total")?,
    );
    assert_eq!((told, of("enforcer_table_entries")?), ((PUMPS, 0), 16));
    Ok(())
}
