//! `enforcer monitor`: events as they come.

use std::fmt::Write as _;

use clap::ValueEnum;
use clap::builder::PossibleValuesParser;
use enforcer_common::verdict::{DropReason, Verdict};
use serde_json::Value;

use super::ask::print_line;
use super::{ConfigArgument, Exit};
use crate::control::{self, Verb};
use crate::events::watch::Filter;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  enforcer monitor\n  enforcer monitor --zone infusion-pumps --verdict drop,would-drop\n  enforcer monitor --device pump-icu-01 --count 1\n  enforcer monitor --rule guests-nowhere-inside --output json | jq .source.address\n\nOptions of one name add up: any of their values will do. Those of different names narrow down.\n\nExit codes: 0 as many as asked for, or nobody reads any more; 1 the filter names what the policy does not have; 2 no enforcer runs, or it has ended."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Only of these zones, at either end.
    #[arg(long, value_delimiter = ',')]
    zone: Vec<String>,
    /// Only of these devices, at either end.
    #[arg(long, value_delimiter = ',')]
    device: Vec<String>,
    /// Only by these rules; default-deny is one.
    #[arg(long, value_delimiter = ',')]
    rule: Vec<String>,
    /// Only with these verdicts.
    #[arg(long, value_delimiter = ',', value_parser = verdicts())]
    verdict: Vec<String>,
    /// Only for these reasons.
    #[arg(long, value_delimiter = ',', value_parser = reasons(), hide_possible_values = true)]
    reason: Vec<String>,
    /// Only with these VLAN tags: 110, or 2000.110.
    #[arg(long, value_delimiter = ',')]
    vlan: Vec<String>,
    /// End after so many events.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How to print them.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// How to print events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line each, for people.
    #[default]
    Lines,
    /// A JSON object each (NDJSON), as in the event log.
    Json,
}

fn verdicts() -> PossibleValuesParser {
    Verdict::ALL.map(Verdict::name).into()
}

fn reasons() -> PossibleValuesParser {
    PossibleValuesParser::new(DropReason::ALL.iter().map(|reason| reason.name()))
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Exit> {
    let config = arguments.config.load()?;
    let mut lines = control::stream(&config.runtime_directory, Verb::Monitor(arguments.filter()))?;
    let mut left = arguments.count.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(line) = lines.next_line()? else {
            return Err(Exit::environment(
                "the enforcer has ended; enforcement stays in place unless it was detached",
            ));
        };
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        left -= u64::from(event["lost"].is_null());
        let shown = match arguments.output {
            Format::Lines => human(&event),
            Format::Json => line,
        };
        if !print_line(&shown)? {
            return Ok(());
        }
    }
    Ok(())
}

impl Arguments {
    fn filter(&self) -> Filter {
        Filter {
            zones: self.zone.clone(),
            devices: self.device.clone(),
            rules: self.rule.clone(),
            verdicts: self.verdict.clone(),
            reasons: self.reason.clone(),
            vlans: self.vlan.clone(),
        }
    }
}

/// An event, or events that were lost, on one line.
fn human(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    if let Some(lost) = event["lost"].as_object() {
        return format!("{} {}", text(&event["time"]), losses(lost));
    }
    let mut line = format!(
        "{} {:10} {}  {} > {}  {}",
        text(&event["time"]),
        text(&event["verdict"]),
        text(&event["reason"]),
        end(&event["source"]),
        end(&event["destination"]),
        text(if event["service"].is_null() {
            &event["ethertype"]
        } else {
            &event["service"]
        }),
    );
    if let Some(flags) = event["tcp_flags"].as_str() {
        let _ = write!(line, " {flags}");
    }
    let vlan = match (event["vlan"].as_u64(), event["inner_vlan"].as_u64()) {
        (None, _) => "untagged".to_owned(),
        (Some(outer), None) => format!("VLAN {outer}"),
        (Some(outer), Some(inner)) => format!("VLAN {outer}.{inner}"),
    };
    let _ = write!(line, "  {vlan} {}", text(&event["port"]));
    if let Some(rule) = event["rule"].as_str() {
        let _ = write!(line, "  rule {rule}");
    }
    if let Some(at) = event["rule_at"].as_str() {
        let _ = write!(line, " ({at})");
    }
    line
}

/// `infusion-pumps pump-icu-01 10.10.110.21:40000`; of frames without an address, the hardware address.
fn end(end: &Value) -> String {
    let address = match (end["address"].as_str(), end["port"].as_u64()) {
        (None, _) => end["mac"].as_str().unwrap_or("-").to_owned(),
        (Some(address), None) => address.to_owned(),
        (Some(address), Some(port)) if address.contains(':') => format!("[{address}]:{port}"),
        (Some(address), Some(port)) => format!("{address}:{port}"),
    };
    let names = [&end["zone"], &end["device"]].into_iter().filter_map(Value::as_str);
    names.chain([address.as_str()]).collect::<Vec<_>>().join(" ")
}

fn losses(lost: &serde_json::Map<String, Value>) -> String {
    let told = [
        ("ring", "the kernel's ring was full"),
        ("queue", "this command was too slow"),
        ("suppressed", "held back by the limit of their rate"),
        ("malformed", "not understood"),
    ];
    let told = told.into_iter().filter_map(|(key, why)| {
        let count = lost.get(key)?.as_u64().filter(|count| *count > 0)?;
        Some(format!("{count} ({why})"))
    });
    format!("LOST events: {}", told.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_fits_a_line() {
        let event = json!({
            "time": "1970-01-01T00:00:01.5Z", "verdict": "drop", "reason": "default-deny", "rule": "default-deny",
            "rule_at": null, "port": "trunk0", "vlan": 110, "inner_vlan": null,
            "source": {"zone": "pumps", "device": "pump-1", "address": "10.10.110.21", "port": 40000, "mac": "00:1e:3d:00:01:02"},
            "destination": {"zone": null, "device": null, "address": "fd00::1", "port": 23, "mac": "02:00:00:00:00:01"},
            "ethertype": "0x0800", "service": "tcp/23", "tcp_flags": "S",
        });
        assert_eq!(
            human(&event),
            "1970-01-01T00:00:01.5Z drop       default-deny  pumps pump-1 10.10.110.21:40000 > [fd00::1]:23  tcp/23 S  VLAN 110 trunk0  rule default-deny"
        );
    }

    #[test]
    fn losses_stand_between_the_events() {
        let event =
            json!({"time": "1970-01-01T00:00:01Z", "lost": {"ring": 2, "queue": 5, "suppressed": 0, "malformed": 0}});
        assert_eq!(
            human(&event),
            "1970-01-01T00:00:01Z LOST events: 2 (the kernel's ring was full), 5 (this command was too slow)"
        );
    }
}
