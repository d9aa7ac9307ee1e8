//! What one kernel makes of the enforcer: `cargo xtask kernels` runs this inside of a virtual machine.
//!
//! Prints a line for each check, its fields separated by tabs: `CHECK`, name, `ok` or `failed`, what was seen. Exit
//! code 0 also when checks fail: they are data.

mod checks;
mod interfaces;

use std::time::Instant;

use anyhow::Result;

/// Name, whether it belongs to the short selection, and the check; the answer is what was seen.
type Check = (&'static str, bool, fn() -> Result<String>);

const CHECKS: [Check; 8] = [
    ("loads", true, checks::loads),
    ("verdicts", true, checks::verdicts),
    ("attach", true, checks::attach),
    ("reload", true, checks::reload),
    ("8021q", true, interfaces::sub_interface),
    ("bridge", true, interfaces::bridge),
    ("jumbo", true, interfaces::jumbo),
    ("hospital", false, checks::hospital),
];

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    for (name, in_short, check) in CHECKS {
        if short && !in_short {
            continue;
        }
        let started = Instant::now();
        let (verdict, text) = match check() {
            Ok(text) => ("ok", text),
            Err(error) => ("failed", format!("{error:#}")),
        };
        let text = text.replace('\n', "\\n").replace('\t', " ");
        eprintln!("{name}: {:.1} s", started.elapsed().as_secs_f64());
        println!("CHECK\t{name}\t{verdict}\t{text}");
        if name == "loads" && verdict == "failed" {
            return;
        }
    }
}
