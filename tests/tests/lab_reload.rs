//! Policies swapped, controllers killed and replaced, while frames flow. Wants to be root.
//!
//! Pitfalls 6 to 8 of comparable systems: a failed reload left an empty policy; frames were dropped during an update;
//! detaching left a gap.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use enforcer::config::XdpMode;
use enforcer::diagnostics::Diagnostics;
use enforcer::kernel::links::{How, Wanted, attach_all};
use enforcer::kernel::pins::Pins;
use enforcer::kernel::{Generation, LoadOptions, PortSetup, SharedMaps, SlotNames, netdev};
use enforcer::policy::TableSet;
use enforcer_tests::lab::crossing::{Crossing, policy};
use enforcer_tests::lab::enforcer::run;
use enforcer_tests::lab::stream::Report;
use enforcer_tests::lab::{Enforcer, Metrics, PATIENCE, Signal};
use enforcer_tests::packet::{packet, tcp_flags};

/// Reloads by the controller: each loads a program, which passes the verifier.
const RELOADS: u16 = 40;

/// Pitfall 7: frames were dropped, or passed, while a policy was exchanged.
#[test]
fn reloads_under_traffic_lose_nothing_and_pass_nothing_wrong() -> Result<()> {
    let crossing = Crossing::build()?;
    let enforcer = Enforcer::start(crossing.gateway.inside(), &Crossing::config())?;
    let first = enforcer.generation()?;
    let traffic = crossing.start_traffic()?;
    for variant in 1..=RELOADS {
        crossing.set_policy(&policy(variant))?;
        enforcer.reload().with_context(|| format!("reload {variant}"))?;
    }
    let reports = traffic.stop(u64::from(RELOADS) * 10)?;
    let metrics = enforcer.metrics()?;
    let reloads = metrics.sum(Enforcer::GENERATION, &[]) - first;
    assert!(
        (reloads - f64::from(RELOADS)).abs() < 0.5,
        "{reloads} generations instead of {RELOADS}"
    );
    assert_counted(&metrics, &reports);
    Ok(())
}

/// Pitfall 7: a thousand swaps under traffic in both directions, so close together that nearly every frame meets one.
#[test]
fn a_thousand_swaps_lose_nothing_and_pass_nothing_wrong() -> Result<()> {
    const SWAPS: usize = 1_000;
    let crossing = Crossing::build()?;
    let gateway = crossing.gateway.inside();
    // Attached by the controller, which then leaves the ports to this test.
    Enforcer::start(gateway, &Crossing::config())?.kill()?;
    let tables = [tables(&policy(0))?, tables(&policy(1))?];
    let traffic = crossing.start_traffic()?;
    gateway.enter(|| swap(tables.each_ref(), SWAPS))?;
    let reports = traffic.stop(SWAPS as u64)?;
    // The next controller finds what was counted under all of them.
    let mut enforcer = Enforcer::spawn(gateway)?;
    enforcer.wait_until_ready()?;
    assert_counted(&enforcer.metrics()?, &reports);
    Ok(())
}

/// Pitfall 16: an allow list became a deny list, because the default changed and the old entries stayed.
#[test]
fn a_policy_and_its_opposite_take_turns_without_a_trace() -> Result<()> {
    const ONLY_WEB: &str = "  web: {from: pumps, to: servers, services: tcp/443, action: allow}\n";
    const ALL_BUT_WEB: &str = "  all: {from: pumps, to: servers, services: any, action: allow}
  no-web: {from: pumps, to: servers, services: tcp/443, action: deny}\n";
    let zones = policy(0);
    let zones = &zones[..zones.find("services:").context("services follow zones")?];
    let crossing = Crossing::build()?;
    let turn = |rules: &str| crossing.set_policy(&format!("{zones}rules:\n{rules}"));
    turn(ONLY_WEB)?;
    let enforcer = Enforcer::start(crossing.gateway.inside(), &Crossing::config())?;
    let (front, behind) = (crossing.gateway.in_front_of("east")?, crossing.gateway.behind("east")?);
    let pump = packet().vlan(110).ip("10.10.110.21", "10.20.5.10");
    let turns = [(ONLY_WEB, 443, 80), (ALL_BUT_WEB, 80, 443)];
    for (number, (rules, passes, refused)) in (1..).zip(turns.into_iter().cycle().take(6)) {
        turn(rules)?;
        enforcer.reload()?;
        for port in [refused, passes] {
            front.send(&pump.clone().tcp(40_000 + number, port, tcp_flags::SYN).build())?;
        }
        let arrived = behind.wait_for(PATIENCE, |_| true)?.context("nothing passes")?;
        let expected = pump.clone().tcp(40_000 + number, passes, tcp_flags::SYN).build();
        assert_eq!(arrived, expected.bytes, "turn {number}");
        let dropped = enforcer.count(Enforcer::DROPPED_FRAMES, &[("zone", "pumps")])?;
        assert_eq!(dropped, u64::from(number), "one each turn");
    }
    Ok(())
}

fn tables(text: &str) -> Result<TableSet> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("policy.yaml"), text)?;
    let readable = |errors: Diagnostics| anyhow!("{}", errors.render(false));
    let policy = enforcer::policy::load(&[folder.path().to_owned()]).map_err(readable)?;
    enforcer::policy::compile(&policy).map_err(readable)
}

/// Puts two policies on the ports in turn, as the controller does after loading them.
fn swap(tables: [&TableSet; 2], times: usize) -> Result<()> {
    let pins = Pins::open(Path::new("/sys/fs/bpf/enforcer"))?.context("nothing is pinned")?;
    let device = |name| netdev::by_name(name)?.with_context(|| format!("no interface {name}"));
    let devices = [device("east")?, device("west")?];
    let ports = devices
        .each_ref()
        .map(|device| PortSetup::new(&device.name, device.index));
    let wanted = devices.map(|device| Wanted {
        device,
        mode: XdpMode::Native,
    });
    let load = |number, tables, running: Option<&SlotNames>| {
        Generation::load(&LoadOptions {
            number,
            running,
            shared: SharedMaps::Pinned(pins.maps()),
            ..LoadOptions::new(tables, &ports)
        })
    };
    let first = load(2, tables[0], None)?;
    let second = load(3, tables[1], Some(first.slots()))?;
    for time in 0..times {
        let generation = if time % 2 == 0 { &first } else { &second };
        let links = attach_all(&pins, generation, &wanted)?;
        ensure!(links.iter().all(|link| link.how == How::Replaced), "{links:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Pitfall 7: an upgrade of the controller.
#[test]
fn a_killed_controller_is_replaced_without_a_gap() -> Result<()> {
    let crossing = Crossing::build()?;
    let mut enforcer = Enforcer::start(crossing.gateway.inside(), &Crossing::config())?;
    let traffic = crossing.start_traffic()?;
    for variant in 1..=5 {
        let generation = enforcer.generation()?;
        enforcer.kill()?;
        std::thread::sleep(Duration::from_millis(100));
        // The policy may have changed while nobody was there.
        crossing.set_policy(&policy(variant))?;
        enforcer = Enforcer::spawn(crossing.gateway.inside())?;
        enforcer.wait_until_ready()?;
        assert!(
            enforcer.generation()? > generation,
            "a new controller goes on counting generations"
        );
    }
    let reports = traffic.stop(1_000)?;
    assert_counted(&enforcer.metrics()?, &reports);
    Ok(())
}

/// Pitfall 6: a failed reload left an empty policy.
#[test]
fn a_bad_policy_leaves_the_running_one_in_force() -> Result<()> {
    let crossing = Crossing::build()?;
    let enforcer = Enforcer::start(crossing.gateway.inside(), &Crossing::config())?;
    let generation = enforcer.generation()?;
    let traffic = crossing.start_traffic()?;
    crossing.set_policy("zones:\n  pumps: {vlan: 5000}\n")?;
    let answer = run(crossing.gateway.inside(), &["reload", "--config", Enforcer::CONFIG])?;
    let message = String::from_utf8_lossy(&answer.stderr);
    assert_eq!(answer.status.code(), Some(1), "{message}");
    assert!(
        message.contains("policy.yaml:2:"),
        "the message shows the place: {message}"
    );
    assert!((enforcer.generation()? - generation).abs() < 0.5, "no new generation");
    let ready = enforcer.get("/readyz")?;
    assert_eq!(ready.status, 503, "a policy that waits in vain is told: {}", ready.body);
    crossing.set_policy(&policy(1))?;
    let answer = run(crossing.gateway.inside(), &["reload", "--config", Enforcer::CONFIG])?;
    assert_eq!(
        answer.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&answer.stderr)
    );
    assert_eq!(enforcer.get("/readyz")?.status, 200);
    assert!(enforcer.generation()? > generation);
    let reports = traffic.stop(100)?;
    assert_counted(&enforcer.metrics()?, &reports);
    Ok(())
}

/// Pitfall 8: detaching left a gap, or bounced the link.
#[test]
fn enforcement_outlives_a_clean_end_until_it_is_detached() -> Result<()> {
    let crossing = Crossing::build()?;
    let mut enforcer = Enforcer::start(crossing.gateway.inside(), &Crossing::config())?;
    let traffic = crossing.start_traffic()?;
    enforcer.process().signal(Signal::Terminate)?;
    let status = enforcer.process().wait(Duration::from_secs(5))?;
    assert_eq!(status.code(), Some(0), "{}", enforcer.process().errors().text());
    std::thread::sleep(Duration::from_millis(200));
    traffic.stop(100)?;
    let status = run(crossing.gateway.inside(), &["detach", "--config", Enforcer::CONFIG])?;
    assert_eq!(
        status.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&status.stderr)
    );
    let traffic = crossing.start_traffic()?;
    std::thread::sleep(Duration::from_millis(100));
    for report in traffic.finish()? {
        assert!(report.leaked > 0, "nothing enforces any more: {report:?}");
    }
    Ok(())
}

/// Counters go on over swaps and controllers, and miss no frame.
fn assert_counted(metrics: &Metrics, [east, west]: &[Report; 2]) {
    let rule = |name| metrics.sum(Enforcer::RULE_FRAMES, &[("rule", name)]);
    assert_exactly(rule(Crossing::EAST_RULE), east.sent, "frames by the rule of east");
    assert_exactly(rule(Crossing::WEST_RULE), west.sent, "frames by the rule of west");
    let dropped = |reason| metrics.sum(Enforcer::DROPPED_FRAMES, &[("reason", reason), ("zone", "guests")]);
    assert_exactly(dropped("default-deny"), east.refused, "drops on east");
    assert_exactly(dropped("source-not-in-vlan"), west.refused, "drops on west");
}

fn assert_exactly(counted: f64, sent: u64, what: &str) {
    // Below 2^53 every count is a number of its own.
    #[expect(clippy::cast_precision_loss, reason = "a test sends far fewer frames than 2^53")]
    let sent = sent as f64;
    assert!((counted - sent).abs() < 0.5, "{what}: {counted} counted, {sent} sent");
}
