//! The demo: a hospital, protected and attacked.

pub mod act;
pub mod display;
mod frames;
pub mod hospital;
pub mod judge;
pub mod scenario;
pub mod step;
pub mod survival;

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::lab::enforcer::repository;
use crate::lab::{Config, Enforcer, Lab};

use display::Display;
use hospital::Hospital;
use step::Chapter;

/// No demo takes longer than this, whatever goes wrong.
const LIMIT: Duration = Duration::from_mins(5);

/// Runs the demo and says what became of it; data on standard output, problems on standard error.
pub fn main() -> ExitCode {
    thread::spawn(|| {
        thread::sleep(LIMIT);
        eprintln!("error: the demo still runs after {} s; giving up", LIMIT.as_secs());
        // Namespaces, interfaces and the enforcer go with this process.
        std::process::exit(2);
    });
    match show() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// The reference policy on the trunk, where of all control protocols only LLDP passes.
pub fn config() -> Config {
    let mut config = Config::new(&[Lab::TRUNK], repository().join("policies"));
    "control = ['lldp']".clone_into(&mut config.port_settings);
    config
}

/// Whether every verdict was the right one.
fn show() -> Result<bool> {
    let started = Instant::now();
    let display = Display::new();
    display.note(
        "A hospital in network namespaces: devices, a VLAN switch, a tagged trunk, the enforcer on it, a router.",
    );
    let hospital = Hospital::build()?;
    let config = config();
    let enforcer = Enforcer::start(hospital.lab.gateway(), &config).context("the enforcer did not start")?;
    display.note(&format!(
        "Enforcing policies/ in native XDP after {} ms.",
        started.elapsed().as_millis()
    ));
    let (mut tried, mut wrong) = (0, 0);
    let chapters = scenario::chapters();
    for chapter in &chapters {
        display.heading(chapter.title);
        for step in &chapter.steps {
            let finding = judge::try_step(&hospital.lab, &enforcer, step).with_context(|| step.title)?;
            display.finding(step, &finding);
            tried += 1;
            wrong += usize::from(!finding.wrong.is_empty());
        }
    }
    display.heading("The controller is killed");
    let first = |chapter: &'_ Chapter| chapter.steps[0].clone();
    let steps = [first(&chapters[0]), first(&chapters[2])];
    let (enforcer, checks) = survival::kill_and_adopt(&hospital.lab, enforcer, &steps.each_ref())?;
    for check in &checks {
        display.check(&check.title, &check.wrong);
        tried += 1;
        wrong += usize::from(!check.wrong.is_empty());
    }
    display.metrics(&enforcer.metrics()?);
    display.summary(tried, wrong, started.elapsed());
    Ok(wrong == 0)
}
