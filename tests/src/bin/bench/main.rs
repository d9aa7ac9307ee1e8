//! What a frame costs: `cargo xtask bench`.
//!
//! The kernel runs each program on one frame a million times a round (`BPF_PROG_TEST_RUN`), and the programs take turns, so that a
//! machine that slows down does so for all of them. The caches are warm and the branches foreseen, for the references
//! as for the enforcer: what counts is the ratio.

mod cases;
mod counter;
mod measure;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

/// Measure what a frame costs, beside an empty program and one look-up in the kernel's LPM trie.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    /// Rounds; medians are taken over them
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(5..=1001))]
    rounds: u32,
    /// Frames a round
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1000..))]
    repeat: u32,
    /// Another build of the kernel program, to run beside the shipped one
    #[arg(long, value_name = "OBJECT")]
    against: Option<PathBuf>,
}

fn main() -> ExitCode {
    match bench(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn bench(arguments: &Arguments) -> Result<()> {
    let programs = cases::Programs::load(arguments.against.as_deref())?;
    let cases = programs.cases()?;
    let counter = counter::Instructions::open();
    if let Err(reason) = &counter {
        eprintln!("bench: no kernel instruction counts: {reason}");
    }
    let results = measure::measure(&cases, arguments.rounds, arguments.repeat, counter.ok())?;
    report::print(&results, arguments.rounds, arguments.repeat);
    Ok(())
}
