//! The regression gate: what does not depend on the machine's speed, against what is stored.
//!
//! Instructions that the verifier follows, instructions of the program and octets of machine code are there on every kernel, and
//! repeat exactly on the same one. Kernel instructions a frame are counted in an emulated machine (`cargo xtask bench gate`
//! starts it), whose clock goes on by a nanosecond an instruction: there they repeat to within 0.1, whatever the processor.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::programs::Programs;
use super::{Effort, measure};
use crate::machine::Machine;
use crate::stats::Spread;

/// How much a figure may grow, in percent, before the gate asks why.
const ALLOWED: f64 = 3.0;

/// The stored figures, `bench/baseline.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Baseline {
    schema_version: u32,
    /// By kernel series (`6.18`, `6.18 emulated`): other kernels verify and compile in other ways.
    kernels: BTreeMap<String, Figures>,
    /// Why figures changed, the latest last.
    changes: Vec<String>,
}

/// By name of the figure.
type Figures = BTreeMap<String, f64>;

/// Compares with the stored figures; with a reason given, stores what is there now. `counted` says that the machine's clock
/// counts instructions.
pub(crate) fn gate(accept: Option<&str>, counted: bool) -> Result<bool> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("baseline.json");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut baseline: Baseline = serde_json::from_str(&text).context("baseline.json is broken")?;
    let mut kernel = series(&Machine::this().kernel);
    let found = if counted {
        kernel += " emulated";
        instructions()?
    } else {
        sizes()?
    };
    if let Some(reason) = accept {
        if reason.trim().is_empty() {
            bail!("--accept wants the reason why the figures changed");
        }
        baseline.kernels.insert(kernel.clone(), found);
        baseline.changes.push(format!("Linux {kernel}: {}", reason.trim()));
        fs::write(&path, serde_json::to_string_pretty(&baseline)? + "\n").context("cannot write baseline.json")?;
        eprintln!("bench: gate: stored the figures of Linux {kernel}");
        return Ok(true);
    }
    let Some(stored) = baseline.kernels.get(&kernel) else {
        eprintln!("bench: gate: skipped: no figures are stored for Linux {kernel}");
        return Ok(true);
    };
    let judgement = judge(stored, &found);
    for line in &judgement.lines {
        println!("{line}");
    }
    if !judgement.grown.is_empty() {
        eprintln!(
            "error: grown by more than {ALLOWED} %: {}. If that is worth it, say why: `cargo xtask bench gate --accept WHY`",
            judgement.grown.join(", ")
        );
    }
    Ok(judgement.grown.is_empty())
}

/// `6.18` of `6.18.44-amd64`.
fn series(release: &str) -> String {
    release.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// What the gate found.
#[derive(Debug, PartialEq, Eq)]
struct Judgement {
    lines: Vec<String>,
    grown: Vec<String>,
}

fn judge(stored: &Figures, found: &Figures) -> Judgement {
    let (mut lines, mut grown) = (Vec::new(), Vec::new());
    for (name, before) in stored {
        let Some(now) = found.get(name) else {
            lines.push(format!("skipped: {name}: not to be had here"));
            continue;
        };
        let percent = (now / before - 1.0) * 100.0;
        let verdict = if percent > ALLOWED {
            grown.push(name.clone());
            "grown"
        } else if percent < -ALLOWED {
            "smaller: worth storing"
        } else {
            "held"
        };
        lines.push(format!(
            "{verdict}: {name}: {before:.1} before, {now:.1} now ({percent:+.1} %)"
        ));
    }
    for name in found.keys().filter(|name| !stored.contains_key(*name)) {
        lines.push(format!("new: {name}: nothing is stored"));
    }
    Judgement { lines, grown }
}

/// How large this build is for this kernel.
fn sizes() -> Result<Figures> {
    let programs = Programs::load(true, None)?;
    let mut figures = Figures::new();
    for (name, generation) in [
        ("enforcer", &programs.large.stateful),
        ("enforcer without flows", &programs.large.stateless),
    ] {
        let info = generation.program()?.info()?;
        let mut add = |what: &str, value: Option<u32>| {
            figures.extend(value.map(|value| (format!("{name}: {what}"), f64::from(value))));
        };
        add("instructions verified", info.verified_instruction_count());
        add("instructions", info.size_translated().map(|octets| octets / 8));
        add(
            "octets of machine code",
            Some(info.size_jitted()).filter(|&octets| octets > 0),
        );
    }
    Ok(figures)
}

/// What frames cost the enforcer's programs, on a machine whose clock counts instructions. What the references cost is the
/// kernel's: how long a chain of a hash map is differs with the random number that each map is made with.
fn instructions() -> Result<Figures> {
    let programs = Programs::load(true, None)?;
    let mut cases = programs.cases()?;
    cases.retain(|case| !case.is_reference());
    let effort = Effort {
        rounds: 3,
        repeat: 4_000,
        turns: 1,
    };
    let all = measure::measure(&cases, effort, None)?;
    let figures = all.into_iter().map(|series| {
        let tenths = (Spread::of(&series.nanos).min * 10.0).round();
        (format!("{}: kernel instructions a frame", series.name), tenths / 10.0)
    });
    Ok(figures.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(figures: &[(&str, f64)]) -> Figures {
        figures.iter().map(|&(name, value)| (name.to_owned(), value)).collect()
    }

    #[test]
    fn what_grew_stops_and_what_is_missing_is_named() {
        let stored = of(&[("denied", 300.0), ("established", 700.0), ("verified", 1000.0)]);
        let judgement = judge(
            &stored,
            &of(&[("denied", 308.9), ("established", 721.1), ("parse", 1.0)]),
        );
        assert_eq!(judgement.grown, ["established"]);
        let text = judgement.lines.join("\n");
        assert!(
            text.contains("held: denied: 300.0 before, 308.9 now (+3.0 %)"),
            "{text}"
        );
        assert!(text.contains("skipped: verified"), "{text}");
        assert!(text.contains("new: parse"), "{text}");
        let better = judge(&stored, &of(&[("denied", 200.0)]));
        assert!(
            better.grown.is_empty() && better.lines[0].starts_with("smaller"),
            "{better:?}"
        );
    }

    #[test]
    fn the_stored_file_is_whole_and_tells_why() -> Result<()> {
        let stored: Baseline = serde_json::from_str(include_str!("../../baseline.json"))?;
        assert_eq!(stored.schema_version, 1);
        assert!(stored.kernels.values().all(|figures| !figures.is_empty()));
        assert!(stored.changes.len() >= stored.kernels.len());
        assert_eq!(series("6.18.44-fc-v669"), "6.18");
        Ok(())
    }
}
