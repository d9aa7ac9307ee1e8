//! What the kernel's verifier says of the shipped programs: `cargo xtask verify`.
//!
//! Loads them as the controller would, with the reference policies, and attaches nothing. Exit code 1 when the verifier's work
//! comes near its limit, 2 when the kernel refuses a program.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use aya::programs::{ProgramInfo, Xdp};
use enforcer::kernel::{Generation, LoadOptions, PortSetup};
use enforcer_common::abi::settings_flags;
use enforcer_tests::reference;

/// Instructions that the verifier follows before it gives up: `BPF_COMPLEXITY_LIMIT_INSNS`, since Linux 5.2.
const LIMIT: u32 = 1_000_000;

/// The share of the limit that we allow ourselves, in percent. Other kernels count differently, by up to some tens of percent.
const ALLOWED: u32 = 50;

/// A loaded program, and what the kernel tells of it.
struct Row {
    name: &'static str,
    /// Instructions that the verifier went through; unknown before Linux 5.16.
    verified: Option<u32>,
    /// Instructions after the verifier's rewriting.
    translated: Option<u32>,
    /// Octets of machine code; 0 without the JIT compiler.
    machine_code: u32,
}

impl Row {
    fn new(name: &'static str, info: &ProgramInfo) -> Self {
        Self {
            name,
            verified: info.verified_instruction_count(),
            translated: info.size_translated().map(|octets| octets / 8),
            machine_code: info.size_jitted(),
        }
    }

    /// The verifier's work as a share of its limit, in percent.
    fn share(&self) -> Option<f64> {
        self.verified.map(|count| f64::from(count) * 100.0 / f64::from(LIMIT))
    }

    fn print(&self) {
        let count = |count: Option<u32>| count.map_or("unknown".into(), |count| count.to_string());
        let share = self.share().map_or("-".into(), |share| format!("{share:.1} %"));
        println!(
            "{:<22} {:>10} {share:>9} {:>14} {:>12}",
            self.name,
            count(self.verified),
            count(self.translated),
            self.machine_code
        );
    }
}

fn main() -> ExitCode {
    match rows() {
        Ok(rows) => report(&rows),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn report(rows: &[Row]) -> ExitCode {
    println!(
        "{:<22} {:>10} {:>9} {:>14} {:>12}",
        "program", "verified", "of limit", "instructions", "machine code"
    );
    rows.iter().for_each(Row::print);
    println!("verified: instructions that the verifier followed, of at most {LIMIT}; machine code in octets");
    let near = |row: &&Row| row.share().is_some_and(|share| share > f64::from(ALLOWED));
    if let Some(row) = rows.iter().find(near) {
        eprintln!(
            "error: the verifier's work on {} is over {ALLOWED} % of its limit: other kernels may refuse it. Look for a \
             loop or branches that multiply in what changed last",
            row.name
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn rows() -> Result<Vec<Row>> {
    let tables = reference::tables()?;
    let ports = [PortSetup::new("verify", 1)];
    let options = LoadOptions::new(&tables, &ports);
    let mut with_flows = Generation::load(&options)?;
    let without_flows = Generation::load(&LoadOptions {
        flags: options.flags & !settings_flags::FLOWS,
        ..options
    })?;
    let rows = vec![
        Row::new("enforcer", &with_flows.program()?.info()?),
        Row::new("enforcer, no flows", &without_flows.program()?.info()?),
        Row::new("jiffies", &jiffies(&mut with_flows)?),
    ];
    Ok(rows)
}

/// The second program of the object.
fn jiffies(generation: &mut Generation) -> Result<ProgramInfo> {
    let program: &mut Xdp = generation
        .ebpf()
        .program_mut("jiffies")
        .context("the object has no program `jiffies`")?
        .try_into()?;
    program.load()?;
    Ok(program.info()?)
}
