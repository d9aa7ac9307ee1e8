//! Checks of program, links and swaps.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use enforcer::kernel::{Generation, LoadOptions, PortSetup};
use enforcer_common::abi::NO_RULE;
use enforcer_tests::kernel::SHORTEST;
use enforcer_tests::lab::crossing::{Crossing, policy};
use enforcer_tests::lab::{Enforcer, enforcer as controller};
use enforcer_tests::shapes::InKernel;
use enforcer_tests::{reference, shapes};

/// Policies that are swapped in while frames flow.
const SWAPS: u16 = 3;

/// The verifier takes the program with the reference policies. Seen: the instructions that it went through.
pub(crate) fn loads() -> Result<String> {
    let tables = reference::tables()?;
    let ports = [PortSetup::new("kernels", 1)];
    let generation = Generation::load(&LoadOptions::new(&tables, &ports))?;
    let verified = generation.program()?.info()?.verified_instruction_count();
    Ok(verified.map_or_else(|| "not told".into(), |count| count.to_string()))
}

/// Every shape of frame gets its verdict. Seen: how many frames.
pub(crate) fn verdicts() -> Result<String> {
    let mut kernel = InKernel::load()?;
    let mut frames = 0;
    for case in shapes::all() {
        for step in case.steps.iter().filter(|step| step.frame.len() >= SHORTEST) {
            let (_, event) = kernel.run(step)?;
            let rule = if event.rule == NO_RULE {
                ""
            } else {
                &kernel.tables.names.rules[event.rule as usize].name
            };
            let got = (event.verdict, event.reason, event.stage, rule);
            let expected = step.expected;
            let wanted = (
                expected.verdict as u8,
                expected.reason as u8,
                expected.stage as u8,
                expected.rule,
            );
            ensure!(got == wanted, "{}: {got:?}, expected {expected:?}", case.name);
            frames += 1;
        }
    }
    Ok(frames.to_string())
}

/// The controller attaches natively, pins its links, and replaces the program of a link in place.
pub(crate) fn attach() -> Result<String> {
    let crossing = Crossing::build()?;
    let enforcer = Enforcer::start(crossing.gateway.inside(), &Crossing::config())?;
    let native = enforcer.metrics()?.sum("enforcer_xdp_mode", &[("mode", "native")]);
    ensure!(native > 1.5, "{native} ports in native mode instead of 2");
    let links = crossing.gateway.inside().enter(|| {
        let versions = fs::read_dir("/sys/fs/bpf/enforcer").into_iter().flatten().flatten();
        let links = versions.flat_map(|version| fs::read_dir(version.path().join("links")).into_iter().flatten());
        links.count()
    });
    ensure!(links == 2, "{links} pinned links instead of 2");
    enforcer.reload()?;
    ensure!(crossing.gateway.has_xdp("east")?, "nothing is attached after a swap");
    Ok("native, pinned, replaced".into())
}

/// Policies are swapped while frames flow: none lost, none wrongly passed. Seen: how many frames flowed.
pub(crate) fn reload() -> Result<String> {
    let crossing = Crossing::build()?;
    let _running = Enforcer::start(crossing.gateway.inside(), &Crossing::config())?;
    let traffic = crossing.start_traffic()?;
    for variant in 1..=SWAPS {
        crossing.set_policy(&policy(variant))?;
        // Not by signal: frames flow as fast as they can, and leave an emulated processor little time.
        let answer = controller::run(crossing.gateway.inside(), &["reload", "--config", Enforcer::CONFIG])?;
        let complaint = String::from_utf8_lossy(&answer.stderr);
        ensure!(answer.status.success(), "swap {variant}: {complaint}");
    }
    let [east, west] = traffic.stop(u64::from(SWAPS) * 10)?;
    let frames = east.sent + east.refused + west.sent + west.refused;
    Ok(format!("{SWAPS} swaps, {frames} frames, none lost"))
}

/// The demo: the reference hospital with its traffic and its attackers.
pub(crate) fn hospital() -> Result<String> {
    let output = Command::new("demo").output().context("cannot run the demo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let wrong: Vec<_> = text.lines().filter(|line| line.contains("WRONG")).collect();
    ensure!(
        output.status.success(),
        "{} {}",
        wrong.join("; "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let last = text.lines().rfind(|line| !line.is_empty()).unwrap_or_default();
    Ok(last
        .split(" (")
        .next()
        .unwrap_or_default()
        .trim_end_matches('.')
        .to_owned())
}
