//! Measures the enforcer: `cargo xtask bench`.
//!
//! ```text
//! frames/      what a frame costs, by test runs; gate.rs: what must not grow
//! throughput/  frames a second through veth, dropped and forwarded, beside other firewalls
//! scale/       against the size of policy and tables
//! limiter.rs   offered against passed
//! control.rs   reloads under load, events
//! results.rs   what all of them give; table.rs, plot.rs, page.rs: how it is shown
//! ```

mod control;
mod frames;
mod limiter;
mod machine;
mod page;
mod plot;
mod policy;
mod reference;
mod results;
mod scale;
mod stats;
mod table;
mod throughput;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use anyhow::{Context as _, Result};
use clap::Parser;

use frames::Effort;
use machine::Machine;
use results::{Outcome, Part, Results};

/// Measure the enforcer, beside what the kernel and other packet filters take for the same.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    /// What to measure; all of it by default. `gate` compares what must not grow with `bench/baseline.json`
    #[arg(value_name = "PART")]
    parts: Vec<Wanted>,
    /// Fewer and shorter rounds, and smaller policies: to see that all works
    #[arg(long)]
    quick: bool,
    /// Rounds of the frames' cost
    #[arg(long, value_parser = clap::value_parser!(u32).range(3..=1001))]
    rounds: Option<u32>,
    /// Another build of the kernel program, to run beside the shipped one
    #[arg(long, value_name = "OBJECT")]
    against: Option<PathBuf>,
    /// Where bpfilter's packages are unpacked, to be measured too
    #[arg(long, value_name = "FOLDER", hide = true)]
    bpfilter: Option<PathBuf>,
    /// With `frames`: of the enforcer's cases only those with this in their names; nothing is kept
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// With `gate`: store the figures of now, and why they changed
    #[arg(long, value_name = "WHY")]
    accept: Option<String>,
    /// With `gate`: this machine's clock counts instructions, a nanosecond each
    #[arg(long, hide = true)]
    counted: bool,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
enum Wanted {
    Frames,
    Throughput,
    Scale,
    Limiter,
    Control,
    Gate,
}

impl Wanted {
    fn part(self) -> Option<Part> {
        match self {
            Self::Frames => Some(Part::Frames),
            Self::Throughput => Some(Part::Throughput),
            Self::Scale => Some(Part::Scale),
            Self::Limiter => Some(Part::Limiter),
            Self::Control => Some(Part::Control),
            Self::Gate => None,
        }
    }
}

fn main() -> ExitCode {
    match bench(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// False when the gate does not hold.
fn bench(arguments: &Arguments) -> Result<bool> {
    let mut parts: BTreeSet<Part> = arguments.parts.iter().filter_map(|wanted| wanted.part()).collect();
    if arguments.parts.is_empty() {
        parts.extend(Part::ALL);
    }
    if !parts.is_empty() {
        let results = measure(arguments, &parts)?;
        show(arguments, &results, &parts)?;
    }
    if arguments.accept.is_some() || arguments.parts.contains(&Wanted::Gate) {
        return frames::gate(arguments.accept.as_deref(), arguments.counted);
    }
    Ok(true)
}

/// Measures these parts, and keeps each as soon as it is there.
fn measure(arguments: &Arguments, parts: &BTreeSet<Part>) -> Result<Results> {
    let folder = folder()?;
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // A quick look takes nothing away from what was measured with care.
    let name = if arguments.quick || arguments.only.is_some() {
        "results-quick.json"
    } else {
        "results.json"
    };
    let path = folder.join(name);
    let mut results = Results::load(&path, Machine::this())?;
    for &part in parts {
        let started = Instant::now();
        let mut outcome = run(part, arguments).with_context(|| format!("part {}", part.name()))?;
        outcome.quick = arguments.quick;
        outcome.took_seconds = started.elapsed().as_secs_f64();
        outcome.finished = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |time| time.as_secs());
        eprintln!("bench: {}: done in {:.0} s", part.name(), outcome.took_seconds);
        results.outcomes.insert(part, outcome);
        results.save(&path)?;
    }
    Ok(results)
}

fn run(part: Part, arguments: &Arguments) -> Result<Outcome> {
    let mut effort = if arguments.quick { Effort::QUICK } else { Effort::FULL };
    effort.rounds = arguments.rounds.unwrap_or(effort.rounds);
    match part {
        Part::Frames => {
            let choice = frames::Choice {
                quick: arguments.quick,
                other: arguments.against.as_deref(),
                bpfilter: arguments.bpfilter.as_deref(),
                only: arguments.only.as_deref(),
            };
            frames::run(effort, choice)
        }
        Part::Throughput => throughput::run(arguments.quick),
        Part::Scale => scale::run(arguments.quick),
        Part::Limiter => limiter::run(arguments.quick),
        Part::Control => control::run(arguments.quick),
    }
}

/// Table, plots and page.
fn show(arguments: &Arguments, results: &Results, parts: &BTreeSet<Part>) -> Result<()> {
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(results)?);
    } else {
        print!("{}", table::text(results, parts));
    }
    // A quick look is no page for readers.
    if arguments.quick || arguments.only.is_some() {
        return Ok(());
    }
    let folder = folder()?;
    for (name, svg) in plot::all(results) {
        let path = folder.join(&name);
        fs::write(&path, &svg).with_context(|| format!("cannot write {}", path.display()))?;
    }
    page::write(results, &Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs"))?;
    eprintln!(
        "bench: wrote docs/performance.md, and results.json and plots to {}",
        folder.display()
    );
    Ok(())
}

/// `target/bench`, beside the program.
fn folder() -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot tell where this program lies")?;
    let profile = |folder: &&Path| folder.ends_with("debug") || folder.ends_with("release");
    let target = program.ancestors().find(profile).and_then(Path::parent);
    Ok(target
        .context("this program is not in a target folder of cargo")?
        .join("bench"))
}
