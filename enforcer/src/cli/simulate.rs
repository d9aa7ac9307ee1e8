//! `enforcer simulate`: a capture through the engine.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use enforcer_common::verdict::{DropReason, Verdict};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::{Exit, OutputFormat};
use crate::offline::Rig;
use crate::offline::capture::{self, CaptureError};
use crate::offline::simulate::{Change, Count, Fate, FlowReport, FlowText, Simulation};
use crate::policy;
use crate::policy::probe;
use crate::state::rfc3339;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  enforcer simulate --pcap trunk.pcapng --policy policies/\n  enforcer simulate --pcap trunk.pcapng --policy policies/ --compare policies-next/\n  enforcer simulate --pcap trunk.pcap --policy policies/ --gateway-mac 02:00:5e:00:01:01\n\nExit codes: 0 replayed, whatever the verdicts; 1 wrong policy, or a capture that is cut or damaged (the report covers the frames before); 2 nothing could be read."
)]
pub(super) struct Arguments {
    /// The capture: pcap or pcapng, of Ethernet frames.
    #[arg(long, value_name = "FILE")]
    pcap: PathBuf,
    /// Policy files and folders.
    #[arg(long, num_args = 1.., required = true, value_name = "PATH")]
    policy: Vec<PathBuf>,
    /// Another policy: tell what it would change.
    #[arg(long, num_args = 1.., value_name = "PATH")]
    compare: Vec<PathBuf>,
    /// The VLAN of untagged frames.
    #[arg(long, value_name = "VLAN", value_parser = clap::value_parser!(u16).range(1..=4094))]
    native_vlan: Option<u16>,
    /// Hardware addresses of the gateway: what it sends itself meets no policy, and is left out.
    #[arg(long, num_args = 1.., value_name = "MAC", value_parser = mac)]
    gateway_mac: Vec<[u8; 6]>,
    /// How many flows to show, those with refused frames first.
    #[arg(long, default_value_t = 20)]
    flows: usize,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

fn mac(text: &str) -> Result<[u8; 6], String> {
    probe::hardware_address(text)
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Exit> {
    let rig = |paths| -> Result<_, Exit> { Ok(Rig::new(policy::load(paths)?, arguments.native_vlan.unwrap_or(0))?) };
    let first = rig(&arguments.policy)?;
    let second = match arguments.compare.as_slice() {
        [] => None,
        paths => Some(rig(paths)?),
    };
    let mut simulation = Simulation::new(&first, second.as_ref(), arguments.gateway_mac.clone());
    let result = replay(&arguments.pcap, &mut simulation)?;
    match arguments.output {
        OutputFormat::Human if result.is_err() && simulation.total.frames == 0 => {}
        OutputFormat::Human => print!("{}", human(&simulation, arguments)),
        OutputFormat::Json => println!("{:#}", machine(&simulation, arguments, result.as_ref().err())),
    }
    result.map_err(|error| {
        let message = format!("{}: {error}", arguments.pcap.display());
        match error {
            CaptureError::Unreadable { .. } => Exit::environment(message),
            _ => Exit::input(message),
        }
    })
}

/// Replays a file, with a bar on a terminal. The outer error is for files that cannot be opened at all.
fn replay(path: &Path, simulation: &mut Simulation<'_>) -> Result<Result<(), CaptureError>, Exit> {
    let failed = |error: io::Error| Exit::environment(format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    // Hidden by itself where standard error is no terminal.
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let result = capture::replay(bar.wrap_read(file), |frame| simulation.feed(frame));
    bar.finish_and_clear();
    Ok(result)
}

fn human(simulation: &Simulation<'_>, arguments: &Arguments) -> String {
    let mut text = String::new();
    summary(&mut text, simulation);
    changes(&mut text, simulation, arguments);
    text.push_str("\n    frames   refused  rule\n");
    for (rule, at, count) in simulation.rules() {
        let Count { frames, refused, .. } = count;
        let at = at.map(|at| format!(" ({at})")).unwrap_or_default();
        let _ = writeln!(text, "{frames:10}{refused:10}  {}{at}", rule.unwrap_or("none asked"));
    }
    match simulation.unused().len() {
        0 => {}
        unused => {
            let _ = writeln!(text, "{:>10}{:>10}  {unused} other rules", 0, 0);
        }
    }
    if simulation.total.refused > 0 {
        text.push_str("\n   refused  reason\n");
    }
    for (reason, frames) in refusals(simulation) {
        let _ = writeln!(text, "{frames:10}  {}: {}", reason.name(), reason.text());
    }
    flows(&mut text, simulation, arguments.flows);
    text
}

fn summary(text: &mut String, simulation: &Simulation<'_>) {
    let Count { frames, octets, .. } = simulation.total;
    let _ = writeln!(
        text,
        "{frames} frames, {octets} octets, {} flows",
        simulation.flows_seen()
    );
    if let Some((first, last)) = simulation.span {
        let _ = writeln!(text, "from {} to {}", rfc3339(time(first)), rfc3339(time(last)));
    }
    let verdicts = Verdict::ALL
        .iter()
        .zip(simulation.verdicts)
        .filter(|(_, frames)| *frames > 0);
    let verdicts: Vec<_> = verdicts
        .map(|(verdict, frames)| format!("{} {frames}", verdict.name()))
        .collect();
    let _ = writeln!(text, "{}", verdicts.join(", "));
    let asides = [
        (simulation.skipped, "frames left out: the gateway sent them"),
        (
            simulation.late,
            "frames older than the one before them: decided at its time",
        ),
        (simulation.shortened, "frames of which the capture keeps a part"),
        (
            simulation.untold,
            "frames of flows beyond the first million, which are not shown",
        ),
    ];
    for (frames, what) in asides.into_iter().filter(|(frames, _)| *frames > 0) {
        let _ = writeln!(text, "{frames} {what}");
    }
}

fn time(nanos: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos)
}

fn changes(text: &mut String, simulation: &Simulation<'_>, arguments: &Arguments) {
    if arguments.compare.is_empty() {
        return;
    }
    let changes = simulation.changes();
    if changes.is_empty() {
        text.push_str("\nno frame is decided otherwise by the other policy\n");
        return;
    }
    text.push_str("\n    frames  change\n");
    for Change {
        before,
        after,
        count,
        example,
    } in changes
    {
        let _ = writeln!(text, "{:10}  {} → {}", count.frames, fate(&before), fate(&after));
        let _ = writeln!(text, "{:10}  such as {}", "", flow_text(&example));
    }
}

/// `drop (default-deny)`, `pass by pumps-to-gateway`.
fn fate(fate: &Fate<'_>) -> String {
    let verdict = fate.verdict.name();
    match (fate.reason, fate.rule) {
        (DropReason::None, Some(rule)) => format!("{verdict} by {rule}"),
        (DropReason::None, None) => verdict.to_owned(),
        (reason, Some(rule)) if rule != reason.name() => format!("{verdict} ({}) by {rule}", reason.name()),
        (reason, _) => format!("{verdict} ({})", reason.name()),
    }
}

fn flow_text(flow: &FlowText) -> String {
    let vlan = flow
        .vlan
        .as_ref()
        .map_or("untagged".to_owned(), |vlan| format!("VLAN {vlan}"));
    format!("{vlan}, {} to {}, {}", flow.source, flow.destination, flow.service)
}

fn refusals(simulation: &Simulation<'_>) -> Vec<(DropReason, u64)> {
    let reasons = DropReason::ALL.iter().copied().zip(simulation.reasons.iter().copied());
    let mut reasons: Vec<_> = reasons
        .filter(|(reason, frames)| *reason != DropReason::None && *frames > 0)
        .collect();
    reasons.sort_by_key(|(_, frames)| std::cmp::Reverse(*frames));
    reasons
}

fn flows(text: &mut String, simulation: &Simulation<'_>, number: usize) {
    let flows = simulation.flows(number);
    if flows.is_empty() {
        return;
    }
    text.push_str("\n    frames   refused  flow\n");
    for report in &flows {
        let Count { frames, refused, .. } = report.count;
        let _ = writeln!(text, "{frames:10}{refused:10}  {}", flow_text(&report.flow));
        let _ = writeln!(text, "{:20}  {}", "", report.outcome);
        if let Some(refusal) = report.refusal.as_ref().filter(|refusal| **refusal != report.outcome) {
            let _ = writeln!(text, "{:20}  later {refusal}", "");
        }
    }
    let more = simulation.flows_seen() - flows.len();
    if more > 0 {
        let _ = writeln!(
            text,
            "{more} more flows; `--flows {}` shows all",
            simulation.flows_seen()
        );
    }
}

fn machine(simulation: &Simulation<'_>, arguments: &Arguments, error: Option<&CaptureError>) -> Value {
    let count = |count: &Count| json!({"frames": count.frames, "refused": count.refused, "octets": count.octets});
    let rules = simulation.rules();
    let rules = rules
        .iter()
        .map(|(rule, at, counted)| json!({"rule": rule, "at": at, "count": count(counted)}));
    let flow = |report: &FlowReport<'_>| {
        json!({
            "first_frame": report.first, "count": count(&report.count),
            "outcome": report.outcome, "first_refusal": report.refusal,
        })
    };
    let fate =
        |fate: &Fate<'_>| json!({"verdict": fate.verdict.name(), "reason": fate.reason.name(), "rule": fate.rule});
    let change = |change: &Change<'_>| {
        let FlowText {
            vlan,
            source,
            destination,
            service,
        } = &change.example;
        json!({
            "before": fate(&change.before), "after": fate(&change.after), "count": count(&change.count),
            "example": {"vlan": vlan, "source": source, "destination": destination, "service": service},
        })
    };
    let verdicts = Verdict::ALL.iter().zip(simulation.verdicts);
    let verdicts: serde_json::Map<_, _> = verdicts
        .map(|(one, frames)| (one.name().to_owned(), json!(frames)))
        .collect();
    let reasons = refusals(simulation).into_iter();
    let reasons: serde_json::Map<_, _> = reasons
        .map(|(one, frames)| (one.name().to_owned(), json!(frames)))
        .collect();
    let mut value = json!({
        "schema_version": 1, "complete": error.is_none(), "error": error.map(ToString::to_string),
        "total": count(&simulation.total), "verdicts": verdicts, "reasons": reasons,
        "skipped": simulation.skipped, "late": simulation.late, "shortened": simulation.shortened,
        "from": simulation.span.map(|(first, _)| rfc3339(time(first))),
        "to": simulation.span.map(|(_, last)| rfc3339(time(last))),
        "rules": rules.collect::<Vec<_>>(), "unused_rules": simulation.unused(),
        "flows_seen": simulation.flows_seen(), "flows_beyond": simulation.untold,
        "flows": simulation.flows(arguments.flows).iter().map(flow).collect::<Vec<_>>(),
    });
    if !arguments.compare.is_empty() {
        value["changes"] = simulation.changes().iter().map(change).collect();
    }
    value
}
