//! `enforcer monitor` with the real controller on the kernel. Needs root.

mod gateway;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use enforcer::control::{self, Lines, Verb};
use enforcer::events::watch::Filter;
use enforcer_tests::lab::enforcer::binary;
use enforcer_tests::lab::{Enforcer, Process};
use enforcer_tests::packet::packet;
use gateway::ward::{PUMP, RUNTIME, SERVER, SYN, to_server, ward};
use gateway::{Gateway, PATIENCE, eventually};
use serde_json::Value;

fn monitor(gateway: &Gateway, arguments: &[&str]) -> Result<Process> {
    let mut command = gateway.namespace.command(binary()?);
    command.args(["monitor", "--config", Enforcer::CONFIG]).args(arguments);
    Process::start(command)
}

/// Sends until the command has ended, and returns what it printed.
fn until_ended(mut process: Process, mut send: impl FnMut() -> Result<()>) -> Result<Vec<String>> {
    eventually("the command has enough", || {
        send()?;
        Ok(!process.is_running())
    })?;
    let status = process.wait(PATIENCE)?;
    ensure!(status.success(), "{status}: {}", process.errors().text());
    Ok(process.output().lines())
}

#[test]
fn monitor_shows_the_events_that_are_asked_for_and_ends_after_enough() -> Result<()> {
    let (gateway, switch) = ward()?;
    let _enforcer = gateway.start(&["trunk0"])?;
    let process = monitor(
        &gateway,
        &[
            "--device",
            "pump-1",
            "--vlan",
            "110",
            "--reason",
            "default-deny",
            "--output",
            "json",
            "--count",
            "3",
        ],
    )?;
    let lines = until_ended(process, || {
        switch.send(&[0xff; 64])?;
        switch.send(
            &packet()
                .vlan(110)
                .ip("10.10.110.22", SERVER)
                .tcp(1, 23, SYN)
                .build()
                .bytes,
        )?;
        Ok(switch.send(&to_server(40_000, 23, SYN))?)
    })?;
    let events: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line))
        .collect::<Result<_, _>>()?;
    let events: Vec<_> = events.iter().filter(|event| event["lost"].is_null()).collect();
    assert_eq!(events.len(), 3);
    for event in events {
        assert_eq!(
            (&event["schema_version"], &event["reason"]),
            (&1.into(), &"default-deny".into())
        );
        assert_eq!(event["source"]["device"], "pump-1");
    }

    let process = monitor(&gateway, &["--zone", "servers", "--verdict", "drop", "--count", "1"])?;
    let lines = until_ended(process, || Ok(switch.send(&to_server(40_000, 23, SYN))?))?;
    let line = lines.iter().find(|line| !line.contains("LOST")).context("an event")?;
    let expected = "drop       default-deny  pumps pump-1 10.10.110.21:40000 > servers 10.20.0.1:23  tcp/23 S  VLAN 110 trunk0  rule default-deny";
    assert!(line.ends_with(expected), "{line}");

    let (code, _, text) = gateway.run(&["monitor", "--config", Enforcer::CONFIG, "--zone", "pmups"])?;
    assert_eq!((code, text.contains("did you mean `pumps`?")), (1, true), "{text}");
    let (code, _, text) = gateway.run(&["monitor", "--config", Enforcer::CONFIG, "--verdict", "lost"])?;
    assert_eq!((code, text.contains("would-drop")), (2, true), "{text}");
    Ok(())
}

#[test]
fn monitor_says_when_there_is_nothing_to_watch() -> Result<()> {
    let (gateway, _) = ward()?;
    let mut config = gateway.config(&["trunk0"]);
    config.settings = "events.output = 'none'".into();
    let enforcer = Enforcer::start(&gateway.namespace, &config)?;
    let (code, _, text) = gateway.command("monitor")?;
    assert_eq!((code, text.contains("[events]")), (1, true), "{text}");
    enforcer.kill()?;
    let (code, _, text) = gateway.command("monitor")?;
    assert_eq!((code, text.contains("no enforcer runs here")), (2, true), "{text}");
    Ok(())
}

/// What stands in a stream until it is quiet: events, and those that are told to be lost in the client's queue.
fn count(mut lines: Lines, all: u64) -> Result<(u64, u64)> {
    let (mut events, mut lost) = (0, 0);
    while events + lost < all {
        let line = lines.next_line()?.context("the stream has ended")?;
        let line: Value = serde_json::from_str(&line)?;
        match line["lost"]["queue"].as_u64() {
            Some(more) => lost += more,
            None => events += 1,
        }
    }
    Ok((events, lost))
}

#[test]
fn a_client_that_does_not_read_stalls_nobody_and_is_told_what_it_lost() -> Result<()> {
    // More than the queue and the socket take.
    const EVENTS: u64 = 8000;
    let (gateway, switch) = ward()?;
    let mut config = gateway.config(&["trunk0"]);
    config.settings = "events.rate = 100000".into();
    let enforcer = Enforcer::start(&gateway.namespace, &config)?;
    let watch = || control::stream(Path::new(RUNTIME), Verb::Monitor(Filter::default()));
    let slow = gateway.namespace.enter(watch)?;
    // Each reason and pair of zones may send some events a tick.
    let frames = [
        vec![0xff; 64],
        to_server(40_000, 23, SYN),
        packet().vlan(20).ip(PUMP, SERVER).tcp(1, 443, SYN).build().bytes,
        packet().vlan(110).ip(PUMP, PUMP).tcp(1, 23, SYN).build().bytes,
    ];
    eventually("enough events", || {
        for _ in 0..500 {
            frames.iter().try_for_each(|frame| switch.send(frame))?;
            std::thread::sleep(Duration::from_micros(500));
        }
        Ok(enforcer.count("enforcer_events_sent_total", &[])? >= EVENTS)
    })?;
    eventually("all events are written", || {
        let sent = enforcer.count("enforcer_events_sent_total", &[])?;
        let written = enforcer.count("enforcer_events_written_total", &[])?;
        Ok(written + enforcer.count("enforcer_events_output_lost_total", &[])? == sent)
    })?;
    // All others are served meanwhile.
    assert_eq!(gateway.command("status")?.0, 0);
    let sent = enforcer.count("enforcer_events_sent_total", &[])?;
    let (events, lost) = count(slow, sent)?;
    assert_eq!(events + lost, sent);
    assert!(lost > 0 && events > 1000, "{events} shown, {lost} lost of {sent}");
    Ok(())
}

#[test]
fn there_are_few_watchers_at_a_time_and_their_places_come_free() -> Result<()> {
    let (gateway, _) = ward()?;
    let _enforcer = gateway.start(&["trunk0"])?;
    let watch = || {
        gateway
            .namespace
            .enter(|| control::stream(Path::new(RUNTIME), Verb::Monitor(Filter::default())))
    };
    let all = (0..8).map(|_| watch()).collect::<Result<Vec<_>, _>>()?;
    let error = watch().err().context("one too many")?.to_string();
    assert!(error.contains("8 clients are watching already"), "{error}");
    assert_eq!(gateway.command("status")?.0, 0);
    drop(all);
    eventually("a place is free again", || Ok(watch().is_ok()))
}
