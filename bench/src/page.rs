//! `docs/performance.md`, written from the results.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::plot;
use crate::results::{Part, Results, figure};
use crate::table::{Table, groups};

/// Writes the page and its plots into the folder of the documentation.
pub(crate) fn write(results: &Results, docs: &Path) -> Result<()> {
    let page = docs.join("performance.md");
    let old = fs::read_to_string(&page).unwrap_or_default();
    let new = text(results) + by_hand(&old);
    fs::write(&page, new).with_context(|| format!("cannot write {}", page.display()))?;
    let plots = docs.join("performance");
    // Plots of groups that are no more must not stay behind.
    let _ = fs::remove_dir_all(&plots);
    fs::create_dir_all(&plots)?;
    for (name, svg) in plot::all(results).into_iter().filter(|(name, _)| is_shown(name)) {
        fs::write(plots.join(&name), svg).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}

/// The end of the page, which people write and this program keeps.
fn by_hand(page: &str) -> &str {
    page.find("\n## What was tried\n").map_or("", |start| &page[start..])
}

/// The plots that stand in the page; the others stay beside the results.
fn is_shown(plot: &str) -> bool {
    !plot.starts_with("limiter") && !plot.starts_with("control")
}

const READING: &str = "\
## How to read this

Only ratios mean something: the machine's clock drifts, and other machines have others. Each ratio is taken within a round, in
which the cases take turns; the tables show the median over the rounds. `min` and `max` are single rounds.

- **empty program**: an XDP program that does nothing. Nearly all of its time is the kernel's test loop.
- **above the floor**: a case less the empty program; where frames differ, less what making them costs.
- **LPM look-ups, LRU look-ups**: cost above the floor, in units of one look-up in the kernel's own longest-prefix-match trie with
  100,000 prefixes, and one in an LRU hash with 100,000 flows. Firewalls that ask the kernel's tables need at least two of the first,
  or one of the second, for a frame.
- An **aim** is judged by the median.

What line rates mean: 10 GbE with 64-byte frames is 14.88 million frames a second, 67.2 ns each; 25 GbE 37.2 million, 26.9 ns;
1 GbE 1.49 million, 672 ns. A hospital's trunk carries mostly full frames: 10 GbE with 1,518-byte frames is 0.81 million a second,
1,230 ns each.
";

const LIMITS: &str = "\
## What this does not show

- No physical network card: no driver, no DMA, no interrupts, no receive-side scaling, no PCIe. veth hands pages from one end to the
  other. A card's driver adds its own cost per frame to the enforcer and to what it is compared with alike.
- Test runs have warm caches and foreseen branches. Cases with frames that differ show part of what cold ones cost.
- Throughput includes the generator, which runs on the same processors: differences between programs look smaller than they are.
- Few cores, and a virtual machine: nothing about how it scales beyond two.
- Nobody else's hardware: run `cargo xtask bench` on yours.
";

/// The page.
fn text(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = format!(
        "# Performance\n\nWritten by `cargo xtask bench`. {}, {} CPUs, {} MiB{}, {}, Linux {}, JIT {}.\n\n",
        machine.processor,
        machine.cpus,
        machine.memory_mib,
        if machine.is_virtual { ", a virtual machine" } else { "" },
        machine.distribution,
        machine.kernel,
        if machine.jit { "on" } else { "off" }
    );
    text.push_str("## Aims\n\n");
    text.push_str(&Table::of_aims(results.aims()).markdown());
    text.push('\n');
    text.push_str(READING);
    text.push_str(&cores(results));
    for (part, outcome) in &results.outcomes {
        let _ = write!(text, "\n## {}\n\n{}.\n", title(*part), outcome.how);
        for (group, cases) in groups(&outcome.cases) {
            let _ = write!(text, "\n{}", Table::of_cases(group, &cases).markdown());
            let name = plot::file(*part, group);
            if is_shown(&name) && cases.len() > 1 && cases.iter().all(|case| case.unit == cases[0].unit) {
                let _ = write!(text, "\n![{group}](performance/{name})\n");
            }
        }
        if !outcome.notes.is_empty() || !outcome.skipped.is_empty() {
            text.push('\n');
        }
        for note in &outcome.notes {
            let _ = writeln!(text, "- {note}");
        }
        for skipped in &outcome.skipped {
            let _ = writeln!(
                text,
                "- Not measured: {}: {}.",
                skipped.what,
                skipped.why.trim_end_matches('.')
            );
        }
    }
    let missing: Vec<_> = Part::ALL
        .into_iter()
        .filter(|part| !results.outcomes.contains_key(part))
        .collect();
    for part in missing {
        let _ = write!(text, "\n## {}\n\nNot measured yet.\n", title(part));
    }
    text.push('\n');
    text.push_str(LIMITS);
    text
}

fn title(part: Part) -> &'static str {
    match part {
        Part::Frames => "What a frame costs",
        Part::Throughput => "Throughput over veth",
        Part::Scale => "Size of policy and tables",
        Part::Limiter => "Accuracy of limits",
        Part::Control => "Reloads and events",
    }
}

/// How many cores the measured costs imply at 10 gigabits a second.
fn cores(results: &Results) -> String {
    const BUDGET: f64 = 67.2;
    let Some(frames) = results.outcomes.get(&Part::Frames) else {
        return String::new();
    };
    let cost = |name: &str| frames.case(name)?.figures.get("ns above the floor");
    let mut text = String::new();
    for (what, name) in [
        ("a denied new flow", "denied new flow, UDP"),
        (
            "a frame of an established connection with two budgets",
            "established TCP with two budgets, to the responder",
        ),
    ] {
        if let Some(nanos) = cost(name) {
            let _ = writeln!(
                text,
                "At the speed of this machine, {what} costs {} ns above the empty program: {} cores for 10 GbE of 64-byte frames, \
                 {} for full ones, beside what the driver takes.",
                figure(*nanos),
                figure(nanos / BUDGET),
                figure(nanos / 1230.0),
            );
        }
    }
    format!("\n{text}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::results::{Aim, Case, Outcome};
    use crate::stats::Spread;

    #[test]
    fn the_page_has_aims_tables_plots_and_what_was_skipped() -> Result<()> {
        let mut results = Results::new(Machine::default());
        let case = |name: &str| Case::new("refused", name, "ns", &[67.2]).figure("ns above the floor", 67.2);
        let mut outcome = Outcome {
            cases: vec![case("denied new flow, UDP"), case("other")],
            aims: vec![Aim::at_most("denied", 0.6, "", Spread::of(&[0.7]))],
            ..Outcome::default()
        };
        outcome.skip("bpfilter", "no such package");
        results.outcomes.insert(Part::Frames, outcome);
        let page = text(&results);
        assert!(
            page.contains("| denied | at most 0.60 | 0.70 | 0.70 | 0.70 | missed |"),
            "{page}"
        );
        assert!(page.contains("![refused](performance/frames-refused.svg)"), "{page}");
        assert!(page.contains("- Not measured: bpfilter: no such package."), "{page}");
        assert!(page.contains("1.00 cores for 10 GbE"), "{page}");
        let docs = tempfile::tempdir()?;
        write(&results, docs.path())?;
        assert!(docs.path().join("performance/frames-refused.svg").is_file());
        assert_eq!(fs::read_to_string(docs.path().join("performance.md"))?, page);
        Ok(())
    }
}
