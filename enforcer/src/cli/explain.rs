//! `enforcer explain`: why a frame meets with what it meets with.

use std::fmt::Write as _;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::live::{Answer, Live};
use super::{ConfigArgument, Exit, OutputFormat};
use crate::offline::capture::{self, CaptureError};
use crate::offline::explain::{Explanation, explain};
use crate::offline::{self, Rig, build};
use crate::policy;
use crate::policy::probe::{Probe, Words};
use crate::policy::valid::ValidPolicy;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  enforcer explain --policy policies/ --src ct-01 --dst pacs-01 --service tcp/11113\n  enforcer explain --policy policies/ --vlan 110 --src 10.10.110.21 --dst 10.20.5.10 --service tcp/443\n  enforcer explain --policy policies/ --pcap trunk.pcapng --frame 4711\n  enforcer explain --live --src ct-01 --dst pacs-01 --service tcp/104\n\nExit codes: 0 explained, whatever the verdict; 1 wrong input, or the running program disagrees; 2 nothing could be read."
)]
pub(super) struct Arguments {
    /// Policy files and folders; without, those of the configuration.
    #[arg(long, num_args = 1.., value_name = "PATH")]
    policy: Vec<PathBuf>,
    #[command(flatten)]
    config: ConfigArgument,
    /// Ask the program that runs, too, in a second instance with copies of its tables; a disagreement is an error. It knows no
    /// flow, and takes the policy in force.
    #[arg(long, conflicts_with_all = ["policy", "pcap"])]
    live: bool,
    /// With --live: the port that the frame comes in by; by default the first of the configuration.
    #[arg(long, requires = "live", value_name = "INTERFACE")]
    port: Option<String>,
    #[command(flatten)]
    frame: FrameArguments,
    /// A capture (pcap or pcapng) that has the frame.
    #[arg(long, value_name = "FILE", requires = "frame", conflicts_with_all = ["src", "dst", "service"])]
    pcap: Option<PathBuf>,
    /// The number of the frame in the capture, from 1. The frames before it are replayed, so that its flow is known.
    #[arg(long = "frame", id = "frame", value_name = "NUMBER", requires = "pcap", value_parser = clap::value_parser!(u64).range(1..))]
    number: Option<u64>,
    /// The VLAN of untagged frames in the capture.
    #[arg(long, value_name = "VLAN", requires = "pcap", value_parser = clap::value_parser!(u16).range(1..=4094))]
    native_vlan: Option<u16>,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

/// A frame in words, as in the tests of a policy.
#[derive(clap::Args)]
struct FrameArguments {
    /// VLAN tags: 110, or 2000.110; by default those of the source's zone.
    #[arg(long)]
    vlan: Option<String>,
    /// Who sends: an address, or the name of a device.
    #[arg(long, required_unless_present = "pcap")]
    src: Option<String>,
    /// Whom to: an address, or the name of a device.
    #[arg(long, required_unless_present = "pcap")]
    dst: Option<String>,
    /// What is asked for: tcp/443, icmp/echo, or the name of a service.
    #[arg(long, required_unless_present = "pcap")]
    service: Option<String>,
    /// Source port.
    #[arg(long, value_name = "PORT")]
    sport: Option<String>,
    /// Hardware address of the sender; by default the device's.
    #[arg(long)]
    mac: Option<String>,
    /// Hardware address that the frame is sent to.
    #[arg(long, value_name = "MAC")]
    dst_mac: Option<String>,
    /// TCP flags: syn, syn-ack, ack, rst, …
    #[arg(long)]
    flags: Option<String>,
    /// Octets behind the transport header.
    #[arg(long, value_name = "OCTETS")]
    size: Option<String>,
}

impl FrameArguments {
    fn probe(&self, policy: &ValidPolicy) -> Result<Probe, Exit> {
        let words = [
            ("vlan", &self.vlan),
            ("src", &self.src),
            ("dst", &self.dst),
            ("service", &self.service),
            ("sport", &self.sport),
            ("mac", &self.mac),
            ("dst_mac", &self.dst_mac),
            ("flags", &self.flags),
            ("size", &self.size),
        ];
        let given = words.into_iter().filter_map(|(key, word)| Some((key, word.clone()?)));
        Probe::from_command_line(&Words::new(given), policy).map_err(Exit::input)
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Exit> {
    if arguments.live {
        return running(arguments);
    }
    let paths = match arguments.policy.as_slice() {
        [] => arguments.config.load()?.policy,
        paths => paths.to_vec(),
    };
    let rig = Rig::new(policy::load(&paths)?, arguments.native_vlan.unwrap_or(0))?;
    let text = if let (Some(file), Some(number)) = (&arguments.pcap, arguments.number) {
        from_capture(&rig, file, number, arguments.output)?
    } else {
        let frame = build::octets(&arguments.frame.probe(rig.policy())?);
        shown(&explain(&rig, frame.as_slice(), offline::now()), arguments.output)
    };
    print!("{text}");
    Ok(())
}

/// Explains what the running program decides, by the engine in userspace, after both were asked.
fn running(arguments: &Arguments) -> Result<(), Exit> {
    let config = arguments.config.load()?;
    let mut live = Live::open(&config, arguments.port.as_deref())?;
    let frame = build::octets(&arguments.frame.probe(live.rig().policy())?);
    let asked = live.ask(&frame)?;
    let explanation = explain(live.rig(), frame.as_slice(), offline::now());
    print!("{}", shown(&explanation, arguments.output));
    let offline = Answer::of(&explanation.outcome);
    if asked != offline {
        return Err(Exit::input(format!(
            "THE RUNNING PROGRAM AND THE ENGINE DISAGREE: the program says {asked}, the engine {offline}. Trust neither: what is \
             enforced is not what the policy says. Reload the policy, and report this with the policy and the output"
        )));
    }
    eprintln!("the running program agrees: {asked}");
    Ok(())
}

fn from_capture(rig: &Rig, file: &Path, wanted: u64, output: OutputFormat) -> Result<String, Exit> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let opened = File::open(file).map_err(|error| Exit::environment(failed(&error)))?;
    let (mut clock, mut seen, mut text) = (0, 0, None);
    let outcome = capture::replay(opened, |frame| {
        seen = frame.number;
        clock = frame.nanos.max(clock);
        if frame.number < wanted {
            let _ = rig.decide(frame, clock);
            return ControlFlow::Continue(());
        }
        text = Some(shown(&explain(rig, frame, clock), output));
        ControlFlow::Break(())
    });
    match (text, outcome) {
        (Some(text), _) => Ok(text),
        (None, Err(error @ CaptureError::Unreadable { .. })) => Err(Exit::environment(failed(&error))),
        (None, Err(error)) => Err(Exit::input(failed(&error))),
        (None, Ok(())) => Err(Exit::input(failed(&format!(
            "there is no frame {wanted}: the capture has {seen}"
        )))),
    }
}

fn shown(explanation: &Explanation<'_>, output: OutputFormat) -> String {
    match output {
        OutputFormat::Human => human(explanation),
        OutputFormat::Json => format!("{:#}\n", machine(explanation)),
    }
}

fn machine(explanation: &Explanation<'_>) -> Value {
    let mut value = json!(explanation);
    value["schema_version"] = json!(1);
    value
}

fn human(explanation: &Explanation<'_>) -> String {
    let outcome = &explanation.outcome;
    let mut text = String::new();
    let reason = if outcome.is_permitted() {
        String::new()
    } else {
        format!(": {}", outcome.reason.name())
    };
    let vlan = outcome
        .vlan
        .as_ref()
        .map_or("untagged".to_owned(), |vlan| format!("VLAN {vlan}"));
    let _ = writeln!(text, "{}{reason}", outcome.verdict.name());
    let _ = writeln!(
        text,
        "  {vlan}, {} to {}, {}",
        outcome.source, outcome.destination, outcome.service
    );
    if let Some(rule) = outcome.rule {
        let at = rule.at.map(|at| format!(" ({at})")).unwrap_or_default();
        let _ = writeln!(text, "  rule {}{at}", rule.name);
    }
    text.push_str("\nstages\n");
    for stage in &explanation.stages {
        let _ = writeln!(text, "  {:9} {:9} {}", stage.stage, stage.result, stage.text);
    }
    around(&mut text, explanation);
    text
}

fn around(text: &mut String, explanation: &Explanation<'_>) {
    let neighbours = &explanation.neighbours;
    if let Some(rule) = neighbours.answers {
        let _ = writeln!(
            text,
            "\nAs an answer it would pass by rule {rule}, but there is no flow that it answers to."
        );
    }
    if !neighbours.beaten.is_empty() {
        text.push_str("\nrules that match too\n");
    }
    for beaten in &neighbours.beaten {
        let _ = writeln!(text, "  {} ({}): {}", beaten.rule, beaten.at, beaten.because);
    }
    if !neighbours.misses.is_empty() {
        text.push_str("\nnearest misses\n");
    }
    for miss in &neighbours.misses {
        let _ = writeln!(
            text,
            "  {} {}; rule {} {} {} ({})",
            miss.field, miss.frame, miss.rule, miss.action, miss.wants, miss.at
        );
    }
}
