//! The demo as `cargo xtask demo` runs it. Wants to be root.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use enforcer_tests::demo::hospital::Hospital;
use enforcer_tests::demo::{self, judge, scenario};
use enforcer_tests::lab::enforcer::repository;
use enforcer_tests::lab::{Enforcer, Process, Signal};

fn start_demo() -> Result<Process> {
    Process::start(Command::new(env!("CARGO_BIN_EXE_demo")))
}

#[test]
fn every_verdict_is_right() -> Result<()> {
    let mut demo = start_demo()?;
    let status = demo.wait(Duration::from_mins(1))?;
    let (output, errors) = (demo.output().text(), demo.errors().text());
    assert_eq!(status.code(), Some(0), "{output}\n{errors}");
    assert!(!output.contains('\x1b'), "no colour without a terminal");
    Ok(())
}

/// The judge itself can say no: with a policy that lets guests in, the demo's attack counts as wrong, and so does an
/// exchange whose rule is gone.
#[test]
fn a_policy_with_holes_is_noticed() -> Result<()> {
    let hospital = Hospital::build()?;
    let folder = tempfile::tempdir()?;
    for file in fs::read_dir(repository().join("policies"))? {
        let file = file?;
        if file.file_type()?.is_file() {
            let text = fs::read_to_string(file.path())?;
            let open = text.replace(
                "services: any\n    action: deny\n    priority: -10",
                "services: any\n    action: allow",
            );
            // The promises of the hospital would not let such a policy through.
            let open = without_promises(&open);
            fs::write(
                folder.path().join(file.file_name()),
                open.replace("pumps-to-gateway", "pumps-to-server"),
            )?;
        }
    }
    let mut config = demo::config();
    folder.path().clone_into(&mut config.policy);
    let enforcer = Enforcer::start(hospital.lab.gateway(), &config)?;
    let chapters = scenario::chapters();
    let (report, attack) = (&chapters[0].steps[0], &chapters[2].steps[0]);
    let finding = judge::try_step(&hospital.lab, &enforcer, report)?;
    assert_eq!(finding.wrong, ["the counter of rule pumps-to-gateway did not grow"]);
    let finding = judge::try_step(&hospital.lab, &enforcer, attack)?;
    let wrong = finding.wrong.join("\n");
    for complaint in [
        "it did work",
        "no event tells of it",
        "did not grow",
        "got behind the enforcer",
    ] {
        assert!(wrong.contains(complaint), "{complaint:?} is not among:\n{wrong}");
    }
    Ok(())
}

/// The text without its sections `never` and `must_flow`.
fn without_promises(text: &str) -> String {
    let mut promises = false;
    let kept = text.split_inclusive('\n').filter(|line| {
        if line.starts_with(|first: char| first.is_ascii_lowercase()) {
            promises = line.starts_with("never:") || line.starts_with("must_flow:");
        }
        !promises
    });
    kept.collect()
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() -> Result<()> {
    let mut demo = start_demo()?;
    let passed = |line: &str| line.contains("passed").then_some(());
    demo.output()
        .wait_for(0, Duration::from_secs(30), passed)
        .context("the demo does not get going")?;
    let children = children_of(demo.id())?;
    assert!(!children.is_empty(), "the enforcer runs");
    demo.signal(Signal::Interrupt)?;
    demo.wait(Duration::from_secs(5))?;
    for _ in 0..100 {
        if children.iter().all(|child| !is_alive(*child)) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the enforcer outlives the demo");
}

/// The children of a process.
fn children_of(process: u32) -> Result<BTreeSet<u32>> {
    let tasks = fs::read_dir(format!("/proc/{process}/task"))?;
    let mut children = BTreeSet::new();
    for task in tasks {
        let list = fs::read_to_string(task?.path().join("children"))?;
        children.extend(list.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
    }
    Ok(children)
}

fn is_alive(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/stat"));
    // The state follows the name in brackets; a zombie has let go of everything.
    status.is_ok_and(|text| !text.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'))
}
